/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of system/ share with each other and nobody else.
 *
 * Every function that can raise a guest fault does so by soft_raise*(), before it has changed any
 * register. Those that only compute ("check", "read") may be called in any order before the commit.
 */
#pragma once

#include "aio/loop.h"
#include "base/bytes.h"
#include "cpu/soft/mem.h"
#include "cpu/soft/soft.h"
#include "cpu/x86/lapic.h"

struct soft_system {
	struct lapic *lapic;
	GArray *cpuid; /* struct cpuid_leaf */
	bool cpuid_has_clock; /* its leaves with the TSC's frequency are filled in */
	struct cpu_features features;
	bool amd; /* the guest's vendor: SYSCALL and SYSENTER differ */
	unsigned phys_bits;
	uint32_t signature; /* CPUID 1.EAX, in EDX after RESET */

	/* Events (events.c). The vCPU's thread, but for the atomics. */
	bool nmi_waiting;  /* an NMI waits for IRET */
	bool step_armed;   /* the instruction that runs next began with TF set */
	bool rf_armed;     /* it began with RF set: RF goes when it is done */
	bool ss_shadow;    /* the interrupt shadow is that of MOV SS: it holds #DB too */
	bool data_breakpoints; /* DR7 enables some */
	uint32_t debug_hits; /* DR6 bits of data breakpoints that have triggered */
	_Atomic bool kicked; /* a hypercall wakes us from HLT, whatever IF is */
	_Atomic bool extint; /* level of the PIC's INTR */
	_Atomic uint32_t sipi_vector;

	/* Delivery (exception.c). */
	bool external;  /* an event that is not INT n is under way: error codes get EXT */
	bool restarted; /* a task switch was committed: faults are at s.rip, in the new task */

	/* Clocks (clock.c). Equal in all vCPUs of a VM but for what the guest does to a TSC. */
	uint64_t host_tsc_epoch; /* host TSC at vm->epoch_ns */
	uint64_t stopped_tsc; /* the first vCPU's: when the VM was paused; stopped_ns 0: it was not */
	int64_t stopped_ns;
	struct aio_timer timer;
	_Atomic int64_t timer_armed; /* what `timer` was last set to, LAPIC_NEVER: nothing */
};

/* --- descriptors (descriptor.c) --------------------------------------------------------------- */

enum { SELECTOR_RPL = 3, SELECTOR_TI = 4, SELECTOR_MASK = 0xfffc };

/* System descriptor types (SDM vol. 3, table 3-2). */
enum soft_system_type {
	TYPE_TSS16 = 1, TYPE_LDT = 2, TYPE_TSS16_BUSY = 3, TYPE_CALL16 = 4, TYPE_TASK_GATE = 5,
	TYPE_INT16 = 6, TYPE_TRAP16 = 7, TYPE_TSS = 9, TYPE_TSS_BUSY = 11, TYPE_CALL = 12,
	TYPE_INT = 14, TYPE_TRAP = 15,
};

/* A descriptor as it is in memory; `high` only for 16-byte ones. */
struct soft_descriptor {
	uint64_t raw, high;
	uint64_t linear;
};

static inline unsigned descriptor_type(const struct soft_descriptor *d)
{
	return d->raw >> 40 & 15;
}
static inline unsigned descriptor_dpl(const struct soft_descriptor *d)
{
	return d->raw >> 45 & 3;
}
static inline bool descriptor_present(const struct soft_descriptor *d)
{
	return d->raw >> 47 & 1;
}
/* A code or data segment, not a system one. */
static inline bool descriptor_is_segment(const struct soft_descriptor *d)
{
	return d->raw >> 44 & 1;
}
static inline bool descriptor_is_code(const struct soft_descriptor *d)
{
	return (d->raw >> 43 & 3) == 3;
}
static inline uint32_t gate_offset32(const struct soft_descriptor *d)
{
	return (d->raw & 0xffff) | (d->raw >> 32 & 0xffff0000);
}
static inline uint16_t gate_selector(const struct soft_descriptor *d)
{
	return d->raw >> 16;
}

/* Read the descriptor; outside its table: `vector` with the selector as error code. */
void soft_descriptor_read(struct soft_vcpu *c, uint16_t selector, enum x86_vector vector,
			  struct soft_descriptor *d);
/* Like it, but false instead of a fault when outside the table (LAR, VERR...). */
bool soft_descriptor_try(struct soft_vcpu *c, uint16_t selector, struct soft_descriptor *d);
/* The second half of a 16-byte system descriptor in long mode. */
void soft_descriptor_read_high(struct soft_vcpu *c, uint16_t selector, enum x86_vector vector,
			       struct soft_descriptor *d);
