/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A unix or TCP socket. As a server it has one client at a time and listens again when that one
 * leaves; as a client it connects at start and, with reconnect=N, again N seconds after a loss.
 */
#include "aio/net.h"
#include "base/error.h"
#include "base/fd.h"
#include "chardev/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct socket_chardev {
	struct chardev chr;
	struct chardev_stream stream;
	struct aio_watch *listen_watch;
	struct aio_timer retry;
	char *path, *host, *port; /* path or host and port */
	char *address;            /* for people */
	bool server, nodelay;
	uint64_t reconnect; /* seconds, 0: never */
	int listener, fd;
};

static void await_client(struct socket_chardev *sock);

static void use_connection(struct socket_chardev *sock, int fd)
{
	int one = 1;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (sock->nodelay)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	sock->fd = fd;
	sock->stream.is_socket = true;
	chardev_stream_open(&sock->stream, fd, fd);
}

static void client_arrived(void *opaque, int listener, uint32_t events)
{
	struct socket_chardev *sock = opaque;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return; /* it left again */
	aio_watch_remove(sock->listen_watch);
	sock->listen_watch = NULL;
	use_connection(sock, fd);
}

static void await_client(struct socket_chardev *sock)
{
	sock->listen_watch =
		aio_watch_add(sock->chr.loop, sock->listener, POLLIN, client_arrived, sock);
}

static int connect_now(struct socket_chardev *sock, GError **error)
{
	return sock->path ? net_connect_unix(sock->path, error)
			  : net_connect_tcp(sock->host, sock->port, error);
}

static void retry_connect(void *opaque)
{
	struct socket_chardev *sock = opaque;
	g_autoptr(GError) error = NULL;
	int fd = connect_now(sock, &error);
	if (fd >= 0)
		use_connection(sock, fd);
	else
		aio_timer_arm(&sock->retry, aio_now_ns() + (int64_t)sock->reconnect * 1000000000);
}

static void socket_hangup(struct chardev_stream *stream)
{
	struct socket_chardev *sock = (struct socket_chardev *)stream->chr;
	fd_clear(&sock->fd);
	if (sock->server)
		await_client(sock);
	else if (sock->reconnect)
		aio_timer_arm(&sock->retry, aio_now_ns() + (int64_t)sock->reconnect * 1000000000);
}

/*
 * wait=on: the program does not start before somebody is there. A signal that the program handles
 * ends the wait, so that what has been set up is taken down again: the terminal, a pid file.
 */
static bool wait_for_client(struct socket_chardev *sock, GError **error)
{
	fprintf(stderr, "waiting for a connection on %s\n", sock->address);
	struct pollfd there = {.fd = sock->listener, .events = POLLIN};
	int fd = -1;
	if (poll(&there, 1, -1) < 0 && errno == EINTR)
		return error_set(error, BERTH_ERR_IO, "interrupted before somebody connected to %s",
				 sock->address);
	fd = accept4(sock->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "cannot accept a connection on %s",
				       sock->address);
	use_connection(sock, fd);
	return true;
}

static bool serve(struct socket_chardev *sock, bool wait, GError **error)
{
	sock->listener = sock->path ? net_listen_unix(sock->path, error)
				    : net_listen_tcp(sock->host, sock->port, error);
	if (sock->listener < 0)
		return false;
	if (wait)
		return wait_for_client(sock, error);
	await_client(sock);
	return true;
}

static bool start_client(struct socket_chardev *sock, GError **error)
{
	g_autoptr(GError) reason = NULL;
	int fd = connect_now(sock, &reason);
	if (fd >= 0) {
		use_connection(sock, fd);
	} else if (sock->reconnect) {
		aio_timer_arm(&sock->retry, aio_now_ns() + (int64_t)sock->reconnect * 1000000000);
	} else {
		g_propagate_error(error, g_steal_pointer(&reason));
		return false;
	}
	return true;
}

