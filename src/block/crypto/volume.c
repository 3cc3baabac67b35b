/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/crypto/volume.h"

#include "aio/pool.h"
#include "base/bytes.h"
#include "base/error.h"
#include "block/core/object.h"
#include "block/core/options.h"

#include <errno.h>
#include <gnutls/gnutls.h>

#define THREADED_MIN 32768
#define THREADS      4

/* --- opening --------------------------------------------------------------------------------------------*/

static bool read_version1(struct crypto_volume *v, const uint8_t *bytes, GError **error)
{
	if (!luks_decode(&v->header, bytes, v->file->filename, error))
		return false;
	v->payload = (uint64_t)v->header.payload * CRYPTO_SECTOR;
	v->sector = CRYPTO_SECTOR;
	return true;
}

/* One copy of a version 2 header, all of it and whole: the JSON's place is in *text. */
static bool read_copy(struct crypto_volume *v, uint64_t at, struct luks2_header *h, uint8_t **text,
		      GError **error)
{
	uint8_t b[LUKS2_BINARY_SIZE];
	const char *name = v->file->filename;
	if (!range_fits(at, sizeof(b), v->length) ||
	    !block_read_sync(v->file, v->offset + at, b, sizeof(b), error) ||
	    !luks2_decode_binary(h, b, at != 0, name, error))
		return false;
	if (!range_fits(at, h->size, v->length))
		return error_set(error, BERTH_ERR_INVALID, "'%s' ends in its own LUKS header", name);
	g_autofree uint8_t *all = g_malloc(h->size);
	if (!block_read_sync(v->file, v->offset + at, all, h->size, error))
		return false;
	if (!luks2_check(h, all))
		return error_set(error, BERTH_ERR_INVALID, "'%s': the checksum of the LUKS header is wrong", name);
	*text = g_memdup2(all + sizeof(b), h->size - sizeof(b));
	return true;
}

/*
 * The newer of the two copies that are whole: a crash during a change of the header leaves one. Where
 * the first is broken, the second may be at any of the sizes that a header can have.
 */
static bool read_version2(struct crypto_volume *v, GError **error)
{
	struct luks2_header second, *h = v->header2 = g_new0(struct luks2_header, 1);
	g_autofree uint8_t *text = NULL;
	g_autoptr(GError) why = NULL;
	bool found = read_copy(v, 0, h, &text, &why);
	for (uint64_t at = found ? h->size : 16384; at <= LUKS2_HEADER_MAX; at *= 2) {
		uint8_t *other = NULL;
		bool good = read_copy(v, at, &second, &other, NULL);
		if (good && (!found || second.sequence > h->sequence)) {
			*h = second;
			g_free(text);
			text = g_steal_pointer(&other);
			found = true;
		}
		g_free(other);
		if (found)
			break;
	}
	if (!found) {
		if (why)
			g_propagate_error(error, g_steal_pointer(&why));
		else
			error_set(error, BERTH_ERR_INVALID, "'%s' ends in its own LUKS header", v->file->filename);
		return false;
	}
	v->payload = 0;
	if (!luks2_decode_json(h, (char *)text, h->size - LUKS2_BINARY_SIZE, v->file->filename, error))
		return false;
	v->payload = h->segment_offset;
	v->size = h->segment_size;
	v->sector = h->sector_size;
	return true;
}

bool crypto_volume_read(struct crypto_volume *v, struct block_node *file, uint64_t offset,
			uint64_t length, GError **error)
{
	uint8_t b[LUKS_HEADER_SIZE];
	v->file = file;
	v->offset = offset;
	v->length = length;
	v->pool = aio_pool_new(THREADS);
	if (length < sizeof(b))
		return error_set(error, BERTH_ERR_INVALID, "'%s' ends in its own LUKS header", file->filename);
	if (!block_read_sync(file, offset, b, sizeof(b), error) ||
	    !(luks2_probe(b, sizeof(b)) ? read_version2(v, error) : read_version1(v, b, error)))
		return false;
	return range_fits(v->payload, v->size, length) ||
	       error_set(error, BERTH_ERR_INVALID, "'%s' ends before its LUKS payload does", file->filename);
}

