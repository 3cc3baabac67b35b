/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM: one block, or one for each NUMA node that has a memory back end of its own, mapped one
 * after the other round the holes where devices are.
 */
#include "base/error.h"
#include "base/units.h"
#include "machine/acpi/acpi.h"
#include "machine/layout.h"
#include "machine/machine_int.h"

#define HOLE_BASE UINT64_C(0xa0000)
#define HOLE_END  UINT64_C(0x100000)

/* A part of RAM without a hole: `offset` counts bytes of RAM, from 0. */
struct part {
	uint64_t address, offset, size;
};

/* The parts of all RAM; at most three. */
static unsigned list_parts(const struct machine *m, struct part parts[3])
{
	unsigned n = 0;
	if (m->ram_hole) {
		parts[n++] = (struct part){0, 0, HOLE_BASE};
		if (m->low_ram > HOLE_END)
			parts[n++] = (struct part){HOLE_END, HOLE_END, m->low_ram - HOLE_END};
	} else {
		parts[n++] = (struct part){0, 0, m->low_ram};
	}
	if (m->high_ram)
		parts[n++] = (struct part){LAYOUT_HIGH_RAM, m->low_ram, m->high_ram};
	return n;
}

/* What of `part` lies in the `size` bytes of RAM from `offset` on; size 0: nothing. */
static struct part clip(const struct part *part, uint64_t offset, uint64_t size)
{
	uint64_t from = MAX(part->offset, offset);
	uint64_t end = MIN(part->offset + part->size, offset + size);
	if (from >= end)
		return (struct part){0};
	return (struct part){part->address + (from - part->offset), from, end - from};
}

static void map_block(struct machine *m, struct ram_block *block, uint64_t offset)
{
	struct part parts[3];
	unsigned count = list_parts(m, parts);
	for (unsigned i = 0; i < count; i++) {
		struct part p = clip(&parts[i], offset, block->size);
		if (!p.size)
			continue;
		space_add_ram(m->vm->memory, p.address, block, p.offset - offset, p.size, false,
			      NULL, SPACE_PRIORITY_NORMAL);
		g_array_append_val(m->ram_addresses, p.address);
	}
}

static bool add_block(struct machine *m, const char *name, uint64_t size,
		      const struct ram_options *options, uint64_t *offset, GError **error)
{
	struct ram_block *block = size ? ram_block_new(name, size, options, error) : NULL;
	if (!block)
		return size == 0;
	g_ptr_array_add(m->rams, block);
	map_block(m, block, *offset);
	*offset += size;
	return true;
}

static bool add_blocks(struct machine *m, GError **error)
{
	const struct machine_config *c = m->config;
	uint64_t offset = 0;
	if (!c->node_count || !c->nodes[0].ram)
		return add_block(m, "pc.ram", c->memory, &c->ram, &offset, error);
	for (unsigned i = 0; i < c->node_count; i++) {
		const struct machine_node *node = &c->nodes[i];
		if (!add_block(m, node->name, node->memory, node->ram, &offset, error))
			return false;
	}
	return true;
}

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
	m->ram_hole = hole;
	if (m->high_ram && LAYOUT_HIGH_RAM + m->high_ram > UINT64_C(1) << bits)
		return error_set(error, BERTH_ERR_INVALID,
				 "%llu GiB of memory do not fit into the CPU's %u address bits; "
				 "use less memory (-m) or a CPU model with more (-cpu)",
				 (unsigned long long)(size / GIB), bits);
	m->rams = g_ptr_array_new_with_free_func((GDestroyNotify)ram_block_free);
	m->ram_addresses = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	space_begin(m->vm->memory);
	bool ok = add_blocks(m, error);
	space_commit(m->vm->memory);
	return ok;
}

void machine_ram_free(struct machine *m)
{
	struct space *space = m->vm->memory;
	space_begin(space);
	for (unsigned i = 0; m->rams && i < m->ram_addresses->len; i++)
		space_remove_ram(space, g_array_index(m->ram_addresses, uint64_t, i));
	if (m->firmware)
		space_remove_ram(space, m->firmware_base);
	space_commit(space);
	g_clear_pointer(&m->rams, g_ptr_array_unref);
	g_clear_pointer(&m->ram_addresses, g_array_unref);
	ram_block_free(m->firmware);
	m->firmware = NULL;
}

void machine_ram_nodes(const struct machine *m, GArray *ranges)
{
	const struct machine_config *c = m->config;
	struct part parts[3];
	unsigned count = list_parts(m, parts);
	uint64_t offset = 0;
	for (unsigned n = 0; n < MAX(c->node_count, 1); n++) {
		uint64_t size = c->node_count ? c->nodes[n].memory : c->memory;
		for (unsigned i = 0; i < count; i++) {
			struct part p = clip(&parts[i], offset, size);
			struct acpi_numa_memory range = {p.address, p.size, n};
			if (p.size)
				g_array_append_val(ranges, range);
		}
		offset += size;
	}
}
