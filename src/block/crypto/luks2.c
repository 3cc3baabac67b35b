/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/crypto/luks2.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/crypto/cipher.h"
#include "codec/json.h"

#include <argon2.h>
#include <string.h>

#define MAGIC        "LUKS\xba\xbe"
#define MAGIC_SECOND "SKUL\xba\xbe"
#define CHECKSUM_AT  448
#define CHECKSUM_MAX 64
#define SIZE_MIN     16384
/* What cryptsetup makes by itself is within these; a header that asks for more is an attack. */
#define MEMORY_MAX_KIB (UINT32_C(1) << 20)
#define CPUS_MAX       16
/* Passes times memory: about as long as LUKS_ITERATIONS_MAX takes. */
#define WORK_MAX_KIB   (UINT64_C(32) << 20)

bool luks2_probe(const uint8_t *head, size_t length)
{
	return length >= 8 && memcmp(head, MAGIC, 6) == 0 && be16_load(head + 6) == 2;
}

static bool bad(const char *name, const char *what, GError **error)
{
	return error_set(error, BERTH_ERR_INVALID, "'%s' is no valid LUKS2 volume: %s", name, what);
}

/* --- the binary header ------------------------------------------------------------------------------------*/

bool luks2_decode_binary(struct luks2_header *h, const uint8_t *b, bool second, const char *name,
			 GError **error)
{
	*h = (struct luks2_header){0};
	if (memcmp(b, second ? MAGIC_SECOND : MAGIC, 6) != 0 || be16_load(b + 6) != 2)
		return bad(name, "it does not begin like one", error);
	h->size = be64_load(b + 8);
	h->sequence = be64_load(b + 16);
	memcpy(h->label, b + 24, sizeof(h->label) - 1);
	memcpy(h->uuid, b + 168, sizeof(h->uuid) - 1);
	if (h->size < SIZE_MIN || h->size > LUKS2_HEADER_MAX || h->size & (h->size - 1))
		return bad(name, "the header's size makes no sense", error);
	if (be64_load(b + 256) != (second ? h->size : 0))
		return bad(name, "the header is not where it says that it is", error);
	return true;
}

bool luks2_check(const struct luks2_header *h, uint8_t *b)
{
	uint8_t wanted[CHECKSUM_MAX], found[CHECKSUM_MAX];
	g_autofree char *name = g_strndup((const char *)b + 72, 32);
	gnutls_digest_algorithm_t digest = luks_digest(name, NULL);
	memcpy(wanted, b + CHECKSUM_AT, sizeof(wanted));
	memset(b + CHECKSUM_AT, 0, CHECKSUM_MAX);
	return digest != GNUTLS_DIG_UNKNOWN && gnutls_hash_fast(digest, b, h->size, found) == 0 &&
	       memcmp(wanted, found, gnutls_hash_get_len(digest)) == 0;
}

/* --- values of the JSON -----------------------------------------------------------------------------------*/

static bool take_text(const json_t *object, const char *key, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text && g_strlcpy(out, text, size) < size;
}

/* Numbers of 64 bits are strings there, since JSON's are not that exact. */
static bool take_long(const json_t *object, const char *key, uint64_t *out)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text && g_ascii_string_to_unsigned(text, 10, 0, INT64_MAX, out, NULL);
}

static bool take_number(const json_t *object, const char *key, uint32_t least, uint32_t most,
			uint32_t *out)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);
	*out = CLAMP(number, 0, UINT32_MAX);
	return json_is_integer(value) && number >= least && number <= most;
}

static bool take_bytes(const json_t *object, const char *key, uint8_t *out, size_t size, size_t *length)
{
	const char *text = json_string_value(json_object_get(object, key));
	g_autofree guchar *bytes = text ? g_base64_decode(text, length) : NULL;
	bool good = bytes && *length && *length <= size;
	if (good)
		memcpy(out, bytes, *length);
	return good;
}

static bool take_salt(const json_t *object, struct luks2_salt *salt)
{
	return take_bytes(object, "salt", salt->bytes, sizeof(salt->bytes), &salt->length);
}

