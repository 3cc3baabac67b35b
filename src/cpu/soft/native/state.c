/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole-state instructions: FXSAVE, FXRSTOR, the XSAVE family, LDMXCSR, STMXCSR, EMMS, VZEROALL,
 * VZEROUPPER (SDM vol. 1, 10.5 and 13). They work on the image in c->s.fpu, which has the standard
 * format already, so most of it is copying with the right checks; state components are x87, SSE and
 * AVX, and no supervisor component exists (IA32_XSS is 0).
 */
#include "cpu/soft/native/native.h"

enum {
	X87 = 1, SSE = 2, AVX = 4, ALL = 7,
	HEADER = 512, HEADER_SIZE = 64, AVX_AT = 576, AREA_SIZE = 832,
};

#define COMPACTED (UINT64_C(1) << 63)

static bool wide_pointers(const struct soft_insn *i)
{
	return i->x.prefixes & X86_PREFIX_REXW;
}

static unsigned register_count(const struct soft_vcpu *c)
{
	return c->mode == X86_DECODE_64 ? 16 : 8;
}

/* --- pieces of the image -----------------------------------------------------------------------*/

/* The x87 part of the legacy area as the guest sees it: bytes 0-23. The live state is saved. */
static void x87_header(struct soft_vcpu *c, uint8_t out[24], bool wide)
{
	memcpy(out, c->s.fpu.legacy, 24);
	out[5] = 0;
	if (!wide) {
		/* 32-bit offsets with selectors; these read as 0 (CPUID.7.EBX bit 13). */
		memset(out + FX_FIP + 4, 0, 4);
		memset(out + FX_FDP + 4, 0, 4);
	}
}

/* Control and status word as loading them would show: reserved bits fixed, ES and B made anew. */
static void normalise_words(uint8_t *image)
{
	enum { FCW_VALID = 0x1f3f, FCW_ONE = 0x40, SUMMARY = 0x8080, FLAGS = 0x3f };
	uint16_t fcw, fsw;
	memcpy(&fcw, image + FX_FCW, 2);
	memcpy(&fsw, image + FX_FSW, 2);
	fcw = (fcw & FCW_VALID) | FCW_ONE;
	fsw = (fsw & ~SUMMARY) | (fsw & ~fcw & FLAGS ? SUMMARY : 0);
	memcpy(image + FX_FCW, &fcw, 2);
	memcpy(image + FX_FSW, &fsw, 2);
}

static void set_x87(struct soft_vcpu *c, const uint8_t *in, bool wide)
{
	uint8_t *image = c->s.fpu.legacy;
	native_x87_drop(c);
	memcpy(image, in, 24);
	normalise_words(image);
	image[5] = 0;
	image[FX_FOP + 1] &= 7;
	if (!wide) {
		memset(image + FX_FIP + 4, 0, 4);
		memset(image + FX_FDP + 4, 0, 4);
	}
	for (unsigned n = 0; n < 8; n++) {
		memcpy(image + FX_ST + 16 * n, in + FX_ST + 16 * n, 10);
		memset(image + FX_ST + 16 * n + 10, 0, 6);
	}
}

static void init_x87(struct soft_vcpu *c)
{
	native_x87_drop(c);
	memset(c->s.fpu.legacy, 0, 24);
	memset(c->s.fpu.legacy + FX_ST, 0, 128);
	c->s.fpu.legacy[FX_FCW] = 0x7f;
	c->s.fpu.legacy[FX_FCW + 1] = 0x03;
}

/* One with all exceptions masked may stay in the host's. */
static void set_mxcsr(struct soft_vcpu *c, uint32_t mxcsr)
{
	bool stays = c->native->mxcsr_live && (mxcsr & MXCSR_MASKS) == MXCSR_MASKS;
	if (!stays)
		native_mxcsr_drop(c);
	else if (native_mxcsr(c) != mxcsr)
		__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr) : "memory");
	memcpy(c->s.fpu.legacy + FX_MXCSR, &mxcsr, 4);
}

static void check_mxcsr(struct soft_vcpu *c, uint32_t mxcsr)
{
	if (mxcsr & ~c->native->mxcsr_mask)
		soft_raise_gp(c);
}

