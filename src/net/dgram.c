/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A packet in each datagram, as in QEMU's -netdev dgram: over UDP to one peer or to a multicast group
 * (whose members are one segment), over unix sockets, or over an open socket.
 *
 * Nobody says who may send: whoever can reach the socket is on the cable. The kernel gives a sender in a
 * group its own packets back, as on QEMU's.
 */
#include "aio/loop.h"
#include "aio/net.h"
#include "base/error.h"
#include "base/fd.h"
#include "net/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PACKET_MAX 65550 /* an Ethernet header and the largest IP packet, with room for a tag */
enum { AT_ONCE = 64 };
#define PATIENCE_NS 200000

struct dgram_net {
	struct net_backend net;
	struct net_receiver receiver;
	struct aio_watch *watch;
	struct aio_timer again;    /* for a unix peer that is behind */
	struct net_address remote; /* length 0: nobody's, or the socket knows */
	char *address;             /* for people */
	char *path;                /* of our own unix socket, which goes with us */
	int fd;
	bool connected;            /* the socket knows its peer */
	bool held;                 /* the guest has no room: packets wait in the socket */
	size_t kept;               /* bytes of one that waits in `packet`, for which the room was too little */
	bool full;                 /* send() was refused: writable() is due */
	uint8_t packet[PACKET_MAX];
};

static struct dgram_net *dgram_of(struct net_backend *net)
{
	return (struct dgram_net *)net;
}

/* ---- Packets ---- */

static void socket_ready(void *opaque, int fd, uint32_t events);

/* A unix socket without a peer of its own always seems writable: unix(7) looks at its own buffer only. */
static bool waits_by_clock(const struct dgram_net *dgram)
{
	return dgram->remote.to.ss_family == AF_UNIX;
}

static void update_watch(struct dgram_net *dgram)
{
	bool writes = dgram->full && !waits_by_clock(dgram);
	uint32_t events = (dgram->held ? 0 : POLLIN) | (writes ? POLLOUT : 0);
	if (dgram->watch && events) {
		aio_watch_modify(dgram->watch, events);
	} else if (events) {
		dgram->watch = aio_watch_add(dgram->net.loop, dgram->fd, events, socket_ready, dgram);
	} else if (dgram->watch) {
		aio_watch_remove(dgram->watch);
		dgram->watch = NULL;
	}
}

/* Bounded, so that one busy cable does not starve what else is on the loop. */
static void read_packets(struct dgram_net *dgram)
{
	const struct net_receiver *receiver = &dgram->receiver;
	for (unsigned i = 0; i < AT_ONCE; i++) {
		if (receiver->can_receive && !receiver->can_receive(receiver->opaque, 0)) {
			dgram->held = true;
			return;
		}
		/* What is longer than a packet can be is cut, and no packet. */
		ssize_t length = dgram->kept;
		dgram->kept = 0;
		if (!length)
			length = recv(dgram->fd, dgram->packet, sizeof(dgram->packet), MSG_TRUNC);
		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		/* An error is a peer's that does not listen now: ICMP has said so. */
		if (length <= 0 || length > PACKET_MAX || !receiver->receive || !dgram->net.link_up)
			continue;
		struct iovec iov = {dgram->packet, length};
		if (!receiver->receive(receiver->opaque, 0, &iov, 1)) {
			dgram->kept = length;
			dgram->held = true;
			return;
		}
	}
}

static void tell_writable(void *opaque)
{
	struct dgram_net *dgram = opaque;
	bool full = dgram->full;
	dgram->full = false;
	if (full && dgram->receiver.writable)
		dgram->receiver.writable(dgram->receiver.opaque, 0);
}

static void socket_ready(void *opaque, int fd, uint32_t events)
{
	struct dgram_net *dgram = opaque;
	if (events & POLLOUT)
		tell_writable(dgram);
	if (events & (POLLIN | POLLERR | POLLHUP))
		read_packets(dgram);
	update_watch(dgram);
}

static bool dgram_send(struct net_backend *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	struct dgram_net *dgram = dgram_of(net);
	struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = count};
	if (!net->link_up || (!dgram->remote.length && !dgram->connected))
		return true;
	if (dgram->remote.length) {
		message.msg_name = &dgram->remote.to;
		message.msg_namelen = dgram->remote.length;
	}
	while (sendmsg(dgram->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno == EAGAIN) {
			dgram->full = true;
			if (waits_by_clock(dgram))
				aio_timer_arm(&dgram->again, aio_now_ns() + PATIENCE_NS);
			update_watch(dgram);
			return false;
		}
		/* Too long for a datagram, or nobody is there: lost, as on a cable that ends nowhere. */
		if (errno != EINTR)
			return true;
	}
	return true;
}

