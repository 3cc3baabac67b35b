/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secrets: passphrases and keys that images and servers ask for. What a secret is for stands in
 * STATE/secrets/UUID.xml and its value in UUID.base64, both readable for the daemon's user only; an
 * ephemeral one is in memory and ends with the daemon. Everything here belongs to the loop's thread.
 */
#pragma once

#include "conf/secret.h"
#include "daemon/rpc/rpc.h"

/* libvirt's numbers. */
enum secret_event { SECRET_DEFINED = 0, SECRET_UNDEFINED = 1 };

struct secrets {
	struct daemon *daemon;
	GHashTable *by_uuid; /* text of 36 characters to struct secret, which it owns */
	GQueue changes;      /* struct secret_change: one at a time, the first is under way */
};

struct secret {
	char uuid_text[37];
	struct conf_secret *conf;
	GBytes *value; /* NULL: none was set */
};

/* Loads what is in the state folder; a file that cannot be read is left alone, with a warning. */
struct secrets *secrets_new(struct daemon *daemon, GError **error);
/* After the last change has ended. NULL is fine. */
void secrets_free(struct secrets *secrets);

/* A borrowed secret, or NULL with libvirt's error. */
struct secret *secret_by_uuid(struct secrets *secrets, const uint8_t uuid[16], GError **error);
struct secret *secret_by_usage(struct secrets *secrets, int usage, const char *usage_id,
			       GError **error);
/*
 * The value for the daemon's own use, which also sees private ones. Borrowed until the loop turns;
 * NULL with an error if none was set.
 */
GBytes *secret_value(const struct secret *secret, GError **error);

/* --- For change.c ---------------------------------------------------------------------------- */

/* Put `conf`, which is taken, in place of the definition with its UUID, or make it known. */
struct secret *secret_put(struct secrets *secrets, struct conf_secret *conf);
/* A copy whose memory is overwritten when it is freed. */
GBytes *secret_bytes(const uint8_t *data, size_t length);
/* The path of one of its files. Free with g_free(). */
char *secret_file(const struct secrets *secrets, const uint8_t uuid[16], const char *suffix);
#define SECRET_XML   ".xml"
#define SECRET_VALUE ".base64"
/* The wire form; its strings are the secret's. */
struct remote_secret secret_wire(const struct conf_secret *conf);
