/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <interface type='client'>, 'server', 'mcast' and 'udp': cables between VMMs by sockets of the host's,
 * which need no rights. libvirt's words for what is missing.
 */
#include "conf/domain.h"

#include "base/error.h"
#include "conf/netdev.h"

#include <string.h>

static const struct cable {
	const char *type, *option;
	bool needs_address;
} cables[] = {
	{"client", "connect", true}, {"server", "listen", false}, {"mcast", "mcast", true}, {"udp", "udp", true},
};

/* "ADDRESS:PORT" of the element, into *place. */
static bool read_place(const xmlNode *node, const char *element, bool needs_address, char **place,
		       GError **error)
{
	g_autofree char *address = node ? xml_attribute(node, "address") : NULL;
	uint64_t port = 0;
	if (!address && needs_address)
		return error_set(error, BERTH_ERR_INVALID,
				 "No <%s> 'address' attribute specified with socket interface", element);
	if (!node || !xmlHasProp(node, (const xmlChar *)"port"))
		return error_set(error, BERTH_ERR_INVALID,
				 "No <%s> 'port' attribute specified with socket interface", element);
	if (!conf_number(node, "port", 1, UINT16_MAX, &port, error))
		return false;
	/* It is a part of an option, in which a comma would begin another. */
	if (address && (!*address || strpbrk(address, ",[] \t\n")))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "'%s' is no address", address);
	bool v6 = address && strchr(address, ':');
	*place = g_strdup_printf("%s%s%s:%u", v6 ? "[" : "", address ? address : "", v6 ? "]" : "",
				 (unsigned)port);
	return true;
}

static bool check_other(const xmlNode *source, GError **error)
{
	return !source || !(xmlHasProp(source, (const xmlChar *)"address") ||
			    xmlHasProp(source, (const xmlChar *)"port") || xml_child(source, "local")) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, source,
				 "address, port and <local> are for type='client', 'server', 'mcast' and "
				 "'udp'");
}

bool conf_domain_read_cable(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	const xmlNode *source = xml_child(node, "source"), *local = source ? xml_child(source, "local") : NULL;
	const struct cable *cable = NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(cables); i++) {
		if (strcmp(nic->type, cables[i].type) == 0)
			cable = &cables[i];
	}
	if (!cable)
		return check_other(source, error);
	nic->cable = cable->option;
	if (nic->queues > 1 || nic->driver == CONF_NIC_DRIVER_VHOST)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "vhost and several queues are not for type='%s'", nic->type);
	if (!conf_domain_check_no_tap(nic, node, error) ||
	    !read_place(source, "source", cable->needs_address, &nic->cable_to, error))
		return false;
	if (strcmp(nic->type, "udp") == 0)
		return read_place(local, "local", true, &nic->cable_from, error);
	return !local || conf_domain_error(error, BERTH_ERR_INVALID, local, "it is for type='udp'");
}
