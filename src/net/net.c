/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of packet back ends, and their creation by name. */
#include "net/internal.h"

#include "base/error.h"

static const struct net_kind *const kinds[] = {&net_kind_user, &net_kind_tap, &net_kind_bridge,
					     &net_kind_stream, &net_kind_dgram, &net_kind_socket,
					     &net_kind_vhost_user};

const struct net_type *net_types(void)
{
	static struct net_type types[G_N_ELEMENTS(kinds) + 1];
	static gsize once;
	if (g_once_init_enter(&once)) {
		for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++)
			types[i] = (struct net_type){kinds[i]->type, kinds[i]->help};
		g_once_init_leave(&once, 1);
	}
	return types;
}

static const struct net_kind *find_kind(const char *type, GError **error)
{
	const char *names[G_N_ELEMENTS(kinds) + 1] = {NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		names[i] = kinds[i]->type;
		if (g_str_equal(type, kinds[i]->type))
			return kinds[i];
	}
	g_autofree char *all = g_strjoinv(", ", (char **)names);
	error_set(error, BERTH_ERR_NOT_SUPPORTED,
		  "network back end '%s' is not supported; there are: %s", type, all);
	return NULL;
}

struct net_backend *net_backend_new(const char *type, const char *id, const char *const *keys,
				    const char *const *values, const struct net_host *host,
				    GError **error)
{
	const struct net_kind *kind = find_kind(type, error);
	if (!kind)
		return NULL;
	g_autofree char *what = g_strdup_printf("-netdev %s", type);
	struct args args = {what, keys, values};
	if (!args_check(&args, kind->options, error))
		return NULL;
	struct net_backend *net = kind->create(&args, host, error);
	if (!net)
		return NULL;
	net->id = g_strdup(id);
	net->loop = host->loop;
	net->link_up = true;
	return net;
}

void net_backend_free(struct net_backend *net)
{
	if (!net)
		return;
	g_free(net->id);
	net->ops->free(net);
}

void net_backend_set_link(struct net_backend *net, bool up)
{
	const struct net_receiver *receiver = net->ops->receiver(net);
	net->link_up = up;
	if (receiver->link_changed)
		receiver->link_changed(receiver->opaque, up);
}
