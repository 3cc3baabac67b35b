/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <interface> of a domain's XML: a network card, and where its other end is. */
#include "conf/domain.h"

#include "base/error.h"
#include "base/ip.h"
#include "base/units.h"
#include "conf/vm.h"

#include <string.h>

/* Made by the kernel for a tap device that nobody has named: it means nothing in a definition. */
#define MADE_UP_NAME "vnet"
#define MADE_UP_DIRECT_NAME "macvtap"

static bool read_mac(struct conf_domain_nic *nic, xmlNode *node, GError **error)
{
	uint8_t bytes[6];
	nic->mac = conf_domain_child_attribute(node, "mac", "address");
	if (nic->mac)
		return (mac_parse(nic->mac, bytes) && !(bytes[0] & 1)) ||
		       conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "'%s' is no MAC address of one card", nic->mac);
	guint32 random = g_random_int();
	nic->mac = g_strdup_printf("52:54:00:%02x:%02x:%02x", random & 0xff, random >> 8 & 0xff,
				   random >> 16 & 0xff);
	xmlNode *mac = xml_child(node, "mac");
	if (!mac)
		mac = xmlNewChild(node, NULL, (const xmlChar *)"mac", NULL);
	xmlSetProp(mac, (const xmlChar *)"address", (const xmlChar *)nic->mac);
	return true;
}

/* <source dev='eth0' mode='bridge'/>: the segment of one of the host's interfaces. */
static bool read_direct(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	g_autofree char *dev = conf_domain_child_attribute(node, "source", "dev");
	nic->mode = conf_domain_child_attribute(node, "source", "mode");
	if (strcmp(nic->type, "direct") != 0)
		return ((!dev || nic->passt) && !nic->mode) ||
		       conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<source dev=... mode=...> is for type='direct'");
	if (!dev)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<source dev=...> is missing");
	nic->source = g_steal_pointer(&dev);
	if (!nic->mode)
		nic->mode = g_strdup("vepa");
	return CONF_DOMAIN_ONE_OF(node, "source mode", nic->mode, error, "vepa", "bridge", "private",
				  "passthrough");
}

static bool read_source(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	uint8_t uuid[16];
	nic->source = conf_domain_child_attribute(node, "source", "bridge");
	nic->network = conf_domain_child_attribute(node, "source", "network");
	nic->portgroup = conf_domain_child_attribute(node, "source", "portgroup");
	nic->port = conf_domain_child_attribute(node, "source", "portid");
	bool bridge = strcmp(nic->type, "bridge") == 0, network = strcmp(nic->type, "network") == 0;
	if (bridge && !nic->source)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<source bridge=...> is missing");
	if (network && !nic->network)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<source network=...> is missing");
	if (!network && (nic->network || nic->portgroup || nic->port))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<source network=...> is for type='network'");
	if (!read_direct(nic, node, error))
		return false;
	return !nic->port || conf_uuid_parse(nic->port, uuid, NULL) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node, "portid '%s' is no UUID", nic->port);
}

static bool read_target(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	g_autofree char *managed = conf_domain_child_attribute(node, "target", "managed");
	g_autofree char *isolated = conf_domain_child_attribute(node, "port", "isolated");
	g_autofree char *mtu = conf_domain_child_attribute(node, "mtu", "size");
	uint64_t size = 0;
	nic->target = conf_domain_child_attribute(node, "target", "dev");
	if (nic->target && !conf_is_device_name(nic->target))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<target dev='%s'> is no name of a network device: "
					 CONF_DEVICE_NAME_RULE, nic->target);
	nic->unmanaged = g_strcmp0(managed, "no") == 0;
	nic->isolated = g_strcmp0(isolated, "yes") == 0;
	if (!CONF_DOMAIN_ONE_OF(node, "target managed", managed, error, "yes", "no") ||
	    !CONF_DOMAIN_ONE_OF(node, "port isolated", isolated, error, "yes", "no"))
		return false;
	if (mtu && !units_parse_number(mtu, 68, 65535, &size, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "mtu size '%s' must be a number from 68 to 65535", mtu);
	nic->mtu = size;
	if (nic->unmanaged && (strcmp(nic->type, "ethernet") != 0 || !nic->target))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "managed='no' is for type='ethernet' with <target dev=...>");
	bool bridged = strcmp(nic->type, "bridge") == 0 || strcmp(nic->type, "network") == 0;
	if (nic->isolated && !bridged)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<port isolated='yes'> is of a bridge's port");
	if (nic->mtu && (strcmp(nic->type, "user") == 0 || nic->unmanaged))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "<mtu> is for tap devices that Berth makes");
	return true;
}

static bool read_filter(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	const xmlNode *reference = xml_child(node, "filterref");
	if (!reference)
		return true;
	if (strcmp(nic->type, "user") == 0 || strcmp(nic->type, "direct") == 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "<filterref> is for a link that ends in a tap device, not for "
					 "type='%s'", nic->type);
	return (nic->filter = conf_nwfilter_reference_read(reference, error)) != NULL;
}

static bool read_bandwidth(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	if (xml_child(node, "bandwidth") && strcmp(nic->type, "user") == 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "<bandwidth> is for a link that ends in a tap device, not for "
					 "type='user'");
	return conf_bandwidth_read(node, &nic->bandwidth, error);
}

