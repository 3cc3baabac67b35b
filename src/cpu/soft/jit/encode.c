/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host instructions as bytes. */
#include "cpu/soft/jit/emit.h"

/* The register is an operand, and may be changed: S1 is not the frame's addend from here on. */
static inline void uses(struct jit_emit *e, unsigned reg)
{
	if (reg == JIT_S1)
		e->frame.at_hand = false;
}

void jit_immediate(struct jit_emit *e, const void *bytes, unsigned n)
{
	if ((size_t)(e->end - e->p) < n) {
		e->failed = true;
		return;
	}
	memcpy(e->p, bytes, n);
	e->p += n;
}

/* Of any meaning: as uses(). */
void jit_bytes(struct jit_emit *e, const void *bytes, unsigned n)
{
	uses(e, JIT_S1);
	jit_immediate(e, bytes, n);
}

void jit_byte(struct jit_emit *e, uint8_t b)
{
	uses(e, JIT_S1);
	if (e->p == e->end)
		e->failed = true;
	else
		*e->p++ = b;
}

void jit_u32(struct jit_emit *e, uint32_t v)
{
	jit_bytes(e, &v, 4);
}

void jit_u64(struct jit_emit *e, uint64_t v)
{
	jit_bytes(e, &v, 8);
}

/* Where an instruction's bytes go: one look at the room that is left, since this is most of translating. */
static inline uint8_t *begin(struct jit_emit *e)
{
	if ((size_t)(e->end - e->p) < sizeof(e->nowhere))
		e->failed = true;
	return e->failed ? e->nowhere : e->p;
}

static inline void finish(struct jit_emit *e, uint8_t *end)
{
	if (!e->failed)
		e->p = end;
}

/* What comes before ModRM. `rex` has R, X and B in place. Returns where it goes on. */
static inline uint8_t *prefixes(uint8_t *p, uint32_t op, unsigned rex, bool force_rex)
{
	if (op & JIT_LOCK)
		*p++ = 0xf0;
	if (op & JIT_OPSIZE)
		*p++ = 0x66;
	if (op & JIT_F3)
		*p++ = 0xf3;
	if (op & JIT_F2)
		*p++ = 0xf2;
	if (op & JIT_W64)
		rex |= 8;
	if (rex || force_rex)
		*p++ = 0x40 | rex;
	if (op & 0xff0000)
		*p++ = op >> 16;
	if (op & 0xff00)
		*p++ = op >> 8;
	*p++ = op;
	return p;
}

static inline uint8_t *put_u32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
	return p + 4;
}

/* JIT_BYTE_REGS: numbers 4-7 are SPL.. DIL, which need a REX. */
static bool needs_rex(uint32_t op, unsigned reg)
{
	return op & JIT_BYTE_REGS && reg >= 4 && reg < 8;
}

void jit_op_rr(struct jit_emit *e, uint32_t op, unsigned reg, unsigned rm)
{
	uses(e, reg);
	uses(e, rm);
	uint8_t *p = prefixes(begin(e), op, (reg & 8 ? 4 : 0) | (rm & 8 ? 1 : 0),
			      needs_rex(op, reg) || needs_rex(op, rm));
	*p++ = 0xc0 | (reg & 7) << 3 | (rm & 7);
	finish(e, p);
}

void jit_op_rm(struct jit_emit *e, uint32_t op, unsigned reg, struct jit_at at)
{
	uses(e, reg);
	bool indexed = at.index != JIT_NONE, sib = indexed || (at.base & 7) == 4;
	uint8_t *p = prefixes(begin(e), op,
			      (reg & 8 ? 4 : 0) | (indexed && at.index & 8 ? 2 : 0) | (at.base & 8 ? 1 : 0),
			      needs_rex(op, reg));
	unsigned mod = at.disp == (int8_t)at.disp ? 1 : 2;
	if (at.disp == 0 && (at.base & 7) != 5)
		mod = 0;
	*p++ = mod << 6 | (reg & 7) << 3 | (sib ? 4 : at.base & 7);
	if (sib)
		*p++ = at.scale << 6 | (indexed ? at.index & 7 : 4) << 3 | (at.base & 7);
	if (mod == 1)
		*p++ = at.disp;
	else if (mod == 2)
		p = put_u32(p, at.disp);
	finish(e, p);
}

void jit_mov(struct jit_emit *e, unsigned to, unsigned from)
{
	jit_op_rr(e, 0x89 | JIT_W64, from, to);
}

void jit_load(struct jit_emit *e, unsigned to, struct jit_at at)
{
	jit_op_rm(e, 0x8b | JIT_W64, to, at);
}

void jit_store(struct jit_emit *e, unsigned from, struct jit_at at)
{
	jit_op_rm(e, 0x89 | JIT_W64, from, at);
}

void jit_lea(struct jit_emit *e, unsigned to, struct jit_at at)
{
	jit_op_rm(e, 0x8d | JIT_W64, to, at);
}

void jit_lea_word(struct jit_emit *e, unsigned to, struct jit_at at)
{
	jit_op_rm(e, 0x8d | jit_word_bits(e), to, at);
}

void jit_const(struct jit_emit *e, unsigned to, uint64_t v)
{
	uses(e, to);
	uint8_t *p = begin(e);
	if (v == (uint32_t)v) {
		if (to & 8)
			*p++ = 0x41;
		*p++ = 0xb8 | (to & 7);
		p = put_u32(p, v);
	} else if ((int64_t)v == (int32_t)v) {
		*p++ = 0x48 | (to & 8 ? 1 : 0);
		*p++ = 0xc7;
		*p++ = 0xc0 | (to & 7);
		p = put_u32(p, v);
	} else {
		*p++ = 0x48 | (to & 8 ? 1 : 0);
		*p++ = 0xb8 | (to & 7);
		memcpy(p, &v, 8);
		p += 8;
	}
	finish(e, p);
}

void jit_rorx(struct jit_emit *e, unsigned to, unsigned from, unsigned count)
{
	/* VEX.R, .B; map 0F3A; W1, F2 */
	const uint8_t code[] = { 0xc4, (to & 8 ? 0 : 0x80) | 0x40 | (from & 8 ? 0 : 0x20) | 3, 0xfb,
				 0xf0, 0xc0 | (to & 7) << 3 | (from & 7), count };
	jit_bytes(e, code, sizeof(code));
}

uint8_t *jit_jump(struct jit_emit *e, unsigned cc)
{
	uint8_t *p = begin(e);
	if (cc == JIT_CALL) {
		uses(e, JIT_S1);
		*p++ = 0xe8;
	} else if (cc == JIT_ALWAYS) {
		*p++ = 0xe9;
	} else {
		*p++ = 0x0f;
		*p++ = 0x80 | cc;
	}
	finish(e, put_u32(p, 0));
	return p;
}

void jit_bind(uint8_t *rel32, const uint8_t *target)
{
	int32_t d = (int32_t)(target - (rel32 + 4));
	memcpy(rel32, &d, 4);
}

void jit_jump_to(struct jit_emit *e, unsigned cc, const uint8_t *target)
{
	uint8_t *rel32 = jit_jump(e, cc);
	if (!e->failed)
		jit_bind(rel32, target);
}
