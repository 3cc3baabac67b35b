/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the translator.
 *
 * Registers in translated code:
 *   rsp           the vCPU: state is [rsp + offset]. Calls into C switch to the thread's stack.
 *   rax..rdi, r8..r12  the guest's of the same number (but rsp)
 *   r13           the guest's rsp
 *   r14, r15      scratch: JIT_S0, JIT_S1
 *   The guest's r13, r14, r15 stay in c->s.gpr.
 *
 * Flags: the guest's arithmetic flags are in the host's EFLAGS or in c->flags, or both; e->flags_host
 * and e->flags_mem say what holds at this point of the code. At a unit's entry they are in c->flags,
 * unless the unit writes them all before it reads any (live_in).
 *
 * Memory: only through jit_mem(), which emits the TLB lookup. If it fails, the whole instruction is
 * done by the interpreter (its fn), out of line, and the code goes on behind the instruction. So an
 * emitter must leave guest state alone until its last lookup has succeeded, and must produce in one
 * go what fn would: registers, memory, flags.
 *
 * Faults: fn raises them, with every guest register in c->s and c->insn set. Emitted code itself must
 * not be able to fault.
 *
 * An emitter is in the table (table.c) by opcode. It returns false, having emitted nothing, for forms
 * that it does not do; then the interpreter's fn is called from the unit.
 */
#pragma once

#include "cpu/soft/interp/exec.h"
#include "cpu/soft/jit/jit.h"

enum { JIT_S0 = 14, JIT_S1 = 15, JIT_STATE = X86_RSP, JIT_GUEST_RSP = 13, JIT_NONE = 0xff };

/* Flags as bits of a byte: liveness masks. */
enum {
	JIT_CF = 1, JIT_PF = 2, JIT_AF = 4, JIT_ZF = 8, JIT_SF = 16, JIT_OF = 32, JIT_FLAGS = 63,
};

enum {
	JIT_INSNS_MAX = 64,
	JIT_UNIT_MAX = 48 << 10, /* bytes of code that a unit may need */
	JIT_SLOW_MAX = 3 * JIT_INSNS_MAX,
	JIT_GROUPS_MAX = SOFT_JIT_GROUPS,
	JIT_EXITS_MAX = JIT_INSNS_MAX + 3 + JIT_GROUPS_MAX,
	JIT_ENTRY_SHIFT = 11,
	JIT_PEEKS_MAX = 8,
	JIT_PEEK_INSNS = 5,
};

struct jit_link;

struct jit_unit {
	const uint8_t *code; /* where to enter it */
	struct block *block;
	struct jit_link *incoming; /* jumps that lead here directly */
	/* The same without a frame, once it was needed, and the jump (its rel32) that leads there. */
	struct jit_unit *plain;
	uint8_t *to_plain;
	uint8_t live_in;           /* flags that it may look at before it writes them: JIT_FLAG_* */
	uint8_t table;             /* enum soft_tlb_table */
	uint8_t side;              /* of the jump tables */
	uint16_t count;
};

/* A direct jump out of a unit. Its code has up to three places to be patched. */
struct jit_link {
	struct jit_unit *to;      /* NULL: not linked */
	struct jit_link *next;    /* of those that lead to the same unit */
	struct jit_unit *from;
	int32_t target;           /* from the first byte of `from`'s page */
	bool far;                 /* the target is on another page */
	uint8_t *source;          /* the jump's rel32: to `save`, or past it */
	uint8_t *save, *direct;   /* code that saves the flags; code that does not */
	uint8_t *final;           /* the last jump's rel32 */
	uint8_t *resolve;         /* code that calls jit_help_link() */
	uint8_t *host_page;       /* far: the 8 bytes that the TLB's answer is compared with */
};

/* x87 instructions whose FIP and FDP are not in c->x87_ip and x87_dp yet; NULL: none. */
struct jit_x87_last {
	const struct soft_insn *insn, *data;
};

/* An out-of-line piece: a failed TLB lookup. */
struct jit_slow {
	const struct soft_insn *insn;
	uint8_t *from[8];     /* rel32s of the jumps that come here */
	uint8_t from_count;
	bool ends;            /* the instruction ends the block: it does not come back */
	uint8_t restore;      /* flags that the code behind wants in the host */
	uint8_t vectors;      /* and the vector registers: enum jit_vectors */
	bool borrowed;        /* and the registers that are borrowed */
	bool x87;             /* and c->x87_ready */
	struct jit_x87_last x87_last; /* to be stored first */
	uint8_t *back;
};

