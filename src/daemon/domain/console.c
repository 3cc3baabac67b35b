/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's serial line or channel as a stream: the VMM's pseudo-terminal or socket on one side, a client on
 * the other.
 */
#include "daemon/domain/console.h"

#include "daemon/domain/agent.h"
#include "daemon/domain/vmm.h"

#include "aio/net.h"
#include "base/fd.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 4096, MAX_TYPED = 65536 };

struct console {
	struct domain *dom; /* pinned */
	char *alias;        /* of the device */
	struct rpc_stream *stream;
	int fd;
	struct aio_watch *watch;
	GByteArray *typed; /* by the client, not yet taken by the terminal */
	bool full;         /* the client does not keep up */
	bool ended;        /* the VMM has gone, and the client was told */
};

static void update(struct console *console)
{
	if (!console->ended)
		aio_watch_modify(console->watch, (console->full ? 0 : POLLIN) |
							 (console->typed->len ? POLLOUT : 0));
}

static void send_typed(struct console *console)
{
	while (console->typed->len) {
		ssize_t n = write(console->fd, console->typed->data, console->typed->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		g_byte_array_remove_range(console->typed, 0, n);
	}
	update(console);
}

static void on_terminal(void *opaque, int fd, uint32_t events)
{
	struct console *console = opaque;
	uint8_t buffer[CHUNK];
	if (events & POLLOUT)
		send_typed(console);
	if (!(events & (POLLIN | POLLHUP | POLLERR)))
		return;
	ssize_t n = read(fd, buffer, sizeof(buffer));
	if (n > 0) {
		console->full = !rpc_stream_send(console->stream, buffer, n);
		/* The stream may be gone now, and the console with it. */
		if (console->full && console->stream)
			update(console);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		/* The VMM has ended. */
		aio_watch_modify(console->watch, 0);
		console->ended = true;
		rpc_stream_send_eof(console->stream);
	}
}

static void on_received(void *opaque, const uint8_t *data, size_t length)
{
	struct console *console = opaque;
	/* A guest that does not read its line loses what does not fit, as on a real one. */
	if (console->typed->len + length <= MAX_TYPED)
		g_byte_array_append(console->typed, data, length);
	send_typed(console);
}

static void on_drained(void *opaque)
{
	struct console *console = opaque;
	console->full = false;
	update(console);
}

static void release(void *opaque)
{
	struct console *console = opaque;
	g_byte_array_unref(console->typed);
	g_free(console->alias);
	g_free(console);
}

static void on_closed(void *opaque)
{
	struct console *console = opaque;
	struct domain *dom = console->dom;
	console->stream = NULL;
	aio_watch_remove(console->watch);
	fd_clear(&console->fd);
	dom->consoles = g_slist_remove(dom->consoles, console);
	/* on_terminal() may be on the stack. */
	aio_loop_post(dom->all->daemon->loop, release, console);
	domain_unpin(dom);
}

static const struct rpc_stream_ops console_ops = {
	.received = on_received, .drained = on_drained, .closed = on_closed,
};

static bool is_running(const struct domain *dom, GError **error)
{
	return dom->live ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID, "domain is not running");
}

const struct conf_domain_char *console_find(const struct domain *dom, const char *device, GError **error)
{
	for (unsigned i = 0; i < dom->live->chars->len; i++) {
		const struct conf_domain_char *chr = dom->live->chars->pdata[i];
		bool first = !device && chr->kind != CONF_DOMAIN_CHANNEL;
		if (first || g_strcmp0(device, chr->dev.alias) == 0)
			return chr;
	}
	virt_error(error, VIRT_FROM_QEMU, VIRT_INTERNAL, "cannot find console device '%s'",
		   device ? device : "default");
	return NULL;
}