static void dgram_receive_ready(struct net_backend *net, unsigned queue)
{
	struct dgram_net *dgram = dgram_of(net);
	if (!dgram->held)
		return;
	dgram->held = false;
	if (dgram->kept)
		read_packets(dgram);
	update_watch(dgram);
}

/* ---- Life ---- */

static unsigned dgram_queues(struct net_backend *net)
{
	return 1;
}

static void dgram_set_receiver(struct net_backend *net, const struct net_receiver *receiver)
{
	dgram_of(net)->receiver = receiver ? *receiver : (struct net_receiver){0};
}

static const struct net_receiver *dgram_receiver(struct net_backend *net)
{
	return &dgram_of(net)->receiver;
}

static void dgram_free(struct net_backend *net)
{
	struct dgram_net *dgram = dgram_of(net);
	aio_timer_cancel(&dgram->again);
	if (dgram->watch)
		aio_watch_remove(dgram->watch);
	if (dgram->fd >= 0 && dgram->path)
		unlink(dgram->path);
	fd_clear(&dgram->fd);
	g_free(dgram->path);
	g_free(dgram->address);
	g_free(dgram);
}

static char *dgram_describe(struct net_backend *net)
{
	return g_strdup_printf("dgram %s", dgram_of(net)->address);
}

static const struct net_backend_ops dgram_ops = {
	.type = "dgram",
	.queues = dgram_queues,
	.set_receiver = dgram_set_receiver,
	.receiver = dgram_receiver,
	.send = dgram_send,
	.receive_ready = dgram_receive_ready,
	.free = dgram_free,
	.describe = dgram_describe,
};

/* ---- Options ---- */

/* One end of the cable: "local" or "remote", in the words of the options. */
struct end {
	const char *type, *host, *port, *path, *str;
};

static struct end read_end(const struct args *args, const char *which)
{
	const char *values[5];
	static const char *const names[] = {"type", "host", "port", "path", "str"};
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *key = g_strdup_printf("%s.%s", which, names[i]);
		values[i] = args_string(args, key);
	}
	return (struct end){values[0], values[1], values[2], values[3], values[4]};
}

static bool is_type(const struct end *end, const char *type)
{
	return g_strcmp0(end->type, type) == 0;
}

static bool missing(GError **error, const struct args *args, const char *key)
{
	return error_set(error, BERTH_ERR_INVALID, "%s: %s= is missing", args->what, key);
}

/* A multicast group of IPv4: RFC 1112. */
static bool is_group(const struct end *remote)
{
	struct in_addr group;
	return is_type(remote, "inet") && remote->host && inet_pton(AF_INET, remote->host, &group) == 1 &&
	       IN_MULTICAST(ntohl(group.s_addr));
}

static bool adopt(struct dgram_net *dgram, const struct args *args, const struct end *local, GError **error)
{
	char *end;
	int type = 0;
	socklen_t size = sizeof(type);
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	long fd = local->str ? strtol(local->str, &end, 10) : -1;
	if (fd < 0 || *end || fd > INT_MAX || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
	    type != SOCK_DGRAM)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s, local.str=%s is not the number of an open datagram socket", args->what,
				 local->str ? local->str : "");
	dgram->fd = fd;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	dgram->connected = getpeername(fd, (struct sockaddr *)&peer, &length) == 0;
	dgram->address = g_strdup_printf("fd:%s", local->str);
	return true;
}

/* All members have the group's address and port; `local` says by which of the host's interfaces. */
static bool join(struct dgram_net *dgram, const struct args *args, const struct end *local,
		 const struct end *remote, GError **error)
{
	struct ip_mreq member = {0};
	const unsigned char loop = 1;
	if (!remote->port)
		return missing(error, args, "remote.port");
	if (local->host && inet_pton(AF_INET, local->host, &member.imr_interface) != 1)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s: local.host=%s is no IPv4 address of this host", args->what, local->host);
	if (!net_address_udp(remote->host, remote->port, AF_INET, false, &dgram->remote, error))
		return false;
	member.imr_multiaddr = ((struct sockaddr_in *)&dgram->remote.to)->sin_addr;
	dgram->address = g_strdup_printf("group %s:%s", remote->host, remote->port);
	dgram->fd = net_bind_datagrams(&dgram->remote, dgram->address, true, error);
	if (dgram->fd < 0)
		return false;
	return (setsockopt(dgram->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &member, sizeof(member)) == 0 &&
		setsockopt(dgram->fd, IPPROTO_IP, IP_MULTICAST_LOOP, &loop, sizeof(loop)) == 0 &&
		(!local->host || setsockopt(dgram->fd, IPPROTO_IP, IP_MULTICAST_IF, &member.imr_interface,
					    sizeof(member.imr_interface)) == 0)) ||
	       error_set_errno(error, errno, "%s: cannot join the %s", args->what, dgram->address);
}