static bool parse(struct socket_chardev *sock, const struct args *args, bool *wait, GError **error)
{
	bool telnet = false, websocket = false;
	if (!args_bool(args, "server", &sock->server, error))
		return false;
	*wait = sock->server;
	if (!args_bool(args, "wait", wait, error) ||
	    !args_bool(args, "nodelay", &sock->nodelay, error) ||
	    !args_bool(args, "telnet", &telnet, error) ||
	    !args_bool(args, "websocket", &websocket, error) ||
	    !args_number(args, "reconnect", 0, 3600, &sock->reconnect, error))
		return false;
	if (telnet || websocket)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: telnet and websocket framing are not supported: use a plain "
				 "socket", args->what);
	if (*wait && !sock->server)
		return error_set(error, BERTH_ERR_INVALID, "%s: wait=on needs server=on", args->what);
	sock->path = g_strdup(args_string(args, "path"));
	if (sock->path) {
		sock->address = g_strdup_printf("unix:%s%s", sock->path,
						sock->server ? ",server=on" : "");
		return true;
	}
	const char *port = args_required(args, "port", error);
	if (!port) {
		g_prefix_error(error, "needs path=, or host= and port=: ");
		return false;
	}
	const char *host = args_string(args, "host");
	sock->host = g_strdup(host ? host : "");
	sock->port = g_strdup(port);
	sock->address = g_strdup_printf("tcp:%s:%s%s", sock->host, port,
					sock->server ? ",server=on" : "");
	return true;
}

static void socket_free(struct chardev *chr)
{
	struct socket_chardev *sock = (struct socket_chardev *)chr;
	aio_timer_cancel(&sock->retry);
	chardev_stream_destroy(&sock->stream);
	if (sock->listen_watch)
		aio_watch_remove(sock->listen_watch);
	fd_clear(&sock->fd);
	if (sock->listener >= 0 && sock->path)
		unlink(sock->path);
	fd_clear(&sock->listener);
	g_free(sock->path);
	g_free(sock->host);
	g_free(sock->port);
	g_free(sock->address);
	g_free(sock);
}

static struct chardev *socket_create(const struct args *args, struct aio_loop *loop, GError **error)
{
	struct socket_chardev *sock = g_new0(struct socket_chardev, 1);
	bool wait;
	sock->listener = sock->fd = -1;
	chardev_init(&sock->chr, &chardev_socket, loop, NULL);
	chardev_stream_init(&sock->stream, &sock->chr, socket_hangup);
	aio_timer_init(&sock->retry, loop, retry_connect, sock);
	if (!parse(sock, args, &wait, error) ||
	    !(sock->server ? serve(sock, wait, error) : start_client(sock, error))) {
		socket_free(&sock->chr);
		return NULL;
	}
	sock->chr.description = g_strdup(sock->address);
	return &sock->chr;
}

static size_t socket_write(struct chardev *chr, const void *data, size_t length)
{
	return chardev_stream_write(&((struct socket_chardev *)chr)->stream, data, length);
}

static void socket_update_input(struct chardev *chr)
{
	chardev_stream_update_input(&((struct socket_chardev *)chr)->stream);
}

static bool socket_send(struct chardev *chr, const void *data, size_t length, const int *fds, unsigned count)
{
	const struct socket_chardev *sock = (struct socket_chardev *)chr;
	union {
		char bytes[CMSG_SPACE(CHARDEV_SEND_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)data, length};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	g_assert(count <= CHARDEV_SEND_FDS);
	if (sock->fd < 0 || (count && !sock->path))
		return false;
	if (count) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
	}
	ssize_t n;
	do {
		n = sendmsg(sock->fd, &message, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)length;
}

static bool socket_wait(struct chardev *chr, int timeout_ms)
{
	struct socket_chardev *sock = (struct socket_chardev *)chr;
	struct pollfd there = {.fd = sock->fd >= 0 ? sock->fd : sock->listener, .events = POLLIN};
	if (there.fd < 0 || poll(&there, 1, timeout_ms) <= 0)
		return false;
	if (sock->fd < 0)
		client_arrived(sock, sock->listener, POLLIN);
	else
		chardev_stream_input(&sock->stream);
	return sock->fd >= 0;
}

static void socket_hang_up(struct chardev *chr)
{
	struct socket_chardev *sock = (struct socket_chardev *)chr;
	if (sock->fd < 0)
		return;
	chardev_stream_close(&sock->stream);
	socket_hangup(&sock->stream);
}

static const char *const socket_options[] = {
	"path", "host", "port", "server", "wait", "nodelay", "reconnect", "telnet", "websocket", NULL,
};

const struct chardev_ops chardev_socket = {
	.type = "socket",
	.options = socket_options,
	.create = socket_create,
	.write = socket_write,
	.update_input = socket_update_input,
	.free = socket_free,
	.send = socket_send,
	.wait = socket_wait,
	.hang_up = socket_hang_up,
};
