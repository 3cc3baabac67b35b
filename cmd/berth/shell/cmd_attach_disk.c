/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks and media, from options. */
#include "table.h"

#include "device.h"
#include "shell.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* --- Addresses -------------------------------------------------------------------------------- */

bool device_address_is(const char *text, const char *const *kinds)
{
	const char *colon = strchr(text, ':');
	g_autofree char *kind = colon ? g_strndup(text, colon - text) : g_strdup("");
	return g_strv_contains(kinds, kind);
}

static bool is_kind(const char *text, const char *kind)
{
	return device_address_is(text, (const char *const[]){kind, NULL});
}

bool device_write_address(struct xml_writer *w, const char *text, bool multifunction)
{
	unsigned a, b, c, d;
	char last;
	g_autofree char *line = NULL;
	const char *rest = strchr(text, ':');
	if (!rest++)
		return false;
	if (is_kind(text, "pci") && sscanf(rest, "%x%*1[.:]%x%*1[.:]%x%*1[.:]%x%c", &a, &b, &c, &d, &last) == 4)
		line = g_strdup_printf("<address type='pci' domain='0x%04x' bus='0x%02x' slot='0x%02x' "
				       "function='0x%0x'%s/>\n", a, b, c, d,
				       multifunction ? " multifunction='on'" : "");
	else if (is_kind(text, "ccw") && sscanf(rest, "%x.%x.%x%c", &a, &b, &c, &last) == 3)
		line = g_strdup_printf("<address type='ccw' cssid='0x%02x' ssid='0x%01x' devno='0x%04x'/>\n",
				       a, b, c);
	else if (is_kind(text, "usb") && sscanf(rest, "%u.%u%c", &a, &b, &last) == 2)
		line = g_strdup_printf("<address type='usb' bus='%u' port='%u'/>\n", a, b);
	else if (device_address_is(text, (const char *const[]){"scsi", "ide", "sata", NULL}) &&
		 sscanf(rest, "%u.%u.%u%c", &a, &b, &c, &last) == 3)
		line = g_strdup_printf("<address type='drive' controller='%u' bus='%u' unit='%u'/>\n", a, b,
				       c);
	if (line)
		g_string_append_printf(w->text, "%*s%s", (int)w->depth * 2, "", line);
	return line != NULL;
}

/* A disk of this name can have only such addresses. */
static bool write_disk_address(struct shell *sh, struct xml_writer *w, const struct cmd *cmd,
			       const char *target)
{
	static const char *const any[] = {"pci", "scsi", "ide", "ccw", "usb", "sata", NULL};
	static const char *const virtio[] = {"pci", "ccw", NULL};
	static const char *const scsi[] = {"scsi", "usb", "sata", NULL};
	static const char *const ide[] = {"ide", NULL};
	const char *text = opt_text(cmd, "address");
	struct xml_writer trial = xml_writer_new();
	bool valid = device_address_is(text, any) && device_write_address(&trial, text, false);
	g_free(xml_writer_take(&trial));
	if (!valid)
		return shell_fail(sh, "Invalid address.");
	if (g_str_has_prefix(target, "vd") && !device_address_is(text, virtio))
		return shell_fail(sh, "expecting a pci:0000.00.00.00 or ccw:00.0.0000 address.");
	if (g_str_has_prefix(target, "sd") && !device_address_is(text, scsi))
		return shell_fail(sh, "expecting a scsi:00.00.00 or usb:00.00 or sata:00.00.00 address.");
	if (g_str_has_prefix(target, "hd") && !device_address_is(text, ide))
		return shell_fail(sh, "expecting an ide:00.00.00 address.");
	return device_write_address(w, text, opt_bool(cmd, "multifunction"));
}

/* --- attach-disk ------------------------------------------------------------------------------ */

