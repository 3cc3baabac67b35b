/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MC146818 real-time clock with 128 bytes of CMOS RAM. Time follows a clock of the host or the
 * VM, plus an offset that the guest changes by setting the clock.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

struct rtc;
struct vm;

enum rtc_clock {
	RTC_CLOCK_HOST,      /* the host's real-time clock, with every step that it makes */
	RTC_CLOCK_MONOTONIC, /* set at power-on; goes on while the VM is paused */
	RTC_CLOCK_VM,        /* set at power-on; stands still while the VM is paused */
};

/* At power-on: host's UTC + offset seconds (+ its local time zone's offset if `localtime`). */
struct rtc_config {
	enum rtc_clock clock;
	bool localtime;
	int64_t offset;
	bool catch_up; /* periodic interrupts that the guest missed come one after the other */
};

struct rtc *rtc_new(struct vm *vm, const struct irq *irq8, const struct rtc_config *config);
void rtc_free(struct rtc *rtc);
void rtc_reset(struct rtc *rtc);
/* CMOS RAM for firmware to read: memory size, boot order... Offsets 0x0e to 0x7f. */
void rtc_cmos_set(struct rtc *rtc, unsigned offset, uint8_t value);
uint8_t rtc_cmos_get(struct rtc *rtc, unsigned offset);
/* Seconds by which the guest's clock is ahead of the host's UTC. Any thread. */
int64_t rtc_offset(struct rtc *rtc);
