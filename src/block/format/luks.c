/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * luks: an encrypted volume (LUKS 1 or 2). Requests go through a buffer, so that neither a guest's
 * memory nor the disk ever holds the other's form; long ones are computed on threads.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "block/core/claims.h"
#include "block/core/drivers.h"
#include "block/core/options.h"
#include "block/crypto/volume.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX (1 << 20)

struct luks_node {
	struct block_node node;
	struct crypto_volume volume;
	struct block_claims claims; /* writes to parts of a sector run alone */
};

static struct luks_node *luks_of(struct block_node *node)
{
	return (struct luks_node *)node;
}

static unsigned probe(const uint8_t *head, size_t length, const char *filename)
{
	return luks_probe(head, length) || luks2_probe(head, length) ? 100 : 0;
}

/* --- requests -------------------------------------------------------------------------------------------*/

/* Whole sectors, decrypted. */
static int read_sectors(struct luks_node *luks, uint64_t offset, uint8_t *bytes, uint64_t length)
{
	int rc = block_pread(luks->node.file, luks->volume.payload + offset, bytes, length);
	return rc < 0 ? rc : crypto_volume_crypt(&luks->volume, offset, bytes, length, false);
}

/* Of sectors that are written in part, what stays. */
static int read_edges(struct luks_node *luks, uint64_t start, uint64_t end, uint64_t offset,
		      uint64_t tail, uint8_t *bytes)
{
	unsigned sector = luks->volume.sector;
	uint64_t last = end - sector;
	int rc = 0;
	if (offset != start || (tail != end && last == start))
		rc = read_sectors(luks, start, bytes, sector);
	if (rc == 0 && tail != end && last != start)
		rc = read_sectors(luks, last, bytes + (last - start), sector);
	return rc;
}

/* One piece of a read, write or write-zeroes: `skip` bytes into the request. */
static int do_piece(struct luks_node *luks, struct block_request *r, uint64_t skip, uint64_t length)
{
	uint64_t offset = r->offset + skip, tail = offset + length;
	uint64_t start = align_down(offset, luks->volume.sector), end = align_up(tail, luks->volume.sector);
	uint8_t *bytes;
	if (posix_memalign((void **)&bytes, 4096, end - start))
		return -ENOMEM;
	int rc;
	if (r->op == BLOCK_READ) {
		rc = read_sectors(luks, start, bytes, end - start);
		if (rc == 0)
			block_iov_copy(r->iov, r->iov_count, skip, bytes + (offset - start), length, false);
		free(bytes);
		return rc;
	}
	struct block_claim claim;
	bool whole = start == offset && end == tail;
	block_claim_begin(&luks->claims, &claim, start, end - start, !whole);
	rc = whole ? 0 : read_edges(luks, start, end, offset, tail, bytes);
	if (rc == 0 && r->op == BLOCK_WRITE)
		block_iov_copy(r->iov, r->iov_count, skip, bytes + (offset - start), length, true);
	else if (rc == 0)
		memset(bytes + (offset - start), 0, length);
	rc = rc < 0 ? rc : crypto_volume_crypt(&luks->volume, start, bytes, end - start, true);
	struct iovec iov = {bytes, end - start};
	if (rc == 0)
		rc = block_io(luks->node.file, BLOCK_WRITE, r->flags & BLOCK_REQ_FUA, luks->volume.payload + start,
			      end - start, &iov, 1);
	block_claim_end(&luks->claims, &claim);
	free(bytes);
	return rc;
}

static int perform(struct block_node *node, struct block_request *r)
{
	struct luks_node *luks = luks_of(node);
	int rc = 0;
	if (r->op == BLOCK_FLUSH)
		return block_flush(node->file);
	/* What was given up would read as noise, and tell where nothing is. */
	if (r->op == BLOCK_DISCARD)
		return 0;
	if (r->flags & BLOCK_REQ_COMPRESSED)
		return -ENOTSUP;
	for (uint64_t done = 0; done < r->length && rc == 0;) {
		uint64_t n = MIN(r->length - done, PIECE_MAX - (r->offset + done) % luks->volume.sector);
		rc = do_piece(luks, r, done, n);
		done += n;
	}
	return rc;
}

/* --- opening --------------------------------------------------------------------------------------------*/

