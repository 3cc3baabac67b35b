/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: one block, mapped around the hole below 4 GiB where devices are. */
#include "base/error.h"
#include "base/units.h"
#include "machine/layout.h"
#include "machine/machine_int.h"

#define HOLE_BASE UINT64_C(0xa0000)
#define HOLE_END  UINT64_C(0x100000)

bool machine_ram_create(struct machine *m, uint64_t threshold, uint64_t low_max, bool hole,
			GError **error)
{
	uint64_t size = m->config->memory;
	unsigned bits = m->vm->config.phys_bits ? m->vm->config.phys_bits : 40;
	if (size < MIB || size % MIB)
		return error_set(error, BERTH_ERR_INVALID,
				 "memory size must be a multiple of 1 MiB (-m)");
	m->low_ram = size >= threshold ? MIN(size, low_max) : size;
	m->high_ram = size - m->low_ram;
	if (m->high_ram && LAYOUT_HIGH_RAM + m->high_ram > UINT64_C(1) << bits)
		return error_set(error, BERTH_ERR_INVALID,
				 "%llu GiB of memory do not fit into the CPU's %u address bits; "
				 "use less memory (-m) or a CPU model with more (-cpu)",
				 (unsigned long long)(size / GIB), bits);
	m->ram = ram_block_new("pc.ram", size, &m->config->ram, error);
	if (!m->ram)
		return false;
	struct space *space = m->vm->memory;
	space_begin(space);
	if (hole) {
		space_add_ram(space, 0, m->ram, 0, HOLE_BASE, false, NULL, SPACE_PRIORITY_NORMAL);
		if (m->low_ram > HOLE_END)
			space_add_ram(space, HOLE_END, m->ram, HOLE_END, m->low_ram - HOLE_END,
				      false, NULL, SPACE_PRIORITY_NORMAL);
	} else {
		space_add_ram(space, 0, m->ram, 0, m->low_ram, false, NULL, SPACE_PRIORITY_NORMAL);
	}
	if (m->high_ram)
		space_add_ram(space, LAYOUT_HIGH_RAM, m->ram, m->low_ram, m->high_ram, false, NULL,
			      SPACE_PRIORITY_NORMAL);
	space_commit(space);
	return true;
}

void machine_ram_free(struct machine *m)
{
	struct space *space = m->vm->memory;
	space_begin(space);
	if (m->ram) {
		space_remove_ram(space, 0);
		space_remove_ram(space, HOLE_END);
		space_remove_ram(space, LAYOUT_HIGH_RAM);
	}
	if (m->firmware)
		space_remove_ram(space, m->firmware_base);
	space_commit(space);
	ram_block_free(m->ram);
	ram_block_free(m->firmware);
	m->ram = m->firmware = NULL;
}
