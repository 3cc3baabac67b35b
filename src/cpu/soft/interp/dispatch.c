/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The opcode lists of all parts, merged: which handler has this instruction? */
#include "cpu/soft/interp/interp.h"

struct node {
	const struct soft_opcode *op;
	struct node *next;
};

struct interp_dispatch {
	struct node *heads[4][256]; /* most specific first */
	struct node *nodes;
};

/* The parts. Of two entries with the same conditions the one listed first wins. */
static const struct soft_opcode *const lists[] = {
	soft_system_ops, interp_alu_ops, interp_move_ops, interp_shift_ops, interp_muldiv_ops,
	interp_bit_ops, interp_bmi_ops, interp_stack_ops, interp_control_ops, interp_string_ops,
	interp_io_ops, interp_bcd_ops, interp_misc_ops, soft_native_ops,
};

/* 63 is MOVSXD in 64-bit mode and ARPL elsewhere: the one opcode that changes meaning. */
extern soft_exec_fn interp_movsxd;
static const struct soft_opcode opcode_movsxd = { .opcode = 0x63, .reg = -1, .fn = interp_movsxd };

static unsigned specificity(const struct soft_opcode *op)
{
	return (op->form ? 4 : 0) + (op->prefix ? 2 : 0) + (op->reg >= 0 ? 1 : 0);
}

static void insert(struct interp_dispatch *d, struct node *node)
{
	struct node **at = &d->heads[node->op->map][node->op->opcode];
	while (*at && specificity((*at)->op) >= specificity(node->op))
		at = &(*at)->next;
	node->next = *at;
	*at = node;
}

struct interp_dispatch *interp_dispatch_new(void)
{
	struct interp_dispatch *d = g_new0(struct interp_dispatch, 1);
	size_t count = 0;
	for (unsigned n = 0; n < G_N_ELEMENTS(lists); n++) {
		for (const struct soft_opcode *op = lists[n]; op->fn; op++)
			count++;
	}
	struct node *node = d->nodes = g_new0(struct node, count);
	for (unsigned n = 0; n < G_N_ELEMENTS(lists); n++) {
		for (const struct soft_opcode *op = lists[n]; op->fn; op++) {
			node->op = op;
			insert(d, node++);
		}
	}
	return d;
}

void interp_dispatch_free(struct interp_dispatch *d)
{
	if (!d)
		return;
	g_free(d->nodes);
	g_free(d);
}

static bool fits(const struct soft_opcode *op, const struct x86_insn *x)
{
	if (op->reg >= 0 && op->reg != (x->reg & 7))
		return false;
	if (op->form == SOFT_FORM_MEMORY && x->mod == 3)
		return false;
	if (op->form == SOFT_FORM_REGISTER && x->mod != 3)
		return false;
	return !op->prefix || (x->prefixes & op->prefix);
}

const struct soft_opcode *interp_lookup(const struct interp_dispatch *d, const struct x86_insn *x,
					enum x86_decode_mode mode)
{
	if (x->map == X86_MAP_1 && x->opcode == 0x63 && mode == X86_DECODE_64)
		return &opcode_movsxd;
	for (const struct node *node = d->heads[x->map][x->opcode]; node; node = node->next) {
		if (fits(node->op, x))
			return node->op;
	}
	return NULL;
}