struct jit_exit {
	struct jit_link *link;
	uint8_t *from;       /* rel32 of the jump that leaves */
	uint8_t save_flags;  /* these are in the host only, and may be wanted where it leads */
	bool backward;
	bool borrowed; /* registers are */
};

/* Code on the same page that an exit leads to: what it does with the flags was found out. */
struct jit_peek {
	uint16_t offset, size; /* in the page; size: how much of it was looked at */
	uint8_t live;
	uint8_t bytes[JIT_PEEK_INSNS * X86_INSN_MAX];
};

/* What the unit's instructions do with the flags: flags.c. */
struct jit_effects {
	const struct jit_op *op[JIT_INSNS_MAX];
	uint8_t use[JIT_INSNS_MAX], kill[JIT_INSNS_MAX];
	/* Wanted before it, by what follows it, and where its jump leads. */
	uint8_t before[JIT_INSNS_MAX], after[JIT_INSNS_MAX], taken[JIT_INSNS_MAX];
	unsigned peek_count;
	struct jit_peek peek[JIT_PEEKS_MAX];
};

/* Accesses through the stack pointer, in bytes from where it is at the first: frame.c. */
struct jit_frame {
	bool used;
	unsigned first; /* the lookup is in front of this instruction */
	unsigned known; /* up to this instruction `delta` is right */
	unsigned accesses;
	int32_t lo, hi;
	/* S1 is the addend, now and in front of the present instruction: encode.c watches S1. */
	bool at_hand, was_at_hand;
	/* By how much the guest's rsp has moved on from its host register, now and in front of it. */
	int32_t behind, was_behind;
	int32_t delta[JIT_INSNS_MAX];
};

/* Accesses through the same registers, in bytes from where those lead at the first: group.c. */
struct jit_group {
	uint8_t base, index, scale;
	bool write;
	uint8_t first, accesses; /* the first one's instruction */
	int32_t lo, hi;
};

struct jit_groups {
	unsigned count;
	const uint8_t *entered_at; /* if no code has been emitted since: S0 is a group's address */
	struct jit_group group[JIT_GROUPS_MAX];
	/* By instruction: its access's group or -1, and where in it. */
	int8_t at[JIT_INSNS_MAX];
	int32_t offset[JIT_INSNS_MAX];
};

/* Guest registers that have a host register in this unit only: borrow.c. */
struct jit_borrow {
	bool now;
	unsigned count;
	uint8_t guest[SOFT_JIT_BORROWERS], host[SOFT_JIT_BORROWERS];
};

struct jit_emit {
	struct soft_vcpu *c;
	struct jit *jit;
	struct jit_unit *unit;
	const struct soft_insn *insn;
	const struct jit_op *op;
	uint8_t *p, *end;
	uint8_t nowhere[16]; /* what finds no room is written here: longer than any host instruction */
	bool failed; /* out of room somewhere: the unit is thrown away */

	bool flags_host, flags_mem;
	uint8_t use, kill; /* of this instruction: flags read, flags surely written */
	uint8_t live;      /* after it */
	uint8_t live_before, live_taken; /* taken: where its jump leads */
	uint8_t vectors; /* enum jit_vectors: at least these are in the host here */

	bool x87;        /* c->x87_ready is true here */
	struct jit_x87_last x87_last;

	struct jit_effects effects;
	struct jit_borrow borrow;
	/* Where a loop begins again, with the frame to be looked up or (if not NULL) behind that. */
	const uint8_t *loop, *loop_framed;
	/* The unit's: `offset` counts from the page's first byte. `kept`: copies that code refers to. */
	struct soft_insn insns[JIT_INSNS_MAX];
	const struct soft_insn *kept[JIT_INSNS_MAX];
	struct jit_frame frame;
	struct jit_groups groups;
	uint8_t *to_plain[2]; /* rel32s of the jumps to the same without them */
	unsigned to_plain_count;
	bool quiet; /* this emitter leaves EFLAGS alone between its lookup and its instruction */

