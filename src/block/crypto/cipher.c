/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/crypto/cipher.h"

#include "base/bytes.h"
#include "base/error.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

enum ivgen { IV_PLAIN, IV_PLAIN64, IV_ESSIV };

struct crypto_cipher {
	gnutls_cipher_algorithm_t algorithm, essiv_algorithm;
	enum ivgen ivgen;
	uint8_t key[64], essiv_key[64];
	unsigned key_bytes, essiv_bytes, unit;
};

static gnutls_cipher_algorithm_t cbc_of(unsigned key_bytes)
{
	return key_bytes == 16	 ? GNUTLS_CIPHER_AES_128_CBC
	       : key_bytes == 24 ? GNUTLS_CIPHER_AES_192_CBC
	       : key_bytes == 32 ? GNUTLS_CIPHER_AES_256_CBC : GNUTLS_CIPHER_UNKNOWN;
}

static gnutls_cipher_algorithm_t xts_of(unsigned key_bytes)
{
	return key_bytes == 32	 ? GNUTLS_CIPHER_AES_128_XTS
	       : key_bytes == 64 ? GNUTLS_CIPHER_AES_256_XTS : GNUTLS_CIPHER_UNKNOWN;
}

/* "essiv:sha256": the IV is the number encrypted with a hash of the key. */
static bool set_essiv(struct crypto_cipher *cipher, const char *hash)
{
	gnutls_digest_algorithm_t digest = gnutls_digest_get_id(hash);
	unsigned length = digest == GNUTLS_DIG_UNKNOWN ? 0 : gnutls_hash_get_len(digest);
	cipher->essiv_algorithm = cbc_of(length);
	cipher->essiv_bytes = length;
	return cipher->essiv_algorithm != GNUTLS_CIPHER_UNKNOWN &&
	       gnutls_hash_fast(digest, cipher->key, cipher->key_bytes, cipher->essiv_key) == 0;
}

static bool set_mode(struct crypto_cipher *cipher, const char *mode)
{
	bool xts = g_str_has_prefix(mode, "xts-"), cbc = g_str_has_prefix(mode, "cbc-");
	const char *iv = mode + 4;
	if (!xts && !cbc)
		return false;
	cipher->algorithm = (xts ? xts_of : cbc_of)(cipher->key_bytes);
	if (cipher->algorithm == GNUTLS_CIPHER_UNKNOWN)
		return false;
	if (g_str_has_prefix(iv, "essiv:")) {
		cipher->ivgen = IV_ESSIV;
		return set_essiv(cipher, iv + strlen("essiv:"));
	}
	cipher->ivgen = strcmp(iv, "plain64") == 0 ? IV_PLAIN64 : IV_PLAIN;
	return strcmp(iv, "plain64") == 0 || strcmp(iv, "plain") == 0;
}

struct crypto_cipher *crypto_cipher_new(const char *name, const char *mode, const uint8_t *key,
					unsigned key_bytes, unsigned unit, GError **error)
{
	struct crypto_cipher *cipher = g_new0(struct crypto_cipher, 1);
	cipher->key_bytes = key_bytes;
	cipher->unit = unit;
	memcpy(cipher->key, key, MIN(key_bytes, sizeof(cipher->key)));
	if (key_bytes <= sizeof(cipher->key) && strcmp(name, "aes") == 0 && set_mode(cipher, mode))
		return cipher;
	crypto_cipher_free(cipher);
	error_set(error, BERTH_ERR_NOT_SUPPORTED,
		  "the cipher %s-%s with keys of %u bits is not supported: aes with xts or cbc and plain, "
		  "plain64 or essiv is", name, mode, key_bytes * 8);
	return NULL;
}

void crypto_cipher_free(struct crypto_cipher *cipher)
{
	if (!cipher)
		return;
	gnutls_memset(cipher, 0, sizeof(*cipher));
	g_free(cipher);
}

static bool make_iv(const struct crypto_cipher *cipher, gnutls_cipher_hd_t essiv, uint64_t sector,
		    uint8_t iv[16])
{
	memset(iv, 0, 16);
	le64_store(iv, cipher->ivgen == IV_PLAIN ? (uint32_t)sector : sector);
	uint8_t zero[16] = {0};
	if (cipher->ivgen != IV_ESSIV)
		return true;
	/* One block of CBC with a zero IV is ECB. */
	gnutls_cipher_set_iv(essiv, zero, sizeof(zero));
	return gnutls_cipher_encrypt(essiv, iv, 16) == 0;
}

static bool run(const struct crypto_cipher *cipher, uint64_t sector, uint8_t *bytes, uint64_t length,
		bool encrypt)
{
	gnutls_cipher_hd_t handle, essiv = NULL;
	const gnutls_datum_t key = {(unsigned char *)cipher->key, cipher->key_bytes};
	const gnutls_datum_t essiv_key = {(unsigned char *)cipher->essiv_key, cipher->essiv_bytes};
	uint8_t iv[16] = {0};
	const gnutls_datum_t first = {iv, sizeof(iv)};
	if (gnutls_cipher_init(&handle, cipher->algorithm, &key, &first) < 0)
		return false;
	bool good = cipher->ivgen != IV_ESSIV ||
		    gnutls_cipher_init(&essiv, cipher->essiv_algorithm, &essiv_key, &first) == 0;
	for (uint64_t at = 0; good && at < length; at += cipher->unit, sector += cipher->unit / CRYPTO_SECTOR) {
		good = make_iv(cipher, essiv, sector, iv);
		gnutls_cipher_set_iv(handle, iv, sizeof(iv));
		good = good && (encrypt ? gnutls_cipher_encrypt : gnutls_cipher_decrypt)(
				       handle, bytes + at, cipher->unit) == 0;
	}
	gnutls_cipher_deinit(handle);
	if (essiv)
		gnutls_cipher_deinit(essiv);
	return good;
}

bool crypto_encrypt(const struct crypto_cipher *cipher, uint64_t sector, uint8_t *bytes,
		    uint64_t length)
{
	return run(cipher, sector, bytes, length, true);
}

bool crypto_decrypt(const struct crypto_cipher *cipher, uint64_t sector, uint8_t *bytes,
		    uint64_t length)
{
	return run(cipher, sector, bytes, length, false);
}

const uint8_t *crypto_cipher_key(const struct crypto_cipher *cipher)
{
	return cipher->key;
}
