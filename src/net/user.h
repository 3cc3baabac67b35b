/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user-mode network's parts: net/user.c moves packets, net/user_options.c reads -netdev user. */
#pragma once

#include "aio/loop.h"
#include "base/args.h"
#include "net/net.h"

#include <libslirp.h>

#define USER_BACKLOG 128

struct user_packet {
	uint16_t length;
	uint8_t bytes[2046]; /* libslirp's MTU is 1500 */
};

struct user_net {
	struct net_backend net;
	Slirp *slirp;
	SlirpConfig config;
	struct net_receiver receiver;
	GHashTable *sockets; /* fd -> struct user_socket */
	GPtrArray *polled;   /* the sockets of the last fill, by libslirp's index */
	struct aio_timer poll_timer;
	struct aio_deferred update;
	char guest_address[16];
	struct user_packet backlog[USER_BACKLOG];
	unsigned backlog_first, backlog_used;
	uint8_t packet[65536 + 64]; /* a packet that came in pieces */
};

struct user_options {
	SlirpConfig config; /* strings are borrowed from the arguments */
	char **dns_search;  /* owned; config points into it */
};

extern const char *const user_option_names[];
bool user_options_parse(struct user_options *options, const struct args *args, GError **error);
/* Every hostfwd= and guestfwd= of the arguments. */
bool user_add_forwards(Slirp *slirp, const SlirpConfig *config, const struct args *args,
		       GError **error);
