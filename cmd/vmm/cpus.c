/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs as devices: "MODEL-x86_64-cpu" of -device and device_add, with their place as properties. */
#include "vmm.h"

#include "base/error.h"

#include <string.h>

#define CPU_SUFFIX "-x86_64-cpu"

struct place {
	unsigned socket, die, core, thread;
};

#define FIELD(name_, field_, most_)                                                                \
	{.name = name_, .type = KEYVAL_UINT, .offset = offsetof(struct place, field_), .max = most_}

bool cpus_is_cpu(const struct conf_item *item)
{
	return g_str_has_suffix(item->type, CPU_SUFFIX);
}

const char *cpus_model(const struct vmm *vmm)
{
	return vmm->conf->cpu ? vmm->cpu_model->name : "max";
}

char *cpu_path(const struct vmm *vmm, unsigned index)
{
	const char *id = machine_cpu_id(vmm->machine, index);
	return id ? g_strdup_printf("/machine/peripheral/%s", id) :
		    g_strdup_printf("/machine/unattached/device[%u]", index);
}

json_t *cpu_place(const struct vm *vm, unsigned index)
{
	const struct vm_config *config = &vm->config;
	unsigned thread = index % config->threads;
	unsigned core = index / config->threads % config->cores;
	unsigned die = index / config->threads / config->cores % config->dies;
	unsigned socket = index / config->threads / config->cores / config->dies;
	return json_pack("{s:i, s:i, s:i, s:i}", "socket-id", (int)socket, "die-id", (int)die,
			 "core-id", (int)core, "thread-id", (int)thread);
}

/* The index of the vCPU at the place that the properties name, or -1. */
static int find_place(const struct vm_config *config, const struct conf_item *item, GError **error)
{
	const struct keyval_field fields[] = {
		FIELD("socket-id", socket, config->sockets - 1),
		FIELD("die-id", die, config->dies - 1),
		FIELD("core-id", core, config->cores - 1),
		FIELD("thread-id", thread, config->threads - 1),
		{.name = NULL},
	};
	static const char *const needed[] = {"socket-id", "core-id", "thread-id"};
	struct place place = {0};
	for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++) {
		if (!keyval_get(item->props, needed[i])) {
			error_set(error, BERTH_ERR_INVALID,
				  "CPU %s is not set: query-hotpluggable-cpus lists the places",
				  needed[i]);
			return -1;
		}
	}
	if (!keyval_bind(item->props, fields, &place, item->type, NULL, error))
		return -1;
	return (int)(((place.socket * config->dies + place.die) * config->cores + place.core) *
			     config->threads + place.thread);
}

/* The index of the vCPU that the item describes, or -1. */
static int check(const struct vmm *vmm, const struct vm_config *config, const struct conf_item *item,
		 GError **error)
{
	g_autofree char *expected = g_strconcat(cpus_model(vmm), CPU_SUFFIX, NULL);
	if (strcmp(item->type, expected) != 0) {
		error_set(error, BERTH_ERR_INVALID, "Invalid CPU type, expected cpu type: '%s'",
			  expected);
		return -1;
	}
	if (item->bus) {
		error_set(error, BERTH_ERR_INVALID, "%s: a CPU is on no bus: leave bus= out",
			  item->type);
		return -1;
	}
	return find_place(config, item, error);
}

bool cpus_plug(struct vmm *vmm, const struct conf_item *item, GError **error)
{
	if (item->id && (machine_find_device(vmm->machine, item->id) ||
			 machine_find_cpu(vmm->machine, item->id) >= 0))
		return error_set(error, BERTH_ERR_INVALID, "Duplicate device ID '%s'", item->id);
	int index = check(vmm, &vmm->vm->config, item, error);
	return index >= 0 && machine_cpu_plug(vmm->machine, (unsigned)index, item->id, error);
}

bool cpus_configure(struct vmm *vmm, struct vm_config *config, GError **error)
{
	const GPtrArray *items = vmm->conf->items[CONF_DEVICE];
	bool *present = g_new0(bool, config->vcpus);
	const char **ids = g_new0(const char *, config->vcpus);
	g_ptr_array_add(vmm->config_owned, present);
	g_ptr_array_add(vmm->config_owned, ids);
	for (unsigned i = 0; i < vmm->conf->smp.cpus; i++)
		present[i] = true;
	for (unsigned i = 0; i < items->len; i++) {
		const struct conf_item *item = items->pdata[i];
		if (!cpus_is_cpu(item))
			continue;
		if (!vmm->board->hotplug_cpus)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "-device %s: %s has no CPU devices: use -smp", item->type,
					 vmm->board->name);
		int index = check(vmm, config, item, error);
		if (index < 0 || present[index])
			return index < 0 ? false :
					   error_set(error, BERTH_ERR_INVALID,
						     "-device %s: CPU %d exists already", item->type,
						     index);
		present[index] = true;
		ids[index] = item->id;
	}
	config->vcpus_present = present;
	vmm->config.cpu_ids = ids;
	return true;
}
