/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 9P2000.L's basic types in guest memory: little-endian integers and counted strings. */
#include "dev/virtio/p9_int.h"

#include "base/bytes.h"

#include <string.h>

static uint64_t in_load(struct p9_in *in, unsigned size)
{
	uint8_t raw[8] = {0};
	if (in->bad || in->end - in->at < size ||
	    virtq_read(in->chain, in->at, raw, size) != size) {
		in->bad = true;
		return 0;
	}
	in->at += size;
	return le_load(raw, size);
}

uint8_t p9_u8(struct p9_in *in)
{
	return in_load(in, 1);
}

uint16_t p9_u16(struct p9_in *in)
{
	return in_load(in, 2);
}

uint32_t p9_u32(struct p9_in *in)
{
	return in_load(in, 4);
}

uint64_t p9_u64(struct p9_in *in)
{
	return in_load(in, 8);
}

void p9_string(struct p9_in *in, char *text, size_t size)
{
	uint16_t length = p9_u16(in);
	text[0] = 0;
	if (in->bad || length >= size || in->end - in->at < length ||
	    virtq_read(in->chain, in->at, text, length) != length || memchr(text, 0, length)) {
		in->bad = true;
		text[0] = 0;
		return;
	}
	text[length] = 0;
	in->at += length;
}

void p9_name(struct p9_in *in, char name[NAME_MAX + 1])
{
	p9_string(in, name, NAME_MAX + 1);
	if (!name[0] || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		in->bad = true;
}

void p9_put(struct p9_out *out, const void *bytes, size_t length)
{
	if (out->bad || out->end - out->at < length ||
	    virtq_write(out->chain, out->at, bytes, length) != length) {
		out->bad = true;
		return;
	}
	out->at += length;
}

static void out_store(struct p9_out *out, uint64_t v, unsigned size)
{
	uint8_t raw[8];
	le_store(raw, v, size);
	p9_put(out, raw, size);
}

void p9_put8(struct p9_out *out, uint8_t v)
{
	out_store(out, v, 1);
}

void p9_put16(struct p9_out *out, uint16_t v)
{
	out_store(out, v, 2);
}

void p9_put32(struct p9_out *out, uint32_t v)
{
	out_store(out, v, 4);
}

void p9_put64(struct p9_out *out, uint64_t v)
{
	out_store(out, v, 8);
}

void p9_put_string(struct p9_out *out, const char *text)
{
	size_t length = MIN(strlen(text), UINT16_MAX);
	p9_put16(out, length);
	p9_put(out, text, length);
}
