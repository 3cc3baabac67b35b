/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a domain's devices are, and what they are called. As with libvirt, places are chosen once, when
 * a domain is defined, and written into its document, so that a guest finds its devices where they
 * were whatever is added later. On q35 each PCI device has a root port of its own, which makes it one
 * that can be pulled out; some ports more wait for devices to come.
 */
#include "conf/domain.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE_PORTS = 2, PORTS_MAX = 32, FIRST_PORT_SLOT = 2, SATA_PORTS = 6, SERIAL_PORTS = 31 };

/* --- Every device --------------------------------------------------------------------------- */

bool conf_domain_for_each_device(const struct conf_domain *conf, conf_domain_device_fn *fn,
				 void *opaque)
{
	GPtrArray *const lists[] = {conf->controllers, conf->disks, conf->nics, conf->chars,
				    conf->filesystems, conf->hostdevs, conf->memories};
	for (unsigned l = 0; l < G_N_ELEMENTS(lists); l++) {
		for (unsigned i = 0; i < lists[l]->len; i++) {
			if (!fn(lists[l]->pdata[i], opaque))
				return false;
		}
	}
	return (!conf->balloon || fn(conf->balloon, opaque)) && (!conf->rng || fn(conf->rng, opaque)) &&
	       (!conf->watchdog || fn(conf->watchdog, opaque));
}

struct search {
	const char *alias;
	const xmlNode *node;
	struct conf_domain_device *found;
};

static bool is_not_wanted(struct conf_domain_device *dev, void *opaque)
{
	struct search *search = opaque;
	bool wanted = search->alias ? g_strcmp0(dev->alias, search->alias) == 0
				    : dev->node == search->node;
	if (wanted)
		search->found = dev;
	return !wanted;
}

struct conf_domain_device *conf_domain_find_alias(const struct conf_domain *conf, const char *alias)
{
	struct search search = {.alias = alias};
	conf_domain_for_each_device(conf, is_not_wanted, &search);
	return search.found;
}

struct conf_domain_device *conf_domain_find_node(const struct conf_domain *conf, const xmlNode *node)
{
	struct search search = {.node = node};
	conf_domain_for_each_device(conf, is_not_wanted, &search);
	return search.found;
}

struct conf_domain_disk *conf_domain_find_disk(const struct conf_domain *conf, const char *path)
{
	for (unsigned i = 0; i < conf->disks->len; i++) {
		struct conf_domain_disk *disk = conf->disks->pdata[i];
		if (strcmp(disk->target, path) == 0 || g_strcmp0(disk->file, path) == 0)
			return disk;
	}
	return NULL;
}

/* Of a list, whose elements begin with a device; NULL: none has the alias. */
static void *find_in(const GPtrArray *list, const char *alias)
{
	for (unsigned i = 0; i < list->len; i++) {
		const struct conf_domain_device *dev = list->pdata[i];
		if (g_strcmp0(dev->alias, alias) == 0)
			return list->pdata[i];
	}
	return NULL;
}

struct conf_domain_disk *conf_domain_disk_of_alias(const struct conf_domain *conf, const char *alias)
{
	return find_in(conf->disks, alias);
}

struct conf_domain_char *conf_domain_char_of_alias(const struct conf_domain *conf, const char *alias)
{
	return find_in(conf->chars, alias);
}

/* --- Aliases -------------------------------------------------------------------------------- */

static void remove_child(xmlNode *node, const char *name)
{
	xmlNode *child = xml_child(node, name);
	if (!child)
		return;
	xmlUnlinkNode(child);
	xmlFreeNode(child);
}

static xmlNode *need_child(xmlNode *node, const char *name)
{
	xmlNode *child = xml_child(node, name);
	return child ? child : xmlNewChild(node, NULL, (const xmlChar *)name, NULL);
}

struct reading {
	struct conf_domain *conf;
	bool live;
	GError **error;
};

