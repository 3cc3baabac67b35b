/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside the interpreter: operand access, read-modify-write, stack, and the opcode lists of its
 * files. What the handlers here promise is in soft.h: faults first, then changes.
 */
#pragma once

#include "cpu/soft/interp/flags.h"
#include "cpu/soft/mem.h"

/* One list per file, ended by fn == NULL; interp/dispatch.c names them all. */
extern const struct soft_opcode interp_alu_ops[], interp_move_ops[], interp_shift_ops[],
	interp_muldiv_ops[], interp_bit_ops[], interp_bmi_ops[], interp_stack_ops[],
	interp_control_ops[], interp_string_ops[], interp_io_ops[], interp_bcd_ops[],
	interp_misc_ops[];

/* Which handler a decoded instruction has; built once per engine. */
struct interp_dispatch;
struct interp_dispatch *interp_dispatch_new(void);
void interp_dispatch_free(struct interp_dispatch *dispatch);
/* NULL: none, #UD. */
const struct soft_opcode *interp_lookup(const struct interp_dispatch *dispatch,
					const struct x86_insn *x, enum x86_decode_mode mode);

/* --- registers --------------------------------------------------------------------------------- */
/* AH, CH, DH and BH are numbers 4-7 unless there is a REX (SDM vol. 2, 2.2.1.2). */
ALWAYS_INLINE uint8_t *reg8(struct soft_vcpu *c, const struct soft_insn *i, unsigned n)
{
	if ((n & ~3u) == 4 && !(i->x.prefixes & (X86_PREFIX_REX | X86_PREFIX_VEX)))
		return (uint8_t *)&c->s.gpr[n - 4] + 1;
	return (uint8_t *)&c->s.gpr[n];
}

ALWAYS_INLINE uint64_t reg_read(struct soft_vcpu *c, const struct soft_insn *i, unsigned n,
				unsigned size)
{
	switch (size) {
	case 1: return *reg8(c, i, n);
	case 2: return (uint16_t)c->s.gpr[n];
	case 4: return (uint32_t)c->s.gpr[n];
	}
	return c->s.gpr[n];
}

/* 32-bit results clear the upper half; 8- and 16-bit ones leave the rest. */
ALWAYS_INLINE void gpr_write(struct soft_vcpu *c, unsigned n, unsigned size, uint64_t v)
{
	switch (size) {
	case 1: *(uint8_t *)&c->s.gpr[n] = (uint8_t)v; break;
	case 2: *(uint16_t *)&c->s.gpr[n] = (uint16_t)v; break;
	case 4: c->s.gpr[n] = (uint32_t)v; break;
	default: c->s.gpr[n] = v; break;
	}
}

ALWAYS_INLINE void reg_write(struct soft_vcpu *c, const struct soft_insn *i, unsigned n,
			     unsigned size, uint64_t v)
{
	if (size == 1)
		*reg8(c, i, n) = (uint8_t)v;
	else
		gpr_write(c, n, size, v);
}

/* The operand size of opcodes whose low bit says byte or not. */
ALWAYS_INLINE unsigned size_w(const struct soft_insn *i)
{
	return i->x.opcode & 1 ? i->x.op_size : 1;
}

ALWAYS_INLINE uint64_t size_mask(unsigned size)
{
	return size == 8 ? ~UINT64_C(0) : (UINT64_C(1) << (size * 8)) - 1;
}

ALWAYS_INLINE int64_t sign_extend(uint64_t v, unsigned size)
{
	unsigned shift = 64 - size * 8;
	return (int64_t)(v << shift) >> shift;
}

/* --- ModRM operands ----------------------------------------------------------------------------- */
ALWAYS_INLINE uint64_t rm_read(struct soft_vcpu *c, const struct soft_insn *i, unsigned size)
{
	if (i->x.mod == 3)
		return reg_read(c, i, i->x.rm, size);
	return soft_load(c, soft_operand(c, i, size, SOFT_READ), size);
}

