/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain's document as libvirt would write it: with what a client left out because it goes without
 * saying, and in libvirt's order. Clients compare documents, and look things up in them.
 */
#include "conf/domain.h"

#include <string.h>

/* --- What goes without saying ------------------------------------------------------------------ */

static xmlNode *new_child(xmlNode *parent, const char *name)
{
	return xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

static void set(xmlNode *node, const char *name, const char *value)
{
	xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static void set_default(xmlNode *node, const char *name, const char *value)
{
	if (!xmlHasProp(node, (const xmlChar *)name))
		set(node, name, value);
}

/* Also a default; the order of attributes is libvirt's, too. */
static void set_before(xmlNode *node, const char *name, const char *value, const char *other)
{
	g_autofree char *others = xml_attribute(node, other);
	if (xmlHasProp(node, (const xmlChar *)name))
		return;
	xmlUnsetProp(node, (const xmlChar *)other);
	set(node, name, value);
	if (others)
		set(node, other, others);
}

static void add_actions(xmlNode *root)
{
	static const char *const actions[][2] = {
		{"on_poweroff", "destroy"}, {"on_reboot", "restart"}, {"on_crash", "destroy"}};
	for (unsigned i = 0; i < G_N_ELEMENTS(actions); i++) {
		if (!xml_child(root, actions[i][0]))
			xmlNewTextChild(root, NULL, (const xmlChar *)actions[i][0],
					(const xmlChar *)actions[i][1]);
	}
}

/* NULL: there is none but those of virtio. */
static xmlNode *serial_console(xmlNode *devices)
{
	xml_for_each(console, devices, "console") {
		g_autofree char *type = conf_domain_child_attribute(console, "target", "type");
		if (!type || strcmp(type, "serial") == 0)
			return console;
	}
	return NULL;
}

/* The same character device as another element. */
static xmlNode *copy_char(xmlNode *devices, const xmlNode *original, const char *name)
{
	static const char *const parts[] = {"source", "protocol", "log"};
	xmlNode *copy = new_child(devices, name);
	for (const xmlAttr *a = original->properties; a; a = a->next) {
		g_autofree char *value = xml_attribute(original, (const char *)a->name);
		set(copy, (const char *)a->name, value);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
		const xmlNode *part = xml_child(original, parts[i]);
		if (part)
			xmlAddChild(copy, xmlDocCopyNode((xmlNode *)part, devices->doc, 1));
	}
	return copy;
}

static xmlNode *need_target(xmlNode *node, const char *type, unsigned port)
{
	g_autofree char *number = g_strdup_printf("%u", port);
	xmlNode *target = xml_child(node, "target");
	if (!target)
		target = new_child(node, "target");
	set_before(target, "type", type, "port");
	set_default(target, "port", number);
	return target;
}

/* The first console and the first serial port are two views of one thing: each brings the other. */
static void complete_serial_ports(xmlNode *devices)
{
	xmlNode *console = serial_console(devices);
	unsigned port = 0;
	if (console && !xml_child(devices, "serial"))
		copy_char(devices, console, "serial");
	if (!xml_child(devices, "serial"))
		return;
	if (!console && !xml_child(devices, "console"))
		console = copy_char(devices, xml_child(devices, "serial"), "console");
	if (console)
		need_target(console, "serial", 0);
	xml_for_each(serial, devices, "serial") {
		xmlNode *target = need_target(serial, "isa-serial", port++);
		if (!xml_child(target, "model"))
			set(new_child(target, "model"), "name", "isa-serial");
	}
}

static bool has_device(xmlNode *devices, const char *name, const char *type)
{
	xml_for_each(node, devices, name) {
		g_autofree char *its_type = xml_attribute(node, "type");
		if (g_strcmp0(its_type, type) == 0)
			return true;
	}
	return false;
}

/* What is part of the board q35 as it is of QEMU's. */
static void add_board_devices(xmlNode *devices)
{
	static const char *const inputs[] = {"mouse", "keyboard"};
	for (unsigned i = 0; i < G_N_ELEMENTS(inputs); i++) {
		if (has_device(devices, "input", inputs[i]))
			continue;
		xmlNode *input = new_child(devices, "input");
		set(input, "type", inputs[i]);
		set(input, "bus", "ps2");
	}
	if (has_device(devices, "controller", "sata"))
		return;
	xmlNode *sata = new_child(devices, "controller");
	set(sata, "type", "sata");
	set(sata, "index", "0");
	xmlNode *address = new_child(sata, "address");
	set(address, "type", "pci");
	set(address, "domain", "0x0000");
	set(address, "bus", "0x00");
	set(address, "slot", "0x1f");
	set(address, "function", "0x2");
}

void conf_domain_add_defaults(const struct conf_domain *conf, xmlNode *root)
{
	xmlNode *devices = xml_child(root, "devices"), *vcpu = xml_child(root, "vcpu");
	if (vcpu)
		set_before(vcpu, "placement", "static", "current");
	if (!xml_child(root, "clock"))
		set(new_child(root, "clock"), "offset", "utc");
	add_actions(root);
	complete_serial_ports(devices);
	if (!conf_domain_is_microvm(conf))
		add_board_devices(devices);
}

/* --- Order ------------------------------------------------------------------------------------- */

/* Of the children of an element; "*" stands for those that the list has not. */
struct order {
	const char *parent; /* NULL: any other device */
	const char *const *children;
};
#define ORDER(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct order root_orders[] = {
	{"domain", ORDER("name", "uuid", "genid", "title", "description", "metadata", "maxMemory", "memory",
			 "currentMemory", "blkiotune", "memtune", "memoryBacking", "vcpu", "vcpus",
			 "iothreads", "iothreadids", "defaultiothread", "cputune", "numatune", "resource",
			 "sysinfo", "bootloader", "os", "features", "cpu", "clock", "on_poweroff", "on_reboot",
			 "on_crash", "on_lockfailure", "pm", "perf", "devices", "seclabel", "launchSecurity",
			 "*")},
	{"numatune", ORDER("memory", "memnode")},
	{"memoryBacking", ORDER("hugepages", "nosharepages", "locked", "source", "access", "allocation",
				"discard", "*")},
	{"os", ORDER("type", "firmware", "loader", "nvram", "kernel", "initrd", "cmdline", "dtb", "*", "boot",
		     "bootmenu", "bios", "smbios")},
	{"devices", ORDER("emulator", "disk", "controller", "filesystem", "interface", "serial", "console",
			  "channel", "input", "tpm", "graphics", "sound", "audio", "video", "hostdev",
			  "redirdev", "watchdog", "memballoon", "rng", "panic", "shmem", "memory", "iommu",
			  "vsock", "*")},
};
static const struct order device_orders[] = {
	{"disk", ORDER("driver", "auth", "source", "backingStore", "geometry", "blockio", "mirror", "target",
		       "iotune", "readonly", "shareable", "transient", "serial", "wwn", "vendor", "product",
		       "encryption", "*", "boot", "alias", "address")},
	{"interface", ORDER("mac", "source", "vlan", "virtualport", "bandwidth", "port", "ip", "route", "script",
			    "downscript", "target", "guest", "model", "driver", "backend", "filterref", "tune",
			    "link", "mtu", "coalesce", "*", "boot", "alias", "rom", "address")},
	{"filesystem", ORDER("driver", "binary", "source", "target", "readonly", "*", "alias", "address")},
	{"hostdev", ORDER("driver", "source", "*", "boot", "alias", "rom", "address")},
	{"serial", ORDER("source", "protocol", "log", "target", "*", "alias", "address")},
	{"console", ORDER("source", "protocol", "log", "target", "*", "alias", "address")},
	{"channel", ORDER("source", "protocol", "log", "target", "*", "alias", "address")},
	{NULL, ORDER("*", "boot", "alias", "rom", "address")},
};

static unsigned rank(const xmlNode *node, const char *const *order)
{
	unsigned others = 0;
	for (unsigned i = 0; order[i]; i++) {
		if (xml_is(node, order[i]))
			return i;
		if (strcmp(order[i], "*") == 0)
			others = i;
	}
	return others;
}

static bool is_sorted(xmlNode *parent, const char *const *order)
{
	unsigned last = 0;
	xml_for_each(node, parent, NULL) {
		unsigned its = rank(node, order);
		if (its < last)
			return false;
		last = its;
	}
	return true;
}

static void sort_children(xmlNode *parent, const char *const *order)
{
	/* All that we have written ourselves is. */
	if (is_sorted(parent, order))
		return;
	g_autoptr(GPtrArray) nodes = g_ptr_array_new();
	xml_for_each(node, parent, NULL)
		g_ptr_array_add(nodes, node);
	/* Insertion keeps those of one rank as they are; documents are short and nearly sorted. */
	for (unsigned i = 1; i < nodes->len; i++) {
		xmlNode *node = nodes->pdata[i];
		unsigned at = i;
		for (; at > 0 && rank(nodes->pdata[at - 1], order) > rank(node, order); at--)
			nodes->pdata[at] = nodes->pdata[at - 1];
		nodes->pdata[at] = node;
	}
	for (unsigned i = 0; i < nodes->len; i++) {
		xmlUnlinkNode(nodes->pdata[i]);
		xmlAddChild(parent, nodes->pdata[i]);
	}
}

/* By the order of the parent's name, or else by the last one if that is of any other. */
static void sort_by(xmlNode *parent, const struct order *orders, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (orders[i].parent && !xml_is(parent, orders[i].parent))
			continue;
		sort_children(parent, orders[i].children);
		return;
	}
}

void conf_domain_sort(xmlNode *root)
{
	xmlNode *devices = xml_child(root, "devices");
	sort_by(root, root_orders, G_N_ELEMENTS(root_orders));
	xml_for_each(part, root, NULL)
		sort_by(part, root_orders, G_N_ELEMENTS(root_orders));
	xml_for_each(device, devices, NULL)
		sort_by(device, device_orders, G_N_ELEMENTS(device_orders));
}
