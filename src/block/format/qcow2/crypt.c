/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encrypted images: each data cluster is encrypted by sectors of 512 bytes; metadata and compressed
 * clusters are not. With crypt_method 2 a LUKS header lies in clusters that a header extension
 * ("Full disk encryption header pointer") names, and a sector's IV is made of its place in the file.
 * With method 1 the key is the password, and the IV is made of the place on the guest's disk.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/object.h"
#include "block/core/options.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

/* What is en- or decrypted at a time: bounds the memory of a request. */
#define PIECE_MAX (1 << 20)
#define AES_KEY   16

static const char *const formats[] = {"none", "aes", "luks"};

const char *qcow2_crypt_name(const struct qcow2_node *q)
{
	return formats[q->header.crypt_method];
}

/* --- opening and making ---------------------------------------------------------------------------------*/

/* The password itself, cut or filled up with zeroes: nothing tells a wrong one. */
static bool unlock_aes(struct qcow2_node *q, const char *id, GError **error)
{
	uint8_t key[AES_KEY] = {0};
	gsize length;
	GBytes *password = block_object_take(q->node.graph, id, BLOCK_OBJECT_SECRET, error);
	if (!password)
		return false;
	const void *bytes = g_bytes_get_data(password, &length);
	memcpy(key, bytes, MIN(length, sizeof(key)));
	q->crypt.file = q->node.file;
	q->crypt.pool = aio_pool_new(QCOW2_CRYPT_THREADS);
	q->crypt.cipher = crypto_cipher_new("aes", "cbc-plain64", key, sizeof(key), CRYPTO_SECTOR,
					    error);
	gnutls_memset(key, 0, sizeof(key));
	g_bytes_unref(password);
	return q->crypt.cipher != NULL;
}

static bool read_luks(struct qcow2_node *q, GError **error)
{
	const struct qcow2_ext *ext = qcow2_extension_find(q, QCOW2_EXT_CRYPTO);
	const char *name = q->node.file->filename;
	if (!ext || ext->length < 16)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is no valid qcow2 image: it is encrypted, but its header names no "
				 "LUKS header", name);
	uint64_t offset = be64_load(ext->data), length = be64_load(ext->data + 8);
	if (offset & (q->cluster_size - 1) || !range_fits(offset, length, INT64_MAX / 2))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is no valid qcow2 image: its LUKS header is out of place", name);
	return crypto_volume_read(&q->crypt, q->node.file, offset, length, error) &&
	       (!q->crypt.header2 ||
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "'%s' has a LUKS header of version 2, where qcow2 has only version 1", name));
}

static bool unlock(struct qcow2_node *q, const char *id, GError **error)
{
	bool luks = q->header.crypt_method == QCOW2_CRYPT_LUKS;
	if (!id)
		return q->node.options.locked ||
		       error_set(error, BERTH_ERR_INVALID,
				 "Parameter 'encrypt.key-secret' is required for cipher");
	return luks ? crypto_volume_unlock(&q->crypt, q->node.graph, id, error) : unlock_aes(q, id, error);
}

bool qcow2_crypt_open(struct qcow2_node *q, json_t *dict, GError **error)
{
	uint32_t method = q->header.crypt_method;
	json_t *options = json_object_get(dict, "encrypt");
	g_autofree char *format = options ? block_take_string(options, "format") : NULL;
	g_autofree char *id = options ? block_take_string(options, "key-secret") : NULL;
	if (options && !block_refuse_rest(options, "encrypt", error))
		return false;
	json_object_del(dict, "encrypt");
	if (!method && options)
		return error_set(error, BERTH_ERR_INVALID,
				 "No encryption in image header, but options specified format '%s'",
				 format ? format : "luks");
	if (!method)
		return true;
	q->node.encrypted = true;
	if (format && strcmp(format, formats[method]) != 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "Header reported '%s' encryption format but options specify '%s'",
				 formats[method], format);
	if (method == QCOW2_CRYPT_AES && !q->node.options.legacy_aes)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is encrypted with AES-CBC, which is too weak to run a guest on: convert "
				 "it with berth-img to encrypt.format=luks", q->node.file->filename);
	if (method == QCOW2_CRYPT_LUKS && !read_luks(q, error))
		return false;
	return unlock(q, id, error);
}

bool qcow2_crypt_locked(const struct qcow2_node *q)
{
	return q->header.crypt_method && !q->crypt.cipher;
}

json_t *qcow2_crypt_describe(const struct qcow2_node *q)
{
	json_t *data = q->header.crypt_method == QCOW2_CRYPT_LUKS ? luks_describe(&q->crypt.header)
								  : json_object();
	json_object_set_new(data, "format", json_string(qcow2_crypt_name(q)));
	return data;
}

