/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encoding of one normalised instruction (SDM vol. 2, chapter 2). The guest's prefixes are not
 * copied but made again from the decoded form, so segment overrides, redundant prefixes and unusual
 * addressing forms all come out alike, and distinct instructions are few.
 */
#include "cpu/soft/native/native.h"

void native_emit(struct native_code *out, const void *bytes, unsigned length)
{
	if (out->p + length <= out->end)
		memcpy(out->p, bytes, length);
	out->p += length;
}

static void emit1(struct native_code *out, uint8_t byte)
{
	native_emit(out, &byte, 1);
}

/* The registers that go into the encoding. */
struct fields {
	uint8_t reg, rm;
	bool mem, w;
	const struct native_names *names;
};

static struct fields choose(const struct native_form *form, const struct x86_insn *x,
			    const struct native_names *names)
{
	struct fields f = { .reg = x->reg, .rm = x->rm, .mem = x->mod != 3, .names = names };
	if (form->digit >= 0)
		f.reg = form->digit;
	else if (form->reg == O_G)
		f.reg = names->reg;
	else if (form->reg == O_M)
		f.reg &= 7; /* REX.R and REX.B do not reach MMX registers */
	if (form->rm == O_G)
		f.rm = names->rm;
	else if (form->rm == O_M)
		f.rm &= 7;
	if (f.mem)
		f.rm = names->base;
	/* Outside 64-bit mode VEX.W is ignored where it gives a general register's size. */
	bool gpr = form->reg == O_G || form->rm == O_G || form->flags & NF_ESTR;
	f.w = gpr ? x->op_size == 8 : (x->prefixes & X86_PREFIX_REXW) != 0;
	return f;
}

/* R, X and B as REX has them. */
static uint8_t extension_bits(const struct fields *f)
{
	bool index = f->mem && f->names->index != NATIVE_NO_INDEX && f->names->index & 8;
	return (f->reg & 8 ? 4 : 0) | (index ? 2 : 0) | (f->rm & 8 ? 1 : 0);
}

static void emit_legacy(struct native_code *out, const struct native_form *form,
			const struct fields *f)
{
	static const uint8_t mandatory[] = { 0, 0x66, 0xf3, 0xf2 };
	if (form->pp)
		emit1(out, mandatory[form->pp]);
	uint8_t rex = (f->w ? 8 : 0) | extension_bits(f);
	/* A byte from SIL or DIL needs one even if it is empty. */
	bool byte_reg = form->rm == O_G && form->size == S_1 && !f->mem;
	if (rex || byte_reg)
		emit1(out, 0x40 | rex);
	emit1(out, 0x0f);
	if (form->map != X86_MAP_0F)
		emit1(out, form->map == X86_MAP_0F38 ? 0x38 : 0x3a);
}

static void emit_vex(struct native_code *out, const struct native_form *form,
		     const struct x86_insn *x, const struct fields *f)
{
	bool l = x->prefixes & X86_PREFIX_VEXL && !(form->flags & NF_LIG);
	emit1(out, 0xc4);
	emit1(out, (~extension_bits(f) & 7) << 5 | form->map);
	emit1(out, (f->w ? 0x80 : 0) | (~x->vvvv & 0xf) << 3 | (l ? 4 : 0) | form->pp);
}

/* ModRM, SIB and displacement of the memory operand. */
static void emit_place(struct native_code *out, unsigned reg, const struct native_names *n)
{
	bool sib = n->index != NATIVE_NO_INDEX || (n->base & 7) == X86_RSP;
	unsigned mod = n->disp == (int8_t)n->disp ? 1 : 2;
	if (!n->disp && (n->base & 7) != X86_RBP)
		mod = 0;
	emit1(out, mod << 6 | (reg & 7) << 3 | (sib ? X86_RSP : n->base & 7));
	if (sib) {
		unsigned index = n->index == NATIVE_NO_INDEX ? X86_RSP : n->index & 7;
		emit1(out, n->scale << 6 | index << 3 | (n->base & 7));
	}
	if (mod)
		native_emit(out, &n->disp, mod == 1 ? 1 : 4);
}

static void emit_x87(struct native_code *out, const struct x86_insn *x,
		     const struct native_names *names)
{
	struct fields f = { .rm = names->base, .mem = x->mod != 3, .names = names };
	if (!f.mem) {
		emit1(out, x->opcode);
		emit1(out, x->modrm);
		return;
	}
	if (extension_bits(&f))
		emit1(out, 0x40 | extension_bits(&f));
	emit1(out, x->opcode);
	emit_place(out, x->reg, names);
}

void native_emit_named(struct native_code *out, const struct native_form *form,
		       const struct x86_insn *x, const struct native_names *names)
{
	if (!form) {
		emit_x87(out, x, names);
		return;
	}
	struct fields f = choose(form, x, names);
	if (x->prefixes & X86_PREFIX_VEX)
		emit_vex(out, form, x, &f);
	else
		emit_legacy(out, form, &f);
	emit1(out, form->opcode);
	if (f.mem)
		emit_place(out, f.reg, names);
	else
		emit1(out, 0xc0 | (f.reg & 7) << 3 | (f.rm & 7));
	if (form->flags & NF_IMM)
		emit1(out, x->imm);
}

void native_emit_insn(struct native_code *out, const struct native_form *form,
		      const struct x86_insn *x)
{
	static const struct native_names names = { HOST_REG, HOST_RM, X86_RSI, NATIVE_NO_INDEX, 0, 0 };
	native_emit_named(out, form, x, &names);
}
