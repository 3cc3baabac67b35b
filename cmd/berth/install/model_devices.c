/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of a new domain whose options mean more than an element. */
#include "model.h"

#include "base/error.h"

#include <string.h>

/* What is left of an option's keys goes where the tables say. */
static bool apply_rest(xmlNode *node, const struct element_key *table, const char *option,
		       const struct keyval *rest, GError **error)
{
	const struct element_key *const tables[] = {table, element_device_keys, NULL};
	for (unsigned k = 0; k < keyval_count(rest); k++) {
		if (!element_apply(node, tables, option, rest->keys->pdata[k], rest->values->pdata[k], error))
			return false;
	}
	return true;
}

/* --- Disks ------------------------------------------------------------------------------------ */

/* vda, vdb, ... sda, ... */
static char *target_name(const char *bus, unsigned *counts)
{
	bool virtio = strcmp(bus, "virtio") == 0;
	unsigned number = counts[virtio]++;
	return g_strdup_printf("%s%c", virtio ? "vd" : "sd", 'a' + number % 26);
}

static bool write_disk(xmlNode *devices, const struct install *i, const struct medium *m, bool empty,
		       unsigned *counts, GError **error)
{
	bool cdrom = strcmp(m->device, "cdrom") == 0;
	const char *bus = m->bus ? m->bus : cdrom || i->windows ? "sata" : "virtio";
	g_autofree char *target = target_name(bus, counts);
	bool block = m->path && g_str_has_prefix(m->path, "/dev/");
	xmlNode *disk = install_add(devices, "disk", "@type", block && !empty ? "block" : "file", "@device",
				    m->device, NULL);
	if (!empty && m->path) {
		element_set(disk, "driver/@name", "qemu");
		element_set(disk, "driver/@type", m->format);
		element_set(disk, block ? "source/@dev" : "source/@file", m->path);
	}
	element_set(disk, "target/@dev", target);
	element_set(disk, "target/@bus", bus);
	if (m->readonly)
		element_at(disk, "readonly");
	return !m->rest || apply_rest(disk, element_disk_keys, "disk", m->rest, error);
}

/* The drive of a first boot's medium stays, empty; the seed's does not. */
static bool write_disks(xmlNode *devices, const struct install *i, bool first, GError **error)
{
	unsigned counts[2] = {0};
	for (unsigned m = 0; m < i->media->len; m++) {
		const struct medium *medium = i->media->pdata[m];
		bool empty = !first && medium->first_boot;
		if (empty && g_strcmp0(medium->path, i->seed) == 0)
			continue;
		if (!write_disk(devices, i, medium, empty, counts, error))
			return false;
	}
	return true;
}

/* --- Networks --------------------------------------------------------------------------------- */

/* "bridge=br0,model=virtio" and its kin. */
static bool write_network(xmlNode *devices, const struct install *i, const char *text, GError **error)
{
	auto_keyval kv = keyval_parse(text, "type", error);
	if (!kv) {
		g_prefix_error(error, "--network: ");
		return false;
	}
	g_autofree char *type = keyval_take(kv, "type"), *bridge = keyval_take(kv, "bridge");
	g_autofree char *network = keyval_take(kv, "network"), *source = keyval_take(kv, "source");
	if (type && !strcmp(type, "default")) {
		network = g_strdup("default");
		g_clear_pointer(&type, g_free);
	}
	const char *kind = type ? type : bridge ? "bridge" : network ? "network" : "user";
	const char *from = bridge ? bridge : network ? network : source;
	xmlNode *card = install_add(devices, "interface", "@type", kind, NULL);
	const char *attribute = !strcmp(kind, "direct") ? "source/@dev" : !strcmp(kind, "bridge") ?
			"source/@bridge" : !strcmp(kind, "network") ? "source/@network" : "source/@path";
	if (from)
		element_set(card, attribute, from);
	element_set(card, "model/@type", i->windows ? "e1000e" : "virtio");
	return apply_rest(card, element_network_keys, "network", kv, error);
}

/* The network of that name if it runs; in a session, and where there is none, user-mode networking. */
static const char *usual_network(struct shell *sh)
{
	struct remote_network_lookup_by_name_ret found;
	struct remote_network_is_active_ret active = {0};
	bool runs = !strstr(client_uri(sh->client), "/session") &&
		    GET(sh, network_lookup_by_name, &found, (char *)"default") &&
		    GET(sh, network_is_active, &active, found.net) && active.active;
	shell_forget_error(sh);
	return runs ? "network=default" : "user";
}

static bool write_networks(struct shell *sh, xmlNode *devices, const struct install *i, GError **error)
{
	if (!i->networks)
		return write_network(devices, i, usual_network(sh), error);
	for (char **text = i->networks; *text; text++) {
		if (strcmp(*text, "none") != 0 && !write_network(devices, i, *text, error))
			return false;
	}
	return true;
}

/* --- Graphics, serial ports ------------------------------------------------------------------- */

static bool write_graphics(xmlNode *devices, const struct install *i, GError **error)
{
	auto_keyval kv = keyval_parse(i->graphics ? i->graphics : "none", "type", error);
	const char *type = kv ? keyval_get(kv, "type") : NULL;
	if (!kv || !type) {
		g_prefix_error(error, "--graphics: ");
		return kv ? error_set(error, BERTH_ERR_INVALID, "--graphics: the first word is none, vnc or spice")
			  : false;
	}
	if (!strcmp(type, "none"))
		return true;
	xmlNode *graphics = install_add(devices, "graphics", "@port", "-1", NULL);
	return apply_rest(graphics, element_graphics_keys, "graphics", kv, error);
}

bool model_write_devices(struct shell *sh, xmlNode *devices, const struct install *i, bool first,
			 GError **error)
{
	static const struct element_key *const tables[] = {element_char_keys, element_device_keys, NULL};
	static const struct element_option serial = {"serial", .path = "serial", .implied = "type",
						     .many = true, .keys = tables};
	if (!write_disks(devices, i, first, error) || !write_networks(sh, devices, i, error) ||
	    !write_graphics(devices, i, error))
		return false;
	for (char **text = i->serials; text && *text; text++) {
		if (!element_option_apply(devices, &serial, *text, error))
			return false;
	}
	return true;
}