static const char *source_type(struct shell *sh, const struct cmd *cmd, const char *source)
{
	static const char *const types[] = {"file", "block", "network", NULL};
	const char *type = opt_text(cmd, "sourcetype"), *protocol = opt_text(cmd, "source-protocol");
	struct stat st;
	if (type && !g_strv_contains(types, type)) {
		shell_fail(sh, "Unknown source type: '%s'", type);
		return NULL;
	}
	if (!type)
		type = protocol					      ? "network" :
		       stat(source, &st) == 0 && S_ISBLK(st.st_mode) ? "block" : "file";
	if ((strcmp(type, "network") == 0) != (protocol != NULL)) {
		shell_fail(sh, "--source-protocol option requires --sourcetype network");
		return NULL;
	}
	return type;
}

static void write_source(struct xml_writer *w, const struct cmd *cmd, const char *type, const char *source)
{
	const char *transport = opt_text(cmd, "source-host-transport");
	const char *socket = opt_text(cmd, "source-host-socket");
	const char *host = opt_text(cmd, "source-host-name");
	if (strcmp(type, "network") != 0) {
		xml_empty(w, "source", strcmp(type, "block") ? "file" : "dev", source, NULL);
		return;
	}
	g_auto(GStrv) parts = g_strsplit(host ? host : "", ":", 2);
	bool any = transport || socket || host;
	if (!any) {
		xml_empty(w, "source", "protocol", opt_text(cmd, "source-protocol"), "name", source, NULL);
		return;
	}
	xml_open(w, "source", "protocol", opt_text(cmd, "source-protocol"), "name", source, NULL);
	xml_empty(w, "host", "transport", transport, "socket", socket, "name", host ? parts[0] : NULL, "port",
		  host ? parts[1] : NULL, NULL);
	xml_close(w, "source");
}

static void write_driver(struct xml_writer *w, const struct cmd *cmd)
{
	const char *const words[] = {opt_text(cmd, "driver"), opt_text(cmd, "subdriver"),
				     opt_text(cmd, "iothread"), opt_text(cmd, "cache"),
				     opt_text(cmd, "io")};
	bool any = false;
	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++)
		any |= words[i] != NULL;
	if (any)
		xml_empty(w, "driver", "name", words[0], "type", words[1], "iothread", words[2], "cache",
			  words[3], "io", words[4], NULL);
}

static char *disk_xml(struct shell *sh, const struct cmd *cmd)
{
	const char *source, *target, *empty, *mode = opt_text(cmd, "mode");
	if (!opt_string(sh, cmd, "source", &source) || !opt_string(sh, cmd, "target", &target))
		return NULL;
	for (unsigned i = 0; i < cmd->given->len; i++) {
		const struct given_option *given = cmd->given->pdata[i];
		if (given->text && !opt_string(sh, cmd, given->def->name, &empty))
			return NULL;
	}
	const char *type = source_type(sh, cmd, source);
	if (!type)
		return NULL;
	if (mode && strcmp(mode, "readonly") && strcmp(mode, "shareable")) {
		shell_fail(sh, "No support for %s in command 'attach-disk'", mode);
		return NULL;
	}
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "disk", "type", type, "device", opt_text(cmd, "type"), "rawio",
		 opt_bool(cmd, "rawio") ? "yes" : NULL, NULL);
	write_driver(&w, cmd);
	write_source(&w, cmd, type, source);
	xml_empty(&w, "target", "dev", target, "bus", opt_text(cmd, "targetbus"), NULL);
	if (mode)
		xml_empty(&w, mode, NULL);
	if (opt_text(cmd, "serial"))
		xml_leaf(&w, "serial", opt_text(cmd, "serial"), NULL);
	if (opt_text(cmd, "alias"))
		xml_empty(&w, "alias", "name", opt_text(cmd, "alias"), NULL);
	if (opt_text(cmd, "wwn"))
		xml_leaf(&w, "wwn", opt_text(cmd, "wwn"), NULL);
	bool good = !opt_text(cmd, "address") || write_disk_address(sh, &w, cmd, target);
	xml_close(&w, "disk");
	g_autofree char *xml = xml_writer_take(&w);
	return good ? g_steal_pointer(&xml) : NULL;
}

