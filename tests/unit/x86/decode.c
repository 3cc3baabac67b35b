/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decoder cases that real binaries do not show: modes, prefix rules, limits, operands. */
#include "cpu/x86/insn.h"
#include "cpu/x86/state.h"

#include <glib.h>
#include <string.h>

static enum x86_decode_result decode(const char *hex, enum x86_decode_mode mode, struct x86_insn *insn)
{
	uint8_t bytes[32];
	unsigned n = 0;
	for (const char *p = hex; *p; p++) {
		if (*p == ' ')
			continue;
		bytes[n++] = g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]);
		p++;
	}
	return x86_decode(bytes, n, mode, insn);
}

struct length_case {
	const char *hex;
	enum x86_decode_mode mode;
	enum x86_decode_result result;
	unsigned length;
};

static void test_lengths(void)
{
	static const struct length_case cases[] = {
		{ "b8 34 12", X86_DECODE_16, X86_DECODE_OK, 3 },
		{ "66 b8 78 56 34 12", X86_DECODE_16, X86_DECODE_OK, 6 },
		{ "48 b8 08 07 06 05 04 03 02 01", X86_DECODE_64, X86_DECODE_OK, 10 },
		{ "a1 34 12", X86_DECODE_16, X86_DECODE_OK, 3 },
		{ "48 a1 08 07 06 05 04 03 02 01", X86_DECODE_64, X86_DECODE_OK, 10 },
		{ "67 a1 04 03 02 01", X86_DECODE_64, X86_DECODE_OK, 6 },
		{ "ea 00 00 00 f0", X86_DECODE_16, X86_DECODE_OK, 5 },
		{ "66 ea 78 56 34 12 08 00", X86_DECODE_16, X86_DECODE_OK, 8 },
		{ "ea 00 00 00 00 08 00", X86_DECODE_64, X86_DECODE_INVALID, 0 },
		{ "c8 10 00 01", X86_DECODE_32, X86_DECODE_OK, 4 },
		{ "8b 84 24 78 56 34 12", X86_DECODE_32, X86_DECODE_OK, 7 },
		{ "8b 46 10", X86_DECODE_16, X86_DECODE_OK, 3 },
		{ "8b 06 34 12", X86_DECODE_16, X86_DECODE_OK, 4 },
		{ "f7 c0 04 03 02 01", X86_DECODE_32, X86_DECODE_OK, 6 },
		{ "f7 d0", X86_DECODE_32, X86_DECODE_OK, 2 },
		{ "66 e9 10 00", X86_DECODE_32, X86_DECODE_OK, 4 },
		{ "66 e9 10 00 00 00", X86_DECODE_64, X86_DECODE_OK, 6 }, /* Intel ignores 66 */
		{ "0f 20 04", X86_DECODE_32, X86_DECODE_OK, 3 }, /* MOV CR: mod is ignored */
		{ "c5 f8 77", X86_DECODE_32, X86_DECODE_OK, 3 },
		{ "c5 45 10", X86_DECODE_32, X86_DECODE_OK, 3 }, /* LDS eax, [ebp+16] */
		{ "62 f1 7c 48 10 00", X86_DECODE_64, X86_DECODE_INVALID, 0 }, /* EVEX */
		{ "40 40 90", X86_DECODE_64, X86_DECODE_OK, 3 },
		{ "f0 01 c0", X86_DECODE_64, X86_DECODE_INVALID, 0 }, /* LOCK with a register */
		{ "f0 01 00", X86_DECODE_64, X86_DECODE_OK, 3 },
		{ "f0 8b 00", X86_DECODE_64, X86_DECODE_INVALID, 0 },
		{ "f0 39 00", X86_DECODE_64, X86_DECODE_INVALID, 0 }, /* CMP */
		{ "66 c5 f8 77", X86_DECODE_64, X86_DECODE_INVALID, 0 }, /* a prefix before VEX */
		{ "0f 0f c0 9e", X86_DECODE_64, X86_DECODE_INVALID, 0 }, /* 3DNow! */
		{ "8b 84", X86_DECODE_64, X86_DECODE_MORE, 0 },
		{ "", X86_DECODE_64, X86_DECODE_MORE, 0 },
		{ "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", X86_DECODE_64, X86_DECODE_OK, 15 },
		{ "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", X86_DECODE_64,
		  X86_DECODE_TOO_LONG, 0 },
	};
	for (unsigned n = 0; n < G_N_ELEMENTS(cases); n++) {
		struct x86_insn insn;
		enum x86_decode_result r = decode(cases[n].hex, cases[n].mode, &insn);
		g_test_message("%s", cases[n].hex);
		g_assert_cmpint(r, ==, cases[n].result);
		if (r == X86_DECODE_OK)
			g_assert_cmpuint(insn.length, ==, cases[n].length);
	}
}

