/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Apple disk images (UDIF), read-only: chunks that are zero, raw or packed with zlib, bzip2, LZMA or
 * ADC. The chunk that was unpacked last is kept, since guests read on.
 */
#include "block/core/drivers.h"
#include "block/format/dmg_layout.h"
#include "block/format/mapped.h"

#include "aio/pool.h"
#include "base/bytes.h"
#include "base/error.h"

#include <bzlib.h>
#include <errno.h>
#include <lzma.h>
#include <zlib.h>

struct dmg_image {
	struct mapped mapped;
	GArray *chunks; /* of struct dmg_chunk, in order; what is between them is zero */
	uint8_t *bytes; /* of the chunk that was read last */
	unsigned held;  /* its index; UINT_MAX: none */
	struct fiber_mutex reading;
	struct aio_pool *pool;
};

static struct dmg_chunk *chunk_at(const struct dmg_image *dmg, unsigned index)
{
	return &g_array_index(dmg->chunks, struct dmg_chunk, index);
}

/* The first chunk that ends behind `offset`; as many as there are if none does. */
static unsigned find(const struct dmg_image *dmg, uint64_t offset)
{
	unsigned low = 0, high = dmg->chunks->len;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		const struct dmg_chunk *c = chunk_at(dmg, middle);
		if (c->offset + c->length <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int dmg_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	const struct dmg_image *dmg = (struct dmg_image *)image;
	unsigned index = find(dmg, offset);
	const struct dmg_chunk *c = index < dmg->chunks->len ? chunk_at(dmg, index) : NULL;
	if (!c || c->offset > offset) {
		run->kind = RUN_ZERO;
		run->length = (c ? c->offset : image->node.size) - offset;
		return 0;
	}
	run->length = c->offset + c->length - offset;
	run->kind = c->type == DMG_ZERO || c->type == DMG_IGNORE ? RUN_ZERO
		    : c->type == DMG_RAW			 ? RUN_DATA
								 : RUN_CODED;
	run->file = image->node.file;
	run->host = c->host + (offset - c->offset);
	return 0;
}

/* --- unpacking ----------------------------------------------------------------------------------------------*/

struct unpack {
	const struct dmg_chunk *chunk;
	uint8_t *in, *out;
	bool good;
};

static bool unpack_zlib(const struct unpack *u)
{
	uLongf length = u->chunk->length;
	return uncompress(u->out, &length, u->in, u->chunk->packed) == Z_OK && length == u->chunk->length;
}

static bool unpack_bzip2(const struct unpack *u)
{
	unsigned length = u->chunk->length;
	return BZ2_bzBuffToBuffDecompress((char *)u->out, &length, (char *)u->in, u->chunk->packed, 0, 0) ==
		       BZ_OK && length == u->chunk->length;
}

static bool unpack_xz(const struct unpack *u)
{
	uint64_t memory = UINT64_C(256) << 20;
	size_t in = 0, out = 0;
	return lzma_stream_buffer_decode(&memory, 0, NULL, u->in, &in, u->chunk->packed, u->out, &out,
					 u->chunk->length) == LZMA_OK && out == u->chunk->length;
}

static void unpack_work(void *opaque)
{
	struct unpack *u = opaque;
	switch (u->chunk->type) {
	case DMG_ZLIB:
		u->good = unpack_zlib(u);
		break;
	case DMG_BZIP2:
		u->good = unpack_bzip2(u);
		break;
	case DMG_XZ:
		u->good = unpack_xz(u);
		break;
	case DMG_ADC:
		u->good = dmg_unpack_adc(u->in, u->chunk->packed, u->out, u->chunk->length);
		break;
	}
}

static int load_chunk(struct dmg_image *dmg, unsigned index)
{
	const struct dmg_chunk *c = chunk_at(dmg, index);
	struct block_node *file = dmg->mapped.node.file;
	if (dmg->held == index)
		return 0;
	dmg->held = UINT_MAX;
	g_free(dmg->bytes);
	dmg->bytes = g_try_malloc(c->length);
	g_autofree uint8_t *in = g_try_malloc(MAX(c->packed, 1));
	struct unpack u = {.chunk = c, .in = in, .out = dmg->bytes};
	int rc = in && dmg->bytes ? block_pread(file, c->host, in, c->packed) : -ENOMEM;
	if (rc == 0)
		fiber_on_pool(dmg->pool, file->loop, unpack_work, &u);
	if (rc == 0 && !u.good)
		rc = -EIO;
	if (rc == 0)
		dmg->held = index;
	return rc;
}

static int dmg_read(struct mapped *image, uint64_t offset, void *bytes, uint64_t length)
{
	struct dmg_image *dmg = (struct dmg_image *)image;
	FIBER_LOCK_SCOPE(&dmg->reading);
	unsigned index = find(dmg, offset);
	int rc = load_chunk(dmg, index);
	if (rc == 0)
		memcpy(bytes, dmg->bytes + (offset - chunk_at(dmg, index)->offset), length);
	return rc;
}

static const struct mapped_ops dmg_ops = {.map = dmg_map, .read_coded = dmg_read};

/* --- opening ------------------------------------------------------------------------------------------------*/

/* The trailer is the file's last 512 bytes, whatever the file's length is rounded to. */
static bool find_trailer(struct block_node *file, struct dmg_trailer *trailer, GError **error)
{
	uint8_t b[2 * DMG_TRAILER_SIZE];
	uint64_t size = block_size(file), length = MIN(size, sizeof(b));
	if (!format_read(file, size - length, b, length, error))
		return false;
	for (uint64_t at = length; at >= DMG_TRAILER_SIZE; at--)
		if (dmg_decode_trailer(trailer, b + at - DMG_TRAILER_SIZE))
			return true;
	return error_set(error, BERTH_ERR_INVALID, "'%s' is no DMG image: it does not end like one",
			 block_filename(file));
}

static bool load_list(struct dmg_image *dmg, const struct dmg_trailer *t, GError **error)
{
	struct block_node *file = dmg->mapped.node.file;
	bool list = t->list_length;
	uint64_t offset = list ? t->list_offset : t->fork_offset;
	uint64_t length = list ? t->list_length : t->fork_length;
	if (!length || length > DMG_LIST_MAX)
		return error_set(error, BERTH_ERR_INVALID, "this is no valid DMG image: its list of chunks is %s",
				 length ? "too long" : "missing");
	g_autofree void *bytes = format_load(file, offset, length, "list of chunks", error);
	return bytes && (list ? dmg_add_list(dmg->chunks, t, bytes, length, error)
			      : dmg_add_fork(dmg->chunks, t, bytes, length, error));
}

static bool check_places(struct dmg_image *dmg, GError **error)
{
	for (unsigned i = 0; i < dmg->chunks->len; i++) {
		const struct dmg_chunk *c = chunk_at(dmg, i);
		bool stored = c->type != DMG_ZERO && c->type != DMG_IGNORE;
		if (stored && !range_fits(c->host, c->packed, block_size(dmg->mapped.node.file)))
			return error_set(error, BERTH_ERR_INVALID,
					 "this is no valid DMG image: a chunk lies behind the end of the file");
	}
	return true;
}

static void dmg_close(struct block_node *node)
{
	struct dmg_image *dmg = (struct dmg_image *)node;
	g_array_free(dmg->chunks, true);
	g_free(dmg->bytes);
	aio_pool_free(dmg->pool);
}

static bool dmg_open(struct block_node *node, json_t *dict, GError **error)
{
	struct dmg_image *dmg = (struct dmg_image *)node;
	struct dmg_trailer trailer;
	uint64_t end;
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !find_trailer(node->file, &trailer, error))
		return false;
	if (!node->readonly)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "DMG images can only be read: convert it, or open it read-only");
	dmg->held = UINT_MAX;
	dmg->chunks = g_array_new(false, false, sizeof(struct dmg_chunk));
	dmg->pool = aio_pool_new(1);
	if (load_list(dmg, &trailer, error) && dmg_sort(dmg->chunks, &end, error) &&
	    check_places(dmg, error)) {
		/* What the trailer says counts; where it says nothing, the last chunk. */
		uint64_t size = trailer.sectors <= INT64_MAX / 1024 ? trailer.sectors * 512 : 0;
		mapped_init(&dmg->mapped, &dmg_ops, MAX(size, end), DMG_CHUNK_MAX);
		return true;
	}
	dmg_close(node);
	return false;
}

/* Nothing at the beginning tells; QEMU too goes by the name. */
static unsigned dmg_probe(const uint8_t *head, size_t length, const char *filename)
{
	return filename && g_str_has_suffix(filename, ".dmg") ? 2 : 0;
}

const struct block_driver block_dmg_driver = {
	.name = "dmg",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct dmg_image),
	.probe = dmg_probe,
	.open = dmg_open,
	.close = dmg_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.info = mapped_plain_info,
};