/* "aes-xts-plain64" */
static bool take_cipher(const json_t *object, char *cipher, size_t cipher_size, char *mode,
			size_t mode_size)
{
	const char *text = json_string_value(json_object_get(object, "encryption"));
	const char *dash = text ? strchr(text, '-') : NULL;
	if (!dash || (size_t)(dash - text) >= cipher_size)
		return false;
	g_strlcpy(cipher, text, dash - text + 1);
	return g_strlcpy(mode, dash + 1, mode_size) < mode_size;
}

static bool has_string(const json_t *array, const char *wanted)
{
	for (size_t i = 0; i < json_array_size(array); i++)
		if (g_strcmp0(json_string_value(json_array_get(array, i)), wanted) == 0)
			return true;
	return false;
}

/* --- segment, digest, slots -------------------------------------------------------------------------------*/

/* What must be understood to use the volume: an encryption that is under way, above all. */
static bool check_requirements(const json_t *root, const char *name, GError **error)
{
	const json_t *config = json_object_get(root, "config");
	const json_t *mandatory = json_object_get(json_object_get(config, "requirements"), "mandatory");
	const char *first = json_string_value(json_array_get(mandatory, 0));
	return json_array_size(mandatory) == 0 ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "'%s' is a LUKS2 volume that needs '%s', which is not supported%s", name,
			 first ? first : "something unknown",
			 first && strstr(first, "reencrypt") ? ": finish with cryptsetup reencrypt" : "");
}

static bool decode_segment(struct luks2_header *h, const json_t *root, const char *name, GError **error)
{
	const json_t *segments = json_object_get(root, "segments");
	const json_t *segment = json_object_get(segments, "0");
	const char *type = json_string_value(json_object_get(segment, "type"));
	const char *size = json_string_value(json_object_get(segment, "size"));
	if (json_object_size(segments) != 1 || g_strcmp0(type, "crypt") != 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is a LUKS2 volume of several parts or of a part that is not encrypted, "
				 "which is not supported", name);
	if (json_object_get(segment, "integrity"))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is a LUKS2 volume with integrity protection, which is not supported",
				 name);
	uint32_t sector;
	bool dynamic = g_strcmp0(size, "dynamic") == 0;
	if (!take_long(segment, "offset", &h->segment_offset) ||
	    !take_long(segment, "iv_tweak", &h->iv_tweak) ||
	    !take_number(segment, "sector_size", CRYPTO_SECTOR, 4096, &sector) || sector & (sector - 1) ||
	    !take_cipher(segment, h->cipher, sizeof(h->cipher), h->mode, sizeof(h->mode)) ||
	    (!dynamic && (!take_long(segment, "size", &h->segment_size) || !h->segment_size ||
			  h->segment_size % sector)) || h->segment_offset % CRYPTO_SECTOR)
		return bad(name, "its segment makes no sense", error);
	h->sector_size = sector;
	return true;
}

/* Which digest is the segment's; NULL with *error set. */
static const json_t *decode_digest(struct luks2_header *h, const json_t *root, const char *name,
				   GError **error)
{
	const char *key;
	json_t *digest;
	json_object_foreach(json_object_get(root, "digests"), key, digest) {
		if (!has_string(json_object_get(digest, "segments"), "0"))
			continue;
		if (g_strcmp0(json_string_value(json_object_get(digest, "type")), "pbkdf2") == 0 &&
		    take_text(digest, "hash", h->digest_hash, sizeof(h->digest_hash)) &&
		    take_number(digest, "iterations", 1, LUKS_ITERATIONS_MAX, &h->digest_iterations) &&
		    take_salt(digest, &h->digest_salt) &&
		    take_bytes(digest, "digest", h->digest, sizeof(h->digest), &h->digest_length))
			return json_object_get(digest, "keyslots");
		break;
	}
	bad(name, "its key cannot be checked", error);
	return NULL;
}

