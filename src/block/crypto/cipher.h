/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk encryption by sectors, of 512 bytes if nothing else is said: AES in XTS or CBC, with IVs made from the sector's number
 * (plain, plain64, essiv). GnuTLS computes. Several threads may use one cipher.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CRYPTO_SECTOR 512

struct crypto_cipher;

/*
 * `cipher` "aes", `mode` "xts-plain64", "cbc-essiv:sha256"... as LUKS spells them. `unit` bytes (a power
 * of two from 512 on) are encrypted as one; IVs count in sectors of 512 bytes all the same.
 */
struct crypto_cipher *crypto_cipher_new(const char *cipher, const char *mode, const uint8_t *key,
					unsigned key_bytes, unsigned unit, GError **error);
void crypto_cipher_free(struct crypto_cipher *cipher);
/* `length` is a multiple of the unit; `sector` is the number of the first 512 bytes. In place. */
bool crypto_encrypt(const struct crypto_cipher *cipher, uint64_t sector, uint8_t *bytes,
		    uint64_t length);
bool crypto_decrypt(const struct crypto_cipher *cipher, uint64_t sector, uint8_t *bytes,
		    uint64_t length);
/* The key that it was made with: as many bytes as were given. */
const uint8_t *crypto_cipher_key(const struct crypto_cipher *cipher);
