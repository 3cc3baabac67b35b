/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An input that is read as a program: numbers one after the other. */
#pragma once

#include <stdint.h>

struct input {
	const uint8_t *at, *end;
};

/* A big-endian number; behind the end all bytes are zero. */
static inline uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t v = 0;
	for (; bytes; bytes--)
		v = v << 8 | (in->at < in->end ? *in->at++ : 0);
	return v;
}
