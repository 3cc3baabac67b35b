/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * luks: an encrypted volume (version 1). Requests go through a buffer, so that neither a guest's
 * memory nor the disk ever holds the other's form; long ones are computed on threads.
 */
#include "aio/pool.h"
#include "base/bytes.h"
#include "base/error.h"
#include "block/core/claims.h"
#include "block/core/drivers.h"
#include "block/core/object.h"
#include "block/core/options.h"
#include "block/crypto/luks.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_MAX    (1 << 20)
#define THREADED_MIN 32768
#define THREADS      4

struct luks_node {
	struct block_node node;
	struct luks_header header;
	struct crypto_cipher *cipher;
	struct aio_pool *pool;
	struct block_claims claims; /* writes to parts of a sector run alone */
	uint64_t payload;
};

static struct luks_node *luks_of(struct block_node *node)
{
	return (struct luks_node *)node;
}

static unsigned probe(const uint8_t *head, size_t length, const char *filename)
{
	return luks_probe(head, length) ? 100 : 0;
}

/* --- requests -------------------------------------------------------------------------------------------*/

struct crypt_call {
	const struct luks_node *luks;
	uint64_t sector, length;
	uint8_t *bytes;
	bool encrypt, good;
};

static void crypt_work(void *opaque)
{
	struct crypt_call *call = opaque;
	call->good = (call->encrypt ? crypto_encrypt : crypto_decrypt)(call->luks->cipher, call->sector,
								       call->bytes, call->length);
}

static int crypt_bytes(struct luks_node *luks, uint64_t offset, uint8_t *bytes, uint64_t length,
		       bool encrypt)
{
	struct crypt_call call = {luks, offset / CRYPTO_SECTOR, length, bytes, encrypt, false};
	if (length >= THREADED_MIN)
		fiber_on_pool(luks->pool, luks->node.loop, crypt_work, &call);
	else
		crypt_work(&call);
	return call.good ? 0 : -EIO;
}

/* Whole sectors, decrypted. */
static int read_sectors(struct luks_node *luks, uint64_t offset, uint8_t *bytes, uint64_t length)
{
	int rc = block_pread(luks->node.file, luks->payload + offset, bytes, length);
	return rc < 0 ? rc : crypt_bytes(luks, offset, bytes, length, false);
}

/* Of sectors that are written in part, what stays. */
static int read_edges(struct luks_node *luks, uint64_t start, uint64_t end, uint64_t offset,
		      uint64_t tail, uint8_t *bytes)
{
	uint64_t last = end - CRYPTO_SECTOR;
	int rc = 0;
	if (offset != start || (tail != end && last == start))
		rc = read_sectors(luks, start, bytes, CRYPTO_SECTOR);
	if (rc == 0 && tail != end && last != start)
		rc = read_sectors(luks, last, bytes + (last - start), CRYPTO_SECTOR);
	return rc;
}

/* One piece of a read, write or write-zeroes: `skip` bytes into the request. */
static int do_piece(struct luks_node *luks, struct block_request *r, uint64_t skip, uint64_t length)
{
	uint64_t offset = r->offset + skip, tail = offset + length;
	uint64_t start = align_down(offset, CRYPTO_SECTOR), end = align_up(tail, CRYPTO_SECTOR);
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
	rc = rc < 0 ? rc : crypt_bytes(luks, start, bytes, end - start, true);
	struct iovec iov = {bytes, end - start};
	if (rc == 0)
		rc = block_io(luks->node.file, BLOCK_WRITE, r->flags & BLOCK_REQ_FUA, luks->payload + start,
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
		uint64_t n = MIN(r->length - done, PIECE_MAX - (r->offset + done) % CRYPTO_SECTOR);
		rc = do_piece(luks, r, done, n);
		done += n;
	}
	return rc;
}

/* --- opening --------------------------------------------------------------------------------------------*/

struct unlock {
	struct luks_node *luks;
	const struct luks_slot *slot;
	uint8_t *material, key[64];
	GBytes *password;
	GError *error;
	bool good;
};

static void unlock_work(void *opaque)
{
	struct unlock *u = opaque;
	gsize length;
	const void *password = g_bytes_get_data(u->password, &length);
	u->good = luks_try_slot(&u->luks->header, u->slot, u->material, password, length, u->key, &u->error);
}

static bool unlock(struct luks_node *luks, GBytes *password, GError **error)
{
	const struct luks_header *h = &luks->header;
	struct unlock u = {.luks = luks, .password = password,
			   .material = g_malloc(luks_material_bytes(h))};
	for (unsigned i = 0; i < LUKS_SLOTS && !u.good && !u.error; i++) {
		u.slot = &h->slots[i];
		if (!u.slot->active)
			continue;
		int rc = block_pread(luks->node.file, (uint64_t)u.slot->offset * CRYPTO_SECTOR, u.material,
				     luks_material_bytes(h));
		if (rc < 0)
			error_set_errno(&u.error, -rc, "cannot read a key slot");
		else
			fiber_on_pool(luks->pool, luks->node.loop, unlock_work, &u);
	}
	g_free(u.material);
	if (u.good)
		luks->cipher = crypto_cipher_new(h->cipher, h->mode, u.key, h->key_bytes, &u.error);
	gnutls_memset(u.key, 0, sizeof(u.key));
	if (u.error)
		g_propagate_error(error, u.error);
	else if (!u.good)
		error_set(error, BERTH_ERR_INVALID, "Invalid password, cannot unlock any keyslot");
	return luks->cipher != NULL;
}

