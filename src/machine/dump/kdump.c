/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The compressed format of kdump, version 6, in makedumpfile's flattened form. Both are described by
 * makedumpfile's diskdump_mod.h and IMPLEMENTATION file:
 *
 *   header | sub header, notes | bitmap, twice | a descriptor for each page | pages
 *
 * each part beginning at a multiple of the page's size. Pages of zeros share one page in the file.
 */
#include "machine/dump/dump_int.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/units.h"
#include "vm/ram.h"

#include <zlib.h>

enum {
	FLAT_HEADER = 4096, FLAT_TYPE = 1, FLAT_VERSION = 1,
	/* Offsets in the header (struct disk_dump_header) ... */
	HEADER_VERSION = 8, HEADER_UTSNAME = 12, UTSNAME_MACHINE = 4 * 65, HEADER_STATUS = 424,
	HEADER_BLOCK_SIZE = 428, HEADER_SUB_BLOCKS = 432, HEADER_BITMAP_BLOCKS = 436, HEADER_MAX_PFN = 440,
	HEADER_CPUS = 460,
	/* ... and in the sub header (struct kdump_sub_header). */
	SUB_DUMP_LEVEL = 8, SUB_NOTES_AT = 48, SUB_NOTES_SIZE = 56, SUB_MAX_PFN_64 = 96, SUB_SIZE = 104,
	VERSION = 6, STATUS_ZLIB = 1, DUMP_LEVEL_ZERO_PAGES = 1,
	DESCRIPTOR = 24, DESCRIPTOR_SIZE = 8, DESCRIPTOR_FLAGS = 12, COMPRESSED_ZLIB = 1,
	BATCH_PAGES = 256,
};

struct kdump {
	struct dump *dump;
	uint64_t max_pfn;
	uint64_t bitmap_bytes; /* of one of the two */
	uint64_t bitmap_at, descriptor_at, page_at;
	uint64_t zero_at;      /* 0: no page of zeros has come yet */
	GByteArray *descriptors, *pages; /* of this batch, which go to the two places */
	uint8_t *packed;
	uLong packed_max;
};

/* --- The flattened form ----------------------------------------------------------------------- */

static bool put_flat_header(struct dump *dump, GError **error)
{
	uint8_t header[FLAT_HEADER] = "makedumpfile";
	be64_store(header + 16, FLAT_TYPE);
	be64_store(header + 24, FLAT_VERSION);
	return dump_put(dump, header, sizeof(header), error);
}

/* `length` bytes belong at `offset` of the file that this one stands for. */
static bool put_at(struct dump *dump, uint64_t offset, const void *bytes, uint64_t length, GError **error)
{
	uint8_t header[16];
	be64_store(header, offset);
	be64_store(header + 8, length);
	return dump_put(dump, header, sizeof(header), error) && dump_put(dump, bytes, length, error);
}

/* --- Headers and bitmaps ---------------------------------------------------------------------- */

static uint64_t pages_of(uint64_t bytes)
{
	return (bytes + PAGE_MASK) / PAGE_SIZE;
}

static bool put_headers(struct kdump *k, GError **error)
{
	struct dump *dump = k->dump;
	uint64_t notes_at = PAGE_SIZE + SUB_SIZE;
	uint8_t header[PAGE_SIZE] = "KDUMP   ", sub[SUB_SIZE] = {0};
	le32_store(header + HEADER_VERSION, VERSION);
	memcpy(header + HEADER_UTSNAME + UTSNAME_MACHINE, "x86_64", sizeof("x86_64"));
	le32_store(header + HEADER_STATUS, STATUS_ZLIB);
	le32_store(header + HEADER_BLOCK_SIZE, PAGE_SIZE);
	le32_store(header + HEADER_SUB_BLOCKS, pages_of(SUB_SIZE + dump->notes->len));
	le32_store(header + HEADER_BITMAP_BLOCKS, 2 * pages_of(k->bitmap_bytes));
	le32_store(header + HEADER_MAX_PFN, MIN(k->max_pfn, UINT32_MAX));
	le32_store(header + HEADER_CPUS, dump->cpus);
	le32_store(sub + SUB_DUMP_LEVEL, DUMP_LEVEL_ZERO_PAGES);
	le64_store(sub + SUB_NOTES_AT, notes_at);
	le64_store(sub + SUB_NOTES_SIZE, dump->notes->len);
	le64_store(sub + SUB_MAX_PFN_64, k->max_pfn);
	return put_at(dump, 0, header, sizeof(header), error) &&
	       put_at(dump, PAGE_SIZE, sub, sizeof(sub), error) &&
	       put_at(dump, notes_at, dump->notes->data, dump->notes->len, error);
}

static void mark(uint8_t *bits, uint64_t offset, uint64_t first, uint64_t end)
{
	for (uint64_t pfn = MAX(first, offset); pfn < MIN(end, offset + 8 * PAGE_SIZE); pfn++)
		bits[(pfn - offset) / 8] |= 1 << (pfn - offset) % 8;
}

/*
 * The first bitmap tells which pages there are, the second which are in the file: the same. Most of it is
 * a hole below 4 GiB at which nothing is, so it is made a page at a time.
 */
