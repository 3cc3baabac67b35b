/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/vcpus.h"

#include "base/log.h"
#include "daemon/domain/cgroup.h"
#include "daemon/domain/change.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

#include <stdio.h>
#include <string.h>

#define ALIAS "vcpu"

struct vcpu_count {
	unsigned count;
	bool maximum; /* of those that can be; or of those that are */
	bool plugged; /* it is so already: the VMM need not be told */
};

struct conf_domain_topology vcpus_topology(const struct conf_domain *conf)
{
	if (conf->topology.sockets)
		return conf->topology;
	return (struct conf_domain_topology){
		.sockets = conf->max_vcpus, .dies = 1, .cores = 1, .threads = 1};
}

/* --- The documents --------------------------------------------------------------------------- */

/* <vcpu current='COUNT'>MAXIMUM</vcpu>; without the attribute both are the same. */
static bool edit_count(xmlNode *root, void *opaque, GError **error)
{
	const struct vcpu_count *wanted = opaque;
	xmlNode *vcpu = xml_child(root, "vcpu");
	g_autofree char *text = xml_text(vcpu), *now = xml_attribute(vcpu, "current");
	unsigned most = strtoul(text, NULL, 10), count = now ? strtoul(now, NULL, 10) : most;
	char number[16];
	if (wanted->maximum)
		most = wanted->count;
	else
		count = wanted->count;
	snprintf(number, sizeof(number), "%u", most);
	xmlNodeSetContent(vcpu, (const xmlChar *)number);
	snprintf(number, sizeof(number), "%u", count);
	xmlUnsetProp(vcpu, (const xmlChar *)"current");
	if (count < most)
		xmlSetProp(vcpu, (const xmlChar *)"current", (const xmlChar *)number);
	return true;
}

/* --- What runs ------------------------------------------------------------------------------- */

static char *alias_of(unsigned index)
{
	return g_strdup_printf(ALIAS "%u", index);
}

/* "MODEL-x86_64-cpu" at the place that the VMM gives the vCPU `index` (conf_smp_complete()). */
static json_t *describe(const struct conf_domain *conf, unsigned index)
{
	const struct conf_domain_topology t = vcpus_topology(conf);
	const char *cpu = conf->cpu ? conf->cpu : "max";
	g_autofree char *driver = g_strdup_printf("%.*s-x86_64-cpu", (int)strcspn(cpu, ","), cpu);
	g_autofree char *id = alias_of(index);
	unsigned core = index / t.threads, die = core / t.cores;
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:i}", "driver", driver, "id", id, "socket-id",
			 (int)(die / t.dies), "die-id", (int)(die % t.dies), "core-id",
			 (int)(core % t.cores), "thread-id", (int)(index % t.threads));
}

static json_t *named(unsigned index)
{
	g_autofree char *id = alias_of(index);
	return json_pack("{s:s}", "id", id);
}

static bool plan_count(struct domain_change *change, const struct conf_domain *old,
		       const struct conf_domain *next, GError **error)
{
	const struct vcpu_count *wanted = change->opaque;
	if (wanted->plugged)
		return true;
	for (unsigned i = old->vcpus; i < next->vcpus; i++)
		change_add_step(change, "device_add", describe(next, i), "device_del", named(i));
	for (unsigned i = old->vcpus; i-- > next->vcpus;) {
		if (!vmm_vcpu_is_plugged(change->dom, i))
			return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
					  "failed to find appropriate hotpluggable vcpus to reach the "
					  "desired target vcpu count");
		change_add_step(change, "device_del", named(i), NULL, NULL);
		g_ptr_array_add(change->await, alias_of(i));
	}
	return true;
}

static struct domain_change *new_change(uint32_t flags, const struct vcpu_count *count)
{
	struct domain_change *change =
		change_new(flags, edit_count, g_memdup2(count, sizeof(*count)), g_free);
	change->plan = plan_count;
	return change;
}

static void on_threads(void *opaque, json_t *result, const GError *error)
{
	struct domain *dom = opaque;
	if (error)
		log_warning("domain '%s': its vCPUs are not known: %s", dom->name, error->message);
	if (error || !dom->vmm)
		return;
	unsigned count = vmm_take_threads(dom, result);
	if (count && count != dom->live->vcpus)
		change_submit(dom, NULL, new_change(CHANGE_LIVE, &(struct vcpu_count){count, .plugged = true}));
	g_autoptr(GError) failure = NULL;
	if (!vmm_pin_all(dom, &failure) || !cgroup_apply(dom, dom->live, &failure))
		log_warning("domain '%s': %s", dom->name, failure->message);
}

void vcpus_settle(struct domain *dom)
{
	vmm_execute(dom, "query-cpus-fast", NULL, on_threads, dom);
}

bool vcpus_gone(struct domain *dom, const char *alias)
{
	if (!g_str_has_prefix(alias, ALIAS))
		return false;
	if (!change_device_gone(dom, alias))
		vcpus_settle(dom);
	return true;
}

static void overdue(struct domain *dom, GError **error)
{
	vcpus_settle(dom);
	virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_TIMEOUT,
		   "vcpu unplug request timed out. Unplug result must be manually inspected in the domain");
}

static void applied(struct domain *dom, const struct domain_change *change)
{
	if (change->live)
		vcpus_settle(dom);
}

/* --- The calls ------------------------------------------------------------------------------- */

enum { MAXIMUM = 4 };

static bool check(const struct domain *dom, unsigned count, uint32_t flags, GError **error)
{
	bool live, config;
	if (!change_resolve(dom, flags, &live, &config, error))
		return false;
	if (flags & MAXIMUM && live)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "maximum vcpu count of a live domain can't be modified");
	if (flags & MAXIMUM)
		return count || virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
					   "vcpu count must be greater than zero");
	if (live && count > dom->live->max_vcpus)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "requested vcpus is greater than max allowable vcpus for the live "
				  "domain: %u > %u", count, dom->live->max_vcpus);
	if (config && count > dom->definition->max_vcpus)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "requested vcpus is greater than max allowable vcpus for the "
				  "persistent domain: %u > %u", count, dom->definition->max_vcpus);
	return true;
}

static void set_vcpus(struct rpc_call *call, const struct remote_domain *wire, unsigned count,
		      uint32_t flags)
{
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, flags, CHANGE_LIVE | CHANGE_CONFIG | MAXIMUM))
		return;
	if (!check(dom, count, flags, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	struct domain_change *change =
		new_change(flags & ~MAXIMUM, &(struct vcpu_count){count, .maximum = flags & MAXIMUM});
	change->applied = applied;
	change->overdue = overdue;
	change_submit(dom, call, change);
}

void serve_domain_set_vcpus(struct rpc_call *call, const struct remote_domain_set_vcpus_args *args)
{
	set_vcpus(call, &args->dom, args->nvcpus, CHANGE_LIVE);
}

void serve_domain_set_vcpus_flags(struct rpc_call *call,
				  const struct remote_domain_set_vcpus_flags_args *args)
{
	set_vcpus(call, &args->dom, args->nvcpus, args->flags);
}
