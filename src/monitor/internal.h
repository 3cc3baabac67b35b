/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this room share. */
#pragma once

#include "aio/loop.h"
#include "chardev/chardev.h"
#include "codec/json.h"
#include "monitor/monitor.h"

struct limited_event {
	struct monitor_server *server;
	const struct qmp_event *event;
	struct aio_timer timer;
	int64_t last_ns;
	json_t *waiting; /* the message to send when the second is over */
};

struct hmp_set {
	const struct hmp_command *commands;
	void *opaque;
};

struct monitor_server {
	struct aio_loop *loop;
	char *package;
	GArray *tables;      /* struct qmp_table */
	GArray *hmp;         /* struct hmp_set */
	GPtrArray *sessions; /* struct session */
	GPtrArray *limited;  /* struct limited_event */
	struct monitor_guard guard;
	struct session *executing; /* whose command runs, or NULL: it comes from inside */
};

void monitor_before(struct monitor_server *server);
void monitor_after(struct monitor_server *server);

/* One monitor on one stream; QMP and HMP embed it. */
struct session {
	struct monitor_server *server;
	struct chardev *chr;
	GByteArray *out; /* not yet taken by the stream */
	bool connected;
	void (*opened)(struct session *session);
	void (*closed)(struct session *session);
	void (*focused)(struct session *session); /* a shared stream's input is ours; may be NULL */
	void (*input)(struct session *session, const char *data, size_t length);
	void (*event)(struct session *session, const json_t *message); /* may be NULL */
	void (*free)(struct session *session);
};

/* Beyond this a slow reader's commands wait, and beyond the second limit it loses events. */
#define SESSION_OUT_BUSY (1 << 20)
#define SESSION_OUT_MAX  (16 << 20)

bool session_start(struct session *session, struct monitor_server *server, struct chardev *chr,
		   GError **error);
void session_write(struct session *session, const char *data, size_t length);
struct session *qmp_session_new(bool pretty);
struct session *hmp_session_new(void);

/* --- types.c ------------------------------------------------------------------------------------ */

/* One "name?:type" out of a member list. */
struct qmp_member {
	char name[64], type[64];
	bool optional;
};
/* Advances *at; false at the end. */
bool qmp_member_next(const char **at, struct qmp_member *member);
const struct qmp_type *qmp_find_type(const struct monitor_server *server, const char *name);
/* Does `value` have the members? `open` allows others. */
bool qmp_check_members(const struct monitor_server *server, const char *members,
		       const json_t *value, bool open, GError **error);
bool qmp_check_value(const struct monitor_server *server, const char *type, const char *name,
		     const json_t *value, GError **error);
