/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions that kernels execute at every entry and exit: system calls, the interrupt flag,
 * SWAPGS, STAC and CLAC, the time-stamp counter. What is not the usual case of 64-bit code is their
 * slow piece's: faults, single steps, interrupts that wait for IF.
 *
 * None of them lies: what they leave in c->s and in c's cached modes is what system/ would.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum { CC_E = 4, CC_NE = 5 };

static bool is_user(const struct jit_emit *e)
{
	return e->unit->table == SOFT_TLB_USER;
}

static void test_dword(struct jit_emit *e, struct jit_at at, uint32_t bits)
{
	jit_op_rm(e, 0xf7, 0, at);
	jit_u32(e, bits);
}

static void store_dword(struct jit_emit *e, struct jit_at at, uint32_t value)
{
	jit_op_rm(e, 0xc7, 0, at);
	jit_u32(e, value);
}

static void store_byte(struct jit_emit *e, struct jit_at at, uint8_t value)
{
	jit_op_rm(e, 0xc6, 0, at);
	jit_byte(e, value);
}

static void test_reg(struct jit_emit *e, unsigned reg, uint32_t bits)
{
	jit_op_rr(e, 0xf7, 0, reg);
	jit_u32(e, bits);
}

static void and_reg(struct jit_emit *e, unsigned reg, uint32_t bits)
{
	jit_op_rr(e, 0x81, 4, reg);
	jit_u32(e, bits);
}

/* The tables but the user's are those of CPL 0 to 2. */
static void require_cpl0(struct jit_emit *e)
{
	jit_op_rm(e, 0x83, 7, JIT_FIELD(cpl));
	jit_byte(e, 0);
	jit_slow_jump(e, CC_NE);
}

/* An interrupt waits for IF to become 1. */
static void require_none_waiting(struct jit_emit *e)
{
	jit_op_rm(e, 0x83, 7, JIT_FIELD(pending));
	jit_byte(e, 0);
	jit_slow_jump(e, CC_NE);
	jit_op_rm(e, 0x80, 7, JIT_FIELD(irq_blocked));
	jit_byte(e, 0);
	jit_slow_jump(e, CC_NE);
}

static void use_table(struct jit_emit *e, enum soft_tlb_table table)
{
	jit_lea(e, JIT_S1, jit_field(offsetof(struct soft_vcpu, tlbs) +
				     table * sizeof(((struct soft_vcpu *)0)->tlbs[0])));
	jit_store(e, JIT_S1, JIT_FIELD(tlb));
	store_dword(e, JIT_FIELD(tlb_table), table);
}

/* --- flags ---------------------------------------------------------------------------------------*/

static bool emit_cli(struct jit_emit *e, const struct x86_insn *x)
{
	if (!e->wide || is_user(e))
		return false;
	jit_flags_clobber(e);
	require_cpl0(e);
	jit_op_rm(e, 0x81, 4, JIT_FIELD(s.rflags)); /* and */
	jit_u32(e, ~(uint32_t)X86_FLAG_IF);
	store_byte(e, JIT_FIELD(interrupt_shadow), false);
	return true;
}

static bool emit_sti(struct jit_emit *e, const struct x86_insn *x)
{
	if (!e->wide || is_user(e))
		return false;
	jit_flags_clobber(e);
	require_cpl0(e);
	require_none_waiting(e);
	test_dword(e, JIT_FIELD(s.rflags), X86_FLAG_IF);
	uint8_t *was_set = jit_jump(e, CC_NE);
	jit_op_rm(e, 0x81, 1, JIT_FIELD(s.rflags)); /* or */
	jit_u32(e, X86_FLAG_IF);
	store_byte(e, JIT_FIELD(interrupt_shadow), true);
	if (!e->failed)
		jit_bind(was_set, e->p);
	return true;
}

