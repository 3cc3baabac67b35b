/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables, the dispatch of commands, events, and the streams that monitors are on. */
#include "internal.h"

#include "base/error.h"
#include "base/log.h"

#include <string.h>

/* The release whose protocol is spoken; tools decide by it what they may ask for. */
enum { QEMU_MAJOR = 7, QEMU_MINOR = 2, QEMU_MICRO = 22 };

GQuark qmp_error_quark(void)
{
	return g_quark_from_static_string("qmp-error");
}

json_t *qmp_error(GError **error, enum qmp_error_class class, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	if (error)
		*error = g_error_new_valist(QMP_ERROR, class, format, args);
	va_end(args);
	return NULL;
}

struct monitor_server *monitor_server_new(struct aio_loop *loop, const char *package)
{
	struct monitor_server *server = g_new0(struct monitor_server, 1);
	server->loop = loop;
	server->package = g_strdup(package);
	server->tables = g_array_new(false, false, sizeof(struct qmp_table));
	server->hmp = g_array_new(false, false, sizeof(struct hmp_set));
	server->sessions = g_ptr_array_new();
	server->limited = g_ptr_array_new();
	return server;
}

static void session_free(struct session *session)
{
	chardev_detach(session->chr, session);
	g_byte_array_unref(session->out);
	session->free(session);
}

void monitor_server_free(struct monitor_server *server)
{
	if (!server)
		return;
	for (unsigned i = 0; i < server->sessions->len; i++)
		session_free(server->sessions->pdata[i]);
	for (unsigned i = 0; i < server->limited->len; i++) {
		struct limited_event *limited = server->limited->pdata[i];
		aio_timer_cancel(&limited->timer);
		json_decref(limited->waiting);
		g_free(limited);
	}
	g_ptr_array_unref(server->sessions);
	g_ptr_array_unref(server->limited);
	g_array_unref(server->tables);
	g_array_unref(server->hmp);
	g_free(server->package);
	g_free(server);
}

void monitor_add_qmp(struct monitor_server *server, const struct qmp_table *table)
{
	g_array_append_val(server->tables, *table);
}

void monitor_add_hmp(struct monitor_server *server, const struct hmp_command *commands,
		     void *opaque)
{
	struct hmp_set set = {commands, opaque};
	g_array_append_val(server->hmp, set);
}

json_t *monitor_version(const struct monitor_server *server)
{
	return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "micro", QEMU_MICRO, "minor",
			 QEMU_MINOR, "major", QEMU_MAJOR, "package", server->package);
}

json_t *monitor_command_names(const struct monitor_server *server)
{
	json_t *names = json_array();
	for (unsigned i = 0; i < server->tables->len; i++) {
		const struct qmp_command *command =
			g_array_index(server->tables, struct qmp_table, i).commands;
		for (; command && command->name; command++)
			json_array_append_new(names, json_pack("{s:s}", "name", command->name));
	}
	return names;
}

static const struct qmp_command *find_command(const struct monitor_server *server,
					      const char *name, void **opaque)
{
	for (unsigned i = 0; i < server->tables->len; i++) {
		const struct qmp_table *table = &g_array_index(server->tables, struct qmp_table, i);
		for (const struct qmp_command *c = table->commands; c && c->name; c++) {
			if (strcmp(c->name, name) == 0) {
				*opaque = table->opaque;
				return c;
			}
		}
	}
	return NULL;
}

void monitor_set_guard(struct monitor_server *server, const struct monitor_guard *guard)
{
	server->guard = *guard;
}

void monitor_before(struct monitor_server *server)
{
	if (server->guard.before)
		server->guard.before(server->guard.opaque);
}

void monitor_after(struct monitor_server *server)
{
	if (server->guard.after)
		server->guard.after(server->guard.opaque);
}

json_t *monitor_execute(struct monitor_server *server, const char *name, const json_t *args,
			GError **error)
{
	void *opaque;
	const struct qmp_command *command = find_command(server, name, &opaque);
	if (!command)
		return qmp_error(error, QMP_ERROR_COMMAND_NOT_FOUND,
				 "The command %s has not been found", name);
	json_t *none = args ? NULL : json_object();
	const json_t *given = args ? args : none;
	json_t *result = NULL;
	if (qmp_check_members(server, command->args, given, command->open_args, error)) {
		GError *failure = NULL;
		monitor_before(server);
		result = command->run(opaque, given, &failure);
		monitor_after(server);
		if (failure) {
			json_decref(result);
			result = NULL;
			g_propagate_error(error, failure);
		} else if (!result) {
			result = json_object();
		}
	}
	json_decref(none);
	return result;
}

int monitor_take_fd(struct monitor_server *server)
{
	return server->executing ? chardev_take_fd(server->executing->chr) : -1;
}

/* --- events ------------------------------------------------------------------------------------- */

static void send_event(struct monitor_server *server, const json_t *message)
{
	for (unsigned i = 0; i < server->sessions->len; i++) {
		struct session *session = server->sessions->pdata[i];
		if (session->event && session->connected)
			session->event(session, message);
	}
}

