/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an NBD server is, as QMP's SocketAddress says it: inet, unix or an open descriptor. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

struct nbd_address {
	enum { NBD_INET, NBD_UNIX, NBD_FD } type;
	char *host, *port, *path;
	int fd;
};

void nbd_address_clear(struct nbd_address *address);
/* Take {"type": "unix", "path": ...} apart; legacy {"type":..., "data": {...}} too. */
bool nbd_address_from_json(struct nbd_address *address, const json_t *json, GError **error);
/* A connected or listening socket, or -1. Both may block (names are looked up). */
int nbd_address_connect(const struct nbd_address *address, GError **error);
int nbd_address_listen(const struct nbd_address *address, GError **error);
