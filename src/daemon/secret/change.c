/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What changes secrets: a queue, so that files and memory agree in whatever order the disk answers.
 * A change is checked in its turn, written on a thread, and only then seen by others.
 */
#include "daemon/secret/secret.h"

#include "conf/domain.h"
#include "daemon/domain/store.h"
#include "daemon/rpc/serve.h"

#include <string.h>

enum { MAX_FILES = 2, DEFINE_VALIDATE = 1 };

struct secret_change;
struct change_ops {
	/* In its turn: check, and say what is to be written. */
	bool (*begin)(struct secret_change *change, GError **error);
	/* After that: change the memory, tell of it and answer the call. */
	void (*done)(struct secret_change *change);
};

struct secret_change {
	const struct change_ops *ops;
	struct secrets *all;
	struct rpc_call *call;
	uint8_t uuid[16];
	struct conf_secret *conf;
	GBytes *value;
	struct {
		char *path, *text; /* NULL: the file goes */
	} files[MAX_FILES];
	unsigned file_count;
	GError *error;
	struct aio_job job;
};

/* --- The queue ------------------------------------------------------------------------------ */

static void run_next(struct secrets *secrets);

static void change_free(struct secret_change *change)
{
	for (unsigned i = 0; i < change->file_count; i++) {
		g_free(change->files[i].path);
		if (change->files[i].text)
			explicit_bzero(change->files[i].text, strlen(change->files[i].text));
		g_free(change->files[i].text);
	}
	conf_secret_free(change->conf);
	g_clear_pointer(&change->value, g_bytes_unref);
	g_free(change);
}

/* Take the first off the queue and answer it. */
static void finish(struct secrets *secrets)
{
	struct secret_change *change = g_queue_pop_head(&secrets->changes);
	if (change->error)
		rpc_call_fail(change->call, g_steal_pointer(&change->error));
	else
		change->ops->done(change);
	change_free(change);
}

static void work(void *opaque)
{
	struct secret_change *change = opaque;
	for (unsigned i = 0; !change->error && i < change->file_count; i++)
		store_write_now(change->files[i].path, change->files[i].text, &change->error);
}

static void finished(void *opaque)
{
	struct secrets *secrets = ((struct secret_change *)opaque)->all;
	finish(secrets);
	run_next(secrets);
}

/* Without a server the daemon is ending, and its threads may be gone. */
static void run_next(struct secrets *secrets)
{
	while (secrets->changes.head) {
		struct secret_change *change = secrets->changes.head->data;
		if (!secrets->daemon->server)
			virt_error(&change->error, VIRT_FROM_SECRET, VIRT_OPERATION_FAILED,
				   "the daemon is ending");
		else if (change->ops->begin(change, &change->error) && change->file_count) {
			change->job = (struct aio_job){.work = work, .done = finished, .opaque = change,
						       .loop = secrets->daemon->loop};
			aio_pool_submit(secrets->daemon->pool, &change->job);
			return;
		}
		finish(secrets);
	}
}

/* `conf` and `value` are taken, and may be NULL. */
static void submit(struct rpc_call *call, const struct change_ops *ops, const uint8_t uuid[16],
		   struct conf_secret *conf, GBytes *value)
{
	struct secret_change *change = g_new0(struct secret_change, 1);
	change->ops = ops;
	change->all = rpc_call_daemon(call)->secrets;
	change->call = call;
	memcpy(change->uuid, uuid, sizeof(change->uuid));
	change->conf = conf;
	change->value = value;
	g_queue_push_tail(&change->all->changes, change);
	if (change->all->changes.length == 1)
		run_next(change->all);
}

/* The text is taken. */
static void add_file(struct secret_change *change, const char *suffix, char *text)
{
	change->files[change->file_count].path = secret_file(change->all, change->uuid, suffix);
	change->files[change->file_count++].text = text;
}

static char *encoded(GBytes *value)
{
	gsize length;
	const uint8_t *data = g_bytes_get_data(value, &length);
	return g_base64_encode(data, length);
}

/* --- Events --------------------------------------------------------------------------------- */

enum { EVENT_LIFECYCLE = 0, EVENT_VALUE_CHANGED = 1, EVENT_NUMBERS };

static void emit(struct secrets *secrets, const struct conf_secret *conf, enum secret_event event)
{
	struct remote_secret_event_lifecycle_args body = {.secret = secret_wire(conf), .event = event};
	if (secrets->daemon->server)
		rpc_event_emit(secrets->daemon->server, RPC_EVENT_SECRET, EVENT_LIFECYCLE, conf->uuid,
			       REMOTE_SECRET_EVENT_LIFECYCLE, &body, &body.callback);
}

static void emit_value(struct secrets *secrets, const struct conf_secret *conf)
{
	struct remote_secret_event_value_changed_args body = {.secret = secret_wire(conf)};
	if (secrets->daemon->server)
		rpc_event_emit(secrets->daemon->server, RPC_EVENT_SECRET, EVENT_VALUE_CHANGED, conf->uuid,
			       REMOTE_SECRET_EVENT_VALUE_CHANGED, &body, &body.callback);
}

void serve_connect_secret_event_register_any(
	struct rpc_call *call, const struct remote_connect_secret_event_register_any_args *args)
{
	GError *error = NULL;
	if (args->event < 0 || args->event >= EVENT_NUMBERS) {
		virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "unsupported secret event ID %d",
			   args->event);
		rpc_call_fail(call, error);
		return;
	}
	int id = rpc_event_register(call, RPC_EVENT_SECRET, args->event,
				    args->secret ? args->secret->uuid : NULL);
	if (id >= 0)
		rpc_call_reply(call, &(struct remote_connect_secret_event_register_any_ret){id});
}