	bool wide;         /* 64-bit code */
	bool closed;       /* the last instruction emitted does not go on to the next */
	struct jit_slow slow[JIT_SLOW_MAX];
	unsigned slow_count, insn_slow; /* insn_slow: the first of this instruction's */
	struct jit_exit exits[JIT_EXITS_MAX];
	unsigned exit_count;
};

typedef bool jit_emit_fn(struct jit_emit *e, const struct x86_insn *x);

/* Roles of ModRM operands that are general registers or plain memory of their size. */
enum jit_role { JIT_UNUSED, JIT_R, JIT_W, JIT_RW };
/* Operand sizes. B: 1; V: op_size; BV: by the opcode's low bit. */
enum jit_size { JIT_SIZE_NONE, JIT_SIZE_B, JIT_SIZE_W, JIT_SIZE_D, JIT_SIZE_V, JIT_SIZE_BV };

enum jit_imm { JIT_IMM_NONE, JIT_IMM_B, JIT_IMM_Z };

/* VEX gives an opcode another meaning, as a rule. */
enum jit_encoding { JIT_LEGACY, JIT_VEX, JIT_EITHER };

struct jit_op {
	uint8_t map, first, last;
	int8_t digit; /* ModRM /digit, or -1 */
	jit_emit_fn *emit;
	uint8_t use, kill; /* flags read; flags always written. The rest it may write or leave */
	uint8_t reg, rm;   /* enum jit_role */
	uint8_t reg_size, rm_size; /* enum jit_size */
	uint8_t imm;       /* enum jit_imm */
	uint8_t encoding;  /* enum jit_encoding */
	bool no_flags;     /* leaves all flags alone */
	bool x87;          /* flags and FIP as x87.c says */
	bool ends;         /* emits its own exits; nothing follows but a fall-through */
	bool goes_on;      /* where it ends the interpreter's blocks, it does not end units */
};

/* Lists ended by emit == NULL; table.c names them all. */
extern const struct jit_op jit_integer_ops[], jit_stack_ops[], jit_branch_ops[],
	jit_vector_ops[], jit_bmi_ops[], jit_string_ops[],
	jit_x87_ops[], jit_divide_ops[], jit_misc_ops[],
	jit_system_ops[];
struct jit;
void jit_table_fill(struct jit *jit);
const struct jit_op *jit_op_find(const struct jit *jit, const struct x86_insn *x);

/* flags.c: what the instruction does with the flags; without an op it may do anything. */
void jit_flags_effect(const struct jit_op *op, const struct x86_insn *x, uint8_t *use,
		      uint8_t *kill);
/*
 * e->effects of the unit's instructions. `page`: the host's address of the page that they are in, for a
 * look at where jumps lead; NULL: none.
 */
void jit_flags_find(struct jit_emit *e, const uint8_t *page);
/* The lines of what was looked at, for soft_engine_code_mark_lines(). Is it still there? */
uint64_t jit_flags_lines(const struct jit_emit *e);
bool jit_flags_same(const struct jit_emit *e, const uint8_t *page);
/* Jcc, LOOP, JRCXZ: the unit goes on behind it. */
bool jit_is_jcc(const struct x86_insn *x);
/* Jcc, JMP, CALL: where it leads is known, unless it cuts off the instruction pointer. */
bool jit_is_direct(const struct jit_emit *e, const struct x86_insn *x);

/* --- encode.c: bytes ----------------------------------------------------------------------------*/
void jit_byte(struct jit_emit *e, uint8_t b);
void jit_bytes(struct jit_emit *e, const void *bytes, unsigned n);
void jit_u32(struct jit_emit *e, uint32_t v);
void jit_u64(struct jit_emit *e, uint64_t v);
/* The end of an instruction. */
void jit_immediate(struct jit_emit *e, const void *bytes, unsigned n);

/* A memory operand of host code; index JIT_NONE for none. */
struct jit_at {
	uint8_t base, index, scale; /* scale 0-3 */
	int32_t disp;
};

/* [prefix][REX][escape] opcode ModRM. `op` is 0x0fXX or 0x0f38XX for the other maps. */
enum { JIT_W64 = 1 << 24, JIT_OPSIZE = 1 << 25, JIT_BYTE_REGS = 1 << 26, JIT_LOCK = 1 << 27,
       JIT_F3 = 1 << 28, JIT_F2 = 1 << 29 };
