/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/xdr.h"

#include "base/bytes.h"
#include "base/error.h"
#include "codec/procedure.h"

#include <string.h>

/* --- Arena ---------------------------------------------------------------------------------- */

enum { ARENA_BLOCK = 4096, ARENA_ALIGN = 16 };

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(ARENA_ALIGN) uint8_t data[];
};

void *arena_alloc(struct arena *arena, size_t size)
{
	g_assert(size <= G_MAXSSIZE - ARENA_ALIGN);
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	struct arena_block *block = arena->blocks;
	if (!block || block->size - block->used < size) {
		size_t room = MAX(size, ARENA_BLOCK - sizeof(*block));
		block = g_malloc0(sizeof(*block) + room);
		block->size = room;
		block->next = arena->blocks;
		arena->blocks = block;
	}
	void *memory = block->data + block->used;
	block->used += size;
	return memory;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	if (!text)
		return NULL;
	size_t size = strlen(text) + 1;
	return memcpy(arena_alloc(arena, size), text, size);
}

void arena_clear(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *next = arena->blocks->next;
		g_free(arena->blocks);
		arena->blocks = next;
	}
}

/* --- What both directions share --------------------------------------------------------------- */

/* The memory of a list or of bytes. */
struct items {
	uint32_t count;
	void *items;
};

static size_t element_size(const struct xdr_field *field)
{
	switch (field->kind) {
	case XDR_I32:
		return 4;
	case XDR_I64:
		return 8;
	case XDR_STRING:
		return sizeof(char *);
	case XDR_UUID:
		return 16;
	case XDR_PARAM:
		return sizeof(struct xdr_param);
	default:
		return field->type->size;
	}
}

static size_t padded(size_t length)
{
	return (length + 3) & ~(size_t)3;
}

/* --- Decoding --------------------------------------------------------------------------------- */

struct reader {
	const uint8_t *at;
	size_t left;
	struct arena *arena;
};

static bool truncated(GError **error)
{
	return error_set(error, BERTH_ERR_INVALID, "the message ends too early");
}

static const uint8_t *take(struct reader *reader, size_t size, GError **error)
{
	if (reader->left < size) {
		truncated(error);
		return NULL;
	}
	const uint8_t *bytes = reader->at;
	reader->at += size;
	reader->left -= size;
	return bytes;
}

static bool take_u32(struct reader *reader, uint32_t *value, GError **error)
{
	const uint8_t *bytes = take(reader, 4, error);
	if (!bytes)
		return false;
	*value = be32_load(bytes);
	return true;
}

static bool take_u64(struct reader *reader, uint64_t *value, GError **error)
{
	const uint8_t *bytes = take(reader, 8, error);
	if (!bytes)
		return false;
	*value = be64_load(bytes);
	return true;
}

/* A counted run of bytes, copied with a NUL after it. */
static uint8_t *take_bytes(struct reader *reader, uint32_t max, uint32_t *length, GError **error)
{
	if (!take_u32(reader, length, error))
		return NULL;
	if (*length > max) {
		error_set(error, BERTH_ERR_INVALID, "%u bytes are more than the %u allowed", *length,
			  max);
		return NULL;
	}
	const uint8_t *bytes = take(reader, padded(*length), error);
	if (!bytes)
		return NULL;
	uint8_t *copy = arena_alloc(reader->arena, (size_t)*length + 1);
	memcpy(copy, bytes, *length);
	return copy;
}

static bool take_string(struct reader *reader, char **value, GError **error)
{
	uint32_t length;
	char *text = (char *)take_bytes(reader, XDR_MAX_STRING, &length, error);
	if (!text)
		return false;
	if (strlen(text) != length)
		return error_set(error, BERTH_ERR_INVALID, "a string contains a zero byte");
	*value = text;
	return true;
}

static bool take_param(struct reader *reader, struct xdr_param *param, GError **error)
{
	uint32_t type;
	if (!take_string(reader, &param->name, error) || !take_u32(reader, &type, error))
		return false;
	param->type = (int32_t)type;
	switch (type) {
	case XDR_PARAM_INT:
	case XDR_PARAM_UINT:
	case XDR_PARAM_BOOL:
		return take_u32(reader, &param->u, error);
	case XDR_PARAM_LLONG:
	case XDR_PARAM_ULLONG:
	case XDR_PARAM_DOUBLE:
		return take_u64(reader, &param->ul, error);
	case XDR_PARAM_STRING:
		return take_string(reader, &param->s, error);
	}
	return error_set(error, BERTH_ERR_INVALID, "there is no parameter type %u", type);
}

