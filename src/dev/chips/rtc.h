/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MC146818 real-time clock with 128 bytes of CMOS RAM. Time follows the host's real-time clock
 * plus an offset that the guest changes by setting the clock.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

struct rtc;
struct vm;

/* Guest's time = host's UTC + offset seconds (+ its local time zone's offset if `localtime`). */
struct rtc *rtc_new(struct vm *vm, const struct irq *irq8, bool localtime, int64_t offset);
void rtc_free(struct rtc *rtc);
void rtc_reset(struct rtc *rtc);
/* CMOS RAM for firmware to read: memory size, boot order... Offsets 0x0e to 0x7f. */
void rtc_cmos_set(struct rtc *rtc, unsigned offset, uint8_t value);
uint8_t rtc_cmos_get(struct rtc *rtc, unsigned offset);
/* Seconds by which the guest's clock is ahead of the host's UTC. Any thread. */
int64_t rtc_offset(struct rtc *rtc);