static bool open_volume(struct luks_node *luks, json_t *dict, GError **error)
{
	struct block_node *node = &luks->node;
	uint8_t b[LUKS_HEADER_SIZE];
	g_autofree char *id = block_take_string(dict, "key-secret");
	int rc = node->file->size < sizeof(b) ? -EINVAL : block_pread(node->file, 0, b, sizeof(b));
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot read the header of '%s'", node->file->filename);
	if (!luks_decode(&luks->header, b, node->file->filename, error))
		return false;
	luks->payload = (uint64_t)luks->header.payload * CRYPTO_SECTOR;
	if (luks->payload > node->file->size)
		return error_set(error, BERTH_ERR_INVALID, "'%s' ends in its own header",
				 node->file->filename);
	node->size = node->file->size - luks->payload;
	node->limits = node->file->limits;
	node->limits.request_alignment = 1; /* we widen */
	node->limits.can_discard = false;
	/* To look at it, no password is needed. */
	if (!id)
		return node->options.check_later ||
		       error_set(error, BERTH_ERR_INVALID,
				 "Parameter 'key-secret' is required for cipher");
	GBytes *password = block_object_take(node->graph, id, BLOCK_OBJECT_SECRET, error);
	bool good = password && unlock(luks, password, error);
	if (password)
		g_bytes_unref(password);
	return good;
}

static void luks_close(struct block_node *node)
{
	struct luks_node *luks = luks_of(node);
	crypto_cipher_free(luks->cipher);
	if (luks->pool)
		aio_pool_free(luks->pool);
}

static bool luks_open(struct block_node *node, json_t *dict, GError **error)
{
	struct luks_node *luks = luks_of(node);
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file)
		return false;
	luks->pool = aio_pool_new(THREADS);
	if (open_volume(luks, dict, error))
		return true;
	luks_close(node);
	return false;
}

static int perform_or_refuse(struct block_node *node, struct block_request *request)
{
	return luks_of(node)->cipher ? perform(node, request) : -EACCES;
}

static bool luks_resize(struct block_node *node, uint64_t size, GError **error)
{
	if (!block_resize(node->file, luks_of(node)->payload + size, error))
		return false;
	node->size = size;
	return true;
}

static bool luks_info(struct block_node *node, json_t *info, GError **error)
{
	json_object_set_new(info, "encrypted", json_true());
	json_object_set_new(info, "format-specific",
			    json_pack("{s:s, s:o}", "type", "luks", "data",
				      luks_describe(&luks_of(node)->header)));
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
	{"key-secret", "str", "ID of the secret that provides the keyslot key"},
	{"size", "size", "Virtual disk size"},
	{NULL},
};

static bool write_volume(const struct block_create *create, const struct luks_wishes *w,
			 GBytes *password, GError **error)
{
	struct luks_header header;
	uint8_t *material, b[LUKS_HEADER_SIZE];
	gsize length;
	const void *secret = g_bytes_get_data(password, &length);
	if (!luks_format(&header, w, secret, length, &material, error))
		return false;
	luks_encode(&header, b);
	uint64_t payload = (uint64_t)header.payload * CRYPTO_SECTOR;
	bool good = block_resize(create->file, payload + align_up(create->size, CRYPTO_SECTOR), error) &&
		    block_write_sync(create->file, (uint64_t)header.slots[0].offset * CRYPTO_SECTOR,
				     material, luks_material_bytes(&header), error) &&
		    block_write_sync(create->file, 0, b, sizeof(b), error) &&
		    block_flush_sync(create->file, error);
	g_free(material);
	return good;
}

static bool luks_create(const struct block_create *create, GError **error)
{
	static const char *const ciphers[] = {"aes-128", "aes-192", "aes-256", NULL};
	static const char *const modes[] = {"xts", "cbc", NULL};
	static const char *const ivgens[] = {"plain64", "plain", "essiv", NULL};
	int cipher = 2, mode = 0, ivgen = 0;
	struct luks_wishes w = {.cipher = "aes", .iter_ms = 2000};
	json_t *options = create->options;
	g_autofree char *id = block_take_string(options, "key-secret");
	g_autofree char *hash = block_take_string(options, "hash-alg");
	g_autofree char *iv_hash = block_take_string(options, "ivgen-hash-alg");
	if (!block_take_enum(options, "cipher-alg", ciphers, &cipher, error) ||
	    !block_take_enum(options, "cipher-mode", modes, &mode, error) ||
	    !block_take_enum(options, "ivgen-alg", ivgens, &ivgen, error) ||
	    !block_take_size(options, "iter-time", &w.iter_ms, error))
		return false;
	if (!id)
		return error_set(error, BERTH_ERR_INVALID,
				 "Parameter 'key-secret' is required for cipher");
	if (w.iter_ms < 1 || w.iter_ms > 60000)
		return error_set(error, BERTH_ERR_INVALID, "iter-time is 1 to 60000 ms");
	g_autofree char *spelled = g_strdup_printf("%s-%s%s%s", modes[mode], ivgens[ivgen],
						   ivgen == 2 ? ":" : "",
						   ivgen == 2 ? (iv_hash ? iv_hash : "sha256") : "");
	w.mode = spelled;
	w.hash = hash ? hash : "sha256";
	/* XTS takes two keys. */
	w.key_bytes = (16 + 8 * cipher) * (mode == 0 ? 2 : 1);
	GBytes *password = block_object_take(create->graph, id, BLOCK_OBJECT_SECRET, error);
	bool good = password && write_volume(create, &w, password, error);
	if (password)
		g_bytes_unref(password);
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
	.create_options = create_options,
	.create = luks_create,
	.fresh_is_noise = true,
};
