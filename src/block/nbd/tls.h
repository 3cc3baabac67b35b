/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS for NBD by GnuTLS: credentials as -object tls-creds-x509 and tls-creds-psk describe them. */
#pragma once

#include <glib.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <stdbool.h>

struct nbd_tls_creds;

/*
 * endpoint=client|server, dir=FOLDER with QEMU's file names (ca-cert.pem, server-cert.pem,
 * server-key.pem, client-cert.pem, client-key.pem, ca-crl.pem; keys.psk), verify-peer, username,
 * priority. NULL with *error set.
 */
struct nbd_tls_creds *nbd_tls_creds_new(bool psk, json_t *dict, GError **error);
struct nbd_tls_creds *nbd_tls_creds_ref(struct nbd_tls_creds *creds);
void nbd_tls_creds_unref(struct nbd_tls_creds *creds);
bool nbd_tls_creds_is_server(const struct nbd_tls_creds *creds);
/* A session that waits for its handshake. `hostname`: whose certificate the server must show. */
gnutls_session_t nbd_tls_session(struct nbd_tls_creds *creds, const char *hostname, GError **error);