json_t *crypto_volume_describe(const struct crypto_volume *v)
{
	return v->header2 ? luks2_describe(v->header2) : luks_describe(&v->header);
}

/* A slot of either version. */
struct unlock {
	const struct crypto_volume *volume;
	unsigned slot;
	uint8_t *material, *key;
	GBytes *password;
	GError *error;
	bool good;
};

static void unlock_work(void *opaque)
{
	struct unlock *u = opaque;
	const struct crypto_volume *v = u->volume;
	gsize length;
	const void *password = g_bytes_get_data(u->password, &length);
	u->good = v->header2 ? luks2_try_slot(v->header2, &v->header2->slots[u->slot], u->material, password,
					      length, u->key, &u->error)
			     : luks_try_slot(&v->header, &v->header.slots[u->slot], u->material, password,
					     length, u->key, &u->error);
}

/* Where the stripes of a slot are; false: it is unused. */
static bool place_of_slot(const struct crypto_volume *v, unsigned slot, uint64_t *offset, uint64_t *length)
{
	if (v->header2) {
		*offset = v->header2->slots[slot].offset;
		*length = luks_stripes_bytes(v->header2->slots[slot].key_bytes);
		return true;
	}
	*offset = (uint64_t)v->header.slots[slot].offset * CRYPTO_SECTOR;
	*length = luks_material_bytes(&v->header);
	return v->header.slots[slot].active;
}

int crypto_volume_try(struct crypto_volume *v, unsigned slot, GBytes *password, uint8_t *key,
		      GError **error)
{
	uint64_t offset, length;
	if (!place_of_slot(v, slot, &offset, &length))
		return 0;
	struct unlock u = {.volume = v, .slot = slot, .password = password, .key = key};
	u.material = g_malloc(length);
	int rc = range_fits(offset, length, v->length)
			 ? block_pread(v->file, v->offset + offset, u.material, length) : -EINVAL;
	if (rc < 0)
		error_set_errno(&u.error, -rc, "cannot read a key slot");
	else
		fiber_on_pool(v->pool, v->file->loop, unlock_work, &u);
	g_free(u.material);
	if (!u.error)
		return u.good;
	g_propagate_error(error, u.error);
	return -1;
}

static struct crypto_cipher *make_cipher(const struct crypto_volume *v, const uint8_t *key,
					 unsigned slot, GError **error)
{
	const struct luks2_header *h = v->header2;
	return h ? crypto_cipher_new(h->cipher, h->mode, key, h->slots[slot].key_bytes, v->sector, error)
		 : crypto_cipher_new(v->header.cipher, v->header.mode, key, v->header.key_bytes, v->sector,
				     error);
}

int crypto_volume_find_slot(struct crypto_volume *v, struct block_graph *graph, const char *id,
			    uint8_t *key, GError **error)
{
	GBytes *password = block_object_take(graph, id, BLOCK_OBJECT_SECRET, error);
	if (!password)
		return -1;
	int found = 0, slot = 0, count = v->header2 ? v->header2->slot_count : LUKS_SLOTS;
	while (slot < count && (found = crypto_volume_try(v, slot, password, key, error)) == 0)
		slot++;
	g_bytes_unref(password);
	if (found == 0)
		error_set(error, BERTH_ERR_INVALID, "Invalid password, cannot unlock any keyslot");
	return found > 0 ? slot : -1;
}

bool crypto_volume_unlock(struct crypto_volume *v, struct block_graph *graph, const char *id,
			  GError **error)
{
	uint8_t key[LUKS_KEY_MAX];
	int slot = crypto_volume_find_slot(v, graph, id, key, error);
	if (slot >= 0)
		v->cipher = make_cipher(v, key, slot, error);
	gnutls_memset(key, 0, sizeof(key));
	return v->cipher != NULL;
}

void crypto_volume_clear(struct crypto_volume *v)
{
	crypto_cipher_free(v->cipher);
	g_free(v->header2);
	if (v->pool)
		aio_pool_free(v->pool);
	*v = (struct crypto_volume){0};
}

/* --- requests -------------------------------------------------------------------------------------------*/

