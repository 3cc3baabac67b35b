/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commonest vector instructions in C: whole-register moves, scalar loads and stores, XOR, OR,
 * AND. A memcpy between the vCPU's state and guest RAM is faster than a stub; compilers, libc's
 * string functions and kernels use little else.
 */
#include "cpu/soft/native/native.h"

#include <emmintrin.h>

struct vec16 {
	uint64_t q[2];
};

/*
 * One 16-byte store: a later load of the whole register can be forwarded from it, which two 8-byte
 * stores would not allow.
 */
static inline void set_low(struct soft_vcpu *c, unsigned n, uint64_t v)
{
	_mm_storeu_si128((__m128i *)native_xmm(c, n), _mm_cvtsi64_si128((int64_t)v));
}

static inline struct vec16 *xmm(struct soft_vcpu *c, unsigned n)
{
	return (struct vec16 *)native_xmm(c, n);
}

static inline struct vec16 load16(struct soft_vcpu *c, const struct soft_insn *i, bool aligned)
{
	struct vec16 v;
	uint64_t linear = soft_operand(c, i, 16, SOFT_READ);
	if (aligned && soft_unlikely(linear & 15))
		soft_raise_gp(c);
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->read > PAGE_SIZE - 16))
		soft_load_bytes(c, linear, &v, 16);
	else
		memcpy(&v, (const void *)(linear + e->addend), 16);
	return v;
}

static inline void store16(struct soft_vcpu *c, const struct soft_insn *i, bool aligned)
{
	uint64_t linear = soft_operand(c, i, 16, SOFT_WRITE);
	if (aligned && soft_unlikely(linear & 15))
		soft_raise_gp(c);
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->write > PAGE_SIZE - 16))
		soft_store_bytes(c, linear, xmm(c, i->x.reg), 16);
	else
		memcpy((void *)(linear + e->addend), xmm(c, i->x.reg), 16);
}

/* --- 16-byte moves -----------------------------------------------------------------------------*/

static void load_aligned(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	*xmm(c, i->x.reg) = load16(c, i, true);
}

static void load_unaligned(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	*xmm(c, i->x.reg) = load16(c, i, false);
}

static void store_aligned(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	store16(c, i, true);
}

static void store_unaligned(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	store16(c, i, false);
}

static void copy_to_reg(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	*xmm(c, i->x.reg) = *xmm(c, i->x.rm);
}

static void copy_to_rm(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	*xmm(c, i->x.rm) = *xmm(c, i->x.reg);
}

/* --- scalars -----------------------------------------------------------------------------------*/

static void load_q(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	uint64_t v = soft_load(c, soft_operand(c, i, 8, SOFT_READ), 8);
	set_low(c, i->x.reg, v);
}

static void load_d(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	uint64_t v = soft_load(c, soft_operand(c, i, 4, SOFT_READ), 4);
	set_low(c, i->x.reg, v);
}

static void store_q(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	soft_store(c, soft_operand(c, i, 8, SOFT_WRITE), xmm(c, i->x.reg)->q[0], 8);
}

static void store_d(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	soft_store(c, soft_operand(c, i, 4, SOFT_WRITE), xmm(c, i->x.reg)->q[0], 4);
}

/* MOVHPS, MOVHPD: the upper quadword. */
static void load_high(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	xmm(c, i->x.reg)->q[1] = soft_load(c, soft_operand(c, i, 8, SOFT_READ), 8);
}

static void store_high(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	soft_store(c, soft_operand(c, i, 8, SOFT_WRITE), xmm(c, i->x.reg)->q[1], 8);
}

/* MOVLPS, MOVLPD from memory: the lower quadword, the upper stays. */
static void load_low(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	xmm(c, i->x.reg)->q[0] = soft_load(c, soft_operand(c, i, 8, SOFT_READ), 8);
}

static void copy_q(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	set_low(c, i->x.reg, xmm(c, i->x.rm)->q[0]);
}

/* MOVSD xmm, xmm. */
static void merge_q(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	xmm(c, i->x.reg)->q[0] = xmm(c, i->x.rm)->q[0];
}

static void gpr_to_q(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	uint64_t v = c->s.gpr[i->x.rm];
	set_low(c, i->x.reg, i->x.op_size == 8 ? v : (uint32_t)v);
}

static void q_to_gpr(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	uint64_t v = xmm(c, i->x.reg)->q[0];
	c->s.gpr[i->x.rm] = i->x.op_size == 8 ? v : (uint32_t)v;
}

/* --- bitwise -----------------------------------------------------------------------------------*/

