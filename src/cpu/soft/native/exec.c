/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running stubs: the order is that of the SDM's priorities. #UD and #NM by mode and control
 * registers, then the operand's segment, alignment and page faults, then execution, then #XM.
 *
 * The host always runs with all SIMD exceptions masked. If the guest has some unmasked (rare), the
 * instruction runs with clear flags first; what it raised is then compared with the guest's masks,
 * and on a match every result is taken back and #XM raised (SDM vol. 1, 11.5).
 */
#include "cpu/soft/native/native.h"

/* --- may this unit be used now? ----------------------------------------------------------------*/

static const struct {
	uint8_t word;
	uint32_t bit;
} feature_bits[FT_COUNT] = {
	[FT_FPU] = { CPU_WORD_1_EDX, 1u << 0 },
	[FT_MMX] = { CPU_WORD_1_EDX, 1u << 23 },
	[FT_FXSR] = { CPU_WORD_1_EDX, 1u << 24 },
	[FT_SSE] = { CPU_WORD_1_EDX, 1u << 25 },
	[FT_SSE2] = { CPU_WORD_1_EDX, 1u << 26 },
	[FT_SSE3] = { CPU_WORD_1_ECX, 1u << 0 },
	[FT_PCLMUL] = { CPU_WORD_1_ECX, 1u << 1 },
	[FT_SSSE3] = { CPU_WORD_1_ECX, 1u << 9 },
	[FT_FMA] = { CPU_WORD_1_ECX, 1u << 12 },
	[FT_SSE41] = { CPU_WORD_1_ECX, 1u << 19 },
	[FT_SSE42] = { CPU_WORD_1_ECX, 1u << 20 },
	[FT_AES] = { CPU_WORD_1_ECX, 1u << 25 },
	[FT_XSAVE] = { CPU_WORD_1_ECX, 1u << 26 },
	[FT_AVX] = { CPU_WORD_1_ECX, 1u << 28 },
	[FT_F16C] = { CPU_WORD_1_ECX, 1u << 29 },
	[FT_AVX2] = { CPU_WORD_7_0_EBX, 1u << 5 },
	[FT_SHA] = { CPU_WORD_7_0_EBX, 1u << 29 },
	[FT_GFNI] = { CPU_WORD_7_0_ECX, 1u << 8 },
	[FT_VAES] = { CPU_WORD_7_0_ECX, 1u << 9 },
	[FT_VPCLMUL] = { CPU_WORD_7_0_ECX, 1u << 10 },
	[FT_AVXVNNI] = { CPU_WORD_7_1_EAX, 1u << 4 },
	[FT_XSAVEOPT] = { CPU_WORD_D_1_EAX, 1u << 0 },
	[FT_XSAVEC] = { CPU_WORD_D_1_EAX, 1u << 1 },
	[FT_XSAVES] = { CPU_WORD_D_1_EAX, 1u << 3 },
};

bool native_has(const struct soft_vcpu *c, enum native_feature feature)
{
	if (feature == FT_NONE)
		return true;
	return soft_has_feature(c, feature_bits[feature].word, feature_bits[feature].bit);
}

void native_sse_refused(struct soft_vcpu *c)
{
	bool off = c->s.cr0 & X86_CR0_EM || !(c->s.cr4 & X86_CR4_OSFXSR);
	soft_raise(c, off ? X86_EXC_UD : X86_EXC_NM);
}

void native_avx_refused(struct soft_vcpu *c)
{
	bool off = !(c->s.cr4 & X86_CR4_OSXSAVE) || (c->s.xcr0 & 6) != 6;
	soft_raise(c, off ? X86_EXC_UD : X86_EXC_NM);
}

static void check_mmx(struct soft_vcpu *c)
{
	if (soft_unlikely(c->s.cr0 & (X86_CR0_EM | X86_CR0_TS)))
		soft_raise(c, c->s.cr0 & X86_CR0_EM ? X86_EXC_UD : X86_EXC_NM);
}

void native_check_unit(struct soft_vcpu *c, enum native_unit unit)
{
	switch (unit) {
	case UNIT_SSE:
		native_check_sse(c);
		break;
	case UNIT_AVX:
		native_check_avx(c);
		break;
	case UNIT_MMX:
		check_mmx(c);
		if (!c->native->x87_live)
			native_x87_load(c);
		c->x87_ready = !c->native->x87_unmasked;
		if (soft_unlikely(c->native->x87_unmasked))
			native_x87_check_pending(c);
		break;
	case UNIT_X87:
	case UNIT_NONE:
		break;
	}
}