static bool decode_kdf(struct luks2_slot *slot, const json_t *kdf)
{
	const char *type = json_string_value(json_object_get(kdf, "type"));
	if (!take_salt(kdf, &slot->salt))
		return false;
	if (g_strcmp0(type, "pbkdf2") == 0) {
		slot->kdf = LUKS2_PBKDF2;
		return take_text(kdf, "hash", slot->kdf_hash, sizeof(slot->kdf_hash)) &&
		       take_number(kdf, "iterations", 1, LUKS_ITERATIONS_MAX, &slot->iterations);
	}
	slot->kdf = g_strcmp0(type, "argon2id") == 0 ? LUKS2_ARGON2ID : LUKS2_ARGON2I;
	return (slot->kdf == LUKS2_ARGON2ID || g_strcmp0(type, "argon2i") == 0) &&
	       take_number(kdf, "time", 1, UINT32_MAX, &slot->time) &&
	       take_number(kdf, "memory", 1, UINT32_MAX, &slot->memory_kib) &&
	       take_number(kdf, "cpus", 1, CPUS_MAX, &slot->cpus);
}

static bool decode_slot(const struct luks2_header *h, struct luks2_slot *slot, const json_t *json)
{
	const json_t *area = json_object_get(json, "area"), *af = json_object_get(json, "af");
	uint32_t stripes;
	return take_number(json, "key_size", 16, LUKS_KEY_MAX, &slot->key_bytes) &&
	       take_number(area, "key_size", 16, LUKS_KEY_MAX, &slot->area_key_bytes) &&
	       take_long(area, "offset", &slot->offset) && take_long(area, "size", &slot->size) &&
	       take_cipher(area, slot->area_cipher, sizeof(slot->area_cipher), slot->area_mode,
			   sizeof(slot->area_mode)) &&
	       take_text(af, "hash", slot->af_hash, sizeof(slot->af_hash)) &&
	       take_number(af, "stripes", LUKS_STRIPES, LUKS_STRIPES, &stripes) &&
	       slot->offset >= 2 * h->size && slot->size >= luks_stripes_bytes(slot->key_bytes) &&
	       slot->offset <= INT64_MAX / 2 && decode_kdf(slot, json_object_get(json, "kdf"));
}

/* Slots that are preferred first; those that are to be ignored (priority 0) not at all. */
static bool decode_slots(struct luks2_header *h, const json_t *root, const json_t *numbers,
			 const char *name, GError **error)
{
	for (int priority = 2; priority >= 1; priority--) {
		const char *key;
		json_t *json;
		json_object_foreach(json_object_get(root, "keyslots"), key, json) {
			const json_t *wish = json_object_get(json, "priority");
			const char *type = json_string_value(json_object_get(json, "type"));
			if (!has_string(numbers, key) || g_strcmp0(type, "luks2") != 0 ||
			    (wish ? json_integer_value(wish) : 1) != priority)
				continue;
			if (h->slot_count == LUKS2_SLOTS_MAX)
				return bad(name, "it has too many key slots", error);
			struct luks2_slot *slot = &h->slots[h->slot_count];
			*slot = (struct luks2_slot){.number = g_ascii_strtoull(key, NULL, 10)};
			if (!decode_slot(h, slot, json))
				return bad(name, "a key slot makes no sense", error);
			h->slot_count++;
		}
	}
	return true;
}

bool luks2_decode_json(struct luks2_header *h, const char *text, size_t length, const char *name,
		       GError **error)
{
	json_t *root = json_parse_text(text, strnlen(text, length), error);
	bool good = false;
	h->slot_count = 0;
	if (root && check_requirements(root, name, error) && decode_segment(h, root, name, error)) {
		const json_t *numbers = decode_digest(h, root, name, error);
		good = numbers && decode_slots(h, root, numbers, name, error);
	}
	json_decref(root);
	return good;
}

/* --- keys -----------------------------------------------------------------------------------------------*/

