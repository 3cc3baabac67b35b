/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who moves an <interface>'s packets: <driver name= queues=>, <interface type='vhostuser'> with its socket.
 */
#include "conf/domain.h"

#include "base/error.h"
#include "conf/netdev.h"

#include <string.h>

#define QUEUES_MAX 16

static bool read_driver(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	const xmlNode *driver = xml_child(node, "driver");
	g_autofree char *name = conf_domain_child_attribute(node, "driver", "name");
	bool vhostuser = strcmp(nic->type, "vhostuser") == 0;
	uint64_t queues = 1;
	if (!CONF_DOMAIN_ONE_OF(node, "driver", name, error, "vhost", "qemu") ||
	    (driver && !conf_number(driver, "queues", 1, QUEUES_MAX, &queues, error)))
		return false;
	if (name)
		nic->driver = strcmp(name, "vhost") == 0 ? CONF_NIC_DRIVER_VHOST : CONF_NIC_DRIVER_VMM;
	nic->queues = queues;
	if (vhostuser && nic->driver == CONF_NIC_DRIVER_VMM)
		return conf_domain_error(error, BERTH_ERR_INVALID, driver,
					 "type='vhostuser' goes with name='vhost' only");
	if (strcmp(nic->type, "user") == 0 && (queues > 1 || nic->driver == CONF_NIC_DRIVER_VHOST))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, driver,
					 "vhost and several queues are not for type='user'");
	return queues == 1 || strcmp(nic->type, "direct") != 0 ||
	       conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, driver,
				 "Berth does not support several queues with type='direct'");
}

/* <reconnect enabled='yes' timeout='1'/>: a client's. */
static bool read_reconnect(struct conf_domain_nic *nic, const xmlNode *source, GError **error)
{
	const xmlNode *node = xml_child(source, "reconnect");
	bool enabled = false;
	uint64_t seconds = 0;
	if (!node)
		return true;
	if (!conf_yes_no(node, "enabled", &enabled, error) ||
	    !conf_number(node, "timeout", 1, 3600, &seconds, error))
		return false;
	if (nic->socket_listens)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "it is for mode='client'");
	if (enabled && !seconds)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its timeout is missing");
	nic->reconnect = enabled ? seconds : 0;
	return true;
}

bool conf_domain_check_no_tap(const struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	static const char *const none[] = {"target",	"mtu",	"filterref",  "bandwidth",
					   "vlan",	"port", "virtualport"};
	for (unsigned i = 0; i < G_N_ELEMENTS(none); i++) {
		if (xml_child(node, none[i]))
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
						 "Berth does not support <%s> with type='%s'", none[i], nic->type);
	}
	return true;
}

static bool read_vhostuser(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	const xmlNode *source = xml_child(node, "source");
	g_autofree char *type = source ? xml_attribute(source, "type") : NULL;
	g_autofree char *mode = source ? xml_attribute(source, "mode") : NULL;
	if (!conf_domain_check_no_tap(nic, node, error))
		return false;
	nic->socket = source ? xml_attribute(source, "path") : NULL;
	if (!nic->socket || !g_path_is_absolute(nic->socket))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<source type='unix' path=... mode=...> needs an absolute path");
	if (!mode)
		return conf_domain_error(error, BERTH_ERR_INVALID, source, "its mode is missing");
	nic->socket_listens = strcmp(mode, "server") == 0;
	return CONF_DOMAIN_ONE_OF(source, "type", type, error, "unix") &&
	       CONF_DOMAIN_ONE_OF(source, "mode", mode, error, "client", "server") &&
	       read_reconnect(nic, source, error);
}

/* Of another type: it has no socket. */
static bool check_other(const xmlNode *node, GError **error)
{
	const xmlNode *source = xml_child(node, "source");
	return !source || !(xmlHasProp(source, (const xmlChar *)"type") ||
			    xmlHasProp(source, (const xmlChar *)"path") || xml_child(source, "reconnect")) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, source,
				 "type, path and <reconnect> are for type='vhostuser'");
}

bool conf_domain_read_vhost(struct conf_domain_nic *nic, const xmlNode *node, GError **error)
{
	return read_driver(nic, node, error) &&
	       (strcmp(nic->type, "vhostuser") == 0 ? read_vhostuser(nic, node, error)
						    : check_other(node, error));
}
