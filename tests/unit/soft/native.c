/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 and SIMD: what the differential test cannot reach. Control registers that forbid them,
 * deferred and unmasked exceptions, the pointers of the last x87 instruction, state that leaves and
 * enters the vCPU, more distinct instructions than there is room for.
 */
#include "cpu/soft/interp/blocks.h"
#include "soft_guest.h"

#include <string.h>

enum { CODE = 0x10000, DATA = 0x30000, FCW = 0, FSW = 2, FIP = 8, FDP = 16, MXCSR = 24, ST = 32 };

static struct soft_guest *g;

/* The fault that one instruction raises, or -1. `code` replaces what is at CODE. */
static int fault_of(struct soft_vcpu *c, const void *code, size_t length)
{
	soft_guest_write(g, CODE, code, length);
	interp_blocks_handle_stale(c);
	c->s.rip = CODE;
	return soft_step(c) ? -1 : c->fault.vector;
}
#define FAULT_OF(c, ...)                                                                           \
	fault_of(c, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static struct soft_vcpu *start(void)
{
	soft_guest_enter64(g, CODE, false);
	g_assert_cmpint(FAULT_OF(g->c, 0xdb, 0xe3), ==, -1); /* fninit */
	memset(g->c->s.fpu.legacy + 160, 0, 256);
	return g->c;
}

static uint16_t get16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, 2);
	return v;
}