/* Set the Accessed bit in memory if it is not set. */
void soft_descriptor_touch(struct soft_vcpu *c, struct soft_descriptor *d);
void soft_descriptor_set_busy(struct soft_vcpu *c, struct soft_descriptor *d, bool busy);
struct x86_segment soft_descriptor_segment(uint16_t selector, const struct soft_descriptor *d);
struct x86_segment soft_null_segment(uint16_t selector, unsigned dpl);
/* The segment that real mode (big limits stay) or VM86 makes of a selector. */
struct x86_segment soft_real_segment(const struct soft_vcpu *c, enum x86_seg_index index,
				     uint16_t selector);
/* Check and read a stack segment for privilege `cpl`; faults are `vector` (#TS or #GP), #SS. */
struct x86_segment soft_stack_segment(struct soft_vcpu *c, uint16_t selector, unsigned cpl,
				      enum x86_vector vector);

/* --- modes ------------------------------------------------------------------------------------ */

static inline bool soft_protected(const struct soft_vcpu *c)
{
	return c->s.cr0 & X86_CR0_PE && !(c->s.rflags & X86_FLAG_VM);
}
static inline bool soft_vm86(const struct soft_vcpu *c)
{
	return c->s.rflags & X86_FLAG_VM;
}
static inline bool soft_long_mode(const struct soft_vcpu *c)
{
	return c->s.efer & X86_EFER_LMA;
}
static inline unsigned soft_iopl(const struct soft_vcpu *c)
{
	return c->s.rflags >> 12 & 3;
}
static inline bool soft_canonical(uint64_t linear)
{
	return (uint64_t)(((int64_t)linear >> 47) + 1) <= 1;
}
/* #GP(0) unless CPL is 0. */
static inline void soft_require_cpl0(struct soft_vcpu *c)
{
	if (soft_unlikely(c->cpl != 0))
		soft_raise_gp(c);
}
/* The next instruction's address, in the width of the code segment. */
static inline uint64_t soft_next_rip(const struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t rip = insn_next_rip(c, i);
	return c->long64 ? rip : (uint32_t)rip;
}
/* Own thread: ask the run loop to look before the next block. */
static inline void soft_pend(struct soft_vcpu *c, uint32_t bits)
{
	atomic_fetch_or_explicit(&c->pending, bits, memory_order_relaxed);
}

void soft_tlb_select(struct soft_vcpu *c);
void soft_cr0_write(struct soft_vcpu *c, uint64_t value);
void soft_cr3_write(struct soft_vcpu *c, uint64_t value);
void soft_cr4_write(struct soft_vcpu *c, uint64_t value);
void soft_efer_write(struct soft_vcpu *c, uint64_t value);
/* RFLAGS without checks of privilege, when `cs` or the mode changes in the same instruction. */
void soft_flags_commit(struct soft_vcpu *c, uint64_t rflags);
/* CS and RIP of a far transfer: limit or canonical check of the target, #GP(0). */
void soft_check_target(struct soft_vcpu *c, const struct x86_segment *cs, uint64_t rip);
/* Check a descriptor as a target of a direct far jump or call; returns the new CS. */
struct x86_segment soft_code_segment(struct soft_vcpu *c, uint16_t selector,
				     struct soft_descriptor *d, unsigned cpl);

/* --- stacks (stack.c) ------------------------------------------------------------------------- */

/* A stack being pushed to or popped from; nothing in the vCPU changes until its owner commits. */
struct soft_stack {
	struct x86_segment ss;
	uint64_t sp;
	bool flat;       /* a 64-bit stack: SS does not count */
	bool system;     /* accessed as the supervisor, whatever the current CPL */
	uint16_t error;  /* #SS's error code */
};
struct soft_stack soft_stack_current(struct soft_vcpu *c);
void soft_stack_push(struct soft_vcpu *c, struct soft_stack *s, uint64_t value, unsigned size);
uint64_t soft_stack_pop(struct soft_vcpu *c, struct soft_stack *s, unsigned size);
/* RSP with only the bits that the stack's size allows changed. */
void soft_stack_commit_sp(struct soft_vcpu *c, const struct soft_stack *s);
/* SS:ESP for privilege `dpl` from the TSS of 16 or 32 bits. #TS. */
struct soft_stack soft_stack_from_tss(struct soft_vcpu *c, unsigned dpl);
/* RSP from the 64-bit TSS: `ist` 1-7, or 0 for RSP0-2. */
uint64_t soft_rsp_from_tss(struct soft_vcpu *c, unsigned dpl, unsigned ist);

/* --- transfers -------------------------------------------------------------------------------- */

enum soft_task_cause { TASK_JUMP, TASK_CALL, TASK_IRET };
/* `error` is pushed on the new task's stack if has_error. Writes all of the state. (task.c) */
void soft_task_switch(struct soft_vcpu *c, uint16_t selector, enum soft_task_cause cause,
		      uint64_t return_rip, bool has_error, uint32_t error);
