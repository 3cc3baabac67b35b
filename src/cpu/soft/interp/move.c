/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data movement: MOV, MOVZX, XCHG, CMPXCHG, XADD, LEA, CMOVcc, SETcc, sign extension, BSWAP, XLAT. */
#include "cpu/soft/interp/interp.h"

static void mov_rm_r(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	rm_write(c, i, size, reg_read(c, i, i->x.reg, size));
}

static void mov_r_rm(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	reg_write(c, i, i->x.reg, size, rm_read(c, i, size));
}

static void mov_rm_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	rm_write(c, i, size_w(i), i->x.imm);
}

static void mov_r_imm8(struct soft_vcpu *c, const struct soft_insn *i)
{
	*reg8(c, i, i->x.rm) = (uint8_t)i->x.imm;
}

static void mov_r_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	gpr_write(c, i->x.rm, i->x.op_size, i->x.imm);
}

static void mov_a_moffs(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	uint64_t linear = soft_linear(c, i->x.seg, i->x.disp, size, SOFT_READ);
	gpr_write(c, X86_RAX, size, soft_load(c, linear, size));
}

static void mov_moffs_a(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	uint64_t linear = soft_linear(c, i->x.seg, i->x.disp, size, SOFT_WRITE);
	soft_store(c, linear, c->s.gpr[X86_RAX], size);
}

static void movzx(struct soft_vcpu *c, const struct soft_insn *i)
{
	gpr_write(c, i->x.reg, i->x.op_size, rm_read(c, i, i->x.opcode & 1 ? 2 : 1));
}

static void movsx(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned from = i->x.opcode & 1 ? 2 : 1;
	gpr_write(c, i->x.reg, i->x.op_size, sign_extend(rm_read(c, i, from), from));
}

/* Only in 64-bit mode: elsewhere 63 is ARPL, and system/ has it. */
soft_exec_fn interp_movsxd;


void interp_movsxd(struct soft_vcpu *c, const struct soft_insn *i)
{
	/* Without REX.W it is a plain 16- or 32-bit move. */
	unsigned from = i->x.op_size == 2 ? 2 : 4;
	gpr_write(c, i->x.reg, i->x.op_size, sign_extend(rm_read(c, i, from), from));
}

static void lea(struct soft_vcpu *c, const struct soft_insn *i)
{
	gpr_write(c, i->x.reg, i->x.op_size, soft_ea(c, i));
}

/* With memory, XCHG is locked without asking (SDM vol. 3, 8.1.2.2). */
static void xchg_rm_r(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	struct soft_insn locked = *i;
	locked.x.prefixes |= X86_PREFIX_LOCK;
	uint64_t old = rmw(c, &locked, size, alu_mov, reg_read(c, i, i->x.reg, size));
	reg_write(c, i, i->x.reg, size, old);
}

static void xchg_r_a(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	/* 90 without REX.B is NOP (and F3 90 PAUSE), not a 32-bit exchange that clears bits. */
	if (i->x.rm == X86_RAX)
		return;
	uint64_t a = c->s.gpr[X86_RAX];
	gpr_write(c, X86_RAX, size, c->s.gpr[i->x.rm]);
	gpr_write(c, i->x.rm, size, a);
}

static void xadd(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	uint64_t s = reg_read(c, i, i->x.reg, size);
	if (i->x.mod == 3) {
		/* The sum wins if both operands are one register. */
		uint64_t d = reg_read(c, i, i->x.rm, size);
		uint64_t r = alu_add(&c->flags, d, s, size);
		reg_write(c, i, i->x.reg, size, d);
		reg_write(c, i, i->x.rm, size, r);
		return;
	}
	reg_write(c, i, i->x.reg, size, rmw(c, i, size, alu_add, s));
}

static void cmpxchg_done(struct soft_vcpu *c, unsigned size, uint64_t found)
{
	uint64_t a = c->s.gpr[X86_RAX] & size_mask(size);
	alu_sub(&c->flags, a, found, size);
	if (a != found)
		gpr_write(c, X86_RAX, size, found);
}

