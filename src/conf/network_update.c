/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of one part of a network: virNetworkUpdate(). */
#include "conf/network.h"

#include "base/error.h"

#include <string.h>
#include <sys/socket.h>

static bool refuse_command(enum conf_update command, const char *what, GError **error)
{
	static const char *const names[] = {"none", "modify", "delete", "add-last", "add-first"};
	return error_set(error, BERTH_ERR_NOT_SUPPORTED, "%s cannot be changed by '%s'", what,
			 command < G_N_ELEMENTS(names) ? names[command] : "?");
}

static bool adds(enum conf_update command)
{
	return command == CONF_UPDATE_ADD_FIRST || command == CONF_UPDATE_ADD_LAST;
}

/*
 * Add, replace or remove `item`, which is taken, in a list; `found` is where its like is, or -1. `what`
 * for errors.
 */
static bool change_list(GPtrArray *list, enum conf_update command, void *item, int found, const char *what,
			GError **error)
{
	bool good = true;
	if (adds(command) && found >= 0) {
		good = error_set(error, BERTH_ERR_BUSY, "there is an existing %s entry that matches", what);
	} else if (adds(command)) {
		g_ptr_array_insert(list, command == CONF_UPDATE_ADD_FIRST ? 0 : -1, item);
		return true;
	} else if (command != CONF_UPDATE_DELETE && command != CONF_UPDATE_MODIFY) {
		good = refuse_command(command, what, error);
	} else if (found < 0) {
		good = error_set(error, BERTH_ERR_NOT_FOUND, "couldn't locate a matching %s entry", what);
	}
	if (good) {
		g_ptr_array_remove_index(list, found);
		if (command == CONF_UPDATE_MODIFY) {
			g_ptr_array_insert(list, found, item);
			return true;
		}
	}
	/* Through the list, which knows how to free it. */
	g_ptr_array_add(list, item);
	g_ptr_array_remove_index(list, list->len - 1);
	return good;
}

/* --- DHCP ------------------------------------------------------------------------------------- */

/* The <ip> that is meant: of this index, or the first one with DHCP, or that the address fits. */
static struct conf_network_ip *find_ip(const struct conf_network *network, int index,
				       const struct ip_address *address, GError **error)
{
	if (index >= 0 && index < (int)network->ips->len)
		return network->ips->pdata[index];
	for (unsigned i = 0; index < 0 && i < network->ips->len; i++) {
		struct conf_network_ip *ip = network->ips->pdata[i];
		if (ip_is_set(address) ? ip_in_network(address, &ip->address, ip->prefix)
				       : ip->ranges->len || ip->hosts->len)
			return ip;
	}
	error_set(error, BERTH_ERR_NOT_FOUND,
		  "couldn't update dhcp entry: no <ip> element %s in network '%s'",
		  index < 0 ? "that fits it" : "of that index", network->name);
	return NULL;
}

static bool same_text(const char *a, const char *b)
{
	return a && b && g_ascii_strcasecmp(a, b) == 0;
}

/* An entry that stands for the same host; to delete, everything that is said must be so. */
static int find_host(const struct conf_network_ip *ip, const struct conf_dhcp_host *host,
		     enum conf_update command)
{
	for (unsigned i = 0; i < ip->hosts->len; i++) {
		const struct conf_dhcp_host *one = ip->hosts->pdata[i];
		bool same_ip = ip_is_set(&host->ip) && ip_equal(&one->ip, &host->ip);
		if (command == CONF_UPDATE_DELETE) {
			if ((!host->mac || same_text(one->mac, host->mac)) &&
			    (!host->id || same_text(one->id, host->id)) &&
			    (!host->name || same_text(one->name, host->name)) &&
			    (!ip_is_set(&host->ip) || same_ip))
				return i;
			continue;
		}
		bool same_one = same_text(one->mac, host->mac) || same_text(one->id, host->id) ||
				(!host->mac && !host->id && same_text(one->name, host->name));
		if (same_one || (adds(command) && (same_ip || same_text(one->name, host->name))))
			return i;
	}
	return -1;
}

