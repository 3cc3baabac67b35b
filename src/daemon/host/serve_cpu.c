/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The calls that compare CPUs. The host's CPU is what Berth's guests can have of it: with KVM where
 * it works, otherwise with the software engine.
 */
#include "daemon/host/host.h"

#include "daemon/rpc/rpc.h"
#include "daemon/rpc/serve.h"

#include <string.h>

enum {
	COMPARE_FAIL_INCOMPATIBLE = 1, COMPARE_VALIDATE = 2,
	BASELINE_EXPAND = 1, BASELINE_MIGRATABLE = 2,
};

static struct host *host_of(const struct rpc_call *call)
{
	return rpc_call_daemon(call)->host;
}

/* What a parser of a <cpu> complains of, which is taken. */
static void fail_xml(struct rpc_call *call, GError *cause)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_CPU,
		   g_error_matches(cause, BERTH_ERROR, BERTH_ERR_NOT_SUPPORTED) ? VIRT_CONFIG_UNSUPPORTED
		   : *cause->message == '(' ? VIRT_XML_DETAIL : VIRT_XML_ERROR, "%s", cause->message);
	g_error_free(cause);
	rpc_call_fail(call, error);
}

/* The engine that a client means; false with the call failed if there is no such one. */
static bool choose_engine(struct rpc_call *call, const struct host_wanted *wanted, bool *kvm)
{
	GError *error = NULL;
	if (host_check_wanted(rpc_call_daemon(call), wanted, kvm, &error))
		return true;
	rpc_call_fail(call, error);
	return false;
}

/* --- Comparing ------------------------------------------------------------------------------ */

/* All the answers that compare have one field. */
static void compare(struct rpc_call *call, const char *xml, uint32_t flags, bool kvm)
{
	GError *error = NULL;
	g_autofree char *why = NULL;
	enum host_comparison result;
	if (!rpc_call_check_flags(call, flags, COMPARE_FAIL_INCOMPATIBLE | COMPARE_VALIDATE))
		return;
	struct conf_cpu *cpu = conf_cpu_parse(xml, &error);
	if (!cpu) {
		fail_xml(call, error);
		return;
	}
	bool known = host_cpu_compare(host_of(call), cpu, kvm, &result, &why, &error);
	if (known && result == HOST_CPU_INCOMPATIBLE && flags & COMPARE_FAIL_INCOMPATIBLE)
		virt_error(&error, VIRT_FROM_CPU, VIRT_CPU_INCOMPATIBLE, "%s", why);
	conf_cpu_free(cpu);
	if (error)
		rpc_call_fail(call, error);
	else
		rpc_call_reply(call, &(struct remote_connect_compare_cpu_ret){result});
}

void serve_connect_compare_cpu(struct rpc_call *call, const struct remote_connect_compare_cpu_args *args)
{
	compare(call, args->xml, args->flags, host_of(call)->has_kvm);
}

void serve_connect_compare_hypervisor_cpu(
	struct rpc_call *call, const struct remote_connect_compare_hypervisor_cpu_args *args)
{
	const struct host_wanted wanted = {args->emulator, args->arch, args->machine, args->virttype};
	bool kvm;
	if (choose_engine(call, &wanted, &kvm))
		compare(call, args->xml_cpu, args->flags, kvm);
}

/* --- A common CPU --------------------------------------------------------------------------- */

static void free_cpu(void *opaque)
{
	conf_cpu_free(opaque);
}

/* NULL with an error, which is the parser's if `*is_xml` is set. */
static GPtrArray *parse_all(char *const *texts, unsigned count, bool only_hosts, bool *is_xml,
			    GError **error)
{
	g_autoptr(GPtrArray) cpus = g_ptr_array_new_with_free_func(free_cpu);
	*is_xml = false;
	if (!count)
		virt_error(error, VIRT_FROM_CPU, VIRT_INVALID_ARG, "No CPUs given");
	for (unsigned i = 0; i < count; i++) {
		struct conf_cpu *cpu = conf_cpu_parse(texts[i], error);
		*is_xml = !cpu;
		if (!cpu)
			return NULL;
		g_ptr_array_add(cpus, cpu);
		if (!only_hosts || !cpu->guest)
			continue;
		virt_error(error, VIRT_FROM_CPU, VIRT_CONFIG_UNSUPPORTED,
			   "Attribute mode is only allowed for guest CPU");
		return NULL;
	}
	return count ? g_steal_pointer(&cpus) : NULL;
}

/* All the answers have one field. Nothing that blocks migration is in a model's features. */
static void baseline(struct rpc_call *call, char *const *texts, unsigned count, uint32_t flags,
		     bool only_hosts, const struct host_features *limit)
{
	GError *error = NULL;
	bool is_xml;
	if (!rpc_call_check_flags(call, flags, BASELINE_EXPAND | BASELINE_MIGRATABLE))
		return;
	g_autoptr(GPtrArray) cpus = parse_all(texts, count, only_hosts, &is_xml, &error);
	g_autofree char *xml = cpus ? host_cpu_baseline(host_of(call), cpus, limit,
							flags & BASELINE_EXPAND, &error) : NULL;
	if (xml)
		rpc_call_reply(call, &(struct remote_connect_baseline_cpu_ret){xml});
	else if (is_xml)
		fail_xml(call, error);
	else
		rpc_call_fail(call, error);
}

void serve_connect_baseline_cpu(struct rpc_call *call,
				const struct remote_connect_baseline_cpu_args *args)
{
	baseline(call, args->xml_cpus.items, args->xml_cpus.count, args->flags, true, NULL);
}

void serve_connect_baseline_hypervisor_cpu(
	struct rpc_call *call, const struct remote_connect_baseline_hypervisor_cpu_args *args)
{
	const struct host_wanted wanted = {args->emulator, args->arch, args->machine, args->virttype};
	bool kvm;
	if (choose_engine(call, &wanted, &kvm))
		baseline(call, args->xml_cpus.items, args->xml_cpus.count, args->flags, false,
			 host_features_of(host_of(call), kvm));
}
