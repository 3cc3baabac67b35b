/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets for servers and clients, close-on-exec, in blocking mode. Errors name the address
 * and, where the cause is known, the remedy.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/socket.h>

/* A stale socket file that nobody listens on is replaced; a live one is an error. */
int net_listen_unix(const char *path, GError **error);
/* Nobody (but root) may connect until the file's mode is changed. */
int net_listen_unix_closed(const char *path, GError **error);
int net_connect_unix(const char *path, GError **error);
/* In non-blocking mode; fails with EAGAIN if the server has too many that it has not accepted. */
int net_connect_unix_now(const char *path, GError **error);
/* `host` "" means every address for a server and the loopback for a client. */
int net_listen_tcp(const char *host, const char *port, GError **error);
int net_connect_tcp(const char *host, const char *port, GError **error);

/* --- Datagrams -------------------------------------------------------------------------------- */

struct net_address {
	struct sockaddr_storage to;
	socklen_t length; /* 0: none */
};
bool net_address_unix(const char *path, struct net_address *address, GError **error);
/* `family` 0: the first that there is. `host` "": every address if `bind`, else the loopback. */
bool net_address_udp(const char *host, const char *port, int family, bool bind, struct net_address *address,
		     GError **error);
/*
 * A datagram socket bound to the address, -1 with *error set. `name` is for messages; `shared`: others
 * may have the same one. A stale unix socket in the way is replaced.
 */
int net_bind_datagrams(const struct net_address *address, const char *name, bool shared, GError **error);
