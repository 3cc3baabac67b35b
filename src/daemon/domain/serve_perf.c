/* SPDX-License-Identifier: GPL-2.0-or-later */
/* perf: which events of a domain the kernel counts. */
#include "daemon/domain/change.h"
#include "daemon/domain/params.h"
#include "daemon/domain/perf.h"
#include "daemon/domain/vmm.h"

#include "base/log.h"
#include "daemon/rpc/serve.h"

#include <string.h>

/* Those of `wanted` that are not absent are to be so. */
static bool edit_perf(xmlNode *root, void *opaque, GError **error)
{
	const struct conf_perf *wanted = opaque;
	struct conf_perf perf = {0};
	if (!conf_perf_read(&perf, root, error))
		return false;
	for (unsigned i = 0; i < CONF_PERF_EVENTS; i++) {
		if (wanted->events[i])
			perf.events[i] = wanted->events[i];
	}
	conf_perf_write(&perf, root);
	return true;
}

static bool apply(struct domain *dom, const struct conf_domain *conf, GError **error)
{
	struct perf *perf = vmm_perf(dom);
	for (unsigned i = 0; i < CONF_PERF_EVENTS; i++) {
		if (conf->perf.events[i] == CONF_PERF_YES && !perf_enable(perf, i, error))
			return false;
		if (conf->perf.events[i] != CONF_PERF_YES)
			perf_disable(perf, i);
	}
	return true;
}

/* What was counted before goes on from nothing if something new cannot be counted and is taken back. */
static bool plan_perf(struct domain_change *change, const struct conf_domain *old, const struct conf_domain *next,
		      GError **error)
{
	g_autoptr(GError) cause = NULL;
	if (apply(change->dom, next, &cause))
		return true;
	apply(change->dom, old, NULL);
	return virt_error(error, VIRT_FROM_QEMU,
			  cause->code == BERTH_ERR_NOT_SUPPORTED ? VIRT_CONFIG_UNSUPPORTED : VIRT_SYSTEM_ERROR, "%s",
			  cause->message);
}

void vmm_count_events(struct domain *dom)
{
	struct conf_perf lacking = {0};
	bool any = false;
	for (unsigned i = 0; i < CONF_PERF_EVENTS; i++) {
		g_autoptr(GError) error = NULL;
		if (dom->live->perf.events[i] != CONF_PERF_YES || perf_enable(vmm_perf(dom), i, &error))
			continue;
		log_warning("domain '%s': %s: it is not counted", dom->name, error->message);
		lacking.events[i] = CONF_PERF_NO;
		any = true;
	}
	struct conf_domain *next = any ? change_edit(dom, true, edit_perf, &lacking, NULL) : NULL;
	if (next)
		change_live(dom, next);
}

void serve_domain_set_perf_events(struct rpc_call *call, const struct remote_domain_set_perf_events_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	struct conf_perf wanted = {0};
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	for (unsigned i = 0; !error && i < args->params.count; i++) {
		const struct xdr_param *param = &args->params.items[i];
		enum conf_perf_event event = conf_perf_find(param->name);
		if (event == CONF_PERF_EVENTS || param->type != XDR_PARAM_BOOL)
			virt_error(&error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
				   "parameter '%s' not supported", param->name);
		else
			wanted.events[event] = param->i ? CONF_PERF_YES : CONF_PERF_NO;
	}
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct domain_change *change =
		change_new(args->flags, edit_perf, g_memdup2(&wanted, sizeof(wanted)), g_free);
	change->plan = plan_perf;
	change_submit(dom, call, change);
}

void serve_domain_get_perf_events(struct rpc_call *call, const struct remote_domain_get_perf_events_args *args)
{
	const struct conf_domain *conf = change_choose(call, &args->dom, args->flags);
	if (!conf)
		return;
	struct params params = {.arena = rpc_call_arena(call)};
	for (unsigned i = 0; i < CONF_PERF_EVENTS; i++)
		params_add_bool(&params, conf_perf_names[i], conf->perf.events[i] == CONF_PERF_YES);
	rpc_call_reply(call, &(struct remote_domain_get_perf_events_ret){{params.count, params.items}});
}