static bool update_host(struct conf_network *network, enum conf_update command, int index,
			const xmlNode *node, GError **error)
{
	struct ip_address address;
	if (!conf_ip_read(node, "ip", 0, &address, error))
		return false;
	struct conf_network_ip *ip = find_ip(network, index, &address, error);
	struct conf_dhcp_host *host =
		ip ? conf_dhcp_host_read(ip, node, command == CONF_UPDATE_DELETE, error) : NULL;
	return host && change_list(ip->hosts, command, host, find_host(ip, host, command), "dhcp host", error);
}

static int find_range(const struct conf_network_ip *ip, const struct conf_dhcp_range *range)
{
	for (unsigned i = 0; i < ip->ranges->len; i++) {
		const struct conf_dhcp_range *one = &g_array_index(ip->ranges, struct conf_dhcp_range, i);
		if (ip_equal(&one->start, &range->start) && ip_equal(&one->end, &range->end))
			return i;
	}
	return -1;
}

static bool update_range(struct conf_network *network, enum conf_update command, int index,
			 const xmlNode *node, GError **error)
{
	struct ip_address address;
	struct conf_dhcp_range range;
	if (!conf_ip_read(node, "start", 0, &address, error))
		return false;
	struct conf_network_ip *ip = find_ip(network, index, &address, error);
	if (!ip || !conf_dhcp_range_read(ip, node, &range, error))
		return false;
	int found = find_range(ip, &range);
	if (command == CONF_UPDATE_DELETE && found >= 0)
		g_array_remove_index(ip->ranges, found);
	else if (command == CONF_UPDATE_DELETE)
		return error_set(error, BERTH_ERR_NOT_FOUND, "couldn't locate a matching dhcp range entry");
	else if (adds(command) && found >= 0)
		return error_set(error, BERTH_ERR_BUSY,
				 "there is an existing dhcp range entry that matches");
	else if (adds(command))
		g_array_insert_val(ip->ranges, command == CONF_UPDATE_ADD_FIRST ? 0 : ip->ranges->len, range);
	else
		return refuse_command(command, "dhcp ranges", error);
	return true;
}

/* --- DNS -------------------------------------------------------------------------------------- */

static bool shares_name(const struct conf_dns_host *a, const struct conf_dns_host *b)
{
	for (unsigned i = 0; i < a->names->len; i++) {
		for (unsigned n = 0; n < b->names->len; n++) {
			if (same_text(a->names->pdata[i], b->names->pdata[n]))
				return true;
		}
	}
	return false;
}

static bool update_dns_host(struct conf_network *network, enum conf_update command, const xmlNode *node,
			    GError **error)
{
	struct conf_dns_host *host = conf_dns_host_read(node, command == CONF_UPDATE_DELETE, error);
	int found = -1;
	for (unsigned i = 0; host && found < 0 && i < network->dns_hosts->len; i++) {
		const struct conf_dns_host *one = network->dns_hosts->pdata[i];
		if (ip_is_set(&host->ip) ? ip_equal(&one->ip, &host->ip) : shares_name(one, host))
			found = i;
	}
	return host && change_list(network->dns_hosts, command, host, found, "DNS HOST", error);
}

static bool update_txt(struct conf_network *network, enum conf_update command, const xmlNode *node,
		       GError **error)
{
	struct conf_dns_txt *txt = conf_dns_txt_read(node, command == CONF_UPDATE_DELETE, error);
	int found = -1;
	for (unsigned i = 0; txt && found < 0 && i < network->txts->len; i++) {
		if (same_text(((const struct conf_dns_txt *)network->txts->pdata[i])->name, txt->name))
			found = i;
	}
	return txt && change_list(network->txts, command, txt, found, "DNS TXT", error);
}

static bool fits(const char *one, const char *wanted)
{
	return !wanted || same_text(one, wanted);
}

static bool update_srv(struct conf_network *network, enum conf_update command, const xmlNode *node,
		       GError **error)
{
	struct conf_dns_srv *srv = conf_dns_srv_read(node, command == CONF_UPDATE_DELETE, error);
	int found = -1;
	for (unsigned i = 0; srv && found < 0 && i < network->srvs->len; i++) {
		const struct conf_dns_srv *one = network->srvs->pdata[i];
		if (same_text(one->service, srv->service) && fits(one->protocol, srv->protocol) &&
		    fits(one->domain, srv->domain) && fits(one->target, srv->target))
			found = i;
	}
	return srv && change_list(network->srvs, command, srv, found, "DNS SRV", error);
}

/* --- The rest --------------------------------------------------------------------------------- */

