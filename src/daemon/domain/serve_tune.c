/* SPDX-License-Identifier: GPL-2.0-or-later */
/* schedinfo and memtune: how much of the host's CPUs and memory a domain may have. */
#include "daemon/domain/cgroup.h"
#include "daemon/domain/change.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/params.h"

#include "daemon/rpc/serve.h"

#include <stdio.h>
#include <string.h>

/* libvirt's "unlimited", in KiB. */
#define UNLIMITED_KIB UINT64_C(9007199254740991)

/* In libvirt's order; those of I/O threads, which there are none of, are left out. */
static const struct {
	enum conf_tune which;
	const char *name;
	int64_t fallback;
	bool is_signed;
} cpu_params[] = {
	{CONF_TUNE_SHARES, "cpu_shares", 1024},
	{CONF_TUNE_PERIOD, "vcpu_period", 100000},
	{CONF_TUNE_QUOTA, "vcpu_quota", -1, true},
	{CONF_TUNE_EMULATOR_PERIOD, "emulator_period", 100000},
	{CONF_TUNE_EMULATOR_QUOTA, "emulator_quota", -1, true},
	{CONF_TUNE_GLOBAL_PERIOD, "global_period", 100000},
	{CONF_TUNE_GLOBAL_QUOTA, "global_quota", -1, true},
};
static const struct {
	enum conf_tune which;
	const char *name;
} memory_params[] = {
	{CONF_TUNE_HARD_LIMIT, "hard_limit"}, {CONF_TUNE_SOFT_LIMIT, "soft_limit"},
	{CONF_TUNE_SWAP_HARD_LIMIT, "swap_hard_limit"},
};

/* --- Setting --------------------------------------------------------------------------------- */

struct tune_change {
	int64_t wanted[CONF_TUNE_NUMBERS];
	bool given[CONF_TUNE_NUMBERS];
};

static bool edit_tune(xmlNode *root, void *opaque, GError **error)
{
	const struct tune_change *change = opaque;
	for (unsigned i = 0; i < CONF_TUNE_NUMBERS; i++) {
		if (change->given[i])
			conf_domain_set_tune(root, i, change->wanted[i]);
	}
	return true;
}

static bool take(struct tune_change *change, enum conf_tune which, const char *name, int64_t value, GError **error)
{
	if (value && !conf_tune_is_valid(which, value))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "value of '%s' is out of range: %" G_GINT64_FORMAT, name, value);
	change->given[which] = true;
	change->wanted[which] = value;
	return true;
}

static bool take_cpu(struct tune_change *change, const struct xdr_param *param, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(cpu_params); i++) {
		if (strcmp(cpu_params[i].name, param->name) != 0)
			continue;
		if (param->type == XDR_PARAM_LLONG && cpu_params[i].is_signed)
			return take(change, cpu_params[i].which, param->name, param->l, error);
		if (param->type == XDR_PARAM_ULLONG && !cpu_params[i].is_signed)
			return take(change, cpu_params[i].which, param->name, MIN(param->ul, G_MAXINT64),
				    error);
	}
	return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
			  "parameter '%s' not supported", param->name);
}

static bool take_memory(struct tune_change *change, const struct xdr_param *param, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(memory_params); i++) {
		if (strcmp(memory_params[i].name, param->name) == 0 && param->type == XDR_PARAM_ULLONG)
			return take(change, memory_params[i].which, param->name,
				    param->ul >= UNLIMITED_KIB ? 0 : param->ul, error);
	}
	return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
			  "parameter '%s' not supported", param->name);
}

/* libvirt has no event for limits of memory. */
static void tell_tune(struct domain *dom, const struct domain_change *change)
{
	const struct tune_change *wanted = change->opaque;
	struct arena arena = {0};
	struct params params = {.arena = &arena};
	for (unsigned i = 0; i < G_N_ELEMENTS(cpu_params); i++) {
		char name[64];
		enum conf_tune which = cpu_params[i].which;
		snprintf(name, sizeof(name), "cputune.%s", cpu_params[i].name);
		if (wanted->given[which] && cpu_params[i].is_signed)
			params_add_llong(&params, name, wanted->wanted[which]);
		else if (wanted->given[which])
			params_add_ullong(&params, name, wanted->wanted[which]);
	}
	if (change->live && params.count)
		notify_tunable(dom, params.items, params.count);
	arena_clear(&arena);
}

