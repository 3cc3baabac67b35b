/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What key slots of LUKS 1 and 2 have in common: PBKDF2, and the anti-forensic splitter (LUKS
 * On-Disk Format Specification 1.2.3, section 2.4), which spreads a key over many stripes that only
 * together give it back. All of it may run on any thread.
 */
#pragma once

#include <glib.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>

#define LUKS_STRIPES 4000
#define LUKS_KEY_MAX 64
/* Some 10 s of one CPU: an image must not keep us for hours. */
#define LUKS_ITERATIONS_MAX 20000000

/* A hash as LUKS spells it; GNUTLS_DIG_UNKNOWN with *error set if there is no such. */
gnutls_digest_algorithm_t luks_digest(const char *name, GError **error);
bool luks_pbkdf2(gnutls_digest_algorithm_t digest, const void *password, size_t length,
		 const uint8_t *salt, size_t salt_length, uint32_t iterations, uint8_t *out,
		 size_t out_length, GError **error);
/* Bytes of the stripes of a key, in whole sectors. */
uint64_t luks_stripes_bytes(unsigned key_bytes);
/* LUKS_STRIPES stripes of `key_bytes` each, and back. */
bool luks_af_split(gnutls_digest_algorithm_t digest, const uint8_t *key, unsigned key_bytes,
		   uint8_t *stripes, GError **error);
bool luks_af_merge(gnutls_digest_algorithm_t digest, const uint8_t *stripes, unsigned key_bytes,
		   uint8_t *key, GError **error);
/* The stripes on disk are encrypted with the slot's own key; sectors count from 0 there. */
bool luks_crypt_stripes(const char *cipher, const char *mode, const uint8_t *slot_key,
			unsigned slot_key_bytes, uint8_t *stripes, uint64_t length, bool encrypt,
			GError **error);
bool luks_random(void *bytes, size_t length, GError **error);
