/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of a domain's XML. */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

static char *child_attribute(const xmlNode *node, const char *child, const char *name)
{
	return xml_attribute(xml_child(node, child), name);
}

/* `name` must be one of the NULL-terminated list; NULL is the first. */
static bool is_one_of(const xmlNode *node, const char *what, const char *value,
		      const char *const *known, GError **error)
{
	if (!value || g_strv_contains(known, value))
		return true;
	g_autofree char *list = g_strjoinv(", ", (char **)known);
	return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "%s '%s': there is %s", what,
				 value, list);
}
#define ONE_OF(node, what, value, error, ...)                                                      \
	is_one_of(node, what, value, (const char *const[]){__VA_ARGS__, NULL}, error)

static bool read_boot_order(const xmlNode *node, unsigned *order, GError **error)
{
	g_autofree char *text = child_attribute(node, "boot", "order");
	uint64_t value = 0;
	if (text && !units_parse_number(text, 1, 10000, &value, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "boot order '%s' must be a number from 1", text);
	*order = value;
	return true;
}

/* --- Disks ---------------------------------------------------------------------------------- */

static bool check_disk(const struct conf_domain_disk *disk, const xmlNode *node, GError **error)
{
	if (!disk->target)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<target dev=...> is missing");
	if (!disk->file && !disk->cdrom)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<source> is missing");
	if (disk->cdrom && disk->virtio)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "a CD-ROM cannot be on virtio: use bus='sata'");
	return true;
}

static bool read_disk(struct conf_domain *conf, const xmlNode *node, GError **error)
{
	struct conf_domain_disk *disk = g_new0(struct conf_domain_disk, 1);
	g_ptr_array_add(conf->disks, disk);
	g_autofree char *type = xml_attribute(node, "type"), *device = xml_attribute(node, "device");
	g_autofree char *bus = child_attribute(node, "target", "bus");
	g_autofree char *driver = child_attribute(node, "driver", "name");
	if (!ONE_OF(node, "disk type", type, error, "file", "block") ||
	    !ONE_OF(node, "device", device, error, "disk", "cdrom") ||
	    !ONE_OF(node, "driver", driver, error, "qemu") ||
	    !ONE_OF(node, "bus", bus, error, "virtio", "sata") ||
	    !read_boot_order(node, &disk->boot_order, error))
		return false;
	disk->block = g_strcmp0(type, "block") == 0;
	disk->cdrom = g_strcmp0(device, "cdrom") == 0;
	disk->file = child_attribute(node, "source", disk->block ? "dev" : "file");
	disk->target = child_attribute(node, "target", "dev");
	disk->virtio = bus ? strcmp(bus, "virtio") == 0
			   : disk->target && g_str_has_prefix(disk->target, "vd");
	disk->format = child_attribute(node, "driver", "type");
	if (!disk->format)
		disk->format = g_strdup("raw");
	disk->cache = child_attribute(node, "driver", "cache");
	disk->discard = child_attribute(node, "driver", "discard");
	disk->io = child_attribute(node, "driver", "io");
	disk->serial = xml_child_text(node, "serial");
	disk->readonly = disk->cdrom || xml_child(node, "readonly");
	return check_disk(disk, node, error);
}

/* --- Networks ------------------------------------------------------------------------------- */

static bool read_mac(struct conf_domain_nic *nic, xmlNode *node, GError **error)
{
	unsigned b[6];
	char end;
	nic->mac = child_attribute(node, "mac", "address");
	if (nic->mac)
		return (sscanf(nic->mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4],
			       &b[5], &end) == 6 && !(b[0] & 1)) ||
		       conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "'%s' is no MAC address of one card", nic->mac);
	guint32 random = g_random_int();
	nic->mac = g_strdup_printf("52:54:00:%02x:%02x:%02x", random & 0xff, random >> 8 & 0xff,
				   random >> 16 & 0xff);
	xmlNode *mac = xml_child(node, "mac");
	if (!mac)
		mac = xmlNewChild(node, NULL, (const xmlChar *)"mac", NULL);
	xmlSetProp(mac, (const xmlChar *)"address", (const xmlChar *)nic->mac);
	return true;
}

