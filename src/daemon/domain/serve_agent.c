/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that a guest's agent carries out. */
#include "daemon/domain/agent_call.h"

#include "daemon/rpc/qemu.h"
#include "daemon/rpc/serve.h"

#include <stdlib.h>
#include <string.h>

/* The domain, or NULL with the call failed: it is not there, or `flags` has others than `allowed`. */
static struct domain *find(struct rpc_call *call, const struct remote_domain *wire, uint32_t flags,
			   uint32_t allowed)
{
	struct domain *dom = domain_find(call, wire);
	return dom && rpc_call_check_flags(call, flags, allowed) ? dom : NULL;
}

static bool bad_argument(struct rpc_call *call, const char *text)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "%s", text);
	rpc_call_fail(call, error);
	return false;
}

/* NULL with the call failed: JSON has no other text than UTF-8, and nothing is left out. */
static json_t *texts(struct rpc_call *call, char *const *items, unsigned count)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < count; i++) {
		if (json_array_append_new(list, json_string(items[i])) == 0)
			continue;
		json_decref(list);
		bad_argument(call, "what goes to the guest agent must be UTF-8");
		return NULL;
	}
	return list;
}

/* --- Any command ----------------------------------------------------------------------------- */

struct raw {
	struct rpc_call *call;
	struct domain *dom;
};

static void on_raw(void *opaque, json_t *result, const GError *error)
{
	g_autofree struct raw *raw = opaque;
	if (error) {
		rpc_call_fail(raw->call, g_error_copy(error));
	} else if (!result) {
		rpc_call_reply(raw->call, &(struct remote_qemu_agent_result){NULL});
	} else {
		char *dump = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
		g_autofree char *text = g_strdup_printf("{\"return\":%s}", dump);
		free(dump);
		rpc_call_reply(raw->call, &(struct remote_qemu_agent_result){text});
	}
	domain_unpin(raw->dom);
}

void serve_qemu_agent_command(struct rpc_call *call, const void *opaque)
{
	const struct remote_qemu_agent_command *args = opaque;
	struct domain *dom = find(call, &args->dom, args->flags, 0);
	if (!dom)
		return;
	json_t *command = json_loads(args->cmd, 0, NULL);
	const char *name = json_string_value(json_object_get(command, "execute"));
	if (!name || args->timeout < AGENT_BLOCK) {
		bad_argument(call, name ? "the timeout is -2, -1, 0 or a number of seconds"
					: "the command is no JSON like {\"execute\": \"guest-ping\"}");
		json_decref(command);
		return;
	}
	struct raw *raw = g_new(struct raw, 1);
	*raw = (struct raw){call, domain_pin(dom)};
	agent_execute(dom, &(struct agent_command){
		.name = name, .args = json_incref(json_object_get(command, "arguments")),
		.has_timeout = true, .timeout_s = args->timeout, .done = on_raw, .opaque = raw});
	json_decref(command);
}

void serve_domain_agent_set_response_timeout(
	struct rpc_call *call, const struct remote_domain_agent_set_response_timeout_args *args)
{
	struct domain *dom = find(call, &args->dom, args->flags, 0);
	GError *error = NULL;
	if (!dom)
		return;
	if (args->timeout < AGENT_BLOCK)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "guest agent timeout '%d' is less than the minimum '%d'", args->timeout,
			   AGENT_BLOCK);
	else
		agent_set_timeout(dom, args->timeout, &error);
	if (error)
		rpc_call_fail(call, error);
	else
		rpc_call_reply(call, &(struct remote_domain_agent_set_response_timeout_ret){0});
}

/* --- File systems ---------------------------------------------------------------------------- */

static void answer_count(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	json_int_t count = json_integer_value(result);
	if (!json_is_integer(result) || count < 0 || count > G_MAXINT32)
		agent_call_malformed(call, "guest-fsfreeze-freeze");
	else /* Freezing and thawing return the same. */
		rpc_call_reply(call, &(struct remote_domain_fsfreeze_ret){count});
}

void serve_domain_fsfreeze(struct rpc_call *call, const struct remote_domain_fsfreeze_args *args)
{
	struct domain *dom = find(call, &args->dom, args->flags, 0);
	if (!dom)
		return;
	if (!args->mountpoints.count) {
		agent_call(call, dom, "guest-fsfreeze-freeze", NULL, answer_count);
		return;
	}
	json_t *list = texts(call, args->mountpoints.items, args->mountpoints.count);
	if (list)
		agent_call(call, dom, "guest-fsfreeze-freeze-list", json_pack("{s:o}", "mountpoints", list),
			   answer_count);
}

/* The agent thaws all that it has frozen, as libvirt has it, whichever are named. */
void serve_domain_fsthaw(struct rpc_call *call, const struct remote_domain_fsthaw_args *args)
{
	struct domain *dom = find(call, &args->dom, args->flags, 0);
	if (dom)
		agent_call(call, dom, "guest-fsfreeze-thaw", NULL, answer_count);
}

static void answer_nothing(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	rpc_call_reply(call, NULL);
}

void serve_domain_fstrim(struct rpc_call *call, const struct remote_domain_fstrim_args *args)
{
	struct domain *dom = find(call, &args->dom, args->flags, 0);
	GError *error = NULL;
	if (!dom)
		return;
	if (args->mount_point)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
			   "Specifying mount point is not supported for now");
	else if (args->minimum > G_MAXINT64)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "minimum must be less than 2^63");
	if (error)
		rpc_call_fail(call, error);
	else
		agent_call(call, dom, "guest-fstrim",
			   json_pack("{s:I}", "minimum", (json_int_t)args->minimum), answer_nothing);
}