/* STAC, CLAC. With SMAP in force what follows belongs to another table's units. */
static bool emit_ac(struct jit_emit *e, const struct x86_insn *x)
{
	bool set = x->modrm == 0xcb;
	enum soft_tlb_table table = set ? SOFT_TLB_SMAP_OFF : SOFT_TLB_SUPERVISOR;
	if (!e->wide || is_user(e) || !soft_has_feature(e->c, CPU_WORD_7_0_EBX, 1 << 20))
		return false;
	jit_flags_clobber(e);
	require_cpl0(e);
	if (e->unit->table != table) {
		test_dword(e, JIT_FIELD(s.cr4), X86_CR4_SMAP);
		jit_slow_jump(e, CC_E);
	}
	jit_op_rm(e, 0x81, set ? 1 : 4, JIT_FIELD(s.rflags));
	jit_u32(e, set ? X86_FLAG_AC : ~(uint32_t)X86_FLAG_AC);
	if (e->unit->table != table) {
		use_table(e, table);
		jit_exit_direct(e, JIT_ALWAYS, e->insn->offset + x->length, e->live);
		e->closed = true;
	}
	return true;
}

/* --- clocks and bases ----------------------------------------------------------------------------*/

static bool emit_rdtsc(struct jit_emit *e, const struct x86_insn *x)
{
	if (!e->wide)
		return false;
	jit_flags_clobber(e);
	test_dword(e, JIT_FIELD(s.cr4), X86_CR4_TSD);
	jit_slow_jump(e, CC_NE);
	jit_bytes(e, (const uint8_t[]){ 0x0f, 0x31 }, 2);
	jit_op_rr(e, 0xc1 | JIT_W64, 4, X86_RDX); /* shl */
	jit_byte(e, 32);
	jit_op_rr(e, 0x09 | JIT_W64, X86_RDX, X86_RAX); /* or */
	jit_op_rm(e, 0x03 | JIT_W64, X86_RAX, JIT_FIELD(tsc_offset));
	jit_mov(e, X86_RDX, X86_RAX);
	jit_op_rr(e, 0xc1 | JIT_W64, 5, X86_RDX); /* shr */
	jit_byte(e, 32);
	jit_op_rr(e, 0x89, X86_RAX, X86_RAX);
	return true;
}

static bool emit_swapgs(struct jit_emit *e)
{
	struct jit_at gs = JIT_FIELD(s.seg[X86_GS].base), other = JIT_FIELD(s.msr.kernel_gs_base);
	if (is_user(e))
		return false;
	jit_flags_clobber(e);
	require_cpl0(e);
	jit_load(e, JIT_S0, gs);
	jit_load(e, JIT_S1, other);
	jit_store(e, JIT_S0, other);
	jit_store(e, JIT_S1, gs);
	return true;
}

/* 0F 01 F8-FF: SWAPGS, RDTSCP. */
static bool emit_group7_f8(struct jit_emit *e, const struct x86_insn *x)
{
	if (x->modrm == 0xf8 && e->wide)
		return emit_swapgs(e);
	if (x->modrm != 0xf9 || !soft_has_feature(e->c, CPU_WORD_80000001_EDX, 1 << 27) ||
	    !emit_rdtsc(e, x))
		return false;
	jit_op_rm(e, 0x8b, X86_RCX, JIT_FIELD(s.msr.tsc_aux));
	return true;
}

static bool emit_group7_c8(struct jit_emit *e, const struct x86_insn *x)
{
	return (x->modrm == 0xca || x->modrm == 0xcb) && emit_ac(e, x);
}

/* MOV from a segment register to a general one. */
static bool emit_mov_from_seg(struct jit_emit *e, const struct x86_insn *x)
{
	if (x->mod != 3 || x->reg > X86_GS || x->op_size == 2)
		return false;
	unsigned host = jit_host_of(e, x->rm), to = host == JIT_NONE ? JIT_S0 : host;
	jit_op_rm(e, 0x0fb7, to, jit_field(offsetof(struct soft_vcpu, s.seg) +
					   x->reg * sizeof(struct x86_segment) +
					   offsetof(struct x86_segment, selector)));
	if (host == JIT_NONE)
		jit_store(e, to, JIT_GPR(x->rm));
	return true;
}

