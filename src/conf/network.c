/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtual network's XML. */
#include "conf/network.h"

#include "base/error.h"
#include "conf/domain.h"
#include "conf/grammar.h"
#include "conf/vm.h"

#include <string.h>
#include <sys/socket.h>

#define DNSMASQ_NAMESPACE "http://libvirt.org/schemas/network/dnsmasq/1.0"
#define RATE_ATTRIBUTES   "average peak burst floor"

static const char *const rows[] = {
	"network ipv6 trustGuestRxFilters connections",
	"network/name",
	"network/uuid",
	"network/metadata *",
	"network/forward mode dev managed",
	"network/forward/driver name",
	"network/forward/pf dev",
	"network/forward/address type domain bus slot function",
	"network/forward/interface dev connections",
	"network/forward/nat ipv6",
	"network/forward/nat/address start end",
	"network/forward/nat/port start end",
	"network/bridge name stp delay macTableManager",
	"network/mtu size",
	"network/mac address",
	"network/domain name localOnly",
	"network/dns enable forwardPlainNames",
	"network/dns/forwarder addr domain",
	"network/dns/txt name value",
	"network/dns/srv service protocol domain target port priority weight",
	"network/dns/host ip",
	"network/dns/host/hostname",
	"network/vlan trunk",
	"network/vlan/tag id nativeMode",
	"network/bandwidth",
	"network/bandwidth/inbound " RATE_ATTRIBUTES,
	"network/bandwidth/outbound " RATE_ATTRIBUTES,
	"network/port isolated",
	"network/ip family address netmask prefix localPtr",
	"network/ip/tftp root",
	"network/ip/dhcp",
	"network/ip/dhcp/range start end",
	"network/ip/dhcp/range/lease expiry unit",
	"network/ip/dhcp/host mac id name ip",
	"network/ip/dhcp/host/lease expiry unit",
	"network/ip/dhcp/bootp file server",
	"network/route family address netmask prefix gateway metric",
	"network/virtualport type",
	"network/virtualport/parameters profileid interfaceid",
	"network/portgroup name default trustGuestRxFilters",
	"network/portgroup/vlan trunk",
	"network/portgroup/vlan/tag id nativeMode",
	"network/portgroup/virtualport type",
	"network/portgroup/virtualport/parameters profileid interfaceid",
	"network/portgroup/bandwidth",
	"network/portgroup/bandwidth/inbound " RATE_ATTRIBUTES,
	"network/portgroup/bandwidth/outbound " RATE_ATTRIBUTES,
	"network/options",
	"network/options/option value",
};

static const struct conf_grammar grammar = {
	.rows = rows, .row_count = G_N_ELEMENTS(rows),
};

bool conf_network_check_part(const xmlNode *node, const char *parent, GError **error)
{
	return conf_grammar_check_part(&grammar, node, parent, error);
}

/* --- What parts say of each other ------------------------------------------------------------- */

bool conf_network_owns_bridge(const struct conf_network *network)
{
	return network->forward < CONF_FORWARD_BRIDGE;
}

static bool refuse(const struct conf_network *network, const char *what, GError **error)
{
	const char *mode = conf_forward_name(network->forward);
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "network '%s': %s is not possible with <forward mode='%s'>", network->name, what,
			 mode ? mode : "none");
}

/* Somebody else's bridge, or no bridge at all: its addresses, routes and names are not ours. */
static bool check_foreign(const struct conf_network *network, GError **error)
{
	bool bridged = network->forward == CONF_FORWARD_BRIDGE && network->bridge;
	const struct {
		bool is;
		const char *what;
	} cases[] = {
		{network->ips->len, "<ip>"}, {network->routes->len, "<route>"},
		{network->domain, "<domain>"}, {network->dns_hosts->len || network->txts->len ||
		 network->srvs->len || network->forwarders->len || network->says_dns, "<dns>"},
		{network->mac, "<mac>"}, {network->dnsmasq_options->len, "<dnsmasq:options>"},
		{network->bandwidth.has_inbound || network->bandwidth.has_outbound, "<bandwidth>"},
		{network->delay_s, "<bridge delay>"},
		{network->bridge && network->forward == CONF_FORWARD_HOSTDEV, "a bridge name"},
		{network->bridge && !bridged, "<bridge>"},
		{bridged && network->forward_interfaces->len, "<bridge> together with <interface>"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		if (cases[i].is)
			return refuse(network, cases[i].what, error);
	}
	bool pool = network->forward == CONF_FORWARD_HOSTDEV || network->forward_pf;
	if (!bridged && !pool && !network->forward_interfaces->len)
		return error_set(error, BERTH_ERR_INVALID,
				 "network '%s': <forward mode='%s'> needs %s<interface dev=...>",
				 network->name, conf_forward_name(network->forward),
				 network->forward == CONF_FORWARD_BRIDGE ? "<bridge name=...> or " : "");
	return true;
}

/* VLAN tags are for SR-IOV and Open vSwitch: the kernel's bridge, as it is made, knows none. */
static bool check_vlans(const struct conf_network *network, GError **error)
{
	bool tags = network->forward == CONF_FORWARD_HOSTDEV ||
		    (network->forward == CONF_FORWARD_BRIDGE && conf_virtualport_is_ovs(&network->virtualport));
	bool good = tags || !network->vlan.count;
	for (unsigned i = 0; i < network->portgroups->len; i++) {
		const struct conf_portgroup *group = network->portgroups->pdata[i];
		good &= tags || !group->vlan.count || (network->forward == CONF_FORWARD_BRIDGE &&
						       conf_virtualport_is_ovs(&group->virtualport));
	}
	return good || error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "<vlan> element specified for network %s, whose type doesn't support vlan "
				 "configuration: it needs <forward mode='bridge'/> and "
				 "<virtualport type='openvswitch'/>", network->name);
}

