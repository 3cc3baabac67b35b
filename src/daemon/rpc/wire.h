/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of one connection: a socket that does not block, TLS over it, and the security layer
 * that a SASL mechanism has chosen. Belongs to the loop's thread.
 */
#pragma once

#include <glib.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sasl_session;

struct wire {
	int fd;
	gnutls_session_t tls;       /* NULL: none */
	struct sasl_session *layer; /* NULL: none, or not yet; borrowed */
	GByteArray *sealed;         /* by the layer, from sealed_at on not yet sent */
	size_t sealed_at, sealed_plain;
	bool tls_retry;             /* a record is under way: GnuTLS wants to finish it first */
};

enum wire_result {
	WIRE_MORE,   /* something was read, and there may be more */
	WIRE_EMPTY,  /* nothing more now */
	WIRE_CLOSED, /* the peer closed it, or *error says why it is of no use */
};

/* Takes both; `tls` may be NULL. */
void wire_init(struct wire *wire, int fd, gnutls_session_t tls);
/* Closes the socket. */
void wire_clear(struct wire *wire);

/* One step of TLS's handshake. 1: done; 0: wait for wire_handshake_events(); -1: *error. */
int wire_handshake(struct wire *wire, GError **error);
/* poll(2)'s bit for which the handshake waits. */
uint32_t wire_handshake_events(const struct wire *wire);

/* Append what can be read at once to `into`. */
enum wire_result wire_read(struct wire *wire, GByteArray *into, GError **error);
/*
 * Returns how many bytes, from the first on, are on their way: 0 if the socket takes nothing now, and
 * then the next call must begin with the same bytes. -1: *error.
 */
ssize_t wire_write(struct wire *wire, const uint8_t *bytes, size_t size, GError **error);
