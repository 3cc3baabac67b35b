/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/interface.h"

#include "base/error.h"
#include "conf/grammar.h"
#include "conf/network.h"

#include <string.h>
#include <sys/socket.h>

enum { MAX_DELAY_CS = 3000 };

static const char *const types[] = {"ethernet", "bridge", "vlan", "bond"};
static const char *const starts[] = {NULL, "onboot", "none", "hotplug"};

static const char *const rows[] = {
	"interface type name",
	"interface/start mode",
	"interface/mac address",
	"interface/mtu size",
	"interface/link speed state",
	"interface/protocol family",
	"interface/protocol/dhcp peerdns",
	"interface/protocol/autoconf",
	"interface/protocol/ip address prefix",
	"interface/protocol/route address prefix gateway metric",
	"interface/bridge stp delay",
	"interface/bridge/interface type name",
	"interface/bridge/interface/mac address",
	"interface/bridge/interface/link speed state",
	"interface/vlan tag",
	"interface/vlan/interface name",
	"interface/bond mode",
	"interface/bond/miimon freq updelay downdelay carrier",
	"interface/bond/arpmon interval target validate",
	"interface/bond/interface type name",
	"interface/bond/interface/mac address",
	"interface/bond/interface/link speed state",
};

/* --- Life ------------------------------------------------------------------------------------- */

static void port_free(void *opaque)
{
	struct conf_interface_port *port = opaque;
	g_free(port->name);
	g_free(port->mac);
	g_free(port);
}

struct conf_interface *conf_interface_new(const char *name)
{
	struct conf_interface *conf = g_new0(struct conf_interface, 1);
	conf->name = g_strdup(name);
	conf->addresses = g_array_new(FALSE, FALSE, sizeof(struct conf_interface_address));
	conf->routes = g_array_new(FALSE, FALSE, sizeof(struct conf_interface_route));
	conf->ports = g_ptr_array_new_with_free_func(port_free);
	return conf;
}

void conf_interface_free(void *opaque)
{
	struct conf_interface *conf = opaque;
	if (!conf)
		return;
	g_array_unref(conf->addresses);
	g_array_unref(conf->routes);
	g_ptr_array_unref(conf->ports);
	g_free(conf->lower);
	g_free(conf->mac);
	g_free(conf->name);
	g_free(conf);
}

void conf_interface_add_port(struct conf_interface *conf, const char *name, const char *mac)
{
	struct conf_interface_port *port = g_new0(struct conf_interface_port, 1);
	port->name = g_strdup(name);
	port->mac = g_strdup(mac);
	g_ptr_array_add(conf->ports, port);
}

struct conf_interface *conf_interface_copy(const struct conf_interface *conf)
{
	struct conf_interface *copy = g_memdup2(conf, sizeof(*conf));
	copy->name = g_strdup(conf->name);
	copy->mac = g_strdup(conf->mac);
	copy->lower = g_strdup(conf->lower);
	copy->addresses = g_array_copy(conf->addresses);
	copy->routes = g_array_copy(conf->routes);
	copy->ports = g_ptr_array_new_with_free_func(port_free);
	for (unsigned i = 0; i < conf->ports->len; i++) {
		const struct conf_interface_port *port = conf->ports->pdata[i];
		conf_interface_add_port(copy, port->name, port->mac);
	}
	return copy;
}

bool conf_interface_has_port(const struct conf_interface *conf, const char *name)
{
	for (unsigned i = 0; i < conf->ports->len; i++) {
		if (!strcmp(((const struct conf_interface_port *)conf->ports->pdata[i])->name, name))
			return true;
	}
	return false;
}

const char *conf_interface_type(const struct conf_interface *conf)
{
	return types[conf->type];
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* The index of `text` in the list, or -1. */
static int index_of(const char *const *list, unsigned count, const char *text)
{
	for (unsigned i = 0; i < count; i++) {
		if (list[i] && !g_strcmp0(list[i], text))
			return i;
	}
	return -1;
}

/* The name of <interface>; NULL with *error set. */
static char *read_name(const xmlNode *node, GError **error)
{
	g_autofree char *name = xml_attribute(node, "name");
	if (!name)
		conf_element_error(error, BERTH_ERR_INVALID, node, "its name is missing");
	else if (!conf_is_device_name(name))
		conf_element_error(error, BERTH_ERR_INVALID, node,
				   "'%s' is no name of a network device: " CONF_DEVICE_NAME_RULE, name);
	else
		return g_steal_pointer(&name);
	return NULL;
}

/* <mac> of `parent`, if there is one. */
static bool read_mac(const xmlNode *parent, char **mac, GError **error)
{
	const xmlNode *node = xml_child(parent, "mac");
	g_autofree char *text = node ? xml_attribute(node, "address") : NULL;
	char normal[MAC_TEXT_SIZE];
	uint8_t bytes[6];
	if (!node)
		return true;
	if (!text || !mac_parse(text, bytes))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "'%s' is no MAC address",
					  text ? text : "");
	*mac = g_strdup(mac_format(bytes, normal));
	return true;
}

