/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near jumps, calls and returns. */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum { CC_E = 4, CC_NE = 5 };

static int64_t next_of(const struct jit_emit *e, const struct x86_insn *x)
{
	return (int64_t)e->insn->offset + x->length;
}

/* Other operand sizes cut off the instruction pointer: the interpreter's. */
static bool is_near(const struct jit_emit *e, const struct x86_insn *x)
{
	return x->op_size == jit_word(e);
}

static void exit_relative(struct jit_emit *e, const struct x86_insn *x, unsigned cc)
{
	jit_exit_direct(e, cc, (int32_t)(next_of(e, x) + (int64_t)x->imm), e->live_taken);
}

static bool emit_jcc(struct jit_emit *e, const struct x86_insn *x)
{
	if (!is_near(e, x))
		return false;
	jit_flags_need(e, JIT_S0);
	if (!jit_loop_back(e, x->opcode & 0xf))
		exit_relative(e, x, x->opcode & 0xf);
	return true;
}

static bool emit_jmp(struct jit_emit *e, const struct x86_insn *x)
{
	if (!is_near(e, x))
		return false;
	if (!jit_loop_back(e, JIT_ALWAYS))
		exit_relative(e, x, JIT_ALWAYS);
	return true;
}

/* JRCXZ +n, over n bytes: like LEA it leaves the flags alone. */
static void skip_if_zero(struct jit_emit *e, uint8_t bytes)
{
	if (!e->wide)
		jit_byte(e, 0x67);
	jit_bytes(e, (const uint8_t[]){ 0xe3, bytes }, 2);
}

/* LOOPNE, LOOPE, LOOP, JRCXZ. */
static bool emit_loop(struct jit_emit *e, const struct x86_insn *x)
{
	enum { JMP = 5, JCC = 6, JMP_SHORT = 2 };
	if (!is_near(e, x) || x->addr_size != jit_word(e))
		return false;
	bool conditional = x->opcode < 0xe2;
	if (conditional)
		jit_flags_need(e, JIT_S0);
	if (x->opcode == 0xe3) {
		skip_if_zero(e, JMP_SHORT);
		jit_bytes(e, (const uint8_t[]){ 0xeb, JMP }, 2);
		exit_relative(e, x, JIT_ALWAYS);
		return true;
	}
	jit_lea_word(e, X86_RCX, (struct jit_at){ X86_RCX, JIT_NONE, 0, -1 });
	skip_if_zero(e, conditional ? JCC : JMP);
	exit_relative(e, x, conditional ? (x->opcode == 0xe0 ? CC_NE : CC_E) : JIT_ALWAYS);
	return true;
}

/* Push the address of the next instruction. */
static void push_return(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	int32_t word = (int32_t)jit_word(e);
	jit_mem_stack(e, -word, (unsigned)word, SOFT_WRITE, &m);
	jit_load(e, m.free, JIT_FIELD(block_rip));
	jit_lea(e, m.free, (struct jit_at){ m.free, JIT_NONE, 0, (int32_t)next_of(e, x) });
	jit_op_rm(e, 0x89 | jit_word_bits(e), m.free, m.at);
	jit_move_stack(e, -word);
}

static bool emit_call(struct jit_emit *e, const struct x86_insn *x)
{
	if (!is_near(e, x))
		return false;
	push_return(e, x);
	exit_relative(e, x, JIT_ALWAYS);
	return true;
}

/* S0 = the operand of an indirect jump or call. */
static bool load_target(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	if (x->mod == 3) {
		jit_op_rr(e, 0x8b | jit_word_bits(e), JIT_S0, jit_get(e, x->rm, JIT_S0));
		return true;
	}
	if (!jit_mem(e, x, jit_word(e), SOFT_READ, &m))
		return false;
	jit_op_rm(e, 0x8b | jit_word_bits(e), JIT_S0, m.at);
	return true;
}

static bool emit_indirect(struct jit_emit *e, const struct x86_insn *x, bool call)
{
	if (!is_near(e, x) || (x->mod != 3 && !jit_mem_supported(e, x)))
		return false;
	jit_flags_clobber(e); /* saving them takes S0 */
	load_target(e, x);
	jit_exit_indirect(e, call, 0);
	return true;
}

static bool emit_jmp_indirect(struct jit_emit *e, const struct x86_insn *x)
{
	return emit_indirect(e, x, false);
}

static bool emit_call_indirect(struct jit_emit *e, const struct x86_insn *x)
{
	return emit_indirect(e, x, true);
}

static bool emit_ret(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	unsigned word = jit_word(e);
	if (!is_near(e, x))
		return false;
	jit_flags_clobber(e);
	jit_mem_stack(e, 0, word, SOFT_READ, &m);
	jit_op_rm(e, 0x8b | jit_word_bits(e), JIT_S0, m.at);
	jit_exit_indirect(e, false, word + (unsigned)x->imm);
	return true;
}