static bool update_interface(struct conf_network *network, enum conf_update command, const xmlNode *node,
			     GError **error)
{
	GPtrArray *list = network->forward_interfaces;
	g_autofree char *dev = xml_attribute(node, "dev");
	unsigned at = 0;
	if (!dev)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its dev is missing");
	if (command == CONF_UPDATE_MODIFY)
		return refuse_command(command, "interfaces of a pool", error);
	int found = g_ptr_array_find_with_equal_func(list, dev, g_str_equal, &at) ? (int)at : -1;
	if (!change_list(list, command, g_steal_pointer(&dev), found, "forward interface", error))
		return false;
	g_free(network->forward_dev);
	network->forward_dev = list->len ? g_strdup(list->pdata[0]) : NULL;
	return true;
}

static bool update_portgroup(struct conf_network *network, enum conf_update command, const xmlNode *node,
			     GError **error)
{
	struct conf_portgroup *group = conf_portgroup_read(node, error);
	int found = -1;
	for (unsigned i = 0; group && found < 0 && i < network->portgroups->len; i++) {
		if (same_text(((const struct conf_portgroup *)network->portgroups->pdata[i])->name, group->name))
			found = i;
	}
	return group && change_list(network->portgroups, command, group, found, "portgroup", error);
}

/* The element that was sent must be of the section, and have in it what it may have in a network. */
static bool check_element(enum conf_section section, const xmlNode *node, GError **error)
{
	static const struct {
		const char *name, *parent;
	} elements[] = {
		[CONF_SECTION_DHCP_HOST] = {"host", "network/ip/dhcp"},
		[CONF_SECTION_DHCP_RANGE] = {"range", "network/ip/dhcp"},
		[CONF_SECTION_FORWARD_INTERFACE] = {"interface", "network/forward"},
		[CONF_SECTION_PORTGROUP] = {"portgroup", "network"},
		[CONF_SECTION_DNS_HOST] = {"host", "network/dns"},
		[CONF_SECTION_DNS_TXT] = {"txt", "network/dns"},
		[CONF_SECTION_DNS_SRV] = {"srv", "network/dns"},
	};
	if (section >= G_N_ELEMENTS(elements) || !elements[section].name)
		return true;
	if (!xml_is(node, elements[section].name))
		return error_set(error, BERTH_ERR_INVALID, "unexpected element <%s>, expecting <%s>", node->name,
				 elements[section].name);
	return conf_network_check_part(node, elements[section].parent, error);
}

static bool apply(struct conf_network *network, enum conf_update command, enum conf_section section,
		  int index, const xmlNode *node, GError **error)
{
	switch (section) {
	case CONF_SECTION_DHCP_HOST:
		return update_host(network, command, index, node, error);
	case CONF_SECTION_DHCP_RANGE:
		return update_range(network, command, index, node, error);
	case CONF_SECTION_FORWARD_INTERFACE:
		return update_interface(network, command, node, error);
	case CONF_SECTION_PORTGROUP:
		return update_portgroup(network, command, node, error);
	case CONF_SECTION_DNS_HOST:
		return update_dns_host(network, command, node, error);
	case CONF_SECTION_DNS_TXT:
		return update_txt(network, command, node, error);
	case CONF_SECTION_DNS_SRV:
		return update_srv(network, command, node, error);
	case CONF_SECTION_BRIDGE:
	case CONF_SECTION_DOMAIN:
	case CONF_SECTION_IP:
	case CONF_SECTION_FORWARD:
	case CONF_SECTION_FORWARD_PF:
		break;
	}
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "can't update this section of network '%s': define the network anew",
			 network->name);
}

/* What a list does not know of its items, or of other parts, is known where a whole network is read. */
static bool check_whole(const struct conf_network *network, GError **error)
{
	g_autofree char *text = conf_network_format(network, 0);
	auto_conf_network whole = conf_network_parse(text, error);
	return whole != NULL;
}

bool conf_network_update(struct conf_network *network, enum conf_update command,
			 enum conf_section section, int index, const char *xml, GError **error)
{
	g_autoptr(xmlDoc) doc = xml_parse(xml, "network_update_xml", error);
	const xmlNode *node = doc ? xmlDocGetRootElement(doc) : NULL;
	return node && check_element(section, node, error) &&
	       apply(network, command, section, index, node, error) && check_whole(network, error);
}
