/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A socket device's connections: unix sockets on the host's side, the table to find them by, and
 * the buffer between a guest that sends and a host that is slow to read. All on the main loop.
 */
#include "dev/virtio/vsock_int.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/units.h"
#include "vm/vm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Ports for connections from the host start where Linux's ephemeral vsock ports do not. */
#define HOST_PORT_FIRST 0x40000000

/* ---- Table ---- */

static struct vsock_connection **bucket_of(struct virtio_vsock *vsock, uint32_t guest_port,
					   uint32_t host_port)
{
	uint32_t hash = (guest_port * 0x9e3779b1u) ^ (host_port * 0x85ebca6bu);
	return &vsock->buckets[(hash >> 16) % VSOCK_BUCKETS];
}

struct vsock_connection *vsock_find(struct virtio_vsock *vsock, uint32_t guest_port,
				    uint32_t host_port)
{
	struct vsock_connection *conn = *bucket_of(vsock, guest_port, host_port);
	while (conn && (conn->guest_port != guest_port || conn->host_port != host_port))
		conn = conn->bucket_next;
	return conn;
}

static void table_add(struct vsock_connection *conn)
{
	struct vsock_connection **bucket =
		bucket_of(conn->vsock, conn->guest_port, conn->host_port);
	conn->bucket_next = *bucket;
	*bucket = conn;
}

static void table_remove(struct vsock_connection *conn)
{
	struct vsock_connection **at = bucket_of(conn->vsock, conn->guest_port, conn->host_port);
	while (*at != conn)
		at = &(*at)->bucket_next;
	*at = conn->bucket_next;
}

/* ---- Sockets ---- */

static bool fill_address(struct sockaddr_un *address, const char *path)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address->sun_path))
		return false;
	strcpy(address->sun_path, path);
	return true;
}

/* The peer has hung up, or cannot be written to: tell the driver and let go. */
static void abort_connection(struct vsock_connection *conn)
{
	struct virtio_vsock *vsock = conn->vsock;
	bool known = conn->state != VSOCK_GREETING;
	uint32_t guest_port = conn->guest_port, host_port = conn->host_port;
	vsock_close(conn);
	/* If too many wait, the driver finds out when it sends and gets a reset then. */
	if (known)
		vsock_queue_reset(vsock, guest_port, host_port);
}

/* "CONNECT P\n", byte by byte, so that nothing of what follows is swallowed. */
static void read_greeting(struct vsock_connection *conn)
{
	for (;;) {
		char c;
		ssize_t n = recv(conn->fd, &c, 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || conn->greeting_length == sizeof(conn->greeting) - 1) {
			vsock_close(conn);
			return;
		}
		if (c == '\n')
			break;
		conn->greeting[conn->greeting_length++] = c;
	}
	uint64_t port;
	struct virtio_vsock *vsock = conn->vsock;
	if (strncmp(conn->greeting, "CONNECT ", 8) ||
	    !units_parse_number(conn->greeting + 8, 0, UINT32_MAX, &port, NULL) ||
	    !virtq_ready(vsock->rx)) {
		vsock_close(conn);
		return;
	}
	table_remove(conn);
	conn->guest_port = port;
	do
		conn->host_port = HOST_PORT_FIRST | (vsock->next_port++ & (HOST_PORT_FIRST - 1));
	while (vsock_find(vsock, conn->guest_port, conn->host_port));
	table_add(conn);
	conn->state = VSOCK_CONNECTING;
	vsock_update_watch(conn);
	vsock_say(conn, VSOCK_SAY_REQUEST);
}

static void connection_ready(void *opaque, int fd, uint32_t events)
{
	struct vsock_connection *conn = opaque;
	if (conn->state == VSOCK_GREETING) {
		read_greeting(conn);
		return;
	}
	if (conn->state == VSOCK_CONNECTING) {
		/* Only a hang-up is looked at before the guest has answered. */
		if (events & (POLLHUP | POLLERR))
			abort_connection(conn);
		return;
	}
	if (events & (POLLOUT | POLLERR) && !vsock_flush(conn))
		return;
	if (events & (POLLIN | POLLHUP) && conn->state == VSOCK_OPEN)
		vsock_say(conn, VSOCK_SAY_DATA);
	else if (events & (POLLHUP | POLLERR))
		abort_connection(conn);
}

void vsock_update_watch(struct vsock_connection *conn)
{
	uint32_t events = 0;
	if (conn->state == VSOCK_GREETING)
		events = POLLIN;
	/* A connection in the queue reads by itself; without credit it waits for some. */
	if (conn->state == VSOCK_OPEN && !conn->host_eof && !conn->waiting && vsock_credit(conn))
		events |= POLLIN;
	if (conn->fill)
		events |= POLLOUT;
	/*
	 * POLLHUP comes unasked and goes on coming: it is looked for only while something else is,
	 * or while a hang-up is all that can happen.
	 */
	bool wanted = events || conn->state == VSOCK_CONNECTING;
	if (!wanted && conn->watch) {
		aio_watch_remove(conn->watch);
		conn->watch = NULL;
	} else if (wanted && !conn->watch) {
		conn->watch = aio_watch_add(conn->vsock->vdev.vm->loop, conn->fd, events,
					    connection_ready, conn);
	} else if (wanted) {
		aio_watch_modify(conn->watch, events);
	}
}

static struct vsock_connection *connection_new(struct virtio_vsock *vsock, int fd)
{
	struct vsock_connection *conn = g_new0(struct vsock_connection, 1);
	conn->vsock = vsock;
	conn->fd = fd;
	conn->buffer = g_malloc(VSOCK_BUFFER);
	vsock->connections++;
	return conn;
}

