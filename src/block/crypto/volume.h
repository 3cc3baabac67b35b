/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the luks and qcow2 drivers have in common: a LUKS header (version 1 or 2) in a node, the cipher that
 * a password in it unlocks, and threads that compute. Owned by the node whose bytes are encrypted;
 * everything here is for fibers of its loop.
 */
#pragma once

#include "block/core/driver.h"
#include "block/crypto/luks.h"
#include "block/crypto/luks2.h"

struct aio_pool;

struct crypto_volume {
	struct block_node *file;      /* the header is in it... */
	uint64_t offset, length;      /* ...in these bytes */
	struct luks_header header;
	struct luks2_header *header2; /* NULL: it is of version 1 */
	uint64_t payload, size;       /* of the encrypted bytes, behind `offset`; size 0: to the end */
	unsigned sector;              /* what is encrypted as one */
	struct crypto_cipher *cipher; /* NULL: locked */
	struct aio_pool *pool;
};

/* Read and check the header at [offset, offset + length) of `file`. Ends with crypto_volume_clear(),
 * also after a failure. */
bool crypto_volume_read(struct crypto_volume *volume, struct block_node *file, uint64_t offset,
			uint64_t length, GError **error);
/* The slot that the secret `id` of `graph` opens, and the master key in `key` (LUKS_KEY_MAX bytes), or
 * -1 with *error set. Takes seconds. */
int crypto_volume_find_slot(struct crypto_volume *volume, struct block_graph *graph, const char *id,
			    uint8_t *key, GError **error);
/* Find that slot and set the cipher. */
bool crypto_volume_unlock(struct crypto_volume *volume, struct block_graph *graph, const char *id,
			  GError **error);
/* Does the password open this slot? 1: yes, and `key` (LUKS_KEY_MAX bytes) is the master key; 0: no, or
 * the slot is unused; -1: *error is set. */
int crypto_volume_try(struct crypto_volume *volume, unsigned slot, GBytes *password, uint8_t *key,
		      GError **error);
/* As in QEMU's ImageInfoSpecificLUKS. */
json_t *crypto_volume_describe(const struct crypto_volume *volume);
void crypto_volume_clear(struct crypto_volume *volume);
/*
 * En- or decrypt whole sectors in place; `offset` (in bytes) is what the first one's IV is made of.
 * Long ranges are computed on a thread meanwhile. 0 or -EIO.
 */
int crypto_volume_crypt(struct crypto_volume *volume, uint64_t offset, void *bytes, uint64_t length,
			bool encrypt);

/*
 * Change key slots of an unlocked volume: "state", "new-secret", "old-secret", "keyslot" and "iter-time",
 * each behind `prefix`, are taken out of `options`. `force`: even if the last key goes. Flushed.
 */
bool crypto_volume_amend(struct crypto_volume *volume, struct block_graph *graph, json_t *options,
			 const char *prefix, bool force, GError **error);

/*
 * The options of a new volume, each key behind `prefix` ("encrypt." or ""): what is known is taken
 * out of `options`. `wishes` (zeroed) ends with luks_wishes_clear(), also after a failure.
 */
bool crypto_take_wishes(json_t *options, const char *prefix, struct luks_wishes *wishes,
			GError **error);
/* Write a new header, with the wished secret in slot 0, at `offset` of `file`. Not flushed. */
bool crypto_volume_format(struct block_node *file, uint64_t offset, const struct luks_wishes *wishes,
			  struct block_graph *graph, GError **error);