/* Of a document that is not a running domain's only the client's own aliases count. */
static bool read_alias(struct conf_domain_device *dev, void *opaque)
{
	const struct reading *reading = opaque;
	g_autofree char *name = conf_domain_child_attribute(dev->node, "alias", "name");
	bool own = name && g_str_has_prefix(name, "ua-");
	if (!name || (!reading->live && !own)) {
		remove_child(dev->node, "alias");
		return true;
	}
	for (const char *c = name; *c; c++) {
		if (!g_ascii_isalnum(*c) && !strchr("-_.", *c))
			return conf_domain_error(reading->error, BERTH_ERR_INVALID, dev->node,
						 "the alias '%s' may have letters, digits, '-', '_' and "
						 "'.' only", name);
	}
	if (conf_domain_find_alias(reading->conf, name))
		return conf_domain_error(reading->error, BERTH_ERR_INVALID, dev->node,
					 "non unique alias detected: %s", name);
	dev->alias = g_steal_pointer(&name);
	return true;
}

/* The first free one: net0, net1... */
static char *free_alias(const struct conf_domain *conf, const char *prefix)
{
	for (unsigned i = 0;; i++) {
		g_autofree char *alias = g_strdup_printf("%s%u", prefix, i);
		if (!conf_domain_find_alias(conf, alias))
			return g_steal_pointer(&alias);
	}
}

static void name_device(const struct conf_domain *conf, struct conf_domain_device *dev, char *alias)
{
	/* A client may have given the name to another device. */
	if (!dev->alias)
		dev->alias = conf_domain_find_alias(conf, alias) ? free_alias(conf, alias)
								 : g_strdup(alias);
	g_free(alias);
}

/* vda is 0, vdb 1, vdaa 26. */
static unsigned target_index(const char *target)
{
	unsigned index = 0;
	for (const char *c = target + MIN(strlen(target), 2); g_ascii_islower(*c); c++)
		index = MIN(index * 26 + (*c - 'a' + 1), 100000);
	return index ? index - 1 : 0;
}

static void name_all(struct conf_domain *conf)
{
	static const char *const chars[] = {"serial", "console", "channel"};
	for (unsigned i = 0; i < conf->controllers->len; i++) {
		struct conf_domain_controller *c = conf->controllers->pdata[i];
		name_device(conf, &c->dev, c->root_port ? g_strdup_printf("pci.%u", c->index)
							: g_strdup("virtio-serial0"));
	}
	for (unsigned i = 0; i < conf->disks->len; i++) {
		struct conf_domain_disk *disk = conf->disks->pdata[i];
		name_device(conf, &disk->dev, disk->virtio
				? g_strdup_printf("virtio-disk%u", target_index(disk->target))
				: g_strdup_printf("sata0-0-%u", disk->unit));
	}
	for (unsigned i = 0; i < conf->nics->len; i++)
		name_device(conf, conf->nics->pdata[i], free_alias(conf, "net"));
	for (unsigned i = 0; i < conf->chars->len; i++) {
		struct conf_domain_char *chr = conf->chars->pdata[i];
		name_device(conf, &chr->dev, free_alias(conf, chars[chr->kind]));
	}
	for (unsigned i = 0; i < conf->filesystems->len; i++)
		name_device(conf, conf->filesystems->pdata[i], free_alias(conf, "fs"));
	for (unsigned i = 0; i < conf->hostdevs->len; i++)
		name_device(conf, conf->hostdevs->pdata[i], free_alias(conf, "hostdev"));
	for (unsigned i = 0; i < conf->memories->len; i++) {
		struct conf_domain_memory *memory = conf->memories->pdata[i];
		name_device(conf, &memory->dev, free_alias(conf, memory->virtio ? "virtiomem" : "dimm"));
	}
	if (conf->balloon)
		name_device(conf, conf->balloon, g_strdup("balloon0"));
	if (conf->rng)
		name_device(conf, conf->rng, g_strdup("rng0"));
	if (conf->watchdog)
		name_device(conf, conf->watchdog, g_strdup("watchdog0"));
}

