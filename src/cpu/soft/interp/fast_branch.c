/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Near branches that chain to the next block without the run loop. A direct branch remembers the
 * block it leads to. Inside its page nothing more is to be checked: the page's mapping was when the
 * present block was entered, and nothing in a block can change it.
 */
#include "cpu/soft/interp/fast.h"

/* i->native of a direct branch: two links, not taken and taken. */
ALWAYS_INLINE struct block_link *link_of(const struct soft_insn *i, bool taken)
{
	return (struct block_link *)i->native + taken;
}

ALWAYS_INLINE uint64_t linear_of(const struct soft_vcpu *c, uint64_t rip)
{
	return c->long64 ? rip : (uint32_t)(c->s.seg[X86_CS].base + rip);
}

/* The link cannot be used as it is: look the target up, and remember it if it may be. */
static __attribute__((noinline)) struct block *link_find(struct soft_vcpu *c,
							 const struct soft_insn *i, bool taken,
							 uint64_t target)
{
	c->insn = i;
	if (taken)
		check_target(c, target);
	struct block *b = block_quick(c, target);
	if (!b) {
		c->s.rip = target;
		return NULL;
	}
	if (!b->host2) {
		uint64_t pages = linear_of(c, target) ^ linear_of(c, c->block_rip);
		*link_of(i, taken) = (struct block_link){ .to = b, .far = (pages & ~PAGE_MASK) != 0 };
	}
	return b;
}

/* A link out of the page: is its target still mapped where the block is? */
ALWAYS_INLINE bool far_link_holds(struct soft_vcpu *c, const struct block *to, uint64_t target)
{
	return soft_fetch_host(c, linear_of(c, target)) == to->host;
}

#define RUN_LINK(c, i, taken, target)                                                              \
	do {                                                                                       \
		uint64_t target_ = (target);                                                       \
		const struct block_link *link_ = link_of(i, taken);                                \
		struct block *to_ = link_->to;                                                     \
		if (soft_unlikely(!to_ || to_->dropped ||                                          \
				  atomic_load_explicit(&(c)->pending, memory_order_relaxed) ||     \
				  (link_->far && !far_link_holds(c, to_, target_)) ||              \
				  (!(c)->long64 &&                                                 \
				   target_ + to_->size - 1 > (c)->s.seg[X86_CS].limit))) {         \
			to_ = link_find(c, i, taken, target_);                                     \
			if (!to_)                                                                  \
				return;                                                            \
		}                                                                                  \
		RUN_BLOCK(c, to_, target_);                                                        \
	} while (0)

ALWAYS_INLINE uint64_t target_of(const struct soft_vcpu *c, const struct soft_insn *i)
{
	return ip_mask(insn_next_rip(c, i) + i->x.imm, i->x.op_size);
}

#define JCC_EXEC(cc)                                                                               \
	static void jcc_##cc(struct soft_vcpu *c, const struct soft_insn *i)                       \
	{                                                                                          \
		if (flags_condition(c->flags, cc))                                                 \
			RUN_LINK(c, i, true, target_of(c, i));                                     \
		RUN_LINK(c, i, false, insn_next_rip(c, i));                                        \
	}

JCC_EXEC(0) JCC_EXEC(1) JCC_EXEC(2) JCC_EXEC(3) JCC_EXEC(4) JCC_EXEC(5) JCC_EXEC(6) JCC_EXEC(7)
JCC_EXEC(8) JCC_EXEC(9) JCC_EXEC(10) JCC_EXEC(11) JCC_EXEC(12) JCC_EXEC(13) JCC_EXEC(14)
JCC_EXEC(15)

static soft_exec_fn *const jcc[16] = {
	jcc_0, jcc_1, jcc_2, jcc_3, jcc_4, jcc_5, jcc_6, jcc_7, jcc_8, jcc_9, jcc_10, jcc_11,
	jcc_12, jcc_13, jcc_14, jcc_15,
};