bool cmd_attach_disk(struct shell *sh, const struct cmd *cmd)
{
	struct device_change change;
	if (!device_options(sh, cmd, &change) ||
	    !opt_require(sh, cmd, "source-host-name", "source-protocol") ||
	    !opt_require(sh, cmd, "source-host-transport", "source-protocol") ||
	    !opt_require(sh, cmd, "source-host-socket", "source-protocol") ||
	    !opt_require(sh, cmd, "source-host-socket", "source-host-transport") ||
	    !opt_exclusive(sh, cmd, "source-host-name", "source-host-socket"))
		return false;
	g_autofree char *xml = disk_xml(sh, cmd);
	if (xml && opt_bool(cmd, "print-xml"))
		shell_print("%s", xml);
	if (!xml || opt_bool(cmd, "print-xml"))
		return xml != NULL;
	if (!device_domain(sh, cmd, &change))
		return false;
	if (!device_attach(sh, &change, xml))
		return shell_fail(sh, "Failed to attach disk");
	shell_extra(sh, "Disk attached successfully\n");
	return true;
}

/* --- Disks that exist ------------------------------------------------------------------------- */

/* The disk with this source or target, without its chain of backing images. NULL after an error. */
static xmlNode *find_disk(struct shell *sh, xmlDoc *doc, const char *path, bool removable)
{
	g_autoptr(GPtrArray) disks = xpath_nodes(doc, NULL, "/domain/devices/disk");
	if (!disks || !disks->len) {
		shell_fail(sh, "Failed to get disk information");
		return NULL;
	}
	for (unsigned i = 0; i < disks->len; i++) {
		static const char *const places[] = {"./target/@dev", "./source/@file", "./source/@dev",
						     "./source/@dir", "./source/@name"};
		xmlNode *disk = disks->pdata[i];
		g_autofree char *device = xml_attribute(disk, "device");
		if (removable && device && strcmp(device, "cdrom") && strcmp(device, "floppy"))
			continue;
		for (unsigned p = 0; p < G_N_ELEMENTS(places); p++) {
			g_autofree char *text = xpath_text(doc, disk, places[p]);
			if (g_strcmp0(text, path))
				continue;
			xmlNode *backing = xml_child(disk, "backingStore");
			if (backing) {
				xmlUnlinkNode(backing);
				xmlFreeNode(backing);
			}
			return disk;
		}
	}
	shell_fail(sh, "No disk found whose source path or target is %s", path);
	return NULL;
}

bool cmd_detach_disk(struct shell *sh, const struct cmd *cmd)
{
	struct device_change change;
	const char *target;
	if (!device_options(sh, cmd, &change) || !shell_domain(sh, cmd, NULL, &change.dom) ||
	    !opt_string(sh, cmd, "target", &target))
		return false;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, change.dom,
						 change.flags == AFFECT_CONFIG ? XML_INACTIVE : 0);
	if (!doc || !device_domain(sh, cmd, &change))
		return false;
	xmlNode *disk = find_disk(sh, doc, target, false);
	if (!disk)
		return false;
	g_autofree char *xml = xml_node_text(doc, disk);
	if (opt_bool(cmd, "print-xml")) {
		shell_print("%s", xml);
		return true;
	}
	if (!device_detach(sh, &change, xml))
		return shell_fail(sh, "Failed to detach disk");
	shell_extra(sh, "Disk detached successfully\n");
	return true;
}

enum media_action { MEDIA_EJECT, MEDIA_INSERT, MEDIA_UPDATE };

