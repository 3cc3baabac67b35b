/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The XML of a new domain: what virt-install would make of the same options for a system that knows
 * virtio (or, for Windows, of which it is known that it does not).
 */
#include "install.h"

#include "model.h"

#include "base/error.h"

#include <inttypes.h>
#include <string.h>

enum { ROOT_PORTS = 14 }; /* as many devices can be plugged in while the domain runs */

static bool is_given(const struct install *i, const char *option)
{
	for (unsigned o = 0; element_options[o].name; o++) {
		if (!strcmp(element_options[o].name, option))
			return i->elements[o] != NULL;
	}
	g_assert_not_reached();
}

xmlNode *install_add(xmlNode *devices, const char *name, ...)
{
	xmlNode *node = xmlNewChild(devices, NULL, BAD_CAST name, NULL);
	va_list args;
	va_start(args, name);
	for (const char *path; (path = va_arg(args, const char *));) {
		const char *value = va_arg(args, const char *);
		if (value)
			element_set(node, path, value);
	}
	va_end(args);
	return node;
}

/* --- System ----------------------------------------------------------------------------------- */

/* A disk if there is one; of a domain that has nothing but a CD-ROM drive that. */
static const char *usual_boot_device(const struct install *i)
{
	bool cdrom = false;
	for (unsigned m = 0; m < i->media->len; m++) {
		const struct medium *medium = i->media->pdata[m];
		if (!strcmp(medium->device, "disk"))
			return "hd";
		cdrom |= !strcmp(medium->device, "cdrom");
	}
	return cdrom ? "cdrom" : "hd";
}

static void write_boot_devices(xmlNode *os, const struct install *i, bool first)
{
	static const char *const devices[] = {"hd", "cdrom", "network", "fd", NULL};
	const struct keyval *boot = i->boot_keys;
	const char *medium = !first ? NULL : i->cdrom ? "cdrom" : i->pxe ? "network" : NULL;
	const char *usual = usual_boot_device(i);
	bool any = (i->pxe && first) || keyval_get(boot, "kernel");
	if (medium)
		install_add(os, "boot", "@dev", medium, NULL);
	for (unsigned k = 0; k < keyval_count(boot); k++) {
		const char *key = boot->keys->pdata[k];
		bool device = g_strv_contains(devices, key);
		if (device && g_strcmp0(medium, key) != 0)
			install_add(os, "boot", "@dev", key, NULL);
		any |= device || (g_str_has_prefix(key, "boot") && g_str_has_suffix(key, ".dev"));
	}
	if (!any && g_strcmp0(medium, usual) != 0)
		install_add(os, "boot", "@dev", usual, NULL);
}

static bool write_os(xmlNode *domain, const struct install *i, bool first, GError **error)
{
	static const char *const devices[] = {"hd", "cdrom", "network", "fd", "uefi", NULL};
	static const struct element_key *const tables[] = {element_boot_keys, NULL};
	const struct keyval *boot = i->boot_keys;
	xmlNode *os = element_at(domain, "os");
	element_set(os, "type", "hvm");
	element_set(os, "type/@arch", "x86_64");
	element_set(os, "type/@machine", i->machine ? i->machine : "q35");
	if (i->uefi)
		element_set(os, "@firmware", "efi");
	for (unsigned k = 0; k < keyval_count(boot); k++) {
		const char *key = boot->keys->pdata[k];
		if (!g_strv_contains(devices, key) &&
		    !element_apply(domain, tables, "boot", key, boot->values->pdata[k], error))
			return false;
	}
	if (first && i->kernel) {
		element_set(os, "kernel", i->kernel);
		element_set(os, "initrd", i->initrd);
		if (i->extra_args)
			element_set(os, "cmdline", i->extra_args);
	}
	write_boot_devices(os, i, first);
	return true;
}

static void write_machine(xmlNode *domain, const struct install *i)
{
	element_at(domain, "features/acpi");
	element_at(domain, "features/apic");
	if (i->graphics && g_str_has_prefix(i->graphics, "spice"))
		element_set(domain, "features/vmport/@state", "off");
	element_set(domain, "clock/@offset", i->windows ? "localtime" : "utc");
	element_set(domain, "pm/suspend-to-mem/@enabled", "no");
	element_set(domain, "pm/suspend-to-disk/@enabled", "no");
}

