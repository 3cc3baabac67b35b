/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: ACPI 6.4, 4.8.3.6 (reset register), 4.8.3.7 (sleep registers), 5.6.9 (event device). */
#include "dev/chips/ged.h"

#include "base/lock.h"
#include "base/log.h"
#include "vm/vm.h"

enum { REG_SLEEP_CONTROL, REG_SLEEP_STATUS, REG_RESET, REG_COUNT };
enum { SLEEP_ENABLE = 1 << 5 };

struct ged {
	struct vm *vm;
	pthread_mutex_t lock;
	struct io_region events_region, regs_region;
	struct irq irq;
	uint32_t events;
	uint8_t off_type, reset_value, sleep_control;
};

static uint64_t events_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ged *ged = opaque;
	uint32_t events = ged->events;
	ged->events = 0;
	return events;
}

static void events_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	/* Read-only. */
}

static uint64_t regs_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ged *ged = opaque;
	return offset == REG_SLEEP_CONTROL ? ged->sleep_control : 0;
}

static void regs_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct ged *ged = opaque;
	if (offset == REG_RESET && value == ged->reset_value)
		vm_request(ged->vm, VM_REQUEST_RESET, 0);
	if (offset != REG_SLEEP_CONTROL)
		return;
	ged->sleep_control = value & ~SLEEP_ENABLE;
	if (!(value & SLEEP_ENABLE))
		return;
	if ((value >> 2 & 7) == ged->off_type)
		vm_request(ged->vm, VM_REQUEST_SHUTDOWN, 0);
	else
		log_guest_fault("ACPI sleep type %u is not one that the tables offer",
				(unsigned)(value >> 2 & 7));
}

static const struct io_ops events_ops = {events_read, events_write, .min_size = 4, .max_size = 4};
static const struct io_ops regs_ops = {regs_read, regs_write, .min_size = 1, .max_size = 1};

struct ged *ged_new(struct vm *vm, uint64_t base, uint64_t regs, const struct irq *irq,
		    uint8_t off_type, uint8_t reset_value)
{
	struct ged *ged = g_new0(struct ged, 1);
	ged->vm = vm;
	ged->irq = *irq;
	ged->off_type = off_type;
	ged->reset_value = reset_value;
	pthread_mutex_init(&ged->lock, NULL);
	ged->events_region = (struct io_region){.name = "ged-events", .ops = &events_ops,
						.opaque = ged, .size = 4, .lock = &ged->lock};
	ged->regs_region = (struct io_region){.name = "ged-regs", .ops = &regs_ops, .opaque = ged,
					      .size = REG_COUNT, .lock = &ged->lock};
	space_add_io(vm->memory, base, &ged->events_region, SPACE_PRIORITY_HIGH);
	space_add_io(vm->memory, regs, &ged->regs_region, SPACE_PRIORITY_HIGH);
	return ged;
}

void ged_reset(struct ged *ged)
{
	LOCK_SCOPE(&ged->lock);
	ged->events = 0;
	ged->sleep_control = 0;
}

void ged_raise(struct ged *ged, uint32_t events)
{
	LOCK_SCOPE(&ged->lock);
	ged->events |= events;
	irq_pulse(&ged->irq);
}

void ged_free(struct ged *ged)
{
	if (!ged)
		return;
	space_remove_io(ged->vm->memory, &ged->events_region);
	space_remove_io(ged->vm->memory, &ged->regs_region);
	pthread_mutex_destroy(&ged->lock);
	g_free(ged);
}
