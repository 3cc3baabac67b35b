/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an Apple disk image (UDIF) says about itself, all big-endian: a trailer "koly" of 512 bytes at
 * the file's end; where that points, a property list (or, in older images, a resource fork) with
 * "blkx" entries; each of these is a "mish" block: a range of the disk in chunks. Apple publishes no
 * specification; the layout is common knowledge. Bytes to values, without I/O.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define DMG_TRAILER_SIZE 512
/* What a chunk may decompress to, and what the list of chunks may take. */
#define DMG_CHUNK_MAX    (UINT64_C(64) << 20)
#define DMG_LIST_MAX     (UINT64_C(16) << 20)

enum dmg_type {
	DMG_ZERO = 0, DMG_RAW = 1, DMG_IGNORE = 2,
	DMG_ADC = 0x80000004, DMG_ZLIB = 0x80000005, DMG_BZIP2 = 0x80000006, DMG_LZFSE = 0x80000007,
	DMG_XZ = 0x80000008,
};

struct dmg_trailer {
	uint64_t data_offset, data_length, fork_offset, fork_length, list_offset, list_length;
	uint64_t sectors;
};

struct dmg_chunk {
	uint32_t type; /* enum dmg_type */
	uint64_t offset, length; /* on the disk, in bytes */
	uint64_t host, packed;   /* in the file */
};

/* False: it is none. */
bool dmg_decode_trailer(struct dmg_trailer *trailer, const uint8_t *bytes);
/* The chunks of one "mish" block, added to `chunks` (of struct dmg_chunk). */
bool dmg_add_block(GArray *chunks, const struct dmg_trailer *trailer, const uint8_t *bytes,
		   size_t length, GError **error);
/* All "blkx" blocks of a property list, or of a resource fork. */
bool dmg_add_list(GArray *chunks, const struct dmg_trailer *trailer, const char *text, size_t length,
		  GError **error);
bool dmg_add_fork(GArray *chunks, const struct dmg_trailer *trailer, const uint8_t *bytes,
		  size_t length, GError **error);
/* Put the chunks in order, and refuse what overlaps. *end: of the last one. */
bool dmg_sort(GArray *chunks, uint64_t *end, GError **error);
/* Apple Data Compression. False unless exactly `out_length` bytes come out. */
bool dmg_unpack_adc(const uint8_t *in, size_t in_length, uint8_t *out, size_t out_length);