void jit_op_rr(struct jit_emit *e, uint32_t op, unsigned reg, unsigned rm);
void jit_op_rm(struct jit_emit *e, uint32_t op, unsigned reg, struct jit_at at);

/* What of the guest's LOCK prefix the host's instruction gets: JIT_LOCK or 0. */
uint32_t jit_lock_bit(const struct jit_emit *e, const struct x86_insn *x);

static inline struct jit_at jit_field(size_t offset)
{
	return (struct jit_at){ .base = JIT_STATE, .index = JIT_NONE, .disp = (int32_t)offset };
}
#define JIT_FIELD(name) jit_field(offsetof(struct soft_vcpu, name))
#define JIT_GPR(n)      jit_field(offsetof(struct soft_vcpu, s.gpr) + 8 * (n))

/* 64-bit moves, and a constant in the shortest form. */
void jit_mov(struct jit_emit *e, unsigned to, unsigned from);
void jit_load(struct jit_emit *e, unsigned to, struct jit_at at);
void jit_store(struct jit_emit *e, unsigned from, struct jit_at at);
void jit_lea(struct jit_emit *e, unsigned to, struct jit_at at);
void jit_const(struct jit_emit *e, unsigned to, uint64_t v);
/* RORX to, from, count. */
void jit_rorx(struct jit_emit *e, unsigned to, unsigned from, unsigned count);
/* The mode's word: addresses, stack slots, instruction pointers. */
static inline unsigned jit_word(const struct jit_emit *e)
{
	return e->wide ? 8 : 4;
}
static inline uint32_t jit_word_bits(const struct jit_emit *e)
{
	return e->wide ? JIT_W64 : 0;
}
/* LEA of a word: in 32-bit code the upper half becomes 0. */
void jit_lea_word(struct jit_emit *e, unsigned to, struct jit_at at);
/* Jumps: returns the rel32 to be bound; cc is Jcc's low nibble, or JIT_ALWAYS. */
enum { JIT_ALWAYS = 16, JIT_CALL = 17 };
uint8_t *jit_jump(struct jit_emit *e, unsigned cc);
void jit_bind(uint8_t *rel32, const uint8_t *target);
void jit_jump_to(struct jit_emit *e, unsigned cc, const uint8_t *target);

/* --- state.c: flags and registers ----------------------------------------------------------------*/
/* The host register that holds guest register n here, or JIT_NONE if it is in memory. */
unsigned jit_host_of(const struct jit_emit *e, unsigned n);
/* The same wherever nothing is borrowed: between units, in C. */
unsigned jit_home_of(unsigned n);
/* ... or else `scratch`, loaded from memory. */
unsigned jit_get(struct jit_emit *e, unsigned n, unsigned scratch);
/*
 * The guest's EFLAGS, or at least those in `live`, go from the host's to c->flags. Uses S0, changes
 * EFLAGS.
 */
void jit_flags_save(struct jit_emit *e, uint8_t live);
/*
 * In memory translated code has OF in a byte of its own: to and from where C has it, before C reads c->flags
 * and after it has written them. Changes EFLAGS; `scratch` has a number below 4 or above 7.
 */
void jit_flags_to_c(struct jit_emit *e, unsigned scratch);
void jit_flags_from_c(struct jit_emit *e, unsigned scratch);
/* The host's EFLAGS are about to be clobbered: save what is live before this instruction. */
void jit_flags_clobber(struct jit_emit *e);
/* Have the flags in the host's EFLAGS if the instruction needs them there. */
void jit_flags_need(struct jit_emit *e, unsigned scratch);
/* The code to bring c->flags to EFLAGS, at least those in `needed`. */
void jit_flags_restore_code(struct jit_emit *e, uint8_t needed, unsigned scratch);
/* The instruction was emitted: the flags it writes are in the host. */
void jit_flags_written(struct jit_emit *e);

/* --- mem.c ----------------------------------------------------------------------------------------*/
struct jit_mem {
	struct jit_at at;
	uint8_t free; /* the scratch register that `at` does not use */
};
/*
 * Look up the instruction's memory operand of `size` bytes in the TLB. Clobbers EFLAGS (after saving
 * them as needed) and scratch registers. Use at once. False, with nothing emitted: an operand that
 * only the interpreter does.
 */
