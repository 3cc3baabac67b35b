/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports that clients have made themselves: kept in a file, as no domain tells the next daemon of them. */
#include "base/error.h"
#include "base/log.h"
#include "conf/domain.h"
#include "daemon/domain/store.h"
#include "daemon/network/life.h"

#include <string.h>

char *network_file_ports(const struct network *network)
{
	return store_path(network->all->daemon, NETWORK_PORTS, network->uuid_text, ".xml");
}

static void write_plug(struct xml_writer *w, const struct network_plug *plug)
{
	const char *macs = plug->manages_macs ? "libvirt" : NULL;
	switch (plug->kind) {
	case NETWORK_PLUG_BRIDGE:
		xml_empty(w, "plug", "type", plug->own ? "network" : "bridge", "bridge", plug->link,
			  "macTableManager", macs, NULL);
		break;
	case NETWORK_PLUG_DIRECT:
		xml_empty(w, "plug", "type", "direct", "dev", plug->link, "mode", plug->mode, NULL);
		break;
	case NETWORK_PLUG_HOSTDEV:
		xml_open(w, "plug", "type", "hostdev-pci", "managed", plug->managed ? "yes" : NULL, NULL);
		if (plug->vfio)
			xml_empty(w, "driver", "name", "vfio", NULL);
		conf_pci_address_write(w, plug->link, NULL);
		xml_close(w, "plug");
	}
}

/* As libvirt orders a port's elements. */
void network_port_write(struct xml_writer *w, const struct network_port *port)
{
	char owner[37], mac[MAC_TEXT_SIZE];
	const struct network_plug *plug = &port->plug;
	conf_uuid_format(port->owner_uuid, owner);
	xml_open(w, "networkport", NULL);
	xml_leaf(w, "uuid", port->uuid_text, NULL);
	xml_open(w, "owner", NULL);
	xml_leaf(w, "name", port->owner_name, NULL);
	xml_leaf(w, "uuid", owner, NULL);
	xml_close(w, "owner");
	if (port->group)
		xml_leaf(w, "group", port->group, NULL);
	xml_empty(w, "mac", "address", mac_format(port->mac, mac), NULL);
	conf_virtualport_write(w, &plug->virtualport);
	conf_bandwidth_write(w, &plug->bandwidth, port->class);
	conf_vlan_write(w, &plug->vlan);
	if (plug->isolated)
		xml_empty(w, "port", "isolated", "yes", NULL);
	write_plug(w, plug);
	xml_close(w, "networkport");
}

char *network_ports_text(const struct network *network)
{
	g_autofree char *mark = store_boot_mark();
	struct xml_writer w = xml_writer_new();
	bool any = false;
	GHashTableIter iter;
	void *value;
	xml_open(&w, "networkports", NULL);
	g_hash_table_iter_init(&iter, network->ports);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct network_port *port = value;
		if (port->external)
			network_port_write(&w, port);
		any |= port->external;
	}
	xml_close(&w, "networkports");
	g_autofree char *xml = xml_writer_take(&w);
	return any ? g_strconcat(mark, xml, NULL) : NULL;
}

const char *network_port_make(struct network *network, const struct conf_network_port *conf, GError **error)
{
	struct network_port_request request = {
		.network = network->name, .group = conf->group, .owner_name = conf->owner_name,
		.owner_uuid = conf->owner_uuid, .vlan = &conf->vlan, .virtualport = &conf->virtualport,
		.bandwidth = &conf->bandwidth, .isolated = conf->isolated, .device = conf->link};
	char text[37];
	memcpy(request.mac, conf->mac, sizeof(request.mac));
	memcpy(request.uuid, conf->uuid, sizeof(request.uuid));
	conf_uuid_format(conf->uuid, text);
	if (g_hash_table_contains(network->ports, text)) {
		virt_error(error, VIRT_FROM_NETWORK, VIRT_NETWORK_PORT_EXIST,
			   "Network port with UUID %s already exists", text);
		return NULL;
	}
	struct network_port *port = network_port_open(network->all, &request, error);
	if (!port)
		return NULL;
	port->external = true;
	return port->uuid_text;
}

static void load(struct network *network, const xmlNode *root)
{
	xml_for_each(node, root, "networkport") {
		g_autoptr(GError) error = NULL;
		struct conf_network_port *conf = conf_network_port_read(node, &error);
		if (!conf || !network_port_make(network, conf, &error))
			log_warning("network '%s': a port is lost: %s", network->name, error->message);
		conf_network_port_free(conf);
	}
}

void network_ports_load(struct network *network)
{
	g_autofree char *path = network_file_ports(network), *text = NULL, *mark = store_boot_mark();
	g_autoptr(GError) error = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL) || !g_str_has_prefix(text, mark))
		return;
	g_autoptr(xmlDoc) doc = xml_parse(text, "ports", &error);
	if (doc)
		load(network, xmlDocGetRootElement(doc));
	else
		log_warning("network '%s': its ports are lost: %s", network->name, error->message);
}