static bool read_nic(struct conf_domain *conf, xmlNode *node, GError **error)
{
	struct conf_domain_nic *nic = g_new0(struct conf_domain_nic, 1);
	g_ptr_array_add(conf->nics, nic);
	nic->type = xml_attribute(node, "type");
	nic->model = child_attribute(node, "model", "type");
	nic->source = child_attribute(node, "source", "bridge");
	nic->target = child_attribute(node, "target", "dev");
	if (!nic->type)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its type is missing");
	if (strcmp(nic->type, "bridge") == 0 && !nic->source)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<source bridge=...> is missing");
	return ONE_OF(node, "interface type", nic->type, error, "user", "bridge", "ethernet") &&
	       ONE_OF(node, "model", nic->model, error, "virtio") &&
	       read_boot_order(node, &nic->boot_order, error) && read_mac(nic, node, error);
}

/* --- Serial ports, consoles, channels -------------------------------------------------------- */

static unsigned count_kind(const struct conf_domain *conf, enum conf_domain_char_kind kind)
{
	unsigned count = 0;
	for (unsigned i = 0; i < conf->chars->len; i++)
		count += ((struct conf_domain_char *)conf->chars->pdata[i])->kind == kind;
	return count;
}

static bool read_char(struct conf_domain *conf, const xmlNode *node, enum conf_domain_char_kind kind,
		      GError **error)
{
	static const char *const prefix[] = {"serial", "console", "channel"};
	struct conf_domain_char *chr = g_new0(struct conf_domain_char, 1);
	chr->alias = g_strdup_printf("%s%u", prefix[kind], count_kind(conf, kind));
	chr->kind = kind;
	g_ptr_array_add(conf->chars, chr);
	g_autofree char *mode = child_attribute(node, "source", "mode");
	chr->type = xml_attribute(node, "type");
	chr->path = child_attribute(node, "source", "path");
	chr->name = child_attribute(node, "target", "name");
	chr->listens = !mode || strcmp(mode, "bind") == 0;
	if (!chr->type)
		chr->type = g_strdup("pty");
	/* A terminal's path is of a run that is over. */
	if (strcmp(chr->type, "pty") == 0)
		g_clear_pointer(&chr->path, g_free);
	if (strcmp(chr->type, "file") == 0 && !chr->path)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<source path=...> is missing");
	if (strcmp(chr->type, "unix") == 0 && !chr->path && !chr->listens)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<source path=...> is missing");
	return ONE_OF(node, "type", chr->type, error, "pty", "unix", "file", "null");
}

static bool read_channel(struct conf_domain *conf, const xmlNode *node, GError **error)
{
	g_autofree char *target = child_attribute(node, "target", "type");
	return ONE_OF(node, "target", target, error, "virtio") &&
	       read_char(conf, node, CONF_DOMAIN_CHANNEL, error);
}

/*
 * The first console is the first serial port seen from another side, unless it is a virtio one; and
 * a console alone means a serial port.
 */
static bool read_console(struct conf_domain *conf, const xmlNode *node, GError **error)
{
	g_autofree char *target = child_attribute(node, "target", "type");
	if (!ONE_OF(node, "target", target, error, "serial", "virtio"))
		return false;
	if (g_strcmp0(target, "virtio") == 0)
		return read_char(conf, node, CONF_DOMAIN_VIRTIO_CONSOLE, error);
	return count_kind(conf, CONF_DOMAIN_SERIAL) ||
	       read_char(conf, node, CONF_DOMAIN_SERIAL, error);
}