static bool all_zero(const uint8_t *p, unsigned size)
{
	return !p[0] && !memcmp(p, p + 1, size - 1);
}

/* XINUSE: the components that differ from their initial configuration. */
static unsigned in_use(struct soft_vcpu *c)
{
	static const uint8_t initial[24] = { 0x7f, 0x03 };
	unsigned bits = 0;
	if (memcmp(c->s.fpu.legacy, initial, 24) || !all_zero(c->s.fpu.legacy + FX_ST, 128))
		bits |= X87;
	if (!all_zero(c->s.fpu.legacy + FX_XMM, 16 * register_count(c)))
		bits |= SSE;
	if (!all_zero(c->s.fpu.ymm_high, 16 * register_count(c)))
		bits |= AVX;
	return bits;
}

void soft_native_import(struct soft_vcpu *c)
{
	unsigned given = c->s.fpu.header[0];
	if (!(given & X87))
		init_x87(c);
	if (!(given & SSE))
		memset(c->s.fpu.legacy + FX_XMM, 0, 256);
	if (!(given & AVX))
		memset(c->s.fpu.ymm_high, 0, 256);
	c->s.fpu.header[0] = ALL;
}

/* --- the area in memory ------------------------------------------------------------------------*/

/* All of it in one page that may be accessed directly, as kernels have it: then `host`. */
struct area {
	struct soft_vcpu *c;
	uint64_t linear;
	uint8_t *host; /* or NULL */
};

static struct area area_at(struct soft_vcpu *c, uint64_t linear, unsigned size,
			   enum soft_access access)
{
	const struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	uint64_t tag = access == SOFT_WRITE ? e->write : e->read;
	bool direct = linear - tag <= PAGE_SIZE - size;
	return (struct area){ c, linear, direct ? (uint8_t *)(linear + e->addend) : NULL };
}

static void area_store(const struct area *a, unsigned at, const void *from, unsigned size)
{
	if (a->host)
		memcpy(a->host + at, from, size);
	else
		soft_store_bytes(a->c, a->linear + at, from, size);
}

static void area_load(const struct area *a, unsigned at, void *to, unsigned size)
{
	if (a->host)
		memcpy(to, a->host + at, size);
	else
		soft_load_bytes(a->c, a->linear + at, to, size);
}

/* --- FXSAVE, FXRSTOR ---------------------------------------------------------------------------*/

static void check_fxsave(struct soft_vcpu *c)
{
	if (!native_has(c, FT_FXSR))
		soft_raise(c, X86_EXC_UD);
	if (c->s.cr0 & (X86_CR0_EM | X86_CR0_TS))
		soft_raise(c, X86_EXC_NM);
}

static uint64_t aligned_operand(struct soft_vcpu *c, const struct soft_insn *i, unsigned size,
				unsigned align, enum soft_access access)
{
	uint64_t linear = soft_operand(c, i, size, access);
	if (linear & (align - 1))
		soft_raise_gp(c);
	return linear;
}

static void fxsave(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint8_t buffer[FX_XMM + 256];
	check_fxsave(c);
	uint64_t linear = aligned_operand(c, i, 512, 16, SOFT_WRITE);
	struct area area = area_at(c, linear, 512, SOFT_WRITE);
	if (!area.host)
		soft_check_write(c, linear, 512);
	native_x87_save(c);
	native_mxcsr_save(c);
	memcpy(buffer, c->s.fpu.legacy, sizeof(buffer));
	x87_header(c, buffer, wide_pointers(i));
	memcpy(buffer + FX_MXCSR_MASK, &c->native->mxcsr_mask, 4);
	area_store(&area, 0, buffer, FX_XMM + 16 * register_count(c));
}

static void fxrstor(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint8_t buffer[512];
	uint32_t mxcsr;
	check_fxsave(c);
	struct area area =
		area_at(c, aligned_operand(c, i, 512, 16, SOFT_READ), 512, SOFT_READ);
	area_load(&area, 0, buffer, 512);
	memcpy(&mxcsr, buffer + FX_MXCSR, 4);
	check_mxcsr(c, mxcsr);
	set_x87(c, buffer, wide_pointers(i));
	set_mxcsr(c, mxcsr);
	memcpy(c->s.fpu.legacy + FX_XMM, buffer + FX_XMM, 16 * register_count(c));
}

