/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arguments of libvirt's procedures: two bytes choose the procedure, the rest is its payload. What
 * decodes can be encoded, and that decodes to the same bytes again.
 */
#include "codec/procedure.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct xdr_type *type, const GByteArray *first)
{
	struct arena arena = {NULL};
	void *value = arena_alloc(&arena, type->size);
	g_autoptr(GByteArray) second = g_byte_array_new();
	bool good = xdr_decode(type, first->data, first->len, value, &arena, NULL) &&
		    xdr_encode(type, value, second, NULL);
	assert(good);
	assert(second->len == first->len && memcmp(second->data, first->data, first->len) == 0);
	arena_clear(&arena);
}

static void try_type(const struct xdr_type *type, const uint8_t *data, size_t size)
{
	struct arena arena = {NULL};
	void *value = arena_alloc(&arena, type->size);
	g_autoptr(GError) error = NULL;
	g_autoptr(GByteArray) out = g_byte_array_new();
	if (xdr_decode(type, data, size, value, &arena, &error)) {
		bool good = xdr_encode(type, value, out, &error);
		assert(good);
		again(type, out);
	} else {
		assert(error);
	}
	arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const struct remote_procedure_info *info =
		&remote_procedures[(data[0] << 8 | data[1]) % remote_procedure_count];
	if (info->args)
		try_type(info->args, data + 2, size - 2);
	/* A client decodes what a hostile daemon sends. */
	if (info->ret)
		try_type(info->ret, data + 2, size - 2);
	return 0;
}
