/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <hostdev>: a PCI device of the host, given to the guest by VFIO. */
#include "conf/domain.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

static void write_part(xmlNode *address, const char *name, unsigned digits, unsigned value)
{
	g_autofree char *text = g_strdup_printf("0x%0*x", digits, value);
	xmlSetProp(address, (const xmlChar *)name, (const xmlChar *)text);
}

static bool read_source(struct conf_domain_hostdev *hostdev, const xmlNode *node, GError **error)
{
	xmlNode *source = xml_child(node, "source"), *address = source ? xml_child(source, "address") : NULL;
	unsigned domain, bus, slot, function;
	if (!address)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<source><address domain= bus= slot= function=/></source> is missing: it "
					 "says which device of the host is meant ('virsh nodedev-list --cap pci')");
	hostdev->host = conf_pci_address_read(address, error);
	if (!hostdev->host || sscanf(hostdev->host, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return false;
	/* libvirt's order of them. */
	while (address->properties)
		xmlRemoveProp(address->properties);
	write_part(address, "domain", 4, domain);
	write_part(address, "bus", 2, bus);
	write_part(address, "slot", 2, slot);
	write_part(address, "function", 1, function);
	return true;
}

static bool read_rom(struct conf_domain_hostdev *hostdev, const xmlNode *node, GError **error)
{
	const xmlNode *rom = xml_child(node, "rom");
	if (!rom)
		return true;
	g_autofree char *bar = xml_attribute(rom, "bar");
	hostdev->rom_file = xml_attribute(rom, "file");
	if (!CONF_DOMAIN_ONE_OF(rom, "bar", bar, error, "on", "off") ||
	    !conf_domain_is_absolute(rom, hostdev->rom_file, error))
		return false;
	hostdev->rom_bar = !bar ? CONF_NIC_ROM_DEFAULT : !strcmp(bar, "on") ? CONF_NIC_ROM_ON : CONF_NIC_ROM_OFF;
	return true;
}

static bool is_named_twice(const struct conf_domain *conf, const struct conf_domain_hostdev *hostdev)
{
	for (unsigned i = 0; i < conf->hostdevs->len; i++) {
		const struct conf_domain_hostdev *other = conf->hostdevs->pdata[i];
		if (other != hostdev && g_strcmp0(other->host, hostdev->host) == 0)
			return true;
	}
	return false;
}

bool conf_domain_read_hostdev(struct conf_domain *conf, xmlNode *node, GError **error)
{
	struct conf_domain_hostdev *hostdev = g_new0(struct conf_domain_hostdev, 1);
	g_ptr_array_add(conf->hostdevs, hostdev);
	hostdev->dev.node = node;
	hostdev->dev.on_pci = true;
	g_autofree char *mode = xml_attribute(node, "mode"), *type = xml_attribute(node, "type");
	g_autofree char *driver = conf_domain_child_attribute(node, "driver", "name");
	if (conf_domain_is_microvm(conf))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "machine='microvm' has no PCI bus to put it on: use machine='q35'");
	if (!CONF_DOMAIN_ONE_OF(node, "hostdev mode", mode, error, "subsystem") ||
	    !CONF_DOMAIN_ONE_OF(node, "hostdev type", type ? type : "", error, "pci") ||
	    !CONF_DOMAIN_ONE_OF(node, "driver name", driver, error, "vfio") ||
	    !conf_yes_no(node, "managed", &hostdev->managed, error) || !read_source(hostdev, node, error) ||
	    !conf_domain_read_boot_order(node, &hostdev->boot_order, error) || !read_rom(hostdev, node, error))
		return false;
	if (is_named_twice(conf, hostdev))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "the host's device %s is given twice",
					 hostdev->host);
	/* What libvirt writes where nothing is said. */
	xmlSetProp(node, (const xmlChar *)"mode", (const xmlChar *)"subsystem");
	xmlSetProp(node, (const xmlChar *)"managed", (const xmlChar *)(hostdev->managed ? "yes" : "no"));
	return true;
}
