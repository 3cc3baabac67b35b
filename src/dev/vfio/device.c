/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfio-pci: the life of a host's device in the machine. */
#include "dev/vfio/vfio.h"

#include "dev/vfio/vfio_int.h"

#include <errno.h>
#include <stdio.h>

static struct vfio_pci *vfio_of(struct device *dev)
{
	return (struct vfio_pci *)dev;
}

/* "0000:05:00.0" from host= (whose domain may be left out) or sysfsdev=. */
static bool find_name(struct vfio_pci *v, GError **error)
{
	unsigned domain = 0, bus, slot, function;
	int end = 0;
	if (!v->host_address == !v->sysfsdev)
		return error_set(error, BERTH_ERR_INVALID,
				 "say which of the host's devices: host=0000:BB:DD.F (lspci -D lists them), "
				 "or sysfsdev=/sys/bus/pci/devices/0000:BB:DD.F");
	g_autofree char *base = v->sysfsdev ? g_path_get_basename(v->sysfsdev) : g_strdup(v->host_address);
	bool whole = sscanf(base, "%4x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &end) == 4 &&
		     (size_t)end == strlen(base);
	if (!whole) {
		domain = 0;
		whole = sscanf(base, "%2x:%2x.%1x%n", &bus, &slot, &function, &end) == 3 &&
			(size_t)end == strlen(base);
	}
	if (!whole || slot > 31 || function > 7)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is no PCI address: it looks like 0000:05:00.0", base);
	v->name = g_strdup_printf("%04x:%02x:%02x.%x", domain, bus, slot, function);
	v->path = g_strdup_printf("/sys/bus/pci/devices/%s", v->name);
	return true;
}

static bool vfio_open(struct device *dev, GError **error)
{
	struct vfio_pci *v = vfio_of(dev);
	if (!find_name(v, error))
		return false;
	v->group = vfio_group_get(dev->vm, v->path, v->name, error);
	if (!v->group)
		return false;
	v->host = vfio_group_open_device(v->group, v->path, v->name, error);
	return v->host != NULL;
}

static void read_rom(struct vfio_pci *v)
{
	struct vfio_host_region region;
	if (v->pci.rom_file || !v->pci.rom_bar ||
	    !v->host->ops->region(v->host, VFIO_PCI_ROM_REGION_INDEX, &region, NULL) || !region.size ||
	    region.size > PCI_ROM_MAX)
		return;
	uint8_t *bytes = g_malloc0(region.size);
	/* An image begins so (PCI 3.0, 6.3.1.1); most cards that have room for one have none. */
	if (v->host->ops->read(v->host, VFIO_PCI_ROM_REGION_INDEX, 0, bytes, (unsigned)region.size) &&
	    le16_load(bytes) == 0xaa55)
		v->pci.rom_own = g_bytes_new_take(bytes, region.size);
	else
		g_free(bytes);
}

/* Under the bus lock. With the pin in use every access is to be seen: bar.c. */
static bool windows_open(struct pci_device *pci)
{
	const struct vfio_pci *v = (struct vfio_pci *)pci;
	return v->decodes && v->mode != VFIO_IRQ_INTX;
}

static bool vfio_create(struct device *dev, GError **error)
{
	struct vfio_pci *v = vfio_of(dev);
	/* ram_note_write() is nobody's to call when the device writes. */
	if (dev->vm->engine->emulates)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: the software engine would not notice code that the device writes over older "
				 "code: a device of the host needs -accel kvm", v->name);
	/* The device sees no fence that a vCPU leaves out. */
	vm_expose_memory(dev->vm);
	v->pci.windows_open = windows_open;
	if (!vfio_config_create(v, error) || !vfio_bars_create(v, error) || !vfio_irq_create(v, error))
		return false;
	read_rom(v);
	return true;
}

static void vfio_reset(struct device *dev)
{
	struct vfio_pci *v = vfio_of(dev);
	vfio_irq_off(v);
	pci_device_reset(&v->pci);
	int result = v->host->ops->reset(v->host);
	if (result < 0)
		log_warning("vfio-pci: %s: the host cannot reset it (%s): it goes on as it is", v->name,
			    result == -ENOTTY ? "it can only be reset with others" : g_strerror(-result));
	vfio_config_sync(v);
	vfio_irq_update(v);
}

/* The host gets it back quiet: the kernel resets it when its descriptor closes. */
static void vfio_destroy(struct device *dev)
{
	struct vfio_pci *v = vfio_of(dev);
	vfio_irq_destroy(v);
	pci_device_cleanup(&v->pci);
	if (v->host) {
		vfio_bars_destroy(v);
		v->host->ops->close(v->host);
	}
	if (v->group)
		vfio_group_put(v->group);
	g_free(v->name);
	g_free(v->path);
}

static const struct property bus_properties[] = {
	PCI_PROPERTIES(struct vfio_pci, pci),
	{0},
};

static const struct property properties[] = {
	PROPERTY(struct vfio_pci, host_address, "host", PROPERTY_STRING, NULL,
		 "the host's device, by address: 0000:BB:DD.F; it must be bound to vfio-pci"),
	PROPERTY(struct vfio_pci, sysfsdev, "sysfsdev", PROPERTY_STRING, NULL,
		 "the same by its folder in sysfs, in place of host"),
	PROPERTY(struct vfio_pci, boot_index, "bootindex", PROPERTY_U32, "4294967295",
		 "place in the boot order"),
	{0},
};

const struct device_class vfio_pci_class = {
	.name = "vfio-pci",
	.description = "PCI device of the host, given to the guest",
	.bus = "PCI",
	.category = "misc",
	.properties = properties,
	.bus_properties = bus_properties,
	.size = sizeof(struct vfio_pci),
	.open = vfio_open,
	.create = vfio_create,
	.reset = vfio_reset,
	.destroy = vfio_destroy,
};