/* --- the XSAVE family --------------------------------------------------------------------------*/

static uint64_t requested(const struct soft_vcpu *c)
{
	uint64_t mask = (c->s.gpr[X86_RDX] << 32) | (uint32_t)c->s.gpr[X86_RAX];
	return mask & c->s.xcr0 & ALL;
}

static void check_xsave(struct soft_vcpu *c, enum native_feature feature)
{
	if (!(c->s.cr4 & X86_CR4_OSXSAVE) || !native_has(c, FT_XSAVE) || !native_has(c, feature))
		soft_raise(c, X86_EXC_UD);
	if (c->s.cr0 & X86_CR0_TS)
		soft_raise(c, X86_EXC_NM);
}

/*
 * The bytes [*from, *to) of the area that saving or restoring `components` touches, which the SDM
 * leaves open and CPUs do by what is requested, used or not: the header always, AVX's part if it is
 * wanted; the legacy part for x87 and SSE, in the standard form (MXCSR) for any component.
 */
static void area_extent(unsigned components, bool compact, unsigned *from, unsigned *to)
{
	*from = components & (compact ? X87 | SSE : ALL) ? 0 : HEADER;
	*to = components & AVX ? AREA_SIZE : AVX_AT;
}

/* The area, aligned, and writable as far as it is going to be written. */
static struct area writable_area(struct soft_vcpu *c, const struct soft_insn *i, unsigned components,
			      bool compact)
{
	unsigned from, to;
	area_extent(components, compact, &from, &to);
	uint64_t linear = aligned_operand(c, i, to, 64, SOFT_WRITE);
	struct area area = area_at(c, linear, to, SOFT_WRITE);
	if (!area.host)
		soft_check_write(c, linear + from, to - from);
	return area;
}

/* Store the components in `write`; `mxcsr` says whether MXCSR and its mask go too. */
static void store_components(struct soft_vcpu *c, const struct area *area, unsigned write, bool mxcsr,
			     bool wide)
{
	uint8_t head[24];
	unsigned vectors = 16 * register_count(c);
	if (write & X87) {
		x87_header(c, head, wide);
		area_store(area, 0, head, 24);
		area_store(area, FX_ST, c->s.fpu.legacy + FX_ST, 128);
	}
	if (mxcsr) {
		uint32_t v[2] = { native_mxcsr(c), c->native->mxcsr_mask };
		area_store(area, FX_MXCSR, v, 8);
	}
	if (write & SSE)
		area_store(area, FX_XMM, c->s.fpu.legacy + FX_XMM, vectors);
	if (write & AVX)
		area_store(area, AVX_AT, c->s.fpu.ymm_high, vectors);
}

/* XSAVE, and XSAVEOPT with the init optimisation. */
static void xsave_standard(struct soft_vcpu *c, const struct soft_insn *i, bool optimise)
{
	check_xsave(c, optimise ? FT_XSAVEOPT : FT_XSAVE);
	uint64_t rfbm = requested(c), bv;
	struct area area = writable_area(c, i, rfbm, false);
	native_x87_save(c);
	unsigned used = in_use(c);
	area_load(&area, HEADER, &bv, 8);
	bv = (bv & ~rfbm) | (rfbm & used);
	store_components(c, &area, optimise ? rfbm & used : rfbm, rfbm & (SSE | AVX),
			 wide_pointers(i));
	area_store(&area, HEADER, &bv, 8);
}

static void xsave(struct soft_vcpu *c, const struct soft_insn *i)
{
	xsave_standard(c, i, false);
}

static void xsaveopt(struct soft_vcpu *c, const struct soft_insn *i)
{
	xsave_standard(c, i, true);
}