struct crypt_call {
	const struct crypto_cipher *cipher;
	uint64_t sector, length;
	uint8_t *bytes;
	bool encrypt, good;
};

static void crypt_work(void *opaque)
{
	struct crypt_call *call = opaque;
	call->good = (call->encrypt ? crypto_encrypt : crypto_decrypt)(call->cipher, call->sector,
								       call->bytes, call->length);
}

int crypto_volume_crypt(struct crypto_volume *v, uint64_t offset, void *bytes, uint64_t length,
			bool encrypt)
{
	uint64_t sector = offset / CRYPTO_SECTOR + (v->header2 ? v->header2->iv_tweak : 0);
	struct crypt_call call = {v->cipher, sector, length, bytes, encrypt, false};
	if (length >= THREADED_MIN)
		fiber_on_pool(v->pool, v->file->loop, crypt_work, &call);
	else
		crypt_work(&call);
	return call.good ? 0 : -EIO;
}

/* --- making ---------------------------------------------------------------------------------------------*/

static char *take(json_t *options, const char *prefix, const char *name)
{
	g_autofree char *key = g_strconcat(prefix, name, NULL);
	return block_take_string(options, key);
}

static bool take_one_of(json_t *options, const char *prefix, const char *name,
			const char *const *names, int *value, GError **error)
{
	g_autofree char *key = g_strconcat(prefix, name, NULL);
	return block_take_enum(options, key, names, value, error);
}

bool crypto_take_wishes(json_t *options, const char *prefix, struct luks_wishes *w, GError **error)
{
	static const char *const ciphers[] = {"aes-128", "aes-192", "aes-256", NULL};
	static const char *const modes[] = {"xts", "cbc", NULL};
	static const char *const ivgens[] = {"plain64", "plain", "essiv", NULL};
	int cipher = 2, mode = 0, ivgen = 0;
	g_autofree char *iter_key = g_strconcat(prefix, "iter-time", NULL);
	g_autofree char *iv_hash = take(options, prefix, "ivgen-hash-alg");
	w->secret = take(options, prefix, "key-secret");
	w->hash = take(options, prefix, "hash-alg");
	w->iter_ms = 2000;
	if (!take_one_of(options, prefix, "cipher-alg", ciphers, &cipher, error) ||
	    !take_one_of(options, prefix, "cipher-mode", modes, &mode, error) ||
	    !take_one_of(options, prefix, "ivgen-alg", ivgens, &ivgen, error) ||
	    !block_take_size(options, iter_key, &w->iter_ms, error))
		return false;
	if (!w->secret)
		return error_set(error, BERTH_ERR_INVALID, "Parameter '%skey-secret' is required for cipher",
				 prefix);
	if (w->iter_ms < 1 || w->iter_ms > 60000)
		return error_set(error, BERTH_ERR_INVALID, "%s is 1 to 60000 ms", iter_key);
	if (!w->hash)
		w->hash = g_strdup("sha256");
	w->mode = g_strdup_printf("%s-%s%s%s", modes[mode], ivgens[ivgen], ivgen == 2 ? ":" : "",
				  ivgen == 2 ? (iv_hash ? iv_hash : "sha256") : "");
	/* XTS takes two keys. */
	w->key_bytes = (16 + 8 * cipher) * (mode == 0 ? 2 : 1);
	return true;
}

bool crypto_volume_format(struct block_node *file, uint64_t offset, const struct luks_wishes *w,
			  struct block_graph *graph, GError **error)
{
	struct luks_header header;
	uint8_t *material, b[LUKS_HEADER_SIZE];
	gsize length;
	GBytes *password = block_object_take(graph, w->secret, BLOCK_OBJECT_SECRET, error);
	if (!password)
		return false;
	const void *secret = g_bytes_get_data(password, &length);
	bool good = luks_format(&header, w, secret, length, &material, error);
	g_bytes_unref(password);
	if (!good)
		return false;
	luks_encode(&header, b);
	good = block_write_sync(file, offset + (uint64_t)header.slots[0].offset * CRYPTO_SECTOR, material,
				luks_material_bytes(&header), error) &&
	       block_write_sync(file, offset, b, sizeof(b), error);
	g_free(material);
	return good;
}
