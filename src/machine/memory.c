/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that comes and goes while the guest runs: modules (pc-dimm), by ACPI, and virtio-mem devices.
 * Their addresses are above RAM, in a window that is kept free for them. The memory itself belongs to
 * its back end and stays when a device goes; a guest may have left pointers to it in its queues.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "dev/chips/acpi_memory.h"
#include "dev/chips/dimm.h"
#include "dev/virtio/mem.h"
#include "machine/layout.h"
#include "machine/machine_int.h"

struct machine_memory {
	struct acpi_memory *acpi;
	uint64_t base, size;
	unsigned slots;
	struct device *modules[ACPI_MEMORY_SLOTS_MAX]; /* NULL: empty */
};

/* Where a device's memory is, and how much. */
struct place {
	struct ram_block *ram;
	uint64_t address; /* 0: not yet placed */
};

/* False if `dev` brings no memory. */
static bool find_place(struct device *dev, struct place *place)
{
	const struct pc_dimm *dimm = pc_dimm_of(dev);
	const struct virtio_mem *mem = virtio_mem_of(dev);
	if (dimm)
		*place = (struct place){dimm->ram, dimm->address};
	else if (mem)
		*place = (struct place){mem->ram, mem->address};
	return dimm || mem;
}

/* The part of a virtio-mem's memory that the guest can reach; a module is reached as a whole. */
static uint64_t reachable(struct device *dev, const struct place *place)
{
	struct virtio_mem *mem = virtio_mem_of(dev);
	return mem ? atomic_load(&mem->usable) : place->ram->size;
}

static void map(struct machine *m, struct device *dev)
{
	struct place place;
	if (find_place(dev, &place) && reachable(dev, &place))
		space_add_ram(m->vm->memory, place.address, place.ram, 0, reachable(dev, &place), false,
			      NULL, SPACE_PRIORITY_NORMAL);
}

/*
 * Round a change of what is mapped: no vCPU may see it half-done, nothing of a device may be in flight
 * to memory that goes, and rings that the kernel or another process serves (net/vhost.h) learn of the
 * guest's memory when their device starts. Returns what end_change() is to be given.
 */
static bool begin_change(struct machine *m)
{
	bool running = m->running;
	vm_quiesce(m->vm);
	if (running)
		m->vm->run_devices(m, false);
	space_begin(m->vm->memory);
	return running;
}

static void end_change(struct machine *m, bool running)
{
	space_commit(m->vm->memory);
	if (running)
		m->vm->run_devices(m, true);
	vm_unquiesce(m->vm);
}

/* A virtio-mem's usable part has changed. */
static void reach_changed(void *opaque, struct device *dev)
{
	struct machine *m = opaque;
	struct place place;
	find_place(dev, &place);
	bool running = begin_change(m);
	space_remove_ram(m->vm->memory, place.address);
	map(m, dev);
	end_change(m, running);
}

/* --- life ------------------------------------------------------------------------------------------ */

static void ejected(void *opaque, unsigned slot)
{
	struct machine *m = opaque;
	if (m->memory->modules[slot])
		machine_take_device(m, m->memory->modules[slot]);
}

static void reported(void *opaque, unsigned slot, uint32_t event, uint32_t status)
{
	struct machine *m = opaque;
	if (m->memory->modules[slot] && m->memory_reported)
		m->memory_reported(m->removed_opaque, m->memory->modules[slot], event, status);
}

bool machine_memory_create(struct machine *m, void (*event)(void *opaque), void *opaque, GError **error)
{
	const struct machine_config *c = m->config;
	unsigned bits = m->vm->config.phys_bits ? m->vm->config.phys_bits : 40;
	machine_add_bus(m, "memory", "memory.0", m, NULL);
	if (c->max_memory <= c->memory)
		return true;
	struct machine_memory *memory = g_new0(struct machine_memory, 1);
	m->memory = memory;
	memory->slots = c->memory_slots;
	memory->base = align_up(LAYOUT_HIGH_RAM + m->high_ram, GIB);
	/* Room for every module to begin where it likes. */
	memory->size = align_up(c->max_memory - c->memory, GIB) + (memory->slots + 1) * GIB;
	if (c->max_memory >= UINT64_C(1) << bits || memory->base + memory->size >= UINT64_C(1) << bits)
		return error_set(error, BERTH_ERR_INVALID,
				 "-m maxmem= does not fit into the CPU's %u address bits: use less, or a "
				 "CPU model with more (-cpu)",
				 bits);
	memory->acpi = acpi_memory_new(m->vm, Q35_MEMORY_PORT, memory->slots,
				       &(struct acpi_memory_ops){event, opaque, ejected, reported, m});
	return true;
}

