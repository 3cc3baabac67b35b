/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <forward> of a network's XML, and the ports of the host that lead to guests. */
#include "conf/network.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>
#include <sys/socket.h>

/* In the order of enum conf_forward. */
static const char *const modes[] = {
	NULL, "nat", "route", "open", "bridge", "private", "vepa", "passthrough",
	"hostdev",
};

const char *conf_forward_name(enum conf_forward forward)
{
	return modes[forward];
}

/* --- Host's interfaces ------------------------------------------------------------------------ */

static bool check_device(const xmlNode *node, const char *name, GError **error)
{
	return conf_is_device_name(name) ||
	       conf_element_error(error, BERTH_ERR_INVALID, node,
				  "'%s' is no name of an interface: " CONF_DEVICE_NAME_RULE, name);
}

static bool read_interfaces(struct conf_network *network, const xmlNode *node, GError **error)
{
	network->forward_dev = xml_attribute(node, "dev");
	if (network->forward_dev && !check_device(node, network->forward_dev, error))
		return false;
	xml_for_each(child, node, "interface") {
		char *dev = xml_attribute(child, "dev");
		if (!dev)
			return conf_element_error(error, BERTH_ERR_INVALID, child, "its dev is missing");
		g_ptr_array_add(network->forward_interfaces, dev);
		if (!check_device(child, dev, error))
			return false;
	}
	const char *first = network->forward_interfaces->len ? network->forward_interfaces->pdata[0] : NULL;
	if (first && network->forward_dev && strcmp(first, network->forward_dev) != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "dev='%s' is not the first <interface dev='%s'>",
					  network->forward_dev, first);
	if (first && !network->forward_dev)
		network->forward_dev = g_strdup(first);
	else if (!first && network->forward_dev)
		g_ptr_array_add(network->forward_interfaces, g_strdup(network->forward_dev));
	return true;
}

/* --- NAT -------------------------------------------------------------------------------------- */

static bool read_nat(struct conf_network *network, const xmlNode *nat, GError **error)
{
	const xmlNode *address = xml_child(nat, "address"), *port = xml_child(nat, "port");
	uint64_t first = 0, last = 0;
	network->says_nat_ipv6 = xmlHasProp(nat, (const xmlChar *)"ipv6") != NULL;
	if (!conf_yes_no(nat, "ipv6", &network->nat_ipv6, error))
		return false;
	if (address) {
		if (!conf_ip_read(address, "start", AF_INET, &network->nat_first, error) ||
		    !conf_ip_read(address, "end", AF_INET, &network->nat_last, error))
			return false;
		if (!ip_is_set(&network->nat_first))
			return conf_element_error(error, BERTH_ERR_INVALID, address, "its start is missing");
		if (!ip_is_set(&network->nat_last))
			network->nat_last = network->nat_first;
		if (ip_compare(&network->nat_first, &network->nat_last) > 0)
			return conf_element_error(error, BERTH_ERR_INVALID, address,
						  "its end is before its start");
	}
	if (!port)
		return true;
	if (!conf_number(port, "start", 1, 65535, &first, error) ||
	    !conf_number(port, "end", 1, 65535, &last, error))
		return false;
	if (!first || !last || first > last)
		return conf_element_error(error, BERTH_ERR_INVALID, port,
					  "it needs a start and an end that is not before it");
	network->nat_port_first = first;
	network->nat_port_last = last;
	return true;
}

/* --- <forward> -------------------------------------------------------------------------------- */

static bool read_mode(struct conf_network *network, const xmlNode *node, GError **error)
{
	g_autofree char *mode = xml_attribute(node, "mode");
	network->forward = CONF_FORWARD_NAT;
	if (!mode)
		return true;
	for (unsigned i = 1; i < G_N_ELEMENTS(modes); i++) {
		if (strcmp(modes[i], mode) == 0) {
			network->forward = i;
			return true;
		}
	}
	return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
				  "Berth does not support mode='%s': there are nat, route, open, bridge, "
				  "private, vepa, passthrough and hostdev", mode);
}