static bool open_inet(struct dgram_net *dgram, const struct args *args, const struct end *local,
		      const struct end *remote, GError **error)
{
	struct net_address own;
	if (!local->port)
		return missing(error, args, "local.port");
	if (remote->type && (!is_type(remote, "inet") || !remote->host || !remote->port))
		return error_set(error, BERTH_ERR_INVALID,
				 "%s: with local.type=inet the other end is remote.type=inet with remote.host= "
				 "and remote.port=", args->what);
	if (!net_address_udp(local->host ? local->host : "", local->port,
			     remote->type ? AF_UNSPEC : AF_INET, true, &own, error) ||
	    (remote->type && !net_address_udp(remote->host, remote->port, own.to.ss_family, false,
					      &dgram->remote, error)))
		return false;
	dgram->address = remote->type ? g_strdup_printf("udp:%s:%s to %s:%s", local->host ? local->host : "",
							local->port, remote->host, remote->port)
				      : g_strdup_printf("udp:%s:%s", local->host ? local->host : "", local->port);
	return (dgram->fd = net_bind_datagrams(&own, dgram->address, true, error)) >= 0;
}

static bool open_unix(struct dgram_net *dgram, const struct args *args, const struct end *local,
		      const struct end *remote, GError **error)
{
	struct net_address own;
	if (!local->path)
		return missing(error, args, "local.path");
	if (remote->type && (!is_type(remote, "unix") || !remote->path))
		return error_set(error, BERTH_ERR_INVALID,
				 "%s: with local.type=unix the other end is remote.type=unix with remote.path=",
				 args->what);
	if (!net_address_unix(local->path, &own, error) ||
	    (remote->type && !net_address_unix(remote->path, &dgram->remote, error)))
		return false;
	dgram->address = g_strdup_printf("unix:%s to %s", local->path, remote->type ? remote->path : "nobody");
	dgram->fd = net_bind_datagrams(&own, local->path, false, error);
	if (dgram->fd >= 0)
		dgram->path = g_strdup(local->path);
	return dgram->fd >= 0;
}

static bool dgram_open(struct dgram_net *dgram, const struct args *args, GError **error)
{
	const struct end local = read_end(args, "local"), remote = read_end(args, "remote");
	bool group = is_group(&remote);
	if (is_type(&local, "fd")) {
		if (remote.type && !(is_type(&remote, "inet") && remote.host && remote.port))
			return error_set(error, BERTH_ERR_INVALID,
					 "%s: with local.type=fd the other end is remote.type=inet with "
					 "remote.host= and remote.port=, or the socket's own", args->what);
		return adopt(dgram, args, &local, error) &&
		       (!remote.type || net_address_udp(remote.host, remote.port, AF_UNSPEC, false,
							&dgram->remote, error));
	}
	if (group && (!local.type || is_type(&local, "inet")))
		return join(dgram, args, &local, &remote, error);
	if (is_type(&local, "inet"))
		return open_inet(dgram, args, &local, &remote, error);
	if (is_type(&local, "unix"))
		return open_unix(dgram, args, &local, &remote, error);
	return error_set(error, BERTH_ERR_INVALID,
			 "%s: local.type= is inet, unix or fd; only with a multicast group (remote.type=inet, "
			 "remote.host=224.0.0.0 to 239.255.255.255) it can be left out", args->what);
}

static struct net_backend *dgram_create(const struct args *args, const struct net_host *host, GError **error)
{
	struct dgram_net *dgram = g_new0(struct dgram_net, 1);
	dgram->net.ops = &dgram_ops;
	dgram->net.loop = host->loop;
	dgram->fd = -1;
	aio_timer_init(&dgram->again, host->loop, tell_writable, dgram);
	if (dgram_open(dgram, args, error)) {
		fcntl(dgram->fd, F_SETFL, fcntl(dgram->fd, F_GETFL) | O_NONBLOCK);
		update_watch(dgram);
		return &dgram->net;
	}
	dgram_free(&dgram->net);
	return NULL;
}

static const char *const dgram_options[] = {
	"local.type", "local.host", "local.port", "local.path", "local.str", "remote.type", "remote.host",
	"remote.port", "remote.path", NULL};

const struct net_kind net_kind_dgram = {
	.type = "dgram",
	.help = "packets in UDP, multicast or unix datagrams: to other VMs",
	.options = dgram_options,
	.create = dgram_create,
};
