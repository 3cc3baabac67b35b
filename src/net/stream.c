/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets on a stream socket, each after its length in 4 bytes, big endian, as in QEMU's -netdev stream:
 * to passt, or to another VM. As a server it takes one peer at a time; as a client it connects at the
 * start and, with reconnect=N, again N seconds after a loss. While nobody is there packets are lost, as on
 * a cable that ends nowhere.
 *
 * The peer may be hostile: a length beyond what a packet can have ends the connection.
 */
#include "aio/loop.h"
#include "aio/net.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define LENGTH     4
#define PACKET_MAX 65550 /* an Ethernet header and the largest IP packet, with room for a tag */

struct stream_net {
	struct net_backend net;
	struct net_receiver receiver;
	struct aio_watch *listen_watch, *watch;
	struct aio_timer retry;
	char *path, *host, *port; /* of the peer or, for a server, our own; all NULL: an open socket */
	char *address;            /* for people */
	bool server;
	uint64_t reconnect;       /* seconds, 0: never */
	int listener, fd;
	bool held;                /* a packet waits until the guest has room */
	bool full;                /* send() was refused: writable() is due */
	size_t in_length;         /* bytes in `in`, which begins with a length */
	size_t out_length, out_sent;
	uint8_t in[LENGTH + PACKET_MAX];
	uint8_t out[LENGTH + PACKET_MAX]; /* the rest of a packet that the socket did not take whole */
};

static struct stream_net *stream_of(struct net_backend *net)
{
	return (struct stream_net *)net;
}

static void socket_ready(void *opaque, int fd, uint32_t events);
static void await_peer(struct stream_net *stream);

/* ---- Connection ---- */

static void update_watch(struct stream_net *stream)
{
	/* Without a flag the peer's hang-up would be reported for ever while a packet is held. */
	uint32_t events = (stream->held ? 0 : POLLIN) |
			  (stream->out_length > stream->out_sent || stream->full ? POLLOUT : 0);
	if (stream->watch && events) {
		aio_watch_modify(stream->watch, events);
	} else if (events) {
		stream->watch = aio_watch_add(stream->net.loop, stream->fd, events, socket_ready, stream);
	} else if (stream->watch) {
		aio_watch_remove(stream->watch);
		stream->watch = NULL;
	}
}

static void use_connection(struct stream_net *stream, int fd)
{
	int one = 1;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	/* Fails on a unix socket, which never waits for more. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	stream->fd = fd;
	stream->in_length = stream->out_length = stream->out_sent = 0;
	stream->held = false;
	update_watch(stream);
}

static void arm_retry(struct stream_net *stream)
{
	aio_timer_arm(&stream->retry, aio_now_ns() + (int64_t)stream->reconnect * 1000000000);
}

static void tell_writable(struct stream_net *stream)
{
	bool full = stream->full;
	stream->full = false;
	if (full && stream->receiver.writable)
		stream->receiver.writable(stream->receiver.opaque, 0);
}

static void hang_up(struct stream_net *stream)
{
	if (stream->fd < 0)
		return;
	if (stream->watch)
		aio_watch_remove(stream->watch);
	stream->watch = NULL;
	fd_clear(&stream->fd);
	stream->held = false;
	if (stream->listener >= 0)
		await_peer(stream);
	else if (stream->reconnect)
		arm_retry(stream);
	tell_writable(stream);
}

static void peer_arrived(void *opaque, int listener, uint32_t events)
{
	struct stream_net *stream = opaque;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return; /* it left again */
	aio_watch_remove(stream->listen_watch);
	stream->listen_watch = NULL;
	use_connection(stream, fd);
}

static void await_peer(struct stream_net *stream)
{
	stream->listen_watch =
		aio_watch_add(stream->net.loop, stream->listener, POLLIN, peer_arrived, stream);
}

static int connect_now(struct stream_net *stream, GError **error)
{
	return stream->path ? net_connect_unix(stream->path, error)
			    : net_connect_tcp(stream->host, stream->port, error);
}

static void retry_connect(void *opaque)
{
	struct stream_net *stream = opaque;
	g_autoptr(GError) error = NULL;
	int fd = connect_now(stream, &error);
	if (fd >= 0)
		use_connection(stream, fd);
	else
		arm_retry(stream);
}

/* ---- Packets to the guest ---- */