/* The source operand; registers lie aligned in the image. */
static inline __m128i source16(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (i->x.mod == 3)
		return *(const __m128i *)xmm(c, i->x.rm);
	struct vec16 v = load16(c, i, true);
	return _mm_loadu_si128((const __m128i *)&v);
}

static void bitwise_xor(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	__m128i *a = (__m128i *)xmm(c, i->x.reg);
	*a = _mm_xor_si128(*a, source16(c, i));
}

static void bitwise_or(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	__m128i *a = (__m128i *)xmm(c, i->x.reg);
	*a = _mm_or_si128(*a, source16(c, i));
}

static void bitwise_and(struct soft_vcpu *c, const struct soft_insn *i)
{
	native_check_sse(c);
	__m128i *a = (__m128i *)xmm(c, i->x.reg);
	*a = _mm_and_si128(*a, source16(c, i));
}

/* --- VEX moves ---------------------------------------------------------------------------------*/

static inline void set_vector(struct soft_vcpu *c, unsigned n, const void *value, bool wide)
{
	memcpy(native_xmm(c, n), value, 16);
	if (wide)
		memcpy(native_ymm_high(c, n), (const uint8_t *)value + 16, 16);
	else
		memset(native_ymm_high(c, n), 0, 16);
}

static inline void avx_load(struct soft_vcpu *c, const struct soft_insn *i, bool aligned)
{
	uint8_t v[32];
	native_check_avx(c);
	unsigned size = i->x.prefixes & X86_PREFIX_VEXL ? 32 : 16;
	uint64_t linear = soft_operand(c, i, size, SOFT_READ);
	if (aligned && soft_unlikely(linear & (size - 1)))
		soft_raise_gp(c);
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->read > PAGE_SIZE - size)) {
		soft_load_bytes(c, linear, v, size);
		set_vector(c, i->x.reg, v, size == 32);
	} else {
		set_vector(c, i->x.reg, (const void *)(linear + e->addend), size == 32);
	}
}

static inline void avx_store(struct soft_vcpu *c, const struct soft_insn *i, bool aligned)
{
	uint8_t v[32];
	native_check_avx(c);
	unsigned size = i->x.prefixes & X86_PREFIX_VEXL ? 32 : 16;
	uint64_t linear = soft_operand(c, i, size, SOFT_WRITE);
	if (aligned && soft_unlikely(linear & (size - 1)))
		soft_raise_gp(c);
	memcpy(v, native_xmm(c, i->x.reg), 16);
	memcpy(v + 16, native_ymm_high(c, i->x.reg), 16);
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->write > PAGE_SIZE - size))
		soft_store_bytes(c, linear, v, size);
	else if (size == 32)
		memcpy((void *)(linear + e->addend), v, 32);
	else
		memcpy((void *)(linear + e->addend), v, 16);
}

static void avx_load_aligned(struct soft_vcpu *c, const struct soft_insn *i)
{
	avx_load(c, i, true);
}

static void avx_load_unaligned(struct soft_vcpu *c, const struct soft_insn *i)
{
	avx_load(c, i, false);
}

static void avx_store_aligned(struct soft_vcpu *c, const struct soft_insn *i)
{
	avx_store(c, i, true);
}

static void avx_store_unaligned(struct soft_vcpu *c, const struct soft_insn *i)
{
	avx_store(c, i, false);
}

/* --- which is which ----------------------------------------------------------------------------*/

static soft_exec_fn *find_memory(uint8_t opcode, uint16_t pp)
{
	bool none = !pp, p66 = pp == X86_PREFIX_OPSIZE, f3 = pp == X86_PREFIX_REP;
	bool f2 = pp == X86_PREFIX_REPNE;
	switch (opcode) {
	case 0x10: return f3 ? load_d : f2 ? load_q : load_unaligned;
	case 0x11: return f3 ? store_d : f2 ? store_q : store_unaligned;
	case 0x12: return none || p66 ? load_low : NULL;
	case 0x13: return store_q;
	case 0x16: return none || p66 ? load_high : NULL;
	case 0x17: return store_high;
	case 0x28: return load_aligned;
	case 0x29: case 0x2b: return store_aligned;
	case 0x6f: return p66 ? load_aligned : f3 ? load_unaligned : NULL;
	case 0x7e: return f3 ? load_q : NULL;
	case 0x7f: return p66 ? store_aligned : f3 ? store_unaligned : NULL;
	case 0xd6: return p66 ? store_q : NULL;
	case 0xe7: return p66 ? store_aligned : NULL;
	case 0xf0: return load_unaligned;
	}
	return NULL;
}

