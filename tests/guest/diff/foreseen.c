/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The translator must foresee which registers an instruction may change: whatever the host's CPU did. */
#include "cpu/soft/jit/emit.h"
#include "diff.h"

void diff_check_foreseen(const struct soft_vcpu *c, const struct diff_case *k)
{
	struct x86_insn x;
	if (k->bits32 || k->sequence || x86_decode(k->code, k->length, X86_DECODE_64, &x) != X86_DECODE_OK)
		return;
	unsigned foreseen = jit_writes(jit_op_find(c->jit, &x), &x) | 1u << X86_RSP;
	for (unsigned n = 0; n < 16; n++) {
		if (k->native.gpr[n] != k->in.gpr[n] && !(foreseen >> n & 1))
			g_error("jit_writes() does not tell that %02x of map %u changes register %u",
				x.opcode, x.map, n);
	}
}
