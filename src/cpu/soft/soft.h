/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software engine's vCPU and the contract between its parts:
 *
 *   interp/   decoded-block cache, run loop, integer, string and control-transfer instructions
 *   system/   paging and TLB refill, segments, exceptions and interrupts, system instructions,
 *             MSRs, CPUID, local APIC
 *   native/   x87, MMX, SSE, AVX, AES, SHA...: executed by the host's own instruction on guest state
 *   jit/      the translator: same decoder, same TLB, same state
 *
 * An instruction is a function `exec(c, insn)`. It must raise every fault before it changes
 * architectural state; soft_raise*() does not return (it unwinds to the run loop, which delivers).
 * While it runs, c->insn is the instruction and insn_rip() its address; c->s.rip is stale. Only
 * control transfers write c->s.rip, and they end a block.
 *
 * Threads: a soft_vcpu belongs to its vCPU's thread. Others touch only the _Atomic fields.
 */
#pragma once

#include "cpu/x86/cpuid.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/state.h"
#include "vm/vm.h"

#include <setjmp.h>
#include <stdatomic.h>

struct soft_vcpu;
struct soft_insn;
struct lapic;

typedef void soft_exec_fn(struct soft_vcpu *c, const struct soft_insn *insn);

/*
 * A decoded instruction in a block: what handlers see. `fn` does this one instruction; `exec` is the
 * interpreter's own: it runs fn, or a special form of it, and goes on to the next instruction.
 */
struct soft_insn {
	soft_exec_fn *exec, *fn;
	struct x86_insn x;
	uint16_t offset; /* from the block's first byte */
	bool ends;       /* the last of its block: fn writes c->s.rip */
	void *native;    /* native/'s stub for it, found at first execution, or NULL */
};

/*
 * Registration: each part exports arrays ended by fn == NULL; interp/ merges them into one dispatch
 * table. `reg` is the ModRM /digit that selects the instruction, or -1 for any.
 */
struct soft_opcode {
	uint8_t map, opcode;
	int8_t reg;
	soft_exec_fn *fn;
	/*
	 * The block must end with this instruction: it transfers control, or may change how what
	 * follows is decoded, translated or interrupted. Its fn writes c->s.rip in every case.
	 */
	bool ends;
	/* Of entries that fit, one with more conditions wins: form, then prefix. */
	uint8_t form;    /* enum soft_form */
	uint16_t prefix; /* one X86_PREFIX_* that must be there, or 0 */
};
enum soft_form { SOFT_FORM_ANY, SOFT_FORM_MEMORY, SOFT_FORM_REGISTER };
/*
 * system/ has: far JMP, CALL, RET, IRET, INT n/INT3/INTO/INT1, HLT, CLI, STI, MOV/PUSH/POP of
 * segment registers, LDS..LGS, ARPL, 0F 00, 0F 01, LAR, LSL, SYSCALL.., MOV CR/DR, RDTSC, CPUID, MSRs,
 * RDPMC, INVD, WBINVD, RDPID, INVPCID, FS/GS base, XGETBV/XSETBV. PUSHF, POPF, IN, OUT, INS and OUTS
 * are interp/'s.
 */
extern const struct soft_opcode soft_system_ops[]; /* system/; interp/ has a list per file */
extern const struct soft_opcode soft_native_ops[]; /* native/ */

/*
 * The TLB: direct-mapped by page number. A tag is the page's linear base; an empty one
 * is that of a page which belongs into another slot, so that no address whatever can match it. A tag is
 * present only when the access needs no further check: page present, permitted at
 * this table's privilege, A (and for writes D) set, plain RAM, and for writes no code on the page
 * and no dirty logging. Everything else takes the slow path. One table per privilege: a supervisor
 * with CR4.SMAP and EFLAGS.AC has its own, so that STAC and CLAC need no flush. System structures
 * (GDT, IDT, TSS) are always read through SOFT_TLB_SUPERVISOR: AC does not count for them.
 * SOFT_TLB_ALIGNED, for user mode with alignment checks, has fetch entries only.
 */
enum soft_tlb_table {
	SOFT_TLB_SUPERVISOR, SOFT_TLB_USER, SOFT_TLB_SMAP_OFF, SOFT_TLB_ALIGNED, SOFT_TLB_TABLES
};
enum { SOFT_TLB_BITS = 12, SOFT_TLB_SIZE = 1 << SOFT_TLB_BITS };