/* --- data -----------------------------------------------------------------------------------------------*/

static uint64_t iv_place(const struct qcow2_node *q, uint64_t guest, uint64_t host)
{
	return q->header.crypt_method == QCOW2_CRYPT_LUKS ? host : guest;
}

/* The sectors that hold [guest, guest + length), and of these only that range. */
static int read_piece(struct qcow2_node *q, uint64_t guest, uint64_t host, const struct iovec *iov,
		      unsigned iov_count, uint64_t skip, uint64_t length)
{
	uint64_t before = host % CRYPTO_SECTOR, whole = align_up(before + length, CRYPTO_SECTOR);
	uint8_t *bytes;
	if (posix_memalign((void **)&bytes, 4096, whole))
		return -ENOMEM;
	int rc = block_pread(q->data, host - before, bytes, whole);
	if (rc == 0)
		rc = crypto_volume_crypt(&q->crypt, iv_place(q, guest, host) - before, bytes, whole, false);
	if (rc == 0)
		block_iov_copy(iov, iov_count, skip, bytes + before, length, false);
	free(bytes);
	return rc;
}

int qcow2_crypt_read(struct qcow2_node *q, uint64_t guest, uint64_t host, const struct iovec *iov,
		     unsigned iov_count, uint64_t skip, uint64_t length)
{
	int rc = q->crypt.cipher ? 0 : -EACCES;
	for (uint64_t done = 0; done < length && rc == 0;) {
		uint64_t n = MIN(length - done, PIECE_MAX - (host + done) % CRYPTO_SECTOR);
		rc = read_piece(q, guest + done, host + done, iov, iov_count, skip + done, n);
		done += n;
	}
	return rc;
}

int qcow2_data_write(struct qcow2_node *q, uint64_t guest, uint64_t host, struct iovec *iov,
		     unsigned iov_count, uint64_t length)
{
	if (!q->header.crypt_method)
		return block_io(q->data, BLOCK_WRITE, 0, host, length, iov, iov_count);
	int rc = q->crypt.cipher ? 0 : -EACCES;
	uint8_t *bytes = NULL;
	if (rc == 0 && posix_memalign((void **)&bytes, 4096, MIN(length, PIECE_MAX)))
		rc = -ENOMEM;
	for (uint64_t done = 0, n; done < length && rc == 0; done += n) {
		n = MIN(length - done, PIECE_MAX);
		block_iov_copy(iov, iov_count, done, bytes, n, true);
		rc = crypto_volume_crypt(&q->crypt, iv_place(q, guest, host) + done, bytes, n, true);
		rc = rc < 0 ? rc : block_pwrite(q->data, host + done, bytes, n);
	}
	free(bytes);
	return rc;
}

/* --- writes of parts of sectors ---------------------------------------------------------------------------*/

static int read_sector(struct qcow2_node *q, uint64_t offset, uint8_t *bytes)
{
	struct iovec iov = {bytes, CRYPTO_SECTOR};
	return qcow2_read(q, offset, CRYPTO_SECTOR, &iov, 1);
}

/* The first and last sectors, whole, around the new bytes. */
static int widen(struct qcow2_node *q, uint64_t offset, uint64_t length, const struct iovec *iov,
		 unsigned iov_count)
{
	uint64_t start = align_down(offset, CRYPTO_SECTOR), end = align_up(offset + length, CRYPTO_SECTOR);
	uint64_t last = end - CRYPTO_SECTOR;
	g_autofree uint8_t *bytes = g_try_malloc(end - start);
	if (!bytes)
		return -ENOMEM;
	int rc = read_sector(q, start, bytes);
	if (rc == 0 && last != start)
		rc = read_sector(q, last, bytes + (last - start));
	if (rc < 0)
		return rc;
	block_iov_copy(iov, iov_count, 0, bytes + (offset - start), length, true);
	struct iovec whole = {bytes, end - start};
	return qcow2_write_sectors(q, start, end - start, &whole, 1);
}

int qcow2_crypt_write(struct qcow2_node *q, uint64_t offset, uint64_t length, const struct iovec *iov,
		      unsigned iov_count)
{
	struct block_claim claim;
	uint64_t start = align_down(offset, CRYPTO_SECTOR), end = align_up(offset + length, CRYPTO_SECTOR);
	bool whole = start == offset && end == offset + length;
	if (!length)
		return 0;
	/* What is read to be written back with a change must not be overtaken. */
	block_claim_begin(&q->crypt_claims, &claim, start, end - start, !whole);
	int rc = (whole ? qcow2_write_sectors : widen)(q, offset, length, iov, iov_count);
	block_claim_end(&q->crypt_claims, &claim);
	return rc;
}