/* XSAVEC and XSAVES; with AVX the only extended component, it is where it always is. */
static void xsave_compact(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t rfbm = requested(c);
	struct area area = writable_area(c, i, rfbm, true);
	native_x87_save(c);
	unsigned used = in_use(c);
	if (native_mxcsr(c) != MXCSR_DEFAULT)
		used |= SSE;
	uint64_t header[2] = { rfbm & used, rfbm | COMPACTED };
	store_components(c, &area, rfbm & used, rfbm & used & SSE, wide_pointers(i));
	area_store(&area, HEADER, header, 16);
}

static void xsavec(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_xsave(c, FT_XSAVEC);
	xsave_compact(c, i);
}

static void xsaves(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_xsave(c, FT_XSAVES);
	if (c->cpl)
		soft_raise_gp(c);
	xsave_compact(c, i);
}

/*
 * Read what restoring `rfbm` touches. The header comes first: with a form that is not understood
 * there is no telling what else to read. Everything is read before the rest is checked.
 */
static bool load_area(struct soft_vcpu *c, const struct soft_insn *i, uint64_t rfbm,
		      bool must_be_compact, uint8_t buffer[AREA_SIZE])
{
	unsigned from, to;
	uint64_t comp;
	uint64_t linear = aligned_operand(c, i, AVX_AT, 64, SOFT_READ);
	struct area area = area_at(c, linear, AREA_SIZE, SOFT_READ);
	area_load(&area, HEADER, buffer + HEADER, HEADER_SIZE);
	memcpy(&comp, buffer + HEADER + 8, 8);
	bool compact = comp & COMPACTED;
	if (must_be_compact ? !compact : compact && !native_has(c, FT_XSAVEC))
		soft_raise_gp(c);
	if (compact && comp & ~COMPACTED & ~c->s.xcr0)
		soft_raise_gp(c);
	area_extent(compact ? rfbm & comp : rfbm, compact, &from, &to);
	if (from < HEADER)
		area_load(&area, 0, buffer, HEADER);
	if (to <= AVX_AT)
		return compact;
	uint64_t avx = soft_linear(c, i->x.seg, soft_ea(c, i) + AVX_AT, AREA_SIZE - AVX_AT, SOFT_READ);
	if (area.host)
		area_load(&area, AVX_AT, buffer + AVX_AT, AREA_SIZE - AVX_AT);
	else
		soft_load_bytes(c, avx, buffer + AVX_AT, AREA_SIZE - AVX_AT);
	return compact;
}

static void check_header(struct soft_vcpu *c, const uint8_t *header, bool compact)
{
	uint64_t bv, comp;
	memcpy(&bv, header, 8);
	memcpy(&comp, header + 8, 8);
	bool bad;
	if (compact)
		bad = bv & ~comp || bv & COMPACTED || !all_zero(header + 16, HEADER_SIZE - 16);
	else
		bad = bv & ~c->s.xcr0 || !all_zero(header + 8, 16);
	if (bad)
		soft_raise_gp(c);
}

static void restore(struct soft_vcpu *c, const struct soft_insn *i, bool must_be_compact)
{
	uint8_t area[AREA_SIZE] = { 0 };
	uint64_t rfbm = requested(c), bv;
	bool compact = load_area(c, i, rfbm, must_be_compact, area);
	check_header(c, area + HEADER, compact);
	memcpy(&bv, area + HEADER, 8);
	uint64_t load = rfbm & bv;
	uint32_t mxcsr;
	memcpy(&mxcsr, area + FX_MXCSR, 4);
	/* The standard form takes MXCSR from memory whenever SSE or AVX is requested. */
	bool load_mxcsr = compact ? load & SSE : rfbm & (SSE | AVX);
	if (load_mxcsr)
		check_mxcsr(c, mxcsr);

	unsigned vectors = 16 * register_count(c);
	if (load & X87)
		set_x87(c, area, wide_pointers(i));
	else if (rfbm & X87)
		init_x87(c);
	if (load_mxcsr)
		set_mxcsr(c, mxcsr);
	else if (compact && rfbm & SSE)
		set_mxcsr(c, MXCSR_DEFAULT);
	if (load & SSE)
		memcpy(c->s.fpu.legacy + FX_XMM, area + FX_XMM, vectors);
	else if (rfbm & SSE)
		memset(c->s.fpu.legacy + FX_XMM, 0, vectors);
	if (load & AVX)
		memcpy(c->s.fpu.ymm_high, area + AVX_AT, vectors);
	else if (rfbm & AVX)
		memset(c->s.fpu.ymm_high, 0, vectors);
}

