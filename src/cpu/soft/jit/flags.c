/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What instructions do with the arithmetic flags. */
#include "cpu/soft/jit/emit.h"

/* Read by condition cc >> 1. */
static const uint8_t condition_flags[8] = {
	JIT_OF, JIT_CF, JIT_ZF, JIT_CF | JIT_ZF, JIT_SF, JIT_PF, JIT_SF | JIT_OF,
	JIT_SF | JIT_OF | JIT_ZF,
};

static bool is_conditional(const struct x86_insn *x)
{
	unsigned row = x->opcode & 0xf0;
	return x->map == X86_MAP_1 ? row == 0x70
				   : x->map == X86_MAP_0F &&
					     (row == 0x40 || row == 0x80 || row == 0x90);
}

/* Shifts and rotates: by a count of 0 nothing changes. */
static void shift_effect(const struct x86_insn *x, uint8_t *use, uint8_t *kill)
{
	bool by_cl = x->opcode == 0xd2 || x->opcode == 0xd3, byte = !(x->opcode & 1);
	bool by_one = x->opcode == 0xd0 || x->opcode == 0xd1;
	unsigned digit = x->reg & 7, mask = !byte && x->op_size == 8 ? 63 : 31;
	*use = digit == 2 || digit == 3 ? JIT_CF : 0;
	*kill = 0;
	if (by_cl || (!by_one && !(x->imm & mask)))
		return;
	*kill = digit < 4 ? JIT_CF | JIT_OF : JIT_FLAGS;
}

static bool is_shift(const struct x86_insn *x)
{
	return x->map == X86_MAP_1 &&
	       (x->opcode == 0xc0 || x->opcode == 0xc1 || (x->opcode & 0xfc) == 0xd0);
}

static bool is_double_shift(const struct x86_insn *x)
{
	return x->map == X86_MAP_0F && (x->opcode == 0xa4 || x->opcode == 0xac);
}

/* CMPS, SCAS: with REP and a count of 0 nothing changes. */
static bool is_string_compare(const struct x86_insn *x)
{
	unsigned op = x->opcode & 0xfe;
	return x->map == X86_MAP_1 && (op == 0xa6 || op == 0xae);
}

void jit_flags_effect(const struct jit_op *op, const struct x86_insn *x, uint8_t *use,
		      uint8_t *kill)
{
	if (!op) {
		*use = JIT_FLAGS;
		*kill = 0;
		return;
	}
	*use = op->use;
	*kill = op->kill;
	if (op->x87)
		jit_x87_flags_effect(x, use, kill);
	else if (is_conditional(x))
		*use = condition_flags[(x->opcode & 0xf) >> 1];
	else if (is_shift(x))
		shift_effect(x, use, kill);
	else if (is_string_compare(x))
		*kill = x->prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE) ? 0 : JIT_FLAGS;
	else if (is_double_shift(x))
		*kill = x->imm & (x->op_size == 8 ? 63 : 31) && x->op_size > 2 ? JIT_FLAGS : 0;
}
