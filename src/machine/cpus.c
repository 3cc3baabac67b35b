/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processors that come and go while the guest runs, by ACPI. All vCPUs that maxcpus= allows exist from
 * power-on; one that is not plugged in never enters the guest. A guest gives a processor back when it
 * is ready to (its eject method).
 */
#include "base/error.h"
#include "dev/chips/acpi_slots.h"
#include "machine/layout.h"
#include "machine/machine_int.h"

struct machine_cpus {
	struct acpi_slots *slots;
	char **ids; /* of device_add, by index; NULL where there is none */
};

static void set_present(struct machine *m, unsigned index, bool present)
{
	vcpu_set_present(&m->vm->vcpus[index], present);
	acpi_slots_set_present(m->cpus->slots, index, present);
	if (m->ops->cpus_changed)
		m->ops->cpus_changed(m);
}

static void ejected(void *opaque, unsigned index)
{
	struct machine *m = opaque;
	if (index == 0 || !m->vm->vcpus[index].present)
		return;
	set_present(m, index, false);
	g_autofree char *id = g_steal_pointer(&m->cpus->ids[index]);
	if (m->cpu_removed)
		m->cpu_removed(m->removed_opaque, index, id);
}

void machine_cpus_create(struct machine *m, void (*event)(void *opaque), void *opaque)
{
	unsigned count = m->vm->vcpu_count;
	m->cpus = g_new0(struct machine_cpus, 1);
	m->cpus->ids = g_new0(char *, count);
	m->cpus->slots = acpi_slots_new(m->vm, Q35_CPUS_PORT, count,
					&(struct acpi_slots_ops){event, opaque, ejected, m});
	for (unsigned i = 0; i < count; i++) {
		acpi_slots_set_present(m->cpus->slots, i, m->vm->vcpus[i].present);
		m->cpus->ids[i] = g_strdup(m->config->cpu_ids ? m->config->cpu_ids[i] : NULL);
	}
}

void machine_cpus_free(struct machine *m)
{
	if (!m->cpus)
		return;
	acpi_slots_free(m->cpus->slots);
	for (unsigned i = 0; i < m->vm->vcpu_count; i++)
		g_free(m->cpus->ids[i]);
	g_free(m->cpus->ids);
	g_clear_pointer(&m->cpus, g_free);
}

void machine_cpus_reset(struct machine *m)
{
	if (m->cpus)
		acpi_slots_reset(m->cpus->slots);
}

unsigned machine_cpus_present(const struct machine *m)
{
	unsigned present = 0;
	for (unsigned i = 0; i < m->vm->vcpu_count; i++)
		present += m->vm->vcpus[i].present;
	return present;
}

const char *machine_cpu_id(const struct machine *m, unsigned index)
{
	return m->cpus ? m->cpus->ids[index] : NULL;
}

int machine_find_cpu(const struct machine *m, const char *id)
{
	for (unsigned i = 0; m->cpus && i < m->vm->vcpu_count; i++) {
		if (g_strcmp0(m->cpus->ids[i], id) == 0)
			return (int)i;
	}
	return -1;
}

static bool check_hotplug(const struct machine *m, GError **error)
{
	return m->cpus || error_set(error, BERTH_ERR_NOT_SUPPORTED,
				    "processors of this machine cannot be plugged in or out: it takes "
				    "-machine q35 with ACPI");
}

bool machine_cpu_plug(struct machine *m, unsigned index, const char *id, GError **error)
{
	if (!check_hotplug(m, error))
		return false;
	if (m->vm->vcpus[index].present)
		return error_set(error, BERTH_ERR_BUSY, "CPU %u exists already", index);
	set_present(m, index, true);
	m->cpus->ids[index] = g_strdup(id);
	acpi_slots_inserted(m->cpus->slots, index);
	return true;
}

bool machine_cpu_request(struct machine *m, unsigned index, GError **error)
{
	if (!check_hotplug(m, error))
		return false;
	if (index == 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the boot processor (CPU 0) cannot be taken out");
	acpi_slots_request(m->cpus->slots, index);
	return true;
}
