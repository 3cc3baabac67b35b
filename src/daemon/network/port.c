/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports: who is plugged into a network, and how. */
#include "daemon/network/network.h"

#include "base/error.h"
#include "base/ip.h"
#include "base/log.h"
#include "conf/domain.h"
#include "conf/vm.h"
#include "daemon/network/htb.h"
#include "daemon/network/pool.h"
#include "daemon/network/rate.h"

#include <string.h>

void network_plug_clear(struct network_plug *plug)
{
	g_free(plug->link);
	conf_virtualport_clear(&plug->virtualport);
	memset(plug, 0, sizeof(*plug));
}

static bool says_limits(const struct conf_bandwidth *bandwidth)
{
	return bandwidth && (bandwidth->has_inbound || bandwidth->has_outbound);
}

/* The interface goes before the portgroup, and that before the network, where they say something. */
static bool apply_settings(struct network_plug *plug, const struct conf_network *conf,
			   const struct conf_portgroup *group, const struct network_port_request *request,
			   GError **error)
{
	const struct conf_virtualport *levels[] = {
		request->virtualport, group ? &group->virtualport : NULL, &conf->virtualport};
	plug->vlan = request->vlan && request->vlan->count ? *request->vlan
		     : group && group->vlan.count	   ? group->vlan : conf->vlan;
	if (says_limits(request->bandwidth))
		plug->bandwidth = *request->bandwidth;
	else if (group)
		plug->bandwidth = group->bandwidth;
	for (unsigned i = 0; i < G_N_ELEMENTS(levels); i++) {
		if (levels[i] && !conf_virtualport_merge(&plug->virtualport, levels[i], error))
			return false;
	}
	return true;
}

static bool in_use(const struct network *network, const char *device)
{
	GHashTableIter iter;
	void *port;
	g_hash_table_iter_init(&iter, network->ports);
	while (g_hash_table_iter_next(&iter, NULL, &port)) {
		if (strcmp(((const struct network_port *)port)->plug.link, device) == 0)
			return true;
	}
	return false;
}

bool network_port_check_device(const struct network *network, const char *device, GError **error)
{
	g_autoptr(GPtrArray) devices = network_pool_devices(network->live);
	if (!g_ptr_array_find_with_equal_func(devices, device, g_str_equal, NULL))
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_INTERNAL,
				  "network '%s' doesn't have dev='%s' in use by domain", network->name, device);
	return network->live->forward < CONF_FORWARD_PASSTHROUGH || !in_use(network, device) ||
	       virt_error(error, VIRT_FROM_NETWORK, VIRT_INTERNAL,
			  "network '%s' claims dev='%s' is already in use by a different domain",
			  network->name, device);
}

/*
 * Of a pool; g_free(). Interfaces that guests share are given in turn; a device that is passed through is
 * one guest's.
 */
static char *choose_device(struct network *network, GError **error)
{
	g_autoptr(GPtrArray) devices = network_pool_devices(network->live);
	bool shared = network->live->forward < CONF_FORWARD_PASSTHROUGH;
	if (shared && devices->len)
		return g_strdup(devices->pdata[network->next_device++ % devices->len]);
	for (unsigned i = 0; !shared && i < devices->len; i++) {
		if (!in_use(network, devices->pdata[i]))
			return g_strdup(devices->pdata[i]);
	}
	virt_error(error, VIRT_FROM_NETWORK, VIRT_INTERNAL,
		   "network '%s' requires exclusive access to interfaces, but none are available",
		   network->name);
	return NULL;
}

