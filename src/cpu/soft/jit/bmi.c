/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BMI1, BMI2, ADX and MOVBE: what big-number arithmetic and hashing consist of. The host's own
 * instruction, operands renamed; a memory operand is loaded first, so that both scratch registers
 * are free for those of the guest's registers that live in memory.
 */
#include "cpu/soft/jit/emit.h"

enum {
	BMI1 = 1u << 3, BMI2 = 1u << 8, ADX = 1u << 19, /* CPUID.7.EBX */
	MOVBE = 1u << 22,                               /* CPUID.1.ECX */
};

enum {
	OTHER_PREFIXES = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE,
	VVVV_NONE = 0, VVVV_READ, VVVV_WRITTEN,
};

/* One of the VEX instructions. */
struct bmi {
	uint8_t map, opcode;
	int8_t digit;
	uint8_t pp; /* VEX.pp */
	uint8_t vvvv;
	bool flags; /* writes them */
	uint32_t feature;
};

static const struct bmi instructions[] = {
	{ X86_MAP_0F38, 0xf2, -1, 0, VVVV_READ, true, BMI1 },    /* ANDN */
	{ X86_MAP_0F38, 0xf3, 1, 0, VVVV_WRITTEN, true, BMI1 },  /* BLSR */
	{ X86_MAP_0F38, 0xf3, 2, 0, VVVV_WRITTEN, true, BMI1 },  /* BLSMSK */
	{ X86_MAP_0F38, 0xf3, 3, 0, VVVV_WRITTEN, true, BMI1 },  /* BLSI */
	{ X86_MAP_0F38, 0xf5, -1, 0, VVVV_READ, true, BMI2 },    /* BZHI */
	{ X86_MAP_0F38, 0xf5, -1, 2, VVVV_READ, false, BMI2 },   /* PEXT */
	{ X86_MAP_0F38, 0xf5, -1, 3, VVVV_READ, false, BMI2 },   /* PDEP */
	{ X86_MAP_0F38, 0xf6, -1, 3, VVVV_WRITTEN, false, BMI2 }, /* MULX */
	{ X86_MAP_0F38, 0xf7, -1, 0, VVVV_READ, true, BMI1 },    /* BEXTR */
	{ X86_MAP_0F38, 0xf7, -1, 1, VVVV_READ, false, BMI2 },   /* SHLX */
	{ X86_MAP_0F38, 0xf7, -1, 2, VVVV_READ, false, BMI2 },   /* SARX */
	{ X86_MAP_0F38, 0xf7, -1, 3, VVVV_READ, false, BMI2 },   /* SHRX */
	{ X86_MAP_0F3A, 0xf0, -1, 3, VVVV_NONE, false, BMI2 },   /* RORX */
};

static unsigned pp_of(const struct x86_insn *x)
{
	return x->prefixes & X86_PREFIX_REPNE  ? 3
	       : x->prefixes & X86_PREFIX_REP  ? 2
	       : x->prefixes & X86_PREFIX_OPSIZE ? 1 : 0;
}

static const struct bmi *find(const struct jit_emit *e, const struct x86_insn *x)
{
	if (x->prefixes & (X86_PREFIX_VEXL | X86_PREFIX_LOCK) ||
	    !(x->mod == 3 || jit_mem_supported(e, x)))
		return NULL;
	for (unsigned n = 0; n < G_N_ELEMENTS(instructions); n++) {
		const struct bmi *i = &instructions[n];
		if (i->map == x->map && i->opcode == x->opcode && i->pp == pp_of(x) &&
		    (i->digit < 0 || i->digit == (x->reg & 7)) &&
		    (i->vvvv != VVVV_NONE || !x->vvvv) &&
		    soft_has_feature(e->c, CPU_WORD_7_0_EBX, i->feature))
			return i;
	}
	return NULL;
}

/*
 * The value of the r/m operand is in the register returned. *other is a scratch register that is
 * not, and S0 and S1 are not in use otherwise.
 */
static unsigned load_rm(struct jit_emit *e, const struct x86_insn *x, unsigned *other)
{
	struct jit_mem m;
	*other = JIT_S1;
	if (x->mod == 3)
		return jit_get(e, x->rm, JIT_S0);
	e->quiet = true;
	if (!jit_mem(e, x, x->op_size, SOFT_READ, &m))
		return JIT_NONE;
	jit_op_rm(e, 0x8b | (x->op_size == 8 ? JIT_W64 : 0), m.free, m.at);
	*other = m.free == JIT_S0 ? JIT_S1 : JIT_S0;
	return m.free;
}

