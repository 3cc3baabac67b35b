/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <interface type='user'> by passt: <backend type='passt'/>, and what only passt does: <source dev>, <ip>,
 * <portForward>. It becomes passt's own arguments (passt(1)).
 */
#include "conf/domain.h"

#include "base/error.h"
#include "base/ip.h"
#include "conf/netdev.h"

#include <string.h>
#include <sys/socket.h>

static void add(GPtrArray *args, const char *option, char *value)
{
	g_ptr_array_add(args, g_strdup(option));
	g_ptr_array_add(args, value);
}

/* The guest's address: at most one of each family. */
static bool read_ip(GPtrArray *args, const xmlNode *node, unsigned *seen, GError **error)
{
	g_autofree char *family = xml_attribute(node, "family"), *text = xml_attribute(node, "address");
	struct ip_address address;
	uint64_t prefix = 0;
	if (!text || !ip_parse(text, &address))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "address='%s' is no IP address",
					 text ? text : "");
	bool six = address.family == AF_INET6;
	if (family && strcmp(family, six ? "ipv6" : "ipv4") != 0)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "family='%s' is not that of %s",
					 family, text);
	if (*seen & 1u << six)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "passt gives a guest one address of each family");
	*seen |= 1u << six;
	if (!conf_number(node, "prefix", 1, 32, &prefix, error))
		return false;
	if (six && prefix)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "passt takes no prefix for IPv6: leave it out");
	add(args, "--address", g_strdup(text));
	if (prefix)
		add(args, "--netmask", g_strdup_printf("%u", (unsigned)prefix));
	return true;
}

/* "2022:22", "4000-5000:10000-11000", "~4100-4110". */
static bool add_range(GString *list, const xmlNode *node, GError **error)
{
	uint64_t start = 0, end = 0, to = 0;
	bool exclude = false;
	if (!conf_number(node, "start", 1, 65535, &start, error) ||
	    !conf_number(node, "end", 1, 65535, &end, error) ||
	    !conf_number(node, "to", 1, 65535, &to, error) ||
	    !conf_yes_no(node, "exclude", &exclude, error))
		return false;
	if (!start)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its start is missing");
	if (end && end < start)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "it ends before it starts");
	if (to && exclude)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "ports that are left out go nowhere: to= is of no use");
	unsigned count = end ? end - start : 0;
	if (to + count > 65535)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "it goes to ports beyond 65535");
	g_string_append_printf(list, "%s%u", exclude ? "~" : "", (unsigned)start);
	if (end)
		g_string_append_printf(list, "-%u", (unsigned)end);
	if (to)
		g_string_append_printf(list, ":%u", (unsigned)to);
	if (to && end)
		g_string_append_printf(list, "-%u", (unsigned)to + count);
	return true;
}

/* "192.0.2.1%eth0/2022:22,~25"; without ranges: "all". */
static bool read_forward(GPtrArray *args, const xmlNode *node, GError **error)
{
	g_autofree char *proto = xml_attribute(node, "proto"), *text = xml_attribute(node, "address");
	g_autofree char *dev = xml_attribute(node, "dev");
	g_autoptr(GString) value = g_string_new(NULL);
	struct ip_address address;
	if (!proto || !CONF_DOMAIN_ONE_OF(node, "proto", proto, error, "tcp", "udp"))
		return proto || conf_domain_error(error, BERTH_ERR_INVALID, node, "its proto is missing");
	if (text && !ip_parse(text, &address))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "address='%s' is no IP address",
					 text);
	if (dev && !conf_is_device_name(dev))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "dev='%s' is no name of a network device: "
					 CONF_DEVICE_NAME_RULE, dev);
	if (text)
		g_string_append(value, text);
	if (dev)
		g_string_append_printf(value, "%%%s", dev);
	if (value->len)
		g_string_append_c(value, '/');
	size_t empty = value->len;
	xml_for_each(range, node, "range") {
		if (value->len > empty)
			g_string_append_c(value, ',');
		if (!add_range(value, range, error))
			return false;
	}
	if (value->len == empty)
		g_string_append(value, "all");
	add(args, strcmp(proto, "tcp") == 0 ? "--tcp-ports" : "--udp-ports",
	    g_string_free(g_steal_pointer(&value), FALSE));
	return true;
}

static bool read_all(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	g_autofree char *log = conf_domain_child_attribute(node, "backend", "logFile");
	g_autofree char *dev = conf_domain_child_attribute(node, "source", "dev");
	unsigned seen = 0;
	if (log && !g_path_is_absolute(log))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "logFile='%s' must be an absolute path", log);
	if (dev && !conf_is_device_name(dev))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<source dev='%s'> is no name of a network device: "
					 CONF_DEVICE_NAME_RULE, dev);
	if (log)
		add(nic->passt, "--log-file", g_strdup(log));
	if (dev)
		add(nic->passt, "--interface", g_strdup(dev));
	xml_for_each(ip, node, "ip") {
		if (!read_ip(nic->passt, ip, &seen, error))
			return false;
	}
	xml_for_each(forward, node, "portForward") {
		if (!read_forward(nic->passt, forward, error))
			return false;
	}
	return true;
}

bool conf_domain_read_passt(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	static const char *const only[] = {"ip", "portForward"};
	g_autofree char *backend = conf_domain_child_attribute(node, "backend", "type");
	bool user = strcmp(nic->type, "user") == 0;
	if (!CONF_DOMAIN_ONE_OF(node, "backend", backend, error, "default", "passt"))
		return false;
	if (g_strcmp0(backend, "passt") == 0 && user) {
		nic->passt = g_ptr_array_new_with_free_func(g_free);
		return read_all(nic, node, error);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(only); i++) {
		if (xml_child(node, only[i]))
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
						 "<%s> is for <interface type='user'> with <backend "
						 "type='passt'/>", only[i]);
	}
	return !backend || user ||
	       conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
				 "<backend type=...> is for <interface type='user'>");
}