/* Ticks that a guest lost come again by the RTC only, unless somebody chose timers. */
static void write_timers(xmlNode *domain)
{
	xmlNode *clock = element_at(domain, "clock");
	if (xml_child(clock, "timer"))
		return;
	element_set(clock, "timer{rtc}/@tickpolicy", "catchup");
	element_set(clock, "timer{pit}/@tickpolicy", "delay");
	element_set(clock, "timer{hpet}/@present", "no");
}

/* --- Devices that nobody asked for ------------------------------------------------------------ */

static bool has_controller(xmlNode *devices, const char *type)
{
	xml_for_each(controller, devices, "controller") {
		g_autofree char *given = xml_attribute(controller, "type");
		if (given && !strcmp(given, type))
			return true;
	}
	return false;
}

static void add_controllers(xmlNode *devices, const struct install *i)
{
	bool microvm = i->machine && !strcmp(i->machine, "microvm");
	if (microvm)
		return;
	if (!has_controller(devices, "usb"))
		install_add(devices, "controller", "@type", "usb", "@model", "qemu-xhci", "@ports", "15", NULL);
	if (has_controller(devices, "pci"))
		return;
	install_add(devices, "controller", "@type", "pci", "@model", "pcie-root", NULL);
	for (unsigned port = 0; port < ROOT_PORTS; port++)
		install_add(devices, "controller", "@type", "pci", "@model", "pcie-root-port", NULL);
}

/* Nobody but the VMM listens on a channel's socket. */
static void complete_channels(xmlNode *devices)
{
	xml_for_each(channel, devices, "channel") {
		g_autofree char *type = xml_attribute(channel, "type");
		xmlNode *source = type && !strcmp(type, "unix") ? element_at(channel, "source") : NULL;
		g_autofree char *mode = source ? xml_attribute(source, "mode") : NULL;
		if (source && !mode)
			element_set(source, "@mode", "bind");
	}
}

static void add_defaults(xmlNode *devices, const struct install *i)
{
	bool display = xml_child(devices, "graphics") != NULL;
	complete_channels(devices);
	add_controllers(devices, i);
	if (!i->serials && !is_given(i, "console"))
		install_add(devices, "console", "@type", "pty", NULL);
	if (!i->windows && !is_given(i, "channel"))
		install_add(devices, "channel", "@type", "unix", "source/@mode", "bind", "target/@type",
			    "virtio", "target/@name", "org.qemu.guest_agent.0", NULL);
	if (display && !is_given(i, "input"))
		install_add(devices, "input", "@type", "tablet", "@bus", "usb", NULL);
	if (display && !is_given(i, "video"))
		install_add(devices, "video", "model/@type", i->windows ? "vga" : "virtio", NULL);
	if (!i->windows && !is_given(i, "memballoon"))
		install_add(devices, "memballoon", "@model", "virtio", NULL);
	if (!i->windows && !is_given(i, "rng"))
		install_add(devices, "rng", "@model", "virtio", "backend", "/dev/urandom", "backend/@model",
			    "random", NULL);
}

/* --- The whole -------------------------------------------------------------------------------- */

static bool apply_options(xmlNode *domain, const struct install *i, GError **error)
{
	for (unsigned o = 0; element_options[o].name; o++) {
		for (char **text = i->elements[o]; text && *text; text++) {
			if (!element_option_apply(domain, &element_options[o], *text, error))
				return false;
		}
	}
	/* "--sysinfo host" is about the tables that the guest gets, the others are their text. */
	xmlNode *sysinfo = xml_child(domain, "sysinfo");
	g_autofree char *type = sysinfo ? xml_attribute(sysinfo, "type") : NULL;
	if (type) {
		bool text = strcmp(type, "host") && strcmp(type, "emulate");
		element_set(domain, "os/smbios/@mode", text ? "sysinfo" : type);
		if (!text)
			element_remove(domain, "sysinfo");
	}
	return true;
}

