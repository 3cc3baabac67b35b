/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fill.h"

#include <glib.h>
#include <string.h>

static const uint64_t doubles[] = {
	0, UINT64_C(0x8000000000000000), UINT64_C(0x3ff0000000000000), UINT64_C(0xbff0000000000000),
	UINT64_C(0x7ff0000000000000), UINT64_C(0xfff0000000000000), UINT64_C(0x7ff8000000000000),
	UINT64_C(0x7ff0000000000001), UINT64_C(0xfff8000000012345), UINT64_C(0x7ff4000000000000),
	UINT64_C(0x0000000000000001), UINT64_C(0x000fffffffffffff), UINT64_C(0x0010000000000000),
	UINT64_C(0x7fefffffffffffff), UINT64_C(0x41e0000000000000), UINT64_C(0xc1e0000000200000),
	UINT64_C(0x43e0000000000000), UINT64_C(0x4330000000000001), UINT64_C(0x3fe0000000000000),
	UINT64_C(0x4008000000000000), UINT64_C(0x36a0000000000000), UINT64_C(0x47efffffe0000000),
};

static const uint32_t floats[] = {
	0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
	0xffc12345, 0x00000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000, 0xcf000001,
	0x4b000001, 0x3f000000, 0x40400000, 0x33800000, 0x387fc000, 0x477ff000,
};

static uint64_t random_double(struct rng *r)
{
	uint64_t v = rng_next(r);
	if (rng_percent(r, 40))
		return doubles[rng_below(r, G_N_ELEMENTS(doubles))];
	/* Exponents near each other, so that sums and products round in all ways. */
	uint64_t exponent = 1023 - 60 + rng_below(r, 120);
	return (v & UINT64_C(0x800fffffffffffff)) | exponent << 52;
}

static uint32_t random_float(struct rng *r)
{
	uint32_t v = rng_next(r);
	if (rng_percent(r, 40))
		return floats[rng_below(r, G_N_ELEMENTS(floats))];
	return (v & 0x807fffff) | (127 - 30 + rng_below(r, 60)) << 23;
}

enum { FILL_BITS, FILL_DOUBLES, FILL_FLOATS, FILL_SMALL, FILL_MIXED, FILL_KINDS };

static uint64_t random_quad(struct rng *r, unsigned kind)
{
	if (kind == FILL_MIXED)
		kind = rng_below(r, FILL_MIXED);
	switch (kind) {
	case FILL_DOUBLES: return random_double(r);
	case FILL_FLOATS: return random_float(r) | (uint64_t)random_float(r) << 32;
	case FILL_SMALL: return rng_next(r) & UINT64_C(0x807f800300ff0001);
	}
	return rng_next(r);
}

void fill_memory(struct rng *r, uint8_t *to, size_t size)
{
	unsigned kind = rng_below(r, FILL_KINDS);
	for (size_t at = 0; at < size; at += 8) {
		uint64_t v = random_quad(r, kind);
		memcpy(to + at, &v, 8);
	}
}

/* An 80-bit number for an x87 register. */
static void random_extended(struct rng *r, uint8_t to[16])
{
	static const uint16_t exponents[] = { 0, 0x7fff, 0x3fff, 1, 0x7ffe, 0x403e, 0x3bff };
	uint64_t mantissa = rng_next(r);
	uint16_t exponent = rng_next(r) & 0x8000;
	memset(to, 0, 16);
	switch (rng_below(r, 6)) {
	case 0:
		mantissa = UINT64_C(0x8000000000000000);
		G_GNUC_FALLTHROUGH;
	case 1:
		exponent |= exponents[rng_below(r, G_N_ELEMENTS(exponents))];
		break;
	case 2:
		mantissa = rng_percent(r, 50) ? 0 : UINT64_C(0xc000000000000000);
		exponent |= exponents[rng_below(r, G_N_ELEMENTS(exponents))];
		break;
	case 3:
		exponent |= rng_next(r) & 0x7fff;
		break;
	default:
		mantissa |= UINT64_C(0x8000000000000000);
		exponent |= 0x3fff - 40 + rng_below(r, 80);
		break;
	}
	memcpy(to, &mantissa, 8);
	memcpy(to + 8, &exponent, 2);
}

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, 2);
}

void fill_fpu(struct rng *r, struct x86_fpu *fpu)
{
	memset(fpu->legacy, 0, 32);
	memset(fpu->header, 0, sizeof(fpu->header));
	fpu->header[0] = 7;
	/* Control word: precision, rounding; exceptions mostly masked. */
	uint16_t fcw = 0x40 | (rng_next(r) & 0xf00);
	fcw |= rng_percent(r, 90) ? 0x3f : rng_next(r) & 0x3f;
	uint16_t fsw = rng_next(r) & 0x7800;
	if (rng_percent(r, 30))
		fsw |= rng_next(r) & 0x7f & fcw; /* nothing pending */
	if (rng_percent(r, 3))
		fsw |= rng_next(r) & 0x3f; /* perhaps something pending */
	if (fsw & ~fcw & 0x3f)
		fsw |= 0x8080;
	put16(fpu->legacy, fcw);
	put16(fpu->legacy + 2, fsw | (rng_next(r) & 0x4700));
	fpu->legacy[4] = rng_percent(r, 40) ? 0xff : rng_next(r);
	uint32_t mxcsr = 0x1f80 | (rng_next(r) & 0xe07f);
	if (rng_percent(r, 50))
		mxcsr = 0x1f80;
	else if (rng_percent(r, 15))
		mxcsr &= ~(rng_next(r) & 0x1f80);
	memcpy(fpu->legacy + 24, &mxcsr, 4);
	for (unsigned n = 0; n < 8; n++)
		random_extended(r, fpu->legacy + 32 + 16 * n);
	fill_memory(r, fpu->legacy + 160, 256);
	fill_memory(r, fpu->ymm_high, 256);
}
