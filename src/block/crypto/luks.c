/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/crypto/luks.h"

#include "base/bytes.h"
#include "base/error.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <time.h>

#define MAGIC         "LUKS\xba\xbe"
#define SLOT_ENABLED  UINT32_C(0x00ac71f3)
#define SLOT_DISABLED UINT32_C(0x0000dead)
#define SLOTS_AT      208
#define SLOT_SIZE     48
/* Slots begin at multiples of this, and the payload too. */
#define ALIGN_SECTORS 8
/* Some 10 s of one CPU: an image must not keep us for hours. */
#define ITERATIONS_MAX 20000000
#define ITERATIONS_MIN 1000

bool luks_probe(const uint8_t *head, size_t length)
{
	return length >= 8 && memcmp(head, MAGIC, 6) == 0 && be16_load(head + 6) == 1;
}

uint64_t luks_material_bytes(const struct luks_header *header)
{
	return align_up((uint64_t)header->key_bytes * LUKS_STRIPES, CRYPTO_SECTOR);
}

/* --- the header -----------------------------------------------------------------------------------------*/

static bool bad(const char *name, const char *what, GError **error)
{
	return error_set(error, BERTH_ERR_INVALID, "'%s' is no valid LUKS volume: %s", name, what);
}

static bool check_slot(const struct luks_header *h, const struct luks_slot *slot)
{
	uint64_t end = (uint64_t)slot->offset * CRYPTO_SECTOR + luks_material_bytes(h);
	return slot->stripes == LUKS_STRIPES && slot->offset >= 2 &&
	       end <= (uint64_t)h->payload * CRYPTO_SECTOR && slot->iterations >= 1 &&
	       slot->iterations <= ITERATIONS_MAX;
}

bool luks_decode(struct luks_header *h, const uint8_t *b, const char *name, GError **error)
{
	*h = (struct luks_header){0};
	if (memcmp(b, MAGIC, 6) != 0)
		return bad(name, "it does not begin like one", error);
	if (be16_load(b + 6) != 1)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is a LUKS volume of version %u; version 1 is supported", name,
				 be16_load(b + 6));
	memcpy(h->cipher, b + 8, 32);
	memcpy(h->mode, b + 40, 32);
	memcpy(h->hash, b + 72, 32);
	h->payload = be32_load(b + 104);
	h->key_bytes = be32_load(b + 108);
	memcpy(h->digest, b + 112, 20);
	memcpy(h->digest_salt, b + 132, 32);
	h->digest_iterations = be32_load(b + 164);
	memcpy(h->uuid, b + 168, 40);
	if (h->key_bytes < 16 || h->key_bytes > LUKS_KEY_MAX || h->key_bytes % 8)
		return bad(name, "the key's length makes no sense", error);
	if (h->digest_iterations < 1 || h->digest_iterations > ITERATIONS_MAX)
		return bad(name, "its key would take hours to check", error);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		const uint8_t *s = b + SLOTS_AT + i * SLOT_SIZE;
		struct luks_slot *slot = &h->slots[i];
		uint32_t state = be32_load(s);
		*slot = (struct luks_slot){state == SLOT_ENABLED, be32_load(s + 4), be32_load(s + 40),
					   be32_load(s + 44), {0}};
		memcpy(slot->salt, s + 8, 32);
		if (state != SLOT_ENABLED && state != SLOT_DISABLED)
			return bad(name, "a key slot is neither used nor unused", error);
		if (slot->active && !check_slot(h, slot))
			return bad(name, "a key slot makes no sense", error);
	}
	return true;
}

void luks_encode(const struct luks_header *h, uint8_t *b)
{
	memset(b, 0, LUKS_HEADER_SIZE);
	memcpy(b, MAGIC, 6);
	be16_store(b + 6, 1);
	memcpy(b + 8, h->cipher, 32);
	memcpy(b + 40, h->mode, 32);
	memcpy(b + 72, h->hash, 32);
	be32_store(b + 104, h->payload);
	be32_store(b + 108, h->key_bytes);
	memcpy(b + 112, h->digest, 20);
	memcpy(b + 132, h->digest_salt, 32);
	be32_store(b + 164, h->digest_iterations);
	memcpy(b + 168, h->uuid, 40);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		uint8_t *s = b + SLOTS_AT + i * SLOT_SIZE;
		const struct luks_slot *slot = &h->slots[i];
		be32_store(s, slot->active ? SLOT_ENABLED : SLOT_DISABLED);
		be32_store(s + 4, slot->iterations);
		memcpy(s + 8, slot->salt, 32);
		be32_store(s + 40, slot->offset);
		be32_store(s + 44, slot->stripes);
	}
}