static bool argon2(const struct luks2_slot *slot, const void *password, size_t length, uint8_t *out,
		   GError **error)
{
	if (slot->memory_kib > MEMORY_MAX_KIB || (uint64_t)slot->time * slot->memory_kib > WORK_MAX_KIB)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "key slot %u asks for %u passes over %u KiB of memory, which is more than an "
				 "image may take: use cryptsetup luksConvertKey to lower it", slot->number,
				 slot->time, slot->memory_kib);
	int rc = (slot->kdf == LUKS2_ARGON2I ? argon2i_hash_raw : argon2id_hash_raw)(
		slot->time, slot->memory_kib, slot->cpus, password, length, slot->salt.bytes,
		slot->salt.length, out, slot->area_key_bytes);
	return rc == ARGON2_OK ||
	       error_set(error, BERTH_ERR_INTERNAL, "the key could not be derived: %s",
			 argon2_error_message(rc));
}

static bool derive(const struct luks2_slot *slot, const void *password, size_t length, uint8_t *out,
		   GError **error)
{
	if (slot->kdf != LUKS2_PBKDF2)
		return argon2(slot, password, length, out, error);
	gnutls_digest_algorithm_t digest = luks_digest(slot->kdf_hash, error);
	return digest != GNUTLS_DIG_UNKNOWN &&
	       luks_pbkdf2(digest, password, length, slot->salt.bytes, slot->salt.length, slot->iterations,
			   out, slot->area_key_bytes, error);
}

static bool matches(const struct luks2_header *h, const uint8_t *key, unsigned key_bytes, GError **error)
{
	uint8_t now[sizeof(h->digest)];
	gnutls_digest_algorithm_t digest = luks_digest(h->digest_hash, error);
	return digest != GNUTLS_DIG_UNKNOWN &&
	       luks_pbkdf2(digest, key, key_bytes, h->digest_salt.bytes, h->digest_salt.length,
			   h->digest_iterations, now, h->digest_length, error) &&
	       gnutls_memcmp(now, h->digest, h->digest_length) == 0;
}

bool luks2_try_slot(const struct luks2_header *h, const struct luks2_slot *slot, uint8_t *material,
		    const void *password, size_t length, uint8_t *key, GError **error)
{
	uint8_t slot_key[LUKS_KEY_MAX];
	gnutls_digest_algorithm_t af = luks_digest(slot->af_hash, error);
	bool good = af != GNUTLS_DIG_UNKNOWN && derive(slot, password, length, slot_key, error) &&
		    luks_crypt_stripes(slot->area_cipher, slot->area_mode, slot_key, slot->area_key_bytes,
				       material, luks_stripes_bytes(slot->key_bytes), false, error) &&
		    luks_af_merge(af, material, slot->key_bytes, key, error) &&
		    matches(h, key, slot->key_bytes, error);
	gnutls_memset(slot_key, 0, sizeof(slot_key));
	return good;
}

json_t *luks2_describe(const struct luks2_header *h)
{
	static const char *const kdfs[] = {"pbkdf2", "argon2i", "argon2id"};
	json_t *slots = json_array();
	for (unsigned i = 0; i < h->slot_count; i++) {
		const struct luks2_slot *s = &h->slots[i];
		json_t *slot = json_pack("{s:b, s:i, s:s, s:I}", "active", 1, "number", (int)s->number, "kdf",
					 kdfs[s->kdf], "key-offset", (json_int_t)s->offset);
		if (s->kdf == LUKS2_PBKDF2)
			json_object_set_new(slot, "iters", json_integer(s->iterations));
		else
			json_object_set_new(slot, "memory", json_integer(s->memory_kib * INT64_C(1024)));
		json_array_append_new(slots, slot);
	}
	g_autofree char *uuid = g_utf8_make_valid(h->uuid, -1);
	return json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:i, s:o}", "version", 2, "cipher-alg", h->cipher,
			 "cipher-mode", h->mode, "uuid", uuid, "payload-offset",
			 (json_int_t)h->segment_offset, "master-key-iters",
			 (json_int_t)h->digest_iterations, "sector-size", (int)h->sector_size, "slots", slots);
}
