/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spec: Motorola MC146818A data sheet; ICH9 13.6. The clock is not ticked: registers are computed
 * from a clock's time when they are read. While the guest holds SET, it edits a frozen copy.
 * Interrupts that are enabled get a timer; flags that are only polled are computed on the way.
 */
#include "dev/chips/rtc.h"

#include "aio/loop.h"
#include "base/lock.h"
#include "vm/vm.h"

#include <time.h>

enum { REG_SECONDS, REG_SECONDS_ALARM, REG_MINUTES, REG_MINUTES_ALARM, REG_HOURS, REG_HOURS_ALARM,
       REG_WEEKDAY, REG_DAY, REG_MONTH, REG_YEAR, REG_A, REG_B, REG_C, REG_D,
       REG_CENTURY = 0x32 };
enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_RATE = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 0x04, B_24H = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
#define NS           INT64_C(1000000000)
#define UIP_NS       244000 /* the flag rises this long before the update */
#define DAY          86400
#define ALARM_ANY    0xc0   /* both top bits set: matches every value */
#define MISSED_MAX   8192   /* a second at the highest rate; more would flood the guest */
#define MADE_UP_MAX  20     /* in a row, for a guest that reads C until nothing is pending */

struct rtc {
	struct vm *vm;
	pthread_mutex_t lock;
	struct io_region region;
	struct irq irq;
	uint8_t index;
	uint8_t cmos[128];
	struct rtc_config config;
	int64_t offset_ns;      /* guest's time = the clock's + offset */
	int64_t base_offset;    /* seconds that the clock was ahead of the host's UTC at first */
	int64_t polled_ns;      /* guest's time up to which flags have been computed */
	int64_t polled_ticks;   /* the same for the periodic flag: ticks since power-on */
	int64_t missed;         /* periodic interrupts still to be made up for */
	unsigned made_up;       /* since the last true one */
	struct vm_timer vm_timer; /* of RTC_CLOCK_VM */
	struct aio_timer timer;   /* of the others */
};

static int64_t host_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

/* What periodic ticks are counted on. */
static int64_t tick_ns(const struct rtc *rtc)
{
	return rtc->config.clock == RTC_CLOCK_VM ? vm_clock_ns(rtc->vm) : aio_now_ns();
}

static int64_t clock_ns(const struct rtc *rtc)
{
	return rtc->config.clock == RTC_CLOCK_HOST ? host_ns() : tick_ns(rtc);
}

