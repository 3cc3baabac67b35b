/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The byte stream below a connection: a socket, a TLS session on one, or a child's pipes. */
#pragma once

#include "client/uri.h"

#include <stdint.h>
#include <sys/types.h>

struct tls;
struct transport {
	int fd;
	struct tls *tls; /* NULL: plain */
	pid_t child;     /* of ssh or a command; 0: none */
};
/* `daemon` as in struct client_options. */
struct transport *transport_open(const struct client_uri *uri, bool readonly, const char *daemon,
				 GError **error);
void transport_free(struct transport *transport);
/* As read() and write(), with errno; write takes all or fails. */
ssize_t transport_read(struct transport *transport, void *bytes, size_t size);
bool transport_write(struct transport *transport, const void *bytes, size_t size);
/* Bytes that are decrypted already, so that poll() does not tell of them. */
bool transport_pending(const struct transport *transport);

/* session.c: the socket of the user's own daemon, and starting that daemon. */
char *session_socket(bool readonly);
bool session_start_daemon(const char *daemon, const char *socket, GError **error);

/* tls.c */
struct tls *tls_open(int fd, const struct client_uri *uri, GError **error);
void tls_free(struct tls *tls);
ssize_t tls_read(struct tls *tls, void *bytes, size_t size);
ssize_t tls_write(struct tls *tls, const void *bytes, size_t size);
bool tls_pending(const struct tls *tls);