static bool make_plug(struct network *network, const struct conf_portgroup *group,
		      const struct network_port_request *request, struct network_plug *plug, GError **error)
{
	const struct conf_network *conf = network->live;
	plug->kind = NETWORK_PLUG_BRIDGE;
	if (!conf->bridge) {
		plug->kind = conf->forward == CONF_FORWARD_HOSTDEV ? NETWORK_PLUG_HOSTDEV : NETWORK_PLUG_DIRECT;
		plug->mode = conf_forward_name(conf->forward);
		plug->managed = conf->managed;
		plug->vfio = conf->vfio;
	}
	plug->link = conf->bridge      ? g_strdup(conf->bridge)
		     : request->device ? g_strdup(request->device) : choose_device(network, error);
	if (!plug->link)
		return false;
	plug->own = conf_network_owns_bridge(conf);
	plug->mtu = conf->mtu;
	plug->manages_macs = conf->mac_table == CONF_MACS_LIBVIRT;
	plug->isolated = conf->isolated || request->isolated;
	return apply_settings(plug, conf, group, request, error);
}

static void choose_uuid(struct network_port *port, const struct network_port_request *request)
{
	static const uint8_t none[16];
	memcpy(port->uuid, request->uuid, sizeof(port->uuid));
	if (memcmp(port->uuid, none, sizeof(none)) == 0) {
		g_autofree char *text = g_uuid_string_random();
		conf_uuid_parse(text, port->uuid, NULL);
	}
	conf_uuid_format(port->uuid, port->uuid_text);
	/* Where nobody has named the port to the switch, its own UUID does, which outlives the daemon. */
	struct conf_virtualport *virtualport = &port->plug.virtualport;
	if (conf_virtualport_is_ovs(virtualport) && !virtualport->interfaceid)
		virtualport->interfaceid = g_strdup(port->uuid_text);
}

/* --- Shares of a network's bandwidth ---------------------------------------------------------- */

static bool has_class(const struct network *network, const char *except, unsigned class)
{
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, network->ports);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct network_port *port = value;
		if (port->class == class && strcmp(port->uuid_text, except) != 0)
			return true;
	}
	return false;
}

static uint64_t sum_floors(const struct network *network, const char *except)
{
	uint64_t sum = 0;
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, network->ports);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct network_port *port = value;
		if (strcmp(port->uuid_text, except) != 0)
			sum += port->plug.bandwidth.inbound.floor;
	}
	return sum;
}

/* More than the network has cannot be promised. A port that has a share keeps its class. */
static bool choose_share(const struct network *network, struct network_port *port, GError **error)
{
	const struct conf_rate *limit = &network->live->bandwidth.inbound;
	uint64_t floor = port->plug.bandwidth.inbound.floor;
	const struct network_port *old = g_hash_table_lookup(network->ports, port->uuid_text);
	char mac[MAC_TEXT_SIZE];
	mac_format(port->mac, mac);
	port->class = 0;
	if (!floor)
		return true;
	if (!limit->average)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_CONFIG_UNSUPPORTED,
				  "Invalid use of 'floor' on interface with MAC address %s - network '%s' has "
				  "no inbound QoS set", mac, network->name);
	if (sum_floors(network, port->uuid_text) + floor > MAX(limit->peak, limit->average))
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_INVALID,
				  "Cannot plug '%s' interface into '%s' because it would overcommit '%s' on "
				  "network '%s'", mac, port->plug.link, limit->peak ? "peak" : "average",
				  network->name);
	port->class = old ? old->class : 0;
	if (!port->class) {
		port->class = HTB_FIRST_SHARE;
		while (has_class(network, port->uuid_text, port->class))
			port->class++;
	}
	return true;
}

bool network_ports_share(struct network *network, GError **error)
{
	const struct conf_bandwidth *bandwidth = &network->live->bandwidth;
	g_autoptr(GArray) shares = g_array_new(FALSE, FALSE, sizeof(struct rate_share));
	GHashTableIter iter;
	void *value;
	if (!says_limits(bandwidth))
		return true;
	g_hash_table_iter_init(&iter, network->ports);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct network_port *port = value;
		struct rate_share share = {.class = port->class, .floor = port->plug.bandwidth.inbound.floor};
		memcpy(share.mac, port->mac, sizeof(share.mac));
		if (port->class)
			g_array_append_val(shares, share);
	}
	return rates_set_bridge(network->all->daemon, network->live->bridge, bandwidth, shares, error);
}

