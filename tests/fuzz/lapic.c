/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two local APICs under a stream of register accesses, MSR accesses, messages, base changes and
 * moments. What must hold: no crash, no hang, and an acknowledged vector was allowed by priority.
 */
#include "cpu/x86/lapic.h"

#include "base/bytes.h"

#include <glib.h>
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct lapic *lapic[2];
	int64_t now;
};

static void notify(void *opaque, enum lapic_event event, uint8_t vector)
{
}

static struct lapic *peer(void *opaque, unsigned index)
{
	struct world *w = opaque;
	return index < 2 ? w->lapic[index] : NULL;
}

static int64_t now(void *opaque)
{
	struct world *w = opaque;
	return w->now;
}

static int64_t tsc_moment(void *opaque, uint64_t tsc)
{
	return tsc >> 62 ? LAPIC_NEVER : (int64_t)(tsc / 2);
}

static void eoi(void *opaque, uint8_t vector)
{
}

static const struct lapic_ops ops = {
	.notify = notify, .eoi = eoi, .peer = peer, .now = now, .tsc_moment = tsc_moment,
};

/* One record: what, which APIC, an offset, a value. */
enum { RECORD = 12 };

static void step(struct world *w, const uint8_t *r)
{
	struct lapic *l = w->lapic[r[1] & 1];
	uint32_t offset = le16_load(r + 2);
	uint64_t value = le64_load(r + 4), got;
	uint8_t page[0x400];

	switch (r[0] % 11) {
	case 0:
		lapic_mmio_write(l, offset & 0xfff, value);
		break;
	case 1:
		lapic_mmio_read(l, offset & 0xfff);
		break;
	case 2:
		lapic_msr_write(l, 0x800 + (offset & 0xff), value);
		break;
	case 3:
		lapic_msr_read(l, 0x800 + (offset & 0xff), &got);
		break;
	case 4:
		lapic_base_set(l, value, 40, true);
		break;
	case 5:
		lapic_send_msi(l, 0xfee00000 | offset << 4, value);
		break;
	case 6: {
		int vector = lapic_pending_vector(l);
		g_assert_cmpint(lapic_acknowledge(l), ==, vector);
		if (vector >= 0)
			g_assert_cmpint(vector >> 4, >, 0);
		break;
	}
	case 7:
		w->now += value & 0xffffffff;
		lapic_timer_poll(l);
		g_assert_true(lapic_timer_deadline(l) >= w->now);
		break;
	case 8:
		lapic_tsc_deadline_set(l, value);
		break;
	case 9:
		lapic_save(l, page);
		lapic_load(l, page, lapic_base_get(l), value);
		break;
	case 10:
		lapic_reset(l, value & 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .now = 1 };

	for (unsigned i = 0; i < 2; i++)
		w.lapic[i] = lapic_new(&ops, &w, i, i == 0);
	for (; size >= RECORD; data += RECORD, size -= RECORD)
		step(&w, data);
	for (unsigned i = 0; i < 2; i++)
		lapic_free(w.lapic[i]);
	return 0;
}
