/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder against objdump: every instruction of a stock library or kernel must have the length
 * that objdump gives it. Arguments: files to disassemble; without, the C library. objdump's
 * "(bad)" and bytes that are data in the text section are left out, and so are all of AVX-512
 * and XOP, which the engine does not have.
 */
#include "cpu/x86/insn.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct counts {
	unsigned long good, bad;
};

static unsigned parse_bytes(const char *text, uint8_t bytes[X86_INSN_MAX + 1])
{
	unsigned n = 0;
	while (n <= X86_INSN_MAX && g_ascii_isxdigit(text[0]) && g_ascii_isxdigit(text[1])) {
		bytes[n++] = g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]);
		text += 2;
		if (*text == ' ')
			text++;
	}
	return n;
}

/* Lone prefixes that objdump prints as lines of their own are not instructions. */
static bool is_comparable(const char *mnemonic, const uint8_t *bytes, unsigned n)
{
	static const char *const skip[] = { "(bad)", "rex", "data16\n", "cs\n", "ds\n", "es\n",
					    "ss\n", "fs\n", "gs\n", "repz\n", "repnz\n", "lock\n",
					    "addr32\n", ".byte" };
	for (unsigned k = 0; k < G_N_ELEMENTS(skip); k++) {
		if (g_str_has_prefix(mnemonic, skip[k]))
			return false;
	}
	if (mnemonic[0] == 'k') /* AVX-512 mask registers */
		return false;
	unsigned k = 0;
	while (k < n && (bytes[k] == 0x66 || bytes[k] == 0x67 || bytes[k] == 0x2e))
		k++;
	if (k + 1 < n && bytes[k] == 0x8f && (bytes[k + 1] & 0x38)) /* XOP */
		return false;
	return k < n && bytes[k] != 0x62 && !strstr(mnemonic, "(bad)") && n <= X86_INSN_MAX;
}

static void check_line(char *line, enum x86_decode_mode mode, struct counts *counts)
{
	char *colon = strstr(line, ":\t");
	if (!colon)
		return;
	uint8_t bytes[X86_INSN_MAX + 1];
	unsigned n = parse_bytes(colon + 2, bytes);
	char *mnemonic = strchr(colon + 2, '\t');
	if (!n || !mnemonic || !is_comparable(mnemonic + 1, bytes, n))
		return;
	struct x86_insn insn;
	enum x86_decode_result r = x86_decode(bytes, n, mode, &insn);
	if (r == X86_DECODE_OK && insn.length == n) {
		counts->good++;
		return;
	}
	if (counts->bad++ < 20)
		g_printerr("result %d, length %u of %u: %s", r, insn.length, n, line);
}

static void check_file(const char *path, enum x86_decode_mode mode)
{
	g_autofree char *quoted = g_shell_quote(path);
	g_autofree char *command =
		g_strdup_printf("objdump -d -w --insn-width=16 %s 2>/dev/null", quoted);
	FILE *in = popen(command, "r");
	g_assert_nonnull(in);
	struct counts counts = { 0 };
	char line[512];
	while (fgets(line, sizeof(line), in))
		check_line(line, mode, &counts);
	pclose(in);
	g_print("# %s: %lu instructions agree, %lu do not\n", path, counts.good, counts.bad);
	g_assert_cmpuint(counts.bad, ==, 0);
}

static void test_libc(void)
{
	static const char path[] = "/lib/x86_64-linux-gnu/libc.so.6";
	g_autofree char *objdump = g_find_program_in_path("objdump");
	if (!objdump || !g_file_test(path, G_FILE_TEST_EXISTS)) {
		g_test_skip("no objdump or no such library here");
		return;
	}
	check_file(path, X86_DECODE_64);
}

static void test_given(const void *path)
{
	check_file(path, getenv("DECODE_32") ? X86_DECODE_32 : X86_DECODE_64);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (argc < 2)
		g_test_add_func("/x86/decode/objdump/libc", test_libc);
	for (int n = 1; n < argc; n++) {
		g_autofree char *name = g_strdup_printf("/x86/decode/objdump/%d", n);
		g_test_add_data_func(name, argv[n], test_given);
	}
	return g_test_run();
}