static int open_terminal(const struct conf_domain_char *chr, GError **error)
{
	if (!chr->path || strcmp(chr->type, "pty") != 0) {
		virt_error(error, VIRT_FROM_QEMU, VIRT_INTERNAL, "character device %s is not using a PTY",
			   chr->dev.alias);
		return -1;
	}
	int fd = open(chr->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		error_set_errno(error, errno, "cannot open '%s'", chr->path);
	return fd;
}

/* By alias or the guest's name for it, or the first one. NULL with an error. */
static const struct conf_domain_char *find_channel(const struct domain *dom, const char *name, GError **error)
{
	for (unsigned i = 0; i < dom->live->chars->len; i++) {
		const struct conf_domain_char *chr = dom->live->chars->pdata[i];
		if (chr->kind != CONF_DOMAIN_CHANNEL ||
		    (name && strcmp(name, chr->dev.alias) != 0 && g_strcmp0(name, chr->name) != 0))
			continue;
		if (strcmp(chr->type, "unix") == 0 && chr->listens)
			return chr;
		virt_error(error, VIRT_FROM_QEMU, VIRT_INTERNAL, "channel %s is not using a UNIX socket",
			   chr->dev.alias);
		return NULL;
	}
	virt_error(error, VIRT_FROM_QEMU, VIRT_INTERNAL, "cannot find channel %s", name ? name : "(null)");
	return NULL;
}

/* Of what the guest says each reader gets a part: one at a time, and by force the later one. */
static bool take_over(struct domain *dom, const char *alias, const char *what, bool force, GError **error)
{
	for (GSList *link = dom->consoles; link; link = link->next) {
		struct console *console = link->data;
		GError *why = NULL;
		if (strcmp(console->alias, alias) != 0)
			continue;
		if (!force)
			return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
					  "Active %s exists for this domain", what);
		virt_error(&why, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
			   "%s of domain '%s' was opened by another client", alias, dom->name);
		rpc_stream_end(console->stream, why);
		return true;
	}
	return true;
}

static void attach(struct rpc_call *call, struct domain *dom, const char *alias, int fd)
{
	struct console *console = g_new0(struct console, 1);
	console->stream = rpc_stream_open(call, &console_ops, console);
	if (!console->stream) {
		close(fd);
		g_free(console);
		return;
	}
	console->dom = domain_pin(dom);
	console->alias = g_strdup(alias);
	console->fd = fd;
	console->typed = g_byte_array_new();
	console->watch = aio_watch_add(dom->all->daemon->loop, fd, POLLIN, on_terminal, console);
	dom->consoles = g_slist_prepend(dom->consoles, console);
}

/* SAFE asks for no more than is done anyway. WATCH is ours: libvirt's library passes flags on unseen. */
void serve_domain_open_console(struct rpc_call *call,
			       const struct remote_domain_open_console_args *args)
{
	enum { FORCE = 1, SAFE = 2, WATCH = 1 << 16 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, args->flags & WATCH ? WATCH : FORCE | SAFE))
		return;
	GError *error = NULL;
	const struct conf_domain_char *chr =
		is_running(dom, &error) ? console_find(dom, args->device, &error) : NULL;
	if (chr && args->flags & WATCH) {
		console_watch(call, dom, chr);
		return;
	}
	auto_fd fd = chr ? open_terminal(chr, &error) : -1;
	if (fd < 0 || !take_over(dom, chr->dev.alias, "console session", args->flags & FORCE, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	attach(call, dom, chr->dev.alias, fd_steal(&fd));
	rpc_call_reply(call, NULL);
}

/* The VMM takes one at a time at the socket: the one before must be gone first. */
static int connect_channel(struct domain *dom, const struct conf_domain_char *chr, bool force, GError **error)
{
	g_autofree char *path = vmm_channel_path(dom, chr);
	if (agent_has_channel(dom, chr->dev.alias)) {
		virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
			   "channel %s is the daemon's link to the guest agent", chr->dev.alias);
		return -1;
	}
	return take_over(dom, chr->dev.alias, "channel stream", force, error) ? net_connect_unix_now(path, error)
									      : -1;
}

void serve_domain_open_channel(struct rpc_call *call,
			       const struct remote_domain_open_channel_args *args)
{
	enum { FORCE = 1 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, FORCE))
		return;
	GError *error = NULL;
	const struct conf_domain_char *chr =
		is_running(dom, &error) ? find_channel(dom, args->name, &error) : NULL;
	auto_fd fd = chr ? connect_channel(dom, chr, args->flags & FORCE, &error) : -1;
	if (fd < 0) {
		rpc_call_fail(call, error);
		return;
	}
	attach(call, dom, chr->dev.alias, fd_steal(&fd));
	rpc_call_reply(call, NULL);
}
