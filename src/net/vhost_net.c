/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-net (Linux, include/uapi/linux/vhost.h): each open /dev/vhost-net is a kernel thread that moves
 * packets between one pair of rings and a tap queue. It reaches the guest's memory through the page
 * table of the process that has set it up, so nothing needs to be shared.
 */
#include "net/vhost_net.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>

/* virtio 1.2, 5.1.3 and 6: the features that the kernel has a say in. */
enum { F_MRG_RXBUF = 15, F_INDIRECT_DESC = 28, F_EVENT_IDX = 29 };
#define BIT(feature) (UINT64_C(1) << (feature))
#define ASKED        (BIT(F_MRG_RXBUF) | BIT(F_INDIRECT_DESC) | BIT(F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1))

struct vhost_net {
	uint64_t features;  /* the kernel's */
	bool header;        /* the tap gives the virtio-net header, and takes it */
	unsigned count;
	struct {
		int fd, tap;
	} queues[];
};

static struct vhost_net *vhost_of(struct net_backend *net)
{
	return net->vhost_opaque;
}

static bool call(const struct vhost_net *vhost, unsigned pair, unsigned long request, void *argument,
		 const char *what, GError **error)
{
	return ioctl(vhost->queues[pair].fd, request, argument) >= 0 ||
	       error_set_errno(error, errno, "vhost-net cannot %s", what);
}

static uint64_t vhost_lacks(struct net_backend *net)
{
	return ASKED & ~vhost_of(net)->features;
}

static bool vhost_ready(struct net_backend *net)
{
	return true;
}

static bool vhost_prepare(struct net_backend *net, uint64_t features, const struct vhost_region *regions,
			  unsigned count, GError **error)
{
	struct vhost_net *vhost = vhost_of(net);
	g_autofree struct vhost_memory *memory =
		g_malloc0(sizeof(*memory) + count * sizeof(memory->regions[0]));
	uint64_t accepted = features & ASKED;
	memory->nregions = count;
	for (unsigned i = 0; i < count; i++)
		memory->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = regions[i].guest, .memory_size = regions[i].size,
			.userspace_addr = (uintptr_t)regions[i].host};
	/* The guest's packets have a header; either the tap takes it, or the kernel takes it off. */
	if (!vhost->header)
		accepted |= BIT(VHOST_NET_F_VIRTIO_NET_HDR);
	for (unsigned i = 0; i < vhost->count; i++) {
		if (!call(vhost, i, VHOST_SET_FEATURES, &accepted, "take the guest's features", error) ||
		    !call(vhost, i, VHOST_SET_MEM_TABLE, memory, "take the guest's memory", error))
			return false;
	}
	return true;
}

static bool vhost_start_ring(struct net_backend *net, const struct vhost_ring *ring, GError **error)
{
	struct vhost_net *vhost = vhost_of(net);
	unsigned pair = ring->index / 2, n = ring->index % 2;
	struct vhost_vring_state size = {n, ring->size}, base = {n, ring->base};
	struct vhost_vring_file kick = {n, ring->kick}, signal = {n, ring->call};
	struct vhost_vring_file backend = {n, vhost->queues[pair].tap};
	struct vhost_vring_addr address = {
		.index = n, .desc_user_addr = (uintptr_t)ring->desc,
		.avail_user_addr = (uintptr_t)ring->avail, .used_user_addr = (uintptr_t)ring->used};
	return call(vhost, pair, VHOST_SET_VRING_NUM, &size, "take a ring's size", error) &&
	       call(vhost, pair, VHOST_SET_VRING_BASE, &base, "take a ring's position", error) &&
	       call(vhost, pair, VHOST_SET_VRING_ADDR, &address, "take a ring's address", error) &&
	       call(vhost, pair, VHOST_SET_VRING_KICK, &kick, "take a ring's doorbell", error) &&
	       call(vhost, pair, VHOST_SET_VRING_CALL, &signal, "take a ring's interrupt", error) &&
	       call(vhost, pair, VHOST_NET_SET_BACKEND, &backend, "begin to serve a ring", error);
}

