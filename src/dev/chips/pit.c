/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spec: Intel 82C54 data sheet; ICH9 13.7.1 (port 61h). A channel stores when it was loaded; its
 * count and output follow from the time since. Only channel 0 needs a timer, for its interrupt.
 */
#include "dev/chips/pit.h"

#include "base/lock.h"
#include "vm/vm.h"

#define PIT_HZ 1193182
#define NS     INT64_C(1000000000)
#define REFRESH_NS 15085 /* port 61h bit 4 toggles at every refresh of memory */

enum rw_mode { RW_LATCH, RW_LOW, RW_HIGH, RW_WORD };

struct channel {
	uint32_t count;        /* 1 to 65536, or 10000 in BCD */
	int64_t loaded_ns;     /* when the current count began */
	uint8_t mode, rw;
	bool bcd, gate;
	bool loaded;           /* counting: a count has been written since the control word */
	bool high_next_write, high_next_read;
	uint8_t low_byte;      /* of a word that is being written */
	uint8_t latched_bytes; /* how many bytes of `latch` are still to be read */
	uint16_t latch;
	bool status_latched;
	uint8_t status;
};

struct pit {
	struct vm *vm;
	pthread_mutex_t lock;
	struct channel ch[3];
	uint8_t speaker;        /* port 61h bits 0 and 1 */
	bool irq_level;
	struct irq irq0;
	struct vm_timer timer;
	struct io_region ports, port61;
};

static int64_t ns_to_ticks(int64_t ns)
{
	return (__int128)ns * PIT_HZ / NS;
}

/* Rounded up: at the returned time the tick has happened. */
static int64_t ticks_to_ns(int64_t ticks)
{
	return ((__int128)ticks * NS + PIT_HZ - 1) / PIT_HZ;
}

static int64_t elapsed(const struct channel *c, int64_t now)
{
	return ns_to_ticks(now - c->loaded_ns);
}

