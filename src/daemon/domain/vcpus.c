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
	/* Or these are to come, or to go, of those that are; NULL: none in particular. */
	uint8_t *map;
	bool enable;
};

/* As many as a list can name (conf_cpuset_parse()). */
enum { MAP_BYTES = 65536 / 8 };

static void count_free(void *opaque)
{
	struct vcpu_count *count = opaque;
	g_free(count->map);
	g_free(count);
}

struct conf_domain_topology vcpus_topology(const struct conf_domain *conf)
{
	if (conf->topology.sockets)
		return conf->topology;
	return (struct conf_domain_topology){
		.sockets = conf->max_vcpus, .dies = 1, .cores = 1, .threads = 1};
}

/* --- The documents --------------------------------------------------------------------------- */

static bool has_vcpu(const struct vcpu_count *wanted, unsigned index)
{
	return index < MAP_BYTES * 8 && wanted->map[index / 8] >> index % 8 & 1;
}

/* What is plugged in is always the first COUNT vCPUs: a document says no more than the number. */
static bool select_vcpus(const struct vcpu_count *wanted, unsigned most, unsigned *count, GError **error)
{
	unsigned now = *count, next = 0;
	for (unsigned i = most; i < MAP_BYTES * 8; i++) {
		if (has_vcpu(wanted, i))
			return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
					  "vCPU %u is not there: the domain has %u at most", i, most);
	}
	for (unsigned i = 0; i < most; i++) {
		bool online = has_vcpu(wanted, i) ? wanted->enable : i < now;
		if (online && next < i)
			return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
					  "vCPU %u cannot be there without vCPU %u: they come in order, and go from "
					  "the last one back", i, next);
		next += online;
	}
	*count = next;
	return next || virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "vCPU 0 cannot be disabled");
}

/* <vcpu current='COUNT'>MAXIMUM</vcpu>; without the attribute both are the same. */
static bool edit_count(xmlNode *root, void *opaque, GError **error)
{
	const struct vcpu_count *wanted = opaque;
	xmlNode *vcpu = xml_child(root, "vcpu");
	g_autofree char *text = xml_text(vcpu), *now = xml_attribute(vcpu, "current");
	unsigned most = strtoul(text, NULL, 10), count = now ? strtoul(now, NULL, 10) : most;
	char number[16];
	if (wanted->map && !select_vcpus(wanted, most, &count, error))
		return false;
	if (wanted->maximum)
		most = wanted->count;
	else if (!wanted->map)
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
		change_new(flags, edit_count, g_memdup2(count, sizeof(*count)), count_free);
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

enum { MAXIMUM = 4, GUEST = 8 };

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

static void submit(struct domain *dom, struct rpc_call *call, struct domain_change *change)
{
	change->applied = applied;
	change->overdue = overdue;
	change_submit(dom, call, change);
}

static void set_vcpus(struct rpc_call *call, const struct remote_domain *wire, unsigned count,
		      uint32_t flags)
{
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, flags, CHANGE_LIVE | CHANGE_CONFIG | MAXIMUM | GUEST))
		return;
	if (flags & GUEST && !(flags & (CHANGE_CONFIG | MAXIMUM))) {
		vcpus_set_guest(call, dom, count);
		return;
	}
	if (flags & GUEST)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "the guest has vCPUs while it runs, and does not set the most: leave out --config and "
			   "--maximum");
	if (error || !check(dom, count, flags, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	struct domain_change *change =
		new_change(flags & ~MAXIMUM, &(struct vcpu_count){count, .maximum = flags & MAXIMUM});
	submit(dom, call, change);
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

void serve_domain_set_vcpu(struct rpc_call *call, const struct remote_domain_set_vcpu_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	uint8_t map[MAP_BYTES];
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	if (!conf_cpuset_parse(args->cpumap, map, sizeof(map)))
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "'%s' is no list of vCPUs like 1-3,^2",
			   args->cpumap);
	else if (args->state < 0 || args->state > 1)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "unsupported state value");
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	submit(dom, call, new_change(args->flags, &(struct vcpu_count){.map = g_memdup2(map, sizeof(map)),
								       .enable = args->state}));
}