bool jit_mem(struct jit_emit *e, const struct x86_insn *x, unsigned size, enum soft_access access,
	     struct jit_mem *m);
/* The pieces of it: S0 = the operand's linear address; S0 += a segment's base, if it counts. */
void jit_mem_linear(struct jit_emit *e, const struct soft_insn *i);
void jit_segment_base(struct jit_emit *e, enum x86_seg_index seg);
/* Look up the linear address in S0; flags are saved already. */
void jit_mem_found(struct jit_emit *e, unsigned size, enum soft_access access, struct jit_mem *m);
/* S1 = the slot's offset for the address in `linear`; a field of that slot in the unit's table. */
void jit_tlb_slot(struct jit_emit *e, unsigned linear);
struct jit_at jit_tlb_field(const struct jit_emit *e, size_t field);
/* The same for a table's fetch entries. */
void jit_fetch_slot(struct jit_emit *e, unsigned linear);
struct jit_at jit_fetch_field(enum soft_tlb_table table, size_t field);
/*
 * S0 = the linear address in `linear`, less its page's; S1 = its slot's offset. By the slow piece
 * unless an access of `size` bytes may go there directly.
 */
void jit_tlb_check(struct jit_emit *e, unsigned linear, unsigned size, enum soft_access access);
/* The same for [guest rsp + disp]. */
void jit_mem_stack(struct jit_emit *e, int32_t disp, unsigned size, enum soft_access access,
		   struct jit_mem *m);
/* S0 = the address of the instruction's memory operand in its segment. */
void jit_mem_address(struct jit_emit *e, const struct soft_insn *i);
bool jit_mem_supported(const struct jit_emit *e, const struct x86_insn *x);
/* A RIP-relative operand's distance from the page's first byte. */
int64_t jit_rip_disp(const struct soft_insn *i);
/* frame.c */
void jit_frame_find(struct jit_emit *e, bool plain);
/* Has the unit looked up [guest rsp + disp], as it is at this instruction? */
bool jit_frame_has(const struct jit_emit *e, int64_t disp, unsigned size);
/* In front of the instruction: the lookup, if it is the first one. */
void jit_frame_enter(struct jit_emit *e);
/*
 * In front of an instruction that cannot do with rsp's register behind its value, and in front of leaving:
 * move it on.
 */
bool jit_frame_may_lag(const struct jit_emit *e);
void jit_frame_catch_up(struct jit_emit *e);
/* In front of the unit's first instruction, by a jump's rel32: to the translation without frames. */
void jit_plain_by(struct jit_emit *e, uint8_t *rel32);
void jit_plain_leave(struct jit_emit *e);
/* group.c: where they are, once the unit is decoded; `plain`: nowhere. */
void jit_groups_find(struct jit_emit *e, bool plain);
/* In front of the instruction: the lookup, if it is a group's first. */
void jit_group_enter(struct jit_emit *e);
/* The instruction's operand, if it is in a group: as jit_mem(). */
bool jit_group_access(struct jit_emit *e, unsigned size, enum soft_access access, struct jit_mem *m);
static inline struct jit_at jit_group_field(unsigned n)
{
	return jit_field(offsetof(struct soft_vcpu, jit_groups) + n * sizeof(uint64_t));
}
/*
 * writes.c, of 64-bit code: bits of the general registers that it may change; of rsp only where that is
 * an operand.
 */
unsigned jit_writes(const struct jit_op *op, const struct x86_insn *x);
/* Does it add a constant to a 64-bit register, and change no other? */
bool jit_adds_constant(const struct x86_insn *x, unsigned *reg, int64_t *by);
/* An operand at a constant distance from the stack pointer, in 64-bit code. */
bool jit_is_local(const struct x86_insn *x);
/*
 * Look up `size` bytes at the address in S0. S1 = its slot, S0 = the offset in the page, or the jump by
 * the rel32 returned is taken. Then S0 = the host address.
 */
