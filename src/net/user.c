/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User-mode network: a private 10.0.2.0/24 behind NAT, by libslirp. Needs no rights on the host.
 *
 * libslirp wants to be asked for its descriptors before each poll and told the results after. Here
 * its set is compared with the loop's watches after each burst of activity (sync_watches()), and
 * results are collected in the table and handed over together (poll_sockets()).
 */
#include "net/user.h"

#include "aio/loop.h"
#include "base/error.h"
#include "base/log.h"
#include "net/internal.h"

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>

struct user_socket {
	struct user_net *user;
	int fd;
	int wanted, ready; /* SLIRP_POLL_* */
	struct aio_watch *watch;
};

struct user_timer {
	struct user_net *user;
	struct aio_timer timer;
	SlirpTimerId id;
	void *opaque;
};

static uint32_t to_poll(int slirp)
{
	return (slirp & SLIRP_POLL_IN ? POLLIN : 0) | (slirp & SLIRP_POLL_OUT ? POLLOUT : 0) |
	       (slirp & SLIRP_POLL_PRI ? POLLPRI : 0) | (slirp & SLIRP_POLL_ERR ? POLLERR : 0) |
	       (slirp & SLIRP_POLL_HUP ? POLLHUP : 0);
}

static int from_poll(uint32_t events)
{
	return (events & POLLIN ? SLIRP_POLL_IN : 0) | (events & POLLOUT ? SLIRP_POLL_OUT : 0) |
	       (events & POLLPRI ? SLIRP_POLL_PRI : 0) | (events & POLLERR ? SLIRP_POLL_ERR : 0) |
	       (events & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* Have update() run once, soon, however many things happen until then. */
static void schedule_update(struct user_net *user)
{
	aio_defer(user->net.loop, &user->update);
}

static void socket_ready(void *opaque, int fd, uint32_t events)
{
	struct user_socket *sock = opaque;
	sock->ready |= from_poll(events);
	schedule_update(sock->user);
}

static int socket_result(int index, void *opaque)
{
	struct user_net *user = opaque;
	if (index < 0 || index >= user->polled->len)
		return 0;
	struct user_socket *sock = g_ptr_array_index(user->polled, index);
	return sock->ready & (sock->wanted | SLIRP_POLL_ERR | SLIRP_POLL_HUP);
}

static int socket_wanted(int fd, int events, void *opaque)
{
	struct user_net *user = opaque;
	struct user_socket *sock = g_hash_table_lookup(user->sockets, GINT_TO_POINTER(fd));
	if (!sock) {
		sock = g_new0(struct user_socket, 1);
		sock->user = user;
		sock->fd = fd;
		g_hash_table_insert(user->sockets, GINT_TO_POINTER(fd), sock);
	}
	sock->wanted = events;
	sock->ready = 0;
	g_ptr_array_add(user->polled, sock);
	return user->polled->len - 1;
}

static void socket_free(void *opaque)
{
	struct user_socket *sock = opaque;
	if (sock->watch)
		aio_watch_remove(sock->watch);
	g_free(sock);
}

static gboolean socket_stale(gpointer key, gpointer value, gpointer opaque)
{
	struct user_socket *sock = value;
	return sock->wanted == 0;
}

/* Make the loop's watches those that libslirp wants now. */
static void sync_watches(struct user_net *user)
{
	uint32_t timeout_ms = UINT32_MAX;
	GHashTableIter iter;
	struct user_socket *sock;

	g_hash_table_iter_init(&iter, user->sockets);
	while (g_hash_table_iter_next(&iter, NULL, (void **)&sock))
		sock->wanted = 0;
	g_ptr_array_set_size(user->polled, 0);
	slirp_pollfds_fill(user->slirp, &timeout_ms, socket_wanted, user);
	g_hash_table_foreach_remove(user->sockets, socket_stale, NULL);

	for (unsigned i = 0; i < user->polled->len; i++) {
		sock = g_ptr_array_index(user->polled, i);
		if (sock->watch)
			aio_watch_modify(sock->watch, to_poll(sock->wanted));
		else
			sock->watch = aio_watch_add(user->net.loop, sock->fd, to_poll(sock->wanted),
						    socket_ready, sock);
	}
	if (timeout_ms != UINT32_MAX)
		aio_timer_arm(&user->poll_timer, aio_now_ns() + (int64_t)timeout_ms * 1000000);
	else
		aio_timer_cancel(&user->poll_timer);
}

static void update(void *opaque)
{
	struct user_net *user = opaque;
	slirp_pollfds_poll(user->slirp, 0, socket_result, user);
	sync_watches(user);
}

static void poll_timeout(void *opaque)
{
	update(opaque);
}

/* --- libslirp's callbacks ------------------------------------------------------------------------*/

static bool give_to_guest(struct user_net *user, const void *packet, size_t length)
{
	struct iovec iov = {(void *)packet, length};
	if (!user->net.link_up || !user->receiver.receive)
		return true; /* nobody there: gone, as on an unplugged cable */
	return user->receiver.can_receive(user->receiver.opaque, 0) &&
	       user->receiver.receive(user->receiver.opaque, 0, &iov, 1);
}

/* Packets that the guest had no room for wait here; when that is full too, TCP sends again. */
static void flush_backlog(struct user_net *user)
{
	while (user->backlog_used) {
		struct user_packet *packet = &user->backlog[user->backlog_first];
		if (!give_to_guest(user, packet->bytes, packet->length))
			return;
		user->backlog_first = (user->backlog_first + 1) % USER_BACKLOG;
		user->backlog_used--;
	}
}

static ssize_t send_packet(const void *buffer, size_t length, void *opaque)
{
	struct user_net *user = opaque;
	flush_backlog(user);
	if (user->backlog_used == 0 && give_to_guest(user, buffer, length))
		return length;
	if (user->backlog_used < USER_BACKLOG && length <= sizeof(user->backlog[0].bytes)) {
		unsigned slot = (user->backlog_first + user->backlog_used++) % USER_BACKLOG;
		user->backlog[slot].length = length;
		memcpy(user->backlog[slot].bytes, buffer, length);
	}
	return length;
}

static void guest_error(const char *message, void *opaque)
{
	log_guest_fault("network: %s", message);
}

static int64_t clock_ns(void *opaque)
{
	return aio_now_ns();
}

static void timer_fired(void *opaque)
{
	struct user_timer *timer = opaque;
	slirp_handle_timer(timer->user->slirp, timer->id, timer->opaque);
	schedule_update(timer->user);
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct user_net *user = opaque;
	struct user_timer *timer = g_new0(struct user_timer, 1);
	timer->user = user;
	timer->id = id;
	timer->opaque = cb_opaque;
	aio_timer_init(&timer->timer, user->net.loop, timer_fired, timer);
	return timer;
}

static void timer_free(void *opaque, void *user)
{
	struct user_timer *timer = opaque;
	aio_timer_cancel(&timer->timer);
	g_free(timer);
}

static void timer_mod(void *opaque, int64_t expire_ms, void *user)
{
	struct user_timer *timer = opaque;
	aio_timer_arm(&timer->timer, expire_ms * 1000000);
}

/* The set is compared as a whole; single announcements say nothing new. */
static void poll_fd_ignored(int fd, void *opaque)
{
}

static void notify(void *opaque)
{
	schedule_update(opaque);
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_ns,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = poll_fd_ignored,
	.unregister_poll_fd = poll_fd_ignored,
	.notify = notify,
	.timer_new_opaque = timer_new,
};

/* --- the packet interface ------------------------------------------------------------------------*/

static unsigned user_queues(struct net_backend *net)
{
	return 1;
}

static const struct net_receiver *user_receiver(struct net_backend *net)
{
	struct user_net *user = (struct user_net *)net;
	return &user->receiver;
}

static void user_set_receiver(struct net_backend *net, const struct net_receiver *receiver)
{
	struct user_net *user = (struct user_net *)net;
	if (receiver)
		user->receiver = *receiver;
	else
		memset(&user->receiver, 0, sizeof(user->receiver));
}

static bool user_send(struct net_backend *net, unsigned queue, const struct iovec *iov,
		      unsigned count)
{
	struct user_net *user = (struct user_net *)net;
	size_t length = 0;
	const uint8_t *packet = iov[0].iov_base;
	if (count == 1) {
		length = iov[0].iov_len;
		if (length > sizeof(user->packet))
			return true; /* no network has such packets */
	} else {
		packet = user->packet;
		for (unsigned i = 0; i < count; i++) {
			size_t n = MIN(iov[i].iov_len, sizeof(user->packet) - length);
			memcpy(user->packet + length, iov[i].iov_base, n);
			length += n;
		}
	}
	if (net->link_up)
		slirp_input(user->slirp, packet, length);
	schedule_update(user);
	return true;
}

static void user_receive_ready(struct net_backend *net, unsigned queue)
{
	flush_backlog((struct user_net *)net);
	schedule_update((struct user_net *)net);
}

static void user_start(struct net_backend *net)
{
	schedule_update((struct user_net *)net);
}

static void user_free(struct net_backend *net)
{
	struct user_net *user = (struct user_net *)net;
	memset(&user->receiver, 0, sizeof(user->receiver));
	aio_defer_cancel(net->loop, &user->update);
	aio_timer_cancel(&user->poll_timer);
	g_hash_table_unref(user->sockets);
	slirp_cleanup(user->slirp);
	g_ptr_array_unref(user->polled);
	g_free(user);
}

static char *user_describe(struct net_backend *net)
{
	struct user_net *user = (struct user_net *)net;
	g_autofree char *connections = slirp_connection_info(user->slirp);
	return g_strdup_printf("user-mode network, guest at %s\n%s", user->guest_address, connections);
}

static const struct net_backend_ops user_ops = {
	.type = "user",
	.large_tcp4 = true, /* libslirp ends the connection here; one packet is one acknowledgement */
	.queues = user_queues,
	.set_receiver = user_set_receiver,
	.receiver = user_receiver,
	.send = user_send,
	.receive_ready = user_receive_ready,
	.start = user_start,
	.free = user_free,
	.describe = user_describe,
};

static struct net_backend *user_create(const struct args *args, const struct net_host *host,
				       GError **error)
{
	struct user_options options;
	if (!user_options_parse(&options, args, error))
		return NULL;

	struct user_net *user = g_new0(struct user_net, 1);
	user->net.ops = &user_ops;
	user->net.loop = host->loop;
	user->sockets = g_hash_table_new_full(NULL, NULL, NULL, socket_free);
	user->polled = g_ptr_array_new();
	user->config = options.config;
	inet_ntop(AF_INET, &options.config.vdhcp_start, user->guest_address,
		  sizeof(user->guest_address));
	user->update = (struct aio_deferred){.fn = update, .opaque = user};
	aio_timer_init(&user->poll_timer, host->loop, poll_timeout, user);
	user->slirp = slirp_new(&user->config, &callbacks, user);
	bool ok = user->slirp != NULL;
	if (!ok)
		error_set(error, BERTH_ERR_INTERNAL, "libslirp refused the network's settings");
	ok = ok && user_add_forwards(user->slirp, &options.config, args, error);
	g_strfreev(options.dns_search);
	if (ok) {
		schedule_update(user);
		return &user->net;
	}
	if (user->slirp)
		user_free(&user->net);
	else
		g_free(user);
	return NULL;
}

const struct net_kind net_kind_user = {
	.type = "user",
	.help = "private network behind NAT on the host's own sockets; needs no rights",
	.options = user_option_names,
	.create = user_create,
};