static bool show_alias(struct conf_domain_device *dev, void *opaque)
{
	xmlSetProp(need_child(dev->node, "alias"), (const xmlChar *)"name", (const xmlChar *)dev->alias);
	return true;
}

/* --- PCI ------------------------------------------------------------------------------------ */

static bool read_hex(const xmlNode *address, const char *name, unsigned most, unsigned *value,
		     GError **error)
{
	g_autofree char *text = xml_attribute(address, name);
	char *end = NULL;
	unsigned long number = text ? strtoul(text, &end, 0) : 0;
	if (text && (!*text || *end || number > most))
		return conf_domain_error(error, BERTH_ERR_INVALID, address, "%s='%s' is out of range", name,
					 text);
	*value = number;
	return true;
}

static bool read_place(struct conf_domain_device *dev, void *opaque)
{
	const struct reading *reading = opaque;
	const xmlNode *address = xml_child(dev->node, "address");
	g_autofree char *type = xml_attribute(address, "type");
	unsigned domain;
	if (!dev->on_pci || !address)
		return true;
	if (conf_domain_is_microvm(reading->conf))
		return conf_domain_error(reading->error, BERTH_ERR_NOT_SUPPORTED, address,
					 "microvm has no PCI bus");
	dev->placed = true;
	return CONF_DOMAIN_ONE_OF(address, "address type", type, reading->error, "pci") &&
	       read_hex(address, "domain", 0, &domain, reading->error) &&
	       read_hex(address, "bus", 255, &dev->bus, reading->error) &&
	       read_hex(address, "slot", 31, &dev->slot, reading->error) &&
	       read_hex(address, "function", 7, &dev->function, reading->error);
}

static bool differs(struct conf_domain_device *dev, void *opaque)
{
	const struct conf_domain_device *other = opaque;
	return dev == other || !dev->placed || dev->bus != other->bus || dev->slot != other->slot ||
	       dev->function != other->function;
}

static bool is_free(const struct conf_domain *conf, const struct conf_domain_device *place)
{
	/* The host bridge, and the board's own south bridge functions. */
	if (place->bus == 0 && (place->slot == 0 || place->slot == 31))
		return false;
	return conf_domain_for_each_device(conf, differs, (void *)place);
}

static struct conf_domain_controller *find_port(const struct conf_domain *conf, unsigned index)
{
	for (unsigned i = 0; i < conf->controllers->len; i++) {
		struct conf_domain_controller *c = conf->controllers->pdata[i];
		if (c->root_port && c->index == index)
			return c;
	}
	return NULL;
}

static bool check_place(struct conf_domain_device *dev, void *opaque)
{
	const struct reading *reading = opaque;
	if (!dev->placed)
		return true;
	const xmlNode *address = xml_child(dev->node, "address");
	bool is_port = dev->bus == 0 || find_port(reading->conf, dev->bus);
	if (!is_port)
		return conf_domain_error(reading->error, BERTH_ERR_INVALID, address,
					 "there is no PCI bus 0x%02x: no <controller type='pci' index='%u'>",
					 dev->bus, dev->bus);
	if (dev->bus && dev->slot)
		return conf_domain_error(reading->error, BERTH_ERR_INVALID, address,
					 "a root port has slot 0x00 only");
	return is_free(reading->conf, dev) ||
	       conf_domain_error(reading->error, BERTH_ERR_INVALID, address,
				 "Attempted double use of PCI Address 0000:%02x:%02x.%x", dev->bus,
				 dev->slot, dev->function);
}

static void set_hex(xmlNode *node, const char *name, const char *format, unsigned value)
	G_GNUC_PRINTF(3, 0);
static void set_hex(xmlNode *node, const char *name, const char *format, unsigned value)
{
	char text[16];
	snprintf(text, sizeof(text), format, value);
	xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)text);
}

