/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tap interface of the host: packets as on a cable, with the kernel's virtio-net header so that
 * checksums and segmentation are left to whoever does them last (Linux, networking/tuntap).
 *
 * `bridge` is a tap that this program makes and puts into a bridge.
 */
#include "aio/loop.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/internal.h"
#include "net/vhost_net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define TAP_QUEUES 16
/* The largest segment the kernel hands over, with its header. */
#define TAP_PACKET (NET_VNET_HEADER_SIZE + 65536 + 14)

struct tap_queue {
	struct tap_net *tap;
	unsigned index;
	int fd;
	struct aio_watch *watch;
	bool read_wanted, write_wanted;
	bool detached;  /* the kernel gives it no packets */
	size_t held; /* a packet was read that the guest had no room for */
	uint8_t packet[TAP_PACKET];
};

struct tap_net {
	struct net_backend net;
	struct net_receiver receiver;
	char name[IFNAMSIZ];
	char *downscript;
	struct vhost_net *vhost; /* the kernel moves the packets; or NULL */
	bool vnet_header, header_on, running;
	unsigned queue_count;
	struct tap_queue *queues[TAP_QUEUES];
};

static void queue_ready(void *opaque, int fd, uint32_t events);

static void update_watch(struct tap_queue *q)
{
	bool ours = q->tap->running && !q->tap->vhost;
	uint32_t events = ours ? (q->read_wanted ? POLLIN : 0) |
						    (q->write_wanted ? POLLOUT : 0) : 0;
	if (q->watch && events) {
		aio_watch_modify(q->watch, events);
	} else if (events) {
		q->watch = aio_watch_add(q->tap->net.loop, q->fd, events, queue_ready, q);
	} else if (q->watch) {
		aio_watch_remove(q->watch);
		q->watch = NULL;
	}
}

/* Hand q->packet over. False: no room; it is held. */
static bool deliver(struct tap_queue *q, size_t length)
{
	struct tap_net *tap = q->tap;
	struct iovec iov = {q->packet, length};
	if (!tap->receiver.receive || !tap->net.link_up) {
		q->held = 0;
		return true;
	}
	bool taken = tap->receiver.can_receive(tap->receiver.opaque, q->index) &&
		     tap->receiver.receive(tap->receiver.opaque, q->index, &iov, 1);
	q->held = taken ? 0 : length;
	return taken;
}

static void read_packets(struct tap_queue *q)
{
	/* Bounded, so that one busy cable does not starve what else is on the loop. */
	for (unsigned i = 0; i < 64; i++) {
		ssize_t n = read(q->fd, q->packet, sizeof(q->packet));
		if (n <= 0)
			return;
		if (!deliver(q, n)) {
			q->read_wanted = false;
			update_watch(q);
			return;
		}
	}
}

static void queue_ready(void *opaque, int fd, uint32_t events)
{
	struct tap_queue *q = opaque;
	if (events & POLLOUT) {
		q->write_wanted = false;
		update_watch(q);
		if (q->tap->receiver.writable)
			q->tap->receiver.writable(q->tap->receiver.opaque, q->index);
	}
	if (events & POLLIN)
		read_packets(q);
	else if (events & (POLLERR | POLLHUP) && q->watch) {
		/* The interface was deleted under us: nothing will come any more. */
		aio_watch_remove(q->watch);
		q->watch = NULL;
	}
}

static unsigned tap_queues(struct net_backend *net)
{
	return ((struct tap_net *)net)->queue_count;
}

static const struct net_receiver *tap_receiver(struct net_backend *net)
{
	struct tap_net *tap = (struct tap_net *)net;
	return &tap->receiver;
}

static void tap_set_receiver(struct net_backend *net, const struct net_receiver *receiver)
{
	struct tap_net *tap = (struct tap_net *)net;
	if (receiver)
		tap->receiver = *receiver;
	else
		memset(&tap->receiver, 0, sizeof(tap->receiver));
}

static bool tap_send(struct net_backend *net, unsigned queue, const struct iovec *iov,
		     unsigned count)
{
	struct tap_net *tap = (struct tap_net *)net;
	struct tap_queue *q = tap->queues[queue % tap->queue_count];
	if (!net->link_up)
		return true;
	if (writev(q->fd, iov, count) >= 0 || errno != EAGAIN)
		return true; /* sent, or lost as on a cable */
	q->write_wanted = true;
	update_watch(q);
	return false;
}

