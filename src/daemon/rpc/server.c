/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening sockets, the list of clients, and the clock of the keepalive protocol. */
#include "daemon/rpc/internal.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/rpc/tls.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

const struct rpc_limits rpc_default_limits = {
	.clients = 5000, .anonymous = 20, .anonymous_s = 60, .calls = 256, .queued = 16U << 20,
	.keepalive_s = 5, .keepalive_misses = 5,
};

struct listener {
	struct rpc_server *server;
	int fd;
	const struct rpc_door *door;
	struct aio_watch *watch;
};

static void adopt(struct rpc_server *server, const struct rpc_door *door, int fd)
{
	static struct log_limit limit;
	auto_fd client = fd;
	if (server->clients->len >= server->limits.clients) {
		if (log_limit_allows(&limit, 1))
			log_warning("a client was turned away: there are %u already (max_clients)",
				    server->clients->len);
		return;
	}
	g_autoptr(GError) error = NULL;
	gnutls_session_t tls = door->tls ? tls_server_session(door->tls, &error) : NULL;
	if (door->tls && !tls)
		log_error("a client was turned away: %s", error->message);
	else
		client_new(server, door, fd_steal(&client), tls);
}

static void on_connection(void *opaque, int fd, uint32_t events)
{
	struct listener *listener = opaque;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client < 0) {
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		/* It would fail again at once: until a client leaves, or a while has passed. */
		log_warning("cannot accept a client: %s", g_strerror(errno));
		server_hold(listener->server, true);
		return;
	}
	adopt(listener->server, listener->door, client);
}

static void on_keepalive(void *opaque)
{
	struct rpc_server *server = opaque;
	int64_t patience_ns = server->limits.anonymous_s * INT64_C(1000000000);
	server_hold(server, false);
	/* Backwards: a client that does not answer is closed and leaves the list. */
	for (unsigned i = server->clients->len; i-- > 0;) {
		struct rpc_client *client = server->clients->pdata[i];
		if (client->state != CLIENT_KNOWN && aio_now_ns() - client->since_ns > patience_ns)
			client_close(client, "it does not authenticate");
		else
			client_ping(client);
	}
	aio_timer_arm(&server->keepalive,
		      aio_now_ns() + server->limits.keepalive_s * INT64_C(1000000000));
}

struct rpc_server *rpc_server_new(struct daemon *daemon, const struct rpc_limits *limits)
{
	struct rpc_server *server = g_new0(struct rpc_server, 1);
	server->daemon = daemon;
	server->limits = *limits;
	server->listeners = g_ptr_array_new();
	server->clients = g_ptr_array_new();
	server->idle_since_ns = aio_now_ns();
	server->events = g_ptr_array_new_with_free_func(g_free);
	aio_timer_init(&server->keepalive, daemon->loop, on_keepalive, server);
	on_keepalive(server);
	return server;
}

void rpc_server_free(struct rpc_server *server)
{
	if (!server)
		return;
	aio_timer_cancel(&server->keepalive);
	for (unsigned i = 0; i < server->listeners->len; i++) {
		struct listener *listener = server->listeners->pdata[i];
		aio_watch_remove(listener->watch);
		close(listener->fd);
		g_free(listener);
	}
	g_ptr_array_set_size(server->listeners, 0);
	while (server->clients->len)
		client_close(server->clients->pdata[0], "the daemon ends");
	g_ptr_array_unref(server->listeners);
	g_ptr_array_unref(server->clients);
	g_ptr_array_unref(server->events);
	rules_free(server->rules);
	g_free(server);
}

void rpc_server_set_rules(struct rpc_server *server, struct rules *rules)
{
	rules_free(server->rules);
	server->rules = rules;
}

void server_update_listeners(struct rpc_server *server)
{
	bool takes = server->anonymous < server->limits.anonymous && !server->on_hold;
	uint32_t events = takes ? POLLIN : 0;
	for (unsigned i = 0; i < server->listeners->len; i++)
		aio_watch_modify(((struct listener *)server->listeners->pdata[i])->watch, events);
}

void server_hold(struct rpc_server *server, bool hold)
{
	if (server->on_hold == hold)
		return;
	server->on_hold = hold;
	server_update_listeners(server);
}

void rpc_server_listen(struct rpc_server *server, int fd, const struct rpc_door *door)
{
	struct listener *listener = g_new0(struct listener, 1);
	listener->server = server;
	listener->fd = fd;
	listener->door = door;
	listener->watch = aio_watch_add(server->daemon->loop, fd, POLLIN, on_connection, listener);
	g_ptr_array_add(server->listeners, listener);
}

int64_t rpc_server_idle_ns(const struct rpc_server *server)
{
	return server->clients->len ? 0 : aio_now_ns() - server->idle_since_ns;
}