static soft_exec_fn *find_register(const struct x86_insn *x, uint16_t pp)
{
	bool none = !pp, p66 = pp == X86_PREFIX_OPSIZE, f3 = pp == X86_PREFIX_REP;
	bool f2 = pp == X86_PREFIX_REPNE;
	switch (x->opcode) {
	case 0x10: return none || p66 ? copy_to_reg : f2 ? merge_q : NULL;
	case 0x11: return none || p66 ? copy_to_rm : NULL;
	case 0x28: return copy_to_reg;
	case 0x29: return copy_to_rm;
	case 0x6e: return p66 ? gpr_to_q : NULL;
	case 0x6f: return p66 || f3 ? copy_to_reg : NULL;
	case 0x7e: return p66 ? q_to_gpr : f3 ? copy_q : NULL;
	case 0x7f: return p66 || f3 ? copy_to_rm : NULL;
	}
	return NULL;
}

static soft_exec_fn *find_bitwise(uint8_t opcode, uint16_t pp)
{
	bool ps_pd = !pp || pp == X86_PREFIX_OPSIZE, p66 = pp == X86_PREFIX_OPSIZE;
	switch (opcode) {
	case 0x54: return ps_pd ? bitwise_and : NULL;
	case 0x56: return ps_pd ? bitwise_or : NULL;
	case 0x57: return ps_pd ? bitwise_xor : NULL;
	case 0xdb: return p66 ? bitwise_and : NULL;
	case 0xeb: return p66 ? bitwise_or : NULL;
	case 0xef: return p66 ? bitwise_xor : NULL;
	}
	return NULL;
}

static soft_exec_fn *find_vex(uint8_t opcode, uint16_t pp)
{
	bool packed = !pp || pp == X86_PREFIX_OPSIZE;
	bool p66 = pp == X86_PREFIX_OPSIZE, f3 = pp == X86_PREFIX_REP;
	switch (opcode) {
	case 0x10: return packed ? avx_load_unaligned : NULL;
	case 0x11: return packed ? avx_store_unaligned : NULL;
	case 0x28: return avx_load_aligned;
	case 0x29: case 0x2b: return avx_store_aligned;
	case 0x6f: return p66 ? avx_load_aligned : f3 ? avx_load_unaligned : NULL;
	case 0x7f: return p66 ? avx_store_aligned : f3 ? avx_store_unaligned : NULL;
	case 0xe7: return avx_store_aligned;
	case 0xf0: return avx_load_unaligned;
	}
	return NULL;
}

/* Called for instructions that have a form, so only valid combinations come here. */
soft_exec_fn *native_move_find(const struct x86_insn *x)
{
	if (x->map != X86_MAP_0F)
		return NULL;
	uint16_t pp = x->prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE);
	if (!pp)
		pp = x->prefixes & X86_PREFIX_OPSIZE;
	if (x->prefixes & X86_PREFIX_VEX)
		return x->mod == 3 ? NULL : find_vex(x->opcode, pp);
	soft_exec_fn *fn = find_bitwise(x->opcode, pp);
	if (fn)
		return fn;
	return x->mod == 3 ? find_register(x, pp) : find_memory(x->opcode, pp);
}

enum native_move native_move_kind(soft_exec_fn *fn)
{
	static const struct {
		soft_exec_fn *fn;
		enum native_move move;
	} kinds[] = {
		{ load_aligned, NATIVE_LOAD_ALIGNED }, { load_unaligned, NATIVE_LOAD_UNALIGNED },
		{ load_q, NATIVE_LOAD_Q }, { load_d, NATIVE_LOAD_D },
		{ store_aligned, NATIVE_STORE_ALIGNED },
		{ store_unaligned, NATIVE_STORE_UNALIGNED },
		{ store_q, NATIVE_STORE_Q }, { store_d, NATIVE_STORE_D },
		{ avx_load_aligned, NATIVE_AVX_LOAD_ALIGNED },
		{ avx_load_unaligned, NATIVE_AVX_LOAD_UNALIGNED },
		{ avx_store_aligned, NATIVE_AVX_STORE_ALIGNED },
		{ avx_store_unaligned, NATIVE_AVX_STORE_UNALIGNED },
		{ copy_to_reg, NATIVE_COPY }, { bitwise_xor, NATIVE_XOR },
	};
	for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
		if (kinds[k].fn == fn)
			return kinds[k].move;
	}
	return NATIVE_NO_MOVE;
}
