/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs as threads: what they do, and which of the host's CPUs they may use. */
#include "daemon/domain/domain.h"

#include "daemon/domain/change.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/params.h"
#include "daemon/domain/process.h"
#include "daemon/domain/vmm.h"
#include "daemon/host/host.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static unsigned host_cpus(const struct domain *dom)
{
	host_read_topology(dom->all->daemon->host);
	return dom->all->daemon->host->topology.cpus;
}

/* --- What they do ---------------------------------------------------------------------------- */

void serve_domain_get_vcpus(struct rpc_call *call, const struct remote_domain_get_vcpus_args *args)
{
	enum { RUNNING = 1 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !domain_runs(call, dom))
		return;
	unsigned count = MIN(dom->live->vcpus, (unsigned)MAX(args->maxinfo, 0));
	unsigned length = MAX(args->maplen, 0);
	struct arena *arena = rpc_call_arena(call);
	struct remote_domain_get_vcpus_ret ret = {.info.count = count};
	/* The answer must not be larger than the protocol allows. */
	if (length * (uint64_t)count > 1 << 20)
		length = 0;
	ret.info.items = arena_alloc(arena, count * sizeof(*ret.info.items));
	ret.cpumaps.count = count * length;
	ret.cpumaps.items = arena_alloc(arena, ret.cpumaps.count);
	for (unsigned i = 0; i < count; i++) {
		struct process_times times;
		process_times(vmm_pid(dom), vmm_vcpu_thread(dom, i), &times);
		ret.info.items[i] = (struct remote_vcpu_info){
			.number = i, .state = RUNNING, .cpu_time = times.user_ns + times.system_ns,
			.cpu = times.cpu};
		if (length)
			process_affinity(vmm_vcpu_thread(dom, i), ret.cpumaps.items + i * length, length);
	}
	rpc_call_reply(call, &ret);
}

/* CPU 0 and up: there is no accounting by host CPU without a cgroup; -1 is the sum. */
void serve_domain_get_cpu_stats(struct rpc_call *call,
				const struct remote_domain_get_cpu_stats_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 4) || !domain_runs(call, dom))
		return;
	if (args->start_cpu != -1) {
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			   "times are known for all of the host's CPUs together: use --total");
		rpc_call_fail(call, error);
		return;
	}
	struct remote_domain_get_cpu_stats_ret ret = {.nparams = 3};
	struct process_times times;
	process_times(vmm_pid(dom), 0, &times);
	struct params list = {.arena = rpc_call_arena(call)};
	if (args->nparams) {
		params_add_ullong(&list, "cpu_time", times.user_ns + times.system_ns);
		params_add_ullong(&list, "user_time", times.user_ns);
		params_add_ullong(&list, "system_time", times.system_ns);
		ret.params.items = list.items;
		ret.params.count = MIN(list.count, args->nparams);
	}
	rpc_call_reply(call, &ret);
}

/* --- Which CPUs they may use ------------------------------------------------------------------ */

struct pin {
	int vcpu;     /* -1: all that are no vCPUs */
	char *cpuset; /* "0-2,4", or NULL: any */
	uint8_t *map;
	unsigned length;
};

static void pin_free(void *opaque)
{
	struct pin *pin = opaque;
	g_free(pin->cpuset);
	g_free(pin->map);
	g_free(pin);
}

static bool edit_pin(xmlNode *root, void *opaque, GError **error)
{
	const struct pin *pin = opaque;
	xmlNode *tune = xml_child(root, "cputune"), *found = NULL;
	char number[16];
	snprintf(number, sizeof(number), "%d", pin->vcpu);
	if (!tune) {
		tune = xmlNewDocNode(root->doc, NULL, (const xmlChar *)"cputune", NULL);
		xmlAddNextSibling(xml_child(root, "vcpu"), tune);
	}
	xml_for_each(node, tune, pin->vcpu < 0 ? "emulatorpin" : "vcpupin") {
		g_autofree char *its = xml_attribute(node, "vcpu");
		if (pin->vcpu < 0 || g_strcmp0(its, number) == 0)
			found = node;
	}
	if (!found)
		found = xmlNewChild(tune, NULL,
				    (const xmlChar *)(pin->vcpu < 0 ? "emulatorpin" : "vcpupin"), NULL);
	if (pin->vcpu >= 0)
		xmlSetProp(found, (const xmlChar *)"vcpu", (const xmlChar *)number);
	xmlSetProp(found, (const xmlChar *)"cpuset", (const xmlChar *)pin->cpuset);
	return true;
}

static bool plan_pin(struct domain_change *change, const struct conf_domain *old,
		     const struct conf_domain *next, GError **error)
{
	const struct pin *pin = change->opaque;
	int failed = vmm_pin(change->dom, pin->vcpu, pin->map, pin->length);
	return !failed || virt_error(error, VIRT_FROM_QEMU, VIRT_SYSTEM_ERROR,
				     "cannot set CPU affinity of domain '%s': %s", change->dom->name,
				     g_strerror(failed));
}