static bool vhost_stop_ring(struct net_backend *net, unsigned index, uint16_t *base)
{
	struct vhost_net *vhost = vhost_of(net);
	unsigned pair = index / 2;
	struct vhost_vring_file none = {index % 2, -1};
	struct vhost_vring_state state = {index % 2, 0};
	g_autoptr(GError) error = NULL;
	/* Waits until the kernel's thread has let go of what it works on. */
	if (!call(vhost, pair, VHOST_NET_SET_BACKEND, &none, "let a ring go", &error) ||
	    !call(vhost, pair, VHOST_GET_VRING_BASE, &state, "tell a ring's position", &error)) {
		log_error("%s: %s", net->id, error->message);
		return false;
	}
	*base = state.num;
	return true;
}

static const struct vhost_ops ops = {
	.regions_max = 64, /* the kernel's module vhost: max_mem_regions */
	.lacks = vhost_lacks,
	.ready = vhost_ready,
	.prepare = vhost_prepare,
	.start_ring = vhost_start_ring,
	.stop_ring = vhost_stop_ring,
};

static bool open_all(struct vhost_net *vhost, GError **error)
{
	for (unsigned i = 0; i < vhost->count; i++) {
		vhost->queues[i].fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
		if (vhost->queues[i].fd < 0)
			return error_set_errno(error, errno, "cannot open /dev/vhost-net (is the vhost_net "
					       "module loaded, and may this user read and write it?)");
	}
	return true;
}

static bool adopt_all(struct vhost_net *vhost, const char *list, GError **error)
{
	g_auto(GStrv) numbers = g_strsplit(list, ":", -1);
	uint64_t features;
	if (g_strv_length(numbers) != vhost->count)
		return error_set(error, BERTH_ERR_INVALID,
				 "vhostfds=%s must be as many as there are queues, which is %u", list,
				 vhost->count);
	for (unsigned i = 0; i < vhost->count; i++) {
		char *end;
		long fd = strtol(numbers[i], &end, 10);
		if (*end || end == numbers[i] || fd < 0 || fd > INT_MAX ||
		    ioctl(fd, VHOST_GET_FEATURES, &features) < 0)
			return error_set(error, BERTH_ERR_INVALID,
					 "vhostfds=%s: %s is no open /dev/vhost-net", list, numbers[i]);
		vhost->queues[i].fd = fd;
	}
	return true;
}

static bool set_up(struct vhost_net *vhost, GError **error)
{
	for (unsigned i = 0; i < vhost->count; i++) {
		if (!call(vhost, i, VHOST_SET_OWNER, NULL, "begin", error) ||
		    !call(vhost, i, VHOST_GET_FEATURES, &vhost->features, "tell its features", error))
			return false;
	}
	return vhost->features & BIT(VIRTIO_F_VERSION_1) ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED, "the kernel's vhost-net is older than virtio 1");
}

struct vhost_net *vhost_net_open(struct net_backend *net, const int *taps, unsigned count, bool header,
				 const char *fds, GError **error)
{
	struct vhost_net *vhost = g_malloc0(sizeof(*vhost) + count * sizeof(vhost->queues[0]));
	vhost->header = header;
	vhost->count = count;
	for (unsigned i = 0; i < count; i++) {
		vhost->queues[i].fd = -1;
		vhost->queues[i].tap = taps[i];
	}
	if ((fds ? adopt_all(vhost, fds, error) : open_all(vhost, error)) && set_up(vhost, error)) {
		net->vhost = &ops;
		net->vhost_opaque = vhost;
		return vhost;
	}
	for (unsigned i = 0; fds && i < count; i++)
		vhost->queues[i].fd = -1; /* the caller's still */
	vhost_net_free(vhost);
	return NULL;
}

void vhost_net_free(struct vhost_net *vhost)
{
	for (unsigned i = 0; vhost && i < vhost->count; i++)
		fd_clear(&vhost->queues[i].fd);
	g_free(vhost);
}