/* --- indirect jumps ---------------------------------------------------------------------------------*/

enum { JUMP_SHIFT = 4, ENTRY_SHIFT = 4, LINE_SHIFT = 6 };
_Static_assert(sizeof(struct soft_jump) == 1 << JUMP_SHIFT, "slots are found by shifting");
_Static_assert(SOFT_JUMPS_IN_LINE * sizeof(struct soft_jump) == 1 << LINE_SHIFT, "so are lines");
_Static_assert(sizeof(struct soft_entry) == 1 << ENTRY_SHIFT, "slots are found by shifting");

static struct jit_at jump_field(unsigned side, size_t field)
{
	size_t at = offsetof(struct soft_vcpu, jit_jumps) +
		    side * sizeof(((struct soft_vcpu *)0)->jit_jumps[0]) + field;
	return (struct jit_at){ JIT_STATE, JIT_S1, 0, (int32_t)at };
}
#define JUMP_FIELD(side, name) jump_field(side, offsetof(struct soft_jump, name))

static struct jit_at entry_field(unsigned side, size_t field)
{
	size_t at = offsetof(struct soft_vcpu, jit_entries) +
		    side * sizeof(((struct soft_vcpu *)0)->jit_entries[0]) + field;
	return (struct jit_at){ JIT_STATE, JIT_S1, 0, (int32_t)at };
}
#define ENTRY_FIELD(side, name) entry_field(side, offsetof(struct soft_entry, name))

/* The mark of the line in RAX. */
static struct jit_at line_used(unsigned side)
{
	size_t at = offsetof(struct soft_vcpu, jit_jumps_used) +
		    side * sizeof(((struct soft_vcpu *)0)->jit_jumps_used[0]);
	return (struct jit_at){ JIT_STATE, X86_RAX, 0, (int32_t)at };
}

/* S1 = the offset of the slot for the address in S0: its low bits. */
static void jump_slot(struct jit_emit *e)
{
	jit_rorx(e, JIT_S1, JIT_S0, 64 - JUMP_SHIFT);
	jit_op_rr(e, 0x81, 4, JIT_S1); /* and */
	jit_u32(e, (SOFT_JUMPS - 1) << JUMP_SHIFT);
}

static void and_page(struct jit_emit *e, unsigned reg)
{
	jit_op_rr(e, 0x81 | JIT_W64, 4, reg);
	jit_u32(e, ~(uint32_t)PAGE_MASK);
}

/* S1 = the offset of the slot in jit_entries for the host address in RAX. */
static void entry_slot(struct jit_emit *e)
{
	jit_mov(e, JIT_S1, X86_RAX);
	jit_op_rr(e, 0xc1 | JIT_W64, 5, JIT_S1); /* shr */
	jit_byte(e, JIT_ENTRY_SHIFT);
	jit_op_rr(e, 0x31, X86_RAX, JIT_S1); /* xor */
	jit_op_rr(e, 0x81, 4, JIT_S1);       /* and */
	jit_u32(e, SOFT_ENTRIES - 1);
	jit_op_rr(e, 0xc1, 4, JIT_S1); /* shl */
	jit_byte(e, ENTRY_SHIFT);
}

/* RAX is free. Jumps that find nothing go into fail[]. */
static void find_entry(struct jit_emit *e, unsigned side, uint8_t *fail[2])
{
	enum soft_tlb_table table = side % SOFT_JIT_TABLES;
	jit_fetch_slot(e, JIT_S0);
	jit_mov(e, X86_RAX, JIT_S0);
	and_page(e, X86_RAX);
	jit_op_rm(e, 0x3b | JIT_W64, X86_RAX,
		  jit_fetch_field(table, offsetof(struct soft_fetch_entry, tag)));
	fail[0] = jit_jump(e, CC_NE);
	jit_load(e, X86_RAX, jit_fetch_field(table, offsetof(struct soft_fetch_entry, addend)));
	jit_op_rr(e, 0x01 | JIT_W64, JIT_S0, X86_RAX); /* add */
	entry_slot(e);
	jit_op_rm(e, 0x3b | JIT_W64, X86_RAX, ENTRY_FIELD(side, host));
	fail[1] = jit_jump(e, CC_NE);
	jit_load(e, X86_RAX, ENTRY_FIELD(side, code));
}

