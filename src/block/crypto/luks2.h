/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS version 2 ("LUKS2 On-Disk Format Specification", 1.1.x): two copies of a binary header with
 * JSON behind it, which describes key slots (PBKDF2 or Argon2), the digest that a key is checked
 * with, and one encrypted segment. Headers are read, and never written.
 */
#pragma once

#include "block/crypto/keyslot.h"

#include <jansson.h>

#define LUKS2_BINARY_SIZE 4096
/* The largest copy that the specification knows; a hostile length costs no more memory. */
#define LUKS2_HEADER_MAX  (4 << 20)
#define LUKS2_SLOTS_MAX   32
#define LUKS2_SALT_MAX    256

enum luks2_kdf { LUKS2_PBKDF2, LUKS2_ARGON2I, LUKS2_ARGON2ID };

struct luks2_salt {
	uint8_t bytes[LUKS2_SALT_MAX];
	size_t length;
};

struct luks2_slot {
	unsigned number, key_bytes, area_key_bytes;
	uint64_t offset, size;               /* of the stripes, in bytes from the volume's beginning */
	char area_cipher[32], area_mode[64]; /* "aes", "xts-plain64" */
	char af_hash[32], kdf_hash[32];
	enum luks2_kdf kdf;
	uint32_t iterations, time, memory_kib, cpus;
	struct luks2_salt salt;
};

struct luks2_header {
	uint64_t size, sequence; /* of one copy, in bytes; the newer one counts */
	char uuid[41], label[49];
	/* The segment. size 0: to the end. */
	uint64_t segment_offset, segment_size, iv_tweak;
	unsigned sector_size;
	char cipher[32], mode[64];
	/* What its key is checked with. */
	char digest_hash[32];
	uint32_t digest_iterations;
	struct luks2_salt digest_salt;
	uint8_t digest[64];
	size_t digest_length;
	struct luks2_slot slots[LUKS2_SLOTS_MAX]; /* those of this segment, in the order to try them */
	unsigned slot_count;
};

bool luks2_probe(const uint8_t *head, size_t length);
/*
 * The first LUKS2_BINARY_SIZE bytes of a copy: sets size and sequence. `second`: it is the other
 * copy, which has its magic reversed. `name` is for messages.
 */
bool luks2_decode_binary(struct luks2_header *header, const uint8_t *bytes, bool second,
			 const char *name, GError **error);
/* All header->size bytes (changed) of the copy: is its checksum right? */
bool luks2_check(const struct luks2_header *header, uint8_t *bytes);
/* The JSON of the copy, at most `length` bytes, ended by a zero. */
bool luks2_decode_json(struct luks2_header *header, const char *text, size_t length,
		       const char *name, GError **error);

/* As luks_try_slot(); the memory for Argon2 is bounded, and what asks for more is refused. */
bool luks2_try_slot(const struct luks2_header *header, const struct luks2_slot *slot,
		    uint8_t *material, const void *password, size_t length, uint8_t *key,
		    GError **error);
/* In the manner of QEMU's ImageInfoSpecificLUKS, which has no version 2. */
json_t *luks2_describe(const struct luks2_header *header);
