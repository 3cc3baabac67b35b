/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two stages of a timer count down one after the other, unless a driver loads them anew in time. The end of
 * the first could interrupt the guest, which no driver asks for; the end of the second fires. Every write
 * that matters follows two others that unlock it, so that a guest gone wild does not feed its watchdog by
 * chance. The clock is the VM's: a paused guest is not late.
 * Spec: Intel 6300ESB I/O Controller Hub Datasheet, chapter 17.
 */
#include "dev/chips/i6300esb.h"

#include "base/bytes.h"
#include "base/lock.h"
#include "dev/pci/pci.h"
#include "vm/clock.h"
#include "vm/vm.h"

#include <string.h>

/* In configuration space. */
enum { CONFIG_OUTPUT = 0x60, CONFIG_LOCK = 0x68 };
enum { OUTPUT_INTERRUPT = 3 << 0, OUTPUT_FAST = 1 << 2, OUTPUT_OFF = 1 << 5 };
enum { LOCK_LOCKED = 1 << 0, LOCK_ENABLE = 1 << 1, LOCK_FREE_RUN = 1 << 2, LOCK_BITS = 7 };
/* In memory. */
enum { PRELOAD_1 = 0x00, PRELOAD_2 = 0x04, RELOAD = 0x0c, REGS = 0x10 };
enum { RELOAD_NOW = 1 << 8, RELOAD_FIRED = 1 << 9, UNLOCK_1 = 0x80, UNLOCK_2 = 0x86 };
enum { PRELOAD_MAX = 0xfffff };

#define PCI_CLOCK_HZ UINT64_C(33000000)
/*
 * Of a stage that repeats: a guest could ask for one every microsecond, and keep the main loop from
 * everything else.
 */
#define FREE_RUN_MIN_NS INT64_C(10000000)

struct i6300esb {
	struct pci_device pci;
	pthread_mutex_t lock; /* guards what follows; taken inside the bus's */
	struct io_region region;
	struct vm_timer timer;
	uint32_t preload[2];
	unsigned stage;       /* 0 or 1, of the two */
	unsigned unlocked;    /* how many writes of the sequence have come */
	bool enabled, locked, free_run, fast, output_off;
	bool fired;           /* kept over the reset that it causes: the driver tells why the guest began anew */
};

/* --- Counting: locked ----------------------------------------------------------------------------- */

/* A tick is 2^15 clocks of PCI, or 2^5. */
static int64_t stage_ns(const struct i6300esb *s)
{
	uint64_t ticks = MAX(s->preload[s->stage], 1);
	int64_t ns = (int64_t)((ticks << (s->fast ? 5 : 15)) * 1000 / (PCI_CLOCK_HZ / 1000000));
	return s->free_run ? MAX(ns, FREE_RUN_MIN_NS) : ns;
}

static void begin(struct i6300esb *s, unsigned stage)
{
	struct vm *vm = s->pci.dev.vm;
	s->stage = stage;
	if (s->enabled)
		vm_timer_arm(&s->timer, vm_clock_ns(vm) + stage_ns(s));
	else
		vm_timer_cancel(&s->timer);
}

static void on_timer(void *opaque)
{
	struct i6300esb *s = opaque;
	LOCK_SCOPE(&s->lock);
	/* The driver may have been quicker. */
	if (!s->enabled)
		return;
	if (s->stage == 0) {
		begin(s, 1);
		return;
	}
	if (!s->output_off) {
		s->fired = true;
		vm_request(s->pci.dev.vm, VM_REQUEST_WATCHDOG, 0);
	}
	if (s->free_run)
		begin(s, 0);
	else
		s->enabled = false;
}