static char *take_source(struct shell *sh, xmlNode *disk, const char *path, enum media_action action,
			 bool *good)
{
	xmlNode *source = xml_child(disk, "source");
	static const char *const attributes[] = {"file", "dev", "dir", "pool", "name"};
	bool media = false;
	for (unsigned i = 0; source && i < G_N_ELEMENTS(attributes); i++)
		media |= xmlHasProp(source, (const xmlChar *)attributes[i]) != NULL;
	*good = true;
	if (action == MEDIA_EJECT && !source)
		*good = shell_fail(sh, "The disk device '%s' doesn't have media", path);
	else if (action == MEDIA_INSERT && media)
		*good = shell_fail(sh, "The disk device '%s' already has media", path);
	if (!*good || !source)
		return NULL;
	char *policy = xml_attribute(source, "startupPolicy");
	xmlUnlinkNode(source);
	xmlFreeNode(source);
	return policy;
}

static char *media_xml(struct shell *sh, xmlDoc *doc, xmlNode *disk, const char *path, const char *source,
		       bool block, enum media_action action)
{
	g_autofree char *device = xml_attribute(disk, "device");
	bool good;
	if (g_strcmp0(device, "cdrom") && g_strcmp0(device, "floppy")) {
		shell_fail(sh, "The disk device '%s' is not removable", path);
		return NULL;
	}
	if (action != MEDIA_EJECT && !source) {
		shell_fail(sh, "New disk media source was not specified");
		return NULL;
	}
	g_autofree char *policy = take_source(sh, disk, path, action, &good);
	if (!good)
		return NULL;
	if (action == MEDIA_EJECT) {
		block = false;
		source = NULL;
	}
	xmlSetProp(disk, (const xmlChar *)"type", (const xmlChar *)(block ? "block" : "file"));
	xmlNode *target = xml_child(disk, "target");
	if (source && target) {
		xmlNode *node = xmlNewNode(NULL, (const xmlChar *)"source");
		xmlSetProp(node, (const xmlChar *)(block ? "dev" : "file"), (const xmlChar *)source);
		if (policy)
			xmlSetProp(node, (const xmlChar *)"startupPolicy", (const xmlChar *)policy);
		xmlNode *blank = target->prev && target->prev->type == XML_TEXT_NODE ?
					 xmlCopyNode(target->prev, 0) : NULL;
		xmlAddPrevSibling(target, node);
		if (blank)
			xmlAddPrevSibling(target, blank);
	}
	return xml_node_text(doc, disk);
}

bool cmd_change_media(struct shell *sh, const struct cmd *cmd)
{
	static const char *const verbs[] = {"eject", "insert", "update"};
	static const char *const done[] = {"ejected", "inserted", "updated"};
	struct remote_domain dom;
	const char *source, *path;
	uint32_t flags = 0;
	if (!opt_exclusive(sh, cmd, "eject", "insert") || !opt_exclusive(sh, cmd, "eject", "update") ||
	    !opt_exclusive(sh, cmd, "insert", "update") || !opt_exclusive(sh, cmd, "eject", "block") ||
	    !opt_string(sh, cmd, "source", &source))
		return false;
	bool eject = opt_bool(cmd, "eject") || (opt_bool(cmd, "update") && !source);
	enum media_action action = eject ? MEDIA_EJECT : opt_bool(cmd, "insert") ? MEDIA_INSERT : MEDIA_UPDATE;
	if (!opt_affect(sh, cmd, &flags, NULL) || !shell_domain(sh, cmd, NULL, &dom) ||
	    !opt_string(sh, cmd, "path", &path))
		return false;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, flags & AFFECT_CONFIG ? XML_INACTIVE : 0);
	xmlNode *disk = doc ? find_disk(sh, doc, path, true) : NULL;
	g_autofree char *xml = disk ? media_xml(sh, doc, disk, path, source, opt_bool(cmd, "block"), action) :
				      NULL;
	if (!xml)
		return false;
	if (opt_bool(cmd, "print-xml")) {
		shell_print("%s", xml);
		return true;
	}
	if (opt_bool(cmd, "force"))
		flags |= MODIFY_FORCE;
	if (!CALL(sh, domain_update_device_flags, dom, xml, flags))
		return shell_fail(sh, "Failed to complete action %s on media", verbs[action]);
	shell_print("Successfully %s media.", done[action]);
	return true;
}
