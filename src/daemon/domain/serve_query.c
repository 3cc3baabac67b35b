/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that ask about one domain. They tell what is known and never wait for a VMM. */
#include "daemon/domain/domain.h"
#include "daemon/domain/stats.h"

#include "daemon/rpc/serve.h"

#include <inttypes.h>
#include <stdio.h>
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
	if (dom)
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
	if (dom)
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

/* User and system time of the VMM in nanoseconds; 0 if it does not run. */
static void cpu_time(const struct domain *dom, uint64_t *user, uint64_t *system)
{
	*user = *system = 0;
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)vmm_pid(dom));
	g_autofree char *text = NULL;
	if (!vmm_pid(dom) || !g_file_get_contents(path, &text, NULL, NULL))
		return;
	/* The program's name may contain anything, but ends with the last parenthesis. */
	const char *at = strrchr(text, ')');
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
			  user, system) != 2)
		return;
	uint64_t tick = 1000000000 / sysconf(_SC_CLK_TCK);
	*user *= tick;
	*system *= tick;
}

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
	uint64_t user, system;
	cpu_time(dom, &user, &system);
	const struct conf_domain *conf = domain_conf(dom);
	struct remote_domain_get_info_ret ret = {
		.state = dom->state, .max_memory = conf->memory_kib, .memory = conf->current_kib,
		.vcpus = conf->vcpus, .cpu_time = user + system,
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
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	if (dom->vmm) {
		bool busy = !g_queue_is_empty(&dom->jobs);
		rpc_call_reply(call, &(struct remote_domain_get_control_info_ret){
					     .state = busy ? CONTROL_OCCUPIED : CONTROL_OK});
		return;
	}
	virt_error(&error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID, "domain is not running");
	rpc_call_fail(call, error);
}

/* --- Configuration -------------------------------------------------------------------------- */

void serve_domain_get_xml_desc(struct rpc_call *call,
			       const struct remote_domain_get_xml_desc_args *args)
{
	enum { SECURE = 1, INACTIVE = 2, UPDATE_CPU = 4, MIGRATABLE = 8 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags,
					  SECURE | INACTIVE | UPDATE_CPU | MIGRATABLE))
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
	enum { LIVE = 1, CONFIG = 2, MAXIMUM = 4 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, LIVE | CONFIG | MAXIMUM))
		return;
	const struct conf_domain *conf = args->flags & CONFIG ? dom->definition
		: args->flags & LIVE ? dom->live : domain_conf(dom);
	GError *error = NULL;
	if (conf) {
		rpc_call_reply(call, &(struct remote_domain_get_vcpus_flags_ret){
					     args->flags & MAXIMUM ? conf->max_vcpus : conf->vcpus});
		return;
	}
	virt_error(&error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
		   args->flags & CONFIG ? "transient domains do not have any persistent config"
					: "domain is not running");
	rpc_call_fail(call, error);
}

/* --- What there is none of ------------------------------------------------------------------- */

void serve_domain_get_security_label(struct rpc_call *call,
				     const struct remote_domain_get_security_label_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_get_security_label_ret){0});
}

void serve_domain_has_managed_save_image(
	struct rpc_call *call, const struct remote_domain_has_managed_save_image_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_has_managed_save_image_ret){0});
}

void serve_domain_snapshot_num(struct rpc_call *call,
			       const struct remote_domain_snapshot_num_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_snapshot_num_ret){0});
}

void serve_domain_list_all_snapshots(struct rpc_call *call,
				     const struct remote_domain_list_all_snapshots_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_list_all_snapshots_ret){.count = 0});
}

void serve_domain_get_messages(struct rpc_call *call,
			       const struct remote_domain_get_messages_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_get_messages_ret){.messages = {0}});
}

/* --- Statistics in bulk ---------------------------------------------------------------------- */

enum { STATS_STATE = 1, STATS_CPU = 2, STATS_BALLOON = 4, STATS_VCPU = 8,
       STATS_SUPPORTED = STATS_STATE | STATS_CPU | STATS_BALLOON | STATS_VCPU };

struct param_list {
	struct xdr_param *items;
	uint32_t count;
};

static struct xdr_param *add(struct param_list *list, const char *name, enum xdr_param_type type)
{
	struct xdr_param *param = &list->items[list->count++];
	*param = (struct xdr_param){.name = (char *)name, .type = type};
	return param;
}

void domain_fill_stats(struct domain *dom, uint32_t stats, struct arena *arena,
		       struct remote_domain_stats *record)
{
	enum { MOST = 16 };
	struct param_list list = {arena_alloc(arena, MOST * sizeof(struct xdr_param)), 0};
	const struct conf_domain *conf = domain_conf(dom);
	if (stats & STATS_STATE) {
		add(&list, "state.state", XDR_PARAM_INT)->i = dom->state;
		add(&list, "state.reason", XDR_PARAM_INT)->i = dom->reason;
	}
	if (stats & STATS_CPU && dom->vmm) {
		uint64_t user, system;
		cpu_time(dom, &user, &system);
		add(&list, "cpu.time", XDR_PARAM_ULLONG)->ul = user + system;
		add(&list, "cpu.user", XDR_PARAM_ULLONG)->ul = user;
		add(&list, "cpu.system", XDR_PARAM_ULLONG)->ul = system;
	}
	if (stats & STATS_BALLOON) {
		add(&list, "balloon.current", XDR_PARAM_ULLONG)->ul = conf->current_kib;
		add(&list, "balloon.maximum", XDR_PARAM_ULLONG)->ul = conf->memory_kib;
	}
	if (stats & STATS_VCPU) {
		add(&list, "vcpu.current", XDR_PARAM_UINT)->u = conf->vcpus;
		add(&list, "vcpu.maximum", XDR_PARAM_UINT)->u = conf->max_vcpus;
	}
	record->dom = domain_wire(dom);
	record->params.items = list.items;
	record->params.count = list.count;
}

bool domain_stats_supported(uint32_t *stats, bool enforce)
{
	if (enforce && *stats & ~STATS_SUPPORTED)
		return false;
	*stats = *stats ? *stats & STATS_SUPPORTED : STATS_SUPPORTED;
	return true;
}