static bool open_volume(struct luks_node *luks, json_t *dict, GError **error)
{
	struct block_node *node = &luks->node;
	g_autofree char *id = block_take_string(dict, "key-secret");
	if (!crypto_volume_read(&luks->volume, node->file, 0, node->file->size, error))
		return false;
	const struct crypto_volume *v = &luks->volume;
	node->size = v->size ? v->size : align_down(node->file->size - v->payload, v->sector);
	node->encrypted = true;
	node->limits = node->file->limits;
	node->limits.request_alignment = 1; /* we widen */
	node->limits.can_discard = false;
	/* To look at it, no password is needed. */
	if (!id)
		return node->options.locked ||
		       error_set(error, BERTH_ERR_INVALID,
				 "Parameter 'key-secret' is required for cipher");
	return crypto_volume_unlock(&luks->volume, node->graph, id, error);
}

static void luks_close(struct block_node *node)
{
	crypto_volume_clear(&luks_of(node)->volume);
}

static bool luks_open(struct block_node *node, json_t *dict, GError **error)
{
	struct luks_node *luks = luks_of(node);
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file)
		return false;
	if (open_volume(luks, dict, error))
		return true;
	luks_close(node);
	return false;
}

static int perform_or_refuse(struct block_node *node, struct block_request *request)
{
	return luks_of(node)->volume.cipher ? perform(node, request) : -EACCES;
}

static bool luks_resize(struct block_node *node, uint64_t size, GError **error)
{
	const struct crypto_volume *v = &luks_of(node)->volume;
	if (v->size)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' says itself how long it is: it cannot be resized here", node->filename);
	size = align_up(size, v->sector);
	if (!block_resize(node->file, v->payload + size, error))
		return false;
	node->size = size;
	return true;
}

static const struct block_option amend_options[] = {
	{"iter-time", "num", "Time to spend in PBKDF in milliseconds"},
	{"keyslot", "num", "Select a single keyslot to modify explicitly"},
	{"new-secret", "str", "New secret to set in the matching keyslots. Empty string to erase"},
	{"old-secret", "str", "Select all keyslots that match this password"},
	{"state", "str", "Select new state of affected keyslots (active/inactive)"},
	{NULL},
};

static bool luks_amend(struct block_node *node, json_t *options, bool force,
		       struct block_progress *progress, GError **error)
{
	return crypto_volume_amend(&luks_of(node)->volume, node->graph, options, "", force, error);
}

static bool luks_info(struct block_node *node, json_t *info, GError **error)
{
	json_object_set_new(info, "format-specific",
			    json_pack("{s:s, s:o}", "type", "luks", "data",
				      crypto_volume_describe(&luks_of(node)->volume)));
	return true;
}

static bool luks_set_readonly(struct block_node *node, bool readonly, GError **error)
{
	return true; /* it has nothing of its own to write back */
}

/* --- making ---------------------------------------------------------------------------------------------*/

static const struct block_option create_options[] = {
	{"cipher-alg", "str", "Name of encryption cipher algorithm"},
	{"cipher-mode", "str", "Name of encryption cipher mode"},
	{"hash-alg", "str", "Name of encryption hash algorithm"},
	{"iter-time", "num", "Time to spend in PBKDF in milliseconds"},
	{"ivgen-alg", "str", "Name of IV generator algorithm"},
	{"ivgen-hash-alg", "str", "Name of IV generator hash algorithm"},
	{"key-secret", "str", "ID of the secret that provides the keyslot passphrase"},
	{"size", "size", "Virtual disk size"},
	{NULL},
};

static bool luks_create(const struct block_create *create, GError **error)
{
	struct luks_wishes wishes = {0};
	bool good = crypto_take_wishes(create->options, "", &wishes, error);
	uint64_t payload = good ? luks_payload_bytes(&wishes) : 0;
	good = good && block_resize(create->file, payload + align_up(create->size, CRYPTO_SECTOR), error) &&
	       crypto_volume_format(create->file, 0, &wishes, create->graph, error) &&
	       block_flush_sync(create->file, error);
	luks_wishes_clear(&wishes);
	return good;
}

static bool luks_measure(struct block_node *source, uint64_t size, json_t *options,
			 struct block_measure *measure, GError **error)
{
	struct luks_wishes wishes = {0};
	bool good = crypto_take_wishes(options, "", &wishes, error);
	if (good)
		measure->required = measure->fully_allocated = luks_payload_bytes(&wishes) + size;
	luks_wishes_clear(&wishes);
	return good;
}

const struct block_driver block_luks_driver = {
	.name = "luks",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct luks_node),
	.probe = probe,
	.open = luks_open,
	.close = luks_close,
	.perform = perform_or_refuse,
	.resize = luks_resize,
	.set_readonly = luks_set_readonly,
	.info = luks_info,
	.amend_options = amend_options,
	.amend = luks_amend,
	.create_options = create_options,
	.create = luks_create,
	.measure = luks_measure,
	.fresh_is_noise = true,
};
