/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rings that the back end serves itself (net/vhost.h). This program keeps the control queue, features,
 * configuration and the life of the device; the server moves the packets. Whenever something changes
 * that a ring's running depends on - the driver's set-up, the link, the number of pairs, a pause, the
 * server's presence - net_vhost_update() makes what runs what should run.
 *
 * The server writes to guest memory behind our back: no dirty log sees it, and neither does the software
 * engine, which may run on with a translation of what a received packet has overwritten. Guests copy
 * packets before they execute what is in them.
 */
#include "dev/virtio/net_int.h"

#include "base/error.h"
#include "vm/vm.h"

#include <string.h>

/* ---- The guest's memory ---- */

/* Windows of the first MiB through which the board shows ROM or VGA: below is RAM of the same block. */
#define LEGACY_END (UINT64_C(1) << 20)

static void add_region(void *opaque, const struct space_range *range)
{
	GArray *regions = opaque;
	if (!range->ram || range->readonly)
		return;
	struct vhost_region next = {
		.guest = range->base, .size = range->size, .host = range->ram->host + range->ram_offset,
		.fd = range->ram->fd, .fd_offset = range->ram_offset};
	struct vhost_region *last =
		regions->len ? &g_array_index(regions, struct vhost_region, regions->len - 1) : NULL;
	uint64_t distance = last ? next.guest - last->guest : 0;
	bool joined = last && (uint8_t *)last->host + distance == (uint8_t *)next.host &&
		      last->fd == next.fd &&
		      (last->size == distance || next.guest <= LEGACY_END);
	if (joined)
		last->size = distance + next.size;
	else
		g_array_append_val(regions, next);
}

static GArray *memory_regions(struct vm *vm)
{
	GArray *regions = g_array_new(FALSE, FALSE, sizeof(struct vhost_region));
	space_for_each(vm->memory, add_region, regions);
	return regions;
}

static bool check_shared(const struct virtio_net *net, int fd, GError **error)
{
	return !net->backend->vhost->shared_memory || fd >= 0 ||
	       error_set(error, BERTH_ERR_INVALID,
			 "-netdev %s needs guest memory that another process can reach: "
			 "-object memory-backend-memfd,id=ram,size=...,share=on "
			 "-machine memory-backend=ram",
			 net->backend->ops->type);
}

static bool check_count(const struct virtio_net *net, unsigned count, GError **error)
{
	unsigned most = net->backend->vhost->regions_max;
	return count <= most ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-netdev %s can be given guest memory in %u parts, and these are %u: use fewer and "
			 "larger modules", net->backend->ops->type, most, count);
}

static bool check_regions(const struct virtio_net *net, const GArray *regions, GError **error)
{
	for (unsigned i = 0; i < regions->len; i++) {
		if (!check_shared(net, g_array_index(regions, struct vhost_region, i).fd, error))
			return false;
	}
	return check_count(net, regions->len, error);
}

bool net_vhost_takes_memory(const struct virtio_net *net, const struct ram_block *ram, unsigned more,
			    GError **error)
{
	g_autoptr(GArray) regions = memory_regions(net->vdev.vm);
	return check_shared(net, ram->fd, error) && check_count(net, regions->len + more, error);
}

/* ---- Rings ---- */

static bool should_run(struct virtio_net *net, unsigned n)
{
	return virtq_ready(net->vdev.queues[n]) && n / 2 < net->current_pairs &&
	       net->backend->link_up && net->backend->vhost->ready(net->backend);
}

static void stop_ring(struct virtio_net *net, unsigned n)
{
	struct net_vhost_ring *ring = &net->vhost_rings[n];
	ring->started = false;
	/* A server that is gone had finished with what it marked used; the rest is done again. */
	if (!net->backend->vhost->stop_ring(net->backend, n, &ring->base))
		ring->base = virtq_used_index(net->vdev.queues[n]);
}

static bool start_ring(struct virtio_net *net, unsigned n, GError **error)
{
	struct virtq_layout layout = virtq_layout(net->vdev.queues[n]);
	struct vhost_ring ring = {
		.index = n, .size = layout.size, .base = net->vhost_rings[n].base,
		.desc = layout.host[VIRTQ_DESC], .avail = layout.host[VIRTQ_DRIVER],
		.used = layout.host[VIRTQ_DEVICE], .kick = layout.kick, .call = layout.call};
	net->vhost_rings[n].started = net->backend->vhost->start_ring(net->backend, &ring, error);
	return net->vhost_rings[n].started;
}

static bool prepare(struct virtio_net *net, GError **error)
{
	g_autoptr(GArray) regions = memory_regions(net->vdev.vm);
	/* Memory that was plugged in since may be of another kind. */
	return check_regions(net, regions, error) &&
	       net->backend->vhost->prepare(net->backend, net->vdev.accepted,
					    (const struct vhost_region *)regions->data, regions->len, error);
}

/* False: the server is there, but does not do it. */
static bool run_rings(struct virtio_net *net, GError **error)
{
	for (unsigned n = 0; n < 2 * net->pairs; n++) {
		if (net->vhost_rings[n].started || !should_run(net, n))
			continue;
		if (!net->vhost_prepared && !prepare(net, error))
			return false;
		net->vhost_prepared = true;
		if (!start_ring(net, n, error))
			return false;
	}
	return true;
}

void net_vhost_update(struct virtio_net *net)
{
	g_autoptr(GError) error = NULL;
	bool running = false;
	for (unsigned n = 0; n < 2 * net->pairs; n++) {
		if (net->vhost_rings[n].started && !should_run(net, n))
			stop_ring(net, n);
		running |= net->vhost_rings[n].started;
	}
	net->vhost_prepared &= running;
	if (run_rings(net, &error))
		return;
	/* A server that left in the middle will be given the rings again when it is back. */
	if (net->backend->vhost->ready(net->backend))
		virtio_broken(&net->vdev, "%s", error->message);
	else
		net_vhost_update(net);
}

void net_vhost_drop(struct virtio_net *net, unsigned n)
{
	net_vhost_update(net);
	net->vhost_rings[n].base = 0;
}

/* ---- Life ---- */

bool net_vhost_open(struct virtio_net *net, GError **error)
{
	const struct vhost_ops *vhost = net->backend->vhost;
	g_autoptr(GArray) regions = memory_regions(net->vdev.vm);
	if (!check_regions(net, regions, error))
		return false;
	vm_expose_memory(net->vdev.vm);
	/* Where the server goes on in a packed ring has a wrap counter too, which nothing here keeps. */
	net->vdev.withheld = vhost->lacks(net->backend) | VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	net->vhost_rings = g_new0(struct net_vhost_ring, 2 * net->pairs);
	for (unsigned n = 0; n < 2 * net->pairs; n++) {
		if (!virtq_serve_elsewhere(net->vdev.queues[n], error))
			return false;
	}
	return true;
}
