/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's side of TLS: its certificate, and whose certificates it accepts. */
#pragma once

#include <glib.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>

struct tls_server;

struct tls_settings {
	const char *ca, *certificate, *key; /* paths of PEM files */
	const char *crl;                    /* NULL or "": none */
	const char *priority;               /* GnuTLS's priority string; NULL: its default */
	bool no_verify;                     /* clients need no certificate */
	const char *const *allowed;         /* patterns of distinguished names; NULL: all that verify */
};

/* Copies `settings`. NULL: *error names the file and what to do. */
struct tls_server *tls_server_new(const struct tls_settings *settings, GError **error);
void tls_server_free(struct tls_server *server);
/* A session that waits for its handshake. */
gnutls_session_t tls_server_session(struct tls_server *server, GError **error);
/*
 * After the handshake: may the client come in? *name becomes the distinguished name of its
 * certificate (g_free()), or NULL if it showed none and need not.
 */
bool tls_server_check(const struct tls_server *server, gnutls_session_t session, char **name,
		      GError **error);
