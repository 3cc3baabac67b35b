/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of kinds, creation from QEMU's two spellings, and what all streams do alike. */
#include "chardev/internal.h"

#include "base/error.h"
#include "base/fd.h"
#include "codec/keyval.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static const struct chardev_ops *const kinds[] = {
	&chardev_null,   &chardev_stdio,  &chardev_pty, &chardev_socket,
	&chardev_file,   &chardev_pipe,   &chardev_ringbuf,
};

#define HANDED_OVER "/dev/fd/"

static const char *const common_options[] = {"mux", "logfile", "logappend"};

void chardev_init(struct chardev *chr, const struct chardev_ops *ops, struct aio_loop *loop,
		  char *description)
{
	chr->ops = ops;
	chr->loop = loop;
	chr->description = description;
	chr->log_fd = chr->passed_fd = -1;
}

void chardev_keep_fd(struct chardev *chr, int fd)
{
	fd_clear(&chr->passed_fd);
	chr->passed_fd = fd;
}

int chardev_take_fd(struct chardev *chr)
{
	return fd_steal(&chr->passed_fd);
}

void chardev_describe_as(struct chardev *chr, char *description)
{
	g_free(chr->description);
	chr->description = description;
}

static const struct chardev_ops *find_kind(const char *type, GError **error)
{
	const char *names[G_N_ELEMENTS(kinds) + 1] = {NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		if (g_str_equal(kinds[i]->type, type))
			return kinds[i];
		names[i] = kinds[i]->type;
	}
	const char *near = nearest_name(type, names);
	g_autofree char *all = g_strjoinv(", ", (char **)names);
	error_set(error, BERTH_ERR_NOT_SUPPORTED,
		  "character device type '%s' is not supported%s%s%s; there are: %s", type,
		  near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "", all);
	return NULL;
}

const struct chardev_type *chardev_types(void)
{
	static const struct chardev_type types[] = {
		{"null", "swallows output, gives no input"},
		{"stdio", "the terminal or pipe that the program was started on"},
		{"pty", "a new pseudo-terminal, for screen, minicom or virsh console"},
		{"socket", "unix or TCP socket, server or client"},
		{"file", "output to a file"},
		{"pipe", "a named pipe, or a pair PATH.in and PATH.out"},
		{"ringbuf", "the last bytes, kept in memory"},
		{NULL, NULL},
	};
	G_STATIC_ASSERT(G_N_ELEMENTS(types) == G_N_ELEMENTS(kinds) + 1);
	return types;
}

static bool open_log(struct chardev *chr, const struct args *args, GError **error)
{
	const char *path = args_string(args, "logfile");
	bool append = false;
	if (!args_bool(args, "logappend", &append, error))
		return false;
	if (!path)
		return true;
	/* A descriptor that was handed over is used as it is: opening its path again needs rights of our own. */
	guint64 number;
	if (g_str_has_prefix(path, HANDED_OVER) &&
	    g_ascii_string_to_unsigned(path + strlen(HANDED_OVER), 10, 0, INT_MAX, &number, NULL))
		chr->log_fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
	else
		chr->log_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0600);
	if (chr->log_fd < 0)
		return error_set_errno(error, errno, "cannot write the log file '%s'", path);
	return true;
}

struct chardev *chardev_new(const char *type, const char *id, const char *const *keys,
			    const char *const *values, struct aio_loop *loop, GError **error)
{
	const struct chardev_ops *ops = find_kind(type, error);
	if (!ops)
		return NULL;
	g_autofree char *what = g_strdup_printf("-chardev %s", type);
	struct args args = {what, keys, values};
	g_autoptr(GPtrArray) allowed = g_ptr_array_new();
	for (const char *const *o = ops->options; o && *o; o++)
		g_ptr_array_add(allowed, (void *)*o);
	for (unsigned i = 0; i < G_N_ELEMENTS(common_options); i++)
		g_ptr_array_add(allowed, (void *)common_options[i]);
	g_ptr_array_add(allowed, NULL);
	bool mux = false;
	if (!args_check(&args, (const char *const *)allowed->pdata, error) ||
	    !args_bool(&args, "mux", &mux, error))
		return NULL;

	struct chardev *chr = ops->create(&args, loop, error);
	if (!chr)
		return NULL;
	chr->id = g_strdup(id);
	if (!open_log(chr, &args, error)) {
		chardev_free(chr);
		return NULL;
	}
	return mux ? chardev_mux_new(chr, id) : chr;
}

/* "tcp:HOST:PORT" has both in its first item. */
static bool split_address(struct keyval *kv, GError **error)
{
	g_autofree char *address = keyval_take(kv, "address");
	const char *colon = address ? strrchr(address, ':') : NULL;
	if (!colon)
		return error_set(error, BERTH_ERR_INVALID, "'tcp:%s' has no port: write tcp:HOST:PORT",
				 address ? address : "");
	g_autofree char *host = g_strndup(address, colon - address);
	keyval_add(kv, "host", host);
	keyval_add(kv, "port", colon + 1);
	return true;
}

/* The old flags without a value: "server", "nowait". */
static void spell_out_flags(struct keyval *kv)
{
	for (unsigned i = 0; i < keyval_count(kv); i++) {
		g_autofree char *key = g_strdup(kv->keys->pdata[i]);
		if (!kv->bare->data[i] || !g_str_has_prefix(key, "no"))
			continue;
		g_free(keyval_take(kv, key));
		keyval_add(kv, key + 2, "off");
		i--;
	}
}