uint8_t *jit_jump_make(struct jit_emit *e, unsigned side)
{
	uint8_t *at = e->p, *fail[2];
	/* pop: state is addressed by rsp */
	jit_op_rm(e, 0x8f, 0, JIT_FIELD(jit_return));
	jit_store(e, X86_RAX, JIT_FIELD(jit_spill));
	find_entry(e, side, fail);
	jump_slot(e);
	jit_store(e, JIT_S0, JUMP_FIELD(side, rip));
	jit_store(e, X86_RAX, JUMP_FIELD(side, code));
	jit_mov(e, X86_RAX, JIT_S1);
	jit_op_rr(e, 0xc1, 5, X86_RAX); /* shr */
	jit_byte(e, LINE_SHIFT);
	jit_op_rm(e, 0xc6, 0, line_used(side)); /* mov */
	jit_byte(e, 1);
	jit_op_rr(e, 0x39, X86_RAX, X86_RAX); /* cmp: ZF */
	jit_bind(fail[0], e->p);
	jit_bind(fail[1], e->p);
	jit_load(e, X86_RAX, JIT_FIELD(jit_spill));
	jit_op_rm(e, 0xff, 4, JIT_FIELD(jit_return));
	return at;
}

/* The jump table is looked into for the address in S0; S1 is its slot. */
struct lookup {
	unsigned side;
	uint8_t *other; /* the jump to where it is not remembered */
	const uint8_t *found;
};

static struct lookup look_up(struct jit_emit *e, unsigned side)
{
	struct lookup l = { .side = side };
	jump_slot(e);
	jit_op_rm(e, 0x3b | JIT_W64, JIT_S0, JUMP_FIELD(side, rip));
	l.other = jit_jump(e, CC_NE);
	l.found = e->p;
	return l;
}

/* To the address in S0, which is the slot's. */
static void go(struct jit_emit *e, unsigned side)
{
	and_page(e, JIT_S0);
	jit_store(e, JIT_S0, JIT_FIELD(block_rip));
	jit_op_rm(e, 0xff, 4, JUMP_FIELD(side, code));
}

/* Out of line: find it by its host address. ZF: it goes on as if it had been remembered. */
static void emit_miss(struct jit_emit *e, const struct lookup *l)
{
	uint8_t *miss = e->p;
	jit_jump_to(e, JIT_CALL, e->jit->thunk_jump[l->side]);
	jit_jump_to(e, CC_E, l->found);
	if (!e->failed)
		jit_bind(l->other, miss);
}

void jit_exit_indirect(struct jit_emit *e, bool call, unsigned pop)
{
	unsigned side = e->unit->side;
	jit_op_rm(e, 0x83, 7, JIT_FIELD(pending));
	jit_byte(e, 0);
	jit_slow_jump(e, CC_NE);
	struct lookup l = look_up(e, side);
	if (call) {
		jit_store(e, JIT_S0, JIT_FIELD(jit_target));
		push_return(e, &e->insn->x);
		jit_load(e, JIT_S0, JIT_FIELD(jit_target));
		jump_slot(e);
	} else if (pop) {
		jit_move_stack(e, (int32_t)pop);
	}
	go(e, side);
	emit_miss(e, &l);
	jit_slow_jump(e, JIT_ALWAYS);
}

void jit_exit_to(struct jit_emit *e, enum soft_tlb_table side)
{
	jit_op_rm(e, 0x83, 7, JIT_FIELD(pending));
	jit_byte(e, 0);
	uint8_t *pending = jit_jump(e, CC_NE);
	struct lookup l = look_up(e, side);
	go(e, side);
	emit_miss(e, &l);
	if (!e->failed)
		jit_bind(pending, e->p);
	jit_jump_to(e, JIT_ALWAYS, e->jit->thunk_goto);
}

#define OPX(m, a, b, d, f, ...)                                                                    \
	{ .map = X86_MAP_##m, .first = a, .last = b, .digit = d, .emit = f, .no_flags = true,      \
	  .ends = true, __VA_ARGS__ }

const struct jit_op jit_branch_ops[] = {
	OPX(1, 0x70, 0x7f, -1, emit_jcc), OPX(0F, 0x80, 0x8f, -1, emit_jcc),
	OPX(1, 0xe0, 0xe0, -1, emit_loop, .use = JIT_ZF), OPX(1, 0xe1, 0xe1, -1, emit_loop, .use = JIT_ZF),
	OPX(1, 0xe2, 0xe3, -1, emit_loop),
	OPX(1, 0xe9, 0xe9, -1, emit_jmp), OPX(1, 0xeb, 0xeb, -1, emit_jmp),
	OPX(1, 0xe8, 0xe8, -1, emit_call), OPX(1, 0xff, 0xff, 2, emit_call_indirect),
	OPX(1, 0xff, 0xff, 4, emit_jmp_indirect), OPX(1, 0xc2, 0xc3, -1, emit_ret),
	{ 0 },
};
