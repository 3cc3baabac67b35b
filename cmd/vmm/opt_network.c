/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options: networks. */
#include "options.h"

static bool apply_netdev(struct options *o, const char *value, GError **error)
{
	if (options_wants_help(o, value, SHOW_NETDEVS))
		return true;
	struct conf_item *item = conf_item_parse(CONF_NETDEV, value, error);
	if (item)
		g_ptr_array_add(o->conf->items[CONF_NETDEV], item);
	return item != NULL;
}

static bool add_nic(struct options *o, struct conf_nic *nic)
{
	if (nic)
		g_ptr_array_add(o->conf->nics, nic);
	return nic != NULL;
}

static bool apply_nic(struct options *o, const char *value, GError **error)
{
	if (options_wants_help(o, value, SHOW_NETDEVS))
		return true;
	return add_nic(o, conf_nic_parse(value, error));
}

static bool apply_net(struct options *o, const char *value, GError **error)
{
	return add_nic(o, conf_net_parse(value, error));
}

const struct option options_network[] = {
	{"nic", "TYPE[,model=DRIVER][,mac=ADDRESS][,PROPERTY=VALUE...] | none",
	 "A network card with its connection to the host: user (default, needs no rights; "
	 "hostfwd=tcp:127.0.0.1:2222-:22 forwards a port), tap, bridge, stream, vhost-user; none for "
	 "no network.",
	 apply_nic},
	{"netdev", "TYPE,id=ID[,PROPERTY=VALUE...]",
	 "A connection to the host for -device virtio-net-pci,netdev=ID; -netdev help lists "
	 "types.",
	 apply_netdev},
	{"net", "nic[,model=DRIVER][,macaddr=ADDRESS] | TYPE[,PROPERTY=VALUE...] | none",
	 "Old spelling: one -net nic and one -net TYPE make a pair.", apply_net},
	{NULL},
};
