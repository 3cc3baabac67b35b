/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/chips/acpi_memory.h"

#include "aio/loop.h"
#include "base/lock.h"
#include "vm/vm.h"

enum { REG_ADDRESS = 0, REG_EVENT = 4, REG_SIZE = 8, REG_STATUS = 8, REG_NODE = 16, REG_FLAGS = 20 };
enum { FLAG_ENABLED = 1, FLAG_INSERTING = 2, FLAG_REMOVING = 4 };

struct slot {
	struct acpi_memory_module module; /* size 0: empty */
	bool inserting, removing;
	uint32_t event, status;
	bool ejected, reported; /* the main thread has yet to hear of it */
};

struct acpi_memory {
	struct vm *vm;
	struct acpi_memory_ops ops;
	struct io_region ports;
	pthread_mutex_t lock;
	unsigned count;
	uint32_t selected; /* any number that the guest wrote */
	bool posted;
	struct slot slots[];
};

/* Modules come and go on the main thread only. */
static void tell(void *opaque)
{
	struct acpi_memory *memory = opaque;
	pthread_mutex_lock(&memory->lock);
	memory->posted = false;
	pthread_mutex_unlock(&memory->lock);
	for (unsigned i = 0; i < memory->count; i++) {
		struct slot *slot = &memory->slots[i];
		pthread_mutex_lock(&memory->lock);
		struct slot news = *slot;
		slot->ejected = slot->reported = false;
		pthread_mutex_unlock(&memory->lock);
		if (news.reported)
			memory->ops.reported(memory->ops.opaque, i, news.event, news.status);
		if (news.ejected)
			memory->ops.ejected(memory->ops.opaque, i);
	}
}

static void tell_soon(struct acpi_memory *memory)
{
	if (!memory->posted)
		aio_loop_post(memory->vm->loop, tell, memory);
	memory->posted = true;
}

static uint64_t memory_read(void *opaque, uint64_t offset, unsigned size)
{
	struct acpi_memory *memory = opaque;
	if (memory->selected >= memory->count)
		return 0;
	const struct slot *slot = &memory->slots[memory->selected];
	const struct acpi_memory_module *module = &slot->module;
	switch (offset) {
	case REG_ADDRESS: return module->address & UINT32_MAX;
	case REG_ADDRESS + 4: return module->address >> 32;
	case REG_SIZE: return module->size & UINT32_MAX;
	case REG_SIZE + 4: return module->size >> 32;
	case REG_NODE: return module->node;
	case REG_FLAGS:
		return (module->size ? FLAG_ENABLED : 0) | (slot->inserting ? FLAG_INSERTING : 0) |
		       (slot->removing ? FLAG_REMOVING : 0);
	default: return 0;
	}
}

static void control(struct acpi_memory *memory, struct slot *slot, uint64_t value)
{
	if (value & ACPI_MEMORY_INSERTED)
		slot->inserting = false;
	if (value & ACPI_MEMORY_REMOVED)
		slot->removing = false;
	if (value & ACPI_MEMORY_EJECT && slot->module.size) {
		slot->ejected = true;
		tell_soon(memory);
	}
}

static void memory_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct acpi_memory *memory = opaque;
	if (offset == REG_ADDRESS)
		memory->selected = (uint32_t)value;
	if (offset == REG_ADDRESS || memory->selected >= memory->count)
		return;
	struct slot *slot = &memory->slots[memory->selected];
	if (offset == REG_EVENT)
		slot->event = (uint32_t)value;
	if (offset == REG_STATUS) {
		slot->status = (uint32_t)value;
		slot->reported = true;
		tell_soon(memory);
	}
	if (offset == REG_FLAGS)
		control(memory, slot, value);
}

static const struct io_ops memory_ops = {memory_read, memory_write, .min_size = 1, .max_size = 4};

struct acpi_memory *acpi_memory_new(struct vm *vm, uint16_t base, unsigned count,
				    const struct acpi_memory_ops *ops)
{
	g_assert(count <= ACPI_MEMORY_SLOTS_MAX);
	struct acpi_memory *memory = g_malloc0(sizeof(*memory) + count * sizeof(struct slot));
	memory->vm = vm;
	memory->ops = *ops;
	memory->count = count;
	pthread_mutex_init(&memory->lock, NULL);
	memory->ports = (struct io_region){.name = "acpi-memory", .ops = &memory_ops, .opaque = memory,
					   .size = ACPI_MEMORY_PORTS, .lock = &memory->lock};
	space_add_io(vm->ports, base, &memory->ports, SPACE_PRIORITY_HIGH);
	return memory;
}

void acpi_memory_free(struct acpi_memory *memory)
{
	if (!memory)
		return;
	space_remove_io(memory->vm->ports, &memory->ports);
	/* A posted call still points here; with no slots it does nothing. */
	memory->count = 0;
	while (memory->posted)
		aio_loop_iterate(memory->vm->loop, 0);
	pthread_mutex_destroy(&memory->lock);
	g_free(memory);
}

void acpi_memory_reset(struct acpi_memory *memory)
{
	LOCK_SCOPE(&memory->lock);
	memory->selected = 0;
	for (unsigned i = 0; i < memory->count; i++)
		memory->slots[i].inserting = memory->slots[i].removing = false;
}

void acpi_memory_set(struct acpi_memory *memory, unsigned slot, const struct acpi_memory_module *module)
{
	LOCK_SCOPE(&memory->lock);
	/* What the guest says of the old module is not about the new one. */
	memory->slots[slot] = (struct slot){.module = module ? *module : (struct acpi_memory_module){0}};
}

static void raise_news(struct acpi_memory *memory, bool *news)
{
	pthread_mutex_lock(&memory->lock);
	*news = true;
	pthread_mutex_unlock(&memory->lock);
	memory->ops.event(memory->ops.event_opaque);
}

void acpi_memory_inserted(struct acpi_memory *memory, unsigned slot)
{
	raise_news(memory, &memory->slots[slot].inserting);
}

void acpi_memory_request(struct acpi_memory *memory, unsigned slot)
{
	raise_news(memory, &memory->slots[slot].removing);
}