static bool check_own(const struct conf_network *network, GError **error)
{
	if (network->bandwidth.inbound.floor)
		return refuse(network, "a network's own floor", error);
	if (network->virtualport.present)
		return refuse(network, "<virtualport>", error);
	unsigned v4_dhcp = 0, v6_dhcp = 0;
	for (unsigned i = 0; i < network->ips->len; i++) {
		const struct conf_network_ip *ip = network->ips->pdata[i];
		unsigned *count = ip->address.family == AF_INET ? &v4_dhcp : &v6_dhcp;
		*count += ip->ranges->len || ip->hosts->len;
	}
	if (v4_dhcp > 1 || v6_dhcp > 1)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "network '%s': multiple %s dhcp sections found: only one is possible",
				 network->name, v4_dhcp > 1 ? "IPv4" : "IPv6");
	if (network->forward == CONF_FORWARD_NAT && !network->ips->len)
		return error_set(error, BERTH_ERR_INVALID,
				 "network '%s': <forward mode='nat'> needs an <ip>", network->name);
	if (network->forward == CONF_FORWARD_ROUTE && !network->ips->len)
		return error_set(error, BERTH_ERR_INVALID,
				 "network '%s': <forward mode='route'> needs an <ip>", network->name);
	return true;
}

static bool check_portgroups(const struct conf_network *network, GError **error)
{
	const char *first = NULL;
	for (unsigned i = 0; i < network->portgroups->len; i++) {
		const struct conf_portgroup *group = network->portgroups->pdata[i];
		if (group->is_default && first)
			return error_set(error, BERTH_ERR_INVALID,
					 "network '%s': both portgroup '%s' and '%s' are the default",
					 network->name, first, group->name);
		if (group->is_default)
			first = group->name;
		for (unsigned n = 0; n < i; n++) {
			const struct conf_portgroup *other = network->portgroups->pdata[n];
			if (strcmp(other->name, group->name) == 0)
				return error_set(error, BERTH_ERR_INVALID,
						 "network '%s': there are two portgroups '%s'",
						 network->name, group->name);
		}
		if (conf_network_owns_bridge(network) && group->virtualport.present)
			return refuse(network, "<virtualport> of a portgroup", error);
	}
	return true;
}

/* Everything that one part alone cannot know. */
static bool check_parts(const struct conf_network *network, GError **error)
{
	return (conf_network_owns_bridge(network) ? check_own(network, error)
						  : check_foreign(network, error)) &&
	       check_vlans(network, error) && check_portgroups(network, error) &&
	       conf_port_forwards_check(network, error);
}

/* --- Reading ---------------------------------------------------------------------------------- */

static bool read_identity(struct conf_network *network, const xmlNode *root, GError **error)
{
	network->name = xml_child_text(root, "name");
	if (!network->name || !*network->name)
		return error_set(error, BERTH_ERR_INVALID, "a network needs a <name>");
	if (strchr(network->name, '/') || strcmp(network->name, ".") == 0 ||
	    strcmp(network->name, "..") == 0)
		return error_set(error, BERTH_ERR_INVALID, "name %s cannot contain '/'", network->name);
	for (const char *c = network->name; *c; c++) {
		if (g_ascii_iscntrl(*c))
			return error_set(error, BERTH_ERR_INVALID, "name has control characters in it");
	}
	g_autofree char *uuid = xml_child_text(root, "uuid");
	if (!uuid)
		uuid = g_uuid_string_random();
	if (!conf_uuid_parse(uuid, network->uuid, NULL))
		return error_set(error, BERTH_ERR_INVALID, "malformed uuid element");
	network->says_trust = xmlHasProp(root, (const xmlChar *)"trustGuestRxFilters") != NULL;
	return conf_yes_no(root, "ipv6", &network->ipv6, error) &&
	       conf_yes_no(root, "trustGuestRxFilters", &network->trusts_filters, error);
}

