/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds of packet back ends share. Only for net/. */
#pragma once

#include "base/args.h"
#include "net/net.h"

struct net_kind {
	const char *type, *help;
	const char *const *options; /* NULL-terminated */
	/* Returns the embedding object's `struct net_backend` without its id, or NULL. */
	struct net_backend *(*create)(const struct args *args, const struct net_host *host,
				      GError **error);
};

extern const struct net_kind net_kind_user, net_kind_tap, net_kind_bridge, net_kind_stream,
	net_kind_dgram, net_kind_socket, net_kind_vhost_user;