static void write_place(struct conf_domain_device *dev)
{
	xmlNode *address = need_child(dev->node, "address");
	dev->placed = true;
	xmlSetProp(address, (const xmlChar *)"type", (const xmlChar *)"pci");
	set_hex(address, "domain", "0x%04x", 0);
	set_hex(address, "bus", "0x%02x", dev->bus);
	set_hex(address, "slot", "0x%02x", dev->slot);
	set_hex(address, "function", "0x%x", dev->function);
	/* Function 0 tells the guest's firmware to look for the others. */
	if (dev->bus == 0 && dev->function == 0)
		xmlSetProp(address, (const xmlChar *)"multifunction", (const xmlChar *)"on");
}

/* Eight ports in each slot of the root bus. */
static bool place_port(struct conf_domain *conf, struct conf_domain_controller *port)
{
	struct conf_domain_device *dev = &port->dev;
	dev->bus = 0;
	for (dev->slot = FIRST_PORT_SLOT; dev->slot < 31; dev->slot++) {
		for (dev->function = 0; dev->function < 8; dev->function++) {
			if (!is_free(conf, dev))
				continue;
			write_place(dev);
			return true;
		}
	}
	return false;
}

/* Chassis and port number as libvirt chooses them, into <target>. */
static void complete_port(struct conf_domain_controller *port)
{
	xmlNode *node = port->dev.node, *model = need_child(node, "model");
	xmlNode *target = need_child(node, "target");
	if (!port->chassis)
		port->chassis = port->index;
	if (!port->port)
		port->port = port->dev.slot << 3 | port->dev.function;
	xmlSetProp(model, (const xmlChar *)"name", (const xmlChar *)"pcie-root-port");
	set_hex(target, "chassis", "%u", port->chassis);
	set_hex(target, "port", "0x%x", port->port);
}

static xmlNode *add_controller(xmlNode *devices, const char *type, unsigned index, const char *model)
{
	xmlNode *last = NULL, *node = xmlNewDocNode(devices->doc, NULL, (const xmlChar *)"controller", NULL);
	xml_for_each(controller, devices, "controller")
		last = controller;
	if (!last)
		xml_for_each(disk, devices, "disk")
			last = disk;
	if (last)
		xmlAddNextSibling(last, node);
	else
		xmlAddChild(devices, node);
	xmlSetProp(node, (const xmlChar *)"type", (const xmlChar *)type);
	set_hex(node, "index", "%u", index);
	if (model)
		xmlSetProp(node, (const xmlChar *)"model", (const xmlChar *)model);
	return node;
}

static unsigned free_index(const struct conf_domain *conf)
{
	unsigned index = 1;
	while (find_port(conf, index))
		index++;
	return index;
}

/* A new root port, or NULL: there are as many as the board has slots for. */
static struct conf_domain_controller *add_port(struct conf_domain *conf, xmlNode *devices)
{
	unsigned index = free_index(conf);
	if (index > PORTS_MAX)
		return NULL;
	struct conf_domain_controller *port = g_new0(struct conf_domain_controller, 1);
	port->dev.node = add_controller(devices, "pci", index, "pcie-root-port");
	port->dev.on_pci = true;
	port->root_port = true;
	port->index = index;
	g_ptr_array_add(conf->controllers, port);
	if (!place_port(conf, port))
		return NULL;
	complete_port(port);
	return port;
}

struct placing {
	struct conf_domain *conf;
	xmlNode *devices;
	GError **error;
	bool live;
};

/* Into the first root port that is free; a running domain cannot get new ones. */
static bool place_device(struct conf_domain_device *dev, void *opaque)
{
	struct placing *placing = opaque;
	if (!dev->on_pci || dev->placed)
		return true;
	dev->slot = dev->function = 0;
	for (dev->bus = 1; dev->bus <= PORTS_MAX; dev->bus++) {
		if (!find_port(placing->conf, dev->bus) &&
		    (placing->live || !add_port(placing->conf, placing->devices)))
			break;
		if (find_port(placing->conf, dev->bus) && is_free(placing->conf, dev)) {
			write_place(dev);
			return true;
		}
	}
	return conf_domain_error(placing->error, BERTH_ERR_NOT_SUPPORTED, dev->node,
				 "No more available PCI slots: add <controller type='pci' "
				 "model='pcie-root-port'/> to the domain's definition");
}