/* As libvirt does, a card that names its switch gets an interfaceid once and for all. */
static void complete_virtualport(struct conf_domain_nic *nic, xmlNode *node)
{
	struct conf_virtualport *port = &nic->virtualport;
	if (!conf_virtualport_is_ovs(port) || port->interfaceid)
		return;
	port->interfaceid = g_uuid_string_random();
	xmlNode *element = xml_child(node, "virtualport");
	xmlNode *parameters = xml_child(element, "parameters");
	if (!parameters)
		parameters = xmlNewChild(element, NULL, (const xmlChar *)"parameters", NULL);
	xmlSetProp(parameters, (const xmlChar *)"interfaceid", (const xmlChar *)port->interfaceid);
}

/* Ports of Open vSwitch: which one it is, a network may say. */
static bool read_switch(struct conf_domain_nic *nic, xmlNode *node, GError **error)
{
	const struct conf_virtualport *port = &nic->virtualport;
	bool network = strcmp(nic->type, "network") == 0, bridge = strcmp(nic->type, "bridge") == 0;
	if (!conf_vlan_read(node, &nic->vlan, error) ||
	    !conf_virtualport_read(node, &nic->virtualport, error))
		return false;
	if (port->present && !network && !bridge)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "<virtualport> element unsupported for <interface type='%s'>",
					 nic->type);
	if (bridge && port->present && !port->type)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "missing required virtualport type");
	if (nic->vlan.count && !network && !conf_virtualport_is_ovs(port))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "vlan tag not supported for this connection type: it needs "
					 "<virtualport type='openvswitch'/>");
	complete_virtualport(nic, node);
	return true;
}

bool conf_domain_read_nic(struct conf_domain *conf, xmlNode *node, GError **error)
{
	struct conf_domain_nic *nic = g_new0(struct conf_domain_nic, 1);
	g_ptr_array_add(conf->nics, nic);
	nic->dev.node = node;
	nic->dev.on_pci = true;
	g_autofree char *link = conf_domain_child_attribute(node, "link", "state");
	nic->link_down = g_strcmp0(link, "down") == 0;
	nic->type = xml_attribute(node, "type");
	nic->model = conf_domain_child_attribute(node, "model", "type");
	if (!nic->type)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its type is missing");
	return CONF_DOMAIN_ONE_OF(node, "link", link, error, "up", "down") &&
	       CONF_DOMAIN_ONE_OF(node, "interface type", nic->type, error, "user", "bridge", "ethernet",
				  "network", "direct", "vhostuser", "client", "server", "mcast", "udp") &&
	       conf_domain_read_passt(nic, node, error) && conf_domain_read_vhost(nic, node, error) &&
	       conf_domain_read_cable(nic, node, error) && conf_domain_read_card(conf, nic, node, error) &&
	       (nic->socket || nic->cable || read_source(nic, node, error)) && read_target(nic, node, error) &&
	       read_filter(nic, node, error) && read_bandwidth(nic, node, error) &&
	       read_switch(nic, node, error) &&
	       conf_domain_read_boot_order(node, &nic->boot_order, error) && read_mac(nic, node, error);
}

/* --- What a run leaves ------------------------------------------------------------------------ */

static void drop_attribute(xmlNode *parent, const char *child, const char *name)
{
	xmlNode *node = xml_child(parent, child);
	if (!node)
		return;
	xmlUnsetProp(node, (const xmlChar *)name);
	if (!node->properties && !node->children) {
		xmlUnlinkNode(node);
		xmlFreeNode(node);
	}
}

void conf_domain_nics_unplugged(struct conf_domain *conf)
{
	for (unsigned i = 0; i < conf->nics->len; i++) {
		struct conf_domain_nic *nic = conf->nics->pdata[i];
		bool made_up = nic->target && (g_str_has_prefix(nic->target, MADE_UP_NAME) ||
					       g_str_has_prefix(nic->target, MADE_UP_DIRECT_NAME));
		if (made_up && !nic->unmanaged) {
			drop_attribute(nic->dev.node, "target", "dev");
			g_clear_pointer(&nic->target, g_free);
		}
		if (!nic->network)
			continue;
		drop_attribute(nic->dev.node, "source", "portid");
		drop_attribute(nic->dev.node, "source", "bridge");
		g_clear_pointer(&nic->port, g_free);
		g_clear_pointer(&nic->source, g_free);
	}
}

static xmlNode *child_after(xmlNode *parent, const char *name, const char *before)
{
	xmlNode *child = xml_child(parent, name), *place = xml_child(parent, before);
	if (child)
		return child;
	child = xmlNewDocNode(parent->doc, NULL, (const xmlChar *)name, NULL);
	return place ? xmlAddNextSibling(place, child) : xmlAddChild(parent, child);
}

static void replace(char **text, const char *value)
{
	char *copy = g_strdup(value);
	g_free(*text);
	*text = copy;
}

void conf_domain_nic_plugged(struct conf_domain_nic *nic, const char *target, const char *link,
			     const char *port, unsigned mtu)
{
	xmlNode *node = nic->dev.node;
	xmlNode *source = child_after(node, port ? "source" : "mac", "mac");
	xmlNode *tap = child_after(node, "target", xml_child(node, "source") ? "source" : "mac");
	replace(&nic->target, target);
	xmlSetProp(tap, (const xmlChar *)"dev", (const xmlChar *)target);
	if (mtu && !nic->mtu) {
		g_autofree char *text = g_strdup_printf("%u", mtu);
		nic->mtu = mtu;
		xmlSetProp(child_after(node, "mtu", "target"), (const xmlChar *)"size", (const xmlChar *)text);
	}
	if (!port)
		return;
	replace(&nic->port, port);
	xmlSetProp(source, (const xmlChar *)"portid", (const xmlChar *)port);
	if (!link)
		return;
	replace(&nic->source, link);
	xmlSetProp(source, (const xmlChar *)"bridge", (const xmlChar *)link);
}