static bool read_address(struct conf_interface *conf, const xmlNode *node, int family, GError **error)
{
	struct conf_interface_address address;
	uint64_t prefix = 0;
	if (!conf_ip_read(node, "address", family, &address.ip, error))
		return false;
	if (!ip_is_set(&address.ip) || ip_is_multicast(&address.ip))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its address is missing");
	if (!conf_number(node, "prefix", 1, ip_bits(&address.ip), &prefix, error))
		return false;
	/* One host is what an address without a network is. */
	address.prefix = prefix ? prefix : ip_bits(&address.ip);
	g_array_append_val(conf->addresses, address);
	return true;
}

static bool read_route(struct conf_interface *conf, const xmlNode *node, int family, GError **error)
{
	struct conf_interface_route route = {.to.family = family};
	struct ip_address to;
	uint64_t prefix = 0, metric = 0;
	if (!conf_ip_read(node, "gateway", family, &route.gateway, error) ||
	    !conf_ip_read(node, "address", family, &to, error) ||
	    !conf_number(node, "prefix", 0, ip_bits(&route.to), &prefix, error) ||
	    !conf_number(node, "metric", 1, UINT32_MAX, &metric, error))
		return false;
	if (!ip_is_set(&route.gateway))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its gateway is missing");
	if (ip_is_set(&to))
		route.to = ip_first(&to, prefix);
	else if (prefix)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "a prefix needs an address");
	route.prefix = prefix;
	route.metric = metric;
	g_array_append_val(conf->routes, route);
	return true;
}

static bool read_protocol(struct conf_interface *conf, const xmlNode *node, GError **error)
{
	g_autofree char *name = xml_attribute(node, "family");
	bool v6 = !g_strcmp0(name, "ipv6");
	int family = v6 ? AF_INET6 : AF_INET;
	bool *seen = v6 ? &conf->ipv6 : &conf->ipv4;
	if (!name)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its family is missing");
	if (!v6 && strcmp(name, "ipv4") != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "family='%s' must be 'ipv4' or 'ipv6'", name);
	if (*seen)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "the family %s is there twice", name);
	*seen = true;
	*(v6 ? &conf->dhcp6 : &conf->dhcp4) = xml_child(node, "dhcp") != NULL;
	conf->autoconf = conf->autoconf || (v6 && xml_child(node, "autoconf"));
	if (!v6 && xml_child(node, "autoconf"))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "<autoconf> is of IPv6 only");
	xml_for_each(ip, node, "ip") {
		if (!read_address(conf, ip, family, error))
			return false;
	}
	xml_for_each(route, node, "route") {
		if (!read_route(conf, route, family, error))
			return false;
	}
	return true;
}

/* Seconds, with a fraction; *value stays if it is absent. */
static bool read_delay(const xmlNode *node, unsigned *value, GError **error)
{
	g_autofree char *text = xml_attribute(node, "delay");
	char *end;
	double seconds = text ? g_ascii_strtod(text, &end) : 0;
	if (!text)
		return true;
	if (!g_ascii_isdigit(*text) || *end || !(seconds * 100 <= MAX_DELAY_CS))
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "delay='%s' must be a number of seconds from 0 to 30", text);
	*value = (unsigned)(seconds * 100 + 0.5);
	return true;
}

static bool read_port(struct conf_interface *conf, const xmlNode *node, GError **error)
{
	g_autofree char *type = xml_attribute(node, "type"), *mac = NULL;
	g_autofree char *name = read_name(node, error);
	if (!name || !read_mac(node, &mac, error))
		return false;
	if (g_strcmp0(type, "ethernet") != 0)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					  "type='%s': a port is a device that is there, of type ethernet",
					  type ? type : "");
	if (conf_interface_has_port(conf, name) || !strcmp(name, conf->name))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "'%s' is there twice", name);
	conf_interface_add_port(conf, name, mac);
	return true;
}

