/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AML encoding: ACPI 6.4, chapter 20 (grammar) and 6.4 (resource descriptors). */
#include "machine/acpi/aml.h"

#include "base/bytes.h"

#include <string.h>

enum {
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXTENDED = 0x5b,
	OP_EXT_MUTEX = 0x01,
	OP_EXT_ACQUIRE = 0x23,
	OP_EXT_RELEASE = 0x27,
	OP_EXT_REGION = 0x80,
	OP_EXT_FIELD = 0x81,
	OP_EXT_DEVICE = 0x82,
	OP_LOCAL0 = 0x60,
	OP_ARG0 = 0x68,
	OP_IF = 0xa0,
	OP_ELSE = 0xa1,
	OP_WHILE = 0xa2,
};

static void put(struct aml *a, uint64_t value, unsigned size)
{
	uint8_t raw[8];
	le64_store(raw, value);
	g_byte_array_append(a->bytes, raw, size);
}

static void insert(struct aml *a, guint at, const uint8_t *data, unsigned length)
{
	guint tail = a->bytes->len - at;
	g_byte_array_set_size(a->bytes, a->bytes->len + length);
	memmove(a->bytes->data + at + length, a->bytes->data + at, tail);
	memcpy(a->bytes->data + at, data, length);
}

/*
 * PkgLength (20.2.4): one to four bytes. In the long forms the first byte holds the number of
 * further bytes in bits 6-7 and the value's low nibble; `value` includes the encoding if `self`.
 */
static unsigned encode_length(uint8_t out[4], uint32_t value, bool self)
{
	for (unsigned extra = 0; extra < 4; extra++) {
		uint32_t total = value + (self ? extra + 1 : 0);
		if (total >= (extra ? 1u << (4 + 8 * extra) : 64))
			continue;
		out[0] = extra ? (uint8_t)(extra << 6 | (total & 15)) : (uint8_t)total;
		for (unsigned i = 0; i < extra; i++)
			out[1 + i] = (uint8_t)(total >> (4 + 8 * i));
		return extra + 1;
	}
	g_assert_not_reached();
}

static unsigned encode_int(uint8_t out[9], uint64_t value)
{
	unsigned size = value <= 0xff ? 1 : value <= 0xffff ? 2 : value <= UINT32_MAX ? 4 : 8;
	if (value <= 1) {
		out[0] = (uint8_t)value; /* ZeroOp, OneOp */
		return 1;
	}
	out[0] = size == 1 ? OP_BYTE : size == 2 ? OP_WORD : size == 4 ? OP_DWORD : OP_QWORD;
	le_store(out + 1, value, size);
	return size + 1;
}

static void begin(struct aml *a, bool resources)
{
	g_assert(a->depth < AML_DEPTH_MAX);
	a->open[a->depth].length_at = a->bytes->len;
	a->open[a->depth].resources = resources;
	a->depth++;
}

void aml_end(struct aml *a)
{
	uint8_t raw[9];
	g_assert(a->depth > 0);
	guint at = a->open[--a->depth].length_at;
	if (a->open[a->depth].resources) {
		put(a, 0x79, 1); /* end tag; checksum 0 means "not computed" */
		put(a, 0, 1);
		insert(a, at, raw, encode_int(raw, a->bytes->len - at));
	}
	insert(a, at, raw, encode_length(raw, a->bytes->len - at, true));
}

void aml_op(struct aml *a, enum aml_op op)
{
	put(a, op, 1);
}

static void put_segment(struct aml *a, const char *text, size_t length)
{
	char segment[4] = {'_', '_', '_', '_'};
	g_assert(length >= 1 && length <= 4);
	memcpy(segment, text, length);
	g_byte_array_append(a->bytes, (const uint8_t *)segment, 4);
}

void aml_path(struct aml *a, const char *path)
{
	for (; *path == '\\' || *path == '^'; path++)
		put(a, (uint8_t)*path, 1);
	unsigned segments = 1;
	for (const char *p = path; *p; p++)
		segments += *p == '.';
	if (segments == 2) {
		put(a, OP_DUAL_NAME, 1);
	} else if (segments > 2) {
		put(a, OP_MULTI_NAME, 1);
		put(a, segments, 1);
	}
	for (;;) {
		size_t length = strcspn(path, ".");
		put_segment(a, path, length);
		if (!path[length])
			return;
		path += length + 1;
	}
}