static void set_path(xmlNode *node, bool is_console, const char *path)
{
	xmlNode *source = xml_child(node, "source");
	if (!source)
		source = xmlNewChild(node, NULL, (const xmlChar *)"source", NULL);
	xmlSetProp(source, (const xmlChar *)"path", (const xmlChar *)path);
	if (is_console)
		xmlSetProp(node, (const xmlChar *)"tty", (const xmlChar *)path);
}

void conf_domain_set_tty(struct conf_domain *conf, const struct conf_domain_char *chr,
			 const char *path)
{
	static const char *const element[] = {"serial", "console", "channel"};
	xmlNode *devices = xml_child(xmlDocGetRootElement(conf->doc), "devices");
	unsigned index = g_ascii_strtoull(chr->alias + strcspn(chr->alias, "0123456789"), NULL, 10);
	xml_for_each(node, devices, element[chr->kind]) {
		g_autofree char *target = child_attribute(node, "target", "type");
		bool counts = chr->kind != CONF_DOMAIN_VIRTIO_CONSOLE || g_strcmp0(target, "virtio") == 0;
		if (counts && index-- == 0)
			set_path(node, chr->kind == CONF_DOMAIN_VIRTIO_CONSOLE, path);
	}
	xmlNode *console = xml_child(devices, "console");
	g_autofree char *target = child_attribute(console, "target", "type");
	if (console && strcmp(chr->alias, "serial0") == 0 && g_strcmp0(target, "virtio") != 0)
		set_path(console, true, path);
}

/* --- The rest ------------------------------------------------------------------------------- */

/*
 * Controllers are places to plug into. The boards have what they need; an empty USB controller or
 * root port would only be in the way of nothing and is not made.
 */
static bool read_controller(struct conf_domain *conf, const xmlNode *node, GError **error)
{
	g_autofree char *type = xml_attribute(node, "type");
	return ONE_OF(node, "controller type", type, error, "usb", "pci", "sata", "virtio-serial");
}

static bool read_balloon(struct conf_domain *conf, const xmlNode *node, GError **error)
{
	g_autofree char *model = xml_attribute(node, "model");
	conf->balloon = g_strcmp0(model, "none") != 0;
	return ONE_OF(node, "model", model, error, "virtio", "none");
}

static bool read_rng(struct conf_domain *conf, const xmlNode *node, GError **error)
{
	g_autofree char *model = xml_attribute(node, "model");
	g_autofree char *backend = child_attribute(node, "backend", "model");
	if (!ONE_OF(node, "model", model, error, "virtio") ||
	    !ONE_OF(node, "backend", backend, error, "random"))
		return false;
	if (conf->rng)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "one is enough");
	conf->rng = true;
	conf->rng_file = xml_child_text(node, "backend");
	return true;
}

static bool read_device(struct conf_domain *conf, xmlNode *node, GError **error)
{
	if (xml_is(node, "disk"))
		return read_disk(conf, node, error);
	if (xml_is(node, "interface"))
		return read_nic(conf, node, error);
	if (xml_is(node, "serial"))
		return read_char(conf, node, CONF_DOMAIN_SERIAL, error);
	if (xml_is(node, "channel"))
		return read_channel(conf, node, error);
	if (xml_is(node, "controller"))
		return read_controller(conf, node, error);
	if (xml_is(node, "memballoon"))
		return read_balloon(conf, node, error);
	if (xml_is(node, "rng"))
		return read_rng(conf, node, error);
	if (xml_is(node, "emulator"))
		conf->emulator = xml_text(node);
	return true;
}

bool conf_domain_read_devices(struct conf_domain *conf, xmlNode *devices, GError **error)
{
	xml_for_each(node, devices, NULL) {
		if (!xml_is(node, "console") && !read_device(conf, node, error))
			return false;
	}
	/* After the serial ports, whatever the order in the document. */
	xml_for_each(console, devices, "console") {
		if (!read_console(conf, console, error))
			return false;
	}
	return true;
}