/* One order of boot devices or the other. */
static void choose_boot_order(xmlDoc *doc)
{
	g_autoptr(GPtrArray) orders = xpath_nodes(doc, NULL, "/domain/devices/*/boot[@order]");
	if (orders->len)
		element_remove(element_at(xmlDocGetRootElement(doc), "os"), "boot");
}

/* In reverse, so that what is in another one that goes does so before it. */
static bool delete_nodes(xmlDoc *doc, const char *path, GError **error)
{
	xmlNode *domain = xmlDocGetRootElement(doc);
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, domain, path);
	if (!nodes)
		return error_set(error, BERTH_ERR_INVALID, "--xml: '%s' is no XPath", path);
	for (unsigned n = nodes->len; n-- > 0;) {
		xmlNode *node = nodes->pdata[n];
		if (node == domain || (node->type != XML_ELEMENT_NODE && node->type != XML_ATTRIBUTE_NODE &&
				       node->type != XML_TEXT_NODE))
			return error_set(error, BERTH_ERR_INVALID, "--xml: '%s' names more than elements, "
					 "attributes and texts of the domain", path);
		xmlUnlinkNode(node);
		xmlFreeNode(node);
	}
	return true;
}

/* "./cpu/@mode=host-passthrough", "xpath.delete=./clock/timer[@name='hpet']" */
static bool apply_xml(xmlDoc *doc, const struct install *i, GError **error)
{
	static const char delete[] = "xpath.delete=";
	xmlNode *domain = xmlDocGetRootElement(doc);
	for (char **text = i->xml; text && *text; text++) {
		const char *equals = strchr(*text, '=');
		if (g_str_has_prefix(*text, delete)) {
			if (!delete_nodes(doc, *text + strlen(delete), error))
				return false;
			continue;
		}
		g_autofree char *path = equals ? g_strndup(*text, equals - *text) : NULL;
		if (!path || !g_str_has_prefix(path, "./") || strpbrk(path, "[]{}()*:| "))
			return error_set(error, BERTH_ERR_INVALID, "--xml '%s': it is ./PATH=VALUE with names of "
					 "elements and an @attribute, or xpath.delete=XPATH", *text);
		element_set(domain, path, equals + 1);
	}
	return true;
}

static bool write_domain(struct shell *sh, xmlDoc *doc, const struct install *i, bool first)
{
	g_autoptr(GError) error = NULL;
	xmlNode *domain = xmlDocGetRootElement(doc);
	element_set(domain, "@type", i->domain_type);
	element_set(domain, "name", i->name);
	element_set(domain, "uuid", i->uuid);
	if (i->title)
		element_set(domain, "title", i->title);
	if (i->description)
		element_set(domain, "description", i->description);
	bool good = model_write_memory(domain, i, &error) && model_write_cpus(domain, i, &error) &&
		    write_os(domain, i, first, &error);
	if (good) {
		write_machine(domain, i);
		/* An installer's reboot ends the first boot; what starts then has the other definition. */
		if (first && install_has_installer(i))
			element_set(domain, "on_reboot", "destroy");
		xmlNode *devices = element_at(domain, "devices");
		good = model_write_devices(sh, devices, i, first, &error) && apply_options(domain, i, &error);
		write_timers(domain);
		add_defaults(devices, i);
		choose_boot_order(doc);
		good = good && apply_xml(doc, i, &error);
	}
	return good || !error ? good : shell_fail(sh, "%s", error->message);
}

char *install_xml(struct shell *sh, const struct install *i, bool first)
{
	g_autoptr(xmlDoc) doc = xmlNewDoc(BAD_CAST "1.0");
	xmlDocSetRootElement(doc, xmlNewNode(NULL, BAD_CAST "domain"));
	if (!write_domain(sh, doc, i, first))
		return NULL;
	struct xml_writer w = xml_writer_new();
	xml_tree(&w, xmlDocGetRootElement(doc));
	return xml_writer_take(&w);
}
