/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The compressed kernel inside a bzImage, unpacked by the host. The payload is one stream of gzip,
 * XZ, LZMA, zstd or LZ4 (legacy frame), followed by the unpacked size in 4 bytes (gzip has it in its
 * own trailer). What comes out is vmlinux with its relocations behind it.
 */
#include "machine/loader/loader_int.h"

#include <lzma.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

static const uint64_t unpacked_max = 512 * MIB;

typedef bool unpack_fn(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size);

static bool unpack_gzip(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	z_stream z = {.next_in = (uint8_t *)in, .avail_in = (uInt)in_size, .next_out = out,
		      .avail_out = (uInt)out_size};
	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return false;
	int status = inflate(&z, Z_FINISH);
	bool good = status == Z_STREAM_END && z.total_out == out_size;
	inflateEnd(&z);
	return good;
}

static bool unpack_lzma_any(lzma_stream *z, const uint8_t *in, size_t in_size, uint8_t *out,
			    size_t out_size)
{
	z->next_in = in;
	z->avail_in = in_size;
	z->next_out = out;
	z->avail_out = out_size;
	lzma_ret status = lzma_code(z, LZMA_RUN);
	/* LZMA without an end marker stops when the output is full. */
	bool good = (status == LZMA_STREAM_END || status == LZMA_OK) && z->total_out == out_size;
	lzma_end(z);
	return good;
}

static bool unpack_xz(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	lzma_stream z = LZMA_STREAM_INIT;
	return lzma_stream_decoder(&z, GIB, 0) == LZMA_OK &&
	       unpack_lzma_any(&z, in, in_size, out, out_size);
}

static bool unpack_lzma(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	lzma_stream z = LZMA_STREAM_INIT;
	return lzma_alone_decoder(&z, GIB) == LZMA_OK &&
	       unpack_lzma_any(&z, in, in_size, out, out_size);
}

static bool unpack_zstd(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	/* The stream's own length: what follows in the payload is not part of it. */
	size_t frame = ZSTD_findFrameCompressedSize(in, in_size);
	if (ZSTD_isError(frame))
		return false;
	size_t n = ZSTD_decompress(out, out_size, in, frame);
	return !ZSTD_isError(n) && n == out_size;
}

/* Length in LZ4's way: 15 in the nibble continues in bytes of 255 and a last one. */
static bool lz4_length(const uint8_t **in, const uint8_t *in_end, size_t *length)
{
	uint8_t byte;
	if (*length != 15)
		return true;
	do {
		if (*in == in_end)
			return false;
		byte = *(*in)++;
		*length += byte;
	} while (byte == 255);
	return true;
}

/*
 * `length` bytes that do not overlap, in whole steps: up to LZ4_STEP - 1 more are read and written, of
 * which the next sequence writes over those in the output. Most are shorter than one step.
 */
enum { LZ4_STEP = 16 };
static inline void copy_steps(uint8_t *to, const uint8_t *from, size_t length)
{
	for (size_t n = 0; n < length; n += LZ4_STEP)
		memcpy(to + n, from + n, LZ4_STEP);
}

/* A match: what came `distance` bytes before, which may be fewer than `length`. */
static inline void copy_match(uint8_t *to, size_t distance, size_t length, size_t room)
{
	/* What repeats every n bytes repeats every 2 n. */
	while (distance < LZ4_STEP && distance < length) {
		memcpy(to, to - distance, distance);
		to += distance;
		length -= distance;
		room -= distance;
		distance *= 2;
	}
	if (distance >= LZ4_STEP && room >= length + LZ4_STEP) {
		copy_steps(to, to - distance, length);
		return;
	}
	for (size_t n = 0; n < length; n++)
		to[n] = to[n - distance];
}

