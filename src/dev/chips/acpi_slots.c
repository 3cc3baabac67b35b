/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/chips/acpi_slots.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/lock.h"
#include "vm/vm.h"

enum { REG_INSERTED = 0, REG_REQUESTED = 4, REG_EJECT = 8 };

struct acpi_slots {
	struct vm *vm;
	struct acpi_slots_ops ops;
	struct io_region ports;
	pthread_mutex_t lock;
	uint32_t inserted, requested;
	uint32_t ejected; /* the main thread has yet to hear of them */
	bool posted;
};

/* Devices come and go on the main thread only. */
static void tell_ejected(void *opaque)
{
	struct acpi_slots *slots = opaque;
	pthread_mutex_lock(&slots->lock);
	uint32_t ejected = slots->ejected;
	slots->ejected = 0;
	slots->posted = false;
	pthread_mutex_unlock(&slots->lock);
	for (unsigned slot = 0; slot < ACPI_SLOTS_MAX; slot++) {
		if (ejected >> slot & 1)
			slots->ops.ejected(slots->ops.ejected_opaque, slot);
	}
}

static uint64_t slots_read(void *opaque, uint64_t offset, unsigned size)
{
	struct acpi_slots *slots = opaque;
	uint32_t *reg = offset == REG_INSERTED ? &slots->inserted :
			offset == REG_REQUESTED ? &slots->requested : NULL;
	uint32_t value = reg ? *reg : 0;
	if (reg)
		*reg = 0;
	return value;
}

static void slots_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct acpi_slots *slots = opaque;
	if (offset != REG_EJECT || !value)
		return;
	slots->ejected |= (uint32_t)value;
	if (!slots->posted)
		aio_loop_post(slots->vm->loop, tell_ejected, slots);
	slots->posted = true;
}

static const struct io_ops slots_ops = {slots_read, slots_write, .min_size = 4, .max_size = 4};

struct acpi_slots *acpi_slots_new(struct vm *vm, uint16_t base, const struct acpi_slots_ops *ops)
{
	struct acpi_slots *slots = g_new0(struct acpi_slots, 1);
	slots->vm = vm;
	slots->ops = *ops;
	pthread_mutex_init(&slots->lock, NULL);
	slots->ports = (struct io_region){.name = "acpi-slots", .ops = &slots_ops, .opaque = slots,
					  .size = ACPI_SLOTS_PORTS, .lock = &slots->lock};
	space_add_io(vm->ports, base, &slots->ports, SPACE_PRIORITY_HIGH);
	return slots;
}

void acpi_slots_free(struct acpi_slots *slots)
{
	if (!slots)
		return;
	space_remove_io(slots->vm->ports, &slots->ports);
	/* A posted call still points here; with no bits it does nothing. */
	slots->ejected = 0;
	while (slots->posted)
		aio_loop_iterate(slots->vm->loop, 0);
	pthread_mutex_destroy(&slots->lock);
	g_free(slots);
}

void acpi_slots_reset(struct acpi_slots *slots)
{
	LOCK_SCOPE(&slots->lock);
	slots->inserted = slots->requested = 0;
}

void acpi_slots_inserted(struct acpi_slots *slots, unsigned slot)
{
	pthread_mutex_lock(&slots->lock);
	slots->inserted |= UINT32_C(1) << slot;
	pthread_mutex_unlock(&slots->lock);
	slots->ops.event(slots->ops.event_opaque);
}

void acpi_slots_request(struct acpi_slots *slots, unsigned slot)
{
	pthread_mutex_lock(&slots->lock);
	slots->requested |= UINT32_C(1) << slot;
	pthread_mutex_unlock(&slots->lock);
	slots->ops.event(slots->ops.event_opaque);
}