static bool take_struct(struct reader *reader, const struct xdr_type *type, uint8_t *value,
			GError **error);

static bool take_element(struct reader *reader, const struct xdr_field *field, uint8_t *to,
			 GError **error)
{
	const uint8_t *bytes;
	struct items *items;
	switch (field->kind) {
	case XDR_I32:
		return take_u32(reader, (uint32_t *)to, error);
	case XDR_I64:
		return take_u64(reader, (uint64_t *)to, error);
	case XDR_STRING:
		return take_string(reader, (char **)to, error);
	case XDR_UUID:
		bytes = take(reader, 16, error);
		if (bytes)
			memcpy(to, bytes, 16);
		return bytes != NULL;
	case XDR_BYTES:
		items = (struct items *)to;
		items->items = take_bytes(reader, field->max, &items->count, error);
		return items->items != NULL;
	case XDR_PARAM:
		return take_param(reader, (struct xdr_param *)to, error);
	default:
		return take_struct(reader, field->type, to, error);
	}
}

static bool take_list(struct reader *reader, const struct xdr_field *field, struct items *list,
		      GError **error)
{
	if (!take_u32(reader, &list->count, error))
		return false;
	if (list->count > field->max)
		return error_set(error, BERTH_ERR_INVALID, "a list of %u is longer than the %u allowed",
				 list->count, field->max);
	/* No element takes less than one word: this bounds what a short message makes us allocate. */
	if (list->count > reader->left / 4)
		return truncated(error);
	size_t size = element_size(field);
	uint8_t *items = list->items = arena_alloc(reader->arena, size * list->count);
	for (uint32_t i = 0; i < list->count; i++) {
		if (!take_element(reader, field, items + size * i, error))
			return false;
	}
	return true;
}

static bool take_optional(struct reader *reader, const struct xdr_field *field, void **pointer,
			  GError **error)
{
	uint32_t present;
	if (!take_u32(reader, &present, error))
		return false;
	if (!present)
		return true;
	if (field->kind == XDR_STRING)
		return take_string(reader, (char **)pointer, error);
	*pointer = arena_alloc(reader->arena, element_size(field));
	return take_element(reader, field, *pointer, error);
}

static bool take_field(struct reader *reader, const struct xdr_field *field, uint8_t *to,
		       GError **error)
{
	switch (field->many) {
	case XDR_LIST:
		return take_list(reader, field, (struct items *)to, error);
	case XDR_OPTIONAL:
		return take_optional(reader, field, (void **)to, error);
	case XDR_FIXED:
		for (uint32_t i = 0; i < field->max; i++) {
			if (!take_element(reader, field, to + element_size(field) * i, error))
				return false;
		}
		return true;
	default:
		return take_element(reader, field, to, error);
	}
}

static bool take_struct(struct reader *reader, const struct xdr_type *type, uint8_t *value,
			GError **error)
{
	for (uint32_t i = 0; i < type->field_count; i++) {
		const struct xdr_field *field = &type->fields[i];
		if (!take_field(reader, field, value + field->offset, error))
			return false;
	}
	return true;
}

bool xdr_decode(const struct xdr_type *type, const uint8_t *bytes, size_t size, void *value,
		struct arena *arena, GError **error)
{
	struct reader reader = {bytes, size, arena};
	memset(value, 0, type->size);
	if (!take_struct(&reader, type, value, error))
		return false;
	if (reader.left)
		return error_set(error, BERTH_ERR_INVALID, "%zu bytes are left over", reader.left);
	return true;
}

/* --- Encoding --------------------------------------------------------------------------------- */

static void put_u32(GByteArray *out, uint32_t value)
{
	uint8_t bytes[4];
	be32_store(bytes, value);
	g_byte_array_append(out, bytes, sizeof(bytes));
}

static void put_u64(GByteArray *out, uint64_t value)
{
	uint8_t bytes[8];
	be64_store(bytes, value);
	g_byte_array_append(out, bytes, sizeof(bytes));
}