void machine_memory_free(struct machine *m)
{
	if (!m->memory)
		return;
	acpi_memory_free(m->memory->acpi);
	g_clear_pointer(&m->memory, g_free);
}

void machine_memory_reset(struct machine *m)
{
	if (!m->memory)
		return;
	acpi_memory_reset(m->memory->acpi);
	/* Out of sleep the guest has its memory still. */
	for (unsigned i = 0; !m->vm->waking && i < m->devices->len; i++) {
		struct virtio_mem *mem = virtio_mem_of(m->devices->pdata[i]);
		if (mem)
			virtio_mem_system_reset(mem);
	}
}

void machine_memory_window(const struct machine *m, uint64_t *base, uint64_t *size)
{
	*base = m->memory ? m->memory->base : 0;
	*size = m->memory ? m->memory->size : 0;
}

uint64_t machine_memory_plugged(const struct machine *m)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < m->devices->len; i++) {
		const struct pc_dimm *dimm = pc_dimm_of(m->devices->pdata[i]);
		const struct virtio_mem *mem = virtio_mem_of(m->devices->pdata[i]);
		sum += dimm ? dimm->ram->size : mem ? atomic_load(&mem->plugged) : 0;
	}
	return sum;
}

/* --- plugging in -------------------------------------------------------------------------------------- */

static bool check_new(const struct machine *m, const struct place *new, GError **error)
{
	uint64_t sum = m->config->memory + new->ram->size;
	unsigned parts = 1;
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *other = m->devices->pdata[i];
		struct place place;
		if (!find_place(other, &place))
			continue;
		sum += place.ram->size;
		parts += !reachable(other, &place); /* it may come to be */
		if (place.ram == new->ram)
			return error_set(error, BERTH_ERR_BUSY, "can't use already busy memdev: %s",
					 new->ram->name);
	}
	for (unsigned i = 0; i < m->devices->len; i++) {
		if (!virtio_net_takes_memory(m->devices->pdata[i], new->ram, parts, error))
			return false;
	}
	return sum <= m->config->max_memory ||
	       error_set(error, BERTH_ERR_INVALID,
			 "not enough space for '%s': it would make %" G_GUINT64_FORMAT " MiB of memory, and "
			 "-m has maxmem=%" G_GUINT64_FORMAT "M",
			 new->ram->name, sum / MIB, m->config->max_memory / MIB);
}

/* The end of a device whose memory overlaps [address, address + size), or 0. */
static uint64_t find_overlap(const struct machine *m, uint64_t address, uint64_t size)
{
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct place p;
		if (find_place(m->devices->pdata[i], &p) && p.address && p.address < address + size &&
		    address < p.address + p.ram->size)
			return p.address + p.ram->size;
	}
	return 0;
}

/* The address for `size` bytes: the one that is wanted, or with 0 the first that is free. */
static uint64_t find_address(const struct machine *m, uint64_t wanted, uint64_t size, GError **error)
{
	const struct machine_memory *memory = m->memory;
	uint64_t address = wanted ? wanted : memory->base, overlap;
	if (wanted && (wanted % Q35_MODULE_ALIGN || wanted < memory->base ||
		       wanted >= memory->base + memory->size)) {
		error_set(error, BERTH_ERR_INVALID,
			  "0x%" G_GINT64_MODIFIER "x is not a multiple of 128 MiB from 0x%"
			  G_GINT64_MODIFIER "x up, where memory can be",
			  wanted, memory->base);
		return 0;
	}
	while ((overlap = find_overlap(m, address, size)) && !wanted)
		address = align_up(overlap, Q35_MODULE_ALIGN);
	if (!overlap && size <= memory->base + memory->size - address)
		return address;
	error_set(error, BERTH_ERR_BUSY, "there is no room for %" G_GUINT64_FORMAT " MiB %s0x%"
		  G_GINT64_MODIFIER "x", size / MIB, wanted ? "at " : "from ",
		  wanted ? wanted : memory->base);
	return 0;
}