/* --- memory operands ---------------------------------------------------------------------------*/

static inline uint64_t operand_linear(struct soft_vcpu *c, const struct soft_insn *i,
			       const struct native_entry *e)
{
	uint64_t linear = soft_operand(c, i, e->size, e->store ? SOFT_WRITE : SOFT_READ);
	if (soft_unlikely(linear & e->align))
		soft_raise_gp(c);
	return linear;
}

static inline void run_load(struct soft_vcpu *c, const struct soft_insn *i,
			    const struct native_entry *e)
{
	uint64_t linear = operand_linear(c, i, e);
	struct soft_tlb_entry *t = soft_tlb_at(c, linear);
	void *mem = (void *)(linear + t->addend);
	if (soft_unlikely(linear - t->read > PAGE_SIZE - e->size)) {
		mem = c->native->bounce;
		soft_load_bytes(c, linear, mem, e->size);
	}
	e->code(c, mem);
}

static void run_store(struct soft_vcpu *c, const struct soft_insn *i, const struct native_entry *e)
{
	uint64_t linear = operand_linear(c, i, e);
	struct soft_tlb_entry *t = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - t->write > PAGE_SIZE - e->size)) {
		soft_check_write(c, linear, e->size);
		e->code(c, c->native->bounce);
		soft_store_bytes(c, linear, c->native->bounce, e->size);
		return;
	}
	e->code(c, (void *)(linear + t->addend));
}

/* --- unmasked SIMD exceptions ------------------------------------------------------------------*/

static void set_mxcsr(struct soft_vcpu *c, uint32_t mxcsr)
{
	memcpy(c->s.fpu.legacy + FX_MXCSR, &mxcsr, 4);
}

/* Everything that an SSE or AVX instruction can change. */
struct undo {
	uint8_t xmm[256], ymm_high[256];
	uint64_t gpr[16], flags;
};

static void undo_save(const struct soft_vcpu *c, struct undo *u)
{
	memcpy(u->xmm, c->s.fpu.legacy + FX_XMM, sizeof(u->xmm));
	memcpy(u->ymm_high, c->s.fpu.ymm_high, sizeof(u->ymm_high));
	memcpy(u->gpr, c->s.gpr, sizeof(u->gpr));
	u->flags = c->flags;
}

static void undo_restore(struct soft_vcpu *c, const struct undo *u)
{
	memcpy(c->s.fpu.legacy + FX_XMM, u->xmm, sizeof(u->xmm));
	memcpy(c->s.fpu.ymm_high, u->ymm_high, sizeof(u->ymm_high));
	memcpy(c->s.gpr, u->gpr, sizeof(u->gpr));
	c->flags = u->flags;
}

/* Run once with `mxcsr` and return the exception flags it raised. */
static uint32_t try_run(struct soft_vcpu *c, const struct native_entry *e, void *mem,
			uint32_t mxcsr)
{
	uint32_t mine = MXCSR_DEFAULT;
	mxcsr = (mxcsr & ~MXCSR_FLAGS) | MXCSR_MASKS;
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr) : "memory");
	e->code(c, mem);
	__asm__ volatile("stmxcsr %0; ldmxcsr %1" : "=m"(mxcsr) : "m"(mine) : "memory");
	return mxcsr & MXCSR_FLAGS;
}

/* Has VCVTPS2PH made a denormal? */
static bool half_is_tiny(const uint8_t *result, unsigned size)
{
	for (unsigned at = 0; at < size; at += 2) {
		uint16_t v;
		memcpy(&v, result + at, 2);
		if (!(v & 0x7c00) && v & 0x3ff)
			return true;
	}
	return false;
}

/*
 * The instruction with its memory operand in the bounce buffer (or none). Invalid, denormal and
 * divide-by-zero are found before the operation: one of those unmasked, and the later ones do not
 * show. An unmasked underflow is raised for a tiny result even if it is exact, which masked
 * execution does not tell unless FTZ is on.
 */