static unsigned free_ports(const struct conf_domain *conf)
{
	unsigned count = 0;
	for (unsigned index = 1; index <= PORTS_MAX; index++) {
		struct conf_domain_device place = {.bus = index};
		count += find_port(conf, index) && is_free(conf, &place);
	}
	return count;
}

static bool has_controller(const xmlNode *devices, const char *type, const char *model)
{
	xml_for_each(node, devices, "controller") {
		g_autofree char *its_type = xml_attribute(node, "type");
		g_autofree char *its_model = xml_attribute(node, "model");
		if (strcmp(its_type, type) == 0 && (!model || g_strcmp0(its_model, model) == 0))
			return true;
	}
	return false;
}

void conf_domain_set_index(xmlNode *controller, unsigned index)
{
	g_autofree char *model = xml_attribute(controller, "model");
	xmlUnsetProp(controller, (const xmlChar *)"model");
	set_hex(controller, "index", "%u", index);
	if (model)
		xmlSetProp(controller, (const xmlChar *)"model", (const xmlChar *)model);
}

/* Clients that let us choose leave the numbers out. */
static void number_ports(struct conf_domain *conf)
{
	for (unsigned i = 0; i < conf->controllers->len; i++) {
		struct conf_domain_controller *port = conf->controllers->pdata[i];
		if (!port->root_port || port->index != CONF_DOMAIN_NO_INDEX)
			continue;
		port->index = free_index(conf);
		conf_domain_set_index(port->dev.node, port->index);
	}
}

static bool place_ports(struct conf_domain *conf, GError **error)
{
	for (unsigned i = 0; i < conf->controllers->len; i++) {
		struct conf_domain_controller *port = conf->controllers->pdata[i];
		if (!port->root_port)
			continue;
		if (port->index == 0)
			return conf_domain_error(error, BERTH_ERR_INVALID, port->dev.node,
						 "index 0 is the root bus");
		if (port->dev.bus || (!port->dev.placed && !place_port(conf, port)))
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, port->dev.node,
						 "a root port belongs on bus 0x00");
		complete_port(port);
	}
	return true;
}

static bool place_on_pci(struct placing *placing)
{
	struct conf_domain *conf = placing->conf;
	struct reading reading = {conf, placing->live, placing->error};
	if (!has_controller(placing->devices, "pci", "pcie-root"))
		add_controller(placing->devices, "pci", 0, "pcie-root");
	number_ports(conf);
	if (!place_ports(conf, placing->error) || !conf_domain_for_each_device(conf, check_place, &reading))
		return false;
	if (!conf_domain_for_each_device(conf, place_device, placing))
		return false;
	while (!placing->live && free_ports(conf) < SPARE_PORTS && add_port(conf, placing->devices))
		;
	return true;
}

/* --- SATA and virtio-serial ------------------------------------------------------------------ */

static bool read_unit(const xmlNode *node, const char *type, const char *name, unsigned most,
		      unsigned *value, bool *given, GError **error)
{
	const xmlNode *address = xml_child(node, "address");
	g_autofree char *its_type = xml_attribute(address, "type");
	*given = address != NULL;
	return !address ||
	       (conf_domain_is_one_of(address, "address type", its_type, (const char *[]){type, NULL},
				      error) && read_hex(address, name, most, value, error));
}

static void write_unit(xmlNode *node, const char *type, const char *const *names,
		       const unsigned *values)
{
	xmlNode *address = need_child(node, "address");
	xmlSetProp(address, (const xmlChar *)"type", (const xmlChar *)type);
	for (unsigned i = 0; names[i]; i++)
		set_hex(address, names[i], "%u", values[i]);
}