static void tap_receive_ready(struct net_backend *net, unsigned queue)
{
	struct tap_net *tap = (struct tap_net *)net;
	struct tap_queue *q = tap->queues[queue % tap->queue_count];
	if (q->held && !deliver(q, q->held))
		return;
	q->read_wanted = true;
	update_watch(q);
}

static uint32_t tap_offloads(struct net_backend *net)
{
	if (!((struct tap_net *)net)->vnet_header)
		return 0;
	return NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
}

static bool tap_set_vnet(struct net_backend *net, bool header, uint32_t offloads)
{
	struct tap_net *tap = (struct tap_net *)net;
	/* The kernel's header is there or not from the start: it cannot be taken off here. */
	if (header != tap->vnet_header)
		return false;
	if (!header)
		return true;
	unsigned flags = (offloads & NET_OFFLOAD_CSUM ? TUN_F_CSUM : 0) |
			 (offloads & NET_OFFLOAD_TSO4 ? TUN_F_TSO4 : 0) |
			 (offloads & NET_OFFLOAD_TSO6 ? TUN_F_TSO6 : 0) |
			 (offloads & NET_OFFLOAD_ECN ? TUN_F_TSO_ECN : 0);
	for (unsigned i = 0; i < tap->queue_count; i++) {
		int size = NET_VNET_HEADER_SIZE;
		if (ioctl(tap->queues[i]->fd, TUNSETVNETHDRSZ, &size) < 0 ||
		    ioctl(tap->queues[i]->fd, TUNSETOFFLOAD, flags) < 0)
			return false;
	}
	tap->header_on = header;
	return true;
}

/* The kernel spreads packets over the queues that are attached: over those that the guest fills. */
static void tap_set_queues(struct net_backend *net, unsigned count)
{
	struct tap_net *tap = (struct tap_net *)net;
	for (unsigned i = 0; tap->queue_count > 1 && i < tap->queue_count; i++) {
		struct tap_queue *q = tap->queues[i];
		bool detached = i >= count;
		struct ifreq request = {.ifr_flags = detached ? IFF_DETACH_QUEUE : IFF_ATTACH_QUEUE};
		if (detached == q->detached)
			continue;
		if (ioctl(q->fd, TUNSETQUEUE, &request) < 0)
			log_warning("tap interface %s: cannot switch queue %u %s: %s", tap->name, i,
				    detached ? "off" : "on", g_strerror(errno));
		else
			q->detached = detached;
	}
}

static void set_running(struct tap_net *tap, bool running)
{
	tap->running = running;
	for (unsigned i = 0; i < tap->queue_count; i++)
		update_watch(tap->queues[i]);
}

static void tap_start(struct net_backend *net)
{
	set_running((struct tap_net *)net, true);
}

static void tap_stop(struct net_backend *net)
{
	set_running((struct tap_net *)net, false);
}

/* A person's script that puts the interface where it belongs; "no" and "" mean none. */
static bool run_script(const char *script, const char *interface, GError **error)
{
	if (!script || !*script || g_str_equal(script, "no"))
		return true;
	char *argv[] = {(char *)script, (char *)interface, NULL};
	int status = 0;
	g_autoptr(GError) reason = NULL;
	if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, &reason) ||
	    !g_spawn_check_wait_status(status, &reason))
		return error_set(error, BERTH_ERR_IO, "the script '%s %s' failed: %s", script, interface,
				 reason->message);
	return true;
}

static void tap_free(struct net_backend *net)
{
	struct tap_net *tap = (struct tap_net *)net;
	set_running(tap, false);
	vhost_net_free(tap->vhost);
	run_script(tap->downscript, tap->name, NULL);
	for (unsigned i = 0; i < tap->queue_count; i++) {
		fd_clear(&tap->queues[i]->fd);
		g_free(tap->queues[i]);
	}
	g_free(tap->downscript);
	g_free(tap);
}

static char *tap_describe(struct net_backend *net)
{
	struct tap_net *tap = (struct tap_net *)net;
	return g_strdup_printf("tap interface %s, %u queue%s, header %s%s", tap->name, tap->queue_count,
			       tap->queue_count == 1 ? "" : "s", tap->header_on ? "on" : "off",
			       tap->vhost ? ", vhost" : "");
}