static bool read_vlan(struct conf_interface *conf, const xmlNode *root, GError **error)
{
	enum { MAX_TAG = 4094 };
	const xmlNode *node = xml_child(root, "vlan"), *lower = node ? xml_child(node, "interface") : NULL;
	uint64_t tag = 0;
	if (conf->type != CONF_INTERFACE_VLAN)
		return true;
	if (!node)
		return error_set(error, BERTH_ERR_INVALID, "vlan interface misses the vlan element");
	if (!conf_number(node, "tag", 1, MAX_TAG, &tag, error))
		return false;
	if (!tag)
		return error_set(error, BERTH_ERR_INVALID, "vlan interface misses the tag attribute");
	if (!lower)
		return error_set(error, BERTH_ERR_INVALID, "vlan interface misses name attribute");
	conf->tag = tag;
	conf->lower = read_name(lower, error);
	return conf->lower && (strcmp(conf->lower, conf->name) != 0 ||
			       conf_element_error(error, BERTH_ERR_INVALID, lower, "a VLAN cannot be its own"));
}

static bool read_bond(struct conf_interface *conf, const xmlNode *root, GError **error)
{
	const xmlNode *node = xml_child(root, "bond");
	if (conf->type != CONF_INTERFACE_BOND)
		return true;
	if (!node)
		return error_set(error, BERTH_ERR_INVALID, "bond interface misses the bond element");
	xml_for_each(port, node, "interface") {
		if (!read_port(conf, port, error))
			return false;
	}
	if (!conf->ports->len)
		return error_set(error, BERTH_ERR_INVALID, "bond has no interfaces");
	return conf_bond_read(&conf->bond, node, error);
}

static bool read_bridge(struct conf_interface *conf, const xmlNode *root, GError **error)
{
	const xmlNode *node = xml_child(root, "bridge");
	/* virsh leaves the old one in the document of an interface that it takes out of a bridge. */
	if (conf->type != CONF_INTERFACE_BRIDGE)
		return true;
	if (!node)
		return error_set(error, BERTH_ERR_INVALID, "bridge interface misses the bridge element");
	g_autofree char *stp = xml_attribute(node, "stp");
	conf->stp = !g_strcmp0(stp, "on");
	if (stp && !conf->stp && strcmp(stp, "off") != 0)
		return error_set(error, BERTH_ERR_INVALID, "bridge interface stp should be on or off got %s",
				 stp);
	xml_for_each(port, node, "interface") {
		if (!read_port(conf, port, error))
			return false;
	}
	return read_delay(node, &conf->delay_cs, error);
}

static bool read_start(struct conf_interface *conf, const xmlNode *root, GError **error)
{
	const xmlNode *node = xml_child(root, "start");
	g_autofree char *mode = node ? xml_attribute(node, "mode") : NULL;
	if (!node)
		return true;
	int found = index_of(starts, G_N_ELEMENTS(starts), mode);
	if (!mode)
		return error_set(error, BERTH_ERR_INVALID, "interface misses the start mode attribute");
	if (found < 0)
		return error_set(error, BERTH_ERR_INVALID, "unknown interface start mode '%s'", mode);
	if (found == CONF_START_HOTPLUG)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					  "mode='hotplug': write 'onboot' or 'none'");
	conf->start = found;
	return true;
}

static bool read_parts(struct conf_interface *conf, const xmlNode *root, GError **error)
{
	const xmlNode *mtu = xml_child(root, "mtu");
	uint64_t size = 0;
	if (!read_start(conf, root, error) || !read_mac(root, &conf->mac, error) ||
	    (mtu && !conf_number(mtu, "size", CONF_INTERFACE_MIN_MTU, CONF_INTERFACE_MAX_MTU, &size,
				 error)))
		return false;
	conf->mtu = size;
	xml_for_each(protocol, root, "protocol") {
		if (!read_protocol(conf, protocol, error))
			return false;
	}
	return read_bridge(conf, root, error) && read_vlan(conf, root, error) && read_bond(conf, root, error);
}

struct conf_interface *conf_interface_read(const xmlNode *root, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0, NULL, NULL};
	g_autofree char *type = xml_attribute(root, "type"), *name = NULL;
	int found = index_of(types, G_N_ELEMENTS(types), type);
	if (!type) {
		error_set(error, BERTH_ERR_INVALID, "interface misses the type attribute");
		return NULL;
	}
	if (!conf_grammar_check(&grammar, root, error))
		return NULL;
	if (found < 0) {
		error_set(error, BERTH_ERR_INVALID, "unknown interface type %s", type);
		return NULL;
	}
	if (!(name = read_name(root, error)))
		return NULL;
	auto_conf_interface conf = conf_interface_new(name);
	conf->type = found;
	return read_parts(conf, root, error) ? g_steal_pointer(&conf) : NULL;
}

struct conf_interface *conf_interface_parse(const char *text, GError **error)
{
	g_autoptr(xmlDoc) doc = xml_parse(text, "interface_definition", error);
	const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	if (!doc)
		return NULL;
	if (xml_is(root, "interface"))
		return conf_interface_read(root, error);
	error_set(error, BERTH_ERR_INVALID, "unexpected root element <%s>, expecting <interface>", root->name);
	return NULL;
}

