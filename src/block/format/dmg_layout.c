/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/format/dmg_layout.h"

#include "base/bytes.h"
#include "base/error.h"

#include <string.h>

#define SECTOR       512
#define BLOCK_HEADER 204
#define CHUNK_SIZE   40
#define COMMENT      UINT32_C(0x7ffffffe)
#define TERMINATOR   UINT32_C(0xffffffff)
#define DEPTH_MAX    16

bool dmg_decode_trailer(struct dmg_trailer *t, const uint8_t *b)
{
	*t = (struct dmg_trailer){
		.data_offset = be64_load(b + 24), .data_length = be64_load(b + 32),
		.fork_offset = be64_load(b + 40), .fork_length = be64_load(b + 48),
		.list_offset = be64_load(b + 216), .list_length = be64_load(b + 224),
		.sectors = be64_load(b + 492)};
	return memcmp(b, "koly", 4) == 0;
}

/* --- chunks -----------------------------------------------------------------------------------------------*/

static bool bad(GError **error, const char *what)
{
	return error_set(error, BERTH_ERR_INVALID, "this is no valid DMG image: %s", what);
}

static bool check_type(uint32_t type, GError **error)
{
	static const uint32_t known[] = {DMG_ZERO, DMG_RAW, DMG_IGNORE, DMG_ADC, DMG_ZLIB, DMG_BZIP2, DMG_XZ};
	for (unsigned i = 0; i < G_N_ELEMENTS(known); i++)
		if (known[i] == type)
			return true;
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "the DMG image has chunks of type 0x%x%s, which are not supported: convert it with "
			 "hdiutil to UDZO", type, type == DMG_LZFSE ? " (LZFSE)" : "");
}

static bool add_chunk(GArray *chunks, const struct dmg_trailer *t, const uint8_t *b, uint64_t first,
		      uint64_t base, GError **error)
{
	uint32_t type = be32_load(b);
	uint64_t sector = be64_load(b + 8), count = be64_load(b + 16), most = INT64_MAX / SECTOR / 4;
	struct dmg_chunk c = {.type = type, .packed = be64_load(b + 32)};
	if (type == COMMENT || type == TERMINATOR || !count)
		return true;
	if (!check_type(type, error))
		return false;
	if (sector > most || count > most || first > most)
		return bad(error, "a chunk lies behind every disk's end");
	c.offset = (first + sector) * SECTOR;
	c.length = count * SECTOR;
	if (type != DMG_ZERO && type != DMG_IGNORE) {
		uint64_t place = be64_load(b + 24);
		if (place > INT64_MAX / 4 || base > INT64_MAX / 4 || c.packed > INT64_MAX / 4)
			return bad(error, "a chunk lies behind every file's end");
		c.host = base + place;
		if (type == DMG_RAW ? c.packed != c.length
				    : c.length > DMG_CHUNK_MAX || c.packed > DMG_CHUNK_MAX)
			return bad(error, "a chunk is too long");
	}
	if (chunks->len >= DMG_LIST_MAX / CHUNK_SIZE)
		return bad(error, "it has too many chunks");
	g_array_append_val(chunks, c);
	return true;
}

bool dmg_add_block(GArray *chunks, const struct dmg_trailer *t, const uint8_t *b, size_t length,
		   GError **error)
{
	if (length < BLOCK_HEADER || memcmp(b, "mish", 4) != 0)
		return true; /* something else is stored there too */
	uint64_t first = be64_load(b + 8), base = be64_load(b + 24);
	if (base > INT64_MAX / 4 || t->data_offset > INT64_MAX / 4)
		return bad(error, "its data lie behind every file's end");
	for (size_t at = BLOCK_HEADER; at + CHUNK_SIZE <= length; at += CHUNK_SIZE)
		if (!add_chunk(chunks, t, b + at, first, base + t->data_offset, error))
			return false;
	return true;
}