struct soft_tlb_entry {
	uint64_t read, write;
	uintptr_t addend; /* host address = linear + addend */
	uint64_t unused;  /* a power of two: translated code finds slots by shifting */
};

/* Fetches have slots of their own: kernels' text and data would contend for the same ones. */
struct soft_fetch_entry {
	uint64_t tag;
	uintptr_t addend;
};

/*
 * Page 0's, but for slot 0, where that would be a match: memory that nobody has touched yet is an empty
 * table. Code tests tags before anything else: an address that is not canonical may come along.
 */
static inline uint64_t soft_tlb_empty(unsigned slot)
{
	return slot ? 0 : UINT64_C(1) << 63 | PAGE_SIZE;
}

/*
 * Where indirect jumps lead in translated code, a side per TLB table (jit/), and as many again for
 * 32-bit code. All of a side are forgotten when executable mappings change. An entry point is found
 * by its host address, so that it stays what it is until the code there is dropped.
 */
struct soft_jump {
	uint64_t rip; /* of an empty slot: one that belongs into another */
	const uint8_t *code;
};
struct soft_entry {
	const uint8_t *host, *code;
};
enum { SOFT_JUMPS = 2048, SOFT_ENTRIES = 16384, SOFT_JIT_TABLES = SOFT_TLB_SMAP_OFF + 1,
       SOFT_JIT_GROUPS = 12, SOFT_JIT_BORROWERS = 3, SOFT_JUMP_SIDES = 2 * SOFT_JIT_TABLES };
/* What is forgotten together: a cache line's slots. */
enum { SOFT_JUMPS_IN_LINE = 4, SOFT_JUMP_LINES = SOFT_JUMPS / SOFT_JUMPS_IN_LINE };

enum soft_access { SOFT_READ, SOFT_WRITE, SOFT_FETCH };

/* Reasons to leave the fast loop; bits of soft_vcpu.pending. */
enum soft_pending {
	SOFT_PENDING_KICK = 1 << 0,      /* return VCPU_EXIT_KICKED */
	SOFT_PENDING_INTERRUPT = 1 << 1, /* the local APIC or the PIC may have something */
	SOFT_PENDING_NMI = 1 << 2,
	SOFT_PENDING_INIT = 1 << 3,
	SOFT_PENDING_SIPI = 1 << 4,
	SOFT_PENDING_TLB_FLUSH = 1 << 5, /* the memory map or page states changed under us */
	SOFT_PENDING_TRAP = 1 << 6,      /* TF, DR breakpoints, interrupt shadow: after each insn */
	SOFT_PENDING_CODE = 1 << 7,      /* code of ours was overwritten: drop stale blocks */
};

struct soft_vcpu {
	struct x86_state s; /* rflags: arithmetic bits live in `flags` while running */
	/*
	 * OF as translated code keeps it, 0 or 1: the byte in front of the lower flags, so that LAHF and
	 * SETO AL give both in one word. Not at the start of a cache line, which that would lie across.
	 */
	uint8_t jit_unused[15], jit_overflow;
	/* CF PF AF ZF SF OF at their EFLAGS positions. s.rflags' copies of them are stale. */
	uint64_t flags;

	const struct soft_insn *insn; /* being executed */
	uint64_t block_rip;           /* RIP of the current block's first instruction */
	unsigned cpl;                 /* cached */
	enum x86_decode_mode mode;    /* of CS, cached */
	bool long64;                  /* 64-bit code segment in long mode: segment bases are 0 */
	bool flat_data;               /* DS, ES, SS: base 0, limit 4 GiB, writable */
	bool flat32;                  /* 32-bit code and stack, CS flat too */
	struct soft_tlb_entry *tlb;   /* the table for the current privilege */
	unsigned tlb_table;           /* its number */
	/* Translated code addresses these, like everything here, by their offset. */
	uint64_t jit_host_rsp, jit_return, jit_target, jit_spill, jit_frame;
	uint64_t jit_groups[SOFT_JIT_GROUPS];
	uint64_t jit_owners[SOFT_JIT_BORROWERS];
	uint8_t jit_vectors; /* enum jit_vectors: which vector registers are in the host's */
	/*
	 * The same enum: which of them may be brought there without asking anyone. The control
	 * registers permit it and MXCSR is in the host's; what changes that sets 0.
	 */
	uint8_t vectors_allowed;
	/*
	 * The x87 unit's last instruction and operand: what the host's cannot know, since it executes
	 * other code. Translated code has them here.
	 */
	uint64_t x87_ip, x87_dp;
	uint16_t x87_op;
	/*
	 * x87 and MMX instructions may be executed as they are: their state is in the host's unit,
	 * no exception is enabled, CR0 permits it.
	 */
	bool x87_ready;
	bool watching; /* data breakpoints or alignment checks: slow accesses call soft_watch() */

