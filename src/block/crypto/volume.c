/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/crypto/volume.h"

#include "aio/pool.h"
#include "base/error.h"
#include "block/core/object.h"
#include "block/core/options.h"

#include <errno.h>
#include <gnutls/gnutls.h>

#define THREADED_MIN 32768
#define THREADS      4

/* --- opening --------------------------------------------------------------------------------------------*/

bool crypto_volume_read(struct crypto_volume *v, struct block_node *file, uint64_t offset,
			uint64_t length, GError **error)
{
	uint8_t b[LUKS_HEADER_SIZE];
	v->file = file;
	v->offset = offset;
	v->length = length;
	v->pool = aio_pool_new(THREADS);
	int rc = length < sizeof(b) ? -EINVAL : block_pread(file, offset, b, sizeof(b));
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot read the header of '%s'", file->filename);
	if (!luks_decode(&v->header, b, file->filename, error))
		return false;
	return (uint64_t)v->header.payload * CRYPTO_SECTOR <= length ||
	       error_set(error, BERTH_ERR_INVALID, "'%s' ends in its own LUKS header", file->filename);
}

struct unlock {
	const struct luks_header *header;
	const struct luks_slot *slot;
	uint8_t *material, key[LUKS_KEY_MAX];
	GBytes *password;
	GError *error;
	bool good;
};

static void unlock_work(void *opaque)
{
	struct unlock *u = opaque;
	gsize length;
	const void *password = g_bytes_get_data(u->password, &length);
	u->good = luks_try_slot(u->header, u->slot, u->material, password, length, u->key, &u->error);
}

static void try_slots(struct crypto_volume *v, struct unlock *u)
{
	for (unsigned i = 0; i < LUKS_SLOTS && !u->good && !u->error; i++) {
		u->slot = &v->header.slots[i];
		if (!u->slot->active)
			continue;
		int rc = block_pread(v->file, v->offset + (uint64_t)u->slot->offset * CRYPTO_SECTOR,
				     u->material, luks_material_bytes(&v->header));
		if (rc < 0)
			error_set_errno(&u->error, -rc, "cannot read a key slot");
		else
			fiber_on_pool(v->pool, v->file->loop, unlock_work, u);
	}
}

bool crypto_volume_unlock(struct crypto_volume *v, struct block_graph *graph, const char *id,
			  GError **error)
{
	const struct luks_header *h = &v->header;
	struct unlock u = {.header = h, .password = block_object_take(graph, id, BLOCK_OBJECT_SECRET, error)};
	if (!u.password)
		return false;
	u.material = g_malloc(luks_material_bytes(h));
	try_slots(v, &u);
	g_free(u.material);
	g_bytes_unref(u.password);
	if (u.good)
		v->cipher = crypto_cipher_new(h->cipher, h->mode, u.key, h->key_bytes, &u.error);
	gnutls_memset(u.key, 0, sizeof(u.key));
	if (u.error)
		g_propagate_error(error, u.error);
	else if (!u.good)
		error_set(error, BERTH_ERR_INVALID, "Invalid password, cannot unlock any keyslot");
	return v->cipher != NULL;
}

void crypto_volume_clear(struct crypto_volume *v)
{
	crypto_cipher_free(v->cipher);
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
	struct crypt_call call = {v->cipher, offset / CRYPTO_SECTOR, length, bytes, encrypt, false};
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