static bool check_node(const struct machine *m, uint32_t node, GError **error)
{
	unsigned count = MAX(m->config->node_count, 1);
	return node < count || error_set(error, BERTH_ERR_INVALID,
					 "there is no memory node %u: they are 0 to %u", node, count - 1);
}

static bool take_slot(struct machine_memory *memory, struct pc_dimm *dimm, GError **error)
{
	unsigned slot = dimm->slot;
	if (slot == PC_DIMM_ANY_SLOT) {
		for (slot = 0; slot < memory->slots && memory->modules[slot];)
			slot++;
		if (slot == memory->slots)
			return error_set(error, BERTH_ERR_BUSY,
					 "no slots available: all %u that -m slots= allows are taken", slot);
	}
	if (slot >= memory->slots || memory->modules[slot])
		return error_set(error, BERTH_ERR_BUSY, "slot %u is taken or does not exist", slot);
	dimm->slot = slot;
	memory->modules[slot] = &dimm->dev;
	return true;
}

static bool place_dimm(struct machine *m, struct pc_dimm *dimm, GError **error)
{
	struct machine_memory *memory = m->memory;
	uint64_t address = find_address(m, dimm->address, dimm->ram->size, error);
	if (!address || !check_node(m, dimm->node, error) || !take_slot(memory, dimm, error))
		return false;
	dimm->address = address;
	dimm->hotplugged = m->complete;
	bool running = begin_change(m);
	map(m, &dimm->dev);
	end_change(m, running);
	const struct acpi_memory_module module = {address, dimm->ram->size, dimm->node};
	acpi_memory_set(memory->acpi, dimm->slot, &module);
	/* Before the guest runs, it finds the module by itself. */
	if (m->complete)
		acpi_memory_inserted(memory->acpi, dimm->slot);
	return true;
}

static bool place_virtio_mem(struct machine *m, struct virtio_mem *mem, GError **error)
{
	uint64_t address = find_address(m, mem->address, mem->ram->size, error);
	if (!address || !check_node(m, mem->node, error))
		return false;
	mem->address = address;
	mem->reach = reach_changed;
	mem->reach_opaque = m;
	bool running = begin_change(m);
	map(m, mem->vdev.owner);
	end_change(m, running);
	return true;
}

bool machine_memory_place(struct machine *m, struct device *dev, GError **error)
{
	struct place place;
	if (!find_place(dev, &place))
		return true;
	if (!m->memory)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: memory can be plugged in if -m has maxmem= (and slots= for pc-dimm), on "
				 "-machine q35 with ACPI",
				 dev->class->name);
	if (!check_new(m, &place, error))
		return false;
	return pc_dimm_of(dev) ? place_dimm(m, pc_dimm_of(dev), error) :
				 place_virtio_mem(m, virtio_mem_of(dev), error);
}

/* --- and out ------------------------------------------------------------------------------------------- */

void machine_memory_remove(struct machine *m, struct device *dev)
{
	const struct pc_dimm *dimm = pc_dimm_of(dev);
	struct place place;
	if (!find_place(dev, &place))
		return;
	bool running = begin_change(m);
	space_remove_ram(m->vm->memory, place.address);
	end_change(m, running);
	if (!dimm)
		return;
	acpi_memory_set(m->memory->acpi, dimm->slot, NULL);
	m->memory->modules[dimm->slot] = NULL;
}

bool machine_memory_request(struct machine *m, struct device *dev, GError **error)
{
	acpi_memory_request(m->memory->acpi, pc_dimm_of(dev)->slot);
	return true;
}

bool machine_memory_check_remove(struct device *dev, GError **error)
{
	const struct virtio_mem *mem = virtio_mem_of(dev);
	return !mem || (!atomic_load(&mem->plugged) && !atomic_load(&mem->requested)) ||
	       error_set(error, BERTH_ERR_BUSY,
			 "virtio-mem device cannot get unplugged while some of its memory is still plugged: "
			 "set requested-size to 0 first");
}