/* --- Time ------------------------------------------------------------------------------------ */

static void answer_time(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	enum { SECOND = 1000000000 };
	json_int_t ns = json_integer_value(result);
	if (!json_is_integer(result) || ns < 0)
		agent_call_malformed(call, "guest-get-time");
	else
		rpc_call_reply(call, &(struct remote_domain_get_time_ret){ns / SECOND, ns % SECOND});
}

void serve_domain_get_time(struct rpc_call *call, const struct remote_domain_get_time_args *args)
{
	struct domain *dom = find(call, &args->dom, args->flags, 0);
	if (dom)
		agent_call(call, dom, "guest-get-time", NULL, answer_time);
}

void serve_domain_set_time(struct rpc_call *call, const struct remote_domain_set_time_args *args)
{
	enum { FROM_RTC = 1 };
	const int64_t second = 1000000000;
	struct domain *dom = find(call, &args->dom, args->flags, FROM_RTC);
	if (!dom)
		return;
	if (args->seconds < 0 || args->seconds >= G_MAXINT64 / second || args->nseconds >= second) {
		bad_argument(call, "the time does not fit nanoseconds since 1970");
		return;
	}
	/* Without a time the guest takes what its clock chip says. */
	json_t *arguments = args->flags & FROM_RTC
		? NULL
		: json_pack("{s:I}", "time", (json_int_t)(args->seconds * second + args->nseconds));
	agent_call(call, dom, "guest-set-time", arguments, answer_nothing);
}

/* --- Users ----------------------------------------------------------------------------------- */

void serve_domain_set_user_password(struct rpc_call *call,
				    const struct remote_domain_set_user_password_args *args)
{
	enum { ENCRYPTED = 1 };
	struct domain *dom = find(call, &args->dom, args->flags, ENCRYPTED);
	if (!dom || (!(args->user && args->password) && !bad_argument(call, "user and password are needed")))
		return;
	g_autofree char *encoded =
		g_base64_encode((const guchar *)args->password, strlen(args->password));
	agent_call(call, dom, "guest-set-user-password",
		   json_pack("{s:b, s:s, s:s}", "crypted", (int)(args->flags & ENCRYPTED), "username",
			     args->user, "password", encoded), answer_nothing);
}

static void answer_keys(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	enum { MOST = 2048 };
	const json_t *list = json_object_get(result, "keys");
	struct remote_domain_authorized_ssh_keys_get_ret ret = {0};
	if (!json_is_array(list) || json_array_size(list) > MOST) {
		agent_call_malformed(call, "guest-ssh-get-authorized-keys");
		return;
	}
	ret.keys.items = arena_alloc(rpc_call_arena(call), json_array_size(list) * sizeof(char *));
	size_t i;
	json_t *key;
	json_array_foreach((json_t *)list, i, key)
	{
		if (json_is_string(key))
			ret.keys.items[ret.keys.count++] = (char *)json_string_value(key);
	}
	rpc_call_reply(call, &ret);
}

void serve_domain_authorized_ssh_keys_get(struct rpc_call *call,
					  const struct remote_domain_authorized_ssh_keys_get_args *args)
{
	struct domain *dom = find(call, &args->dom, args->flags, 0);
	if (dom)
		agent_call(call, dom, "guest-ssh-get-authorized-keys",
			   json_pack("{s:s}", "username", args->user), answer_keys);
}

void serve_domain_authorized_ssh_keys_set(struct rpc_call *call,
					  const struct remote_domain_authorized_ssh_keys_set_args *args)
{
	enum { APPEND = 1, REMOVE = 2 };
	struct domain *dom = find(call, &args->dom, args->flags, APPEND | REMOVE);
	if (!dom)
		return;
	bool removes = args->flags & REMOVE;
	if ((removes && args->flags & APPEND) || (args->flags && !args->keys.count)) {
		bad_argument(call, "give the keys, and either append or remove them");
		return;
	}
	json_t *list = texts(call, args->keys.items, args->keys.count);
	if (!list)
		return;
	json_t *arguments = json_pack("{s:s, s:o}", "username", args->user, "keys", list);
	if (!removes)
		json_object_set_new(arguments, "reset", json_boolean(!(args->flags & APPEND)));
	agent_call(call, dom, removes ? "guest-ssh-remove-authorized-keys" : "guest-ssh-add-authorized-keys",
		   arguments, answer_nothing);
}

/* --- Host name ------------------------------------------------------------------------------- */

static void answer_hostname(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	const char *name = json_string_value(json_object_get(result, "host-name"));
	if (name)
		rpc_call_reply(call, &(struct remote_domain_get_hostname_ret){(char *)name});
	else
		agent_call_malformed(call, "guest-get-host-name");
}

void serve_domain_get_hostname(struct rpc_call *call,
			       const struct remote_domain_get_hostname_args *args)
{
	enum { BY_AGENT = 2 };
	struct domain *dom = find(call, &args->dom, args->flags, BY_AGENT);
	if (dom)
		agent_call(call, dom, "guest-get-host-name", NULL, answer_hostname);
}