/* False: the guest has no room. */
static bool deliver(struct stream_net *stream, uint8_t *packet, size_t length)
{
	const struct net_receiver *receiver = &stream->receiver;
	struct iovec iov = {packet, length};
	if (!receiver->receive || !stream->net.link_up)
		return true;
	return receiver->can_receive(receiver->opaque, 0) &&
	       receiver->receive(receiver->opaque, 0, &iov, 1);
}

/* Hand over what is whole. False: the connection is no more. */
static bool deliver_all(struct stream_net *stream)
{
	size_t at = 0;
	stream->held = false;
	while (stream->in_length - at >= LENGTH) {
		uint32_t length = be32_load(stream->in + at);
		if (!length || length > PACKET_MAX) {
			log_warning("%s: %s sent a packet of %u bytes: the connection ends", stream->net.id,
				    stream->address, length);
			hang_up(stream);
			return false;
		}
		if (stream->in_length - at < LENGTH + length)
			break;
		if (!deliver(stream, stream->in + at + LENGTH, length)) {
			stream->held = true;
			break;
		}
		at += LENGTH + length;
	}
	stream->in_length -= at;
	memmove(stream->in, stream->in + at, stream->in_length);
	return true;
}

static void read_packets(struct stream_net *stream)
{
	/* Bounded, so that one busy cable does not starve what else is on the loop. */
	for (unsigned i = 0; i < 16 && !stream->held; i++) {
		ssize_t n = recv(stream->fd, stream->in + stream->in_length,
				 sizeof(stream->in) - stream->in_length, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			hang_up(stream);
			return;
		}
		stream->in_length += n;
		if (!deliver_all(stream))
			return;
	}
}

static void stream_receive_ready(struct net_backend *net, unsigned queue)
{
	struct stream_net *stream = stream_of(net);
	if (stream->fd >= 0 && stream->held && deliver_all(stream))
		update_watch(stream);
}

/* ---- Packets from the guest ---- */

/* Send what is left of a packet. False: something still is. */
static bool flush(struct stream_net *stream)
{
	while (stream->out_sent < stream->out_length) {
		ssize_t n = send(stream->fd, stream->out + stream->out_sent,
				 stream->out_length - stream->out_sent, MSG_NOSIGNAL);
		if (n > 0)
			stream->out_sent += n;
		else if (errno == EAGAIN)
			return false;
		else if (errno != EINTR)
			stream->out_sent = stream->out_length; /* the input side will see the hang-up */
	}
	return true;
}

static void socket_ready(void *opaque, int fd, uint32_t events)
{
	struct stream_net *stream = opaque;
	if (events & POLLOUT && flush(stream))
		tell_writable(stream);
	if (stream->fd == fd && events & (POLLIN | POLLHUP | POLLERR))
		read_packets(stream);
	if (stream->fd >= 0)
		update_watch(stream);
}

