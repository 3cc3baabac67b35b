/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: ICH9 13.8 (PM I/O registers), 13.7.4 (APM); ACPI 6.4, 4.8. */
#include "dev/chips/acpi_pm.h"

#include "base/bytes.h"
#include "base/lock.h"
#include "base/log.h"
#include "vm/vm.h"

#define TIMER_HZ   3579545
#define TIMER_BITS 24
#define NS         INT64_C(1000000000)

enum { REG_PM1_STS = 0x00, REG_PM1_EN = 0x02, REG_PM1_CNT = 0x04, REG_TIMER = 0x08,
       REG_GPE0_STS = 0x20, REG_GPE0_EN = 0x28, REG_SMI_EN = 0x30, REG_SMI_STS = 0x34,
       REG_COUNT = 0x80 };
enum { PM1_TIMER = 1 << 0, PM1_GLOBAL = 1 << 5, PM1_POWER = 1 << 8, PM1_SLEEP = 1 << 9,
       PM1_RTC = 1 << 10, PM1_WAKE = 1 << 15,
       PM1_EVENTS = PM1_TIMER | PM1_GLOBAL | PM1_POWER | PM1_SLEEP | PM1_RTC };
enum { CNT_SCI_EN = 1, CNT_TYPE_SHIFT = 10, CNT_SLEEP = 1 << 13 };
enum { SMI_EN_APMC = 1 << 5 };
enum { APM_ACPI_ENABLE = 2, APM_ACPI_DISABLE = 3 };
enum { SLEEP_TYPE_OFF = 0, SLEEP_TYPE_MEMORY = 1, SLEEP_TYPE_DISK = 2 };

struct acpi_pm {
	struct vm *vm;
	pthread_mutex_t lock;
	struct io_region ports, apm;
	uint16_t base;
	struct irq sci;
	uint16_t sts, en, cnt;
	uint64_t gpe_sts, gpe_en;
	uint32_t smi_en;
	uint8_t apm_control, apm_status;
	struct acpi_pm_states states;
	bool asleep;
	uint16_t waker;     /* bits of PM1_STS that have woken the guest */
	int64_t timer_seen; /* half-periods of the timer's top bit up to which TMR_STS is right */
	struct vm_timer timer;
};

static int64_t ticks(int64_t ns)
{
	return (__int128)ns * TIMER_HZ / NS;
}

static uint32_t timer_value(const struct acpi_pm *pm)
{
	return ticks(vm_clock_ns(pm->vm)) & ((1 << TIMER_BITS) - 1);
}

/* ACPI 6.4, 4.8.3.1.1: TMR_STS is set whenever the timer's top bit changes. */
static void poll_timer(struct acpi_pm *pm)
{
	int64_t half = ticks(vm_clock_ns(pm->vm)) >> (TIMER_BITS - 1);
	if (half != pm->timer_seen)
		pm->sts |= PM1_TIMER;
	pm->timer_seen = half;
}

static void update(struct acpi_pm *pm)
{
	poll_timer(pm);
	bool event = (pm->sts & pm->en & PM1_EVENTS) || (pm->gpe_sts & pm->gpe_en);
	irq_set(&pm->sci, event && (pm->cnt & CNT_SCI_EN));
	if ((pm->en & PM1_TIMER) && !(pm->sts & PM1_TIMER)) {
		int64_t next = (pm->timer_seen + 1) << (TIMER_BITS - 1);
		vm_timer_arm(&pm->timer, (__int128)next * NS / TIMER_HZ + 1);
	} else {
		vm_timer_cancel(&pm->timer);
	}
}

static void timer_fired(void *opaque)
{
	struct acpi_pm *pm = opaque;
	LOCK_SCOPE(&pm->lock);
	update(pm);
}

/* The registers as bytes, so that any access width works. */
static void pack(struct acpi_pm *pm, uint8_t image[REG_COUNT])
{
	memset(image, 0, REG_COUNT);
	poll_timer(pm);
	le16_store(image + REG_PM1_STS, pm->sts);
	le16_store(image + REG_PM1_EN, pm->en);
	le16_store(image + REG_PM1_CNT, pm->cnt);
	le32_store(image + REG_TIMER, timer_value(pm));
	le64_store(image + REG_GPE0_STS, pm->gpe_sts);
	le64_store(image + REG_GPE0_EN, pm->gpe_en);
	le32_store(image + REG_SMI_EN, pm->smi_en);
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = opaque;
	if (offset >= REG_TIMER && offset + size <= REG_TIMER + 4) /* the hot one */
		return timer_value(pm) >> (offset - REG_TIMER) * 8 & size_mask(size);
	uint8_t image[REG_COUNT];
	pack(pm, image);
	return range_fits(offset, size, REG_COUNT) ? le_load(image + offset, size) : 0;
}

