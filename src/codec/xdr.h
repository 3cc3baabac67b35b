/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XDR (RFC 4506) by description: a struct's fields are a const table, and one pair of functions
 * reads and writes them all. The bytes are hostile: every length is checked against what is left
 * and against the field's limit before memory is taken, so that a message costs at most a small
 * multiple of its own size.
 *
 * What is decoded lives in an arena, which is freed as a whole.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XDR_MAX_STRING (4U << 20)

/* --- Arena ---------------------------------------------------------------------------------- */

struct arena_block;
struct arena {
	struct arena_block *blocks;
};
/* Zeroed memory until arena_clear(). Never NULL. */
void *arena_alloc(struct arena *arena, size_t size);
/* NULL gives NULL. */
char *arena_strdup(struct arena *arena, const char *text);
void arena_clear(struct arena *arena);

/* --- Description ---------------------------------------------------------------------------- */

enum xdr_kind { XDR_I32, XDR_I64, XDR_STRING, XDR_UUID, XDR_BYTES, XDR_PARAM, XDR_STRUCT };
/*
 * XDR_OPTIONAL is a pointer, NULL if absent. XDR_LIST and XDR_BYTES are a struct of a uint32_t
 * count and a pointer to the items.
 */
enum xdr_many { XDR_ONE, XDR_OPTIONAL, XDR_LIST, XDR_FIXED };

struct xdr_type;
struct xdr_field {
	uint8_t kind, many;
	uint16_t offset;
	uint32_t max; /* of a list or of bytes; the number of a fixed array */
	const struct xdr_type *type;
};
struct xdr_type {
	uint32_t size;
	uint32_t field_count;
	const struct xdr_field *fields;
};

/* libvirt's typed parameter. */
enum xdr_param_type {
	XDR_PARAM_INT = 1, XDR_PARAM_UINT, XDR_PARAM_LLONG, XDR_PARAM_ULLONG, XDR_PARAM_DOUBLE,
	XDR_PARAM_BOOL, XDR_PARAM_STRING,
};
struct xdr_param {
	char *name;
	int32_t type; /* enum xdr_param_type */
	union {
		int32_t i;
		uint32_t u;
		int64_t l;
		uint64_t ul;
		double d;
		char *s;
	};
};

/* --- Work ----------------------------------------------------------------------------------- */

/*
 * Decode `size` bytes, all of them, into `value` (type->size bytes). Strings are NUL-terminated and
 * contain no other NUL. Any non-zero discriminant means present: there is a client that writes it
 * in its own byte order.
 */
bool xdr_decode(const struct xdr_type *type, const uint8_t *bytes, size_t size, void *value,
		struct arena *arena, GError **error);
/* Append to `out`. Fails (BERTH_ERR_INTERNAL) if a list or string is longer than allowed. */
bool xdr_encode(const struct xdr_type *type, const void *value, GByteArray *out, GError **error);
