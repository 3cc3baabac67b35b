/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that ask about one domain. They tell what is known and never wait for a VMM. */
#include "daemon/domain/domain.h"
#include "daemon/domain/process.h"
#include "daemon/domain/vcpus.h"

#include "daemon/rpc/serve.h"

#include <string.h>

/* --- Looking up ----------------------------------------------------------------------------- */

static void not_found(struct rpc_call *call, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void not_found(struct rpc_call *call, const char *format, ...)
{
	GError *error = NULL;
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	virt_error(&error, VIRT_FROM_QEMU, VIRT_NO_DOMAIN, "%s", text);
	rpc_call_fail(call, error);
}

void serve_domain_lookup_by_name(struct rpc_call *call,
				 const struct remote_domain_lookup_by_name_args *args)
{
	struct domain *dom = domain_by_name(rpc_call_daemon(call)->domains, args->name);
	if (dom && domain_conf(dom))
		rpc_call_reply(call, &(struct remote_domain_lookup_by_name_ret){domain_wire(dom)});
	else
		not_found(call, "no domain with matching name '%s'", args->name);
}

void serve_domain_lookup_by_uuid(struct rpc_call *call,
				 const struct remote_domain_lookup_by_uuid_args *args)
{
	struct domain *dom = domain_by_uuid(rpc_call_daemon(call)->domains, args->uuid);
	char text[37];
	conf_uuid_format(args->uuid, text);
	if (dom && domain_conf(dom))
		rpc_call_reply(call, &(struct remote_domain_lookup_by_uuid_ret){domain_wire(dom)});
	else
		not_found(call, "no domain with matching uuid '%s'", text);
}

void serve_domain_lookup_by_id(struct rpc_call *call,
			       const struct remote_domain_lookup_by_id_args *args)
{
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, rpc_call_daemon(call)->domains->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct domain *dom = value;
		if (dom->id < 0 || dom->id != args->id)
			continue;
		rpc_call_reply(call, &(struct remote_domain_lookup_by_id_ret){domain_wire(dom)});
		return;
	}
	not_found(call, "no domain with matching id %d", args->id);
}

/* --- State ---------------------------------------------------------------------------------- */

void serve_domain_get_state(struct rpc_call *call, const struct remote_domain_get_state_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom && rpc_call_check_flags(call, args->flags, 0))
		rpc_call_reply(call, &(struct remote_domain_get_state_ret){dom->state, dom->reason});
}

void serve_domain_get_info(struct rpc_call *call, const struct remote_domain_get_info_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom)
		return;
	struct process_times times;
	process_times(vmm_pid(dom), 0, &times);
	const struct conf_domain *conf = domain_conf(dom);
	struct remote_domain_get_info_ret ret = {
		.state = dom->state, .max_memory = conf->memory_kib, .memory = domain_memory_kib(dom),
		.vcpus = conf->vcpus, .cpu_time = times.user_ns + times.system_ns,
	};
	rpc_call_reply(call, &ret);
}

void serve_domain_is_active(struct rpc_call *call, const struct remote_domain_is_active_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom)
		rpc_call_reply(call, &(struct remote_domain_is_active_ret){dom->vmm != NULL});
}

void serve_domain_is_persistent(struct rpc_call *call,
				const struct remote_domain_is_persistent_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom)
		rpc_call_reply(call,
			       &(struct remote_domain_is_persistent_ret){dom->definition != NULL});
}

/* A definition takes effect at the next start only; that is no update of the domain. */
void serve_domain_is_updated(struct rpc_call *call, const struct remote_domain_is_updated_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_is_updated_ret){0});
}

void serve_domain_get_autostart(struct rpc_call *call,
				const struct remote_domain_get_autostart_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom)
		rpc_call_reply(call, &(struct remote_domain_get_autostart_ret){dom->autostart});
}

void serve_domain_get_control_info(struct rpc_call *call,
				   const struct remote_domain_get_control_info_args *args)
{
	enum { CONTROL_OK = 0, CONTROL_OCCUPIED = 2 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, 0) || !domain_runs(call, dom))
		return;
	bool busy = !g_queue_is_empty(&dom->jobs);
	rpc_call_reply(call, &(struct remote_domain_get_control_info_ret){
				     .state = busy ? CONTROL_OCCUPIED : CONTROL_OK});
}

/* --- Configuration -------------------------------------------------------------------------- */

void serve_domain_get_xml_desc(struct rpc_call *call,
			       const struct remote_domain_get_xml_desc_args *args)
{
	enum { SECURE = 1, INACTIVE = 2, UPDATE_CPU = 4, MIGRATABLE = 8 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags,
					  SECURE | INACTIVE | UPDATE_CPU | MIGRATABLE) ||
	    !rpc_call_may_show(call, args->flags & SECURE))
		return;
	bool inactive = args->flags & (INACTIVE | MIGRATABLE) && dom->definition;
	g_autofree char *xml = inactive ? conf_domain_format(dom->definition, -1)
					: conf_domain_format(domain_conf(dom), dom->id);
	rpc_call_reply(call, &(struct remote_domain_get_xml_desc_ret){xml});
}

void serve_domain_get_os_type(struct rpc_call *call,
			      const struct remote_domain_get_os_type_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_get_os_type_ret){(char *)"hvm"});
}

void serve_domain_get_max_memory(struct rpc_call *call,
				 const struct remote_domain_get_max_memory_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom)
		rpc_call_reply(call, &(struct remote_domain_get_max_memory_ret){
					     domain_conf(dom)->memory_kib});
}

void serve_domain_get_max_vcpus(struct rpc_call *call,
				const struct remote_domain_get_max_vcpus_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom)
		rpc_call_reply(call, &(struct remote_domain_get_max_vcpus_ret){
					     domain_conf(dom)->max_vcpus});
}

void serve_domain_get_vcpus_flags(struct rpc_call *call,
				  const struct remote_domain_get_vcpus_flags_args *args)
{
	enum { LIVE = 1, CONFIG = 2, MAXIMUM = 4, GUEST = 8 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, LIVE | CONFIG | MAXIMUM | GUEST))
		return;
	if (args->flags & GUEST && !(args->flags & CONFIG)) {
		vcpus_ask_guest(call, dom, args->flags & MAXIMUM);
		return;
	}
	const struct conf_domain *conf = args->flags & CONFIG ? dom->definition
		: args->flags & LIVE ? dom->live : domain_conf(dom);
	GError *error = NULL;
	if (conf && !(args->flags & GUEST)) {
		rpc_call_reply(call, &(struct remote_domain_get_vcpus_flags_ret){
					     args->flags & MAXIMUM ? conf->max_vcpus : conf->vcpus});
		return;
	}
	virt_error(&error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
		   args->flags & GUEST ? "vCPU count provided by the guest agent can only be requested for live domains"
		   : args->flags & CONFIG ? "transient domains do not have any persistent config"
					  : "domain is not running");
	rpc_call_fail(call, error);
}

/* --- What there is none of ------------------------------------------------------------------- */

void serve_domain_has_managed_save_image(
	struct rpc_call *call, const struct remote_domain_has_managed_save_image_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_has_managed_save_image_ret){0});
}

void serve_domain_get_messages(struct rpc_call *call,
			       const struct remote_domain_get_messages_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_get_messages_ret){.messages = {0}});
}
