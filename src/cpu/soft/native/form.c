/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Look-up in the form tables. It runs once per decoded instruction, when it is first executed, so a
 * binary search to the opcode and a walk over its few forms do.
 */
#include "cpu/soft/native/native.h"

static enum native_prefix insn_pp(const struct x86_insn *x)
{
	if (x->prefixes & X86_PREFIX_REPNE)
		return PP_F2;
	if (x->prefixes & X86_PREFIX_REP)
		return PP_F3;
	return x->prefixes & X86_PREFIX_OPSIZE ? PP_66 : PP_NONE;
}

/* The static rules of VEX encodings (SDM vol. 2, 2.3): L, W, and vvvv = 1111b if unused. */
static bool vex_matches(const struct native_form *f, const struct x86_insn *x)
{
	bool l = x->prefixes & X86_PREFIX_VEXL, w = x->prefixes & X86_PREFIX_REXW;
	if ((f->flags & NF_L0 && l) || (f->flags & NF_L1 && !l))
		return false;
	if ((f->flags & NF_W0 && w) || (f->flags & NF_W1 && !w))
		return false;
	return f->flags & (NF_NDS | NF_SHIFT) || x->vvvv == 0;
}

static bool form_matches(const struct native_form *f, const struct x86_insn *x)
{
	bool vex = x->prefixes & X86_PREFIX_VEX;
	if (f->pp != insn_pp(x) || !(f->flags & (vex ? NF_VEX : NF_LEGACY)))
		return false;
	if (f->digit >= 0 && f->digit != (x->reg & 7))
		return false;
	if ((f->flags & NF_MEM && x->mod == 3) || (f->flags & NF_REG && x->mod != 3))
		return false;
	return !vex || vex_matches(f, x);
}

const struct native_form *native_form_find(const struct x86_insn *x)
{
	const struct native_form *table;
	unsigned count;
	switch (x->map) {
	case X86_MAP_0F: table = native_forms_0f; count = native_forms_0f_count; break;
	case X86_MAP_0F38: table = native_forms_0f38; count = native_forms_0f38_count; break;
	case X86_MAP_0F3A: table = native_forms_0f3a; count = native_forms_0f3a_count; break;
	default: return NULL;
	}
	/* The first form with this opcode: tables are in opcode order. */
	unsigned low = 0, high = count;
	while (low < high) {
		unsigned mid = (low + high) / 2;
		if (table[mid].opcode < x->opcode)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < count && table[low].opcode == x->opcode; low++) {
		if (form_matches(&table[low], x))
			return &table[low];
	}
	return NULL;
}
