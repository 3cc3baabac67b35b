/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XML of a network's port. */
#include "conf/network.h"

#include "base/error.h"
#include "conf/domain.h"
#include "conf/grammar.h"
#include "conf/vm.h"

#include <string.h>

static const char *const rows[] = {
	"networkport",
	"networkport/uuid",
	"networkport/owner",
	"networkport/owner/name",
	"networkport/owner/uuid",
	"networkport/group",
	"networkport/mac address",
	"networkport/virtualport type",
	"networkport/virtualport/parameters interfaceid profileid",
	"networkport/bandwidth classID",
	"networkport/bandwidth/inbound average peak burst floor",
	"networkport/bandwidth/outbound average peak burst",
	"networkport/vlan trunk",
	"networkport/vlan/tag id nativeMode",
	"networkport/port isolated",
	"networkport/plug type bridge dev mode macTableManager managed",
	"networkport/plug/driver name",
	"networkport/plug/address domain bus slot function",
};

/* libvirt's words, so that scripts find them. */
static bool read_uuid(const xmlNode *parent, const char *of, uint8_t uuid[16], GError **error)
{
	g_autofree char *text = parent ? xml_child_text(parent, "uuid") : NULL;
	if (!text)
		return error_set(error, BERTH_ERR_INVALID, "%s has no uuid", of);
	return conf_uuid_parse(text, uuid, NULL) ||
	       error_set(error, BERTH_ERR_INVALID, "Unable to parse UUID '%s'", text);
}

static bool read_owner(struct conf_network_port *port, const xmlNode *root, GError **error)
{
	const xmlNode *owner = xml_child(root, "owner");
	port->owner_name = owner ? xml_child_text(owner, "name") : NULL;
	if (!port->owner_name)
		return error_set(error, BERTH_ERR_INVALID, "network port has no owner name");
	return read_uuid(owner, "network port owner", port->owner_uuid, error);
}

static bool read_mac(struct conf_network_port *port, const xmlNode *root, GError **error)
{
	const xmlNode *node = xml_child(root, "mac");
	g_autofree char *text = node ? xml_attribute(node, "address") : NULL;
	if (!text)
		return error_set(error, BERTH_ERR_INVALID, "network port has no mac");
	return (mac_parse(text, port->mac) && !(port->mac[0] & 1)) ||
	       error_set(error, BERTH_ERR_INVALID, "Unable to parse MAC '%s'", text);
}

static bool read_plug(struct conf_network_port *port, const xmlNode *root, GError **error)
{
	static const struct {
		const char *type, *attribute;
	} kinds[] = {{"none", NULL}, {"network", "bridge"}, {"bridge", "bridge"}, {"direct", "dev"},
		     {"hostdev-pci", NULL}};
	const xmlNode *node = xml_child(root, "plug");
	g_autofree char *type = node ? xml_attribute(node, "type") : g_strdup("none");
	for (unsigned i = 0; type && i < G_N_ELEMENTS(kinds); i++) {
		if (strcmp(kinds[i].type, type) != 0)
			continue;
		const xmlNode *address = i == G_N_ELEMENTS(kinds) - 1 ? xml_child(node, "address") : NULL;
		if (address)
			return (port->link = conf_pci_address_read(address, error)) != NULL;
		port->link = kinds[i].attribute ? xml_attribute(node, kinds[i].attribute) : NULL;
		if (kinds[i].attribute && !port->link)
			return error_set(error, BERTH_ERR_INVALID, "network port plug has no %s",
					 kinds[i].attribute);
		return true;
	}
	return type ? error_set(error, BERTH_ERR_NOT_SUPPORTED,
				"Berth does not support a network port with the plug type '%s'", type)
		    : error_set(error, BERTH_ERR_INVALID, "network port plug has no type");
}

static bool read_port(struct conf_network_port *port, const xmlNode *root, GError **error)
{
	const xmlNode *options = xml_child(root, "port");
	port->group = xml_child_text(root, "group");
	return read_uuid(root, "network port", port->uuid, error) && read_owner(port, root, error) &&
	       read_mac(port, root, error) && conf_virtualport_read(root, &port->virtualport, error) &&
	       conf_bandwidth_read(root, &port->bandwidth, error) && conf_vlan_read(root, &port->vlan, error) &&
	       (!options || conf_yes_no(options, "isolated", &port->isolated, error)) &&
	       read_plug(port, root, error);
}

struct conf_network_port *conf_network_port_read(const xmlNode *root, GError **error)
{
	static const struct conf_grammar grammar = {.rows = rows, .row_count = G_N_ELEMENTS(rows)};
	struct conf_network_port *port = g_new0(struct conf_network_port, 1);
	if (!xml_is(root, "networkport"))
		error_set(error, BERTH_ERR_INVALID, "expecting root element of 'networkport', not '%s'",
			  root->name);
	else if (conf_grammar_check(&grammar, root, error) && read_port(port, root, error))
		return port;
	conf_network_port_free(port);
	return NULL;
}

struct conf_network_port *conf_network_port_parse(const char *text, GError **error)
{
	g_autoptr(xmlDoc) doc = xml_parse(text, "networkport_definition", error);
	return doc ? conf_network_port_read(xmlDocGetRootElement(doc), error) : NULL;
}

void conf_network_port_free(struct conf_network_port *port)
{
	if (!port)
		return;
	char *const texts[] = {port->owner_name, port->group, port->link};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	conf_virtualport_clear(&port->virtualport);
	g_free(port);
}