static void put32(void *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

/* --- permission -------------------------------------------------------------------------------*/

#define ADDPS 0x0f, 0x58, 0xc1
#define PADDB 0x0f, 0xfc, 0xc1
#define FLD1 0xd9, 0xe8
#define VADDPS 0xc5, 0xf4, 0x58, 0xc1
#define FWAIT 0x9b
#define FXSAVE 0x0f, 0xae, 0x04, 0x25, 0x00, 0x00, 0x03, 0x00
#define CRC32 0xf2, 0x0f, 0x38, 0xf1, 0xc1

static void test_permission(void)
{
	struct soft_vcpu *c = start();
	g_assert_cmpint(FAULT_OF(c, ADDPS), ==, -1);
	c->s.cr0 |= X86_CR0_TS;
	g_assert_cmpint(FAULT_OF(c, ADDPS), ==, X86_EXC_NM);
	g_assert_cmpint(FAULT_OF(c, PADDB), ==, X86_EXC_NM);
	g_assert_cmpint(FAULT_OF(c, FLD1), ==, X86_EXC_NM);
	g_assert_cmpint(FAULT_OF(c, VADDPS), ==, X86_EXC_NM);
	g_assert_cmpint(FAULT_OF(c, FXSAVE), ==, X86_EXC_NM);
	g_assert_cmpint(FAULT_OF(c, FWAIT), ==, X86_EXC_NM);
	g_assert_cmpint(FAULT_OF(c, CRC32), ==, -1); /* no vector register in it */
	c->s.cr0 &= ~X86_CR0_MP;
	g_assert_cmpint(FAULT_OF(c, FWAIT), ==, -1);

	c = start();
	c->s.cr0 |= X86_CR0_EM;
	g_assert_cmpint(FAULT_OF(c, ADDPS), ==, X86_EXC_UD);
	g_assert_cmpint(FAULT_OF(c, PADDB), ==, X86_EXC_UD);
	g_assert_cmpint(FAULT_OF(c, FLD1), ==, X86_EXC_NM);

	c = start();
	c->s.cr4 &= ~(uint64_t)X86_CR4_OSFXSR;
	g_assert_cmpint(FAULT_OF(c, ADDPS), ==, X86_EXC_UD);
	g_assert_cmpint(FAULT_OF(c, PADDB), ==, -1);
	g_assert_cmpint(FAULT_OF(c, VADDPS), ==, -1);

	c = start();
	c->s.xcr0 = 3;
	g_assert_cmpint(FAULT_OF(c, VADDPS), ==, X86_EXC_UD);
	c->s.xcr0 = 7;
	c->s.cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
	g_assert_cmpint(FAULT_OF(c, VADDPS), ==, X86_EXC_UD);
}

static void test_real_mode(void)
{
	struct soft_vcpu *c = g->c;
	/* In real mode C5 is LDS, and with a register there is no such instruction. */
	static const uint8_t vaddps[] = { VADDPS };
	soft_guest_write(g, 0x7c00, vaddps, sizeof(vaddps));
	soft_guest_enter16(g, 0x7c00);
	c->s.cr4 |= X86_CR4_OSXSAVE;
	g_assert_false(soft_step(c));
	g_assert_cmpint(c->fault.vector, ==, X86_EXC_UD);
	/* fninit; fld1; fnstenv [3000]: 14 bytes, the address in two pieces. */
	static const uint8_t code[] = { 0xdb, 0xe3, FLD1, 0xd9, 0x36, 0x00, 0x30 };
	soft_guest_write(g, 0x17c00, code, sizeof(code));
	soft_guest_enter16(g, 0x7c00);
	c->s.seg[X86_CS].base = 0x10000;
	c->s.seg[X86_CS].selector = 0x1000;
	for (unsigned n = 0; n < 3; n++)
		g_assert_true(soft_step(c));
	g_assert_cmphex(get16(g->ram->host + 0x3000), ==, 0x37f);
	g_assert_cmphex(get16(g->ram->host + 0x3002), ==, 0x3800);
	g_assert_cmphex(get16(g->ram->host + 0x3006), ==, 0x7c02);
}

/* --- exceptions -------------------------------------------------------------------------------*/

static void test_simd_exception(void)
{
	static const uint32_t one = 0x3f800000;
	struct soft_vcpu *c = start();
	uint8_t *xmm = c->s.fpu.legacy + 160;
	memcpy(xmm, &one, 4);
	put32(c->s.fpu.legacy + MXCSR, 0x1f80 & ~0x200); /* divide by zero unmasked */
	g_assert_cmpint(FAULT_OF(c, 0xf3, 0x0f, 0x5e, 0xc1), ==, X86_EXC_XM); /* divss xmm0, xmm1 */
	g_assert_cmpmem(xmm, 4, &one, 4);
	g_assert_cmphex(get16(c->s.fpu.legacy + MXCSR) & 0x3f, ==, 4);
	c->s.cr4 &= ~(uint64_t)X86_CR4_OSXMMEXCPT;
	g_assert_cmpint(FAULT_OF(c, 0xf3, 0x0f, 0x5e, 0xc1), ==, X86_EXC_UD);
	put32(c->s.fpu.legacy + MXCSR, 0x1f80);
	g_assert_cmpint(FAULT_OF(c, 0xf3, 0x0f, 0x5e, 0xc1), ==, -1);
	g_assert_cmphex(get16(xmm + 2), ==, 0x7f80); /* infinity */
}

static void test_deferred_exception(void)
{
	struct soft_vcpu *c = start();
	uint16_t fcw = 0x37b;
	soft_guest_write(g, DATA, &fcw, 2);
	g_assert_cmpint(FAULT_OF(c, 0xd9, 0x2c, 0x25, 0x00, 0x00, 0x03, 0x00), ==, -1); /* fldcw */
	g_assert_cmpint(FAULT_OF(c, FLD1), ==, -1);
	g_assert_cmpint(FAULT_OF(c, 0xd9, 0xee), ==, -1); /* fldz */
	g_assert_cmpint(FAULT_OF(c, 0xde, 0xf9), ==, -1); /* fdivp: raised, not yet delivered */
	g_assert_cmpint(FAULT_OF(c, 0xdf, 0xe0), ==, -1); /* fnstsw ax does not wait */
	g_assert_cmphex(c->s.gpr[X86_RAX] & 0x84, ==, 0x84);
	g_assert_cmpint(FAULT_OF(c, FLD1), ==, X86_EXC_MF);
	g_assert_cmpint(FAULT_OF(c, FWAIT), ==, X86_EXC_MF);
	g_assert_cmpint(FAULT_OF(c, PADDB), ==, X86_EXC_MF);
	g_assert_cmpint(FAULT_OF(c, 0xdb, 0xe2), ==, -1); /* fnclex */
	g_assert_cmpint(FAULT_OF(c, FWAIT), ==, -1);
}

/* --- state -------------------------------------------------------------------------------*/

static void test_pointers(void)
{
	struct soft_vcpu *c = start();
	uint64_t v;
	g_assert_cmpint(FAULT_OF(c, 0xd9, 0x04, 0x25, 0x40, 0x00, 0x03, 0x00), ==, -1); /* fld */
	/* fxsave64: the guest's addresses, none of the host's. */
	g_assert_cmpint(FAULT_OF(c, 0x48, FXSAVE), ==, -1);
	memcpy(&v, g->ram->host + DATA + FIP, 8);
	g_assert_cmphex(v, ==, CODE);
	memcpy(&v, g->ram->host + DATA + FDP, 8);
	g_assert_true(v == 0 || v == DATA + 0x40);
}

static void test_state_moves(void)
{
	static const uint8_t one[10] = { 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f };
	struct soft_vcpu *c = start();
	g_assert_cmpint(FAULT_OF(c, FLD1), ==, -1);
	struct x86_state *s = g_aligned_alloc0(1, sizeof(*s), 64);
	soft_state_get(c, s);
	g_assert_cmpmem(s->fpu.legacy + ST, 10, one, 10);
	g_assert_cmphex(get16(s->fpu.legacy + FSW), ==, 0x3800);
	/* Another value put in: the guest sees it. */
	s->fpu.legacy[ST + 9] = 0xbf;
	g_assert_cmphex(s->fpu.header[0], ==, 7);
	memset(s->fpu.ymm_high, 0x55, 256);
	s->fpu.header[0] = 3; /* without AVX: its registers are 0 */
	soft_state_set(c, s);
	g_assert_cmphex(c->s.fpu.ymm_high[0], ==, 0);
	g_aligned_free(s);
	g_assert_cmpint(FAULT_OF(c, 0xd9, 0x1c, 0x25, 0x00, 0x00, 0x03, 0x00), ==, -1); /* fstp */
	g_assert_cmphex(get16(g->ram->host + DATA + 2), ==, 0xbf80); /* -1.0f */
}

static void test_fxsave_32(void)
{
	static const uint8_t code[] = { 0x0f, 0xae, 0x05, 0x00, 0x00, 0x03, 0x00 };
	soft_guest_write(g, CODE, code, sizeof(code));
	soft_guest_enter32(g, CODE);
	memset(g->c->s.fpu.legacy + 160, 0x11, 256);
	memset(g->ram->host + DATA, 0xee, 512);
	g_assert_true(soft_step(g->c));
	g_assert_cmphex(g->ram->host[DATA + 160 + 127], ==, 0x11);
	g_assert_cmphex(g->ram->host[DATA + 160 + 128], ==, 0xee); /* xmm8 is not there */
}

/* --- room -------------------------------------------------------------------------------*/

/* 65,536 different PSHUFDs: more than stubs are kept. */
static void test_many(void)
{
	struct soft_vcpu *c = start();
	uint8_t *xmm = c->s.fpu.legacy + 160;
	uint8_t code[] = { 0x66, 0x45, 0x0f, 0x70, 0xc0, 0x00 };
	for (unsigned n = 0; n < 65536; n++) {
		unsigned to = n & 15, from = n >> 4 & 15, control = n >> 8;
		static const uint32_t value[4] = { 0x100, 0x101, 0x102, 0x103 };
		memcpy(xmm + 16 * from, value, 16);
		code[1] = 0x40 | (to & 8) >> 1 | from >> 3;
		code[4] = 0xc0 | (to & 7) << 3 | (from & 7);
		code[5] = control;
		g_assert_cmpint(fault_of(c, code, sizeof(code)), ==, -1);
		for (unsigned k = 0; k < 4; k++)
			g_assert_cmphex(get16(xmm + 16 * to + 4 * k), ==,
					0x100 + (control >> 2 * k & 3));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g = soft_guest_new(4 << 20, 1);
	g_test_add_func("/soft/native/permission", test_permission);
	g_test_add_func("/soft/native/real-mode", test_real_mode);
	g_test_add_func("/soft/native/simd-exception", test_simd_exception);
	g_test_add_func("/soft/native/deferred-exception", test_deferred_exception);
	g_test_add_func("/soft/native/pointers", test_pointers);
	g_test_add_func("/soft/native/state-moves", test_state_moves);
	g_test_add_func("/soft/native/fxsave-32", test_fxsave_32);
	g_test_add_func("/soft/native/many", test_many);
	int result = g_test_run();
	soft_guest_free(g);
	return result;
}