	_Atomic uint32_t pending; /* enum soft_pending; any thread sets bits with soft_post() */
	_Atomic bool halted;      /* waiting in HLT */
	_Atomic bool sleeping;    /* in the futex: soft_post() must wake */
	_Atomic uint32_t wakeups; /* the futex: counts soft_post() calls that found it sleeping */

	/* The fault being raised: filled by soft_raise*(), delivered by the run loop. */
	sigjmp_buf unwind;
	struct {
		uint8_t vector;
		bool has_error;
		uint32_t error;
	} fault;

	bool interrupt_shadow; /* STI, MOV SS: no interrupt before the next instruction */
	bool nmi_blocked;      /* until IRET */
	bool irq_blocked;      /* an interrupt waits for IF; setting IF posts again */
	int64_t tsc_offset;    /* guest TSC = host TSC + this */

	struct vcpu *vcpu;
	struct vm *vm;
	struct lapic *lapic;
	struct soft_engine *engine;  /* shared by the VM's vCPUs: cpu/soft/engine.c */
	struct soft_blocks *blocks;  /* interp/'s block cache */
	struct soft_mmu *mmu;        /* system/'s: PCID and large-page bookkeeping */
	struct soft_system *sys;     /* system/'s: debug traps, CPUID, clocks */
	struct soft_native *native;  /* native/'s: stub cache */
	struct jit *jit;             /* jit/'s: code memory; NULL: no translation */

	/* The large ones last, so that what is in use all the time is in a few cache lines. */
	struct soft_tlb_entry tlbs[SOFT_TLB_TABLES][SOFT_TLB_SIZE];
	struct soft_fetch_entry fetches[SOFT_TLB_TABLES][SOFT_TLB_SIZE];
	struct soft_jump jit_jumps[SOFT_JUMP_SIDES][SOFT_JUMPS];
	uint8_t jit_jumps_used[SOFT_JUMP_SIDES][SOFT_JUMP_LINES]; /* 1: lines with slots that are not empty */
	struct soft_entry jit_entries[SOFT_JUMP_SIDES][SOFT_ENTRIES];
};

static inline struct soft_vcpu *soft_of(struct vcpu *vcpu)
{
	return vcpu->engine_data;
}

static inline uint64_t insn_rip(const struct soft_vcpu *c, const struct soft_insn *i)
{
	return c->block_rip + i->offset;
}

static inline uint64_t insn_next_rip(const struct soft_vcpu *c, const struct soft_insn *i)
{
	return c->block_rip + i->offset + i->x.length;
}

/*
 * Execute exactly one instruction at c->s.rip, without looking at c->pending (but for code
 * that others have overwritten). True: done. False: it
 * raised c->fault, c->s.rip is its own address and nothing else has changed; the caller may go on
 * with soft_deliver_fault(). For tests and debuggers; on the vCPU's thread, outside soft_run().
 */
bool soft_step(struct soft_vcpu *c);

/* Set bits of c->pending and wake the vCPU if it sleeps in HLT. Any thread. */
void soft_post(struct soft_vcpu *c, uint32_t bits);

