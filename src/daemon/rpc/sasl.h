/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's side of SASL (RFC 4422) by libsasl2. Its mechanisms and where it looks up secrets come
 * from the service's file, /etc/sasl2/libvirt.conf.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct sasl_session;

struct sasl_settings {
	char *local, *remote;  /* "ADDRESS;PORT" of the two ends; NULL: not by IP */
	unsigned external_ssf; /* bits of the encryption below: TLS. 0: none */
	unsigned min_ssf;      /* bits that a mechanism's own layer must have; 0: no layer is wanted */
};

/*
 * Once for the process, before the first session. It is never undone: there are plugins that lose memory of
 * theirs when they are unloaded.
 */
bool sasl_library_init(GError **error);
struct sasl_session *sasl_session_new(const struct sasl_settings *settings, GError **error);
void sasl_session_free(struct sasl_session *session);
/* The mechanisms that it offers, separated by commas; borrowed. NULL: *error. */
const char *sasl_session_mechanisms(struct sasl_session *session, GError **error);

/*
 * One step. `mechanism` is for the first, and NULL later; `data` may be NULL. *reply is borrowed until
 * the next step, and NULL if there is none. *complete: the client is who it says it is.
 */
bool sasl_session_step(struct sasl_session *session, const char *mechanism, const uint8_t *data,
		       size_t size, const char **reply, unsigned *reply_size, bool *complete,
		       GError **error);
/* Of a complete one: who it is. Borrowed. NULL: *error. */
const char *sasl_session_user(struct sasl_session *session, GError **error);
/* Of a complete one: has it a layer that encrypts? False with *error: less than min_ssf. */
bool sasl_session_layer(struct sasl_session *session, bool *layer, GError **error);

size_t sasl_session_max_plain(const struct sasl_session *session);
/* Both append to `out`. */
bool sasl_session_encode(struct sasl_session *session, const uint8_t *bytes, size_t size,
			 GByteArray *out, GError **error);
bool sasl_session_decode(struct sasl_session *session, const uint8_t *bytes, size_t size,
			 GByteArray *out, GError **error);
