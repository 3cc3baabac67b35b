/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events of networks, pools, devices and secrets. */
#include "table.h"

#include "event.h"
#include "shell.h"

#define ARGS(procedure, args) const struct remote_##procedure##_args *e = args

/* What differs between the kinds of objects: --list, then --event is a must. */
static bool begin(struct shell *sh, const struct cmd *cmd, const struct event_wait *wait, bool *listed)
{
	const char *name;
	*listed = opt_bool(cmd, "list");
	if (*listed)
		return event_list(wait);
	if (!opt_string(sh, cmd, "event", &name))
		return false;
	return name || shell_fail(sh, "either --list or --event <type> is required");
}

/* --- Networks --------------------------------------------------------------------------------- */

static void format_network(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const words[] = {"Defined", "Undefined", "Started", "Stopped"};
	ARGS(network_event_lifecycle, args);
	g_string_append_printf(out, "event 'lifecycle' for network %s: %s\n", e->net.name,
			       EVENT_WORD(words, e->event));
}

static const struct event_kind network_kinds[] = {
	{"lifecycle", REMOTE_NETWORK_EVENT_LIFECYCLE, format_network},
};

static int subscribe_network(struct shell *sh, int number, const void *object)
{
	struct remote_connect_network_event_register_any_ret ret;
	return GET(sh, connect_network_event_register_any, &ret, number, (struct remote_network *)object) ?
		       ret.callback : -1;
}

static bool unsubscribe_network(struct shell *sh, int callback)
{
	return CALL(sh, connect_network_event_deregister_any, callback);
}

bool cmd_net_event(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	struct event_wait wait = {network_kinds, G_N_ELEMENTS(network_kinds), false, subscribe_network,
				  unsubscribe_network, NULL};
	bool listed;
	if (!begin(sh, cmd, &wait, &listed) || listed)
		return listed;
	if (opt_bool(cmd, "network")) {
		if (!shell_network(sh, cmd, NULL, &net))
			return false;
		wait.object = &net;
	}
	return event_run(sh, cmd, &wait);
}

/* --- Pools ------------------------------------------------------------------------------------ */

static void format_pool(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const words[] = {"Defined", "Undefined", "Started", "Stopped", "Created", "Deleted"};
	ARGS(storage_pool_event_lifecycle, args);
	g_string_append_printf(out, "event 'lifecycle' for storage pool %s: %s\n", e->pool.name,
			       EVENT_WORD(words, e->event));
}

static void format_refresh(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(storage_pool_event_refresh, args);
	g_string_append_printf(out, "event '%s' for storage pool %s\n", kind->name, e->pool.name);
}

static const struct event_kind pool_kinds[] = {
	{"lifecycle", REMOTE_STORAGE_POOL_EVENT_LIFECYCLE, format_pool},
	{"refresh", REMOTE_STORAGE_POOL_EVENT_REFRESH, format_refresh},
};

static int subscribe_pool(struct shell *sh, int number, const void *object)
{
	struct remote_connect_storage_pool_event_register_any_ret ret;
	return GET(sh, connect_storage_pool_event_register_any, &ret, number,
		   (struct remote_storage_pool *)object) ? ret.callback : -1;
}

static bool unsubscribe_pool(struct shell *sh, int callback)
{
	return CALL(sh, connect_storage_pool_event_deregister_any, callback);
}

bool cmd_pool_event(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	struct event_wait wait = {pool_kinds, G_N_ELEMENTS(pool_kinds), false, subscribe_pool,
				  unsubscribe_pool, NULL};
	bool listed;
	if (!begin(sh, cmd, &wait, &listed) || listed)
		return listed;
	if (opt_bool(cmd, "pool")) {
		if (!shell_pool(sh, cmd, "pool", BY_ANY, &pool))
			return false;
		wait.object = &pool;
	}
	return event_run(sh, cmd, &wait);
}

/* --- Node devices ----------------------------------------------------------------------------- */

static void format_device(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const words[] = {"Created", "Deleted", "Defined", "Undefined"};
	ARGS(node_device_event_lifecycle, args);
	g_string_append_printf(out, "event 'lifecycle' for node device %s: %s\n", e->dev.name,
			       EVENT_WORD(words, e->event));
}

static void format_update(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(node_device_event_update, args);
	g_string_append_printf(out, "event '%s' for node device %s\n", kind->name, e->dev.name);
}

static const struct event_kind device_kinds[] = {
	{"lifecycle", REMOTE_NODE_DEVICE_EVENT_LIFECYCLE, format_device},
	{"update", REMOTE_NODE_DEVICE_EVENT_UPDATE, format_update},
};

static int subscribe_device(struct shell *sh, int number, const void *object)
{
	struct remote_connect_node_device_event_register_any_ret ret;
	return GET(sh, connect_node_device_event_register_any, &ret, number,
		   (struct remote_node_device *)object) ? ret.callback : -1;
}

static bool unsubscribe_device(struct shell *sh, int callback)
{
	return CALL(sh, connect_node_device_event_deregister_any, callback);
}

bool cmd_nodedev_event(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	struct event_wait wait = {device_kinds, G_N_ELEMENTS(device_kinds), false, subscribe_device,
				  unsubscribe_device, NULL};
	bool listed;
	if (!begin(sh, cmd, &wait, &listed) || listed)
		return listed;
	if (opt_bool(cmd, "device")) {
		if (!shell_nodedev(sh, cmd, NULL, &dev))
			return false;
		wait.object = &dev;
	}
	return event_run(sh, cmd, &wait);
}

/* --- Secrets ---------------------------------------------------------------------------------- */

static void format_secret(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const words[] = {"Defined", "Undefined"};
	char uuid[UUID_TEXT];
	ARGS(secret_event_lifecycle, args);
	g_string_append_printf(out, "event 'lifecycle' for secret %s: %s\n", format_uuid(e->secret.uuid, uuid),
			       EVENT_WORD(words, e->event));
}

static void format_value(GString *out, const struct event_kind *kind, const void *args)
{
	char uuid[UUID_TEXT];
	ARGS(secret_event_value_changed, args);
	g_string_append_printf(out, "event '%s' for secret %s\n", kind->name,
			       format_uuid(e->secret.uuid, uuid));
}

static const struct event_kind secret_kinds[] = {
	{"lifecycle", REMOTE_SECRET_EVENT_LIFECYCLE, format_secret},
	{"value-changed", REMOTE_SECRET_EVENT_VALUE_CHANGED, format_value},
};

static int subscribe_secret(struct shell *sh, int number, const void *object)
{
	struct remote_connect_secret_event_register_any_ret ret;
	return GET(sh, connect_secret_event_register_any, &ret, number, (struct remote_secret *)object) ?
		       ret.callback : -1;
}

static bool unsubscribe_secret(struct shell *sh, int callback)
{
	return CALL(sh, connect_secret_event_deregister_any, callback);
}

bool cmd_secret_event(struct shell *sh, const struct cmd *cmd)
{
	struct remote_secret secret;
	struct event_wait wait = {secret_kinds, G_N_ELEMENTS(secret_kinds), false, subscribe_secret,
				  unsubscribe_secret, NULL};
	bool listed;
	if (!begin(sh, cmd, &wait, &listed) || listed)
		return listed;
	if (opt_bool(cmd, "secret")) {
		if (!shell_secret(sh, cmd, NULL, &secret))
			return false;
		wait.object = &secret;
	}
	return event_run(sh, cmd, &wait);
}