static void cmpxchg(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	uint64_t a = c->s.gpr[X86_RAX] & size_mask(size), new = reg_read(c, i, i->x.reg, size);
	if (i->x.mod == 3) {
		uint64_t d = reg_read(c, i, i->x.rm, size);
		cmpxchg_done(c, size, d);
		if (d == a)
			reg_write(c, i, i->x.rm, size, new);
		return;
	}
	uint64_t linear = soft_operand(c, i, size, SOFT_WRITE), found = a;
	struct rmw_target t = rmw_begin(c, linear, size);
	if (t.p) {
		host_cas(t.p, size, &found, new);
		rmw_done(c, &t, size);
	} else {
		interp_split_lock(c);
		found = soft_load(c, linear, size);
		/* The CPU writes in both cases, the old value if they differ. */
		soft_store(c, linear, found == a ? new : found, size);
		interp_split_unlock(c);
	}
	cmpxchg_done(c, size, found);
}

static bool cmpxchg16b_host(void *p, uint64_t old[2], const uint64_t new[2])
{
	bool ok;
	__asm__ volatile("lock; cmpxchg16b %[m]"
			 : [m] "+m"(*(unsigned __int128 *)p), "+a"(old[0]), "+d"(old[1]), "=@ccz"(ok)
			 : "b"(new[0]), "c"(new[1])
			 : "memory");
	return ok;
}

static void cmpxchg16b(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t linear = soft_operand(c, i, 16, SOFT_WRITE);
	if (linear & 15)
		soft_raise_gp(c);
	uint64_t old[2] = { c->s.gpr[X86_RAX], c->s.gpr[X86_RDX] };
	const uint64_t new[2] = { c->s.gpr[X86_RBX], c->s.gpr[X86_RCX] };
	struct rmw_target t = rmw_begin(c, linear, 16);
	bool equal;
	if (t.p) {
		equal = cmpxchg16b_host(t.p, old, new);
		rmw_done(c, &t, 16);
	} else {
		uint64_t found[2];
		interp_split_lock(c);
		soft_load_bytes(c, linear, found, 16);
		equal = found[0] == old[0] && found[1] == old[1];
		soft_store_bytes(c, linear, equal ? new : found, 16);
		interp_split_unlock(c);
		memcpy(old, found, 16);
	}
	if (equal) {
		c->flags |= X86_FLAG_ZF;
	} else {
		c->flags &= ~(uint64_t)X86_FLAG_ZF;
		c->s.gpr[X86_RAX] = old[0];
		c->s.gpr[X86_RDX] = old[1];
	}
}

static void cmpxchg8b(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (i->x.op_size == 8) {
		cmpxchg16b(c, i);
		return;
	}
	uint64_t linear = soft_operand(c, i, 8, SOFT_WRITE);
	uint64_t a = (uint32_t)c->s.gpr[X86_RAX] | c->s.gpr[X86_RDX] << 32, found = a;
	uint64_t new = (uint32_t)c->s.gpr[X86_RBX] | c->s.gpr[X86_RCX] << 32;
	struct rmw_target t = rmw_begin(c, linear, 8);
	if (t.p) {
		host_cas(t.p, 8, &found, new);
		rmw_done(c, &t, 8);
	} else {
		interp_split_lock(c);
		found = soft_load(c, linear, 8);
		soft_store(c, linear, found == a ? new : found, 8);
		interp_split_unlock(c);
	}
	if (found == a) {
		c->flags |= X86_FLAG_ZF;
	} else {
		c->flags &= ~(uint64_t)X86_FLAG_ZF;
		c->s.gpr[X86_RAX] = (uint32_t)found;
		c->s.gpr[X86_RDX] = found >> 32;
	}
}

static void cmov(struct soft_vcpu *c, const struct soft_insn *i)
{
	/* The operand is read, and a 32-bit destination's upper half cleared, in any case. */
	uint64_t v = rm_read(c, i, i->x.op_size);
	if (!flags_condition(c->flags, i->x.opcode & 0xf))
		v = c->s.gpr[i->x.reg];
	gpr_write(c, i->x.reg, i->x.op_size, v);
}

static void setcc(struct soft_vcpu *c, const struct soft_insn *i)
{
	rm_write(c, i, 1, flags_condition(c->flags, i->x.opcode & 0xf));
}