static const char *const mac_tables[] = {NULL, "kernel", "libvirt"};

static bool read_mac_table(struct conf_network *network, const xmlNode *node, GError **error)
{
	g_autofree char *text = node ? xml_attribute(node, "macTableManager") : NULL;
	if (!text)
		return true;
	for (unsigned i = 1; i < G_N_ELEMENTS(mac_tables); i++) {
		if (strcmp(mac_tables[i], text) == 0)
			network->mac_table = i;
	}
	return network->mac_table ||
	       conf_element_error(error, BERTH_ERR_INVALID, node,
				  "macTableManager='%s' must be 'kernel' or 'libvirt'", text);
}

static bool read_bridge(struct conf_network *network, const xmlNode *root, GError **error)
{
	const xmlNode *node = xml_child(root, "bridge"), *mac = xml_child(root, "mac");
	const xmlNode *mtu = xml_child(root, "mtu");
	uint64_t delay = 0, size = 0;
	uint8_t bytes[6];
	char text[MAC_TEXT_SIZE];
	g_autofree char *stp = node ? xml_attribute(node, "stp") : NULL;
	network->stp = !stp || strcmp(stp, "on") == 0;
	if (stp && !network->stp && strcmp(stp, "off") != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "stp='%s' must be 'on' or 'off'",
					  stp);
	network->bridge = node ? xml_attribute(node, "name") : NULL;
	if (network->bridge && !conf_is_device_name(network->bridge))
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "'%s' is no name for a bridge: " CONF_DEVICE_NAME_RULE,
					  network->bridge);
	if (!read_mac_table(network, node, error) ||
	    (node && !conf_number(node, "delay", 0, 30, &delay, error)) ||
	    (mtu && !conf_number(mtu, "size", 68, 65535, &size, error)))
		return false;
	network->delay_s = delay;
	network->mtu = size;
	g_autofree char *address = mac ? xml_attribute(mac, "address") : NULL;
	if (!mac)
		return true;
	if (!address || !mac_parse(address, bytes) || bytes[0] & 1)
		return conf_element_error(error, BERTH_ERR_INVALID, mac,
					  "'%s' is no MAC address of one card", address ? address : "");
	network->mac = g_strdup(mac_format(bytes, text));
	return true;
}

static bool read_domain(struct conf_network *network, const xmlNode *root, GError **error)
{
	const xmlNode *node = xml_child(root, "domain");
	if (!node)
		return true;
	network->domain = xml_attribute(node, "name");
	network->says_domain_local = xmlHasProp(node, (const xmlChar *)"localOnly") != NULL;
	if (!network->domain || !conf_is_dns_name(network->domain))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its name is missing, or none");
	return conf_yes_no(node, "localOnly", &network->domain_local, error);
}

struct conf_portgroup *conf_portgroup_read(const xmlNode *node, GError **error)
{
	struct conf_portgroup *group = g_new0(struct conf_portgroup, 1);
	group->name = xml_attribute(node, "name");
	group->says_trust = xmlHasProp(node, (const xmlChar *)"trustGuestRxFilters") != NULL;
	bool good = group->name && *group->name;
	if (!good)
		conf_element_error(error, BERTH_ERR_INVALID, node, "its name is missing");
	if (good && conf_yes_no(node, "default", &group->is_default, error) &&
	    conf_yes_no(node, "trustGuestRxFilters", &group->trusts_filters, error) &&
	    conf_vlan_read(node, &group->vlan, error) &&
	    conf_virtualport_read(node, &group->virtualport, error) &&
	    conf_bandwidth_read(node, &group->bandwidth, error))
		return group;
	conf_portgroup_free(group);
	return NULL;
}

void conf_portgroup_free(void *opaque)
{
	struct conf_portgroup *group = opaque;
	if (!group)
		return;
	conf_virtualport_clear(&group->virtualport);
	g_free(group->name);
	g_free(group);
}

