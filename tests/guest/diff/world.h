/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest round a case: page tables that map the native child's addresses, and a supervisor part
 * with GDT, IDT and TSS whose handlers only report that they were reached.
 */
#pragma once

#include "cpu/soft/soft.h"

/* Guest-physical layout. */
enum {
	WORLD_DATA = 0x10000, WORLD_CODE = 0x20000, WORLD_SYSTEM = 0x30000, WORLD_RAM = 0x100000,
};

/* A write to this port, allowed to CPL 3 too, is how guest code says that it is at its end. */
enum { WORLD_PORT = 0xe0 };

void world_build(uint8_t *ram);
/* Long mode, CPL 3, the segments that Linux gives to its processes. */
void world_enter(struct soft_vcpu *c);
/* Make sure that c is at CPL 3 in a 64- or 32-bit code segment. */
void world_return(struct soft_vcpu *c, bool bits32);

/* May CPL 3 write to its code? The caller flushes the TLB. */
void world_set_code_writable(uint8_t *ram, bool writable);

struct world_frame {
	unsigned vector;
	uint32_t error;
	uint64_t rip, rflags, rsp;
};
/* If c has stopped in a handler, what brought it there. */
bool world_in_handler(const struct soft_vcpu *c, const uint8_t *ram, struct world_frame *frame);
