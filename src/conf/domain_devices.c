/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of a domain's XML. */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

char *conf_domain_child_attribute(const xmlNode *node, const char *child, const char *name)
{
	return xml_attribute(xml_child(node, child), name);
}

bool conf_domain_is_one_of(const xmlNode *node, const char *what, const char *value,
			   const char *const *known, GError **error)
{
	if (!value || g_strv_contains(known, value))
		return true;
	g_autofree char *list = g_strjoinv(", ", (char **)known);
	return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "%s '%s': there is %s", what,
				 value, list);
}

bool conf_domain_is_absolute(const xmlNode *node, const char *path, GError **error)
{
	return !path || *path == '/' ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node, "'%s' must be an absolute path", path);
}

bool conf_domain_read_boot_order(const xmlNode *node, unsigned *order, GError **error)
{
	g_autofree char *text = conf_domain_child_attribute(node, "boot", "order");
	uint64_t value = 0;
	if (text && !units_parse_number(text, 1, 10000, &value, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "boot order '%s' must be a number from 1", text);
	*order = value;
	return true;
}

/* --- Disks ---------------------------------------------------------------------------------- */

/* What libvirt's clients find in each disk, whether it was written or not. */
static void complete_disk(const struct conf_domain_disk *disk, xmlNode *node)
{
	xmlNode *driver = xml_child(node, "driver");
	if (!driver) {
		driver = xmlNewDocNode(node->doc, NULL, (const xmlChar *)"driver", NULL);
		if (node->children)
			xmlAddPrevSibling(node->children, driver);
		else
			xmlAddChild(node, driver);
	}
	xmlSetProp(driver, (const xmlChar *)"name", (const xmlChar *)"qemu");
	xmlSetProp(driver, (const xmlChar *)"type", (const xmlChar *)disk->format);
	xmlSetProp(node, (const xmlChar *)"device", (const xmlChar *)(disk->cdrom ? "cdrom" : "disk"));
	xmlSetProp(xml_child(node, "target"), (const xmlChar *)"bus",
		   (const xmlChar *)(disk->virtio ? "virtio" : "sata"));
}

static bool is_taken(const struct conf_domain *conf, const struct conf_domain_disk *disk)
{
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_domain_disk *other = conf->disks->pdata[i];
		if (other != disk && g_strcmp0(other->target, disk->target) == 0)
			return true;
	}
	return false;
}

bool conf_domain_disk_has_medium(const struct conf_domain_disk *disk)
{
	return disk->file || disk->source.kind == CONF_SOURCE_VOLUME || disk->source.kind == CONF_SOURCE_NETWORK;
}

void conf_domain_disk_resolve(struct conf_domain_disk *disk, const char *path)
{
	g_free(disk->file);
	disk->file = g_strdup(path);
}

static bool check_disk(const struct conf_domain *conf, const struct conf_domain_disk *disk,
		       const xmlNode *node, GError **error)
{
	if (!disk->target)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<target dev=...> is missing");
	if (is_taken(conf, disk))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "target '%s' duplicated",
					 disk->target);
	if (!conf_domain_disk_has_medium(disk) && !disk->cdrom)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<source> is missing");
	if (!conf_domain_is_absolute(node, disk->file, error))
		return false;
	if (disk->source.kind == CONF_SOURCE_NETWORK && disk->io)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "io='%s' is for files and block devices: leave it out", disk->io);
	if (disk->shareable && !disk->virtio)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "only a virtio disk can be shareable: use bus='virtio'");
	if (disk->iothread && !disk->virtio)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "only a virtio disk can have an I/O thread: use bus='virtio'");
	if (disk->cdrom && disk->virtio)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "a CD-ROM cannot be on virtio: use bus='sata'");
	return true;
}

static bool read_iothread(const struct conf_domain *conf, struct conf_domain_disk *disk, const xmlNode *node,
			  GError **error)
{
	g_autofree char *text = conf_domain_child_attribute(node, "driver", "iothread");
	if (!text)
		return true;
	if (!conf_domain_parse_iothread(node, text, &disk->iothread, error))
		return false;
	return conf_domain_has_iothread(conf, disk->iothread) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node, "Disk iothread '%u' not defined in iothreadid",
				 disk->iothread);
}