static bool read_lists(struct conf_network *network, const xmlNode *root, GError **error)
{
	xml_for_each(node, root, "ip") {
		struct conf_network_ip *ip = conf_network_ip_read(node, error);
		if (!ip)
			return false;
		g_ptr_array_add(network->ips, ip);
	}
	xml_for_each(node, root, "route") {
		struct conf_network_route *route = conf_network_route_read(node, error);
		if (!route)
			return false;
		g_ptr_array_add(network->routes, route);
	}
	xml_for_each(node, root, "portgroup") {
		struct conf_portgroup *group = conf_portgroup_read(node, error);
		if (!group)
			return false;
		g_ptr_array_add(network->portgroups, group);
	}
	return true;
}

/* Lines for dnsmasq's configuration, as an element of a namespace of its own. */
static bool read_options(struct conf_network *network, const xmlNode *root, GError **error)
{
	const xmlNode *options = xml_child(root, "options");
	if (!options)
		return true;
	if (!options->ns || strcmp((const char *)options->ns->href, DNSMASQ_NAMESPACE) != 0)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, options,
					  "it is not of the namespace " DNSMASQ_NAMESPACE);
	xml_for_each(node, options, "option") {
		char *value = xml_attribute(node, "value");
		if (!value || !*value || strpbrk(value, "\r\n")) {
			g_free(value);
			return conf_element_error(error, BERTH_ERR_INVALID, node,
						  "its value must be one line");
		}
		g_ptr_array_add(network->dnsmasq_options, value);
	}
	return true;
}

static bool read_all(struct conf_network *network, const xmlNode *root, GError **error)
{
	const xmlNode *port = xml_child(root, "port"), *metadata = xml_child(root, "metadata");
	network->says_isolated = port && xmlHasProp(port, (const xmlChar *)"isolated");
	if (metadata) {
		network->metadata = xmlNewDoc(NULL);
		xmlDocSetRootElement(network->metadata,
				     xmlDocCopyNode((xmlNode *)metadata, network->metadata, 1));
	}
	return read_identity(network, root, error) && conf_network_forward_read(network, root, error) &&
	       (!metadata || conf_port_forwards_read(network, metadata, error)) &&
	       read_bridge(network, root, error) && read_domain(network, root, error) &&
	       conf_network_dns_read(network, root, error) && conf_vlan_read(root, &network->vlan, error) &&
	       conf_bandwidth_read(root, &network->bandwidth, error) &&
	       (!port || conf_yes_no(port, "isolated", &network->isolated, error)) &&
	       conf_virtualport_read(root, &network->virtualport, error) &&
	       read_lists(network, root, error) && read_options(network, root, error) &&
	       check_parts(network, error);
}

static struct conf_network *network_new(void)
{
	struct conf_network *network = g_new0(struct conf_network, 1);
	network->forward_interfaces = g_ptr_array_new_with_free_func(g_free);
	network->forward_pci = g_ptr_array_new_with_free_func(g_free);
	network->port_forwards = g_array_new(FALSE, FALSE, sizeof(struct conf_port_forward));
	network->forwarders = g_ptr_array_new_with_free_func(conf_dns_forwarder_free);
	network->txts = g_ptr_array_new_with_free_func(conf_dns_txt_free);
	network->srvs = g_ptr_array_new_with_free_func(conf_dns_srv_free);
	network->dns_hosts = g_ptr_array_new_with_free_func(conf_dns_host_free);
	network->ips = g_ptr_array_new_with_free_func(conf_network_ip_free);
	network->routes = g_ptr_array_new_with_free_func(conf_network_route_free);
	network->portgroups = g_ptr_array_new_with_free_func(conf_portgroup_free);
	network->dnsmasq_options = g_ptr_array_new_with_free_func(g_free);
	return network;
}

struct conf_network *conf_network_parse(const char *text, GError **error)
{
	g_autoptr(xmlDoc) doc = xml_parse(text, "network_definition", error);
	if (!doc)
		return NULL;
	const xmlNode *root = xmlDocGetRootElement(doc);
	auto_conf_network network = network_new();
	if (!xml_is(root, "network"))
		error_set(error, BERTH_ERR_INVALID, "expecting root element of 'network', not '%s'",
			  root->name);
	else if (conf_grammar_check(&grammar, root, error) && read_all(network, root, error))
		return g_steal_pointer(&network);
	return NULL;
}

/* --- Use -------------------------------------------------------------------------------------- */

const struct conf_portgroup *conf_network_portgroup(const struct conf_network *network, const char *name)
{
	for (unsigned i = 0; i < network->portgroups->len; i++) {
		const struct conf_portgroup *group = network->portgroups->pdata[i];
		if (name ? strcmp(group->name, name) == 0 : group->is_default)
			return group;
	}
	return NULL;
}

