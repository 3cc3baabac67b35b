/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which instruction has which emitter. */
#include "cpu/soft/jit/emit.h"

/* The lists. Of two entries that fit the one listed first wins. */
static const struct jit_op *const lists[] = { jit_integer_ops, jit_stack_ops, jit_branch_ops,
					      jit_vector_ops, jit_bmi_ops, jit_string_ops,
					      jit_x87_ops, jit_divide_ops, jit_misc_ops,
					      jit_system_ops };

void jit_table_fill(struct jit *jit)
{
	for (unsigned n = 0; n < G_N_ELEMENTS(lists); n++) {
		for (const struct jit_op *op = lists[n]; op->emit; op++) {
			for (unsigned opcode = op->first; opcode <= op->last; opcode++) {
				for (unsigned digit = 0; digit < 8; digit++) {
					if ((op->digit < 0 || op->digit == (int)digit) &&
					    !jit->table[op->map][opcode][digit])
						jit->table[op->map][opcode][digit] = op;
				}
			}
		}
	}
}

const struct jit_op *jit_op_find(const struct jit *jit, const struct x86_insn *x)
{
	const struct jit_op *op = jit->table[x->map][x->opcode][x->reg & 7];
	/* VEX forms are other instructions, but for most of the vector ones. */
	enum jit_encoding encoding = x->prefixes & X86_PREFIX_VEX ? JIT_VEX : JIT_LEGACY;
	return op && (op->encoding == JIT_EITHER || op->encoding == encoding) ? op : NULL;
}