/* <driver>; what it does not say is the VMM's own choice. */
static bool read_driver(const struct conf_domain *conf, struct conf_domain_disk *disk, const xmlNode *node,
			GError **error)
{
	g_autofree char *name = conf_domain_child_attribute(node, "driver", "name");
	disk->format = conf_domain_child_attribute(node, "driver", "type");
	if (!disk->format)
		disk->format = g_strdup("raw");
	disk->cache = conf_domain_child_attribute(node, "driver", "cache");
	disk->discard = conf_domain_child_attribute(node, "driver", "discard");
	disk->io = conf_domain_child_attribute(node, "driver", "io");
	return read_iothread(conf, disk, node, error) && CONF_DOMAIN_ONE_OF(node, "driver", name, error, "qemu") &&
	       CONF_DOMAIN_ONE_OF(node, "cache", disk->cache, error, "default", "none", "writethrough",
				  "writeback", "directsync", "unsafe") &&
	       CONF_DOMAIN_ONE_OF(node, "discard", disk->discard, error, "ignore", "unmap") &&
	       CONF_DOMAIN_ONE_OF(node, "io", disk->io, error, "threads", "native", "io_uring");
}

static bool read_disk(struct conf_domain *conf, xmlNode *node, GError **error)
{
	struct conf_domain_disk *disk = g_new0(struct conf_domain_disk, 1);
	g_ptr_array_add(conf->disks, disk);
	disk->dev.node = node;
	g_autofree char *type = xml_attribute(node, "type"), *device = xml_attribute(node, "device");
	g_autofree char *bus = conf_domain_child_attribute(node, "target", "bus");
	if (!CONF_DOMAIN_ONE_OF(node, "device", device, error, "disk", "cdrom") ||
	    !CONF_DOMAIN_ONE_OF(node, "bus", bus, error, "virtio", "sata") ||
	    !conf_domain_read_boot_order(node, &disk->boot_order, error) || !read_driver(conf, disk, node, error))
		return false;
	disk->block = g_strcmp0(type, "block") == 0;
	disk->cdrom = g_strcmp0(device, "cdrom") == 0;
	if (!conf_disk_source_read(&disk->source, node, type, &disk->file, error))
		return false;
	disk->target = conf_domain_child_attribute(node, "target", "dev");
	disk->virtio = bus ? strcmp(bus, "virtio") == 0
			   : disk->target && g_str_has_prefix(disk->target, "vd");
	disk->serial = xml_child_text(node, "serial");
	disk->readonly = disk->cdrom || xml_child(node, "readonly");
	disk->shareable = xml_child(node, "shareable");
	disk->dev.on_pci = disk->virtio;
	if (!check_disk(conf, disk, node, error) ||
	    !conf_domain_read_iotune(&disk->iotune, node, error))
		return false;
	complete_disk(disk, node);
	return true;
}

/* --- Serial ports, consoles, channels -------------------------------------------------------- */

static bool read_log(struct conf_domain_char *chr, xmlNode *node, GError **error)
{
	xmlNode *log = xml_child(node, "log");
	if (!log)
		return true;
	chr->log = xml_attribute(log, "file");
	g_autofree char *append = xml_attribute(log, "append");
	chr->log_append = g_strcmp0(append, "on") == 0;
	if (!chr->log)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<log file=...> is missing");
	return conf_domain_is_absolute(node, chr->log, error) &&
	       CONF_DOMAIN_ONE_OF(log, "append", append, error, "on", "off");
}

static bool read_char(struct conf_domain *conf, xmlNode *node, enum conf_domain_char_kind kind,
		      GError **error)
{
	struct conf_domain_char *chr = g_new0(struct conf_domain_char, 1);
	chr->dev.node = node;
	chr->kind = kind;
	g_ptr_array_add(conf->chars, chr);
	g_autofree char *mode = conf_domain_child_attribute(node, "source", "mode");
	chr->type = xml_attribute(node, "type");
	chr->path = conf_domain_child_attribute(node, "source", "path");
	chr->name = conf_domain_child_attribute(node, "target", "name");
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
	return conf_domain_is_absolute(node, chr->path, error) && read_log(chr, node, error) &&
	       CONF_DOMAIN_ONE_OF(node, "type", chr->type, error, "pty", "unix", "file", "null");
}

static bool read_channel(struct conf_domain *conf, xmlNode *node, GError **error)
{
	g_autofree char *target = conf_domain_child_attribute(node, "target", "type");
	return CONF_DOMAIN_ONE_OF(node, "target", target, error, "virtio") &&
	       read_char(conf, node, CONF_DOMAIN_CHANNEL, error);
}

/* The first console is the first serial port seen from another side, unless it is a virtio one. */
static bool read_console(struct conf_domain *conf, xmlNode *node, GError **error)
{
	g_autofree char *target = conf_domain_child_attribute(node, "target", "type");
	if (!CONF_DOMAIN_ONE_OF(node, "target", target, error, "serial", "virtio"))
		return false;
	return g_strcmp0(target, "virtio") != 0 ||
	       read_char(conf, node, CONF_DOMAIN_VIRTIO_CONSOLE, error);
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
	xmlNode *devices = xml_child(xmlDocGetRootElement(conf->doc), "devices");
	set_path(chr->dev.node, xml_is(chr->dev.node, "console"), path);
	xmlNode *console = xml_child(devices, "console");
	g_autofree char *target = conf_domain_child_attribute(console, "target", "type");
	if (console && chr->kind == CONF_DOMAIN_SERIAL && chr == conf->chars->pdata[0] &&
	    g_strcmp0(target, "virtio") != 0)
		set_path(console, true, path);
}

