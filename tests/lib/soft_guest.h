/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small VM on the software engine for tests: RAM at address 0, one or more vCPUs whose threads
 * stay parked, so that the test's own thread steps or runs them. soft_guest_enter64() and its
 * siblings put a vCPU into a flat mode with everything mapped one to one.
 */
#pragma once

#include "cpu/soft/engine.h"

struct soft_guest {
	struct aio_loop *loop;
	struct vm *vm;
	struct ram_block *ram;
	struct cpu_model *model;
	struct soft_vcpu *c; /* the first vCPU */
	/* What was written to port 0xf4: the payload's verdict; -1 before. */
	_Atomic int exit_code; /* by a vCPU's thread */
	GString *console; /* what was written to port 0xe9 */
	struct io_region exit_port, console_port;
};

/* RAM of `size` bytes (at least 4 MiB). Aborts the test on failure. */
struct soft_guest *soft_guest_new(uint64_t size, unsigned vcpus);
void soft_guest_free(struct soft_guest *g);

/*
 * Set the first vCPU to long mode, CPL 0 (or 3 with `user`), flat segments, 4-level identity paging
 * with 2 MiB user-accessible pages from tables in RAM at [1 MiB, 1 MiB + 12 KiB), a GDT at 0x110000 and,
 * for interrupts, an empty IDT. SSE, AVX and FSGSBASE are enabled. gpr are 0 but for RSP = 0x200000.
 */
void soft_guest_enter64(struct soft_guest *g, uint64_t rip, bool user);
/* Protected mode without paging, flat 32-bit segments, CPL 0. */
void soft_guest_enter32(struct soft_guest *g, uint32_t eip);
/* Real mode, all segments at 0. */
void soft_guest_enter16(struct soft_guest *g, uint16_t ip);

/* Copy code or data into RAM, as a device would. */
void soft_guest_write(struct soft_guest *g, uint64_t addr, const void *bytes, size_t length);

/* Run the first vCPU on this thread until it writes to port 0xf4 or dies; the exit code, -1 if it died. */
int soft_guest_run(struct soft_guest *g);