/* --- Writing ---------------------------------------------------------------------------------- */

static void write_addresses(struct xml_writer *w, const struct conf_interface *conf, int family)
{
	char text[IP_TEXT_SIZE], gateway[IP_TEXT_SIZE];
	for (unsigned i = 0; i < conf->addresses->len; i++) {
		const struct conf_interface_address *address =
			&g_array_index(conf->addresses, struct conf_interface_address, i);
		g_autofree char *prefix = g_strdup_printf("%u", address->prefix);
		if (address->ip.family == family)
			xml_empty(w, "ip", "address", ip_format(&address->ip, text), "prefix", prefix, NULL);
	}
	for (unsigned i = 0; i < conf->routes->len; i++) {
		const struct conf_interface_route *route =
			&g_array_index(conf->routes, struct conf_interface_route, i);
		g_autofree char *prefix = g_strdup_printf("%u", route->prefix);
		g_autofree char *metric = route->metric ? g_strdup_printf("%u", route->metric) : NULL;
		if (route->to.family == family)
			xml_empty(w, "route", "address", route->prefix ? ip_format(&route->to, text) : NULL,
				  "prefix", route->prefix ? prefix : NULL, "gateway",
				  ip_format(&route->gateway, gateway), "metric", metric, NULL);
	}
}

static void write_protocol(struct xml_writer *w, const struct conf_interface *conf, int family)
{
	bool v6 = family == AF_INET6;
	if (!(v6 ? conf->ipv6 : conf->ipv4))
		return;
	xml_open(w, "protocol", "family", v6 ? "ipv6" : "ipv4", NULL);
	if (v6 && conf->autoconf)
		xml_empty(w, "autoconf", NULL);
	if (v6 ? conf->dhcp6 : conf->dhcp4)
		xml_empty(w, "dhcp", NULL);
	write_addresses(w, conf, family);
	xml_close(w, "protocol");
}

static void write_ports(struct xml_writer *w, const struct conf_interface *conf)
{
	for (unsigned i = 0; i < conf->ports->len; i++) {
		const struct conf_interface_port *port = conf->ports->pdata[i];
		if (!port->mac) {
			xml_empty(w, "interface", "type", "ethernet", "name", port->name, NULL);
			continue;
		}
		xml_open(w, "interface", "type", "ethernet", "name", port->name, NULL);
		xml_empty(w, "mac", "address", port->mac, NULL);
		xml_close(w, "interface");
	}
}

static void write_bridge(struct xml_writer *w, const struct conf_interface *conf)
{
	g_autofree char *delay = conf->delay_cs % 100
					 ? g_strdup_printf("%u.%02u", conf->delay_cs / 100, conf->delay_cs % 100)
					 : g_strdup_printf("%u", conf->delay_cs / 100);
	xml_open(w, "bridge", "stp", conf->stp ? "on" : "off", "delay", delay, NULL);
	write_ports(w, conf);
	xml_close(w, "bridge");
}

static void write_vlan(struct xml_writer *w, const struct conf_interface *conf)
{
	g_autofree char *tag = g_strdup_printf("%u", conf->tag);
	xml_open(w, "vlan", "tag", tag, NULL);
	xml_empty(w, "interface", "name", conf->lower, NULL);
	xml_close(w, "vlan");
}

static void write_bond(struct xml_writer *w, const struct conf_interface *conf)
{
	conf_bond_write(w, &conf->bond);
	write_ports(w, conf);
	xml_close(w, "bond");
}

void conf_interface_write(struct xml_writer *w, const struct conf_interface *conf)
{
	g_autofree char *mtu = g_strdup_printf("%u", conf->mtu);
	xml_open(w, "interface", "type", types[conf->type], "name", conf->name, NULL);
	if (conf->start)
		xml_empty(w, "start", "mode", starts[conf->start], NULL);
	if (conf->mtu)
		xml_empty(w, "mtu", "size", mtu, NULL);
	if (conf->mac)
		xml_empty(w, "mac", "address", conf->mac, NULL);
	write_protocol(w, conf, AF_INET);
	write_protocol(w, conf, AF_INET6);
	if (conf->type == CONF_INTERFACE_BRIDGE)
		write_bridge(w, conf);
	else if (conf->type == CONF_INTERFACE_VLAN)
		write_vlan(w, conf);
	else if (conf->type == CONF_INTERFACE_BOND)
		write_bond(w, conf);
	xml_close(w, "interface");
}

char *conf_interface_format(const struct conf_interface *conf)
{
	struct xml_writer w = xml_writer_new();
	conf_interface_write(&w, conf);
	return xml_writer_take(&w);
}