/* --- Registers ------------------------------------------------------------------------------------ */

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct i6300esb *s = (struct i6300esb *)pci;
	LOCK_SCOPE(&s->lock);
	uint8_t lock = pci->config[CONFIG_LOCK];
	s->fast = pci->config[CONFIG_OUTPUT] & OUTPUT_FAST;
	s->output_off = pci->config[CONFIG_OUTPUT] & OUTPUT_OFF;
	if (offset > CONFIG_LOCK || offset + size <= CONFIG_LOCK)
		return;
	if (s->locked) {
		/* Until the next reset. */
		pci->config[CONFIG_LOCK] = LOCK_LOCKED | (s->enabled ? LOCK_ENABLE : 0) |
					   (s->free_run ? LOCK_FREE_RUN : 0);
		return;
	}
	bool was_enabled = s->enabled;
	s->locked = lock & LOCK_LOCKED;
	s->enabled = lock & LOCK_ENABLE;
	s->free_run = lock & LOCK_FREE_RUN;
	if (s->enabled != was_enabled)
		begin(s, 0);
}

static uint64_t esb_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct i6300esb *s = opaque;
	const uint32_t regs[REGS / 4] = {s->preload[0], s->preload[1], 0, s->fired ? RELOAD_FIRED : 0};
	uint64_t value = regs[offset / 4] >> offset % 4 * 8;
	return size == 4 ? value : value & ((UINT64_C(1) << size * 8) - 1);
}

static void esb_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct i6300esb *s = opaque;
	bool unlocked = s->unlocked == 2;
	if (offset == RELOAD && !unlocked && (value == UNLOCK_1 || value == UNLOCK_2)) {
		s->unlocked = value == UNLOCK_1 ? 1 : s->unlocked == 1 ? 2 : 0;
		return;
	}
	s->unlocked = 0;
	if (!unlocked)
		return;
	if (offset == PRELOAD_1 || offset == PRELOAD_2)
		s->preload[offset / 4] = value & PRELOAD_MAX;
	if (offset != RELOAD)
		return;
	if (value & RELOAD_FIRED)
		s->fired = false;
	if (value & RELOAD_NOW)
		begin(s, 0);
}

static const struct io_ops esb_ops = {esb_read, esb_write, .min_size = 1, .max_size = 4};

/* --- Life ----------------------------------------------------------------------------------------- */

static bool esb_create(struct device *dev, GError **error)
{
	struct i6300esb *s = (struct i6300esb *)dev;
	pthread_mutex_init(&s->lock, NULL);
	vm_timer_init(&s->timer, dev->vm, on_timer, s);
	pci_set_identity(&s->pci, 0x8086, 0x25ab, 0x088000, 0);
	s->pci.writable[CONFIG_OUTPUT] = OUTPUT_INTERRUPT | OUTPUT_FAST | OUTPUT_OFF;
	s->pci.writable[CONFIG_LOCK] = LOCK_BITS;
	s->pci.config_written = config_written;
	s->region = (struct io_region){.name = "i6300esb", .ops = &esb_ops, .opaque = s, .size = REGS,
				       .lock = &s->lock};
	pci_add_bar(&s->pci, 0, &s->region, false, false, false);
	return true;
}

static void esb_reset(struct device *dev)
{
	struct i6300esb *s = (struct i6300esb *)dev;
	pci_device_reset(&s->pci);
	LOCK_SCOPE(&s->lock);
	s->preload[0] = s->preload[1] = PRELOAD_MAX;
	s->unlocked = 0;
	s->enabled = s->locked = s->free_run = s->fast = s->output_off = false;
	begin(s, 0);
}

static void esb_destroy(struct device *dev)
{
	struct i6300esb *s = (struct i6300esb *)dev;
	pci_device_cleanup(&s->pci);
	if (s->timer.vm)
		vm_timer_destroy(&s->timer);
	pthread_mutex_destroy(&s->lock);
}

static const struct property esb_properties[] = {
	PCI_PROPERTIES(struct i6300esb, pci),
	{0},
};

const struct device_class i6300esb_class = {
	.name = "i6300esb",
	.description = "Intel 6300ESB watchdog; -action watchdog= says what it does",
	.bus = "PCI",
	.category = "watchdog",
	.properties = esb_properties,
	.size = sizeof(struct i6300esb),
	.create = esb_create,
	.reset = esb_reset,
	.destroy = esb_destroy,
};
