/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What -d in_asm, out_asm, int and exec write into the log, in the form of QEMU's logs. Code is in
 * hexadecimal behind "OBJD-T:", which QEMU's scripts/disas-objdump.pl and a line of shell turn into
 * assembly: engine.md says how.
 */
#pragma once

#include "cpu/soft/soft.h"

/* enum vm_trace. Inline, since nearly always nothing is traced. */
static inline bool soft_traces(const struct soft_vcpu *c, unsigned what)
{
	return soft_unlikely(c->vm->config.trace & what);
}

/* Guest code that was decoded: its linear address and its bytes. */
void soft_trace_in(const struct soft_vcpu *c, uint64_t linear, const uint8_t *bytes, size_t size);
/* What was made of it, and where it will run. */
void soft_trace_out(const struct soft_vcpu *c, const uint8_t *at, const uint8_t *bytes, size_t size);
/* The run loop goes to a block of the interpreter or a unit of translated code. */
void soft_trace_exec(const struct soft_vcpu *c);
/* An exception or interrupt is about to be delivered. */
struct soft_event;
void soft_trace_event(const struct soft_vcpu *c, const struct soft_event *event);