static const struct net_backend_ops tap_ops = {
	.type = "tap",
	.queues = tap_queues,
	.set_receiver = tap_set_receiver,
	.receiver = tap_receiver,
	.send = tap_send,
	.receive_ready = tap_receive_ready,
	.offloads = tap_offloads,
	.set_vnet = tap_set_vnet,
	.set_queues = tap_set_queues,
	.start = tap_start,
	.stop = tap_stop,
	.free = tap_free,
	.describe = tap_describe,
};

static void add_queue(struct tap_net *tap, int fd)
{
	struct tap_queue *q = g_new0(struct tap_queue, 1);
	q->tap = tap;
	q->index = tap->queue_count;
	q->fd = fd;
	q->read_wanted = true;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	tap->queues[tap->queue_count++] = q;
}

/* One more queue of interface tap->name, which is made if it does not exist. */
static bool open_queue(struct tap_net *tap, bool multi_queue, GError **error)
{
	auto_fd fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "cannot open /dev/net/tun (is the tun module "
				       "loaded, and may this user read and write it?)");
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	if (tap->vnet_header)
		request.ifr_flags |= IFF_VNET_HDR;
	if (multi_queue)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	strcpy(request.ifr_name, tap->name);
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		int why = errno;
		const char *advice =
			why == EPERM ? " (make it first: ip tuntap add NAME mode tap user $USER)"
			: why == EBUSY ? " (another program uses it)"
			: why == EINVAL ? " (it exists with other settings, such as multi_queue)" : "";
		return error_set_errno(error, why, "cannot use the tap interface '%s'%s", tap->name,
				       advice);
	}
	strcpy(tap->name, request.ifr_name);
	add_queue(tap, fd_steal(&fd));
	return true;
}

/* An open tap queue: its number, or -1. */
static int parse_queue(const char *number, struct ifreq *request)
{
	char *end;
	long fd = strtol(number, &end, 10);
	return *end || end == number || fd < 0 || fd > INT_MAX || ioctl(fd, TUNGETIFF, request) < 0 ? -1
												     : fd;
}

