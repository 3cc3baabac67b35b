/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that ask who is plugged into a network. Ports come and go with the interfaces of domains. */
#include "conf/domain.h"
#include "daemon/network/network.h"
#include "daemon/rpc/serve.h"

#include <string.h>

/* Ports are of networks that are active, and unknown otherwise. */
static struct network_port *find(struct rpc_call *call, const struct remote_network *wire,
				 const uint8_t uuid[16])
{
	struct network *network = network_find(call, wire);
	GError *error = NULL;
	char text[37];
	if (!network)
		return NULL;
	conf_uuid_format(uuid, text);
	struct network_port *port = g_hash_table_lookup(network->ports, text);
	if (port)
		return port;
	if (network_check_active(network, &error))
		virt_error(&error, VIRT_FROM_NETWORK, VIRT_NO_NETWORK_PORT,
			   "Network port with UUID %s does not exist", text);
	rpc_call_fail(call, error);
	return NULL;
}

static struct remote_network_port port_wire(const struct remote_network *network,
					    const struct network_port *port)
{
	struct remote_network_port wire = {.net = *network};
	memcpy(wire.uuid, port->uuid, sizeof(wire.uuid));
	return wire;
}

static int compare(const void *a, const void *b)
{
	return strcmp((*(struct network_port *const *)a)->uuid_text,
		      (*(struct network_port *const *)b)->uuid_text);
}

void serve_network_list_all_ports(struct rpc_call *call,
				  const struct remote_network_list_all_ports_args *args)
{
	struct remote_network_list_all_ports_ret ret = {.ret = 0};
	g_autoptr(GPtrArray) ports = g_ptr_array_new();
	GHashTableIter iter;
	void *port;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct network *network = network_find(call, &args->network);
	if (!network)
		return;
	const struct remote_network wire = network_wire(network);
	g_hash_table_iter_init(&iter, network->ports);
	while (g_hash_table_iter_next(&iter, NULL, &port))
		g_ptr_array_add(ports, port);
	g_ptr_array_sort(ports, compare);
	ret.ret = ports->len;
	if (args->need) {
		ret.ports.count = ports->len;
		ret.ports.items = arena_alloc(rpc_call_arena(call), ports->len * sizeof(*ret.ports.items));
		for (unsigned i = 0; i < ports->len; i++)
			ret.ports.items[i] = port_wire(&wire, ports->pdata[i]);
	}
	rpc_call_reply(call, &ret);
}

void serve_network_port_lookup_by_uuid(struct rpc_call *call,
				       const struct remote_network_port_lookup_by_uuid_args *args)
{
	const struct network_port *port = find(call, &args->network, args->uuid);
	if (!port)
		return;
	struct remote_network_port_lookup_by_uuid_ret ret = {port_wire(&args->network, port)};
	rpc_call_reply(call, &ret);
}

/* As libvirt orders a port's elements. */
static char *format(const struct network_port *port)
{
	struct xml_writer w = xml_writer_new();
	char owner[37], mac[MAC_TEXT_SIZE];
	const struct network_plug *plug = &port->plug;
	bool bridge = plug->kind == NETWORK_PLUG_BRIDGE;
	conf_uuid_format(port->owner_uuid, owner);
	xml_open(&w, "networkport", NULL);
	xml_leaf(&w, "uuid", port->uuid_text, NULL);
	xml_open(&w, "owner", NULL);
	xml_leaf(&w, "name", port->owner_name, NULL);
	xml_leaf(&w, "uuid", owner, NULL);
	xml_close(&w, "owner");
	if (port->group)
		xml_leaf(&w, "group", port->group, NULL);
	xml_empty(&w, "mac", "address", mac_format(port->mac, mac), NULL);
	conf_virtualport_write(&w, &plug->virtualport);
	conf_bandwidth_write(&w, &plug->bandwidth, port->class);
	conf_vlan_write(&w, &plug->vlan);
	if (plug->isolated)
		xml_empty(&w, "port", "isolated", "yes", NULL);
	xml_empty(&w, "plug", "type", plug->own ? "network" : bridge ? "bridge" : "direct", bridge ? "bridge" : "dev", plug->link,
		  "mode", bridge ? NULL : plug->mode, NULL);
	xml_close(&w, "networkport");
	return xml_writer_take(&w);
}

void serve_network_port_get_xml_desc(struct rpc_call *call,
				     const struct remote_network_port_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct network_port *port = find(call, &args->port.net, args->port.uuid);
	if (!port)
		return;
	g_autofree char *xml = format(port);
	rpc_call_reply(call, &(struct remote_network_port_get_xml_desc_ret){xml});
}
