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
};

static struct fields choose(const struct native_form *form, const struct x86_insn *x)
{
	struct fields f = { .reg = x->reg, .rm = x->rm, .mem = x->mod != 3 };
	if (form->digit >= 0)
		f.reg = form->digit;
	else if (form->reg == O_G)
		f.reg = HOST_REG;
	else if (form->reg == O_M)
		f.reg &= 7; /* REX.R and REX.B do not reach MMX registers */
	if (form->rm == O_G)
		f.rm = HOST_RM;
	else if (form->rm == O_M)
		f.rm &= 7;
	if (f.mem)
		f.rm = X86_RSI;
	/* Outside 64-bit mode VEX.W is ignored where it gives a general register's size. */
	bool gpr = form->reg == O_G || form->rm == O_G || form->flags & NF_ESTR;
	f.w = gpr ? x->op_size == 8 : (x->prefixes & X86_PREFIX_REXW) != 0;
	return f;
}

static void emit_legacy(struct native_code *out, const struct native_form *form,
			const struct fields *f)
{
	static const uint8_t mandatory[] = { 0, 0x66, 0xf3, 0xf2 };
	if (form->pp)
		emit1(out, mandatory[form->pp]);
	uint8_t rex = (f->w ? 8 : 0) | (f->reg & 8 ? 4 : 0) | (f->rm & 8 ? 1 : 0);
	if (rex)
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
	emit1(out, (f->reg & 8 ? 0 : 0x80) | 0x40 | (f->rm & 8 ? 0 : 0x20) | form->map);
	emit1(out, (f->w ? 0x80 : 0) | (~x->vvvv & 0xf) << 3 | (l ? 4 : 0) | form->pp);
}

static void emit_x87(struct native_code *out, const struct x86_insn *x)
{
	emit1(out, x->opcode);
	emit1(out, x->mod == 3 ? x->modrm : (x->modrm & 0x38) | X86_RSI);
}

void native_emit_insn(struct native_code *out, const struct native_form *form,
		      const struct x86_insn *x)
{
	if (!form) {
		emit_x87(out, x);
		return;
	}
	struct fields f = choose(form, x);
	if (x->prefixes & X86_PREFIX_VEX)
		emit_vex(out, form, x, &f);
	else
		emit_legacy(out, form, &f);
	emit1(out, form->opcode);
	emit1(out, (f.mem ? 0 : 0xc0) | (f.reg & 7) << 3 | (f.rm & 7));
	if (form->flags & NF_IMM)
		emit1(out, x->imm);
}