/* LFENCE, MFENCE, SFENCE: /5 to /7. */
static bool emit_fence(struct jit_emit *e, const struct x86_insn *x)
{
	uint16_t other = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE | X86_PREFIX_LOCK;
	if (x->mod != 3 || x->prefixes & (other | X86_PREFIX_VEX))
		return false;
	const uint8_t code[] = { 0x0f, 0xae, x->modrm };
	jit_bytes(e, code, sizeof(code));
	return true;
}

/* --- SYSCALL, SYSRET -------------------------------------------------------------------------------*/

/* As set_flat() in system/ops_transfer.c. S1 is the code segment's selector. */
static void set_flat(struct jit_emit *e, unsigned cpl, int ss_from_cs)
{
	static const uint32_t flat = X86_SEG_G | X86_SEG_P | X86_SEG_S | X86_SEG_ACCESSED;
	uint32_t dpl = cpl << X86_SEG_DPL_SHIFT;
	jit_op_rm(e, 0x89 | JIT_OPSIZE, JIT_S1, JIT_FIELD(s.seg[X86_CS].selector));
	jit_lea(e, JIT_S1, (struct jit_at){ JIT_S1, JIT_NONE, 0, ss_from_cs });
	jit_op_rm(e, 0x89 | JIT_OPSIZE, JIT_S1, JIT_FIELD(s.seg[X86_SS].selector));
	jit_op_rm(e, 0xc7 | JIT_W64, 0, JIT_FIELD(s.seg[X86_CS].base));
	jit_u32(e, 0);
	jit_op_rm(e, 0xc7 | JIT_W64, 0, JIT_FIELD(s.seg[X86_SS].base));
	jit_u32(e, 0);
	store_dword(e, JIT_FIELD(s.seg[X86_CS].limit), 0xffffffff);
	store_dword(e, JIT_FIELD(s.seg[X86_SS].limit), 0xffffffff);
	store_dword(e, JIT_FIELD(s.seg[X86_CS].attr),
		    flat | X86_SEG_L | X86_SEG_CODE | X86_SEG_READ | dpl);
	store_dword(e, JIT_FIELD(s.seg[X86_SS].attr), flat | X86_SEG_DB | X86_SEG_WRITE | dpl);
	store_dword(e, JIT_FIELD(cpl), cpl);
	use_table(e, cpl ? SOFT_TLB_USER : SOFT_TLB_SUPERVISOR);
}

/* S1 = bits of STAR, RPL clear. */
static void load_selector(struct jit_emit *e, unsigned byte)
{
	jit_op_rm(e, 0x0fb7, JIT_S1, jit_field(offsetof(struct soft_vcpu, s.msr.star) + byte));
	and_reg(e, JIT_S1, 0xfffc);
}

/* S0 is the new RFLAGS. */
static void commit_flags(struct jit_emit *e)
{
	jit_store(e, JIT_S0, JIT_FIELD(s.rflags));
	and_reg(e, JIT_S0, X86_FLAGS_ARITH);
	jit_store(e, JIT_S0, JIT_FIELD(flags));
	jit_flags_from_c(e, JIT_S0);
}

static bool emit_syscall(struct jit_emit *e, const struct x86_insn *x)
{
	static const uint32_t unusual = X86_FLAG_TF | X86_FLAG_RF;
	if (!e->wide)
		return false;
	jit_flags_clobber(e);
	test_dword(e, JIT_FIELD(s.efer), X86_EFER_SCE);
	jit_slow_jump(e, CC_E);
	jit_load(e, JIT_S0, JIT_FIELD(s.rflags));
	test_reg(e, JIT_S0, unusual);
	jit_slow_jump(e, CC_NE);
	/* S1 = what FMASK keeps; AC must not be among it, or SMAP would be off. */
	jit_load(e, JIT_S1, JIT_FIELD(s.msr.fmask));
	jit_op_rr(e, 0xf7 | JIT_W64, 2, JIT_S1); /* not */
	jit_op_rr(e, 0x21 | JIT_W64, JIT_S0, JIT_S1);
	test_reg(e, JIT_S1, X86_FLAG_AC);
	jit_slow_jump(e, CC_NE);
	and_reg(e, JIT_S0, ~(uint32_t)X86_FLAGS_ARITH);
	jit_flags_to_c(e, JIT_S1);
	jit_op_rm(e, 0x0b | JIT_W64, JIT_S0, JIT_FIELD(flags)); /* or */
	jit_mov(e, 11, JIT_S0);
	jit_load(e, X86_RCX, JIT_FIELD(block_rip));
	jit_lea(e, X86_RCX,
		(struct jit_at){ X86_RCX, JIT_NONE, 0, (int32_t)e->insn->offset + x->length });
	jit_load(e, JIT_S1, JIT_FIELD(s.msr.fmask));
	jit_op_rr(e, 0xf7 | JIT_W64, 2, JIT_S1);
	jit_op_rr(e, 0x21 | JIT_W64, JIT_S1, JIT_S0);
	jit_op_rr(e, 0x83 | JIT_W64, 1, JIT_S0); /* or: bit 1 is always set */
	jit_byte(e, 2);
	commit_flags(e);
	load_selector(e, 4);
	set_flat(e, 0, 8);
	jit_load(e, JIT_S0, JIT_FIELD(s.msr.lstar));
	jit_exit_to(e, SOFT_TLB_SUPERVISOR);
	e->closed = true;
	return true;
}