void aml_arg(struct aml *a, unsigned n)
{
	g_assert(n < 7);
	put(a, OP_ARG0 + n, 1);
}

void aml_local(struct aml *a, unsigned n)
{
	g_assert(n < 8);
	put(a, OP_LOCAL0 + n, 1);
}

void aml_int(struct aml *a, uint64_t value)
{
	uint8_t raw[9];
	g_byte_array_append(a->bytes, raw, encode_int(raw, value));
}

void aml_string(struct aml *a, const char *text)
{
	put(a, OP_STRING, 1);
	g_byte_array_append(a->bytes, (const uint8_t *)text, strlen(text) + 1);
}

/* Three letters of 5 bits and four hex digits, stored big-endian (ACPI 6.4, 19.3.4). */
void aml_eisa_id(struct aml *a, const char *id)
{
	uint32_t v = 0;
	g_assert(strlen(id) == 7);
	for (unsigned i = 0; i < 3; i++)
		v = v << 5 | ((id[i] - '@') & 31);
	for (unsigned i = 3; i < 7; i++)
		v = v << 4 | (uint32_t)g_ascii_xdigit_value(id[i]);
	put(a, OP_DWORD, 1);
	put(a, GUINT32_SWAP_LE_BE(v), 4);
}

void aml_buffer(struct aml *a, const void *data, unsigned length)
{
	put(a, OP_BUFFER, 1);
	begin(a, false);
	aml_int(a, length);
	g_byte_array_append(a->bytes, data, length);
	aml_end(a);
}