static bool put_bytes(GByteArray *out, const void *bytes, size_t length, size_t max, GError **error)
{
	static const uint8_t zero[4];
	if (length > max)
		return error_set(error, BERTH_ERR_INTERNAL,
				 "%zu bytes do not fit into a field of %zu", length, max);
	put_u32(out, length);
	if (length)
		g_byte_array_append(out, bytes, length);
	g_byte_array_append(out, zero, padded(length) - length);
	return true;
}

static bool put_string(GByteArray *out, const char *text, GError **error)
{
	return put_bytes(out, text ? text : "", text ? strlen(text) : 0, XDR_MAX_STRING, error);
}

static bool put_param(GByteArray *out, const struct xdr_param *param, GError **error)
{
	if (!put_string(out, param->name, error))
		return false;
	put_u32(out, param->type);
	switch (param->type) {
	case XDR_PARAM_LLONG:
	case XDR_PARAM_ULLONG:
	case XDR_PARAM_DOUBLE:
		put_u64(out, param->ul);
		return true;
	case XDR_PARAM_STRING:
		return put_string(out, param->s, error);
	default:
		put_u32(out, param->u);
		return true;
	}
}

static bool put_element(GByteArray *out, const struct xdr_field *field, const uint8_t *from,
			GError **error)
{
	const struct items *items;
	switch (field->kind) {
	case XDR_I32:
		put_u32(out, *(const uint32_t *)from);
		return true;
	case XDR_I64:
		put_u64(out, *(const uint64_t *)from);
		return true;
	case XDR_STRING:
		return put_string(out, *(char *const *)from, error);
	case XDR_UUID:
		g_byte_array_append(out, from, 16);
		return true;
	case XDR_BYTES:
		items = (const struct items *)from;
		return put_bytes(out, items->items, items->count, field->max, error);
	case XDR_PARAM:
		return put_param(out, (const struct xdr_param *)from, error);
	default:
		return xdr_encode(field->type, from, out, error);
	}
}

static bool put_run(GByteArray *out, const struct xdr_field *field, const uint8_t *from,
		    uint32_t count, GError **error)
{
	size_t size = element_size(field);
	for (uint32_t i = 0; i < count; i++) {
		if (!put_element(out, field, from + size * i, error))
			return false;
	}
	return true;
}

static bool put_optional(GByteArray *out, const struct xdr_field *field, void *const *pointer,
			 GError **error)
{
	put_u32(out, *pointer != NULL);
	if (!*pointer)
		return true;
	if (field->kind == XDR_STRING)
		return put_string(out, *pointer, error);
	return put_element(out, field, *pointer, error);
}

bool xdr_encode(const struct xdr_type *type, const void *value, GByteArray *out, GError **error)
{
	for (uint32_t i = 0; i < type->field_count; i++) {
		const struct xdr_field *field = &type->fields[i];
		const uint8_t *from = (const uint8_t *)value + field->offset;
		const struct items *list = (const struct items *)from;
		bool good;
		switch (field->many) {
		case XDR_LIST:
			if (list->count > field->max)
				return error_set(error, BERTH_ERR_INTERNAL,
						 "a list of %u is longer than the %u allowed",
						 list->count, field->max);
			put_u32(out, list->count);
			good = put_run(out, field, list->items, list->count, error);
			break;
		case XDR_OPTIONAL:
			good = put_optional(out, field, (void *const *)from, error);
			break;
		case XDR_FIXED:
			good = put_run(out, field, from, field->max, error);
			break;
		default:
			good = put_element(out, field, from, error);
		}
		if (!good)
			return false;
	}
	return true;
}

/* --- Header ----------------------------------------------------------------------------------- */

void remote_header_read(const uint8_t *bytes, uint32_t *length, struct remote_header *header)
{
	*length = be32_load(bytes);
	header->program = be32_load(bytes + 4);
	header->version = be32_load(bytes + 8);
	header->procedure = be32_load(bytes + 12);
	header->type = be32_load(bytes + 16);
	header->serial = be32_load(bytes + 20);
	header->status = be32_load(bytes + 24);
}

void remote_header_write(uint8_t *bytes, uint32_t length, const struct remote_header *header)
{
	be32_store(bytes, length);
	be32_store(bytes + 4, header->program);
	be32_store(bytes + 8, header->version);
	be32_store(bytes + 12, header->procedure);
	be32_store(bytes + 16, header->type);
	be32_store(bytes + 20, header->serial);
	be32_store(bytes + 24, header->status);
}
