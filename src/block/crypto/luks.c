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
#define ITERATIONS_MIN 1000

bool luks_probe(const uint8_t *head, size_t length)
{
	return length >= 8 && memcmp(head, MAGIC, 6) == 0 && be16_load(head + 6) == 1;
}

uint64_t luks_material_bytes(const struct luks_header *header)
{
	return luks_stripes_bytes(header->key_bytes);
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
	       slot->iterations <= LUKS_ITERATIONS_MAX;
}

bool luks_decode(struct luks_header *h, const uint8_t *b, const char *name, GError **error)
{
	*h = (struct luks_header){0};
	if (memcmp(b, MAGIC, 6) != 0)
		return bad(name, "it does not begin like one", error);
	if (be16_load(b + 6) != 1)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is a LUKS volume of version %u; versions 1 and 2 are supported", name,
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
	if (h->digest_iterations < 1 || h->digest_iterations > LUKS_ITERATIONS_MAX)
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

/* Encrypt or decrypt the stripes of a slot with what the password and the slot's salt make. */
static bool crypt_material(const struct luks_header *h, const struct luks_slot *slot,
			   const void *password, size_t length, uint8_t *material, bool encrypt,
			   GError **error)
{
	uint8_t slot_key[LUKS_KEY_MAX];
	gnutls_digest_algorithm_t digest = luks_digest(h->hash, error);
	bool good = digest != GNUTLS_DIG_UNKNOWN &&
		    luks_pbkdf2(digest, password, length, slot->salt, sizeof(slot->salt), slot->iterations,
				slot_key, h->key_bytes, error) &&
		    luks_crypt_stripes(h->cipher, h->mode, slot_key, h->key_bytes, material,
				       luks_material_bytes(h), encrypt, error);
	gnutls_memset(slot_key, 0, sizeof(slot_key));
	return good;
}

static bool digest_key(const struct luks_header *h, const uint8_t *key, uint8_t out[20], GError **error)
{
	gnutls_digest_algorithm_t digest = luks_digest(h->hash, error);
	return digest != GNUTLS_DIG_UNKNOWN &&
	       luks_pbkdf2(digest, key, h->key_bytes, h->digest_salt, sizeof(h->digest_salt),
			   h->digest_iterations, out, 20, error);
}

bool luks_try_slot(const struct luks_header *h, const struct luks_slot *slot, uint8_t *material,
		   const void *password, size_t length, uint8_t *key, GError **error)
{
	uint8_t digest_now[20];
	return crypt_material(h, slot, password, length, material, false, error) &&
	       luks_af_merge(luks_digest(h->hash, NULL), material, h->key_bytes, key, error) &&
	       digest_key(h, key, digest_now, error) &&
	       gnutls_memcmp(digest_now, h->digest, sizeof(digest_now)) == 0;
}

/* --- making ---------------------------------------------------------------------------------------------*/

/* Iterations that take so long here. */
static uint32_t count_iterations(gnutls_digest_algorithm_t digest, unsigned key_bytes, uint64_t ms)
{
	uint8_t out[LUKS_KEY_MAX], salt[32] = {0};
	struct timespec a, b;
	const uint32_t sample = 20000;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	luks_pbkdf2(digest, "sample", 6, salt, sizeof(salt), sample, out, key_bytes, NULL);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	uint64_t us = (b.tv_sec - a.tv_sec) * UINT64_C(1000000) + (b.tv_nsec - a.tv_nsec) / 1000;
	return CLAMP(ms * 1000 * sample / MAX(us, 1), ITERATIONS_MIN, LUKS_ITERATIONS_MAX);
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

bool luks_fill_slot(const struct luks_header *h, struct luks_slot *slot, const uint8_t *key,
		    const void *password, size_t length, uint64_t iter_ms, uint8_t *material,
		    GError **error)
{
	gnutls_digest_algorithm_t digest = luks_digest(h->hash, error);
	if (digest == GNUTLS_DIG_UNKNOWN)
		return false;
	slot->iterations = count_iterations(digest, h->key_bytes, iter_ms);
	slot->stripes = LUKS_STRIPES;
	slot->active = luks_random(slot->salt, sizeof(slot->salt), error) &&
		       luks_af_split(digest, key, h->key_bytes, material, error) &&
		       crypt_material(h, slot, password, length, material, true, error);
	return slot->active;
}

bool luks_format(struct luks_header *h, const struct luks_wishes *w, const void *password,
		 size_t length, uint8_t **material, GError **error)
{
	uint8_t key[LUKS_KEY_MAX];
	*h = (struct luks_header){.key_bytes = w->key_bytes};
	g_strlcpy(h->cipher, "aes", sizeof(h->cipher));
	g_strlcpy(h->mode, w->mode, sizeof(h->mode));
	g_strlcpy(h->hash, w->hash, sizeof(h->hash));
	g_autofree char *uuid = g_uuid_string_random();
	g_strlcpy(h->uuid, uuid, sizeof(h->uuid));
	lay_out(h);
	*material = g_malloc0(luks_material_bytes(h));
	bool good = luks_random(key, h->key_bytes, error) &&
		    luks_random(h->digest_salt, sizeof(h->digest_salt), error) &&
		    luks_fill_slot(h, &h->slots[0], key, password, length, w->iter_ms, *material, error);
	if (good) {
		h->digest_iterations = MAX(h->slots[0].iterations / 8, ITERATIONS_MIN);
		good = digest_key(h, key, h->digest, error);
	}
	gnutls_memset(key, 0, sizeof(key));
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