uint8_t *jit_tlb_range(struct jit_emit *e, unsigned size, enum soft_access access);
void jit_mem_host_address(struct jit_emit *e, enum soft_access access);
/* The present instruction's slow piece; jumps to it go into from[]. */
void jit_slow_jump(struct jit_emit *e, unsigned cc);

/* The instruction's size for a JIT_SIZE_*; bytes. */
unsigned jit_size_of(const struct x86_insn *x, enum jit_size size);
/* Any instruction whose operands are as its entry says: the host's own, operands renamed. */
bool jit_emit_generic(struct jit_emit *e, const struct x86_insn *x);

/* misc.c: 0F 38 F0 and F1 with F2. */
bool jit_emit_crc32(struct jit_emit *e, const struct x86_insn *x);

/* --- unit.c, thunks.c ------------------------------------------------------------------------------*/
/* The guest's stack pointer += by. */
void jit_move_stack(struct jit_emit *e, int32_t by);
/* Leave to the address `target` bytes from the page's first, by `cc`; `live`: flags wanted there. */
void jit_exit_direct(struct jit_emit *e, unsigned cc, int32_t target, uint8_t live);
/* The same by a jump that was emitted just now, and leads nowhere yet. */
void jit_exit_by(struct jit_emit *e, uint8_t *rel32, int32_t target, uint8_t live);
/* --- borrow.c -------------------------------------------------------------------------------------*/
/* What e->unit will borrow: e->borrow. */
void jit_borrow_find(struct jit_emit *e);
/* The code that borrows, and that gives back. Leaves flags and scratch registers alone. */
void jit_borrow(struct jit_emit *e);
void jit_give_back(struct jit_emit *e);
/* Is there such a jump? */
bool jit_loops(const struct jit_emit *e);
/* The jump by `cc`, if it leads to the unit's beginning and can stay inside; else nothing, and false. */
bool jit_loop_back(struct jit_emit *e, unsigned cc);

/*
 * Leave to the linear address in S0, or if that is not known, by the instruction's slow piece. Before
 * it leaves: `call` pushes the return address, else `pop` bytes are added to the guest's rsp.
 */
void jit_exit_indirect(struct jit_emit *e, bool call, unsigned pop);
/*
 * Does the instruction end the unit? String instructions end a block of the interpreter, since they
 * may be left for an event before they are done; here that is an exit on the side.
 */
bool jit_ends(const struct soft_insn *i);
/* Leave to the linear address in S0 in units of another table; the state is that table's already. */
void jit_exit_to(struct jit_emit *e, enum soft_tlb_table side);
/* One of e->insns that outlives the translation. */
const struct soft_insn *jit_keep(struct jit_emit *e, const struct soft_insn *i);
/* The interpreter's fn, called. */
void jit_call_insn(struct jit_emit *e, const struct soft_insn *i);
void jit_call_end(struct jit_emit *e, const struct soft_insn *i);

/* --- vector.c ------------------------------------------------------------------------------------*/
/*
 * c->jit_vectors: the vector registers' place. C code has them in c->s.fpu; what calls C puts them
 * there (the thunks), and the first vector instruction after it brings them back. LOW: the lower
 * halves are in the host, whose upper ones are zero; the guest's are in c->s.fpu.
 */
enum jit_vectors { JIT_VECTORS_OUT, JIT_VECTORS_LOW, JIT_VECTORS_ALL };
/* The thunk that puts them into c->s.fpu: called, clobbers flags and S1. */
uint8_t *jit_vectors_make_save(struct jit_emit *e);
/*
 * The thunk that brings them in as far as `level`, if c->vectors_allowed: called, clobbers S1. Below
 * (CF): it has not.
 */
uint8_t *jit_vectors_make_in(struct jit_emit *e, unsigned level);
/* Code after a call of jit_help_vectors(): bring in as many as eax says. */
void jit_vectors_load_code(struct jit_emit *e);
/* How much of `wanted` (enum jit_vectors) may be used now. */
const uint8_t *jit_help_vectors(struct soft_vcpu *c, uintptr_t wanted);