/* The first three groups are little-endian in the buffer (ACPI 6.4, 19.6.142). */
void aml_uuid(struct aml *a, const char *uuid)
{
	static const uint8_t place[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	uint8_t raw[16];
	for (unsigned i = 0; i < 16; i++) {
		uuid += *uuid == '-';
		raw[place[i]] = (uint8_t)(g_ascii_xdigit_value(uuid[0]) << 4 |
					  g_ascii_xdigit_value(uuid[1]));
		uuid += 2;
	}
	aml_buffer(a, raw, sizeof(raw));
}

void aml_name(struct aml *a, const char *path)
{
	put(a, OP_NAME, 1);
	aml_path(a, path);
}

void aml_name_int(struct aml *a, const char *path, uint64_t value)
{
	aml_name(a, path);
	aml_int(a, value);
}

void aml_name_string(struct aml *a, const char *path, const char *text)
{
	aml_name(a, path);
	aml_string(a, text);
}

void aml_name_eisa_id(struct aml *a, const char *path, const char *id)
{
	aml_name(a, path);
	aml_eisa_id(a, id);
}

void aml_begin_scope(struct aml *a, const char *path)
{
	put(a, OP_SCOPE, 1);
	begin(a, false);
	aml_path(a, path);
}

void aml_begin_device(struct aml *a, const char *name)
{
	put(a, OP_EXTENDED, 1);
	put(a, OP_EXT_DEVICE, 1);
	begin(a, false);
	aml_path(a, name);
}

void aml_begin_method(struct aml *a, const char *name, unsigned args, bool serialized)
{
	put(a, OP_METHOD, 1);
	begin(a, false);
	aml_path(a, name);
	put(a, args | (serialized ? 8 : 0), 1);
}

void aml_begin_if(struct aml *a)
{
	put(a, OP_IF, 1);
	begin(a, false);
}

void aml_begin_while(struct aml *a)
{
	put(a, OP_WHILE, 1);
	begin(a, false);
}

void aml_begin_else(struct aml *a)
{
	put(a, OP_ELSE, 1);
	begin(a, false);
}

void aml_begin_package(struct aml *a, unsigned elements)
{
	g_assert(elements < 256);
	put(a, OP_PACKAGE, 1);
	begin(a, false);
	put(a, elements, 1);
}

void aml_begin_resources(struct aml *a)
{
	put(a, OP_BUFFER, 1);
	begin(a, true);
}

void aml_mutex(struct aml *a, const char *name)
{
	put(a, OP_EXTENDED, 1);
	put(a, OP_EXT_MUTEX, 1);
	aml_path(a, name);
	put(a, 0, 1); /* sync level */
}

void aml_acquire(struct aml *a, const char *mutex)
{
	put(a, OP_EXTENDED, 1);
	put(a, OP_EXT_ACQUIRE, 1);
	aml_path(a, mutex);
	put(a, 0xffff, 2); /* no timeout */
}

void aml_release(struct aml *a, const char *mutex)
{
	put(a, OP_EXTENDED, 1);
	put(a, OP_EXT_RELEASE, 1);
	aml_path(a, mutex);
}

void aml_region(struct aml *a, const char *name, enum aml_space space, uint64_t base,
		uint64_t length)
{
	put(a, OP_EXTENDED, 1);
	put(a, OP_EXT_REGION, 1);
	aml_path(a, name);
	put(a, space, 1);
	aml_int(a, base);
	aml_int(a, length);
}

void aml_begin_field(struct aml *a, const char *region, enum aml_access access)
{
	put(a, OP_EXTENDED, 1);
	put(a, OP_EXT_FIELD, 1);
	begin(a, false);
	aml_path(a, region);
	put(a, access, 1); /* NoLock, Preserve */
}

void aml_field(struct aml *a, const char *name, unsigned bits)
{
	uint8_t raw[4];
	if (name)
		aml_path(a, name);
	else
		put(a, 0, 1);
	g_byte_array_append(a->bytes, raw, encode_length(raw, bits, false));
}

void aml_create_dword_field(struct aml *a, unsigned arg, unsigned index, const char *name)
{
	aml_op(a, AML_CREATE_DWORD_FIELD);
	aml_arg(a, arg);
	aml_int(a, index);
	aml_path(a, name);
}

void aml_res_io(struct aml *a, uint16_t base, uint8_t align, uint8_t length)
{
	put(a, 0x47, 1);
	put(a, 1, 1); /* decodes 16 bits */
	put(a, base, 2);
	put(a, base, 2);
	put(a, align, 1);
	put(a, length, 1);
}

void aml_res_irq(struct aml *a, unsigned irq)
{
	put(a, 0x22, 1);
	put(a, 1u << irq, 2);
}

void aml_res_interrupt(struct aml *a, enum aml_irq_flags flags, const uint32_t *gsis,
		       unsigned count)
{
	put(a, 0x89, 1);
	put(a, 2 + 4 * count, 2);
	put(a, flags, 1);
	put(a, count, 1);
	for (unsigned i = 0; i < count; i++)
		put(a, gsis[i], 4);
}

void aml_res_memory32(struct aml *a, uint32_t base, uint32_t length)
{
	put(a, 0x86, 1);
	put(a, 9, 2);
	put(a, 1, 1); /* read-write */
	put(a, base, 4);
	put(a, length, 4);
}

/* Word, DWord and QWord address space descriptors differ in tag and width only (6.4.3.5). */
static void put_window(struct aml *a, uint8_t tag, unsigned width, uint8_t type, uint8_t type_flags,
		       uint64_t first, uint64_t last)
{
	put(a, tag, 1);
	put(a, 3 + 5 * width, 2);
	put(a, type, 1);
	put(a, 0x0c, 1); /* producer, positive decode, both ends fixed */
	put(a, type_flags, 1);
	put(a, 0, width); /* granularity */
	put(a, first, width);
	put(a, last, width);
	put(a, 0, width); /* translation */
	put(a, last - first + 1, width);
}

void aml_res_bus_window(struct aml *a, uint16_t first, uint16_t last)
{
	put_window(a, 0x88, 2, 2, 0, first, last);
}

void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last)
{
	put_window(a, 0x88, 2, 1, 3 /* ISA and non-ISA ranges */, first, last);
}

void aml_res_memory32_window(struct aml *a, uint32_t first, uint32_t last, bool cacheable)
{
	put_window(a, 0x87, 4, 0, cacheable ? 3 : 1, first, last);
}

void aml_res_memory64_window(struct aml *a, uint64_t first, uint64_t last, bool cacheable)
{
	put_window(a, 0x8a, 8, 0, cacheable ? 3 : 1, first, last);
}