/* --- Opening and closing ---------------------------------------------------------------------- */

static void port_free(void *opaque)
{
	struct network_port *port = opaque;
	g_free(port->owner_name);
	g_free(port->group);
	network_plug_clear(&port->plug);
	g_free(port);
}

GHashTable *network_ports_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, NULL, port_free);
}

/* Into the table, instead of one of its UUID; it is taken. */
static bool put(struct network *network, struct network_port *port, GError **error)
{
	if (!choose_share(network, port, error)) {
		port_free(port);
		return false;
	}
	const struct network_port *old = g_hash_table_lookup(network->ports, port->uuid_text);
	bool shared = port->class || (old && old->class);
	g_hash_table_replace(network->ports, port->uuid_text, port);
	if (!shared || network_ports_share(network, error))
		return true;
	g_hash_table_remove(network->ports, port->uuid_text);
	return false;
}

struct network_port *network_port_open(struct networks *networks,
				       const struct network_port_request *request, GError **error)
{
	struct network *network = network_by_name(networks, request->network);
	if (!network) {
		virt_error(error, VIRT_FROM_NETWORK, VIRT_NO_NETWORK, "no network with matching name '%s'",
			   request->network);
		return NULL;
	}
	if (!network_check_active(network, error))
		return NULL;
	const struct conf_portgroup *group = conf_network_portgroup(network->live, request->group);
	if (request->group && !group) {
		virt_error(error, VIRT_FROM_NETWORK, VIRT_CONFIG_UNSUPPORTED,
			   "network '%s' has no portgroup '%s'", network->name, request->group);
		return NULL;
	}
	struct network_plug plug = {0};
	if (!make_plug(network, group, request, &plug, error)) {
		network_plug_clear(&plug);
		return NULL;
	}
	struct network_port *port = g_new0(struct network_port, 1);
	port->plug = plug;
	choose_uuid(port, request);
	port->owner_name = g_strdup(request->owner_name);
	memcpy(port->owner_uuid, request->owner_uuid, sizeof(port->owner_uuid));
	memcpy(port->mac, request->mac, sizeof(port->mac));
	port->group = g_strdup(request->group);
	return put(network, port, error) ? port : NULL;
}

void network_port_close(struct network *network, const char *uuid)
{
	const struct network_port *port = g_hash_table_lookup(network->ports, uuid);
	g_autoptr(GError) error = NULL;
	bool shared = port && port->class;
	g_hash_table_remove(network->ports, uuid);
	if (shared && !network_ports_share(network, &error))
		log_warning("network '%s': %s", network->name, error->message);
}

bool network_port_limit(struct network *network, struct network_port *port,
			const struct conf_bandwidth *bandwidth, GError **error)
{
	const struct conf_bandwidth old = port->plug.bandwidth;
	unsigned class = port->class;
	port->plug.bandwidth = *bandwidth;
	if (choose_share(network, port, error) &&
	    ((!class && !port->class) || network_ports_share(network, error)))
		return true;
	port->plug.bandwidth = old;
	port->class = class;
	return false;
}

struct keeping {
	const uint8_t *owner;
	const char *const *uuids;
};

static gboolean is_over(void *key, void *value, void *opaque)
{
	const struct network_port *port = value;
	const struct keeping *keeping = opaque;
	return !port->external && memcmp(port->owner_uuid, keeping->owner, sizeof(port->owner_uuid)) == 0 &&
	       !g_strv_contains(keeping->uuids, port->uuid_text);
}

void network_ports_keep(struct networks *networks, const uint8_t owner[16], const char *const *uuids)
{
	struct keeping keeping = {owner, uuids};
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, networks->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct network *network = value;
		g_autoptr(GError) error = NULL;
		if (g_hash_table_foreach_remove(network->ports, is_over, &keeping) && network->live &&
		    !network_ports_share(network, &error))
			log_warning("network '%s': %s", network->name, error->message);
	}
}