static void set(struct rpc_call *call, const struct remote_domain *wire, const struct xdr_param *params,
		unsigned count, uint32_t flags,
		bool (*one)(struct tune_change *change, const struct xdr_param *param, GError **error))
{
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	struct tune_change *wanted = g_new0(struct tune_change, 1);
	for (unsigned i = 0; !error && i < count; i++)
		one(wanted, &params[i], &error);
	if (error) {
		g_free(wanted);
		rpc_call_fail(call, error);
		return;
	}
	struct domain_change *change = change_new(flags, edit_tune, wanted, g_free);
	change->plan = cgroup_plan;
	change->applied = tell_tune;
	change_submit(dom, call, change);
}

void serve_domain_set_scheduler_parameters(
	struct rpc_call *call, const struct remote_domain_set_scheduler_parameters_args *args)
{
	set(call, &args->dom, args->params.items, args->params.count, 0, take_cpu);
}

void serve_domain_set_scheduler_parameters_flags(
	struct rpc_call *call, const struct remote_domain_set_scheduler_parameters_flags_args *args)
{
	set(call, &args->dom, args->params.items, args->params.count, args->flags, take_cpu);
}

void serve_domain_set_memory_parameters(struct rpc_call *call,
					const struct remote_domain_set_memory_parameters_args *args)
{
	set(call, &args->dom, args->params.items, args->params.count, args->flags, take_memory);
}

/* --- Getting --------------------------------------------------------------------------------- */

void serve_domain_get_scheduler_type(struct rpc_call *call,
				     const struct remote_domain_get_scheduler_type_args *args)
{
	if (domain_find(call, &args->dom))
		rpc_call_reply(call, &(struct remote_domain_get_scheduler_type_ret){
					     .type = (char *)"posix", .nparams = G_N_ELEMENTS(cpu_params)});
}

static struct params cpu_list(struct rpc_call *call, const struct conf_domain *conf)
{
	struct params params = {.arena = rpc_call_arena(call)};
	for (unsigned i = 0; i < G_N_ELEMENTS(cpu_params); i++) {
		int64_t value = conf->tune[cpu_params[i].which];
		if (!value)
			value = cpu_params[i].fallback;
		if (cpu_params[i].is_signed)
			params_add_llong(&params, cpu_params[i].name, value);
		else
			params_add_ullong(&params, cpu_params[i].name, value);
	}
	return params;
}

void serve_domain_get_scheduler_parameters(
	struct rpc_call *call, const struct remote_domain_get_scheduler_parameters_args *args)
{
	const struct conf_domain *conf = change_choose(call, &args->dom, 0);
	if (!conf)
		return;
	struct params params = cpu_list(call, conf);
	rpc_call_reply(call, &(struct remote_domain_get_scheduler_parameters_ret){
				     {MIN(params.count, (unsigned)MAX(args->nparams, 0)), params.items}});
}

void serve_domain_get_scheduler_parameters_flags(
	struct rpc_call *call, const struct remote_domain_get_scheduler_parameters_flags_args *args)
{
	const struct conf_domain *conf = change_choose(call, &args->dom, args->flags);
	if (!conf)
		return;
	struct params params = cpu_list(call, conf);
	rpc_call_reply(call, &(struct remote_domain_get_scheduler_parameters_flags_ret){
				     {MIN(params.count, (unsigned)MAX(args->nparams, 0)), params.items}});
}

void serve_domain_get_memory_parameters(struct rpc_call *call,
					const struct remote_domain_get_memory_parameters_args *args)
{
	const struct conf_domain *conf = change_choose(call, &args->dom, args->flags);
	struct remote_domain_get_memory_parameters_ret ret = {.nparams = G_N_ELEMENTS(memory_params)};
	struct params params = {.arena = rpc_call_arena(call)};
	if (!conf)
		return;
	for (unsigned i = 0; args->nparams && i < G_N_ELEMENTS(memory_params); i++) {
		int64_t value = conf->tune[memory_params[i].which];
		params_add_ullong(&params, memory_params[i].name, value ? (uint64_t)value : UNLIMITED_KIB);
	}
	if (args->nparams)
		ret = (struct remote_domain_get_memory_parameters_ret){
			.params = {MIN(params.count, (unsigned)MAX(args->nparams, 0)), params.items}};
	rpc_call_reply(call, &ret);
}