/* --- system/exception.c: does not return; state is as before the instruction ------------------ */
_Noreturn void soft_raise(struct soft_vcpu *c, enum x86_vector vector);
_Noreturn void soft_raise_error(struct soft_vcpu *c, enum x86_vector vector, uint32_t error);
/* #GP(0), the commonest. */
_Noreturn void soft_raise_gp(struct soft_vcpu *c);
/* Run loop only: deliver c->fault, raised at `rip`; may end in double fault or shutdown (false). */
bool soft_deliver_fault(struct soft_vcpu *c);
/* INT n, INT3, INTO, ICEBP: software interrupts, from their instruction. Changes s.rip. */
void soft_software_interrupt(struct soft_vcpu *c, uint8_t vector, uint64_t return_rip);
/*
 * Run loop only, between instructions, with c->s.rip the next one, when c->pending is not zero: TLB
 * flush, debug traps, INIT, SIPI, NMI, external interrupts. It clears the bits it has dealt with,
 * never KICK or CODE. False: shutdown.
 *
 * After it the run loop executes at least one instruction (unless the vCPU waits), and exactly one
 * if SOFT_PENDING_TRAP is set: string instructions then stop after one iteration with c->s.rip still
 * theirs. So look at KICK before calling it, not between it and the instruction.
 *
 * HLT leaves c->s.activity = X86_HALTED and c->halted set; a delivered event clears both. Waiting:
 *	while (activity != X86_RUNNING && !soft_has_wakeup(c) && no KICK)
 *		sleep until soft_post() or the deadline soft_timer_deadline(c) (CLOCK_MONOTONIC, ns)
 * and then soft_handle_events().
 */
bool soft_handle_events(struct soft_vcpu *c);
/* Would soft_handle_events() let a vCPU that waits in HLT, or for INIT or SIPI, go on? */
bool soft_has_wakeup(struct soft_vcpu *c);
int64_t soft_timer_deadline(struct soft_vcpu *c);

/* --- system/mode.c ---------------------------------------------------------------------------- */
/* Recompute cpl, mode, long64, flat_data, tlb after a change of CS, SS, CR0, EFER or RFLAGS.VM. */
void soft_mode_changed(struct soft_vcpu *c);
uint64_t soft_rflags_get(const struct soft_vcpu *c);
/* Replaces all flags, with side effects (pending traps). Privilege rules are the caller's. */
void soft_rflags_set(struct soft_vcpu *c, uint64_t rflags);
/* Load a data segment, SS, FS or GS with all checks (MOV, POP, LDS...). May raise. */
void soft_load_segment(struct soft_vcpu *c, enum x86_seg_index index, uint16_t selector);
/* Far JMP, CALL, RET, IRET; `size` is the operand size 2, 4 or 8. They write s.rip. May raise. */
void soft_far_jump(struct soft_vcpu *c, uint16_t selector, uint64_t offset, unsigned size);
void soft_far_call(struct soft_vcpu *c, uint16_t selector, uint64_t offset, unsigned size,
		   uint64_t return_rip);
void soft_far_return(struct soft_vcpu *c, unsigned size, unsigned pop_bytes);
void soft_iret(struct soft_vcpu *c, unsigned size);
/* I/O permission: CPL <= IOPL or the TSS bitmap, else #GP. */
void soft_check_io(struct soft_vcpu *c, uint16_t port, unsigned size);

/* --- system/mmu.c ----------------------------------------------------------------------------- */
/*
 * The slow path of an access that stays inside one page: translate, raise #PF, fill the TLB. Returns
 * the host address if the page is RAM or ROM that `access` may touch directly, or NULL with
 * *phys set if the access must go through space_read() or space_write() (MMIO, ROM write). The
 * caller must call soft_note_write() after a direct write when *watched comes back true.
 */
void *soft_translate(struct soft_vcpu *c, uint64_t linear, enum soft_access access, uint64_t *phys,
		     bool *watched);
/* As `c` would access at privilege `user`: for system structures (GDT, IDT, TSS) pass false. */
void *soft_translate_as(struct soft_vcpu *c, uint64_t linear, enum soft_access access, bool user,
			uint64_t *phys, bool *watched);
/* Debugger's view: no fault, no A/D, no TLB. False if not mapped. */
bool soft_probe(struct soft_vcpu *c, uint64_t linear, uint64_t *phys);
void soft_note_write(struct soft_vcpu *c, uint64_t phys, unsigned length);
void soft_tlb_flush_all(struct soft_vcpu *c);
void soft_tlb_flush_non_global(struct soft_vcpu *c);
void soft_tlb_flush_page(struct soft_vcpu *c, uint64_t linear);
/* Take away direct write access to a host page: no TLB entry may bypass the check for code. */
void soft_tlb_protect(struct soft_vcpu *c, const uint8_t *host_page);
/* The memory map or page states have changed: first-level TLB and cached ranges go. */
void soft_memory_changed(struct soft_vcpu *c);

