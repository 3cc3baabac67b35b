/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that touch memory element by element under a mask: MASKMOVQ, MASKMOVDQU, VMASKMOVPx,
 * VPMASKMOVx and the AVX2 gathers. Only enabled elements can fault, and a gather that faults keeps
 * what it has done (its mask says what), so no stub could have the operand as one piece.
 */
#include "cpu/soft/native/native.h"

struct vec32 {
	uint8_t b[32];
};

static struct vec32 get_ymm(struct soft_vcpu *c, unsigned n)
{
	struct vec32 v;
	memcpy(v.b, native_xmm(c, n), 16);
	memcpy(v.b + 16, native_ymm_high(c, n), 16);
	return v;
}

static void set_ymm(struct soft_vcpu *c, unsigned n, const struct vec32 *v)
{
	memcpy(native_xmm(c, n), v->b, 16);
	memcpy(native_ymm_high(c, n), v->b + 16, 16);
}

static uint64_t wrap(const struct soft_insn *i, uint64_t offset)
{
	if (i->x.addr_size == 8)
		return offset;
	return i->x.addr_size == 4 ? (uint32_t)offset : (uint16_t)offset;
}

static uint64_t element_linear(struct soft_vcpu *c, const struct soft_insn *i, uint64_t offset,
			       unsigned size, enum soft_access access)
{
	return soft_linear(c, i->x.seg, wrap(i, offset), size, access);
}

/* --- MASKMOVQ, MASKMOVDQU ----------------------------------------------------------------------*/

static void mask_bytes(struct soft_vcpu *c, const struct soft_insn *i, const uint8_t *data,
		       const uint8_t *mask, unsigned count)
{
	uint64_t linear[16];
	/* Intel's CPUs check the whole operand, also what the mask leaves out. */
	uint64_t first = element_linear(c, i, c->s.gpr[X86_RDI], count, SOFT_WRITE);
	soft_check_write(c, first, count);
	for (unsigned k = 0; k < count; k++) {
		if (!(mask[k] & 0x80))
			continue;
		linear[k] = element_linear(c, i, c->s.gpr[X86_RDI] + k, 1, SOFT_WRITE);
	}
	for (unsigned k = 0; k < count; k++) {
		if (mask[k] & 0x80)
			soft_store(c, linear[k], data[k], 1);
	}
}

static void maskmovdqu(struct soft_vcpu *c, const struct soft_insn *i)
{
	bool vex = i->x.prefixes & X86_PREFIX_VEX;
	if (i->x.mod != 3 || (vex && (i->x.vvvv || i->x.prefixes & X86_PREFIX_VEXL)) ||
	    !native_has(c, vex ? FT_AVX : FT_SSE2))
		soft_raise(c, X86_EXC_UD);
	native_check_unit(c, vex ? UNIT_AVX : UNIT_SSE);
	mask_bytes(c, i, native_xmm(c, i->x.reg), native_xmm(c, i->x.rm), 16);
}

static void maskmovq(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (i->x.mod != 3 || i->x.prefixes & X86_PREFIX_VEX || !native_has(c, FT_SSE))
		soft_raise(c, X86_EXC_UD);
	native_check_unit(c, UNIT_MMX);
	native_mmx_save(c);
	/* With TOP 0, ST(n) is mm(n). */
	const uint8_t *st = c->s.fpu.legacy + FX_ST;
	mask_bytes(c, i, st + 16 * (i->x.reg & 7), st + 16 * (i->x.rm & 7), 8);
}

/* --- VMASKMOVPx, VPMASKMOVx --------------------------------------------------------------------*/

static void mask_load(struct soft_vcpu *c, const struct soft_insn *i, unsigned element)
{
	struct vec32 mask = get_ymm(c, i->x.vvvv), v = { 0 };
	unsigned size = i->x.prefixes & X86_PREFIX_VEXL ? 32 : 16;
	uint64_t ea = soft_ea(c, i);
	for (unsigned at = 0; at < size; at += element) {
		if (!(mask.b[at + element - 1] & 0x80))
			continue;
		uint64_t linear = element_linear(c, i, ea + at, element, SOFT_READ);
		uint64_t value = soft_load(c, linear, element);
		memcpy(v.b + at, &value, element);
	}
	set_ymm(c, i->x.reg, &v);
}

static void mask_store(struct soft_vcpu *c, const struct soft_insn *i, unsigned element)
{
	struct vec32 mask = get_ymm(c, i->x.vvvv), v = get_ymm(c, i->x.reg);
	unsigned size = i->x.prefixes & X86_PREFIX_VEXL ? 32 : 16;
	uint64_t ea = soft_ea(c, i), linear[8];
	for (unsigned at = 0; at < size; at += element) {
		if (!(mask.b[at + element - 1] & 0x80))
			continue;
		linear[at / 4] = element_linear(c, i, ea + at, element, SOFT_WRITE);
		soft_check_write(c, linear[at / 4], element);
	}
	for (unsigned at = 0; at < size; at += element) {
		uint64_t value = 0;
		if (!(mask.b[at + element - 1] & 0x80))
			continue;
		memcpy(&value, v.b + at, element);
		soft_store(c, linear[at / 4], value, element);
	}
}

