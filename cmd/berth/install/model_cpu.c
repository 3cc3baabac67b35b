/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory and CPUs of a new domain. */
#include "model.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void set_number(xmlNode *node, const char *path, uint64_t value)
{
	g_autofree char *text = g_strdup_printf("%" PRIu64, value);
	element_set(node, path, text);
}

bool model_write_memory(xmlNode *domain, const struct install *i, GError **error)
{
	static const struct element_key *const tables[] = {element_memory_keys, NULL};
	set_number(domain, "memory", i->memory_mib << 10);
	set_number(domain, "currentMemory", i->memory_mib << 10);
	for (unsigned k = 0; k < keyval_count(i->memory_keys); k++) {
		if (!element_apply(domain, tables, "memory", i->memory_keys->keys->pdata[k],
				   i->memory_keys->values->pdata[k], error))
			return false;
	}
	return true;
}

static void write_feature(xmlNode *cpu, const char *policy, const char *name)
{
	install_add(cpu, "feature", "@policy", policy, "@name", name, NULL);
}

/* "MODEL", "host", "host-passthrough" and so on. */
static void write_model(xmlNode *cpu, const char *model)
{
	static const char *const modes[] = {"host-passthrough", "host-model", "maximum", NULL};
	bool host = !strcmp(model, "host") || !strcmp(model, "host-copy");
	if (host || g_strv_contains(modes, model)) {
		element_set(cpu, "@mode", host ? "host-model" : model);
		return;
	}
	element_set(cpu, "@mode", "custom");
	element_set(cpu, "@match", "exact");
	element_set(cpu, "model", model);
}

static bool write_cpu_key(xmlNode *cpu, const char *key, const char *value, GError **error)
{
	static const char *const policies[] = {"force", "require", "optional", "disable", "forbid", NULL};
	static const struct element_key *const tables[] = {element_cpu_keys, NULL};
	if (!strcmp(key, "model") || !strcmp(key, "mode"))
		write_model(cpu, value);
	else if (*key == '+' || *key == '-')
		write_feature(cpu, *key == '+' ? "force" : "disable", key + 1);
	else if (g_strv_contains(policies, key))
		write_feature(cpu, key, value);
	else
		return element_apply(cpu, tables, "cpu", key, value, error);
	return true;
}

static void write_topology(xmlNode *domain, const struct install *i)
{
	unsigned dies = MAX(i->dies, 1), cores = MAX(i->cores, 1), threads = MAX(i->threads, 1);
	xmlNode *topology = element_at(domain, "cpu/topology");
	set_number(topology, "@sockets", i->sockets ? i->sockets :
					 MAX(i->max_cpus / (dies * cores * threads), 1));
	set_number(topology, "@dies", dies);
	set_number(topology, "@cores", cores);
	set_number(topology, "@threads", threads);
}

bool model_write_cpus(xmlNode *domain, const struct install *i, GError **error)
{
	static const struct element_key *const tables[] = {element_vcpus_keys, NULL};
	set_number(domain, "vcpu", i->max_cpus);
	if (i->current_cpus)
		set_number(domain, "vcpu/@current", i->current_cpus);
	for (unsigned k = 0; k < keyval_count(i->vcpu_keys); k++) {
		if (!element_apply(domain, tables, "vcpus", i->vcpu_keys->keys->pdata[k],
				   i->vcpu_keys->values->pdata[k], error))
			return false;
	}
	bool kvm = !strcmp(i->domain_type, "kvm");
	auto_keyval kv = element_parse(i->cpu ? i->cpu : kvm ? "host-passthrough" : "", "model", error);
	if (!kv)
		return false;
	for (unsigned k = 0; k < keyval_count(kv); k++) {
		if (!write_cpu_key(element_at(domain, "cpu"), kv->keys->pdata[k], kv->values->pdata[k], error))
			return false;
	}
	if (i->sockets || i->dies || i->cores || i->threads)
		write_topology(domain, i);
	return true;
}