ALWAYS_INLINE void rm_write(struct soft_vcpu *c, const struct soft_insn *i, unsigned size, uint64_t v)
{
	if (i->x.mod == 3)
		reg_write(c, i, i->x.rm, size, v);
	else
		soft_store(c, soft_operand(c, i, size, SOFT_WRITE), v, size);
}

/* --- read-modify-write --------------------------------------------------------------------------- */
typedef uint64_t alu_fn(uint64_t *flags, uint64_t d, uint64_t s, unsigned size);

ALWAYS_INLINE uint64_t host_read(const void *p, unsigned size)
{
	uint64_t v = 0;
	memcpy(&v, p, size);
	return v;
}

ALWAYS_INLINE void host_write(void *p, unsigned size, uint64_t v)
{
	memcpy(p, &v, size);
}

/* Atomic compare and exchange of `size` bytes, aligned or not; *old is what was found. */
ALWAYS_INLINE bool host_cas(void *p, unsigned size, uint64_t *old, uint64_t new)
{
	bool ok = false;
	switch (size) {
#define CAS(T, suffix)                                                                             \
	{                                                                                          \
		T o_ = (T)*old;                                                                    \
		__asm__ volatile("lock; cmpxchg" suffix " %[n], %[m]"                              \
				 : [m] "+m"(*(T *)p), "+a"(o_), "=@ccz"(ok)                        \
				 : [n] "r"((T)new)                                                 \
				 : "memory");                                                      \
		*old = o_;                                                                         \
		break;                                                                             \
	}
	case 1: CAS(uint8_t, "b")
	case 2: CAS(uint16_t, "w")
	case 4: CAS(uint32_t, "l")
	default: CAS(uint64_t, "q")
#undef CAS
	}
	return ok;
}

/*
 * A read-modify-write operand. `p` is its host address, NULL if it crosses pages or is MMIO (then
 * it has been checked for writing). After writing through p call rmw_done().
 */
struct rmw_target {
	void *p;
	bool watched; /* code or dirty logging: someone must hear of the write to `phys` */
	uint64_t phys;
};

/* interp/mem.c */
struct rmw_target interp_rmw_slow(struct soft_vcpu *c, uint64_t linear, unsigned size);

ALWAYS_INLINE struct rmw_target rmw_begin(struct soft_vcpu *c, uint64_t linear, unsigned size)
{
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->write > PAGE_SIZE - size))
		return interp_rmw_slow(c, linear, size);
	return (struct rmw_target){ .p = (void *)(linear + e->addend) };
}

ALWAYS_INLINE void rmw_done(struct soft_vcpu *c, const struct rmw_target *t, unsigned size)
{
	if (soft_unlikely(t->watched))
		soft_note_write(c, t->phys, size);
}

/*
 * Atomics on what has no host address (crossing pages, MMIO) exclude each other by the
 * engine's lock. A fault unwinds through the run loop, which releases it.
 */
void interp_split_lock(struct soft_vcpu *c);
void interp_split_unlock(struct soft_vcpu *c);

/* operand = fn(operand, s); returns the old value. */
ALWAYS_INLINE uint64_t rmw(struct soft_vcpu *c, const struct soft_insn *i, unsigned size, alu_fn *fn,
			   uint64_t s)
{
	uint64_t flags = c->flags, d, r;
	if (i->x.mod == 3) {
		d = reg_read(c, i, i->x.rm, size);
		r = fn(&flags, d, s, size);
		reg_write(c, i, i->x.rm, size, r);
		c->flags = flags;
		return d;
	}
	bool lock = i->x.prefixes & X86_PREFIX_LOCK;
	uint64_t linear = soft_operand(c, i, size, SOFT_WRITE);
	struct rmw_target t = rmw_begin(c, linear, size);
	if (soft_unlikely(!t.p)) {
		if (lock)
			interp_split_lock(c);
		d = soft_load(c, linear, size);
		soft_store(c, linear, fn(&flags, d, s, size), size);
		if (lock)
			interp_split_unlock(c);
	} else if (lock) {
		d = host_read(t.p, size);
		do {
			flags = c->flags;
			r = fn(&flags, d, s, size);
		} while (!host_cas(t.p, size, &d, r));
		rmw_done(c, &t, size);
	} else {
		d = host_read(t.p, size);
		host_write(t.p, size, fn(&flags, d, s, size));
		rmw_done(c, &t, size);
	}
	c->flags = flags;
	return d;
}