static void run_unmasked(struct soft_vcpu *c, const struct soft_insn *i,
			 const struct native_entry *e, void *mem)
{
	enum { PRE = 0x7, UNDERFLOW = 0x10 };
	struct undo u;
	uint32_t guest = native_mxcsr(c);
	uint32_t unmasked = ~(guest >> 7) & MXCSR_FLAGS;
	uint32_t mode = unmasked & UNDERFLOW ? guest & ~MXCSR_FTZ : guest;
	bool mmx = e->unit == UNIT_MMX;
	if (mmx)
		native_mmx_save(c);
	undo_save(c, &u);
	uint32_t raised = try_run(c, e, mem, mode);
	if (e->half) {
		const uint8_t *result = mem ? mem : native_xmm(c, i->x.rm);
		if (half_is_tiny(result, e->size))
			raised |= UNDERFLOW & unmasked;
	} else if (unmasked & UNDERFLOW) {
		struct undo done;
		uint8_t result[64];
		undo_save(c, &done);
		memcpy(result, c->native->bounce, sizeof(result));
		undo_restore(c, &u);
		raised |= try_run(c, e, mem, mode | MXCSR_FTZ) & UNDERFLOW;
		undo_restore(c, &done);
		memcpy(c->native->bounce, result, sizeof(result));
	}
	if (raised & unmasked & PRE)
		raised &= PRE;
	set_mxcsr(c, guest | raised);
	if (!(raised & unmasked))
		return;
	undo_restore(c, &u);
	if (mmx)
		native_x87_drop(c);
	soft_raise(c, c->s.cr4 & X86_CR4_OSXMMEXCPT ? X86_EXC_XM : X86_EXC_UD);
}

static void run_fp_unmasked(struct soft_vcpu *c, const struct soft_insn *i,
			    const struct native_entry *e)
{
	uint8_t *bounce = c->native->bounce;
	if (i->x.mod == 3) {
		run_unmasked(c, i, e, NULL);
		return;
	}
	if (e->store) {
		/* VCVTPS2PH, the only one: its #XM comes before its memory faults. */
		run_unmasked(c, i, e, bounce);
		soft_store_bytes(c, operand_linear(c, i, e), bounce, e->size);
	} else {
		soft_load_bytes(c, operand_linear(c, i, e), bounce, e->size);
		run_unmasked(c, i, e, bounce);
	}
}

/* --- the handlers that instructions get bound to -----------------------------------------------*/

bool native_mxcsr_load(struct soft_vcpu *c)
{
	uint32_t v = native_mxcsr(c);
	if ((v & MXCSR_MASKS) != MXCSR_MASKS)
		return false;
	__asm__ volatile("ldmxcsr %0" : : "m"(v) : "memory");
	c->native->mxcsr_live = true;
	return true;
}

static void run(struct soft_vcpu *c, const struct soft_insn *i, const struct native_entry *e)
{
	native_check_unit(c, e->unit);
	if (e->fp && !native_mxcsr_ready(c))
		run_fp_unmasked(c, i, e);
	else if (i->x.mod == 3)
		e->code(c, NULL);
	else if (e->store)
		run_store(c, i, e);
	else
		run_load(c, i, e);
}

static void exec_any(struct soft_vcpu *c, const struct soft_insn *i)
{
	run(c, i, i->native);
}

bool native_supported(const struct soft_vcpu *c, const struct native_form *f,
		      const struct x86_insn *x)
{
	if (!(x->prefixes & X86_PREFIX_VEX))
		return native_has(c, f->legacy_feature);
	if (!native_has(c, FT_AVX) || !native_has(c, f->vex_feature))
		return false;
	if (!(x->prefixes & X86_PREFIX_VEXL))
		return true;
	if (f->flags & NF_INT && !native_has(c, FT_AVX2))
		return false;
	if (f->vex_feature == FT_AES && !native_has(c, FT_VAES))
		return false;
	return f->vex_feature != FT_PCLMUL || native_has(c, FT_VPCLMUL);
}

/* First execution in this place. */
void native_exec(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_exec_fn *direct = native_mask_find(&i->x);
	if (direct) {
		direct(c, i);
		return;
	}
	const struct native_form *f = native_form_find(&i->x);
	if (!f || i->x.prefixes & X86_PREFIX_LOCK || !native_supported(c, f, &i->x))
		soft_raise(c, X86_EXC_UD);
	direct = native_move_find(&i->x);
	if (direct) {
		enum native_move move = native_move_kind(direct);
		native_bind(i, direct,
			    move == NATIVE_NO_MOVE ? NULL : native_fast_move(c, &i->x, move), NULL);
		direct(c, i);
		return;
	}
	struct x86_insn x = i->x;
	if (c->mode != X86_DECODE_64 && f->flags & NF_IS4)
		x.imm &= 0x7f; /* eight registers only */
	bool cached;
	struct native_entry *e = native_stub_get(c, f, &x, &cached);
	if (cached)
		native_bind(i, exec_any, native_fast_stub(c, &i->x, e), e);
	run(c, i, e);
}