static bool stream_send(struct net_backend *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	struct stream_net *stream = stream_of(net);
	if (!net->link_up || stream->fd < 0)
		return true;
	if (stream->out_sent < stream->out_length && !flush(stream)) {
		stream->full = true;
		update_watch(stream);
		return false;
	}
	size_t at = LENGTH;
	for (unsigned i = 0; i < count; i++) {
		if (iov[i].iov_len > sizeof(stream->out) - at)
			return true; /* longer than a packet can be */
		memcpy(stream->out + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	be32_store(stream->out, at - LENGTH);
	stream->out_length = at;
	stream->out_sent = 0;
	if (!flush(stream))
		update_watch(stream);
	return true;
}

/* ---- Life ---- */

static unsigned stream_queues(struct net_backend *net)
{
	return 1;
}

static void stream_set_receiver(struct net_backend *net, const struct net_receiver *receiver)
{
	stream_of(net)->receiver = receiver ? *receiver : (struct net_receiver){0};
}

static const struct net_receiver *stream_receiver(struct net_backend *net)
{
	return &stream_of(net)->receiver;
}

static void stream_free(struct net_backend *net)
{
	struct stream_net *stream = stream_of(net);
	aio_timer_cancel(&stream->retry);
	if (stream->watch)
		aio_watch_remove(stream->watch);
	if (stream->listen_watch)
		aio_watch_remove(stream->listen_watch);
	fd_clear(&stream->fd);
	if (stream->listener >= 0 && stream->path)
		unlink(stream->path);
	fd_clear(&stream->listener);
	g_free(stream->path);
	g_free(stream->host);
	g_free(stream->port);
	g_free(stream->address);
	g_free(stream);
}

static char *stream_describe(struct net_backend *net)
{
	const struct stream_net *stream = stream_of(net);
	return g_strdup_printf("stream %s, %s", stream->address,
			       stream->fd >= 0 ? "connected" : "not connected");
}

static const struct net_backend_ops stream_ops = {
	.type = "stream",
	.queues = stream_queues,
	.set_receiver = stream_set_receiver,
	.receiver = stream_receiver,
	.send = stream_send,
	.receive_ready = stream_receive_ready,
	.free = stream_free,
	.describe = stream_describe,
};

/* addr.type=fd: a connected socket, or a server's that listens. It becomes ours if all is well. */
static bool adopt(struct stream_net *stream, const char *number, GError **error)
{
	char *end;
	int listens = 0;
	socklen_t size = sizeof(listens);
	long fd = strtol(number, &end, 10);
	if (*end || end == number || fd < 0 || fd > INT_MAX ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "-netdev stream, addr.str=%s is not the number of an open socket", number);
	if (!listens != !stream->server)
		return error_set(error, BERTH_ERR_INVALID,
				 "-netdev stream, addr.str=%s: the socket listens, or not, other than "
				 "server= says", number);
	stream->address = g_strdup_printf("fd:%s", number);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (listens)
		stream->listener = fd;
	else
		use_connection(stream, fd);
	return true;
}

static bool parse_address(struct stream_net *stream, const struct args *args, GError **error)
{
	const char *type = args_required(args, "addr.type", error), *need = NULL;
	if (!type)
		return false;
	if (g_str_equal(type, "fd")) {
		need = args_required(args, "addr.str", error);
		return need && adopt(stream, need, error);
	}
	if (g_str_equal(type, "unix")) {
		need = args_required(args, "addr.path", error);
		stream->path = g_strdup(need);
		stream->address = g_strdup_printf("unix:%s", stream->path);
		return need != NULL;
	}
	if (!g_str_equal(type, "inet"))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: addr.type=%s is not supported; there are inet, unix and fd", args->what,
				 type);
	need = args_required(args, "addr.port", error);
	stream->host = g_strdup(args_string(args, "addr.host") ? args_string(args, "addr.host") : "");
	stream->port = g_strdup(need);
	stream->address = g_strdup_printf("tcp:%s:%s", stream->host, stream->port);
	return need != NULL;
}

static bool stream_open(struct stream_net *stream, GError **error)
{
	if (stream->server && stream->listener < 0)
		stream->listener = stream->path ? net_listen_unix(stream->path, error)
						: net_listen_tcp(stream->host, stream->port, error);
	if (stream->server && stream->listener >= 0)
		await_peer(stream);
	if (stream->server || stream->fd >= 0)
		return stream->listener >= 0 || stream->fd >= 0;
	g_autoptr(GError) reason = NULL;
	int fd = connect_now(stream, &reason);
	if (fd >= 0)
		use_connection(stream, fd);
	else if (stream->reconnect)
		arm_retry(stream);
	else
		g_propagate_error(error, g_steal_pointer(&reason));
	return fd >= 0 || stream->reconnect;
}

static struct net_backend *stream_create(const struct args *args, const struct net_host *host,
					 GError **error)
{
	struct stream_net *stream = g_new0(struct stream_net, 1);
	stream->net.ops = &stream_ops;
	stream->net.loop = host->loop;
	stream->fd = stream->listener = -1;
	aio_timer_init(&stream->retry, host->loop, retry_connect, stream);
	if (args_bool(args, "server", &stream->server, error) &&
	    args_number(args, "reconnect", 0, 3600, &stream->reconnect, error)) {
		if (stream->server && stream->reconnect)
			error_set(error, BERTH_ERR_INVALID, "%s: reconnect= is for server=off", args->what);
		else if (parse_address(stream, args, error) && stream_open(stream, error))
			return &stream->net;
	}
	stream_free(&stream->net);
	return NULL;
}

static const char *const stream_options[] = {
	"server", "reconnect", "addr.type", "addr.path", "addr.host", "addr.port", "addr.str", NULL};

const struct net_kind net_kind_stream = {
	.type = "stream",
	.help = "packets on a unix or TCP socket: to passt, or to another VM",
	.options = stream_options,
	.create = stream_create,
};
