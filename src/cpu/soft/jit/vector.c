/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MMX, SSE to AVX2, FMA, AES, SHA, PCLMUL: the guest's instruction on the same registers of the host.
 *
 * The guest's vector registers are in the host's of the same number while c->jit_vectors says so,
 * across units: loops load them once. C code would clobber them, so every way into C saves them
 * first; an instruction that needs them looks at c->jit_vectors, unless an earlier one of its unit
 * has; so the check costs a compare and a jump. If they are not there, they are brought in, if
 * c->vectors_allowed says that this needs no questions. Else the interpreter does the instruction,
 * and they are brought in behind it.
 *
 * Two levels, since legacy SSE on upper halves that are not zero runs slower on many CPUs: programs
 * without AVX only ever have the lower halves brought in.
 *
 * What may be used is checked when they come in: CR0, CR4 and XCR0 change in C only. MXCSR is loaded
 * then too, with all exceptions masked, or they do not come in (the interpreter knows how to raise
 * #XM).
 */
#include "cpu/soft/jit/emit.h"
#include "cpu/soft/native/native.h"

#include <stddef.h>

static struct jit_at low_half(unsigned n)
{
	return jit_field(offsetof(struct soft_vcpu, s.fpu.legacy) + FX_XMM + 16 * n);
}

static struct jit_at high_half(unsigned n)
{
	return jit_field(offsetof(struct soft_vcpu, s.fpu.ymm_high) + 16 * n);
}

/* --- bringing them in and out --------------------------------------------------------------------*/

enum { MOVUPS_LOAD = 0x0f10, MOVUPS_STORE = 0x0f11 };

static void move_low(struct jit_emit *e, uint32_t op)
{
	for (unsigned n = 0; n < 16; n++)
		jit_op_rm(e, op, n, low_half(n));
}

/* VINSERTF128 ymm, ymm, m, 1, or VEXTRACTF128 m, ymm, 1. */
static void move_high(struct jit_emit *e, bool store)
{
	for (unsigned n = 0; n < 16; n++) {
		struct jit_at at = high_half(n);
		uint8_t vvvv = store ? 0x78 : (~n & 0xf) << 3;
		const uint8_t code[] = { 0xc4, (n & 8 ? 0 : 0x80) | 0x63, vvvv | 5,
					 store ? 0x19 : 0x18, 0x80 | (n & 7) << 3 | 4, 0x24 };
		jit_bytes(e, code, sizeof(code));
		jit_u32(e, at.disp);
		jit_byte(e, 1);
	}
}

static void compare_level(struct jit_emit *e, unsigned level)
{
	jit_op_rm(e, 0x80, 7, JIT_FIELD(jit_vectors));
	jit_byte(e, level);
}

static void set_level(struct jit_emit *e, unsigned level)
{
	jit_op_rm(e, 0xc6, 0, JIT_FIELD(jit_vectors));
	jit_byte(e, level);
}

static void vzeroupper(struct jit_emit *e)
{
	jit_bytes(e, (const uint8_t[]){ 0xc5, 0xf8, 0x77 }, 3);
}

enum { CC_B = 2, CC_AE = 3, CC_E = 4, CC_NE = 5 };

uint8_t *jit_vectors_make_save(struct jit_emit *e)
{
	uint8_t *at = e->p;
	jit_op_rr(e, 0x8f, 0, JIT_S1); /* pop: state is addressed by rsp */
	move_low(e, MOVUPS_STORE);
	/* A host without AVX never comes to that level. */
	compare_level(e, JIT_VECTORS_ALL);
	uint8_t *low = jit_jump(e, CC_NE);
	move_high(e, true);
	vzeroupper(e);
	jit_bind(low, e->p);
	set_level(e, JIT_VECTORS_OUT);
	jit_op_rr(e, 0xff, 4, JIT_S1); /* jmp */
	return at;
}

void jit_vectors_load_code(struct jit_emit *e)
{
	jit_op_rr(e, 0x85, X86_RAX, X86_RAX);
	uint8_t *refused = jit_jump(e, CC_E);
	move_low(e, MOVUPS_LOAD);
	jit_op_rm(e, 0x88, X86_RAX, JIT_FIELD(jit_vectors));
	compare_level(e, JIT_VECTORS_ALL);
	uint8_t *low = jit_jump(e, CC_NE);
	move_high(e, false);
	jit_bind(low, e->p);
	jit_bind(refused, e->p);
}

uint8_t *jit_vectors_make_in(struct jit_emit *e, unsigned level)
{
	uint8_t *at = e->p;
	/* pop: state is addressed by rsp */
	jit_op_rm(e, 0x8f, 0, JIT_FIELD(jit_return));
	jit_op_rm(e, 0x80, 7, JIT_FIELD(vectors_allowed));
	jit_byte(e, level);
	uint8_t *refused = jit_jump(e, CC_B);
	compare_level(e, JIT_VECTORS_OUT);
	uint8_t *out = jit_jump(e, CC_E);
	jit_jump_to(e, JIT_CALL, e->jit->vectors_save);
	jit_bind(out, e->p);
	move_low(e, MOVUPS_LOAD);
	if (level == JIT_VECTORS_ALL)
		move_high(e, false);
	set_level(e, level);
	jit_bind(refused, e->p);
	compare_level(e, level);
	jit_op_rm(e, 0xff, 4, JIT_FIELD(jit_return));
	return at;
}

const uint8_t *jit_help_vectors(struct soft_vcpu *c, uintptr_t wanted)
{
	c->jit->vector_calls++;
	bool sse = !(c->s.cr0 & (X86_CR0_EM | X86_CR0_TS)) && c->s.cr4 & X86_CR4_OSFXSR;
	bool avx = !(c->s.cr0 & X86_CR0_TS) && c->s.cr4 & X86_CR4_OSXSAVE && (c->s.xcr0 & 6) == 6;
	if (!sse || !native_mxcsr_ready(c))
		return (const uint8_t *)JIT_VECTORS_OUT;
	c->vectors_allowed = avx ? JIT_VECTORS_ALL : JIT_VECTORS_LOW;
	if (wanted > c->vectors_allowed)
		wanted = JIT_VECTORS_OUT;
	return (const uint8_t *)wanted;
}

/* From here on they are in the host, or the instruction takes its slow way. */
static void need_level(struct jit_emit *e, unsigned level)
{
	if (e->vectors >= level)
		return;
	jit_flags_clobber(e);
	compare_level(e, level);
	uint8_t *there = jit_jump(e, CC_AE);
	jit_jump_to(e, JIT_CALL, e->jit->vectors_in[level]);
	jit_slow_jump(e, CC_B);
	if (!e->failed)
		jit_bind(there, e->p);
	e->vectors = level;
}

/* --- the instructions ------------------------------------------------------------------------------*/

struct vector_insn {
	const struct native_form *form;
	struct native_entry about;
	struct native_names names;
};

static bool find(struct jit_emit *e, const struct x86_insn *x, struct vector_insn *v)
{
	v->form = native_form_find(x);
	if (!v->form || x->prefixes & X86_PREFIX_LOCK || native_mask_find(x) ||
	    !native_supported(e->c, v->form, x))
		return false;
	native_describe(&v->about, v->form, x);
	/* Outside 64-bit mode the upper bit of a register in an immediate is ignored. */
	if (!e->wide && v->form->flags & NF_IS4)
		return false;
	return x->mod == 3 || jit_mem_supported(e, x);
}

/* The memory operand, aligned as the instruction wants it. */
static bool find_memory(struct jit_emit *e, const struct x86_insn *x, struct vector_insn *v,
			unsigned *scratch)
{
	struct jit_mem m;
	e->quiet = !v->about.align;
	if (!jit_mem(e, x, v->about.size, v->about.store ? SOFT_WRITE : SOFT_READ, &m))
		return false;
	if (v->about.align) {
		jit_lea(e, m.free, m.at);
		jit_op_rr(e, 0xf6, 0, m.free); /* test free, align */
		jit_byte(e, v->about.align);
		jit_slow_jump(e, CC_NE);
	}
	v->names.base = m.at.base;
	v->names.index = m.at.index == JIT_NONE ? NATIVE_NO_INDEX : m.at.index;
	v->names.scale = m.at.scale;
	v->names.disp = m.at.disp;
	*scratch = m.free;
	return true;
}

static void emit_native(struct jit_emit *e, const struct x86_insn *x, const struct vector_insn *v)
{
	struct native_code out = { e->p, e->end };
	native_emit_named(&out, v->form, x, &v->names);
	if (out.p > out.end)
		e->failed = true;
	else
		e->p = out.p;
}

/* Have the registers it uses in the host. */
static void need_unit(struct jit_emit *e, const struct vector_insn *v)
{
	bool vectors = v->form->reg == O_X || v->form->rm == O_X || v->about.fp;
	if (v->about.unit == UNIT_MMX)
		jit_x87_need(e);
	if (v->about.unit != UNIT_MMX || vectors)
		need_level(e, v->about.unit == UNIT_AVX ? JIT_VECTORS_ALL : JIT_VECTORS_LOW);
}

static bool emit_vector(struct jit_emit *e, const struct x86_insn *x)
{
	struct vector_insn v = { .names.index = NATIVE_NO_INDEX };
	unsigned scratch = JIT_S0;
	if (!find(e, x, &v))
		return false;
	need_unit(e, &v);
	if (x->mod != 3 && !find_memory(e, x, &v, &scratch))
		return false;
	bool to_rm = v.form->flags & NF_STORE;
	if (v.form->reg == O_G) /* always a destination, of the whole register */
		v.names.reg = jit_host_of(e, x->reg) == JIT_NONE ? scratch : jit_host_of(e, x->reg);
	if (v.form->rm == O_G && x->mod == 3) {
		if (to_rm)
			v.names.rm = jit_host_of(e, x->rm) == JIT_NONE ? JIT_S1 : jit_host_of(e, x->rm);
		else
			v.names.rm = jit_get(e, x->rm, JIT_S1);
	}
	emit_native(e, x, &v);
	if (v.form->reg == O_G && jit_host_of(e, x->reg) == JIT_NONE)
		jit_store(e, scratch, JIT_GPR(x->reg));
	if (v.form->rm == O_G && x->mod == 3 && to_rm && jit_host_of(e, x->rm) == JIT_NONE)
		jit_store(e, JIT_S1, JIT_GPR(x->rm));
	if (v.form->flags & NF_FLAGS)
		jit_flags_written(e);
	return true;
}

/* EMMS, VZEROUPPER, VZEROALL. */
static bool emit_emptying(struct jit_emit *e, const struct x86_insn *x)
{
	uint16_t other = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE | X86_PREFIX_LOCK;
	bool vex = x->prefixes & X86_PREFIX_VEX;
	if (!e->wide || x->prefixes & other || x->vvvv || !native_has(e->c, vex ? FT_AVX : FT_MMX))
		return false;
	if (!vex) {
		jit_x87_need(e);
		jit_bytes(e, (const uint8_t[]){ 0x0f, 0x77 }, 2);
		return true;
	}
	need_level(e, JIT_VECTORS_ALL);
	jit_bytes(e, (const uint8_t[]){ 0xc5, x->prefixes & X86_PREFIX_VEXL ? 0xfc : 0xf8, 0x77 }, 3);
	return true;
}

/*
 * STMXCSR, and LDMXCSR if all exceptions stay masked: mathematical functions change the rounding mode
 * on their way in and out.
 */
static bool emit_mxcsr(struct jit_emit *e, const struct x86_insn *x)
{
	uint16_t other = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE | X86_PREFIX_LOCK;
	bool load = (x->reg & 7) == 2, vex = x->prefixes & X86_PREFIX_VEX;
	struct jit_mem m;
	if (x->mod == 3 || x->prefixes & other || !jit_mem_supported(e, x))
		return false;
	if (vex && (x->vvvv || x->prefixes & X86_PREFIX_VEXL || !native_has(e->c, FT_AVX)))
		return false;
	need_level(e, vex ? JIT_VECTORS_ALL : JIT_VECTORS_LOW);
	if (!jit_mem(e, x, 4, load ? SOFT_READ : SOFT_WRITE, &m))
		return false;
	if (load) {
		/* Masks inverted must be clear, and so must what does not exist. */
		jit_op_rm(e, 0x8b, m.free, m.at);
		jit_op_rr(e, 0x81, 6, m.free); /* xor */
		jit_u32(e, MXCSR_MASKS);
		jit_op_rr(e, 0xf7, 0, m.free); /* test */
		jit_u32(e, MXCSR_MASKS | ~e->c->native->mxcsr_mask);
		jit_slow_jump(e, CC_NE);
	}
	jit_op_rm(e, 0x0fae, x->reg & 7, m.at);
	return true;
}

#define RANGE(m, a, b) { .map = X86_MAP_##m, .first = a, .last = b, .digit = -1,                  \
			 .emit = emit_vector, .no_flags = true, .encoding = JIT_EITHER }