static void tell_pin(struct domain *dom, const struct domain_change *change)
{
	const struct pin *pin = change->opaque;
	struct arena arena = {0};
	struct params params = {.arena = &arena};
	char name[32] = "cputune.emulatorpin";
	if (pin->vcpu >= 0)
		snprintf(name, sizeof(name), "cputune.vcpupin%d", pin->vcpu);
	params_add_string(&params, name, pin->cpuset);
	if (change->live)
		notify_tunable(dom, params.items, params.count);
	arena_clear(&arena);
}

static void pin(struct rpc_call *call, const struct remote_domain *wire, int vcpu, const uint8_t *map,
		uint32_t length, uint32_t flags)
{
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	g_autofree char *cpuset = conf_cpuset_format(map, length, host_cpus(dom));
	if (!*cpuset)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "Empty cpu list for pinning");
	else if (vcpu >= (int)domain_conf(dom)->max_vcpus)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "vcpu %d is out of range of live cpu count %u", vcpu,
			   domain_conf(dom)->max_vcpus);
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct pin *pin = g_new0(struct pin, 1);
	*pin = (struct pin){vcpu, g_steal_pointer(&cpuset), g_memdup2(map, length), length};
	struct domain_change *change = change_new(flags, edit_pin, pin, pin_free);
	change->plan = plan_pin;
	change->applied = tell_pin;
	change_submit(dom, call, change);
}

void serve_domain_pin_vcpu(struct rpc_call *call, const struct remote_domain_pin_vcpu_args *args)
{
	pin(call, &args->dom, MIN(args->vcpu, INT16_MAX), args->cpumap.items, args->cpumap.count,
	    CHANGE_LIVE);
}

void serve_domain_pin_vcpu_flags(struct rpc_call *call,
				 const struct remote_domain_pin_vcpu_flags_args *args)
{
	pin(call, &args->dom, MIN(args->vcpu, INT16_MAX), args->cpumap.items, args->cpumap.count,
	    args->flags);
}

void serve_domain_pin_emulator(struct rpc_call *call,
			       const struct remote_domain_pin_emulator_args *args)
{
	pin(call, &args->dom, -1, args->cpumap.items, args->cpumap.count, args->flags);
}

/* What the document says, and all CPUs where it says nothing. */
static void fill_map(const struct domain *dom, const struct conf_domain *conf, int vcpu, uint8_t *map,
		     unsigned length)
{
	g_autofree char *cpuset = conf_domain_cpuset(conf, vcpu);
	unsigned cpus = host_cpus(dom);
	if (cpuset && conf_cpuset_parse(cpuset, map, length))
		return;
	for (unsigned cpu = 0; cpu < MIN(cpus, length * 8); cpu++)
		map[cpu / 8] |= 1 << cpu % 8;
}

/* The document that the flags mean, or NULL with the call failed. */
static const struct conf_domain *choose(struct rpc_call *call, const struct domain *dom,
					uint32_t flags)
{
	bool live, config;
	GError *error = NULL;
	if (!rpc_call_check_flags(call, flags, CHANGE_LIVE | CHANGE_CONFIG))
		return NULL;
	if (change_resolve(dom, flags, &live, &config, &error))
		return live ? dom->live : dom->definition;
	rpc_call_fail(call, error);
	return NULL;
}

void serve_domain_get_vcpu_pin_info(struct rpc_call *call,
				    const struct remote_domain_get_vcpu_pin_info_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	const struct conf_domain *conf = dom ? choose(call, dom, args->flags) : NULL;
	if (!conf)
		return;
	unsigned length = CLAMP(args->maplen, 0, 2048);
	unsigned count = MIN(conf->max_vcpus, (unsigned)MAX(args->ncpumaps, 0));
	struct remote_domain_get_vcpu_pin_info_ret ret = {.num = count};
	ret.cpumaps.count = count * length;
	ret.cpumaps.items = arena_alloc(rpc_call_arena(call), ret.cpumaps.count);
	for (unsigned i = 0; i < count; i++)
		fill_map(dom, conf, i, ret.cpumaps.items + i * length, length);
	rpc_call_reply(call, &ret);
}

void serve_domain_get_emulator_pin_info(struct rpc_call *call,
					const struct remote_domain_get_emulator_pin_info_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	const struct conf_domain *conf = dom ? choose(call, dom, args->flags) : NULL;
	if (!conf)
		return;
	unsigned length = CLAMP(args->maplen, 0, 2048);
	struct remote_domain_get_emulator_pin_info_ret ret = {.ret = 1, .cpumaps.count = length};
	ret.cpumaps.items = arena_alloc(rpc_call_arena(call), length);
	fill_map(dom, conf, -1, ret.cpumaps.items, length);
	rpc_call_reply(call, &ret);
}
