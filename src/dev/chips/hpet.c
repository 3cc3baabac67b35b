/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: IA-PC HPET specification 1.0a. */
#include "dev/chips/hpet.h"

#include "base/bytes.h"
#include "base/lock.h"
#include "vm/vm.h"

#define TIMERS   3
#define TICK_NS  10
#define ROUTES   UINT32_C(0x00ff0104) /* GSI 2, 8 and 16 to 23 */

enum { REG_CAPABILITIES = 0x00, REG_CONFIG = 0x10, REG_STATUS = 0x20, REG_COUNTER = 0xf0,
       REG_TIMERS = 0x100, TIMER_STRIDE = 0x20, TIMER_CONFIG = 0, TIMER_COMPARATOR = 8 };
enum { CONFIG_ENABLE = 1, CONFIG_LEGACY = 2 };
enum { T_LEVEL = 1 << 1, T_ENABLE = 1 << 2, T_PERIODIC = 1 << 3, T_PERIODIC_CAP = 1 << 4,
       T_64BIT_CAP = 1 << 5, T_SET_VALUE = 1 << 6, T_32BIT = 1 << 8, T_ROUTE_SHIFT = 9,
       T_ROUTE = 0x1f << 9, T_WRITABLE = T_LEVEL | T_ENABLE | T_PERIODIC | T_SET_VALUE | T_32BIT |
					T_ROUTE };

struct comparator {
	struct hpet *hpet;
	unsigned index;
	uint64_t config, value, period;
	uint64_t target; /* counter value of the next match */
	bool level;      /* what the line was last told */
	struct irq *line;
	struct vm_timer timer;
};

struct hpet {
	struct vm *vm;
	pthread_mutex_t lock;
	struct io_region region;
	struct irq gsi[HPET_PINS], irq0, irq8;
	uint64_t config, status;
	uint64_t stopped_at; /* the counter while it is halted */
	int64_t started_ns;  /* the VM's clock at counter 0 while it runs */
	struct comparator timers[TIMERS];
};

static uint64_t counter(const struct hpet *h)
{
	if (!(h->config & CONFIG_ENABLE))
		return h->stopped_at;
	return (uint64_t)(vm_clock_ns(h->vm) - h->started_ns) / TICK_NS;
}

static uint64_t width_mask(const struct comparator *t)
{
	return t->config & T_32BIT ? UINT32_MAX : UINT64_MAX;
}

static struct irq *route(struct comparator *t)
{
	struct hpet *h = t->hpet;
	if ((h->config & CONFIG_LEGACY) && t->index < 2)
		return t->index ? &h->irq8 : &h->irq0;
	unsigned pin = (t->config & T_ROUTE) >> T_ROUTE_SHIFT;
	return pin < HPET_PINS && (ROUTES >> pin & 1) ? &h->gsi[pin] : NULL;
}

static void drive(struct comparator *t, struct irq *line, bool level)
{
	if (t->level && (t->line != line || !level))
		irq_set(t->line, false);
	t->level = level && line;
	t->line = line;
	if (t->level)
		irq_set(line, true);
}

/* A level-triggered comparator holds its line while its status bit is set. */
static void update_line(struct comparator *t)
{
	bool on = (t->config & T_LEVEL) && (t->config & T_ENABLE) &&
		  (t->hpet->status >> t->index & 1);
	drive(t, route(t), on);
}

static void raise_irq(struct comparator *t)
{
	if (t->config & T_LEVEL) {
		t->hpet->status |= 1u << t->index;
		update_line(t);
	} else if (t->config & T_ENABLE) {
		struct irq *line = route(t);
		if (line)
			irq_pulse(line);
	}
}

static void arm(struct comparator *t)
{
	if (!(t->hpet->config & CONFIG_ENABLE) || !(t->config & T_ENABLE)) {
		vm_timer_cancel(&t->timer);
		return;
	}
	uint64_t now = counter(t->hpet), ticks = t->target > now ? t->target - now : 0;
	/* Beyond some centuries the match never comes. */
	if (ticks > INT64_MAX / TICK_NS / 2)
		vm_timer_cancel(&t->timer);
	else
		vm_timer_arm(&t->timer, t->hpet->started_ns + (int64_t)((now + ticks) * TICK_NS));
}

/* Find the next match at or after now; one in the near past (half the width) matches at once. */
static void set_target(struct comparator *t)
{
	uint64_t now = counter(t->hpet);
	uint64_t delta = (t->value - now) & width_mask(t);
	if (delta > width_mask(t) / 2)
		delta = 0;
	t->target = now + delta;
	if (t->target < now)
		t->target = UINT64_MAX;
	arm(t);
}

static void timer_fired(void *opaque)
{
	struct comparator *t = opaque;
	LOCK_SCOPE(&t->hpet->lock);
	uint64_t now = counter(t->hpet);
	if (!(t->hpet->config & CONFIG_ENABLE) || now < t->target)
		return; /* reprogrammed meanwhile */
	raise_irq(t);
	if ((t->config & T_PERIODIC) && t->period) {
		/* Ticks that the host missed are dropped. */
		uint64_t missed = (now - t->target) / t->period + 1;
		t->value = (t->value + missed * t->period) & width_mask(t);
		t->target += missed * t->period;
	} else if (t->config & T_32BIT) {
		t->target += UINT64_C(1) << 32;
	} else {
		t->target = UINT64_MAX;
	}
	arm(t);
}