static void check_vex_66(struct soft_vcpu *c, const struct soft_insn *i,
			 enum native_feature feature)
{
	uint16_t p = i->x.prefixes;
	if (!(p & X86_PREFIX_VEX) || !(p & X86_PREFIX_OPSIZE) ||
	    p & (X86_PREFIX_REP | X86_PREFIX_REPNE) || i->x.mod == 3 || !native_has(c, FT_AVX) ||
	    !native_has(c, feature))
		soft_raise(c, X86_EXC_UD);
}

static void vmaskmov(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_vex_66(c, i, FT_AVX);
	if (i->x.prefixes & X86_PREFIX_REXW)
		soft_raise(c, X86_EXC_UD);
	native_check_avx(c);
	unsigned element = i->x.opcode & 1 ? 8 : 4;
	if (i->x.opcode <= 0x2d)
		mask_load(c, i, element);
	else
		mask_store(c, i, element);
}

static void vpmaskmov(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_vex_66(c, i, FT_AVX2);
	native_check_avx(c);
	unsigned element = i->x.prefixes & X86_PREFIX_REXW ? 8 : 4;
	if (i->x.opcode == 0x8c)
		mask_load(c, i, element);
	else
		mask_store(c, i, element);
}

/* --- gathers -----------------------------------------------------------------------------------*/

/* A byte of a ymm register in the state. */
static uint8_t *ymm_byte(struct soft_vcpu *c, unsigned n, unsigned at)
{
	return at < 16 ? native_xmm(c, n) + at : native_ymm_high(c, n) + at - 16;
}

static void gather(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_vex_66(c, i, FT_AVX2);
	/* VSIB: index register 4 exists, which the decoder gives as "none". */
	unsigned index = i->x.index == X86_REG_NONE ? 4 : i->x.index;
	unsigned dest = i->x.reg, mask = i->x.vvvv;
	if ((i->x.modrm & 7) != 4 || i->x.addr_size == 2 || dest == mask || dest == index ||
	    mask == index)
		soft_raise(c, X86_EXC_UD);
	native_check_avx(c);
	unsigned element = i->x.prefixes & X86_PREFIX_REXW ? 8 : 4;
	unsigned index_size = i->x.opcode & 1 ? 8 : 4;
	unsigned vector = i->x.prefixes & X86_PREFIX_VEXL ? 32 : 16;
	unsigned count = vector / (element > index_size ? element : index_size);
	struct vec32 indices = get_ymm(c, index);

	uint64_t base = (uint64_t)i->x.disp;
	if (i->x.base != X86_REG_NONE)
		base += c->s.gpr[i->x.base];
	/* The mask's elements become all ones or zeros first; a fault shows them so. */
	for (unsigned at = 0; at < vector; at += element) {
		uint8_t *m = ymm_byte(c, mask, at);
		memset(m, m[element - 1] & 0x80 ? 0xff : 0, element);
	}
	if (vector == 16)
		memset(native_ymm_high(c, mask), 0, 16);
	for (unsigned k = 0; k < count; k++) {
		uint8_t *m = ymm_byte(c, mask, k * element);
		if (!m[0])
			continue;
		int64_t offset = 0;
		if (index_size == 8) {
			memcpy(&offset, indices.b + 8 * k, 8);
		} else {
			int32_t narrow;
			memcpy(&narrow, indices.b + 4 * k, 4);
			offset = narrow;
		}
		uint64_t ea = base + ((uint64_t)offset << i->x.scale);
		uint64_t v = soft_load(c, element_linear(c, i, ea, element, SOFT_READ), element);
		memcpy(ymm_byte(c, dest, k * element), &v, element);
		memset(m, 0, element);
		if (vector == 16)
			memset(native_ymm_high(c, dest), 0, 16);
	}
	for (unsigned at = count * element; at < 32; at++)
		*ymm_byte(c, dest, at) = 0;
	memset(native_xmm(c, mask), 0, 16);
	memset(native_ymm_high(c, mask), 0, 16);
}

soft_exec_fn *native_mask_find(const struct x86_insn *x)
{
	uint16_t pp = x->prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE);
	if (x->map == X86_MAP_0F && x->opcode == 0xf7 && !pp)
		return x->prefixes & X86_PREFIX_OPSIZE ? maskmovdqu : maskmovq;
	if (x->map != X86_MAP_0F38)
		return NULL;
	switch (x->opcode) {
	case 0x2c: case 0x2d: case 0x2e: case 0x2f:
		return vmaskmov;
	case 0x8c: case 0x8e:
		return vpmaskmov;
	case 0x90: case 0x91: case 0x92: case 0x93:
		return gather;
	}
	return NULL;
}
