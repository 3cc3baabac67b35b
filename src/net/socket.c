/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's older -netdev socket, in which listen=, connect=, mcast=, udp= and fd= say what is meant: each is
 * a stream or a dgram with other words.
 */
#include "base/error.h"
#include "net/internal.h"

#include <string.h>
#include <sys/socket.h>

enum { MAX_ARGS = 7 };

/* Arguments of the other kind, made one by one. */
struct words {
	const char *keys[MAX_ARGS + 1];
	char *values[MAX_ARGS + 1];
	unsigned count;
};

/* `value` is taken. */
static void add(struct words *words, const char *key, char *value)
{
	words->keys[words->count] = key;
	words->values[words->count++] = value;
}

static void words_clear(struct words *words)
{
	for (unsigned i = 0; i < words->count; i++)
		g_free(words->values[i]);
}

/* "host:port" as two more words; the host may be empty, and in brackets. */
static bool add_place(struct words *words, const char *host_key, const char *port_key, const char *place,
		      const struct args *args, GError **error)
{
	const char *colon = strrchr(place, ':');
	if (!colon || !colon[1])
		return error_set(error, BERTH_ERR_INVALID, "%s: '%s' must be HOST:PORT", args->what, place);
	bool brackets = *place == '[' && colon > place && colon[-1] == ']';
	size_t length = colon - place;
	add(words, host_key, brackets ? g_strndup(place + 1, length - 2) : g_strndup(place, length));
	add(words, port_key, g_strdup(colon + 1));
	return true;
}

static bool is_datagram_socket(const char *text)
{
	int type = 0;
	socklen_t size = sizeof(type);
	return getsockopt((int)g_ascii_strtoll(text, NULL, 10), SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	       type == SOCK_DGRAM;
}

static bool translate(const struct args *args, const char *way, const char *value, struct words *words,
		      GError **error)
{
	const char *own = args_string(args, "localaddr");
	bool group = strcmp(way, "mcast") == 0, udp = strcmp(way, "udp") == 0;
	if (own && !group && !udp)
		return error_set(error, BERTH_ERR_INVALID, "%s: localaddr= is for mcast= and udp=", args->what);
	if (strcmp(way, "fd") == 0) {
		bool datagrams = is_datagram_socket(value);
		add(words, datagrams ? "local.type" : "addr.type", g_strdup("fd"));
		add(words, datagrams ? "local.str" : "addr.str", g_strdup(value));
		return true;
	}
	if (!group && !udp) {
		add(words, "addr.type", g_strdup("inet"));
		add(words, "server", g_strdup(strcmp(way, "listen") == 0 ? "on" : "off"));
		return add_place(words, "addr.host", "addr.port", value, args, error);
	}
	if (udp && !own)
		return error_set(error, BERTH_ERR_INVALID, "%s: udp= needs localaddr=HOST:PORT", args->what);
	if (own) {
		add(words, "local.type", g_strdup("inet"));
		if (group)
			add(words, "local.host", g_strdup(own));
		else if (!add_place(words, "local.host", "local.port", own, args, error))
			return false;
	}
	add(words, "remote.type", g_strdup("inet"));
	return add_place(words, "remote.host", "remote.port", value, args, error);
}

static struct net_backend *socket_create(const struct args *args, const struct net_host *host, GError **error)
{
	static const char *const ways[] = {"listen", "connect", "mcast", "udp", "fd"};
	const char *way = NULL, *value = NULL;
	unsigned given = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		const char *one = args_string(args, ways[i]);
		given += one != NULL;
		if (one) {
			way = ways[i];
			value = one;
		}
	}
	if (given != 1) {
		error_set(error, BERTH_ERR_INVALID, "%s: give one of listen=, connect=, mcast=, udp= and fd=",
			  args->what);
		return NULL;
	}
	struct words words = {0};
	struct net_backend *net = NULL;
	if (translate(args, way, value, &words, error)) {
		const struct args other = {args->what, words.keys, (const char *const *)words.values};
		bool datagrams = args_string(&other, "remote.type") || args_string(&other, "local.type");
		net = (datagrams ? &net_kind_dgram : &net_kind_stream)->create(&other, host, error);
	}
	words_clear(&words);
	return net;
}

static const char *const socket_options[] = {"listen", "connect", "mcast", "udp", "fd", "localaddr", NULL};

const struct net_kind net_kind_socket = {
	.type = "socket",
	.help = "the same as stream and dgram, in the older words listen, connect, mcast, udp and fd",
	.options = socket_options,
	.create = socket_create,
};
