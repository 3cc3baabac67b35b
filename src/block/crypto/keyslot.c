/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/crypto/keyslot.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/crypto/cipher.h"

#include <string.h>

gnutls_digest_algorithm_t luks_digest(const char *name, GError **error)
{
	gnutls_digest_algorithm_t digest = gnutls_digest_get_id(name);
	if (digest == GNUTLS_DIG_UNKNOWN)
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "the hash '%s' is not supported", name);
	return digest;
}

bool luks_pbkdf2(gnutls_digest_algorithm_t digest, const void *password, size_t length,
		 const uint8_t *salt, size_t salt_length, uint32_t iterations, uint8_t *out,
		 size_t out_length, GError **error)
{
	const gnutls_datum_t secret = {(unsigned char *)password, length};
	const gnutls_datum_t salted = {(unsigned char *)salt, salt_length};
	return gnutls_pbkdf2((gnutls_mac_algorithm_t)digest, &secret, &salted, iterations, out,
			     out_length) == 0 ||
	       error_set(error, BERTH_ERR_INTERNAL, "the key could not be derived");
}

uint64_t luks_stripes_bytes(unsigned key_bytes)
{
	return align_up((uint64_t)key_bytes * LUKS_STRIPES, CRYPTO_SECTOR);
}

/* The specification's diffusion: each digest-sized piece becomes the hash of its number and itself. */
static bool diffuse(gnutls_digest_algorithm_t digest, uint8_t *block, unsigned length)
{
	unsigned size = gnutls_hash_get_len(digest);
	uint8_t input[4 + 64], output[64];
	for (unsigned at = 0, i = 0; at < length; at += size, i++) {
		unsigned n = MIN(size, length - at);
		be32_store(input, i);
		memcpy(input + 4, block + at, n);
		if (gnutls_hash_fast(digest, input, 4 + n, output) < 0)
			return false;
		memcpy(block + at, output, n);
	}
	return true;
}

static void xor_into(uint8_t *to, const uint8_t *from, unsigned length)
{
	for (unsigned i = 0; i < length; i++)
		to[i] ^= from[i];
}

/* All stripes but the last, folded into `block`. */
static bool fold(gnutls_digest_algorithm_t digest, const uint8_t *stripes, unsigned length,
		 uint8_t *block, GError **error)
{
	memset(block, 0, length);
	for (unsigned i = 0; i < LUKS_STRIPES - 1; i++) {
		xor_into(block, stripes + (size_t)i * length, length);
		if (!diffuse(digest, block, length))
			return error_set(error, BERTH_ERR_INTERNAL, "the stripes could not be hashed");
	}
	return true;
}

bool luks_af_merge(gnutls_digest_algorithm_t digest, const uint8_t *stripes, unsigned key_bytes,
		   uint8_t *key, GError **error)
{
	if (!fold(digest, stripes, key_bytes, key, error))
		return false;
	xor_into(key, stripes + (size_t)(LUKS_STRIPES - 1) * key_bytes, key_bytes);
	return true;
}

bool luks_af_split(gnutls_digest_algorithm_t digest, const uint8_t *key, unsigned key_bytes,
		   uint8_t *stripes, GError **error)
{
	uint8_t *last = stripes + (size_t)(LUKS_STRIPES - 1) * key_bytes;
	if (!luks_random(stripes, last - stripes, error) ||
	    !fold(digest, stripes, key_bytes, last, error))
		return false;
	xor_into(last, key, key_bytes);
	return true;
}

bool luks_crypt_stripes(const char *cipher_name, const char *mode, const uint8_t *slot_key,
			unsigned slot_key_bytes, uint8_t *stripes, uint64_t length, bool encrypt,
			GError **error)
{
	struct crypto_cipher *cipher =
		crypto_cipher_new(cipher_name, mode, slot_key, slot_key_bytes, CRYPTO_SECTOR, error);
	if (!cipher)
		return false;
	bool good = (encrypt ? crypto_encrypt : crypto_decrypt)(cipher, 0, stripes, length);
	crypto_cipher_free(cipher);
	return good || error_set(error, BERTH_ERR_INTERNAL, "the key slot could not be computed");
}

bool luks_random(void *bytes, size_t length, GError **error)
{
	return gnutls_rnd(GNUTLS_RND_KEY, bytes, length) == 0 ||
	       error_set(error, BERTH_ERR_INTERNAL, "there are no random numbers");
}
