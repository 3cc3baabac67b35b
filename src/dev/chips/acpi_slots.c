/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/chips/acpi_slots.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/lock.h"
#include "vm/vm.h"

enum { REG_EVENT = 0, REG_PRESENT = 4, REG_EJECT = 8 };

/* ACPI 6.4, 5.6.6: values of Notify. */
enum { NOTIFY_DEVICE_CHECK = 1, NOTIFY_EJECT_REQUEST = 3 };

struct slot {
	bool present, inserted, requested;
	bool ejected; /* the main thread has yet to hear of it */
};

struct acpi_slots {
	struct vm *vm;
	struct acpi_slots_ops ops;
	struct io_region ports;
	pthread_mutex_t lock;
	unsigned count;
	uint32_t selected; /* any number that the guest wrote */
	bool posted;
	struct slot slots[];
};

/* Devices come and go on the main thread only. */
static void tell_ejected(void *opaque)
{
	struct acpi_slots *slots = opaque;
	bool ejected[ACPI_SLOTS_MAX];
	pthread_mutex_lock(&slots->lock);
	for (unsigned i = 0; i < slots->count; i++) {
		ejected[i] = slots->slots[i].ejected;
		slots->slots[i].ejected = false;
	}
	slots->posted = false;
	pthread_mutex_unlock(&slots->lock);
	for (unsigned i = 0; i < slots->count; i++) {
		if (ejected[i])
			slots->ops.ejected(slots->ops.ejected_opaque, i);
	}
}

static uint32_t next_event(struct acpi_slots *slots)
{
	for (unsigned i = 0; i < slots->count; i++) {
		struct slot *slot = &slots->slots[i];
		bool *told = slot->inserted ? &slot->inserted : slot->requested ? &slot->requested : NULL;
		if (!told)
			continue;
		uint32_t what = slot->inserted ? NOTIFY_DEVICE_CHECK : NOTIFY_EJECT_REQUEST;
		*told = false;
		return what << 16 | i;
	}
	return 0;
}

static uint64_t slots_read(void *opaque, uint64_t offset, unsigned size)
{
	struct acpi_slots *slots = opaque;
	if (offset == REG_EVENT)
		return next_event(slots);
	if (offset == REG_PRESENT)
		return slots->selected < slots->count && slots->slots[slots->selected].present;
	return 0;
}

static void slots_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct acpi_slots *slots = opaque;
	if (offset == REG_PRESENT)
		slots->selected = (uint32_t)value;
	if (offset != REG_EJECT || value >= slots->count)
		return;
	slots->slots[value].ejected = true;
	if (!slots->posted)
		aio_loop_post(slots->vm->loop, tell_ejected, slots);
	slots->posted = true;
}

static const struct io_ops slots_ops = {slots_read, slots_write, .min_size = 4, .max_size = 4};

struct acpi_slots *acpi_slots_new(struct vm *vm, uint16_t base, unsigned count,
				  const struct acpi_slots_ops *ops)
{
	g_assert(count <= ACPI_SLOTS_MAX);
	struct acpi_slots *slots = g_malloc0(sizeof(*slots) + count * sizeof(struct slot));
	slots->vm = vm;
	slots->ops = *ops;
	slots->count = count;
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
	/* A posted call still points here; with no slots it does nothing. */
	slots->count = 0;
	while (slots->posted)
		aio_loop_iterate(slots->vm->loop, 0);
	pthread_mutex_destroy(&slots->lock);
	g_free(slots);
}

void acpi_slots_reset(struct acpi_slots *slots)
{
	LOCK_SCOPE(&slots->lock);
	slots->selected = 0;
	for (unsigned i = 0; i < slots->count; i++)
		slots->slots[i].inserted = slots->slots[i].requested = false;
}

void acpi_slots_set_present(struct acpi_slots *slots, unsigned slot, bool present)
{
	LOCK_SCOPE(&slots->lock);
	/* News of what was there before, and what the guest says of it, is not about what is there now. */
	slots->slots[slot] = (struct slot){.present = present};
}

static void tell(struct acpi_slots *slots, bool *news)
{
	pthread_mutex_lock(&slots->lock);
	*news = true;
	pthread_mutex_unlock(&slots->lock);
	slots->ops.event(slots->ops.event_opaque);
}

void acpi_slots_inserted(struct acpi_slots *slots, unsigned slot)
{
	tell(slots, &slots->slots[slot].inserted);
}

void acpi_slots_request(struct acpi_slots *slots, unsigned slot)
{
	tell(slots, &slots->slots[slot].requested);
}