static void enter_sleep(struct acpi_pm *pm)
{
	unsigned type = pm->cnt >> CNT_TYPE_SHIFT & 7;
	if (type == SLEEP_TYPE_OFF) {
		vm_request(pm->vm, VM_REQUEST_SHUTDOWN, 0);
	} else if (type == SLEEP_TYPE_MEMORY && pm->states.memory) {
		pm->asleep = true;
		vm_request(pm->vm, VM_REQUEST_SUSPEND, 0);
	} else if (type == SLEEP_TYPE_DISK && pm->states.disk) {
		vm_notify(pm->vm, &(struct vm_notice){.kind = VM_NOTICE_SUSPEND_DISK}, NULL);
		vm_request(pm->vm, VM_REQUEST_SHUTDOWN, 0);
	} else {
		log_guest_fault("ACPI sleep type %u is not one that the tables offer", type);
	}
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct acpi_pm *pm = opaque;
	if (!range_fits(offset, size, REG_COUNT))
		return;
	/* Status registers: bytes not written must not clear anything. */
	uint8_t image[REG_COUNT];
	pack(pm, image);
	memset(image + REG_PM1_STS, 0, 2);
	memset(image + REG_GPE0_STS, 0, 8);
	le_store(image + offset, value, size);
	pm->sts &= ~le16_load(image + REG_PM1_STS);
	pm->en = le16_load(image + REG_PM1_EN) & PM1_EVENTS;
	pm->gpe_sts &= ~le64_load(image + REG_GPE0_STS);
	pm->gpe_en = le64_load(image + REG_GPE0_EN);
	/* Preset and kept: firmware must not look for SMM. */
	pm->smi_en = le32_load(image + REG_SMI_EN) | SMI_EN_APMC;
	uint16_t cnt = le16_load(image + REG_PM1_CNT);
	/* SCI_EN is the APM port's to change; SLP_EN reads as zero. */
	pm->cnt = (cnt & 0x1c06) | (pm->cnt & CNT_SCI_EN);
	if (offset <= REG_PM1_CNT + 1 && offset + size > REG_PM1_CNT + 1 && (cnt & CNT_SLEEP))
		enter_sleep(pm);
	update(pm);
}

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = opaque;
	return offset ? pm->apm_status : pm->apm_control;
}

static void apm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct acpi_pm *pm = opaque;
	if (offset) {
		pm->apm_status = value;
		return;
	}
	pm->apm_control = value;
	if (value == APM_ACPI_ENABLE)
		pm->cnt |= CNT_SCI_EN;
	else if (value == APM_ACPI_DISABLE)
		pm->cnt &= ~CNT_SCI_EN;
	update(pm);
}

static const struct io_ops pm_ops = {pm_read, pm_write, .min_size = 1, .max_size = 4};
static const struct io_ops apm_ops = {apm_read, apm_write, .min_size = 1, .max_size = 1};

struct acpi_pm *acpi_pm_new(struct vm *vm, const struct irq *sci)
{
	struct acpi_pm *pm = g_new0(struct acpi_pm, 1);
	pm->vm = vm;
	pm->sci = *sci;
	pthread_mutex_init(&pm->lock, NULL);
	vm_timer_init(&pm->timer, vm, timer_fired, pm);
	pm->ports = (struct io_region){.name = "acpi-pm", .ops = &pm_ops, .opaque = pm,
				       .size = REG_COUNT, .lock = &pm->lock};
	pm->apm = (struct io_region){.name = "apm", .ops = &apm_ops, .opaque = pm, .size = 2,
				     .lock = &pm->lock};
	acpi_pm_reset(pm);
	space_add_io(vm->ports, 0xb2, &pm->apm, SPACE_PRIORITY_HIGH);
	return pm;
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	LOCK_SCOPE(&pm->lock);
	pm->sts = pm->en = pm->cnt = 0;
	pm->gpe_sts = pm->gpe_en = 0;
	pm->asleep = false;
	pm->smi_en = SMI_EN_APMC;
	pm->apm_control = pm->apm_status = 0;
	poll_timer(pm);
	pm->sts = 0;
	update(pm);
}

void acpi_pm_map(struct acpi_pm *pm, uint16_t base)
{
	/* No lock: the ports' own writes hold it, and only the LPC bridge calls this. */
	if (base == pm->base)
		return;
	space_begin(pm->vm->ports);
	if (pm->base)
		space_remove_io(pm->vm->ports, &pm->ports);
	if (base)
		space_add_io(pm->vm->ports, base, &pm->ports, SPACE_PRIORITY_NORMAL);
	space_commit(pm->vm->ports);
	pm->base = base;
}

void acpi_pm_enable(struct acpi_pm *pm)
{
	LOCK_SCOPE(&pm->lock);
	pm->cnt |= CNT_SCI_EN;
	update(pm);
}

void acpi_pm_offer(struct acpi_pm *pm, struct acpi_pm_states states)
{
	LOCK_SCOPE(&pm->lock);
	pm->states = states;
}

/* Under the lock. ACPI 6.4, 4.8.3.1.1: an event wakes if it is enabled. */
static void raise_event(struct acpi_pm *pm, uint16_t event)
{
	pm->sts |= event;
	update(pm);
	if (!pm->asleep || !(pm->en & event))
		return;
	pm->waker |= event;
	vm_request(pm->vm, VM_REQUEST_WAKE, 0);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	LOCK_SCOPE(&pm->lock);
	raise_event(pm, PM1_POWER);
}

void acpi_pm_wake(struct acpi_pm *pm)
{
	LOCK_SCOPE(&pm->lock);
	if (pm->asleep)
		vm_request(pm->vm, VM_REQUEST_WAKE, 0);
}

void acpi_pm_woken(struct acpi_pm *pm)
{
	LOCK_SCOPE(&pm->lock);
	pm->sts |= PM1_WAKE | pm->waker;
	pm->waker = 0;
	update(pm);
}

/* ICH9 datasheet, 13.8.3.1: RTC_STS is set by the assertion of IRQ8#, whatever is enabled. */
void acpi_pm_rtc(struct acpi_pm *pm)
{
	LOCK_SCOPE(&pm->lock);
	raise_event(pm, PM1_RTC);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned event)
{
	g_assert(event < 64);
	LOCK_SCOPE(&pm->lock);
	pm->gpe_sts |= UINT64_C(1) << event;
	update(pm);
}

void acpi_pm_free(struct acpi_pm *pm)
{
	if (!pm)
		return;
	vm_timer_destroy(&pm->timer);
	acpi_pm_map(pm, 0);
	space_remove_io(pm->vm->ports, &pm->apm);
	pthread_mutex_destroy(&pm->lock);
	g_free(pm);
}