/* --- keys -----------------------------------------------------------------------------------------------*/

static gnutls_digest_algorithm_t digest_of(const struct luks_header *h, GError **error)
{
	gnutls_digest_algorithm_t digest = gnutls_digest_get_id(h->hash);
	if (digest == GNUTLS_DIG_UNKNOWN)
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "the hash '%s' is not supported", h->hash);
	return digest;
}

static bool derive(gnutls_digest_algorithm_t digest, const void *password, size_t length,
		   const uint8_t *salt, uint32_t iterations, uint8_t *out, unsigned out_length)
{
	const gnutls_datum_t secret = {(unsigned char *)password, length};
	const gnutls_datum_t salted = {(unsigned char *)salt, 32};
	return gnutls_pbkdf2((gnutls_mac_algorithm_t)digest, &secret, &salted, iterations, out,
			     out_length) == 0;
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
		 uint8_t *block)
{
	memset(block, 0, length);
	for (unsigned i = 0; i < LUKS_STRIPES - 1; i++) {
		xor_into(block, stripes + (size_t)i * length, length);
		if (!diffuse(digest, block, length))
			return false;
	}
	return true;
}

/* The slot's own key encrypts the stripes; sectors count from 0 there. */
static bool crypt_material(const struct luks_header *h, const uint8_t *slot_key, uint8_t *material,
			   bool encrypt, GError **error)
{
	struct crypto_cipher *cipher =
		crypto_cipher_new(h->cipher, h->mode, slot_key, h->key_bytes, error);
	if (!cipher)
		return false;
	bool good = (encrypt ? crypto_encrypt : crypto_decrypt)(cipher, 0, material,
								 luks_material_bytes(h));
	crypto_cipher_free(cipher);
	return good || error_set(error, BERTH_ERR_INTERNAL, "the key slot could not be computed");
}

bool luks_try_slot(const struct luks_header *h, const struct luks_slot *slot, uint8_t *material,
		   const void *password, size_t length, uint8_t *key, GError **error)
{
	uint8_t slot_key[LUKS_KEY_MAX], digest_now[20];
	gnutls_digest_algorithm_t digest = digest_of(h, error);
	if (digest == GNUTLS_DIG_UNKNOWN)
		return false;
	bool good = derive(digest, password, length, slot->salt, slot->iterations, slot_key,
			   h->key_bytes) ||
		    error_set(error, BERTH_ERR_INTERNAL, "the key could not be derived");
	good = good && crypt_material(h, slot_key, material, false, error) &&
	       fold(digest, material, h->key_bytes, key);
	if (good)
		xor_into(key, material + (size_t)(LUKS_STRIPES - 1) * h->key_bytes, h->key_bytes);
	good = good && derive(digest, key, h->key_bytes, h->digest_salt, h->digest_iterations, digest_now,
			      sizeof(digest_now));
	gnutls_memset(slot_key, 0, sizeof(slot_key));
	return good && gnutls_memcmp(digest_now, h->digest, sizeof(digest_now)) == 0;
}

/* --- making ---------------------------------------------------------------------------------------------*/

/* Iterations that take so long here. */
static uint32_t count_iterations(gnutls_digest_algorithm_t digest, unsigned key_bytes, uint64_t ms)
{
	uint8_t out[LUKS_KEY_MAX], salt[32] = {0};
	struct timespec a, b;
	const uint32_t sample = 20000;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	derive(digest, "sample", 6, salt, sample, out, key_bytes);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	uint64_t us = (b.tv_sec - a.tv_sec) * UINT64_C(1000000) + (b.tv_nsec - a.tv_nsec) / 1000;
	return CLAMP(ms * 1000 * sample / MAX(us, 1), ITERATIONS_MIN, ITERATIONS_MAX);
}

static bool random_bytes(void *bytes, size_t length, GError **error)
{
	return gnutls_rnd(GNUTLS_RND_KEY, bytes, length) == 0 ||
	       error_set(error, BERTH_ERR_INTERNAL, "there are no random numbers");
}

static void lay_out(struct luks_header *h)
{
	uint64_t sectors = align_up(luks_material_bytes(h) / CRYPTO_SECTOR, ALIGN_SECTORS);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		h->slots[i].offset = ALIGN_SECTORS + i * sectors;
		h->slots[i].stripes = LUKS_STRIPES;
	}
	h->payload = ALIGN_SECTORS + LUKS_SLOTS * sectors;
}

