/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sockets at which berthd serves clients, made as its settings say or given by systemd. */
#pragma once

#include "daemon/rpc/rpc.h"
#include "settings.h"

struct doors;

/* Read the certificates and what else must be right before a client comes. */
struct doors *doors_new(const struct settings *settings, GError **error);
/* After the server. */
void doors_free(struct doors *doors);
/*
 * Listen. The Unix sockets are made in `folder`, unless systemd has given any socket
 * (sd_listen_fds(3)), whose name says what it is.
 */
bool doors_open(struct doors *doors, struct rpc_server *server, const char *folder, GError **error);