static void limited_timer(void *opaque)
{
	struct limited_event *limited = opaque;
	if (!limited->waiting)
		return;
	send_event(limited->server, limited->waiting);
	json_decref(limited->waiting);
	limited->waiting = NULL;
	limited->last_ns = aio_now_ns();
}

static struct limited_event *find_limited(struct monitor_server *server,
					  const struct qmp_event *event)
{
	for (unsigned i = 0; i < server->limited->len; i++) {
		struct limited_event *limited = server->limited->pdata[i];
		if (limited->event == event)
			return limited;
	}
	struct limited_event *limited = g_new0(struct limited_event, 1);
	limited->server = server;
	limited->event = event;
	limited->last_ns = INT64_MIN / 2;
	aio_timer_init(&limited->timer, server->loop, limited_timer, limited);
	g_ptr_array_add(server->limited, limited);
	return limited;
}

static const struct qmp_event *find_event(const struct monitor_server *server, const char *name)
{
	for (unsigned i = 0; i < server->tables->len; i++) {
		const struct qmp_event *event =
			g_array_index(server->tables, struct qmp_table, i).events;
		for (; event && event->name; event++) {
			if (strcmp(event->name, name) == 0)
				return event;
		}
	}
	return NULL;
}

static json_t *event_message(const char *name, json_t *data)
{
	int64_t now = g_get_real_time();
	json_t *message = json_pack("{s:{s:I, s:I}, s:s}", "timestamp", "seconds",
				    (json_int_t)(now / G_USEC_PER_SEC), "microseconds",
				    (json_int_t)(now % G_USEC_PER_SEC), "event", name);
	if (data)
		json_object_set_new(message, "data", data);
	return message;
}

void monitor_emit(struct monitor_server *server, const char *name, json_t *data)
{
	const struct qmp_event *event = find_event(server, name);
	g_assert(event); /* events that the schema does not list do not exist */
	json_t *message = event_message(name, data);
	if (event->limited) {
		struct limited_event *limited = find_limited(server, event);
		int64_t due = limited->last_ns + 1000000000;
		int64_t now = aio_now_ns();
		if (now < due) {
			if (!limited->waiting)
				aio_timer_arm(&limited->timer, due);
			json_decref(limited->waiting);
			limited->waiting = message;
			return;
		}
		limited->last_ns = now;
	}
	send_event(server, message);
	json_decref(message);
}

/* --- streams ------------------------------------------------------------------------------------ */

static void flush(struct session *session)
{
	while (session->out->len > 0) {
		size_t taken =
			chardev_write(session->chr, session->out->data, session->out->len);
		if (taken == 0)
			return;
		g_byte_array_remove_range(session->out, 0, taken);
	}
}

void session_write(struct session *session, const char *data, size_t length)
{
	if (!session->connected)
		return;
	g_byte_array_append(session->out, (const uint8_t *)data, length);
	flush(session);
}

static size_t on_can_read(void *opaque)
{
	struct session *session = opaque;
	return session->out->len > SESSION_OUT_BUSY ? 0 : 4096;
}

static void on_read(void *opaque, const uint8_t *data, size_t length)
{
	struct session *session = opaque;
	if (!session->connected) {
		session->connected = true;
		session->opened(session);
	}
	session->input(session, (const char *)data, length);
}

static void on_event(void *opaque, enum chardev_event event)
{
	struct session *session = opaque;
	if (event == CHARDEV_OPENED && !session->connected) {
		session->connected = true;
		session->opened(session);
	} else if (event == CHARDEV_CLOSED && session->connected) {
		session->connected = false;
		g_byte_array_set_size(session->out, 0);
		session->closed(session);
	} else if (event == CHARDEV_FOCUS && session->focused) {
		session->focused(session);
	}
}

static void on_writable(void *opaque)
{
	struct session *session = opaque;
	bool busy = session->out->len > SESSION_OUT_BUSY;
	flush(session);
	if (busy && session->out->len <= SESSION_OUT_BUSY)
		chardev_accept_input(session->chr);
}

bool session_start(struct session *session, struct monitor_server *server, struct chardev *chr,
		   GError **error)
{
	const struct chardev_user user = {
		.can_read = on_can_read,
		.read = on_read,
		.event = on_event,
		.writable = on_writable,
		.opaque = session,
	};
	session->server = server;
	session->chr = chr;
	session->out = g_byte_array_new();
	if (!chardev_attach(chr, &user, error)) {
		g_byte_array_unref(session->out);
		session->free(session);
		return false;
	}
	g_ptr_array_add(server->sessions, session);
	if (chardev_is_open(chr))
		on_event(session, CHARDEV_OPENED);
	return true;
}

bool monitor_attach(struct monitor_server *server, struct chardev *chr, bool control, bool pretty,
		    GError **error)
{
	struct session *session = control ? qmp_session_new(pretty) : hmp_session_new();
	return session_start(session, server, chr, error);
}