static struct chardev *new_from_spec(const char *text, const char *id, struct aio_loop *loop,
				     GError **error)
{
	const char *colon = strchr(text, ':');
	if (!colon)
		return chardev_new(text, id, NULL, NULL, loop, error);
	g_autofree char *type = g_strndup(text, colon - text);
	const char *rest = colon + 1;
	bool tcp = g_str_equal(type, "tcp"), socket = tcp || g_str_equal(type, "unix");
	auto_keyval kv = NULL;
	if (g_str_equal(type, "file") || g_str_equal(type, "pipe")) {
		kv = keyval_new();
		keyval_add(kv, "path", rest);
	} else if (socket) {
		kv = keyval_parse(rest, tcp ? "address" : "path", error);
		if (!kv || (tcp && !split_address(kv, error)))
			return NULL;
		spell_out_flags(kv);
	} else {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "'%s:' is not supported here: use stdio, pty, null, unix:PATH, "
			  "tcp:HOST:PORT, file:PATH or pipe:PATH", type);
		return NULL;
	}
	return chardev_new(socket ? "socket" : type, id, (const char *const *)kv->keys->pdata,
			   (const char *const *)kv->values->pdata, loop, error);
}

struct chardev *chardev_new_from_spec(const char *spec, const char *id, struct aio_loop *loop,
				      GError **error)
{
	bool mux = g_str_has_prefix(spec, "mon:");
	struct chardev *chr = new_from_spec(mux ? spec + 4 : spec, id, loop, error);
	if (!chr || !mux)
		return chr;
	return chardev_mux_new(chr, id);
}

void chardev_free(struct chardev *chr)
{
	if (!chr)
		return;
	fd_clear(&chr->log_fd);
	fd_clear(&chr->passed_fd);
	g_free(chr->id);
	g_free(chr->description);
	chr->ops->free(chr);
}

const char *chardev_id(const struct chardev *chr)
{
	return chr->id;
}

const char *chardev_describe(const struct chardev *chr)
{
	return chr->description;
}

bool chardev_is_open(const struct chardev *chr)
{
	return chr->open;
}

bool chardev_is_mux(const struct chardev *chr)
{
	return chr->ops == &chardev_mux;
}

bool chardev_attach(struct chardev *chr, const struct chardev_user *user, GError **error)
{
	if (chardev_is_mux(chr)) {
		if (chardev_mux_attach(chr, user))
			return true;
		return error_set(error, BERTH_ERR_BUSY,
				 "character device '%s' has as many users as a mux can have", chr->id);
	}
	if (chr->attached)
		return error_set(error, BERTH_ERR_BUSY,
				 "character device '%s' is already in use: add mux=on to share it",
				 chr->id ? chr->id : chr->description);
	chr->user = *user;
	chr->attached = true;
	if (chr->open && user->event)
		user->event(user->opaque, CHARDEV_OPENED);
	chr->ops->update_input(chr);
	return true;
}

void chardev_detach(struct chardev *chr, void *opaque)
{
	if (chardev_is_mux(chr)) {
		chardev_mux_detach(chr, opaque);
		return;
	}
	chr->attached = false;
	memset(&chr->user, 0, sizeof(chr->user));
	chr->ops->update_input(chr);
}

static void update_input_on_loop(void *opaque)
{
	struct chardev *chr = opaque;
	chr->ops->update_input(chr);
}

void chardev_accept_input(struct chardev *chr)
{
	if (aio_loop_is_current(chr->loop))
		chr->ops->update_input(chr);
	else
		aio_loop_post(chr->loop, update_input_on_loop, chr);
}

/* A full disk must not stop the guest's console: what does not fit is lost. */
static void write_log(struct chardev *chr, const char *data, size_t length)
{
	while (length) {
		ssize_t n = write(chr->log_fd, data, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		length -= n;
	}
}

size_t chardev_write(struct chardev *chr, const void *data, size_t length)
{
	size_t taken = chr->ops->write(chr, data, length);
	if (chr->log_fd >= 0)
		write_log(chr, data, taken);
	return taken;
}

bool chardev_switch_log(struct chardev *chr, int fd, GError **error)
{
	if (chr->log_fd < 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "character device '%s' has no log: start it with logfile=", chr->id);
	if (dup3(fd, chr->log_fd, O_CLOEXEC) < 0)
		return error_set_errno(error, errno, "cannot switch the log of '%s'", chr->id);
	return true;
}

bool chardev_send(struct chardev *chr, const void *data, size_t length, const int *fds, unsigned count)
{
	return chr->ops->send && chr->ops->send(chr, data, length, fds, count);
}

bool chardev_wait(struct chardev *chr, int timeout_ms)
{
	return chr->ops->wait && chr->ops->wait(chr, timeout_ms);
}

void chardev_hang_up(struct chardev *chr)
{
	if (chr->ops->hang_up)
		chr->ops->hang_up(chr);
}

size_t chardev_wanted(struct chardev *chr)
{
	return chr->attached && chr->user.can_read ? chr->user.can_read(chr->user.opaque) : 0;
}

void chardev_deliver(struct chardev *chr, const uint8_t *data, size_t length)
{
	if (chr->attached && chr->user.read)
		chr->user.read(chr->user.opaque, data, length);
}

void chardev_set_open(struct chardev *chr, bool open)
{
	if (chr->open == open)
		return;
	chr->open = open;
	if (chr->attached && chr->user.event)
		chr->user.event(chr->user.opaque, open ? CHARDEV_OPENED : CHARDEV_CLOSED);
}

void chardev_signal_writable(struct chardev *chr)
{
	if (chr->attached && chr->user.writable)
		chr->user.writable(chr->user.opaque);
}