struct vsock_connection *vsock_connect_host(struct virtio_vsock *vsock, uint32_t guest_port,
					    uint32_t host_port)
{
	struct sockaddr_un address;
	g_autofree char *path = g_strdup_printf("%s_%u", vsock->uds_path, host_port);
	if (vsock->connections >= VSOCK_CONNECTIONS_MAX || !fill_address(&address, path))
		return NULL;
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A unix socket connects at once or not at all: a full backlog is a refusal. */
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return NULL;
	struct vsock_connection *conn = connection_new(vsock, fd_steal(&fd));
	conn->guest_port = guest_port;
	conn->host_port = host_port;
	conn->state = VSOCK_OPEN;
	table_add(conn);
	return conn;
}

void vsock_close(struct vsock_connection *conn)
{
	vsock_unqueue(conn);
	table_remove(conn);
	if (conn->watch)
		aio_watch_remove(conn->watch);
	close(conn->fd);
	conn->vsock->connections--;
	g_free(conn->buffer);
	g_free(conn);
}

void vsock_close_all(struct virtio_vsock *vsock)
{
	for (unsigned i = 0; i < VSOCK_BUCKETS; i++) {
		while (vsock->buckets[i])
			vsock_close(vsock->buckets[i]);
	}
}

void vsock_greet(struct vsock_connection *conn)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "OK %u\n", conn->host_port);
	conn->state = VSOCK_OPEN;
	/* The socket is fresh and its buffer empty: this is taken whole or the peer is gone. */
	if (send(conn->fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) != length) {
		abort_connection(conn);
		return;
	}
	vsock_update_watch(conn);
}

/* ---- Data from the guest ---- */

void vsock_to_host(struct vsock_connection *conn, const struct virtq_chain *chain, uint32_t length)
{
	uint32_t done = 0;
	while (done < length) {
		uint32_t tail = (conn->head + conn->fill) % VSOCK_BUFFER;
		uint32_t take = MIN(length - done, VSOCK_BUFFER - tail);
		size_t got = virtq_read(chain, VSOCK_HEADER + done, conn->buffer + tail, take);
		g_assert(got == take); /* the caller has checked the length against the chain */
		conn->fill += take;
		done += take;
	}
}

bool vsock_flush(struct vsock_connection *conn)
{
	while (conn->fill) {
		uint32_t take = MIN(conn->fill, VSOCK_BUFFER - conn->head);
		ssize_t n = send(conn->fd, conn->buffer + conn->head, take,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			abort_connection(conn);
			return false;
		}
		conn->head = (conn->head + n) % VSOCK_BUFFER;
		conn->fill -= n;
		conn->forwarded += n;
	}
	if (!conn->fill && conn->state == VSOCK_CLOSING) {
		vsock_close(conn);
		return false;
	}
	if (!conn->fill && conn->host_write_done)
		shutdown(conn->fd, SHUT_WR);
	vsock_update_watch(conn);
	/* Say so before the guest runs dry: at half of what it may send. */
	if (conn->state == VSOCK_OPEN &&
	    conn->forwarded - conn->told_forwarded >= VSOCK_BUFFER / 2)
		vsock_say(conn, VSOCK_SAY_CREDIT);
	return true;
}

/* ---- Connections from the host ---- */

static void accept_ready(void *opaque, int fd, uint32_t events)
{
	struct virtio_vsock *vsock = opaque;
	auto_fd peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (peer < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
			log_error("virtio-vsock: cannot accept on '%s': %s", vsock->uds_path,
				  g_strerror(errno));
			/* Out of descriptors, most likely: not again and again. */
			aio_watch_modify(vsock->listener_watch, 0);
		}
		return;
	}
	if (vsock->connections >= VSOCK_CONNECTIONS_MAX)
		return;
	struct vsock_connection *conn = connection_new(vsock, fd_steal(&peer));
	conn->state = VSOCK_GREETING;
	table_add(conn);
	vsock_update_watch(conn);
}

bool vsock_listen(struct virtio_vsock *vsock, GError **error)
{
	struct sockaddr_un address;
	/* The longest of the names that are made of it: PATH_4294967295. */
	if (strlen(vsock->uds_path) + 12 > sizeof(address.sun_path) ||
	    !fill_address(&address, vsock->uds_path))
		return error_set(error, BERTH_ERR_INVALID,
				 "uds-path '%s' is too long: a unix socket's name has at most %zu "
				 "characters, and 11 are needed for ports",
				 vsock->uds_path, sizeof(address.sun_path) - 1);
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set_errno(error, errno, "cannot create a socket for virtio-vsock");
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set_errno(error, errno, "cannot listen on uds-path '%s'%s",
				       vsock->uds_path,
				       errno == EADDRINUSE ? " (remove it if no VM uses it)" : "");
	if (listen(fd, 128) < 0)
		return error_set_errno(error, errno, "cannot listen on uds-path '%s'",
				       vsock->uds_path);
	vsock->listener = fd_steal(&fd);
	return true;
}

void vsock_unlisten(struct virtio_vsock *vsock)
{
	if (vsock->listener_watch)
		aio_watch_remove(vsock->listener_watch);
	vsock->listener_watch = NULL;
	if (vsock->listener >= 0)
		unlink(vsock->uds_path);
	fd_clear(&vsock->listener);
}

void vsock_accept(struct virtio_vsock *vsock)
{
	vsock->listener_watch = aio_watch_add(vsock->vdev.vm->loop, vsock->listener, POLLIN,
					      accept_ready, vsock);
}