/* --- stack ----------------------------------------------------------------------------------------*/
/* The stack pointer's width (SDM vol. 1, 6.2.3). */
ALWAYS_INLINE uint64_t stack_mask(const struct soft_vcpu *c)
{
	if (c->long64)
		return ~UINT64_C(0);
	return c->s.seg[X86_SS].attr & X86_SEG_DB ? 0xffffffff : 0xffff;
}

ALWAYS_INLINE void stack_set(struct soft_vcpu *c, uint64_t sp)
{
	uint64_t mask = stack_mask(c);
	/* A 16-bit SP leaves ESP's upper half; a 32-bit one clears RSP's. */
	if (mask == 0xffff)
		*(uint16_t *)&c->s.gpr[X86_RSP] = (uint16_t)sp;
	else
		c->s.gpr[X86_RSP] = sp & mask;
}

/* Store below `sp` bytes off the stack pointer: push without moving it. */
ALWAYS_INLINE void stack_store(struct soft_vcpu *c, uint64_t sp, uint64_t v, unsigned size)
{
	uint64_t linear = soft_linear(c, X86_SS, sp & stack_mask(c), size, SOFT_WRITE);
	soft_store(c, linear, v, size);
}

ALWAYS_INLINE uint64_t stack_load(struct soft_vcpu *c, uint64_t sp, unsigned size)
{
	return soft_load(c, soft_linear(c, X86_SS, sp & stack_mask(c), size, SOFT_READ), size);
}

ALWAYS_INLINE void push(struct soft_vcpu *c, uint64_t v, unsigned size)
{
	uint64_t sp = c->s.gpr[X86_RSP] - size;
	stack_store(c, sp, v, size);
	stack_set(c, sp);
}

ALWAYS_INLINE uint64_t pop(struct soft_vcpu *c, unsigned size)
{
	uint64_t v = stack_load(c, c->s.gpr[X86_RSP], size);
	stack_set(c, c->s.gpr[X86_RSP] + size);
	return v;
}

/* --- control -------------------------------------------------------------------------------------- */
/* Instruction pointers wrap at the operand size (SDM vol. 2, JMP). */
ALWAYS_INLINE uint64_t ip_mask(uint64_t ip, unsigned op_size)
{
	return op_size == 8 ? ip : op_size == 4 ? (uint32_t)ip : (uint16_t)ip;
}

/* #GP if a near branch would leave the canonical range or the code segment. */
ALWAYS_INLINE void check_target(struct soft_vcpu *c, uint64_t target)
{
	if (c->long64) {
		if (soft_unlikely((uint64_t)(((int64_t)target >> 47) + 1) > 1))
			soft_raise_gp(c);
	} else if (soft_unlikely(target > c->s.seg[X86_CS].limit)) {
		soft_raise_gp(c);
	}
}

ALWAYS_INLINE void jump_to(struct soft_vcpu *c, uint64_t target)
{
	check_target(c, target);
	c->s.rip = target;
}

/* The instruction after this one, for instructions that end a block and just go on. */
ALWAYS_INLINE void go_on(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rip = insn_next_rip(c, i);
}

#define OP(op, digit, function)     { .opcode = (op), .reg = (digit), .fn = (function) }
#define OP0F(op, digit, function)                                                                  \
	{ .map = X86_MAP_0F, .opcode = (op), .reg = (digit), .fn = (function) }
#define OP_END(op, digit, function) { .opcode = (op), .reg = (digit), .fn = (function), .ends = true }
#define OP0F_END(op, digit, function)                                                              \
	{ .map = X86_MAP_0F, .opcode = (op), .reg = (digit), .fn = (function), .ends = true }