/* --- CMP or TEST between registers (or with an immediate) and the Jcc behind it, as one ------------- */
#define FUSE_EXEC(cc, label, name, bytes, s)                                                       \
	static void label##_##bytes##_##cc(struct soft_vcpu *c, const struct soft_insn *i)         \
	{                                                                                          \
		const unsigned size = bytes;                                                       \
		alu_##name(&c->flags, reg_read(c, i, i->x.rm, size), s, size);                     \
		if (flags_condition(c->flags, cc))                                                 \
			RUN_LINK(c, i + 1, true, target_of(c, i + 1));                             \
		RUN_LINK(c, i + 1, false, insn_next_rip(c, i + 1));                                \
	}
#define FUSE_ALL(label, name, bytes, s)                                                            \
	FUSE_EXEC(0, label, name, bytes, s) FUSE_EXEC(1, label, name, bytes, s)                    \
	FUSE_EXEC(2, label, name, bytes, s) FUSE_EXEC(3, label, name, bytes, s)                    \
	FUSE_EXEC(4, label, name, bytes, s) FUSE_EXEC(5, label, name, bytes, s)                    \
	FUSE_EXEC(6, label, name, bytes, s) FUSE_EXEC(7, label, name, bytes, s)                    \
	FUSE_EXEC(8, label, name, bytes, s) FUSE_EXEC(9, label, name, bytes, s)                    \
	FUSE_EXEC(10, label, name, bytes, s) FUSE_EXEC(11, label, name, bytes, s)                  \
	FUSE_EXEC(12, label, name, bytes, s) FUSE_EXEC(13, label, name, bytes, s)                  \
	FUSE_EXEC(14, label, name, bytes, s) FUSE_EXEC(15, label, name, bytes, s)                  \
	static soft_exec_fn *const label##_##bytes[16] = {                                         \
		label##_##bytes##_0, label##_##bytes##_1, label##_##bytes##_2, label##_##bytes##_3,    \
		label##_##bytes##_4, label##_##bytes##_5, label##_##bytes##_6, label##_##bytes##_7,    \
		label##_##bytes##_8, label##_##bytes##_9, label##_##bytes##_10,                    \
		label##_##bytes##_11, label##_##bytes##_12, label##_##bytes##_13,                  \
		label##_##bytes##_14, label##_##bytes##_15,                                        \
	};
#define FUSE(label, name, s)                                                                       \
	FUSE_ALL(label, name, 1, s)                                                                \
	FUSE_ALL(label, name, 4, s)                                                                \
	FUSE_ALL(label, name, 8, s)

FUSE(fuse_cmp_r, cmp, reg_read(c, i, i->x.reg, size))
FUSE(fuse_cmp_imm, cmp, i->x.imm)
FUSE(fuse_test_r, test, reg_read(c, i, i->x.reg, size))

