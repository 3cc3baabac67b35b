/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VMM may do on the host, and what the host may see of a guest: labels and encrypted memory. */
#include "daemon/domain/domain.h"

#include "daemon/domain/process.h"
#include "daemon/rpc/serve.h"

#include <string.h>

/* --- Labels --------------------------------------------------------------------------------------- */

/* As libvirt has the models: "apparmor", or "none", which has no labels; and owners, which are "dac". */
enum { LABEL_FIRST, LABEL_DAC, LABELS };

/* A text is a word for each character in XDR, the zero at its end included. */
static void set_label(struct rpc_call *call, struct remote_security_label *label, const char *text)
{
	label->label.count = strlen(text) + 1;
	label->label.items = arena_alloc(rpc_call_arena(call), label->label.count * sizeof(int32_t));
	for (unsigned i = 0; i < label->label.count; i++)
		label->label.items[i] = text[i];
}

/* Nothing without AppArmor. */
static void set_profile(struct rpc_call *call, struct remote_security_label *label, const struct domain *dom)
{
	g_autofree char *name = NULL;
	bool enforced = false;
	if (!rpc_call_daemon(call)->confinement->parser || !process_profile(vmm_pid(dom), &name, &enforced))
		return;
	set_label(call, label, name);
	label->enforcing = enforced;
}

void serve_domain_get_security_label(struct rpc_call *call,
				     const struct remote_domain_get_security_label_args *args)
{
	const struct domain *dom = domain_find(call, &args->dom);
	struct remote_domain_get_security_label_ret ret = {0};
	struct remote_security_label label = {0};
	if (!dom)
		return;
	set_profile(call, &label, dom);
	ret.label.count = label.label.count;
	ret.label.items = label.label.items;
	ret.enforcing = label.enforcing;
	rpc_call_reply(call, &ret);
}

void serve_domain_get_security_label_list(struct rpc_call *call,
					  const struct remote_domain_get_security_label_list_args *args)
{
	const struct domain *dom = domain_find(call, &args->dom);
	struct remote_domain_get_security_label_list_ret ret = {0};
	uid_t uid;
	gid_t gid;
	if (!dom)
		return;
	/* Of a domain that does not run libvirt says nothing. */
	if (process_owner(vmm_pid(dom), &uid, &gid)) {
		g_autofree char *owner = g_strdup_printf("+%u:+%u", (unsigned)uid, (unsigned)gid);
		ret.labels.count = ret.ret = LABELS;
		ret.labels.items = arena_alloc(rpc_call_arena(call), LABELS * sizeof(*ret.labels.items));
		memset(ret.labels.items, 0, LABELS * sizeof(*ret.labels.items));
		set_label(call, &ret.labels.items[LABEL_FIRST], "");
		set_profile(call, &ret.labels.items[LABEL_FIRST], dom);
		set_label(call, &ret.labels.items[LABEL_DAC], owner);
	}
	rpc_call_reply(call, &ret);
}

/* --- Encrypted memory ------------------------------------------------------------------------------- */

/* The client library sets it for every list of parameters that it asks for. */
enum { TYPED_PARAM_STRING = 4 };

static void refuse(struct rpc_call *call, const char *why)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED, "%s", why);
	rpc_call_fail(call, error);
}

/* <launchSecurity> is refused when a domain is defined, so that no domain has any. */
void serve_domain_get_launch_security_info(
	struct rpc_call *call, const struct remote_domain_get_launch_security_info_args *args)
{
	if (rpc_call_check_flags(call, args->flags, TYPED_PARAM_STRING) && domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_get_launch_security_info_ret){0});
}

void serve_domain_set_launch_security_state(
	struct rpc_call *call, const struct remote_domain_set_launch_security_state_args *args)
{
	if (rpc_call_check_flags(call, args->flags, 0) && domain_find(call, &args->dom))
		refuse(call, "setting a launch secret is only supported in SEV-enabled domains");
}

void serve_node_get_sev_info(struct rpc_call *call, const struct remote_node_get_sev_info_args *args)
{
	if (rpc_call_check_flags(call, args->flags, TYPED_PARAM_STRING))
		refuse(call, "QEMU does not support SEV guest");
}