void serve_connect_secret_event_deregister_any(
	struct rpc_call *call, const struct remote_connect_secret_event_deregister_any_args *args)
{
	GError *error = NULL;
	if (rpc_event_deregister(call, RPC_EVENT_SECRET, args->callback)) {
		rpc_call_reply(call, NULL);
		return;
	}
	virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "secret event callback %d not registered",
		   args->callback);
	rpc_call_fail(call, error);
}

/* --- Definitions ---------------------------------------------------------------------------- */

/* A secret keeps what it is for, and one use has one secret. */
static bool check_definition(const struct secret_change *change, const struct secret *old,
			     GError **error)
{
	const struct conf_secret *conf = change->conf;
	const struct secret *same = secret_by_usage(change->all, conf->usage, conf->usage_id, NULL);
	if (old && (old->conf->usage != conf->usage || strcmp(old->conf->usage_id, conf->usage_id) != 0))
		return virt_error(error, VIRT_FROM_SECRET, VIRT_INTERNAL,
				  "a secret with UUID %s is already defined for use with %s", old->uuid_text,
				  old->conf->usage_id);
	if (same && same != old)
		return virt_error(error, VIRT_FROM_SECRET, VIRT_INTERNAL,
				  "a secret with UUID %s already defined for use with %s",
				  same->uuid_text, same->conf->usage_id);
	if (old && old->conf->is_private && !conf->is_private)
		return virt_error(error, VIRT_FROM_SECRET, VIRT_INTERNAL,
				  "cannot change private flag on existing secret");
	return true;
}

static bool begin_define(struct secret_change *change, GError **error)
{
	const struct secret *old = secret_by_uuid(change->all, change->uuid, NULL);
	if (!check_definition(change, old, error))
		return false;
	if (!change->conf->ephemeral) {
		/* The value first: a crash in between leaves no definition without it. */
		if (old && old->value && old->conf->ephemeral)
			add_file(change, SECRET_VALUE, encoded(old->value));
		add_file(change, SECRET_XML, conf_secret_format(change->conf));
	} else if (old && !old->conf->ephemeral) {
		add_file(change, SECRET_XML, NULL);
		add_file(change, SECRET_VALUE, NULL);
	}
	return true;
}

static void done_define(struct secret_change *change)
{
	const struct secret *secret = secret_put(change->all, g_steal_pointer(&change->conf));
	emit(change->all, secret->conf, SECRET_DEFINED);
	struct remote_secret_define_xml_ret ret = {secret_wire(secret->conf)};
	rpc_call_reply(change->call, &ret);
}

static const struct change_ops define_ops = {begin_define, done_define};

void serve_secret_define_xml(struct rpc_call *call, const struct remote_secret_define_xml_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, DEFINE_VALIDATE))
		return;
	g_autoptr(GError) cause = NULL;
	struct conf_secret *conf = conf_secret_parse(args->xml, &cause);
	if (conf) {
		submit(call, &define_ops, conf->uuid, conf, NULL);
		return;
	}
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_SECRET,
		   g_error_matches(cause, BERTH_ERROR, BERTH_ERR_INTERNAL) ? VIRT_INTERNAL
		   : g_error_matches(cause, BERTH_ERROR, BERTH_ERR_NOT_SUPPORTED) ? VIRT_CONFIG_UNSUPPORTED
		   : *cause->message == '(' ? VIRT_XML_DETAIL : VIRT_XML_ERROR, "%s", cause->message);
	rpc_call_fail(call, error);
}

static bool begin_undefine(struct secret_change *change, GError **error)
{
	const struct secret *secret = secret_by_uuid(change->all, change->uuid, error);
	if (secret && !secret->conf->ephemeral) {
		add_file(change, SECRET_XML, NULL);
		add_file(change, SECRET_VALUE, NULL);
	}
	return secret;
}

static void done_undefine(struct secret_change *change)
{
	const struct secret *secret = secret_by_uuid(change->all, change->uuid, NULL);
	emit(change->all, secret->conf, SECRET_UNDEFINED);
	g_hash_table_remove(change->all->by_uuid, secret->uuid_text);
	rpc_call_reply(change->call, NULL);
}

static const struct change_ops undefine_ops = {begin_undefine, done_undefine};

void serve_secret_undefine(struct rpc_call *call, const struct remote_secret_undefine_args *args)
{
	submit(call, &undefine_ops, args->secret.uuid, NULL, NULL);
}

/* --- Values --------------------------------------------------------------------------------- */

static bool begin_value(struct secret_change *change, GError **error)
{
	const struct secret *secret = secret_by_uuid(change->all, change->uuid, error);
	if (secret && !secret->conf->ephemeral)
		add_file(change, SECRET_VALUE, encoded(change->value));
	return secret;
}

static void done_value(struct secret_change *change)
{
	struct secret *secret = secret_by_uuid(change->all, change->uuid, NULL);
	g_clear_pointer(&secret->value, g_bytes_unref);
	secret->value = g_steal_pointer(&change->value);
	emit_value(change->all, secret->conf);
	rpc_call_reply(change->call, NULL);
}

static const struct change_ops value_ops = {begin_value, done_value};

void serve_secret_set_value(struct rpc_call *call, const struct remote_secret_set_value_args *args)
{
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &value_ops, args->secret.uuid, NULL,
		       secret_bytes(args->value.items, args->value.count));
}