#define FUSE_PICK(label, size, cc)                                                                 \
	((size) == 8 ? label##_8[cc] : (size) == 4 ? label##_4[cc]                                 \
				     : (size) == 1 ? label##_1[cc] : NULL)

soft_exec_fn *fast_fuse(const struct soft_insn *i)
{
	const struct x86_insn *x = &i->x, *branch = &i[1].x;
	unsigned size = size_w(i), cc = branch->opcode & 0xf;
	if (i[1].exec != jcc[cc] || x->map != X86_MAP_1 || x->mod != 3 || !x->has_modrm)
		return NULL;
	switch (x->opcode) {
	case 0x38: case 0x39:
		return FUSE_PICK(fuse_cmp_r, size, cc);
	case 0x84: case 0x85:
		return FUSE_PICK(fuse_test_r, size, cc);
	case 0x80: case 0x81: case 0x83:
		return (x->reg & 7) == 7 ? FUSE_PICK(fuse_cmp_imm, size, cc) : NULL;
	}
	return NULL;
}

static void jmp(struct soft_vcpu *c, const struct soft_insn *i)
{
	RUN_LINK(c, i, true, target_of(c, i));
}

/* --- 64-bit mode ---------------------------------------------------------------------------------- */
/* Stores the return address; returns where. RSP is the caller's to set, when nothing can fail. */
ALWAYS_INLINE uint64_t store_return(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t sp = c->s.gpr[X86_RSP] - 8, v = insn_next_rip(c, i);
	struct soft_tlb_entry *e = soft_tlb_at(c, sp);
	if (soft_unlikely(sp - e->write > PAGE_SIZE - 8))
		stack_store(c, sp, v, 8);
	else
		host_write((void *)(sp + e->addend), 8, v);
	return sp;
}

static void call_64(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t target = target_of(c, i);
	c->insn = i;
	check_target(c, target);
	c->s.gpr[X86_RSP] = store_return(c, i);
	RUN_LINK(c, i, true, target);
}

static void call_rm_64(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	uint64_t target = rm_read(c, i, 8), sp = store_return(c, i);
	check_target(c, target);
	c->s.gpr[X86_RSP] = sp;
	RUN_AT(c, target);
}

static void jmp_rm_64(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	uint64_t target = rm_read(c, i, 8);
	check_target(c, target);
	RUN_AT(c, target);
}

static void ret_64(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t sp = c->s.gpr[X86_RSP], target;
	struct soft_tlb_entry *e = soft_tlb_at(c, sp);
	c->insn = i;
	if (soft_unlikely(sp - e->read > PAGE_SIZE - 8))
		target = stack_load(c, sp, 8);
	else
		target = host_read((const void *)(sp + e->addend), 8);
	check_target(c, target);
	c->s.gpr[X86_RSP] = sp + 8 + i->x.imm;
	RUN_AT(c, target);
}

static soft_exec_fn *fast_branch64(const struct x86_insn *x)
{
	switch (x->opcode) {
	case 0xe8:
		return call_64;
	case 0xc2: case 0xc3:
		return ret_64;
	case 0xff:
		return (x->reg & 7) == 2 ? call_rm_64 : (x->reg & 7) == 4 ? jmp_rm_64 : NULL;
	}
	return NULL;
}

/* --- 32-bit mode ---------------------------------------------------------------------------------- */
static void call_32(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t target = target_of(c, i);
	c->insn = i;
	check_target(c, target);
	fast_push32(c, i, insn_next_rip(c, i));
	RUN_LINK(c, i, true, target);
}

static void call_rm_32(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	uint64_t target = rm_read(c, i, 4);
	check_target(c, target);
	fast_push32(c, i, insn_next_rip(c, i));
	RUN_AT(c, target);
}

static void jmp_rm_32(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	uint64_t target = rm_read(c, i, 4);
	check_target(c, target);
	RUN_AT(c, target);
}

static void ret_32(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t target = fast_load32(c, i);
	check_target(c, target);
	stack_set(c, c->s.gpr[X86_RSP] + 4 + i->x.imm);
	RUN_AT(c, target);
}

static soft_exec_fn *fast_branch32(const struct x86_insn *x)
{
	if (x->op_size != 4)
		return NULL;
	switch (x->opcode) {
	case 0xe8:
		return call_32;
	case 0xc2: case 0xc3:
		return ret_32;
	case 0xff:
		return (x->reg & 7) == 2 ? call_rm_32 : (x->reg & 7) == 4 ? jmp_rm_32 : NULL;
	}
	return NULL;
}

soft_exec_fn *fast_branch(const struct soft_insn *i, uint32_t mode)
{
	const struct x86_insn *x = &i->x;
	if (mode & BLOCK_MODE_SINGLE)
		return NULL;
	if (x->map == X86_MAP_0F)
		return (x->opcode & 0xf0) == 0x80 ? jcc[x->opcode & 0xf] : NULL;
	if (x->map != X86_MAP_1)
		return NULL;
	if ((x->opcode & 0xf0) == 0x70)
		return jcc[x->opcode & 0xf];
	if (x->opcode == 0xe9 || x->opcode == 0xeb)
		return jmp;
	switch (mode & BLOCK_MODE_DECODE) {
	case X86_DECODE_64:
		return fast_branch64(x);
	case X86_DECODE_32:
		return fast_branch32(x);
	}
	return NULL;
}
