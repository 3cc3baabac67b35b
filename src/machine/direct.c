/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entering a kernel without firmware: at each reset, place ACPI and SMBIOS tables where a kernel
 * looks for them, make the memory map, and have the loader put the kernel and the boot processor's
 * state in place.
 *
 *   0xe0000   SMBIOS tables
 *   0xf0000   RSDP, SMBIOS anchor: where kernels scan
 *   low RAM's last 128 KiB or more: the other ACPI tables
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "cpu/x86/state.h"
#include "machine/layout.h"
#include "machine/loader/loader.h"
#include "machine/tables.h"

enum { EBDA = 0x9fc00, VIDEO = 0xa0000, SMBIOS_AT = 0xe0000, RSDP_AT = 0xf0000,
       ANCHOR_28_AT = 0xf0040, ANCHOR_30_AT = 0xf0080, RESTART_AT = 0xffff0, MIB_1 = 0x100000,
       ACPI_ALIGN = 0x20000 };

struct machine_direct {
	struct machine_direct_options options;
	char *append;
	struct smbios_tables *smbios;
	uint64_t facs; /* where it is; 0: nowhere */
	struct loader_range map[8];
	unsigned map_count;
};

bool machine_direct_open(struct machine *m, const struct machine_direct_options *options,
			 GError **error)
{
	const struct machine_config *c = m->config;
	const struct loader_options files = {
		.kernel = c->kernel, .initrd = c->initrd, .append = c->append,
		/* At native speed the guest unpacks it as fast, and keeps its KASLR. */
		.unpack = m->vm->engine->emulates,
	};
	m->loader = loader_open(&files, error);
	if (!m->loader)
		return false;
	m->direct = g_new0(struct machine_direct, 1);
	m->direct->options = *options;
	m->direct->append = g_strdup(options->append);
	if (options->smbios) {
		m->direct->smbios = machine_smbios_build(m, false, error);
		return m->direct->smbios != NULL;
	}
	return true;
}

void machine_direct_free(struct machine *m)
{
	loader_free(m->loader);
	m->loader = NULL;
	if (!m->direct)
		return;
	smbios_tables_free(m->direct->smbios);
	g_free(m->direct->append);
	g_clear_pointer(&m->direct, g_free);
}

static bool put(struct machine *m, uint64_t address, const void *data, uint64_t size, GError **error)
{
	return space_dma_write(m->vm->memory, address, data, size) ||
	       error_set(error, BERTH_ERR_INVALID,
			 "the machine's memory is too small for its tables; use more (-m)");
}

static bool place_smbios(struct machine *m, GError **error)
{
	struct smbios_tables *t = m->direct->smbios;
	uint8_t anchor_28[SMBIOS_ANCHOR_28_SIZE], anchor_30[SMBIOS_ANCHOR_30_SIZE];
	if (t->tables->len > RSDP_AT - SMBIOS_AT)
		return error_set(error, BERTH_ERR_INVALID, "the SMBIOS tables exceed 64 KiB");
	smbios_anchor_28(t, SMBIOS_AT, anchor_28);
	smbios_anchor_30(t, SMBIOS_AT, anchor_30);
	return put(m, SMBIOS_AT, t->tables->data, t->tables->len, error) &&
	       put(m, ANCHOR_28_AT, anchor_28, sizeof(anchor_28), error) &&
	       put(m, ANCHOR_30_AT, anchor_30, sizeof(anchor_30), error);
}

/* Returns where the tables begin, which ends usable low RAM; 0 with an error. */
static uint64_t place_acpi(struct machine *m, GError **error)
{
	struct acpi_tables *t = machine_acpi_build(m, m->direct->options.acpi);
	uint64_t size = align_up(t->tables->len, ACPI_ALIGN);
	uint64_t at = m->low_ram > MIB_1 + size ? m->low_ram - size : 0;
	bool ok = at || error_set(error, BERTH_ERR_INVALID,
				  "the machine's memory is too small for its tables; use more (-m)");
	if (ok) {
		acpi_place(t, at, RSDP_AT);
		ok = put(m, at, t->tables->data, t->tables->len, error) &&
		     put(m, RSDP_AT, t->rsdp->data, t->rsdp->len, error);
	}
	acpi_tables_free(t);
	m->direct->facs = ok ? at : 0;
	return m->direct->facs;
}

