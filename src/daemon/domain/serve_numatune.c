/* SPDX-License-Identifier: GPL-2.0-or-later */
/* numatune: which of the host's memory nodes a domain's memory is of. */
#include "daemon/domain/cgroup.h"
#include "daemon/domain/change.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/params.h"

#include "daemon/rpc/serve.h"

#include <string.h>

#define MODE "numa_mode"
#define NODESET "numa_nodeset"

struct numa_change {
	bool mode_given;
	enum conf_numa_mode mode;
	char *nodeset; /* NULL: it stays */
};

static void numa_change_free(void *opaque)
{
	struct numa_change *change = opaque;
	g_free(change->nodeset);
	g_free(change);
}

static bool edit_numa(xmlNode *root, void *opaque, GError **error)
{
	const struct numa_change *change = opaque;
	const xmlNode *node = xml_child(xml_child(root, "numatune"), "memory");
	g_autofree char *mode = xml_attribute(node, "mode"), *nodeset = xml_attribute(node, "nodeset");
	struct conf_numa_policy policy = {change->mode, change->nodeset ? change->nodeset : nodeset};
	for (unsigned i = 0; mode && !change->mode_given && i < CONF_NUMA_MODES; i++) {
		if (strcmp(conf_numa_modes[i], mode) == 0)
			policy.mode = i;
	}
	if (!policy.nodeset)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_XML_ERROR,
				  "nodeset for NUMA memory tuning must be set if 'placement' is 'static'");
	conf_numatune_write_memory(&policy, root);
	return true;
}

static bool plan_numa(struct domain_change *change, const struct conf_domain *old, const struct conf_domain *next,
		      GError **error)
{
	const struct conf_numa_policy *before = &old->numatune.memory, *after = &next->numatune.memory;
	if (before->nodeset && before->mode != after->mode)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "can't change numatune mode for running domain");
	if (g_strcmp0(before->nodeset, after->nodeset) == 0)
		return true;
	if (after->mode != CONF_NUMA_STRICT && after->mode != CONF_NUMA_RESTRICTIVE)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "change of nodeset for running domain requires strict numa mode");
	if (!memory_check_host_nodes(next, error))
		return false;
	if (cgroup_apply_nodes(change->dom, next, true, error))
		return true;
	cgroup_apply_nodes(change->dom, old, true, NULL);
	return false;
}

static bool take(struct numa_change *change, const struct xdr_param *param, GError **error)
{
	if (strcmp(param->name, MODE) == 0 && param->type == XDR_PARAM_INT) {
		change->mode_given = true;
		change->mode = param->i;
		return (param->i >= 0 && param->i < CONF_NUMA_MODES) ||
		       virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "unsupported numatune mode: '%d'",
				  param->i);
	}
	if (strcmp(param->name, NODESET) == 0 && param->type == XDR_PARAM_STRING) {
		g_free(change->nodeset);
		change->nodeset = conf_numatune_nodeset(param->s);
		return change->nodeset || virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
						     "Invalid nodeset of 'numatune': %s", param->s);
	}
	return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED, "parameter '%s' not supported",
			  param->name);
}

void serve_domain_set_numa_parameters(struct rpc_call *call,
				      const struct remote_domain_set_numa_parameters_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	struct numa_change *wanted = g_new0(struct numa_change, 1);
	for (unsigned i = 0; !error && i < args->params.count; i++)
		take(wanted, &args->params.items[i], &error);
	if (error) {
		numa_change_free(wanted);
		rpc_call_fail(call, error);
		return;
	}
	struct domain_change *change = change_new(args->flags, edit_numa, wanted, numa_change_free);
	change->plan = plan_numa;
	change_submit(dom, call, change);
}

void serve_domain_get_numa_parameters(struct rpc_call *call,
				      const struct remote_domain_get_numa_parameters_args *args)
{
	const struct conf_domain *conf = change_choose(call, &args->dom, args->flags);
	if (!conf)
		return;
	if (!args->nparams) {
		rpc_call_reply(call, &(struct remote_domain_get_numa_parameters_ret){.nparams = 2});
		return;
	}
	const struct conf_numa_policy *memory = &conf->numatune.memory;
	struct params params = {.arena = rpc_call_arena(call)};
	params_add_int(&params, MODE, memory->mode);
	params_add_string(&params, NODESET, memory->nodeset ? memory->nodeset : "");
	rpc_call_reply(call, &(struct remote_domain_get_numa_parameters_ret){
				     .params = {MIN(params.count, (unsigned)MAX(args->nparams, 0)), params.items}});
}