#define FLAGS(m, a, b) { .map = X86_MAP_##m, .first = a, .last = b, .digit = -1,                  \
			 .emit = emit_vector, .kill = JIT_FLAGS, .encoding = JIT_EITHER }

const struct jit_op jit_vector_ops[] = {
	RANGE(0F, 0x10, 0x17), RANGE(0F, 0x28, 0x2d), FLAGS(0F, 0x2e, 0x2f), RANGE(0F, 0x50, 0x76),
	{ .map = X86_MAP_0F, .first = 0x77, .last = 0x77, .digit = -1, .emit = emit_emptying,
	  .no_flags = true, .encoding = JIT_EITHER },
	{ .map = X86_MAP_0F, .first = 0xae, .last = 0xae, .digit = 2, .emit = emit_mxcsr,
	  .no_flags = true, .encoding = JIT_EITHER },
	{ .map = X86_MAP_0F, .first = 0xae, .last = 0xae, .digit = 3, .emit = emit_mxcsr,
	  .no_flags = true, .encoding = JIT_EITHER },
	RANGE(0F, 0x7c, 0x7f), RANGE(0F, 0xc2, 0xc2), RANGE(0F, 0xc4, 0xc6), RANGE(0F, 0xd0, 0xfe),
	RANGE(0F38, 0x00, 0x0d), FLAGS(0F38, 0x0e, 0x0f), RANGE(0F38, 0x10, 0x16),
	FLAGS(0F38, 0x17, 0x17), RANGE(0F38, 0x18, 0xdf),
	RANGE(0F3A, 0x00, 0x4f), FLAGS(0F3A, 0x60, 0x63), RANGE(0F3A, 0xcc, 0xdf),
	{ 0 },
};