/* One LZ4 block (lz4_Block_format.md). Returns how much came out, or SIZE_MAX. */
static size_t lz4_block(const uint8_t *in, size_t in_size, uint8_t *base, size_t at, size_t limit)
{
	const uint8_t *in_end = in + in_size;
	size_t start = at;
	while (in < in_end) {
		uint8_t token = *in++;
		size_t literals = token >> 4, match = token & 15;
		if (!lz4_length(&in, in_end, &literals) || literals > (size_t)(in_end - in) ||
		    literals > limit - at)
			return SIZE_MAX;
		if ((size_t)(in_end - in) >= literals + LZ4_STEP && limit - at >= literals + LZ4_STEP)
			copy_steps(base + at, in, literals);
		else
			memcpy(base + at, in, literals);
		in += literals;
		at += literals;
		if (in == in_end)
			break; /* the last sequence has no match */
		if (in_end - in < 2)
			return SIZE_MAX;
		size_t distance = le16_load(in);
		in += 2;
		if (!lz4_length(&in, in_end, &match))
			return SIZE_MAX;
		match += 4;
		if (distance == 0 || distance > at || match > limit - at)
			return SIZE_MAX;
		copy_match(base + at, distance, match, limit - at);
		at += match;
	}
	return at - start;
}

/* The legacy frame (lz4_Frame_format.md): magic, then blocks with their size before them. */
static bool unpack_lz4(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size)
{
	size_t at = 0;
	for (size_t p = 4; at < out_size && range_fits(p, 4, in_size);) {
		size_t block = le32_load(in + p);
		p += 4;
		if (!range_fits(p, block, in_size))
			return false;
		size_t n = lz4_block(in + p, block, out, at, out_size);
		if (n == SIZE_MAX)
			return false;
		at += n;
		p += block;
	}
	return at == out_size;
}

static const struct {
	const char *name;
	uint8_t magic[6];
	unsigned magic_size;
	unpack_fn *unpack;
} packings[] = {
	{"gzip", {0x1f, 0x8b}, 2, unpack_gzip},
	{"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, unpack_xz},
	{"lzma", {0x5d, 0x00, 0x00}, 3, unpack_lzma},
	{"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, unpack_zstd},
	{"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, unpack_lz4},
};

static bool unpack(const uint8_t *in, size_t in_size, uint8_t *out, size_t out_size,
		   GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(packings); i++) {
		if (memcmp(in, packings[i].magic, packings[i].magic_size) != 0)
			continue;
		if (packings[i].unpack(in, in_size, out, out_size))
			return true;
		return error_set(error, BERTH_ERR_INVALID, "its %s stream is damaged",
				 packings[i].name);
	}
	return error_set(error, BERTH_ERR_NOT_SUPPORTED, "its compression is unknown");
}

struct loader_source *bzimage_unpack(const struct loader_source *source,
				     const struct bzimage *image, GError **error)
{
	enum { PAYLOAD_MIN = 64 };
	if (image->payload_size < PAYLOAD_MIN || image->payload_size > unpacked_max) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "its header does not describe a payload");
		return NULL;
	}
	g_autoptr(GBytes) packed = loader_source_bytes(source, image->payload_offset,
						       image->payload_size, error);
	if (!packed)
		return NULL;
	gsize packed_size;
	const uint8_t *in = g_bytes_get_data(packed, &packed_size);
	uint64_t size = le32_load(in + packed_size - 4);
	if (size < PAYLOAD_MIN || size > unpacked_max) {
		error_set(error, BERTH_ERR_INVALID, "its unpacked size is not plausible");
		return NULL;
	}
	/* Tens of megabytes that are used once: as huge pages they take a quarter of the time to come. */
	g_autofree uint8_t *out = aligned_alloc(2 * MIB, align_up(size, 2 * MIB));
	if (out)
		madvise(out, size, MADV_HUGEPAGE);
	if (!out) {
		error_set(error, BERTH_ERR_IO, "there is no memory to unpack it");
		return NULL;
	}
	if (!unpack(in, packed_size, out, size, error))
		return NULL;
	return loader_source_memory(source->name, g_steal_pointer(&out), size);
}