/* Privilege-lowering returns drop data segments that the new CPL may not use. */
void soft_drop_segments(struct soft_vcpu *c, unsigned cpl);
void soft_check_segment_access(struct soft_vcpu *c, const struct x86_segment *seg, uint64_t offset,
			       unsigned size, enum soft_access access, enum x86_vector vector,
			       uint32_t error);

/* --- exceptions and events -------------------------------------------------------------------- */

enum soft_event_kind { EVENT_FAULT, EVENT_TRAP, EVENT_SOFTWARE, EVENT_EXTERNAL };
struct soft_event {
	uint8_t vector;
	uint8_t kind; /* enum soft_event_kind */
	bool has_error;
	uint32_t error;
	uint64_t rip; /* to return to */
};
/* Through the IDT or IVT, raising what goes wrong. (deliver.c) */
void soft_event_enter(struct soft_vcpu *c, const struct soft_event *event);
/* Same, turning nested faults into double fault and shutdown (false). (exception.c) */
bool soft_event_deliver(struct soft_vcpu *c, const struct soft_event *event);

/* debug.c */
/* IN and OUT: I/O breakpoints. */
void soft_debug_io(struct soft_vcpu *c, uint16_t port, unsigned size);
void soft_dr7_changed(struct soft_vcpu *c);
/* Set DR6's bits as a #DB does, and raise it as a fault or deliver it as a trap. */
void soft_debug_note(struct soft_vcpu *c, uint64_t dr6_bits);
uint64_t soft_debug_execute_hits(const struct soft_vcpu *c, uint64_t linear);
bool soft_debug_stepping(const struct soft_vcpu *c);

/* events.c */
void soft_interrupts_enabled(struct soft_vcpu *c); /* IF has become 1 */
void soft_nmi_unblock(struct soft_vcpu *c);
void soft_processor_init(struct soft_vcpu *c, bool reset);

/* --- MSRs, clocks, CPUID ---------------------------------------------------------------------- */

bool soft_msr_read(struct soft_vcpu *c, uint32_t msr, uint64_t *value);
bool soft_msr_write(struct soft_vcpu *c, uint32_t msr, uint64_t value);
bool soft_mtrr_read(struct soft_vcpu *c, uint32_t msr, uint64_t *value, bool *known);
bool soft_mtrr_write(struct soft_vcpu *c, uint32_t msr, uint64_t value, bool *known);
void soft_cpuid(struct soft_vcpu *c, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/* Make the table again, with the leaves that tell the TSC's frequency. */
void soft_cpuid_add_clock(struct soft_vcpu *c);

void soft_clock_init(struct soft_vcpu *c);
void soft_clock_destroy(struct soft_vcpu *c);
uint64_t soft_tsc_settled(const struct soft_vcpu *c);
void soft_tsc_write(struct soft_vcpu *c, uint64_t tsc);
int64_t soft_tsc_moment(struct soft_vcpu *c, uint64_t tsc);
void soft_pvclock_update(struct soft_vcpu *c);
void soft_wall_clock_write(struct soft_vcpu *c);
void soft_timer_arm(struct soft_vcpu *c);
extern const struct lapic_ops soft_lapic_ops;

/* --- memory ----------------------------------------------------------------------------------- */

void soft_tlb_init(struct soft_vcpu *c);
struct soft_mmu *soft_mmu_new(void);
void soft_mmu_free(struct soft_mmu *mmu);
/* MOV CR3: `keep` is the no-flush bit; PCIDs are in s.cr3. */
void soft_tlb_cr3_changed(struct soft_vcpu *c, bool keep);
void soft_tlb_flush_pcid(struct soft_vcpu *c, unsigned pcid);
void soft_tlb_flush_pcid_page(struct soft_vcpu *c, unsigned pcid, uint64_t linear);
/* Every PCID's, without the global pages. */
void soft_tlb_flush_all_non_global(struct soft_vcpu *c);
/* PAE: read and check the four top entries at `cr3`; false: #GP. With `commit`, use them. */
bool soft_pdptes_load(struct soft_vcpu *c, uint64_t cr3, bool commit);
/* The state was replaced: read them again when they are needed. */
void soft_pdptes_forget(struct soft_vcpu *c);

/* --- instructions (ops_*.c), listed in ops.c -------------------------------------------------- */

static inline uint64_t soft_reg_get(const struct soft_vcpu *c, unsigned n, unsigned size)
{
	return c->s.gpr[n] & size_mask(size);
}

/* 32-bit writes clear the upper half, 16-bit ones leave the rest. */
static inline void soft_reg_set(struct soft_vcpu *c, unsigned n, uint64_t value, unsigned size)
{
	if (size == 8)
		c->s.gpr[n] = value;
	else if (size == 4)
		c->s.gpr[n] = (uint32_t)value;
	else
		c->s.gpr[n] = (c->s.gpr[n] & ~size_mask(size)) | (value & size_mask(size));
}