/* The functions of an SR-IOV device: all of a <pf>, or those that are listed. */
static bool read_functions(struct conf_network *network, const xmlNode *node, GError **error)
{
	bool hostdev = network->forward == CONF_FORWARD_HOSTDEV;
	xml_for_each(child, node, "pf") {
		if (network->forward_pf)
			return conf_element_error(error, BERTH_ERR_INVALID, child,
						  "Only one <pf> element is allowed in <forward> of network %s",
						  network->name);
		network->forward_pf = xml_attribute(child, "dev");
		if (!network->forward_pf)
			return conf_element_error(error, BERTH_ERR_INVALID, child, "its dev is missing");
		if (!check_device(child, network->forward_pf, error))
			return false;
	}
	xml_for_each(child, node, "address") {
		g_autofree char *type = xml_attribute(child, "type");
		char *address = conf_pci_address_read(child, error);
		if (!address)
			return false;
		g_ptr_array_add(network->forward_pci, address);
		if (g_strcmp0(type, "pci") != 0)
			return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, child,
						  "type='%s' must be 'pci'", type ? type : "");
	}
	if (network->forward_pf && network->forward_pci->len + network->forward_interfaces->len)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "<address>, <interface>, and <pf> elements in <forward> of network %s "
					  "are mutually exclusive", network->name);
	if (hostdev && network->forward_interfaces->len)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					  "hostdev network '%s' lists '%s' in the device pool, but hostdev networks "
					  "require all devices to be listed by PCI address, not network device name",
					  network->name, (const char *)network->forward_interfaces->pdata[0]);
	if (network->forward_pci->len && !hostdev)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "<address> is for mode='hostdev'");
	return !network->forward_pf || hostdev || network->forward == CONF_FORWARD_PASSTHROUGH ||
	       conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
				  "<pf> is for mode='hostdev' and mode='passthrough'");
}

/* How a guest gets a function. */
static bool read_driver(struct conf_network *network, const xmlNode *node, GError **error)
{
	const xmlNode *driver = xml_child(node, "driver");
	g_autofree char *name = driver ? xml_attribute(driver, "name") : NULL;
	network->vfio = name != NULL;
	bool says_managed = xmlHasProp(node, (const xmlChar *)"managed") != NULL;
	if (name && strcmp(name, "vfio") != 0)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, driver,
					  "Unknown forward <driver name='%s'/> in network %s: there is vfio", name,
					  network->name);
	if ((driver || says_managed) && network->forward != CONF_FORWARD_HOSTDEV)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					  "<driver> and managed are for mode='hostdev'");
	return conf_yes_no(node, "managed", &network->managed, error);
}

bool conf_network_forward_read(struct conf_network *network, const xmlNode *root, GError **error)
{
	const xmlNode *node = xml_child(root, "forward");
	const xmlNode *nat = node ? xml_child(node, "nat") : NULL;
	if (!node)
		return true;
	if (!read_mode(network, node, error) || !read_interfaces(network, node, error) ||
	    !read_functions(network, node, error) || !read_driver(network, node, error))
		return false;
	if (nat && network->forward != CONF_FORWARD_NAT)
		return conf_element_error(error, BERTH_ERR_INVALID, nat, "it is for mode='nat'");
	if (network->forward == CONF_FORWARD_OPEN && network->forward_dev)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "forward dev is not allowed with mode='open': nothing is filtered");
	if (network->forward < CONF_FORWARD_BRIDGE && network->forward_interfaces->len > 1)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "only one <interface> is possible with mode='%s'",
					  conf_forward_name(network->forward));
	return !nat || read_nat(network, nat, error);
}

static void write_nat(struct xml_writer *w, const struct conf_network *network)
{
	char first[IP_TEXT_SIZE], last[IP_TEXT_SIZE];
	const char *ipv6 = conf_said_yes_no(network->says_nat_ipv6, network->nat_ipv6);
	bool address = ip_is_set(&network->nat_first), port = network->nat_port_first;
	if (!address && !port) {
		if (ipv6)
			xml_empty(w, "nat", "ipv6", ipv6, NULL);
		return;
	}
	xml_open(w, "nat", "ipv6", ipv6, NULL);
	if (address)
		xml_empty(w, "address", "start", ip_format(&network->nat_first, first), "end",
			  ip_format(&network->nat_last, last), NULL);
	g_snprintf(first, sizeof(first), "%u", network->nat_port_first);
	g_snprintf(last, sizeof(last), "%u", network->nat_port_last);
	if (port)
		xml_empty(w, "port", "start", first, "end", last, NULL);
	xml_close(w, "nat");
}