static void add(struct machine_direct *d, uint64_t base, uint64_t size, uint32_t type)
{
	if (size)
		d->map[d->map_count++] = (struct loader_range){base, size, type};
}

static void make_map(struct machine *m, uint64_t ram_end)
{
	struct machine_direct *d = m->direct;
	d->map_count = 0;
	add(d, 0, EBDA, LOADER_RAM);
	add(d, EBDA, VIDEO - EBDA, LOADER_RESERVED);
	add(d, SMBIOS_AT, MIB_1 - SMBIOS_AT, LOADER_RESERVED);
	add(d, MIB_1, ram_end - MIB_1, LOADER_RAM);
	add(d, ram_end, m->low_ram - ram_end, LOADER_ACPI);
	add(d, d->options.reserved_base, d->options.reserved_size, LOADER_RESERVED);
	add(d, LAYOUT_HIGH_RAM, m->high_ram, LOADER_RAM);
}

/*
 * What a PC's firmware has at f000:fff0, and Linux jumps to when it finds no better way to reboot: with
 * hardware-reduced ACPI it tries EFI and then this. An empty IDT and an exception make a shutdown,
 * which is a reset: lidt cs:[fff8]; int3; hlt; limit and base.
 */
static bool place_restart(struct machine *m)
{
	static const uint8_t code[14] = {0x2e, 0x0f, 0x01, 0x1e, 0xf8, 0xff, 0xcc, 0xf4};
	return space_dma_write(m->vm->memory, RESTART_AT, code, sizeof(code));
}

static bool load(struct machine *m, GError **error)
{
	struct machine_direct *d = m->direct;
	struct vcpu *boot = &m->vm->vcpus[0];
	uint64_t ram_end = m->low_ram;
	if (d->options.board_setup)
		d->options.board_setup(m);
	if (d->options.acpi && !(ram_end = place_acpi(m, error)))
		return false;
	if (d->smbios && !place_smbios(m, error))
		return false;
	if (!place_restart(m))
		return error_set(error, BERTH_ERR_INTERNAL, "there is no RAM at 1 MiB");
	make_map(m, ram_end);
	const struct loader_target target = {
		.memory = m->vm->memory, .map = d->map, .map_count = d->map_count,
		.low_ram = ram_end, .rsdp = d->options.acpi ? RSDP_AT : 0,
		.append_machine = d->append,
	};
	struct x86_state state;
	return m->vm->engine->vcpu_get_state(boot, &state, error) &&
	       loader_load(m->loader, &target, &state, error) &&
	       m->vm->engine->vcpu_set_state(boot, &state, error);
}

void machine_direct_load(struct machine *m)
{
	g_clear_error(&m->load_error);
	if (load(m, &m->load_error))
		return;
	/* At start machine_new() reports it; at a reset the VM stops with its reason in the log. */
	if (m->vm->state != VM_STATE_PRELAUNCH) {
		log_error("cannot load the kernel again: %s", m->load_error->message);
		vm_request(m->vm, VM_REQUEST_INTERNAL_ERROR, 0);
	}
}

/* ACPI 6.4, 5.2.10 and 16.3.1: real mode, CS and IP made of the vector. */
static bool enter_vector(struct vcpu *boot, uint32_t vector, GError **error)
{
	const struct engine_ops *engine = boot->vm->engine;
	struct x86_state state;
	if (!engine->vcpu_get_state(boot, &state, error))
		return false;
	state.seg[X86_CS].selector = vector >> 4;
	state.seg[X86_CS].base = vector & ~UINT32_C(0xf);
	state.rip = vector & 0xf;
	return engine->vcpu_set_state(boot, &state, error);
}

void machine_direct_wake(struct machine *m)
{
	uint8_t vector[4] = {0};
	g_autoptr(GError) error = NULL;
	if (m->direct->options.board_setup)
		m->direct->options.board_setup(m);
	bool found = m->direct->facs &&
		     space_dma_read(m->vm->memory, m->direct->facs + ACPI_FACS_WAKING_VECTOR, vector,
				    sizeof(vector)) && le32_load(vector);
	if (!found) {
		log_guest_fault("it sleeps, but has not said where it wakes up: it starts anew");
		machine_direct_load(m);
	} else if (!enter_vector(&m->vm->vcpus[0], le32_load(vector), &error)) {
		log_error("cannot wake the guest: %s", error->message);
		vm_request(m->vm, VM_REQUEST_INTERNAL_ERROR, 0);
	}
}