static void test_operands(void)
{
	struct x86_insn insn;
	/* mov r9, [r12+r13*4-8] */
	g_assert_cmpint(decode("4f 8b 4c ac f8", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.op_size, ==, 8);
	g_assert_cmpuint(insn.reg, ==, 9);
	g_assert_cmpuint(insn.base, ==, 12);
	g_assert_cmpuint(insn.index, ==, 13);
	g_assert_cmpuint(insn.scale, ==, 2);
	g_assert_cmpint(insn.disp, ==, -8);
	g_assert_cmpuint(insn.seg, ==, X86_DS);
	/* lea rax, [rip+0x10] */
	g_assert_cmpint(decode("48 8d 05 10 00 00 00", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_true(insn.rip_relative);
	g_assert_cmpuint(insn.base, ==, X86_REG_NONE);
	/* mov eax, gs:[0x28]: an absolute address through a SIB */
	g_assert_cmpint(decode("65 8b 04 25 28 00 00 00", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.seg, ==, X86_GS);
	g_assert_cmpuint(insn.base, ==, X86_REG_NONE);
	g_assert_cmpuint(insn.index, ==, X86_REG_NONE);
	/* CS: means nothing in 64-bit mode; [rbp] is in SS */
	g_assert_cmpint(decode("2e 8b 45 00", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.seg, ==, X86_SS);
	/* es mov ax, [bp+si] */
	g_assert_cmpint(decode("26 8b 02", X86_DECODE_16, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.seg, ==, X86_ES);
	g_assert_cmpuint(insn.base, ==, X86_RBP);
	g_assert_cmpuint(insn.index, ==, X86_RSI);
	/* andn eax, ecx, edx */
	g_assert_cmpint(decode("c4 e2 70 f2 c2", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.map, ==, X86_MAP_0F38);
	g_assert_cmpuint(insn.vvvv, ==, X86_RCX);
	g_assert_cmpuint(insn.op_size, ==, 4);
	/* push rax, with and without 66 */
	g_assert_cmpint(decode("50", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.op_size, ==, 8);
	g_assert_cmpint(decode("66 50", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.op_size, ==, 2);
	/* A REX that is not last is dropped. */
	g_assert_cmpint(decode("48 66 89 c0", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.op_size, ==, 2);
	/* call rax is 64 bits whatever the prefix. */
	g_assert_cmpint(decode("66 ff d0", X86_DECODE_64, &insn), ==, X86_DECODE_OK);
	g_assert_cmpuint(insn.op_size, ==, 8);
}

/* Any bytes: the decoder ends, and says no length beyond what it was given. */
static void test_random(void)
{
	for (unsigned n = 0; n < 300000; n++) {
		uint8_t bytes[16];
		for (unsigned k = 0; k < sizeof(bytes); k++)
			bytes[k] = g_test_rand_int_range(0, 256);
		unsigned available = g_test_rand_int_range(0, 17);
		for (int mode = X86_DECODE_16; mode <= X86_DECODE_64; mode++) {
			struct x86_insn insn, again;
			enum x86_decode_result r = x86_decode(bytes, available, mode, &insn);
			if (r != X86_DECODE_OK)
				continue;
			g_assert_cmpuint(insn.length, >=, 1);
			g_assert_cmpuint(insn.length, <=, MIN(available, X86_INSN_MAX));
			/* Its own bytes are enough, and one less is not. */
			g_assert_cmpint(x86_decode(bytes, insn.length, mode, &again), ==, X86_DECODE_OK);
			g_assert_cmpuint(again.length, ==, insn.length);
			g_assert_cmpint(x86_decode(bytes, insn.length - 1, mode, &again), ==,
					X86_DECODE_MORE);
		}
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/x86/decode/lengths", test_lengths);
	g_test_add_func("/x86/decode/operands", test_operands);
	g_test_add_func("/x86/decode/random", test_random);
	return g_test_run();
}