static bool periodic(const struct channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool output(const struct channel *c, int64_t now)
{
	if (!c->loaded)
		return c->mode != 0;
	int64_t t = elapsed(c, now);
	switch (c->mode) {
	case 0:
	case 1: return t >= c->count;
	case 2: return t % c->count != c->count - 1;
	case 3: return t % c->count < (c->count + 1) / 2;
	default: return t != c->count; /* 4, 5: a strobe of one clock */
	}
}

static uint16_t to_bcd(unsigned v)
{
	return (v / 1000 % 10) << 12 | (v / 100 % 10) << 8 | (v / 10 % 10) << 4 | v % 10;
}

static unsigned from_bcd(uint16_t v)
{
	return (v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static uint16_t current_count(const struct channel *c, int64_t now)
{
	int64_t t = c->loaded ? elapsed(c, now) : 0, left;
	unsigned modulus = c->bcd ? 10000 : 65536;
	if (c->mode == 2)
		left = c->count - t % c->count;
	else if (c->mode == 3) /* counts by two, reloaded at each half */
		left = c->count - 2 * t % c->count;
	else
		left = (c->count - t) % modulus;
	if (left < 0)
		left += modulus;
	return c->bcd ? to_bcd(left) : left;
}

/* When channel 0's output next rises after `now`, or -1 if it does not. */
static int64_t next_rise(const struct channel *c, int64_t now)
{
	if (!c->loaded)
		return -1;
	int64_t t = elapsed(c, now);
	if (periodic(c))
		return c->loaded_ns + ticks_to_ns((t / c->count + 1) * c->count);
	/* One-shot: modes 0 and 1 rise at the end, 4 and 5 one clock after it. */
	int64_t end = c->count + (c->mode >= 4);
	return t < end ? c->loaded_ns + ticks_to_ns(end) : -1;
}

static void set_irq(struct pit *pit, bool level)
{
	if (pit->irq_level != level) {
		pit->irq_level = level;
		irq_set(&pit->irq0, level);
	}
}

static void rearm(struct pit *pit, int64_t now)
{
	int64_t at = next_rise(&pit->ch[0], now);
	if (at >= 0)
		vm_timer_arm(&pit->timer, at);
	else
		vm_timer_cancel(&pit->timer);
}

static void timer_fired(void *opaque)
{
	struct pit *pit = opaque;
	LOCK_SCOPE(&pit->lock);
	int64_t now = vm_clock_ns(pit->vm);
	const struct channel *c = &pit->ch[0];
	/* The channel may have been reprogrammed while this callback waited for the lock. */
	if (c->loaded && elapsed(c, now) >= c->count) {
		if (periodic(c) || c->mode >= 4)
			set_irq(pit, false);
		set_irq(pit, true);
	}
	rearm(pit, now);
}

static void load_count(struct pit *pit, struct channel *c, uint16_t value)
{
	unsigned count = c->bcd ? from_bcd(value) : value;
	if (count == 0)
		count = c->bcd ? 10000 : 65536;
	/* 82C54: a count of 1 is illegal in modes 2 and 3; 2 is the least that can be made. */
	if (count == 1 && periodic(c))
		count = 2;
	c->count = count;
	int64_t now = vm_clock_ns(pit->vm);
	c->loaded_ns = now;
	c->loaded = c->mode != 1 && c->mode != 5; /* these wait for the gate's edge */
	if (c == &pit->ch[0]) {
		if (c->mode == 0)
			set_irq(pit, false);
		rearm(pit, now);
	}
}

static void latch_count(struct channel *c, int64_t now)
{
	if (c->latched_bytes)
		return; /* kept until it is read */
	c->latch = current_count(c, now);
	c->latched_bytes = c->rw == RW_WORD ? 2 : 1;
}

static void latch_status(struct channel *c, int64_t now)
{
	if (c->status_latched)
		return;
	c->status = output(c, now) << 7 | !c->loaded << 6 | c->rw << 4 | c->mode << 1 | c->bcd;
	c->status_latched = true;
}

static void write_control(struct pit *pit, uint8_t value)
{
	int64_t now = vm_clock_ns(pit->vm);
	unsigned select = value >> 6;
	if (select == 3) { /* read-back */
		for (unsigned i = 0; i < 3; i++) {
			if (!(value >> (i + 1) & 1))
				continue;
			if (!(value & 0x20))
				latch_count(&pit->ch[i], now);
			if (!(value & 0x10))
				latch_status(&pit->ch[i], now);
		}
		return;
	}
	struct channel *c = &pit->ch[select];
	if ((value >> 4 & 3) == RW_LATCH) {
		latch_count(c, now);
		return;
	}
	c->rw = value >> 4 & 3;
	c->mode = value >> 1 & 7;
	if (c->mode > 5)
		c->mode -= 4; /* the top bit of modes 2 and 3 is "don't care" */
	c->bcd = value & 1;
	c->loaded = false;
	c->count = c->bcd ? 10000 : 65536;
	c->high_next_write = c->high_next_read = false;
	c->latched_bytes = 0;
	c->status_latched = false;
	if (c == &pit->ch[0]) {
		set_irq(pit, c->mode != 0);
		rearm(pit, now);
	}
}

static void pit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pit *pit = opaque;
	if (offset == 3) {
		write_control(pit, value);
		return;
	}
	struct channel *c = &pit->ch[offset];
	uint8_t byte = value;
	switch (c->rw) {
	case RW_LOW:
		load_count(pit, c, byte);
		break;
	case RW_HIGH:
		load_count(pit, c, byte << 8);
		break;
	default:
		if (c->high_next_write)
			load_count(pit, c, byte << 8 | c->low_byte);
		else
			c->low_byte = byte;
		c->high_next_write = !c->high_next_write;
	}
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pit *pit = opaque;
	if (offset == 3)
		return 0xff; /* the control word cannot be read */
	struct channel *c = &pit->ch[offset];
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	uint16_t value = c->latched_bytes ? c->latch : current_count(c, vm_clock_ns(pit->vm));
	if (c->latched_bytes)
		c->latched_bytes--;
	bool high = c->rw == RW_HIGH;
	if (c->rw == RW_WORD) {
		high = c->high_next_read;
		c->high_next_read = !high;
	}
	return high ? value >> 8 : value & 0xff;
}

static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pit *pit = opaque;
	int64_t now = vm_clock_ns(pit->vm);
	return pit->speaker | (now / REFRESH_NS & 1) << 4 | output(&pit->ch[2], now) << 5;
}

/* The gate of channel 2: a rising edge restarts modes 1, 2, 3 and 5; a low level stops 0 and 4. */
static void set_gate2(struct pit *pit, bool gate)
{
	struct channel *c = &pit->ch[2];
	if (gate && !c->gate && c->mode != 0 && c->mode != 4 && c->count) {
		c->loaded_ns = vm_clock_ns(pit->vm);
		c->loaded = true;
	}
	c->gate = gate;
}

static void port61_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pit *pit = opaque;
	pit->speaker = value & 3;
	set_gate2(pit, value & 1);
}

static const struct io_ops pit_ops = {pit_read, pit_write, .min_size = 1, .max_size = 1};
static const struct io_ops port61_ops = {port61_read, port61_write, .min_size = 1, .max_size = 1};

struct pit *pit_new(struct vm *vm, const struct irq *irq0)
{
	struct pit *pit = g_new0(struct pit, 1);
	pit->vm = vm;
	pit->irq0 = *irq0;
	pthread_mutex_init(&pit->lock, NULL);
	vm_timer_init(&pit->timer, vm, timer_fired, pit);
	pit->ports = (struct io_region){.name = "pit", .ops = &pit_ops, .opaque = pit, .size = 4,
					.lock = &pit->lock};
	pit->port61 = (struct io_region){.name = "port61", .ops = &port61_ops, .opaque = pit,
					 .size = 1, .lock = &pit->lock};
	pit_reset(pit);
	space_add_io(vm->ports, 0x40, &pit->ports, SPACE_PRIORITY_HIGH);
	space_add_io(vm->ports, 0x61, &pit->port61, SPACE_PRIORITY_HIGH);
	return pit;
}

void pit_reset(struct pit *pit)
{
	LOCK_SCOPE(&pit->lock);
	vm_timer_cancel(&pit->timer);
	for (unsigned i = 0; i < 3; i++)
		pit->ch[i] = (struct channel){.count = 65536, .rw = RW_WORD, .mode = 3,
					      .gate = i != 2};
	pit->speaker = 0;
	set_irq(pit, false);
}

void pit_free(struct pit *pit)
{
	if (!pit)
		return;
	vm_timer_destroy(&pit->timer);
	space_remove_io(pit->vm->ports, &pit->ports);
	space_remove_io(pit->vm->ports, &pit->port61);
	pthread_mutex_destroy(&pit->lock);
	g_free(pit);
}