uint64_t luks_payload_bytes(const struct luks_wishes *wishes)
{
	struct luks_header header = {.key_bytes = wishes->key_bytes};
	lay_out(&header);
	return (uint64_t)header.payload * CRYPTO_SECTOR;
}

void luks_wishes_clear(struct luks_wishes *wishes)
{
	g_free(wishes->mode);
	g_free(wishes->hash);
	g_free(wishes->secret);
}

/* The master key in stripes that only together give it back. */
static bool split_key(const struct luks_header *h, gnutls_digest_algorithm_t digest,
		      const uint8_t *key, uint8_t *material, GError **error)
{
	uint8_t block[LUKS_KEY_MAX];
	size_t most = (size_t)(LUKS_STRIPES - 1) * h->key_bytes;
	if (!random_bytes(material, most, error))
		return false;
	if (!fold(digest, material, h->key_bytes, block))
		return error_set(error, BERTH_ERR_INTERNAL, "the key could not be split");
	xor_into(block, key, h->key_bytes);
	memcpy(material + most, block, h->key_bytes);
	return true;
}

bool luks_format(struct luks_header *h, const struct luks_wishes *w, const void *password,
		 size_t length, uint8_t **material, GError **error)
{
	uint8_t key[LUKS_KEY_MAX], slot_key[LUKS_KEY_MAX];
	*h = (struct luks_header){.key_bytes = w->key_bytes};
	g_strlcpy(h->cipher, "aes", sizeof(h->cipher));
	g_strlcpy(h->mode, w->mode, sizeof(h->mode));
	g_strlcpy(h->hash, w->hash, sizeof(h->hash));
	g_autofree char *uuid = g_uuid_string_random();
	g_strlcpy(h->uuid, uuid, sizeof(h->uuid));
	gnutls_digest_algorithm_t digest = digest_of(h, error);
	if (digest == GNUTLS_DIG_UNKNOWN)
		return false;
	lay_out(h);
	struct luks_slot *slot = &h->slots[0];
	slot->active = true;
	slot->iterations = count_iterations(digest, h->key_bytes, w->iter_ms);
	h->digest_iterations = MAX(slot->iterations / 8, ITERATIONS_MIN);
	*material = g_malloc0(luks_material_bytes(h));
	bool good = random_bytes(key, h->key_bytes, error) &&
		    random_bytes(h->digest_salt, sizeof(h->digest_salt), error) &&
		    random_bytes(slot->salt, sizeof(slot->salt), error) &&
		    split_key(h, digest, key, *material, error);
	good = good && ((derive(digest, key, h->key_bytes, h->digest_salt, h->digest_iterations, h->digest,
				sizeof(h->digest)) &&
			 derive(digest, password, length, slot->salt, slot->iterations, slot_key,
				h->key_bytes)) ||
			error_set(error, BERTH_ERR_INTERNAL, "the keys could not be derived"));
	good = good && crypt_material(h, slot_key, *material, true, error);
	gnutls_memset(key, 0, sizeof(key));
	gnutls_memset(slot_key, 0, sizeof(slot_key));
	if (!good)
		g_clear_pointer(material, g_free);
	return good;
}

json_t *luks_describe(const struct luks_header *h)
{
	g_auto(GStrv) parts = g_strsplit(h->mode, "-", 2);
	g_auto(GStrv) iv = g_strsplit(parts[0] && parts[1] ? parts[1] : "", ":", 2);
	bool xts = parts[0] && strcmp(parts[0], "xts") == 0;
	g_autofree char *cipher = g_strdup_printf("%s-%u", h->cipher, h->key_bytes * (xts ? 4 : 8));
	json_t *slots = json_array();
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		const struct luks_slot *s = &h->slots[i];
		json_t *slot = json_pack("{s:b, s:I}", "active", (int)s->active, "key-offset",
					 (json_int_t)s->offset * CRYPTO_SECTOR);
		if (s->active) {
			json_object_set_new(slot, "iters", json_integer(s->iterations));
			json_object_set_new(slot, "stripes", json_integer(s->stripes));
		}
		json_array_append_new(slots, slot);
	}
	json_t *data = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o}", "cipher-alg", cipher, "cipher-mode",
		parts[0] ? parts[0] : "", "ivgen-alg", iv[0] ? iv[0] : "", "hash-alg", h->hash, "uuid",
		h->uuid, "payload-offset", (json_int_t)h->payload * CRYPTO_SECTOR, "master-key-iters",
		(json_int_t)h->digest_iterations, "slots", slots);
	if (iv[0] && iv[1])
		json_object_set_new(data, "ivgen-hash-alg", json_string(iv[1]));
	return data;
}
