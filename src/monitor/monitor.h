/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Monitors: QMP for programs and the human monitor (HMP) for people, over any byte stream. This
 * room knows the protocols; what the commands do is handed in as tables by whoever owns the things
 * that they are about.
 *
 * Threads: everything here is on the main thread (the thread of the server's loop).
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

struct aio_loop;
struct chardev;
struct monitor_server;

/* --- QMP: commands, types and events as tables ------------------------------------------------- */

/*
 * Members of an object are written as "name:type" with spaces between; "name?:type" is optional.
 * A type is str, int, size, number, bool, any, the name of a struct qmp_type, or "[type]" for an
 * array. Calls are checked against this before the handler sees them, and query-qmp-schema is
 * generated from it.
 */
struct qmp_type {
	const char *name;
	const char *members; /* of an object; or "=a b c" for an enumeration */
};

struct qmp_command {
	const char *name;
	const char *args;    /* members; NULL: none */
	const char *returns; /* a type; NULL: an empty object */
	/*
	 * Returns the result (the caller's to free; NULL without *error for an empty object). Set
	 * *error with qmp_error() for a class other than GenericError.
	 */
	json_t *(*run)(void *opaque, const json_t *args, GError **error);
	bool open_args; /* other arguments than those listed are the handler's to check */
};

struct qmp_event {
	const char *name;
	const char *data; /* members; NULL: none */
	bool limited;     /* at most one a second; the last one is not lost */
};

/* NULL-name-ended tables; any may be NULL. Must outlive the server. */
struct qmp_table {
	const struct qmp_command *commands;
	const struct qmp_type *types;
	const struct qmp_event *events;
	void *opaque; /* for the commands' handlers */
};

enum qmp_error_class {
	QMP_ERROR_GENERIC, QMP_ERROR_COMMAND_NOT_FOUND, QMP_ERROR_DEVICE_NOT_ACTIVE,
	QMP_ERROR_DEVICE_NOT_FOUND,
};
#define QMP_ERROR (qmp_error_quark())
GQuark qmp_error_quark(void);
/* Always returns NULL, so that a handler can return it. */
json_t *qmp_error(GError **error, enum qmp_error_class class, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

/* --- HMP --------------------------------------------------------------------------------------- */

/* One human command being executed: words in, text out. */
struct hmp_call {
	struct monitor_server *server;
	char **words;     /* arguments, without the command's name; NULL-terminated */
	unsigned count;
	const char *rest; /* the arguments as typed */
	GString *out;
};

struct hmp_command {
	const char *name;   /* "system_reset"; "info status" for a subcommand */
	const char *alias;  /* "q", or NULL */
	const char *params; /* shown by help: "[-f] device" */
	const char *help;
	unsigned min, max;  /* number of arguments; max 0 with params: any */
	void (*run)(void *opaque, struct hmp_call *call);
};

void hmp_printf(struct hmp_call *call, const char *format, ...) G_GNUC_PRINTF(2, 3);
/*
 * Run a QMP command for a human one: prints "Error: ..." and returns NULL on failure. `args` is
 * taken and may be NULL. The result is the caller's to free.
 */
json_t *hmp_qmp(struct hmp_call *call, const char *command, json_t *args);

/* --- the server -------------------------------------------------------------------------------- */

/* `package` is shown in the greeting beside the version of QEMU that the protocol follows. */
struct monitor_server *monitor_server_new(struct aio_loop *loop, const char *package);
void monitor_server_free(struct monitor_server *server);
void monitor_add_qmp(struct monitor_server *server, const struct qmp_table *table);
/* Ended by name == NULL. */
void monitor_add_hmp(struct monitor_server *server, const struct hmp_command *commands,
		     void *opaque);

/* Around every command, be it QMP or human; they nest. */
struct monitor_guard {
	void (*before)(void *opaque);
	void (*after)(void *opaque);
	void *opaque;
};
void monitor_set_guard(struct monitor_server *server, const struct monitor_guard *guard);

/* Put a monitor on a stream: QMP if `control`, else the human one. */
bool monitor_attach(struct monitor_server *server, struct chardev *chr, bool control, bool pretty,
		    GError **error);

/* Tell every negotiated QMP client. `data` is taken; NULL for an event without data. */
void monitor_emit(struct monitor_server *server, const char *event, json_t *data);

/* Is `value` an object with `members` (as in a struct qmp_command's args), and no others? */
bool monitor_check(const struct monitor_server *server, const char *members, const json_t *value,
		   GError **error);
/* Run a QMP command from inside. `args` is borrowed and may be NULL. NULL on error. */
json_t *monitor_execute(struct monitor_server *server, const char *command, const json_t *args,
			GError **error);
/*
 * For a command's handler: the descriptor that its client has passed with it, which becomes the
 * caller's; -1: none.
 */
int monitor_take_fd(struct monitor_server *server);
/* Run a human command line; returns its output. Free with g_free(). */
char *monitor_execute_human(struct monitor_server *server, const char *line);

/* What query-qmp-schema, query-commands and query-version return. */
json_t *monitor_schema(const struct monitor_server *server);
json_t *monitor_command_names(const struct monitor_server *server);
json_t *monitor_version(const struct monitor_server *server);
