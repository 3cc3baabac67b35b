/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the columns mean: ovs-vswitchd.conf.db(5). */
#include "daemon/network/ovs.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/network/ovsdb.h"

#include <string.h>

static json_t *by_name(const char *name)
{
	return ovsdb_where("name", "==", json_string(name));
}

/* ovs-vswitchd looks at its configuration when this number grows. */
static json_t *next_configuration(void)
{
	return ovsdb_mutate("Open_vSwitch", json_array(), "next_cfg", "+=", json_integer(1));
}

static bool transact(const char *socket, json_t *operations, GError **error)
{
	json_array_append_new(operations, next_configuration());
	json_t *results = ovsdb_transact(socket, operations, error);
	json_decref(results);
	return results != NULL;
}

/* The rows of the result at `index` of a transaction of selects. */
static const json_t *rows_of(const json_t *results, size_t index)
{
	return json_object_get(json_array_get(results, index), "rows");
}

/* --- Ports ------------------------------------------------------------------------------------ */

static json_t *ids_of(const char *device, const char *owner)
{
	return ovsdb_map("ifname", device, "vm-id", owner, NULL);
}

/* Out of the bridge that has it, and out of the tables; `uuid` as the database writes it. */
static void add_removal(json_t *operations, const char *device, json_t *uuid)
{
	json_array_append_new(operations, ovsdb_mutate("Bridge",
						       ovsdb_where("ports", "includes", json_incref(uuid)),
						       "ports", "delete", json_incref(uuid)));
	json_array_append_new(operations, ovsdb_delete("Port", by_name(device)));
	json_array_append_new(operations, ovsdb_delete("Interface", by_name(device)));
}

/* An empty set means that a column says nothing. */
static void put_vlan(json_t *row, const struct conf_vlan *vlan)
{
	static const char *const modes[] = {NULL, "native-tagged", "native-untagged"};
	json_t *tag = NULL, *mode = NULL, *trunks = json_array();
	for (unsigned i = 0; i < vlan->count; i++) {
		const struct conf_vlan_tag *one = &vlan->tags[i];
		if (vlan->trunk)
			json_array_append_new(trunks, json_integer(one->id));
		if (!vlan->trunk || one->native)
			tag = json_integer(one->id);
		if (one->native)
			mode = json_string(modes[one->native]);
	}
	json_object_set_new(row, "tag", tag ? tag : ovsdb_empty());
	json_object_set_new(row, "vlan_mode", mode ? mode : ovsdb_empty());
	json_object_set_new(row, "trunks", json_pack("[s, o]", "set", trunks));
}

static json_t *interface_row(const struct ovs_port *port)
{
	json_t *ids = ovsdb_map("attached-mac", port->mac, "iface-id", port->interfaceid, "iface-status",
				"active", "ifname", port->device, "port-profile", port->profileid, "vm-id",
				port->owner, NULL);
	return json_pack("{s:s, s:o}", "name", port->device, "external_ids", ids);
}

static json_t *port_row(const struct ovs_port *port)
{
	json_t *row = json_pack("{s:s, s:o, s:o}", "name", port->device, "external_ids",
				ids_of(port->device, port->owner), "interfaces", ovsdb_named("interface"));
	put_vlan(row, port->vlan);
	return row;
}

bool ovs_plug(const char *socket, const struct ovs_port *port, GError **error)
{
	json_t *found = ovsdb_transact(
		socket, json_pack("[o, o]", ovsdb_select("Bridge", by_name(port->bridge), "name"),
				  ovsdb_select("Port", by_name(port->device), "name")), error);
	if (!found)
		return false;
	const json_t *old = json_array_get(rows_of(found, 1), 0);
	bool good = json_array_size(rows_of(found, 0)) ||
		    error_set(error, BERTH_ERR_NOT_FOUND,
			      "Open vSwitch has no bridge '%s': one is made by ovs-vsctl add-br %s",
			      port->bridge, port->bridge);
	json_t *operations = json_array();
	if (old)
		add_removal(operations, port->device, json_object_get(old, "_uuid"));
	json_decref(found);
	json_array_append_new(operations, ovsdb_insert("Interface", "interface", interface_row(port)));
	json_array_append_new(operations, ovsdb_insert("Port", "port", port_row(port)));
	json_array_append_new(operations, ovsdb_mutate("Bridge", by_name(port->bridge), "ports", "insert",
						       ovsdb_named("port")));
	if (good)
		return transact(socket, operations, error);
	json_decref(operations);
	return false;
}

bool ovs_is_plugged(const char *socket, const char *bridge, const char *device)
{
	json_t *found = ovsdb_transact(
		socket, json_pack("[o]", ovsdb_select("Port", by_name(device), "name")), NULL);
	json_t *uuid = json_object_get(json_array_get(rows_of(found, 0), 0), "_uuid");
	json_t *where = json_pack("[[s, s, s], [s, s, O]]", "name", "==", bridge, "ports", "includes", uuid);
	json_t *operations = where ? json_pack("[o]", ovsdb_select("Bridge", where, "name")) : NULL;
	json_t *bridges = operations ? ovsdb_transact(socket, operations, NULL) : NULL;
	bool plugged = json_array_size(rows_of(bridges, 0)) > 0;
	json_decref(found);
	json_decref(bridges);
	return plugged;
}