static void emit_vex(struct jit_emit *e, const struct x86_insn *x, unsigned reg, unsigned vvvv,
		     unsigned rm)
{
	jit_byte(e, 0xc4);
	jit_byte(e, (reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | x->map);
	jit_byte(e, (x->op_size == 8 ? 0x80 : 0) | (~vvvv & 0xf) << 3 | pp_of(x));
	jit_byte(e, x->opcode);
	jit_byte(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static bool emit_bmi(struct jit_emit *e, const struct x86_insn *x)
{
	const struct bmi *i = find(e, x);
	unsigned other;
	if (!i)
		return false;
	unsigned rm = load_rm(e, x, &other);
	if (rm == JIT_NONE)
		return false;
	/* A result may take the place of the r/m operand's copy. */
	unsigned copy = other == JIT_S0 ? JIT_S1 : JIT_S0;
	unsigned reg = x->reg & 7, vvvv = 0;
	if (i->digit < 0)
		reg = jit_host_of(e, x->reg) == JIT_NONE ? copy : jit_host_of(e, x->reg);
	if (i->vvvv == VVVV_READ)
		vvvv = jit_get(e, x->vvvv, other);
	else if (i->vvvv == VVVV_WRITTEN)
		vvvv = jit_host_of(e, x->vvvv) == JIT_NONE ? other : jit_host_of(e, x->vvvv);
	emit_vex(e, x, reg, vvvv, rm);
	if (x->map == X86_MAP_0F3A)
		jit_byte(e, x->imm);
	/* MULX with one register for both halves leaves the upper one in it. */
	if (i->vvvv == VVVV_WRITTEN && jit_host_of(e, x->vvvv) == JIT_NONE)
		jit_store(e, vvvv, JIT_GPR(x->vvvv));
	if (i->digit < 0 && jit_host_of(e, x->reg) == JIT_NONE)
		jit_store(e, reg, JIT_GPR(x->reg));
	if (i->flags)
		jit_flags_written(e);
	return true;
}

/* ADCX, ADOX; MULX has the same opcode. */
static bool emit_f6(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned other, pp = pp_of(x);
	if (x->prefixes & X86_PREFIX_VEX)
		return emit_bmi(e, x);
	if ((pp != 1 && pp != 2) || x->prefixes & X86_PREFIX_LOCK ||
	    (pp == 2 && x->prefixes & X86_PREFIX_OPSIZE) ||
	    !soft_has_feature(e->c, CPU_WORD_7_0_EBX, ADX) || !e->jit->host_adx ||
	    !(x->mod == 3 || jit_mem_supported(e, x)))
		return false;
	/* 66 is part of the opcode: it does not make the operands small. */
	struct x86_insn wide = *x;
	wide.op_size = x->prefixes & X86_PREFIX_REXW ? 8 : 4;
	unsigned rm = load_rm(e, &wide, &other);
	if (rm == JIT_NONE)
		return false;
	jit_flags_need(e, other);
	unsigned reg = jit_get(e, x->reg, other);
	jit_op_rr(e, 0x0f38f6 | (pp == 1 ? JIT_OPSIZE : JIT_F3) | (wide.op_size == 8 ? JIT_W64 : 0),
		  reg, rm);
	if (reg == other)
		jit_store(e, reg, JIT_GPR(x->reg));
	jit_flags_written(e);
	return true;
}

/* MOVBE, CRC32. */
static bool emit_f0(struct jit_emit *e, const struct x86_insn *x)
{
	bool store = x->opcode & 1;
	struct jit_mem m;
	if (x->prefixes & X86_PREFIX_REPNE)
		return jit_emit_crc32(e, x);
	if (x->prefixes & (OTHER_PREFIXES | X86_PREFIX_LOCK) || x->mod == 3 ||
	    !soft_has_feature(e->c, CPU_WORD_1_ECX, MOVBE) ||
	    !jit_mem(e, x, x->op_size, store ? SOFT_WRITE : SOFT_READ, &m))
		return false;
	uint32_t op = (store ? 0x0f38f1 : 0x0f38f0) | (x->op_size == 8 ? JIT_W64 : 0);
	if (store) {
		jit_op_rm(e, op, jit_get(e, x->reg, m.free), m.at);
		return true;
	}
	unsigned host = jit_host_of(e, x->reg), to = host == JIT_NONE ? m.free : host;
	jit_op_rm(e, op, to, m.at);
	if (host == JIT_NONE)
		jit_store(e, to, JIT_GPR(x->reg));
	return true;
}

#define VEX(m, op, ...) { .map = X86_MAP_##m, .first = op, .last = op, .digit = -1,                \
			  .emit = emit_bmi, .encoding = JIT_VEX, __VA_ARGS__ }

const struct jit_op jit_bmi_ops[] = {
	VEX(0F38, 0xf2, .kill = JIT_FLAGS), VEX(0F38, 0xf3, .kill = JIT_FLAGS),
	VEX(0F38, 0xf5), VEX(0F38, 0xf7), VEX(0F3A, 0xf0),
	{ .map = X86_MAP_0F38, .first = 0xf6, .last = 0xf6, .digit = -1, .emit = emit_f6,
	  .encoding = JIT_EITHER, .use = JIT_CF | JIT_OF },
	{ .map = X86_MAP_0F38, .first = 0xf0, .last = 0xf1, .digit = -1, .emit = emit_f0,
	  .encoding = JIT_LEGACY },
	{ 0 },
};