/* CBW, CWDE, CDQE. */
static void cbw(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	gpr_write(c, X86_RAX, size, sign_extend(c->s.gpr[X86_RAX], size / 2));
}

/* CWD, CDQ, CQO. */
static void cwd(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	gpr_write(c, X86_RDX, size, sign_extend(c->s.gpr[X86_RAX], size) >> 63);
}

static void bswap(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t *r = &c->s.gpr[i->x.rm];
	if (i->x.op_size == 8)
		*r = __builtin_bswap64(*r);
	else if (i->x.op_size == 4)
		*r = __builtin_bswap32((uint32_t)*r);
	else
		*(uint16_t *)r = 0; /* undefined; this is what Intel CPUs do */
}

static void xlat(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t ea = c->s.gpr[X86_RBX] + (uint8_t)c->s.gpr[X86_RAX];
	ea &= size_mask(i->x.addr_size);
	uint64_t linear = soft_linear(c, i->x.seg, ea, 1, SOFT_READ);
	gpr_write(c, X86_RAX, 1, soft_load(c, linear, 1));
}

static void lahf(struct soft_vcpu *c, const struct soft_insn *i)
{
	((uint8_t *)&c->s.gpr[X86_RAX])[1] = (uint8_t)(c->flags & 0xd5) | 2;
}

static void sahf(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->flags = (c->flags & X86_FLAG_OF) | (((uint8_t *)&c->s.gpr[X86_RAX])[1] & 0xd5);
}

#define ROWS8(op, fn)                                                                              \
	OP((op) + 0, -1, fn), OP((op) + 1, -1, fn), OP((op) + 2, -1, fn), OP((op) + 3, -1, fn),    \
	OP((op) + 4, -1, fn), OP((op) + 5, -1, fn), OP((op) + 6, -1, fn), OP((op) + 7, -1, fn)
#define ROWS8_0F(op, fn)                                                                           \
	OP0F((op) + 0, -1, fn), OP0F((op) + 1, -1, fn), OP0F((op) + 2, -1, fn),                    \
	OP0F((op) + 3, -1, fn), OP0F((op) + 4, -1, fn), OP0F((op) + 5, -1, fn),                    \
	OP0F((op) + 6, -1, fn), OP0F((op) + 7, -1, fn)

const struct soft_opcode interp_move_ops[] = {
	OP(0x88, -1, mov_rm_r), OP(0x89, -1, mov_rm_r), OP(0x8a, -1, mov_r_rm),
	OP(0x8b, -1, mov_r_rm), OP(0xc6, 0, mov_rm_imm), OP(0xc7, 0, mov_rm_imm),
	ROWS8(0xb0, mov_r_imm8), ROWS8(0xb8, mov_r_imm),
	OP(0xa0, -1, mov_a_moffs), OP(0xa1, -1, mov_a_moffs), OP(0xa2, -1, mov_moffs_a),
	OP(0xa3, -1, mov_moffs_a), OP0F(0xb6, -1, movzx), OP0F(0xb7, -1, movzx),
	OP0F(0xbe, -1, movsx), OP0F(0xbf, -1, movsx), OP(0x8d, -1, lea),
	OP(0x86, -1, xchg_rm_r), OP(0x87, -1, xchg_rm_r), ROWS8(0x90, xchg_r_a),
	OP0F(0xc0, -1, xadd), OP0F(0xc1, -1, xadd), OP0F(0xb0, -1, cmpxchg),
	OP0F(0xb1, -1, cmpxchg),
	{ .map = X86_MAP_0F, .opcode = 0xc7, .reg = 1, .fn = cmpxchg8b, .form = SOFT_FORM_MEMORY },
	ROWS8_0F(0x40, cmov), ROWS8_0F(0x48, cmov), ROWS8_0F(0x90, setcc), ROWS8_0F(0x98, setcc),
	OP(0x98, -1, cbw), OP(0x99, -1, cwd), ROWS8_0F(0xc8, bswap), OP(0xd7, -1, xlat),
	OP(0x9e, -1, sahf), OP(0x9f, -1, lahf),
	{ 0 },
};