static bool emit_sysret(struct jit_emit *e, const struct x86_insn *x)
{
	static const uint32_t unusual = X86_FLAG_TF | X86_FLAG_RF | X86_FLAG_VM | X86_FLAG_AC;
	if (!e->wide || x->op_size != 8 || is_user(e))
		return false;
	jit_flags_clobber(e);
	require_cpl0(e);
	require_none_waiting(e);
	test_dword(e, JIT_FIELD(s.efer), X86_EFER_SCE);
	jit_slow_jump(e, CC_E);
	/* Canonical: the same after its upper 16 bits were made copies of bit 47. */
	jit_mov(e, JIT_S1, X86_RCX);
	jit_op_rr(e, 0xc1 | JIT_W64, 4, JIT_S1); /* shl */
	jit_byte(e, 16);
	jit_op_rr(e, 0xc1 | JIT_W64, 7, JIT_S1); /* sar */
	jit_byte(e, 16);
	jit_op_rr(e, 0x39 | JIT_W64, X86_RCX, JIT_S1);
	jit_slow_jump(e, CC_NE);
	test_reg(e, 11, unusual);
	jit_slow_jump(e, CC_NE);
	jit_mov(e, JIT_S0, 11);
	and_reg(e, JIT_S0, 0x3c7fd7);
	jit_op_rr(e, 0x83 | JIT_W64, 1, JIT_S0); /* or */
	jit_byte(e, 2);
	commit_flags(e);
	load_selector(e, 6);
	jit_op_rr(e, 0x83, 0, JIT_S1); /* add: 16, and RPL 3 */
	jit_byte(e, 16 + 3);
	set_flat(e, 3, -8);
	jit_mov(e, JIT_S0, X86_RCX);
	jit_exit_to(e, SOFT_TLB_USER);
	e->closed = true;
	return true;
}

#define OPX(m, op, d, f, ...)                                                                      \
	{ .map = X86_MAP_##m, .first = op, .last = op, .digit = d, .emit = f, .no_flags = true,    \
	  .goes_on = true, __VA_ARGS__ }

const struct jit_op jit_system_ops[] = {
	OPX(1, 0xfa, -1, emit_cli), OPX(1, 0xfb, -1, emit_sti),
	OPX(1, 0x8c, -1, emit_mov_from_seg),
	OPX(0F, 0x01, 1, emit_group7_c8), OPX(0F, 0x01, 7, emit_group7_f8),
	OPX(0F, 0x31, -1, emit_rdtsc),
	OPX(0F, 0xae, 5, emit_fence), OPX(0F, 0xae, 6, emit_fence), OPX(0F, 0xae, 7, emit_fence),
	{ .map = X86_MAP_0F, .first = 0x05, .last = 0x05, .digit = -1, .emit = emit_syscall,
	  .use = JIT_FLAGS, .no_flags = true, .ends = true },
	{ .map = X86_MAP_0F, .first = 0x07, .last = 0x07, .digit = -1, .emit = emit_sysret,
	  .no_flags = true, .ends = true },
	{ 0 },
};