/* fd=N or fds=N:M:...: queues that the caller has opened. All are taken, or none. */
static bool adopt_queues(struct tap_net *tap, const char *list, GError **error)
{
	g_auto(GStrv) numbers = g_strsplit(list, ":", TAP_QUEUES + 1);
	struct ifreq request;
	unsigned count = g_strv_length(numbers);
	for (unsigned i = 0; i < count; i++) {
		if (i == TAP_QUEUES || parse_queue(numbers[i], &request) < 0)
			return error_set(error, BERTH_ERR_INVALID,
					 "-netdev tap, fd=%s: not an open tap queue", numbers[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		int fd = parse_queue(numbers[i], &request);
		tap->vnet_header = request.ifr_flags & IFF_VNET_HDR;
		strcpy(tap->name, request.ifr_name);
		add_queue(tap, fd);
	}
	return true;
}

/* They are the caller's again: returns false. */
static bool give_back_queues(struct tap_net *tap)
{
	for (unsigned i = 0; i < tap->queue_count; i++)
		tap->queues[i]->fd = -1;
	return false;
}

static struct tap_net *tap_new(struct aio_loop *loop)
{
	struct tap_net *tap = g_new0(struct tap_net, 1);
	tap->net.ops = &tap_ops;
	tap->net.loop = loop;
	tap->running = true;
	tap->vnet_header = true;
	return tap;
}

static bool set_name(struct tap_net *tap, const char *name, GError **error)
{
	if (strlen(name) >= IFNAMSIZ)
		return error_set(error, BERTH_ERR_INVALID,
				 "the interface name '%s' is too long: at most %d characters", name,
				 IFNAMSIZ - 1);
	strcpy(tap->name, name);
	return true;
}

/*
 * vhost=on: the kernel serves the rings if it can, and else this program does, unless vhostforce=on.
 * vhostfd=, vhostfds=: /dev/vhost-net as the caller has opened it, once for each queue.
 */
static bool open_vhost(struct tap_net *tap, const struct args *args, GError **error)
{
	const char *fds = args_string(args, "vhostfds"), *fd = args_string(args, "vhostfd");
	bool force = false, on = false;
	g_autoptr(GError) reason = NULL;
	int queues[TAP_QUEUES];
	if (!args_bool(args, "vhostforce", &force, error))
		return false;
	on = force || fd || fds;
	if (!args_bool(args, "vhost", &on, error))
		return false;
	if (!on && (fd || fds || force))
		return error_set(error, BERTH_ERR_INVALID, "%s: vhost=off goes with no other vhost option",
				 args->what);
	if (!on)
		return true;
	for (unsigned i = 0; i < tap->queue_count; i++)
		queues[i] = tap->queues[i]->fd;
	tap->vhost = vhost_net_open(&tap->net, queues, tap->queue_count, tap->vnet_header,
				    fds ? fds : fd, &reason);
	if (!tap->vhost && (force || fd || fds)) {
		g_propagate_prefixed_error(error, g_steal_pointer(&reason), "%s: ", args->what);
		return false;
	}
	if (!tap->vhost)
		log_warning("%s, vhost=on: %s; packets take the longer way", args->what, reason->message);
	return true;
}

static bool open_queues(struct tap_net *tap, const char *name, unsigned queues, GError **error)
{
	if (!set_name(tap, name ? name : "tap%d", error))
		return false;
	while (tap->queue_count < queues) {
		if (!open_queue(tap, queues > 1, error))
			return false;
	}
	return true;
}

static bool tap_open(struct tap_net *tap, const struct args *args, GError **error)
{
	uint64_t queues = 1;
	const char *name = args_string(args, "ifname"), *fds = args_string(args, "fds");
	const char *fd = args_string(args, "fd");
	if (!args_bool(args, "vnet_hdr", &tap->vnet_header, error) ||
	    !args_number(args, "queues", 1, TAP_QUEUES, &queues, error))
		return false;
	if (fd || fds)
		return adopt_queues(tap, fd ? fd : fds, error) &&
		       (open_vhost(tap, args, error) || give_back_queues(tap));
	if (!open_queues(tap, name, queues, error) || !open_vhost(tap, args, error))
		return false;
	tap->downscript = g_strdup(args_string(args, "downscript"));
	return run_script(args_string(args, "script"), tap->name, error);
}

static struct net_backend *tap_create(const struct args *args, const struct net_host *host,
				      GError **error)
{
	struct tap_net *tap = tap_new(host->loop);
	if (tap_open(tap, args, error))
		return &tap->net;
	tap_free(&tap->net);
	return NULL;
}

/* Put the interface into the bridge and switch it on. */
static bool join_bridge(const char *interface, const char *bridge, GError **error)
{
	auto_fd fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	if (strlen(bridge) >= IFNAMSIZ || !if_nametoindex(bridge))
		return error_set(error, BERTH_ERR_NOT_FOUND,
				 "there is no bridge '%s': ip link add %s type bridge makes one", bridge,
				 bridge);
	strcpy(request.ifr_name, bridge);
	request.ifr_ifindex = if_nametoindex(interface);
	if (ioctl(fd, SIOCBRADDIF, &request) < 0)
		return error_set_errno(error, errno, "cannot put '%s' into the bridge '%s'", interface,
				       bridge);
	memset(&request, 0, sizeof(request));
	strcpy(request.ifr_name, interface);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return error_set_errno(error, errno, "cannot read the state of '%s'", interface);
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return error_set_errno(error, errno, "cannot switch '%s' on", interface);
	return true;
}

static struct net_backend *bridge_create(const struct args *args, const struct net_host *host,
					 GError **error)
{
	const char *bridge = args_string(args, "br");
	struct tap_net *tap = tap_new(host->loop);
	if (set_name(tap, "tap%d", error) && open_queue(tap, false, error) &&
	    join_bridge(tap->name, bridge ? bridge : "br0", error))
		return &tap->net;
	tap_free(&tap->net);
	return NULL;
}

static const char *const tap_options[] = {"ifname", "fd",       "fds",    "script", "downscript",
					  "queues", "vnet_hdr", "vhost", "vhostfd", "vhostfds",
					  "vhostforce", NULL};
static const char *const bridge_options[] = {"br", NULL};

const struct net_kind net_kind_tap = {
	.type = "tap",
	.help = "a tap interface of the host, made beforehand or by root",
	.options = tap_options,
	.create = tap_create,
};

const struct net_kind net_kind_bridge = {
	.type = "bridge",
	.help = "a new tap interface in a bridge of the host; needs CAP_NET_ADMIN",
	.options = bridge_options,
	.create = bridge_create,
};