/* As in libvirt, sdc is at port 2 whatever stands before it; another one if that is taken. */
static unsigned choose_port(const struct conf_domain_disk *disk, unsigned taken)
{
	unsigned port = strlen(disk->target) == 3 ? (unsigned)(disk->target[2] - 'a') : SATA_PORTS;
	if (port < SATA_PORTS && !(taken >> port & 1))
		return port;
	for (port = 0; taken >> port & 1;)
		port++;
	return port;
}

static bool place_sata(struct conf_domain *conf, GError **error)
{
	static const char *const names[] = {"controller", "bus", "target", "unit", NULL};
	unsigned taken = 0;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < conf->disks->len; i++) {
			struct conf_domain_disk *disk = conf->disks->pdata[i];
			bool given = false;
			if (disk->virtio)
				continue;
			if (!read_unit(disk->dev.node, "drive", "unit", SATA_PORTS - 1, &disk->unit, &given,
				       error))
				return false;
			if (given != (pass == 0))
				continue;
			if (!given)
				disk->unit = choose_port(disk, taken);
			if (disk->unit >= SATA_PORTS || taken >> disk->unit & 1)
				return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, disk->dev.node,
							 "SATA port %u is taken, or there are more than %d "
							 "SATA disks", disk->unit, SATA_PORTS);
			taken |= 1U << disk->unit;
			write_unit(disk->dev.node, "drive", names, (unsigned[]){0, 0, 0, disk->unit});
		}
	}
	return true;
}

/* Port 0 is a console's; channels begin with 1. */
static bool place_char(struct conf_domain_char *chr, uint32_t *taken, bool given_ones, GError **error)
{
	static const char *const names[] = {"controller", "bus", "port", NULL};
	bool given = false;
	if (chr->kind == CONF_DOMAIN_SERIAL)
		return true;
	if (!read_unit(chr->dev.node, "virtio-serial", "port", SERIAL_PORTS - 1, &chr->port, &given,
		       error))
		return false;
	if (given != given_ones)
		return true;
	if (!given)
		for (chr->port = chr->kind == CONF_DOMAIN_CHANNEL; *taken >> chr->port & 1;)
			chr->port++;
	if (chr->port >= SERIAL_PORTS || *taken >> chr->port & 1)
		return conf_domain_error(error, BERTH_ERR_INVALID, chr->dev.node,
					 "virtio-serial port %u is taken", chr->port);
	*taken |= UINT32_C(1) << chr->port;
	write_unit(chr->dev.node, "virtio-serial", names, (unsigned[]){0, 0, chr->port});
	return true;
}

static bool place_chars(struct conf_domain *conf, xmlNode *devices, GError **error)
{
	uint32_t taken = 0;
	bool any = false;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < conf->chars->len; i++) {
			struct conf_domain_char *chr = conf->chars->pdata[i];
			if (!place_char(chr, &taken, pass == 0, error))
				return false;
			any |= chr->kind != CONF_DOMAIN_SERIAL;
		}
	}
	if (!any || has_controller(devices, "virtio-serial", NULL))
		return true;
	struct conf_domain_controller *serial = g_new0(struct conf_domain_controller, 1);
	serial->dev.node = add_controller(devices, "virtio-serial", 0, NULL);
	serial->dev.on_pci = true;
	g_ptr_array_add(conf->controllers, serial);
	return true;
}

/* --- All of it ------------------------------------------------------------------------------ */

bool conf_domain_place_devices(struct conf_domain *conf, xmlNode *root, bool live, GError **error)
{
	struct reading reading = {conf, live, error};
	xmlNode *devices = need_child(root, "devices");
	struct placing placing = {conf, devices, error, live};
	if (!conf_domain_for_each_device(conf, read_alias, &reading) || !place_chars(conf, devices, error) ||
	    !conf_domain_for_each_device(conf, read_place, &reading) || !place_sata(conf, error))
		return false;
	if (!conf_domain_is_microvm(conf) && !place_on_pci(&placing))
		return false;
	name_all(conf);
	return !live || conf_domain_for_each_device(conf, show_alias, NULL);
}