static bool put_bitmaps(struct kdump *k, GError **error)
{
	struct dump *dump = k->dump;
	for (uint64_t at = 0; at < k->bitmap_bytes; at += PAGE_SIZE) {
		uint8_t bits[PAGE_SIZE] = {0};
		for (unsigned i = 0; i < dump->ranges->len; i++) {
			const struct dump_range *range = &g_array_index(dump->ranges, struct dump_range, i);
			mark(bits, at * 8, range->base / PAGE_SIZE, (range->base + range->size) / PAGE_SIZE);
		}
		if (!put_at(dump, k->bitmap_at + at, bits, sizeof(bits), error) ||
		    !put_at(dump, k->bitmap_at + k->bitmap_bytes + at, bits, sizeof(bits), error))
			return false;
	}
	return true;
}

/* --- Pages ------------------------------------------------------------------------------------ */

static bool put_batch(struct kdump *k, GError **error)
{
	if (!k->descriptors->len)
		return true;
	if (!put_at(k->dump, k->descriptor_at, k->descriptors->data, k->descriptors->len, error) ||
	    (k->pages->len &&
	     !put_at(k->dump, k->page_at, k->pages->data, k->pages->len, error)))
		return false;
	k->descriptor_at += k->descriptors->len;
	k->page_at += k->pages->len;
	g_byte_array_set_size(k->descriptors, 0);
	g_byte_array_set_size(k->pages, 0);
	return true;
}

static void describe(struct kdump *k, uint64_t at, uint32_t size, uint32_t flags)
{
	uint8_t descriptor[DESCRIPTOR] = {0};
	le64_store(descriptor, at);
	le32_store(descriptor + DESCRIPTOR_SIZE, size);
	le32_store(descriptor + DESCRIPTOR_FLAGS, flags);
	g_byte_array_append(k->descriptors, descriptor, sizeof(descriptor));
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE_SIZE - 1) == 0;
}

static void add_page(struct kdump *k, const uint8_t *page)
{
	uint64_t at = k->page_at + k->pages->len;
	bool zero = is_zero(page);
	if (zero && k->zero_at) {
		describe(k, k->zero_at, PAGE_SIZE, 0);
		return;
	}
	uLongf size = k->packed_max;
	/* A page of zeros stays as it is, as makedumpfile's is. */
	if (!zero && compress2(k->packed, &size, page, PAGE_SIZE, Z_BEST_SPEED) == Z_OK && size < PAGE_SIZE) {
		describe(k, at, size, COMPRESSED_ZLIB);
		g_byte_array_append(k->pages, k->packed, size);
		return;
	}
	if (zero)
		k->zero_at = at;
	describe(k, at, PAGE_SIZE, 0);
	g_byte_array_append(k->pages, page, PAGE_SIZE);
}

static bool put_pages(struct kdump *k, GError **error)
{
	for (unsigned i = 0; i < k->dump->ranges->len; i++) {
		const struct dump_range *range = &g_array_index(k->dump->ranges, struct dump_range, i);
		for (uint64_t at = 0; at < range->size; at += PAGE_SIZE) {
			add_page(k, range->host + at);
			if (k->descriptors->len < BATCH_PAGES * DESCRIPTOR)
				continue;
			if (!put_batch(k, error) ||
			    !dump_progress(k->dump, BATCH_PAGES * PAGE_SIZE, error))
				return false;
		}
	}
	uint64_t rest = k->descriptors->len / DESCRIPTOR * PAGE_SIZE;
	return put_batch(k, error) && dump_progress(k->dump, rest, error);
}

/* --- The file --------------------------------------------------------------------------------- */

static void lay_out(struct kdump *k)
{
	const GArray *ranges = k->dump->ranges;
	const struct dump_range *last = &g_array_index(ranges, struct dump_range, ranges->len - 1);
	k->max_pfn = (last->base + last->size) / PAGE_SIZE;
	k->bitmap_bytes = align_up((k->max_pfn + 7) / 8, PAGE_SIZE);
	k->bitmap_at = PAGE_SIZE * (1 + pages_of(SUB_SIZE + k->dump->notes->len));
	k->descriptor_at = k->bitmap_at + 2 * k->bitmap_bytes;
	k->page_at = align_up(k->descriptor_at + k->dump->total / PAGE_SIZE * DESCRIPTOR, PAGE_SIZE);
}

bool dump_write_kdump(struct dump *dump, GError **error)
{
	struct kdump k = {.dump = dump, .packed_max = compressBound(PAGE_SIZE)};
	static const uint8_t end[16] = {[0 ... 15] = 0xff}; /* offset and length -1 */
	lay_out(&k);
	k.packed = g_malloc(k.packed_max);
	k.descriptors = g_byte_array_new();
	k.pages = g_byte_array_new();
	bool good = put_flat_header(dump, error) && put_headers(&k, error) && put_bitmaps(&k, error) &&
		    put_pages(&k, error) && dump_put(dump, end, sizeof(end), error);
	g_byte_array_unref(k.descriptors);
	g_byte_array_unref(k.pages);
	g_free(k.packed);
	return good;
}