struct conf_network *conf_network_copy(const struct conf_network *network)
{
	g_autofree char *text = conf_network_format(network, 0);
	return conf_network_parse(text, NULL);
}

void conf_network_free(struct conf_network *network)
{
	if (!network)
		return;
	GPtrArray *const lists[] = {
		network->forward_interfaces, network->forward_pci, network->forwarders, network->txts,
		network->srvs, network->dns_hosts, network->ips, network->routes, network->portgroups,
		network->dnsmasq_options};
	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++)
		g_ptr_array_unref(lists[i]);
	g_array_unref(network->port_forwards);
	char *const texts[] = {network->name, network->forward_dev, network->forward_pf, network->bridge,
			       network->mac, network->domain};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	if (network->metadata)
		xmlFreeDoc(network->metadata);
	conf_virtualport_clear(&network->virtualport);
	g_free(network);
}

/* --- Writing ---------------------------------------------------------------------------------- */

static void write_bridge(struct xml_writer *w, const struct conf_network *network)
{
	char text[12];
	bool ours = conf_network_owns_bridge(network);
	g_snprintf(text, sizeof(text), "%u", network->delay_s);
	if (ours)
		xml_empty(w, "bridge", "name", network->bridge, "stp", network->stp ? "on" : "off", "delay",
			  text, "macTableManager", mac_tables[network->mac_table], NULL);
	else if (network->bridge)
		xml_empty(w, "bridge", "name", network->bridge, "macTableManager",
			  mac_tables[network->mac_table], NULL);
	g_snprintf(text, sizeof(text), "%u", network->mtu);
	if (network->mtu)
		xml_empty(w, "mtu", "size", text, NULL);
	if (network->mac)
		xml_empty(w, "mac", "address", network->mac, NULL);
	if (network->domain)
		xml_empty(w, "domain", "name", network->domain, "localOnly",
			  conf_said_yes_no(network->says_domain_local, network->domain_local), NULL);
}

static void write_portgroup(struct xml_writer *w, const struct conf_portgroup *group)
{
	xml_open(w, "portgroup", "name", group->name, "default", group->is_default ? "yes" : NULL,
		 "trustGuestRxFilters", conf_said_yes_no(group->says_trust, group->trusts_filters), NULL);
	conf_vlan_write(w, &group->vlan);
	conf_virtualport_write(w, &group->virtualport);
	conf_bandwidth_write(w, &group->bandwidth, 0);
	xml_close(w, "portgroup");
}

static void write_options(struct xml_writer *w, const struct conf_network *network)
{
	if (!network->dnsmasq_options->len)
		return;
	xml_open(w, "dnsmasq:options", "xmlns:dnsmasq", DNSMASQ_NAMESPACE, NULL);
	for (unsigned i = 0; i < network->dnsmasq_options->len; i++)
		xml_empty(w, "dnsmasq:option", "value", network->dnsmasq_options->pdata[i], NULL);
	xml_close(w, "dnsmasq:options");
}

char *conf_network_format(const struct conf_network *network, unsigned connections)
{
	struct xml_writer w = xml_writer_new();
	char uuid[37], count[12];
	conf_uuid_format(network->uuid, uuid);
	g_snprintf(count, sizeof(count), "%u", connections);
	xml_open(&w, "network", "connections", connections ? count : NULL, "ipv6",
		 network->ipv6 ? "yes" : NULL, "trustGuestRxFilters",
		 conf_said_yes_no(network->says_trust, network->trusts_filters), NULL);
	xml_leaf(&w, "name", network->name, NULL);
	xml_leaf(&w, "uuid", uuid, NULL);
	if (network->metadata)
		xml_tree(&w, xmlDocGetRootElement(network->metadata));
	conf_network_forward_write(&w, network);
	write_bridge(&w, network);
	conf_network_dns_write(&w, network);
	conf_vlan_write(&w, &network->vlan);
	conf_bandwidth_write(&w, &network->bandwidth, 0);
	if (network->says_isolated)
		xml_empty(&w, "port", "isolated", network->isolated ? "yes" : "no", NULL);
	for (unsigned i = 0; i < network->ips->len; i++)
		conf_network_ip_write(&w, network->ips->pdata[i]);
	for (unsigned i = 0; i < network->routes->len; i++)
		conf_network_route_write(&w, network->routes->pdata[i]);
	conf_virtualport_write(&w, &network->virtualport);
	for (unsigned i = 0; i < network->portgroups->len; i++)
		write_portgroup(&w, network->portgroups->pdata[i]);
	write_options(&w, network);
	xml_close(&w, "network");
	return xml_writer_take(&w);
}
