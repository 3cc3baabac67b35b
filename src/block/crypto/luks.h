/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS version 1 ("LUKS On-Disk Format Specification", 1.2.3): a header with eight key slots, each
 * the master key encrypted with a password and spread over 4000 stripes.
 */
#pragma once

#include "block/crypto/cipher.h"
#include "block/crypto/keyslot.h"

#include <jansson.h>

#define LUKS_HEADER_SIZE 592
#define LUKS_SLOTS       8

struct luks_slot {
	bool active;
	uint32_t iterations, offset, stripes; /* offset in sectors */
	uint8_t salt[32];
};

struct luks_header {
	char cipher[33], mode[33], hash[33], uuid[41];
	uint32_t payload, key_bytes, digest_iterations; /* payload in sectors */
	uint8_t digest[20], digest_salt[32];
	struct luks_slot slots[LUKS_SLOTS];
};

bool luks_probe(const uint8_t *head, size_t length);
/* Checks everything that sizes depend on. `name` is for messages. */
bool luks_decode(struct luks_header *header, const uint8_t *bytes, const char *name, GError **error);
void luks_encode(const struct luks_header *header, uint8_t *bytes);
/* Bytes of a slot's key material on disk. */
uint64_t luks_material_bytes(const struct luks_header *header);

/*
 * Try the password on a slot whose `material` (changed) is in memory. True: `key` is the master key.
 * Takes seconds of CPU, as is meant: on a thread of a pool. False without *error: another password.
 */
bool luks_try_slot(const struct luks_header *header, const struct luks_slot *slot, uint8_t *material,
		   const void *password, size_t length, uint8_t *key, GError **error);

/*
 * Put the master key into a slot, for a new password: fills the slot and `material`, which goes to
 * the slot's place. As slow as the slot's user wants a try of a password to be.
 */
bool luks_fill_slot(const struct luks_header *header, struct luks_slot *slot, const uint8_t *key,
		    const void *password, size_t length, uint64_t iter_ms, uint8_t *material,
		    GError **error);

struct luks_wishes {
	char *mode, *hash, *secret; /* g_free(); the cipher is AES. The secret is an object's id */
	unsigned key_bytes;
	uint64_t iter_ms; /* how long one try of a password is to take */
};
void luks_wishes_clear(struct luks_wishes *wishes);
/* Bytes that the header and all slots of such a volume take: where its payload begins. */
uint64_t luks_payload_bytes(const struct luks_wishes *wishes);
/* A new header with the password in slot 0; `material` (g_free()) goes to the slot's place. */
bool luks_format(struct luks_header *header, const struct luks_wishes *wishes, const void *password,
		 size_t length, uint8_t **material, GError **error);
/* As in QEMU's ImageInfoSpecificLUKS. */
json_t *luks_describe(const struct luks_header *header);