/* --- x87.c ----------------------------------------------------------------------------------------*/
/* From here on x87 and MMX instructions may be executed, or this one takes its slow way. */
void jit_x87_need(struct jit_emit *e);
/* A slow piece: is it still so? Then to *there. */
void jit_x87_still(struct jit_emit *e, uint8_t **there);
/* Store FIP and FDP; clobbers S0 and S1. flush: those of the instructions before this one. */
void jit_x87_note(struct jit_emit *e, const struct jit_x87_last *last);
void jit_x87_flush(struct jit_emit *e);
void jit_x87_flags_effect(const struct x86_insn *x, uint8_t *use, uint8_t *kill);

/* --- verify.c -------------------------------------------------------------------------------------*/
/*
 * Does [start, end), code for one instruction or out of line, go to memory by lookups only? NULL, or
 * what is wrong. jit_verify() aborts then.
 */
const char *jit_verify_find(const struct jit_emit *e, const uint8_t *start, const uint8_t *end);
void jit_verify(const struct jit_emit *e, const uint8_t *start, const uint8_t *end);

struct jit {
	int perf_map; /* file, or -1 */
	uint8_t *write, *exec; /* code memory's two views */
	size_t size, used, first; /* first: behind the thunks */
	const uint8_t *enter, *leave, *thunk_insn, *thunk_end, *thunk_link;
	const uint8_t *thunk_jump[SOFT_JUMP_SIDES], *thunk_goto, *thunk_plain;
	const uint8_t *thunk_vectors, *thunk_after, *thunk_before, *vectors_save, *vectors_in[3]; /* write view */
	bool full;
	bool stop; /* code was dropped: what runs must look again */
	bool host_adx; /* the host has ADCX and ADOX; guests always do */
	bool strict; /* tests: flags are right at every fault */
	bool verify; /* tests: every piece of code is checked */
	bool unlocked; /* no LOCK: soft_engine.unlocked */
	unsigned threshold;
	struct jit_emit emit;
	const struct jit_op *table[4][256][8]; /* by map, opcode, ModRM digit */
	uint64_t units, insns, bytes, links, resets;
	uint64_t calls, link_calls, vector_calls;
	uint64_t called_of[4][256]; /* at run time: done by the interpreter, by opcode */
};

void jit_thunks_make(struct jit_emit *e);
/*
 * Called with S0 = an address: remembers in the jump table where it leads. ZF: done. Else only a fetch
 * or the interpreter can tell. Clobbers flags and S1.
 */
uint8_t *jit_jump_make(struct jit_emit *e, unsigned side);
/* NULL: not now, or, with *refused, never. May raise the fetch's fault. */
struct jit_unit *jit_translate(struct soft_vcpu *c, struct block *b, bool *refused);
/* The side of the jump tables that is current; there is one. */
static inline unsigned jit_side(const struct soft_vcpu *c)
{
	return c->tlb_table + (c->long64 ? 0 : SOFT_JIT_TABLES);
}

/* May translated code run now: is memory as it takes it for granted? */
static inline bool jit_may_run(const struct soft_vcpu *c)
{
	return c->tlb_table < SOFT_JIT_TABLES && (c->long64 || c->flat32);
}

/* A slot of c->jit_entries[]. */
static inline unsigned jit_entry_slot(const uint8_t *host)
{
	uintptr_t h = (uintptr_t)host;
	return (h ^ h >> JIT_ENTRY_SHIFT) & (SOFT_ENTRIES - 1);
}

/* Called by thunks; return the code to go on with, or NULL to leave. */
const uint8_t *jit_help_link(struct soft_vcpu *c, struct jit_link *link);
const uint8_t *jit_help_end(struct soft_vcpu *c, const struct soft_insn *i);
/* The unit without a frame, its entry. */
const uint8_t *jit_help_plain(struct soft_vcpu *c, struct jit_unit *u);
/* The same code translated once more; NULL: no room now, or never. */
struct jit_unit *jit_translate_plain(struct soft_vcpu *c, struct jit_unit *u);
/* Go on at the address. */
const uint8_t *jit_help_goto(struct soft_vcpu *c, uint64_t rip);
/* Leave, to go on in front of the instruction in the interpreter, or behind it. */
const uint8_t *jit_help_before(struct soft_vcpu *c, const struct soft_insn *i);
const uint8_t *jit_help_after(struct soft_vcpu *c, const struct soft_insn *i);
/* NULL: go on behind the instruction. */
const uint8_t *jit_help_insn(struct soft_vcpu *c, const struct soft_insn *i);