static int by_offset(const void *a, const void *b)
{
	const struct dmg_chunk *x = a, *y = b;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

bool dmg_sort(GArray *chunks, uint64_t *end, GError **error)
{
	*end = 0;
	g_array_sort(chunks, by_offset);
	for (unsigned i = 0; i < chunks->len; i++) {
		const struct dmg_chunk *c = &g_array_index(chunks, struct dmg_chunk, i);
		if (c->offset < *end)
			return bad(error, "chunks overlap");
		*end = c->offset + c->length;
	}
	return true;
}

/* --- the property list ------------------------------------------------------------------------------------*/

/* plist - dict - key "resource-fork" - dict - key "blkx" - array - dicts with a key "Data". */
struct list {
	GArray *chunks;
	const struct dmg_trailer *trailer;
	char *keys[DEPTH_MAX]; /* the last one in each dict or array that is open */
	unsigned depth;
};

static bool is_container(const char *name)
{
	return strcmp(name, "dict") == 0 || strcmp(name, "array") == 0;
}

static void start_element(GMarkupParseContext *context, const char *name, const char **attributes,
			  const char **values, void *opaque, GError **error)
{
	struct list *list = opaque;
	if (!is_container(name))
		return;
	if (list->depth + 1 >= DEPTH_MAX) {
		bad(error, "its list is nested too deeply");
		return;
	}
	g_clear_pointer(&list->keys[++list->depth], g_free);
}

static void end_element(GMarkupParseContext *context, const char *name, void *opaque, GError **error)
{
	struct list *list = opaque;
	if (is_container(name) && list->depth)
		list->depth--;
}

static bool in_block(const struct list *list)
{
	return list->depth >= 3 && g_strcmp0(list->keys[list->depth], "Data") == 0 &&
	       g_strcmp0(list->keys[list->depth - 2], "blkx") == 0;
}

static void take_text(GMarkupParseContext *context, const char *text, gsize length, void *opaque,
		 GError **error)
{
	struct list *list = opaque;
	const char *element = g_markup_parse_context_get_element(context);
	if (strcmp(element, "key") == 0) {
		g_free(list->keys[list->depth]);
		list->keys[list->depth] = g_strndup(text, length);
	} else if (strcmp(element, "data") == 0 && in_block(list)) {
		gsize size;
		g_autofree char *base64 = g_strndup(text, length);
		g_autofree guchar *bytes = g_base64_decode(base64, &size);
		dmg_add_block(list->chunks, list->trailer, bytes, size, error);
	}
}

bool dmg_add_list(GArray *chunks, const struct dmg_trailer *trailer, const char *xml, size_t length,
		  GError **error)
{
	static const GMarkupParser parser = {.start_element = start_element, .end_element = end_element,
					     .text = take_text};
	struct list list = {.chunks = chunks, .trailer = trailer};
	GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, &list, NULL);
	/* Some writers count a final zero. */
	bool good = g_markup_parse_context_parse(context, xml, strnlen(xml, length), error) &&
		    g_markup_parse_context_end_parse(context, error);
	g_markup_parse_context_free(context);
	for (unsigned i = 0; i < DEPTH_MAX; i++)
		g_free(list.keys[i]);
	return good;
}

/* --- the resource fork ------------------------------------------------------------------------------------*/

/* Its data: a length of 32 bits before each resource. */
bool dmg_add_fork(GArray *chunks, const struct dmg_trailer *trailer, const uint8_t *b, size_t length,
		  GError **error)
{
	if (length < 16)
		return bad(error, "its resource fork is too short");
	uint64_t at = be32_load(b), end = at + be32_load(b + 8);
	if (end > length)
		return bad(error, "its resource fork is cut off");
	while (at + 4 <= end) {
		uint64_t size = be32_load(b + at);
		at += 4;
		if (size > end - at)
			return bad(error, "a resource is cut off");
		if (!dmg_add_block(chunks, trailer, b + at, size, error))
			return false;
		at += size;
	}
	return true;
}

/* --- ADC --------------------------------------------------------------------------------------------------*/

/*
 * A byte with its top bit set: that many (low 7 bits, + 1) bytes follow as they are. Else a copy of
 * what came before: with bit 6, of 4 to 67 bytes at a distance of 16 bits, else of 3 to 18 bytes at one
 * of 10 bits.
 */
bool dmg_unpack_adc(const uint8_t *in, size_t in_length, uint8_t *out, size_t out_length)
{
	size_t at = 0, done = 0;
	while (at < in_length && done < out_length) {
		uint8_t code = in[at];
		size_t header = code & 0x80 ? 1 : code & 0x40 ? 3 : 2, n, distance = 0;
		if (header > in_length - at)
			return false;
		if (code & 0x80) {
			n = (code & 0x7f) + 1;
		} else if (code & 0x40) {
			n = (code & 0x3f) + 4;
			distance = be16_load(in + at + 1) + 1;
		} else {
			n = ((code >> 2) & 0xf) + 3;
			distance = ((size_t)(code & 3) << 8 | in[at + 1]) + 1;
		}
		at += header;
		if (n > out_length - done || (distance ? distance > done : n > in_length - at))
			return false;
		if (!distance) {
			memcpy(out + done, in + at, n);
			at += n;
		}
		for (size_t i = 0; distance && i < n; i++) /* may overlap itself: that repeats */
			out[done + i] = out[done + i - distance];
		done += n;
	}
	return done == out_length;
}
