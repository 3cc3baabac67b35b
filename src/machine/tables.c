/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI and SMBIOS tables as firmware gets them: files in fw_cfg and a script that places them. ACPI
 * tables name addresses that firmware chooses (ECAM, PM base), so they are built anew whenever the
 * guest selects one of the files, as the chips are programmed then.
 */
#include "machine/tables.h"

#include "base/error.h"
#include "cpu/x86/cpuid.h"
#include "dev/chips/fw_cfg.h"
#include "machine/layout.h"

/* Contents of one length, so that the directory that firmware has read stays true. */
#define TABLES_ALIGN 0x20000

struct machine_tables {
	machine_acpi_fn *describe;
	bool selected; /* since reset: what is placed must not change any more */
};

struct acpi_tables *machine_acpi_build(struct machine *m, machine_acpi_fn *describe)
{
	g_autoptr(GArray) apic_ids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	g_autofree bool *present = g_new(bool, m->vm->vcpu_count);
	for (unsigned i = 0; i < m->vm->vcpu_count; i++) {
		g_array_append_val(apic_ids, m->vm->vcpus[i].apic_id);
		present[i] = m->vm->vcpus[i].present;
	}
	g_autoptr(GPtrArray) extra = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	for (unsigned i = 0; i < m->config->acpi_table_count; i++)
		g_ptr_array_add(extra, g_bytes_new_static(m->config->acpi_tables[i].data,
							  m->config->acpi_tables[i].size));
	g_autoptr(GArray) memory = g_array_new(FALSE, FALSE, sizeof(struct acpi_numa_memory));
	machine_ram_nodes(m, memory);
	struct acpi_config config = {
		.apic_ids = (const uint32_t *)apic_ids->data,
		.cpus_present = m->cpus ? present : NULL,
		.cpu_count = apic_ids->len,
		/* A guest plugs memory into a node: it needs one. */
		.numa_nodes = m->memory ? MAX(m->config->node_count, 1) : m->config->node_count,
		.numa_memory = (const struct acpi_numa_memory *)memory->data,
		.numa_memory_count = memory->len,
		.cpu_nodes = m->config->cpu_nodes,
		.numa_distances = m->config->node_distances,
		.extra = (const GBytes *const *)extra->pdata,
		.extra_count = extra->len,
	};
	describe(m, &config);
	return acpi_build(&config);
}

static bool publish(struct machine *m, const struct fw_cfg_file_ops *ops, GError **error)
{
	struct acpi_tables *t = machine_acpi_build(m, m->tables->describe);
	GByteArray *script = acpi_loader_script(t);
	guint used = t->tables->len;
	g_byte_array_set_size(t->tables, (used + TABLES_ALIGN - 1) / TABLES_ALIGN * TABLES_ALIGN);
	memset(t->tables->data + used, 0, t->tables->len - used);
	struct fw_cfg *fw = m->fw_cfg;
	bool ok = fw_cfg_add_file_ops(fw, "etc/acpi/tables", t->tables->data, t->tables->len, ops,
				      error) &&
		  fw_cfg_add_file_ops(fw, "etc/acpi/rsdp", t->rsdp->data, t->rsdp->len, ops, error) &&
		  fw_cfg_add_file_ops(fw, "etc/table-loader", script->data, script->len, ops, error);
	g_byte_array_unref(script);
	acpi_tables_free(t);
	return ok;
}

/* The guest's first look at any of the three files. */
static void selected(void *opaque)
{
	struct machine *m = opaque;
	g_autoptr(GError) error = NULL;
	if (m->tables->selected)
		return;
	m->tables->selected = true;
	bool ok = publish(m, NULL, &error);
	g_assert(ok); /* the files exist: replacing them cannot fail */
}

struct smbios_tables *machine_smbios_build(struct machine *m, bool firmware, GError **error)
{
	const struct machine_config *c = m->config;
	const struct vm_config *v = &m->vm->config;
	struct smbios_options *options = smbios_options_new();
	struct smbios_tables *tables = NULL;
	for (const char *const *text = c->smbios; text && *text; text++) {
		if (!smbios_options_add(options, *text, error)) {
			smbios_options_free(options);
			return NULL;
		}
	}
	const struct cpu_topology topology = {.sockets = v->sockets, .dies = v->dies,
					      .cores = v->cores, .threads = v->threads,
					      .phys_bits = v->phys_bits};
	uint32_t cpuid1[4] = {0};
	if (v->cpu_model) {
		g_autoptr(GArray) leaves = cpuid_build(v->cpu_model, &topology, 0);
		cpuid_lookup(leaves, 1, 0, cpuid1);
	}
	const struct smbios_range ram[] = {{0, m->low_ram}, {LAYOUT_HIGH_RAM, m->high_ram}};
	struct smbios_machine machine = {
		.product = m->ops->description,
		.cpu_name = v->cpu_model ? v->cpu_model->model_id : NULL,
		.uuid_set = c->uuid_set,
		.sockets = MAX(v->sockets, 1),
		.cores = MAX(v->dies, 1) * MAX(v->cores, 1),
		.threads = MAX(v->threads, 1),
		.cpuid_1_eax = cpuid1[0],
		.cpuid_1_edx = cpuid1[3],
		.ram = ram,
		.ram_count = m->high_ram ? 2 : 1,
		.firmware = firmware,
	};
	memcpy(machine.uuid, c->uuid, sizeof(machine.uuid));
	tables = smbios_build(options, &machine);
	smbios_options_free(options);
	return tables;
}

static bool smbios_files(struct machine *m, GError **error)
{
	struct smbios_tables *t = machine_smbios_build(m, true, error);
	if (!t)
		return false;
	uint8_t anchor[SMBIOS_ANCHOR_28_SIZE];
	smbios_anchor_28(t, 0, anchor);
	bool ok = fw_cfg_add_file(m->fw_cfg, "etc/smbios/smbios-tables", t->tables->data,
				  t->tables->len, error) &&
		  fw_cfg_add_file(m->fw_cfg, "etc/smbios/smbios-anchor", anchor, sizeof(anchor),
				  error);
	smbios_tables_free(t);
	return ok;
}

bool machine_tables_fw_cfg(struct machine *m, machine_acpi_fn *describe, GError **error)
{
	const struct fw_cfg_file_ops ops = {.selected = selected, .opaque = m};
	m->tables = g_new0(struct machine_tables, 1);
	m->tables->describe = describe;
	return smbios_files(m, error) && (!describe || publish(m, &ops, error));
}

void machine_tables_reset(struct machine *m)
{
	if (m->tables)
		m->tables->selected = false;
}

void machine_tables_free(struct machine *m)
{
	g_clear_pointer(&m->tables, g_free);
}