static uint64_t read_register(struct hpet *h, unsigned reg)
{
	switch (reg) {
	case REG_CAPABILITIES: return (uint64_t)HPET_PERIOD_FS << 32 | HPET_BLOCK_ID;
	case REG_CONFIG: return h->config;
	case REG_STATUS: return h->status;
	case REG_COUNTER: return counter(h);
	}
	unsigned index = (reg - REG_TIMERS) / TIMER_STRIDE;
	if (reg < REG_TIMERS || index >= TIMERS)
		return 0;
	const struct comparator *t = &h->timers[index];
	switch (reg % TIMER_STRIDE) {
	case TIMER_CONFIG:
		return (uint64_t)ROUTES << 32 | t->config | T_PERIODIC_CAP | T_64BIT_CAP;
	case TIMER_COMPARATOR: return t->value & width_mask(t);
	default: return 0;
	}
}

static void write_config(struct hpet *h, uint64_t value)
{
	bool was_on = h->config & CONFIG_ENABLE, on = value & CONFIG_ENABLE;
	if (was_on && !on)
		h->stopped_at = counter(h);
	h->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
	if (!was_on && on)
		h->started_ns = vm_clock_ns(h->vm) - (int64_t)(h->stopped_at * TICK_NS);
	for (unsigned i = 0; i < TIMERS; i++) {
		if (on != was_on)
			set_target(&h->timers[i]);
		update_line(&h->timers[i]);
	}
}

static void write_counter(struct hpet *h, uint64_t value)
{
	/* Only while halted (HPET 1.0a, 2.3.7). The range keeps nanoseconds in 63 bits. */
	if (!(h->config & CONFIG_ENABLE))
		h->stopped_at = value % (INT64_MAX / TICK_NS / 4);
}

static void write_timer(struct comparator *t, unsigned reg, uint64_t value)
{
	if (reg == TIMER_CONFIG) {
		t->config = value & T_WRITABLE;
		set_target(t);
		update_line(t);
		return;
	}
	value &= width_mask(t);
	if (t->config & T_PERIODIC)
		t->period = value;
	if (!(t->config & T_PERIODIC) || (t->config & T_SET_VALUE)) {
		t->value = value;
		t->config &= ~(uint64_t)T_SET_VALUE;
	}
	set_target(t);
}

static void write_register(struct hpet *h, unsigned reg, uint64_t value)
{
	switch (reg) {
	case REG_CONFIG: write_config(h, value); return;
	case REG_STATUS:
		h->status &= ~value;
		for (unsigned i = 0; i < TIMERS; i++)
			update_line(&h->timers[i]);
		return;
	case REG_COUNTER: write_counter(h, value); return;
	}
	unsigned index = (reg - REG_TIMERS) / TIMER_STRIDE;
	if (reg >= REG_TIMERS && index < TIMERS && reg % TIMER_STRIDE <= TIMER_COMPARATOR)
		write_timer(&h->timers[index], reg % TIMER_STRIDE, value);
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
	return read_register(opaque, offset & ~7u) >> (offset & 4) * 8;
}

static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct hpet *h = opaque;
	unsigned reg = offset & ~7u;
	if (size < 4)
		return; /* HPET 1.0a, 2.3.1: 32- and 64-bit accesses only */
	if (size == 4) {
		/* The other half keeps its value; write-one-to-clear bits there must be zero. */
		uint64_t other = reg == REG_STATUS ? 0 : read_register(h, reg);
		if (offset & 4)
			value = (other & UINT32_MAX) | value << 32;
		else
			value = (other & ~(uint64_t)UINT32_MAX) | value;
	}
	write_register(h, reg, value);
}

static const struct io_ops hpet_ops = {hpet_read, hpet_write, .min_size = 4, .max_size = 8};

void hpet_legacy_input(void *opaque, unsigned line, bool level)
{
	struct hpet *h = opaque;
	LOCK_SCOPE(&h->lock);
	if (!(h->config & CONFIG_LEGACY))
		irq_set(line ? &h->irq8 : &h->irq0, level);
}

struct hpet *hpet_new(struct vm *vm, uint64_t base, const struct irq gsi[HPET_PINS],
		      const struct irq *irq0, const struct irq *irq8)
{
	struct hpet *h = g_new0(struct hpet, 1);
	h->vm = vm;
	pthread_mutex_init(&h->lock, NULL);
	memcpy(h->gsi, gsi, sizeof(h->gsi));
	h->irq0 = *irq0;
	h->irq8 = *irq8;
	for (unsigned i = 0; i < TIMERS; i++) {
		h->timers[i].hpet = h;
		h->timers[i].index = i;
		vm_timer_init(&h->timers[i].timer, vm, timer_fired, &h->timers[i]);
	}
	hpet_reset(h);
	h->region = (struct io_region){.name = "hpet", .ops = &hpet_ops, .opaque = h,
				       .size = 0x400, .lock = &h->lock};
	space_add_io(vm->memory, base, &h->region, SPACE_PRIORITY_HIGH);
	return h;
}

void hpet_reset(struct hpet *h)
{
	LOCK_SCOPE(&h->lock);
	h->config = h->status = h->stopped_at = 0;
	for (unsigned i = 0; i < TIMERS; i++) {
		struct comparator *t = &h->timers[i];
		vm_timer_cancel(&t->timer);
		drive(t, NULL, false);
		t->config = 0;
		t->period = 0;
		t->value = t->target = UINT64_MAX;
	}
}

void hpet_free(struct hpet *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < TIMERS; i++)
		vm_timer_destroy(&h->timers[i].timer);
	space_remove_io(h->vm->memory, &h->region);
	pthread_mutex_destroy(&h->lock);
	g_free(h);
}