static int64_t guest_ns(const struct rtc *rtc)
{
	return clock_ns(rtc) + rtc->offset_ns;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* By which the guest's clock is ahead of the host's UTC, rounded. */
static int64_t offset_seconds(const struct rtc *rtc)
{
	return floor_div(guest_ns(rtc) - host_ns() + NS / 2, NS);
}

static uint8_t encode(const struct rtc *rtc, unsigned v)
{
	return rtc->cmos[REG_B] & B_BINARY ? v : (v / 10 % 10) << 4 | v % 10;
}

static unsigned decode(const struct rtc *rtc, uint8_t v)
{
	return rtc->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hours(const struct rtc *rtc, unsigned hour)
{
	if (rtc->cmos[REG_B] & B_24H)
		return encode(rtc, hour);
	unsigned h12 = hour % 12 ? hour % 12 : 12;
	return encode(rtc, h12) | (hour >= 12 ? 0x80 : 0);
}

static unsigned decode_hours(const struct rtc *rtc, uint8_t v)
{
	if (rtc->cmos[REG_B] & B_24H)
		return decode(rtc, v);
	return decode(rtc, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* Time into the registers. */
static void store_time(struct rtc *rtc, int64_t ns)
{
	time_t seconds = floor_div(ns, NS);
	struct tm tm;
	if (!gmtime_r(&seconds, &tm))
		return;
	uint8_t *c = rtc->cmos;
	c[REG_SECONDS] = encode(rtc, tm.tm_sec);
	c[REG_MINUTES] = encode(rtc, tm.tm_min);
	c[REG_HOURS] = encode_hours(rtc, tm.tm_hour);
	c[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	c[REG_DAY] = encode(rtc, tm.tm_mday);
	c[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
	c[REG_YEAR] = encode(rtc, (tm.tm_year + 1900) % 100);
	c[REG_CENTURY] = encode(rtc, (tm.tm_year + 1900) / 100);
}

/* Nanoseconds in 63 bits reach 292 years: a guest that sets the year 9999 stays this side of it. */
static int64_t limit_offset(int64_t seconds)
{
	const int64_t most = INT64_C(200) * 366 * DAY;
	return CLAMP(seconds, -most, most);
}

/* Registers into time; any register values give some time. */
static void load_time(struct rtc *rtc)
{
	const uint8_t *c = rtc->cmos;
	struct tm tm = {
		.tm_sec = decode(rtc, c[REG_SECONDS]),
		.tm_min = decode(rtc, c[REG_MINUTES]),
		.tm_hour = decode_hours(rtc, c[REG_HOURS]),
		.tm_mday = decode(rtc, c[REG_DAY]),
		.tm_mon = (int)decode(rtc, c[REG_MONTH]) - 1,
		.tm_year = (int)(decode(rtc, c[REG_CENTURY]) * 100 + decode(rtc, c[REG_YEAR])) -
			   1900,
	};
	int64_t now = clock_ns(rtc);
	/* The sub-second phase of the clock is kept: no update is missed or doubled. */
	rtc->offset_ns = limit_offset(timegm(&tm) - floor_div(now, NS)) * NS;
	rtc->polled_ns = guest_ns(rtc);
	vm_notify(rtc->vm, &(struct vm_notice){.kind = VM_NOTICE_CLOCK_SET,
					       .offset = offset_seconds(rtc) - rtc->base_offset},
		  "rtc");
}

static bool clock_runs(const struct rtc *rtc)
{
	return !(rtc->cmos[REG_B] & B_SET) && (rtc->cmos[REG_A] & A_DIVIDER) <= 0x20;
}

/* MC146818A, table 5: 32768 Hz divided; rates 1 and 2 repeat 8 and 9. 0: no periodic tick. */
static int64_t periodic_ns(const struct rtc *rtc)
{
	unsigned rate = rtc->cmos[REG_A] & A_RATE;
	if (!rate || (rtc->cmos[REG_A] & A_DIVIDER) > 0x20)
		return 0;
	if (rate <= 2)
		rate += 7;
	return (NS << (rate - 1)) / 32768;
}

/* Guest's second of the first alarm after second `from`, or -1. */
static int64_t next_alarm(const struct rtc *rtc, int64_t from)
{
	const uint8_t *c = rtc->cmos;
	bool any_s = c[REG_SECONDS_ALARM] >= ALARM_ANY, any_m = c[REG_MINUTES_ALARM] >= ALARM_ANY;
	bool any_h = c[REG_HOURS_ALARM] >= ALARM_ANY;
	unsigned s = decode(rtc, c[REG_SECONDS_ALARM]), m = decode(rtc, c[REG_MINUTES_ALARM]);
	unsigned h = decode_hours(rtc, c[REG_HOURS_ALARM]);
	for (int64_t t = from + 1; t <= from + DAY;) {
		unsigned of_day = (t % DAY + DAY) % DAY;
		if (!any_h && of_day / 3600 != h)
			t += 3600 - of_day % 3600;
		else if (!any_m && of_day / 60 % 60 != m)
			t += 60 - of_day % 60;
		else if (!any_s && of_day % 60 != s)
			t++;
		else
			return t;
	}
	return -1;
}

/* `count` periods are over; in a new rate it may be negative. */
static void note_ticks(struct rtc *rtc, int64_t count)
{
	bool unseen = rtc->cmos[REG_C] & C_PF;
	if (rtc->config.catch_up && (rtc->cmos[REG_B] & B_PIE) && count > 0)
		rtc->missed = MIN(rtc->missed + count - !unseen, MISSED_MAX);
	rtc->made_up = 0;
	rtc->cmos[REG_C] |= C_PF;
}

/* The guest has acknowledged: its next interrupt is one that it missed, if there is one. */
static void make_up(struct rtc *rtc)
{
	if (!rtc->missed || !(rtc->cmos[REG_B] & B_PIE) || rtc->made_up >= MADE_UP_MAX)
		return;
	rtc->missed--;
	rtc->made_up++;
	rtc->cmos[REG_C] |= C_PF;
}

/* Set the flags of everything that has happened since the last call. */
static void poll_flags(struct rtc *rtc)
{
	int64_t period = periodic_ns(rtc);
	if (period) {
		int64_t ticks = tick_ns(rtc) / period;
		if (ticks != rtc->polled_ticks)
			note_ticks(rtc, ticks - rtc->polled_ticks);
		rtc->polled_ticks = ticks;
	}
	int64_t now = guest_ns(rtc);
	int64_t from = floor_div(rtc->polled_ns, NS), to = floor_div(now, NS);
	rtc->polled_ns = now;
	if (!clock_runs(rtc) || to <= from)
		return;
	rtc->cmos[REG_C] |= C_UF;
	int64_t alarm = next_alarm(rtc, from);
	if (alarm >= 0 && alarm <= to)
		rtc->cmos[REG_C] |= C_AF;
}

static void update_irq(struct rtc *rtc)
{
	bool level = rtc->cmos[REG_B] & rtc->cmos[REG_C] & (C_PF | C_AF | C_UF);
	rtc->cmos[REG_C] = (rtc->cmos[REG_C] & ~C_IRQF) | (level ? C_IRQF : 0);
	irq_set(&rtc->irq, level);
}

static void disarm(struct rtc *rtc)
{
	vm_timer_cancel(&rtc->vm_timer);
	aio_timer_cancel(&rtc->timer);
}

/* Arm for the earliest enabled event. */
static void rearm(struct rtc *rtc)
{
	int64_t now = tick_ns(rtc), at = INT64_MAX;
	int64_t period = periodic_ns(rtc);
	if ((rtc->cmos[REG_B] & B_PIE) && period)
		at = (now / period + 1) * period;
	if (clock_runs(rtc) && (rtc->cmos[REG_B] & (B_UIE | B_AIE))) {
		int64_t guest = guest_ns(rtc), second = floor_div(guest, NS);
		int64_t next = second + 1;
		if (!(rtc->cmos[REG_B] & B_UIE))
			next = next_alarm(rtc, second);
		if (next >= 0)
			at = MIN(at, now + next * NS - guest);
	}
	if (at == INT64_MAX)
		disarm(rtc);
	else if (rtc->config.clock == RTC_CLOCK_VM)
		vm_timer_arm(&rtc->vm_timer, at);
	else
		aio_timer_arm(&rtc->timer, at);
}

static void refresh(struct rtc *rtc)
{
	poll_flags(rtc);
	update_irq(rtc);
	rearm(rtc);
}

static void timer_fired(void *opaque)
{
	struct rtc *rtc = opaque;
	LOCK_SCOPE(&rtc->lock);
	refresh(rtc);
}

static bool is_time_register(unsigned reg)
{
	return reg <= REG_YEAR ? reg > REG_HOURS_ALARM || !(reg & 1) : reg == REG_CENTURY;
}

static uint8_t read_register(struct rtc *rtc, unsigned reg)
{
	if (is_time_register(reg) && clock_runs(rtc))
		store_time(rtc, guest_ns(rtc));
	if (reg == REG_A) {
		int64_t now = guest_ns(rtc);
		bool uip = clock_runs(rtc) && now - floor_div(now, NS) * NS >= NS - UIP_NS;
		return rtc->cmos[REG_A] | (uip ? A_UIP : 0);
	}
	if (reg == REG_C) {
		poll_flags(rtc);
		update_irq(rtc);
		uint8_t flags = rtc->cmos[REG_C];
		rtc->cmos[REG_C] = 0;
		update_irq(rtc);
		make_up(rtc);
		update_irq(rtc);
		return flags;
	}
	return rtc->cmos[reg];
}

static void write_register(struct rtc *rtc, unsigned reg, uint8_t value)
{
	bool ran = clock_runs(rtc);
	if (reg == REG_C || reg == REG_D)
		return;
	poll_flags(rtc);
	/* Freeze or refresh the registers before one of them, or their format, changes. */
	if (ran && (is_time_register(reg) || reg == REG_A || reg == REG_B))
		store_time(rtc, guest_ns(rtc));
	if (reg == REG_A)
		value &= ~A_UIP;
	if (reg == REG_B && (value & B_SET))
		value &= ~B_UIE;
	rtc->cmos[reg] = value;
	if (reg == REG_A || !(rtc->cmos[REG_B] & B_PIE))
		rtc->missed = 0;
	if (reg == REG_B && ran && clock_runs(rtc))
		store_time(rtc, guest_ns(rtc)); /* in the new format */
	else if (clock_runs(rtc) && (!ran || is_time_register(reg)))
		load_time(rtc);
	update_irq(rtc);
	rearm(rtc);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
	struct rtc *rtc = opaque;
	return offset ? read_register(rtc, rtc->index) : 0xff;
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct rtc *rtc = opaque;
	if (offset)
		write_register(rtc, rtc->index, value);
	else
		rtc->index = value & 0x7f; /* bit 7 masks NMI; there is no source of NMI to mask */
}

static const struct io_ops rtc_ops = {rtc_read, rtc_write, .min_size = 1, .max_size = 1};

struct rtc *rtc_new(struct vm *vm, const struct irq *irq8, const struct rtc_config *config)
{
	struct rtc *rtc = g_new0(struct rtc, 1);
	rtc->vm = vm;
	rtc->irq = *irq8;
	pthread_mutex_init(&rtc->lock, NULL);
	vm_timer_init(&rtc->vm_timer, vm, timer_fired, rtc);
	aio_timer_init(&rtc->timer, vm->loop, timer_fired, rtc);
	rtc->config = *config;
	int64_t offset = config->offset;
	if (config->localtime) {
		time_t now = time(NULL);
		struct tm tm;
		if (localtime_r(&now, &tm))
			offset += tm.tm_gmtoff;
	}
	rtc->offset_ns = limit_offset(offset) * NS + host_ns() - clock_ns(rtc);
	rtc->base_offset = offset_seconds(rtc);
	rtc->polled_ns = guest_ns(rtc);
	rtc->cmos[REG_A] = 0x26; /* 32768 Hz time base, 1024 Hz */
	rtc->cmos[REG_B] = B_24H;
	rtc->cmos[REG_D] = 0x80; /* the battery is good */
	rtc->region = (struct io_region){.name = "rtc", .ops = &rtc_ops, .opaque = rtc, .size = 2,
					 .lock = &rtc->lock};
	space_add_io(vm->ports, 0x70, &rtc->region, SPACE_PRIORITY_HIGH);
	return rtc;
}

/* The clock and CMOS RAM are battery-backed: a reset only disables interrupts. */
void rtc_reset(struct rtc *rtc)
{
	LOCK_SCOPE(&rtc->lock);
	rtc->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE);
	rtc->cmos[REG_C] = 0;
	rtc->missed = 0;
	refresh(rtc);
}

void rtc_cmos_set(struct rtc *rtc, unsigned offset, uint8_t value)
{
	g_assert(offset > REG_D && offset < sizeof(rtc->cmos));
	LOCK_SCOPE(&rtc->lock);
	rtc->cmos[offset] = value;
}

uint8_t rtc_cmos_get(struct rtc *rtc, unsigned offset)
{
	g_assert(offset < sizeof(rtc->cmos));
	LOCK_SCOPE(&rtc->lock);
	return rtc->cmos[offset];
}

int64_t rtc_offset(struct rtc *rtc)
{
	LOCK_SCOPE(&rtc->lock);
	return offset_seconds(rtc);
}

void rtc_free(struct rtc *rtc)
{
	if (!rtc)
		return;
	vm_timer_destroy(&rtc->vm_timer);
	aio_timer_cancel(&rtc->timer);
	space_remove_io(rtc->vm->ports, &rtc->region);
	pthread_mutex_destroy(&rtc->lock);
	g_free(rtc);
}