/*
 * Data breakpoints: pages that hold one never get a tag, so every access to them is a slow one.
 * Slow paths call this first if c->watching; the trap comes after the instruction. Alignment checks
 * (#AC) work the same way, but fault.
 */
void soft_watch(struct soft_vcpu *c, uint64_t linear, unsigned size, enum soft_access access);
/*
 * An access of 1 to 8 bytes, inside one page, to what soft_translate() gave only `phys` for: the
 * vCPU's own APIC page, else the memory space.
 */
uint64_t soft_mmio_read(struct soft_vcpu *c, uint64_t phys, unsigned size);
void soft_mmio_write(struct soft_vcpu *c, uint64_t phys, uint64_t value, unsigned size);

/* --- system/vcpu.c: what the engine's operations call ----------------------------------------- */
/* What soft executes on this host, for cpu_model_parse() and vm_create checks. */
void soft_features(struct cpu_features *features);
/* Allocates mmu, sys and lapic; c->vcpu, c->vm are set. */
bool soft_system_create(struct soft_vcpu *c, GError **error);
void soft_system_destroy(struct soft_vcpu *c);
/* RESET: all of c->s, the local APIC, the TLB, c->pending's event bits. */
void soft_system_reset(struct soft_vcpu *c);
/* Between c and the whole architectural state, `flags`, TSC and APIC included. */
void soft_state_get(struct soft_vcpu *c, struct x86_state *state);
void soft_state_set(struct soft_vcpu *c, const struct x86_state *state);
/* Stop the guest's clocks and timers while the VM is paused. All vCPUs are parked. */
void soft_clocks_run(struct vm *vm, bool running);
/* Any thread. */
void soft_msi_send(struct vm *vm, uint64_t address, uint32_t data);
void soft_extint_set(struct vm *vm, bool level);

/* The VM's power-on is now: sets vm->epoch_ns, and the TSC that belongs to it. */
void soft_clocks_begin(struct soft_engine *engine);
uint64_t soft_tsc(const struct soft_vcpu *c);
/*
 * The TSC's frequency in kHz, the same for ever. Where the host does not say it, it is measured from
 * power-on to the first call, which takes 3 ms at least: so not before somebody needs it. Any thread.
 */
uint32_t soft_tsc_khz(const struct soft_vcpu *c);
/* Does the guest's CPUID show `mask` of `word`? Cheap. */
bool soft_has_feature(const struct soft_vcpu *c, enum cpu_feature_word word, uint32_t mask);

/* --- native/ ---------------------------------------------------------------------------------- */
/* c->native. `c` needs no state yet. */
bool soft_native_create(struct soft_vcpu *c, GError **error);
void soft_native_destroy(struct soft_vcpu *c);
/*
 * While the vCPU runs, its x87 state and MXCSR are in the host's, and the image in c->s.fpu is behind.
 * Copy them back and forget them. On the vCPU's thread: when leaving the run loop, and before anyone
 * but native/ reads or writes c->s.fpu. Cheap if there is nothing to do.
 */
void soft_native_sync(struct soft_vcpu *c);
/*
 * c->s.fpu has been set from outside, outside the run loop: components that its header leaves out are
 * in their initial state (SDM vol. 1, 13.6).
 */
void soft_native_import(struct soft_vcpu *c);
/* Before calling device models: C code must not compute with the guest's rounding mode. Cheap. */
void soft_native_settle(struct soft_vcpu *c);

/* --- jit/jit.c ---------------------------------------------------------------------------------- */
/* exec of a block's first instruction: count, translate, enter. */
extern soft_exec_fn jit_exec_head;

/* --- interp/blocks.c -------------------------------------------------------------------------- */
/* Forget all decoded code of the vCPU. On its thread, or while it does not run. */
void soft_blocks_flush(struct soft_vcpu *c);

#define soft_unlikely(x) __builtin_expect(!!(x), 0)