void conf_network_forward_write(struct xml_writer *w, const struct conf_network *network)
{
	if (network->forward == CONF_FORWARD_NONE)
		return;
	const char *mode = conf_forward_name(network->forward);
	bool nat = ip_is_set(&network->nat_first) || network->nat_port_first || network->says_nat_ipv6;
	const char *managed = conf_said_yes_no(network->forward == CONF_FORWARD_HOSTDEV, network->managed);
	if (!nat && !network->forward_interfaces->len && !network->forward_pci->len && !network->forward_pf &&
	    !network->vfio) {
		xml_empty(w, "forward", "mode", mode, "managed", managed, NULL);
		return;
	}
	xml_open(w, "forward", "dev", network->forward_dev, "mode", mode, "managed", managed, NULL);
	if (network->vfio)
		xml_empty(w, "driver", "name", "vfio", NULL);
	write_nat(w, network);
	if (network->forward_pf)
		xml_empty(w, "pf", "dev", network->forward_pf, NULL);
	for (unsigned i = 0; i < network->forward_pci->len; i++)
		conf_pci_address_write(w, network->forward_pci->pdata[i], "pci");
	for (unsigned i = 0; i < network->forward_interfaces->len; i++)
		xml_empty(w, "interface", "dev", network->forward_interfaces->pdata[i], NULL);
	xml_close(w, "forward");
}

/* --- Ports of the host ------------------------------------------------------------------------ */

static bool read_port_forward(struct conf_network *network, const xmlNode *node, GError **error)
{
	struct conf_port_forward forward = {.count = 1};
	uint64_t port = 0, count = 1, to_port = 0;
	g_autofree char *protocol = xml_attribute(node, "protocol");
	if (protocol && strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "protocol='%s' must be 'tcp' or 'udp'", protocol);
	forward.udp = g_strcmp0(protocol, "udp") == 0;
	if (!conf_ip_read(node, "to", 0, &forward.to, error))
		return false;
	if (!ip_is_set(&forward.to))
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "the guest's address is missing: to='192.168.122.10'");
	if (!conf_ip_read(node, "address", forward.to.family, &forward.listen, error) ||
	    !conf_number(node, "port", 1, 65535, &port, error) ||
	    !conf_number(node, "count", 1, 65535, &count, error) ||
	    !conf_number(node, "to-port", 1, 65535, &to_port, error))
		return false;
	if (!port)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its port is missing");
	if (!to_port)
		to_port = port;
	if (port + count > 65536 || to_port + count > 65536)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "there are 65535 ports only");
	if (count > 1 && port != to_port)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					  "several ports go to those of the same numbers: leave out to-port");
	forward.port = port;
	forward.count = count;
	forward.to_port = to_port;
	g_array_append_val(network->port_forwards, forward);
	return true;
}

static bool is_ours(const xmlNode *node, const char *name)
{
	return xml_is(node, name) && node->ns &&
	       strcmp((const char *)node->ns->href, CONF_PORT_FORWARD_NAMESPACE) == 0;
}

bool conf_port_forwards_read(struct conf_network *network, const xmlNode *metadata, GError **error)
{
	xml_for_each(list, metadata, "forwards") {
		if (!is_ours(list, "forwards"))
			continue;
		xml_for_each(node, list, NULL) {
			if (!is_ours(node, "forward"))
				return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
							  "there are only <forward> in <forwards>");
			if (!read_port_forward(network, node, error))
				return false;
		}
	}
	return true;
}

bool conf_port_forwards_check(const struct conf_network *network, GError **error)
{
	char text[IP_TEXT_SIZE];
	for (unsigned i = 0; i < network->port_forwards->len; i++) {
		const struct ip_address *to =
			&g_array_index(network->port_forwards, struct conf_port_forward, i).to;
		bool inside = false;
		for (unsigned n = 0; n < network->ips->len; n++) {
			const struct conf_network_ip *ip = network->ips->pdata[n];
			inside |= ip_in_network(to, &ip->address, ip->prefix);
		}
		if (!inside)
			return error_set(error, BERTH_ERR_INVALID,
					 "network '%s': a port is forwarded to %s, which is not in the "
					 "network", network->name, ip_format(to, text));
	}
	if (network->port_forwards->len && network->forward != CONF_FORWARD_NAT)
		return error_set(error, BERTH_ERR_INVALID,
				 "network '%s': ports are forwarded with <forward mode='nat'/> only",
				 network->name);
	return true;
}