static void xrstor(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_xsave(c, FT_XSAVE);
	restore(c, i, false);
}

static void xrstors(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_xsave(c, FT_XSAVES);
	if (c->cpl)
		soft_raise_gp(c);
	restore(c, i, true);
}

/* --- MXCSR -------------------------------------------------------------------------------------*/

static void check_mxcsr_insn(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (!(i->x.prefixes & X86_PREFIX_VEX)) {
		native_check_sse(c);
		return;
	}
	if (i->x.vvvv || i->x.prefixes & X86_PREFIX_VEXL || !native_has(c, FT_AVX))
		soft_raise(c, X86_EXC_UD);
	native_check_avx(c);
}

static void ldmxcsr(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_mxcsr_insn(c, i);
	uint32_t v = soft_load(c, soft_operand(c, i, 4, SOFT_READ), 4);
	check_mxcsr(c, v);
	set_mxcsr(c, v);
}

static void stmxcsr(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_mxcsr_insn(c, i);
	soft_store(c, soft_operand(c, i, 4, SOFT_WRITE), native_mxcsr(c), 4);
}

/* --- dispatch ----------------------------------------------------------------------------------*/

/* 0F AE with a memory operand; register forms (fences, FS and GS bases) are system/'s. */
void native_group15(struct soft_vcpu *c, const struct soft_insn *i)
{
	static soft_exec_fn *const plain[8] = {
		fxsave, fxrstor, ldmxcsr, stmxcsr, xsave, xrstor, xsaveopt, NULL,
	};
	uint16_t other = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE | X86_PREFIX_LOCK;
	unsigned digit = i->x.reg & 7;
	bool vex = i->x.prefixes & X86_PREFIX_VEX;
	soft_exec_fn *fn = plain[digit];
	if (i->x.mod == 3 || i->x.prefixes & other || (vex && digit != 2 && digit != 3) || !fn)
		soft_raise(c, X86_EXC_UD);
	fn(c, i);
}

/* 0F C7 /3, /4, /5. */
void native_group9(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint16_t other = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE | X86_PREFIX_LOCK;
	if (i->x.mod == 3 || i->x.prefixes & other)
		soft_raise(c, X86_EXC_UD);
	switch (i->x.reg & 7) {
	case 3: xrstors(c, i); break;
	case 4: xsavec(c, i); break;
	case 5: xsaves(c, i); break;
	default: soft_raise(c, X86_EXC_UD);
	}
}

/* 0F 77: EMMS, or VZEROUPPER and VZEROALL. */
void native_emms(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint16_t p = i->x.prefixes;
	if (p & (X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE | X86_PREFIX_LOCK))
		soft_raise(c, X86_EXC_UD);
	if (!(p & X86_PREFIX_VEX)) {
		if (!native_has(c, FT_MMX))
			soft_raise(c, X86_EXC_UD);
		native_check_unit(c, UNIT_MMX);
		__asm__ volatile("emms");
		return;
	}
	if (i->x.vvvv || !native_has(c, FT_AVX))
		soft_raise(c, X86_EXC_UD);
	native_check_avx(c);
	unsigned size = 16 * register_count(c);
	memset(c->s.fpu.ymm_high, 0, size);
	if (p & X86_PREFIX_VEXL)
		memset(c->s.fpu.legacy + FX_XMM, 0, size);
}

/* 0F C3: MOVNTI, a plain store here. */
void native_movnti(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint16_t other = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE | X86_PREFIX_LOCK;
	if (i->x.mod == 3 || i->x.prefixes & other || !native_has(c, FT_SSE2))
		soft_raise(c, X86_EXC_UD);
	unsigned size = i->x.op_size == 8 ? 8 : 4;
	soft_store(c, soft_operand(c, i, size, SOFT_WRITE), c->s.gpr[i->x.reg], size);
}