bool ovs_set_vlan(const char *socket, const char *device, const struct conf_vlan *vlan, GError **error)
{
	json_t *row = json_object();
	put_vlan(row, vlan);
	return transact(socket, json_pack("[o]", ovsdb_update("Port", by_name(device), row)), error);
}

/* --- Limits ----------------------------------------------------------------------------------- */

static json_t *queue_settings(const struct conf_rate *limit)
{
	char least[24], most[24], burst[24];
	/* Bits: libvirt's kilobytes of a rate have 1,000 bytes here, those of a burst 1,024. */
	g_snprintf(least, sizeof(least), "%" G_GUINT64_FORMAT, limit->average * 8000);
	g_snprintf(most, sizeof(most), "%" G_GUINT64_FORMAT, MAX(limit->peak, limit->average) * 8000);
	g_snprintf(burst, sizeof(burst), "%" G_GUINT64_FORMAT, limit->burst * 8192);
	return ovsdb_map("min-rate", least, "max-rate", most, "burst", limit->burst ? burst : NULL, NULL);
}

/* What the guest receives: a queue for all of it. */
static void add_queue(json_t *operations, const char *device, const char *owner, const struct conf_rate *limit)
{
	json_t *queue = json_pack("{s:o, s:o}", "external_ids", ids_of(device, owner), "other_config",
				  queue_settings(limit));
	json_t *qos = json_pack("{s:s, s:o, s:o, s:[s, [[i, o]]]}", "type", "linux-htb", "external_ids",
				ids_of(device, owner), "other_config", queue_settings(limit), "queues", "map",
				0, ovsdb_named("queue"));
	json_array_append_new(operations, ovsdb_insert("Queue", "queue", queue));
	json_array_append_new(operations, ovsdb_insert("QoS", "qos", qos));
	json_array_append_new(operations, ovsdb_update("Port", by_name(device),
						       json_pack("{s:o}", "qos", ovsdb_named("qos"))));
}

static void add_queue_removal(json_t *operations, const char *device, const char *owner)
{
	static const char *const tables[] = {"QoS", "Queue"};
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++)
		json_array_append_new(operations,
				      ovsdb_delete(tables[i], ovsdb_where("external_ids", "includes",
									  ids_of(device, owner))));
}

bool ovs_set_bandwidth(const char *socket, const char *device, const char *owner,
		       const struct conf_bandwidth *bandwidth, GError **error)
{
	json_t *operations = json_array();
	json_array_append_new(operations, ovsdb_update("Port", by_name(device),
						       json_pack("{s:o}", "qos", ovsdb_empty())));
	add_queue_removal(operations, device, owner);
	if (bandwidth->inbound.average)
		add_queue(operations, device, owner, &bandwidth->inbound);
	/* In kilobits; without a burst it is the switch's. */
	json_t *policing = json_pack("{s:I, s:I}", "ingress_policing_rate",
				     (json_int_t)bandwidth->outbound.average * 8, "ingress_policing_burst",
				     (json_int_t)bandwidth->outbound.burst * 8);
	json_array_append_new(operations, ovsdb_update("Interface", by_name(device), policing));
	return transact(socket, operations, error);
}

/* --- The end ---------------------------------------------------------------------------------- */

static void sweep(const char *socket, const char *owner, const char *const *keep, const json_t *rows)
{
	json_t *operations = json_array(), *row;
	g_autoptr(GError) error = NULL;
	size_t i;
	json_array_foreach(rows, i, row) {
		const char *device = json_string_value(json_object_get(row, "name"));
		json_t *uuid = json_object_get(row, "_uuid");
		if (!device || !uuid || g_strv_contains(keep, device))
			continue;
		add_removal(operations, device, uuid);
		add_queue_removal(operations, device, owner);
	}
	if (!json_array_size(operations))
		json_decref(operations);
	else if (!transact(socket, operations, &error))
		log_warning("a guest's ports stay in Open vSwitch: %s", error->message);
}

void ovs_sweep(const char *socket, const char *owner, const char *const *keep)
{
	g_autoptr(GError) error = NULL;
	if (!ovsdb_is_there(socket))
		return;
	json_t *mine = ovsdb_where("external_ids", "includes", ovsdb_map("vm-id", owner, NULL));
	json_t *found = ovsdb_transact(socket, json_pack("[o]", ovsdb_select("Port", mine, "name")), &error);
	if (found)
		sweep(socket, owner, keep, rows_of(found, 0));
	else
		log_warning("a guest's ports may stay in Open vSwitch: %s", error->message);
	json_decref(found);
}