void conf_domain_set_channel_state(const struct conf_domain_char *chr, bool open)
{
	xmlNode *target = xml_child(chr->dev.node, "target");
	if (target)
		xmlSetProp(target, (const xmlChar *)"state",
			   (const xmlChar *)(open ? "connected" : "disconnected"));
}

/* --- The rest ------------------------------------------------------------------------------- */

static bool read_number(const xmlNode *node, const char *name, unsigned fallback, unsigned most,
			unsigned *number, GError **error)
{
	g_autofree char *text = xml_attribute(node, name);
	uint64_t value = fallback;
	if (text && !units_parse_number(text, 0, most, &value, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "%s='%s' must be a number from 0 to %u", name, text, most);
	*number = value;
	return true;
}

/* The root bus and the SATA controller are part of the board. */
static bool read_builtin_controller(const xmlNode *node, const char *type, unsigned index,
				    GError **error)
{
	if (index == 0 || index == CONF_DOMAIN_NO_INDEX)
		return true;
	return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "there is one %s controller", type);
}

static bool read_pci_controller(struct conf_domain *conf, xmlNode *node, unsigned index,
				GError **error)
{
	g_autofree char *model = xml_attribute(node, "model");
	if (!CONF_DOMAIN_ONE_OF(node, "model", model, error, "pcie-root", "pcie-root-port"))
		return false;
	if (g_strcmp0(model, "pcie-root") == 0) {
		if (index == CONF_DOMAIN_NO_INDEX)
			conf_domain_set_index(node, 0);
		return read_builtin_controller(node, "pcie-root", index, error);
	}
	const xmlNode *target = xml_child(node, "target");
	struct conf_domain_controller *port = g_new0(struct conf_domain_controller, 1);
	port->dev.node = node;
	port->dev.on_pci = true;
	port->root_port = true;
	port->index = index;
	g_ptr_array_add(conf->controllers, port);
	return read_number(target, "chassis", 0, 255, &port->chassis, error) &&
	       read_number(target, "port", 0, 255, &port->port, error);
}

static bool read_controller(struct conf_domain *conf, xmlNode *node, GError **error)
{
	g_autofree char *type = xml_attribute(node, "type");
	unsigned index;
	if (!type)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its type is missing");
	if (!CONF_DOMAIN_ONE_OF(node, "controller type", type, error, "usb", "pci", "sata",
				"virtio-serial") ||
	    !read_number(node, "index", CONF_DOMAIN_NO_INDEX, 255, &index, error))
		return false;
	if (strcmp(type, "pci") == 0)
		return read_pci_controller(conf, node, index, error);
	if (index == CONF_DOMAIN_NO_INDEX) {
		conf_domain_set_index(node, 0);
		index = 0;
	}
	if (strcmp(type, "usb") == 0)
		return true;
	if (strcmp(type, "sata") == 0 || index)
		return read_builtin_controller(node, type, index, error);
	struct conf_domain_controller *serial = g_new0(struct conf_domain_controller, 1);
	serial->dev.node = node;
	serial->dev.on_pci = true;
	g_ptr_array_add(conf->controllers, serial);
	return true;
}

static void drop(xmlNode *node)
{
	xmlUnlinkNode(node);
	xmlFreeNode(node);
}

/*
 * Without USB devices USB controllers have nothing to do, and Berth has none: the document says so
 * from then on, in one element in place of the set that installers write.
 */
static void forget_usb(xmlNode *devices)
{
	xmlNode *first = NULL, *next;
	for (xmlNode *node = xml_child(devices, "controller"); node; node = next) {
		g_autofree char *type = xml_attribute(node, "type");
		next = xml_next(node, "controller");
		if (g_strcmp0(type, "usb") != 0)
			continue;
		if (first) {
			drop(node);
			continue;
		}
		first = node;
		xmlSetProp(node, (const xmlChar *)"model", (const xmlChar *)"none");
		xmlUnsetProp(node, (const xmlChar *)"ports");
		while (xml_child(node, NULL))
			drop(xml_child(node, NULL));
	}
}

static struct conf_domain_device *new_device(xmlNode *node)
{
	struct conf_domain_device *dev = g_new0(struct conf_domain_device, 1);
	dev->node = node;
	dev->on_pci = true;
	return dev;
}

static bool read_balloon(struct conf_domain *conf, xmlNode *node, GError **error)
{
	g_autofree char *model = xml_attribute(node, "model");
	if (!CONF_DOMAIN_ONE_OF(node, "model", model, error, "virtio", "none"))
		return false;
	if (conf->balloon)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "one is enough");
	if (g_strcmp0(model, "none") != 0)
		conf->balloon = new_device(node);
	return read_number(xml_child(node, "stats"), "period", 0, 86400, &conf->balloon_period, error);
}

