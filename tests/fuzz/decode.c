/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instruction decoder: a stream of guest code in each mode, instruction after instruction. */
#include "cpu/x86/insn.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_stream(const uint8_t *data, size_t size, enum x86_decode_mode mode)
{
	size_t at = 0;
	while (at < size) {
		struct x86_insn insn;
		enum x86_decode_result r = x86_decode(data + at, size - at, mode, &insn);
		if (r == X86_DECODE_OK && (insn.length == 0 || insn.length > X86_INSN_MAX ||
					   insn.length > size - at || insn.rm > 15 || insn.reg > 15))
			abort();
		at += r == X86_DECODE_OK ? insn.length : 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* An exact copy: reading one byte too many is then an error that the sanitizer sees. */
	uint8_t *copy = malloc(size ? size : 1);
	memcpy(copy, data, size);
	for (int mode = X86_DECODE_16; mode <= X86_DECODE_64; mode++)
		decode_stream(copy, size, mode);
	free(copy);
	return 0;
}