static bool read_rng(struct conf_domain *conf, xmlNode *node, GError **error)
{
	g_autofree char *model = xml_attribute(node, "model");
	g_autofree char *backend = conf_domain_child_attribute(node, "backend", "model");
	if (!CONF_DOMAIN_ONE_OF(node, "model", model, error, "virtio") ||
	    !CONF_DOMAIN_ONE_OF(node, "backend", backend, error, "random"))
		return false;
	if (conf->rng)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "one is enough");
	conf->rng = new_device(node);
	conf->rng_file = xml_child_text(node, "backend");
	return true;
}

/* The PS/2 keyboard and mouse are part of the board. */
static bool read_input(const struct conf_domain *conf, const xmlNode *node, GError **error)
{
	g_autofree char *type = xml_attribute(node, "type"), *bus = xml_attribute(node, "bus");
	return CONF_DOMAIN_ONE_OF(node, "input type", type, error, "keyboard", "mouse") &&
	       CONF_DOMAIN_ONE_OF(node, "bus", bus, error, "ps2");
}

/* The port by which a guest's kernel tells that it has ended in a panic: pvpanic. */
static bool read_panic(struct conf_domain *conf, xmlNode *node, GError **error)
{
	g_autofree char *model = xml_attribute(node, "model");
	g_autofree char *port = conf_domain_child_attribute(node, "address", "iobase");
	if (conf->panic)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "one is enough");
	conf->panic = true;
	if (!model)
		xmlSetProp(node, (const xmlChar *)"model", (const xmlChar *)"isa");
	return CONF_DOMAIN_ONE_OF(node, "panic model", model, error, "isa") &&
	       CONF_DOMAIN_ONE_OF(node, "iobase", port, error, "0x505");
}

/* <watchdog model='i6300esb' action='reset'/> */
static bool read_watchdog(struct conf_domain *conf, xmlNode *node, GError **error)
{
	g_autofree char *model = xml_attribute(node, "model");
	if (conf->watchdog)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "one is enough");
	conf->watchdog = new_device(node);
	conf->watchdog_action = xml_attribute(node, "action");
	if (!conf->watchdog_action) {
		conf->watchdog_action = g_strdup("reset");
		xmlSetProp(node, (const xmlChar *)"action", (const xmlChar *)conf->watchdog_action);
	}
	if (conf_domain_is_microvm(conf))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "it is a PCI card, and microvm has no bus");
	return CONF_DOMAIN_ONE_OF(node, "watchdog model", model ? model : "", error, "i6300esb") &&
	       CONF_DOMAIN_ONE_OF(node, "action", conf->watchdog_action, error, "reset", "shutdown", "poweroff",
				  "pause", "none", "inject-nmi");
}

static bool read_device(struct conf_domain *conf, xmlNode *node, GError **error)
{
	if (xml_is(node, "disk"))
		return read_disk(conf, node, error);
	if (xml_is(node, "interface"))
		return conf_domain_read_nic(conf, node, error);
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
	if (xml_is(node, "input"))
		return read_input(conf, node, error);
	if (xml_is(node, "filesystem"))
		return conf_domain_read_filesystem(conf, node, error);
	if (xml_is(node, "memory"))
		return conf_domain_read_memory(conf, node, error);
	if (xml_is(node, "panic"))
		return read_panic(conf, node, error);
	if (xml_is(node, "hostdev"))
		return conf_domain_read_hostdev(conf, node, error);
	if (xml_is(node, "watchdog"))
		return read_watchdog(conf, node, error);
	if (xml_is(node, "emulator"))
		conf->emulator = xml_text(node);
	return true;
}

/* As libvirt does: a guest whose document does not say otherwise gets a balloon. */
static bool add_balloon(struct conf_domain *conf, xmlNode *devices, GError **error)
{
	if (xml_child(devices, "memballoon") || conf_domain_is_microvm(conf))
		return true;
	xmlNode *node = xmlNewChild(devices, NULL, (const xmlChar *)"memballoon", NULL);
	xmlSetProp(node, (const xmlChar *)"model", (const xmlChar *)"virtio");
	return read_balloon(conf, node, error);
}

bool conf_domain_read_devices(struct conf_domain *conf, xmlNode *devices, GError **error)
{
	forget_usb(devices);
	xml_for_each(node, devices, NULL) {
		if (!xml_is(node, "console") && !read_device(conf, node, error))
			return false;
	}
	/* After the serial ports, whatever the order in the document. */
	xml_for_each(console, devices, "console") {
		if (!read_console(conf, console, error))
			return false;
	}
	return add_balloon(conf, devices, error);
}
