/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each device type as a class for each transport. An instance is the transport's part first (its
 * `struct device` at the very start) and the device after it.
 */
#include "dev/virtio/devices.h"

#include "dev/virtio/balloon.h"
#include "dev/virtio/blk.h"
#include "dev/virtio/console.h"
#include "dev/virtio/mem.h"
#include "dev/virtio/mmio.h"
#include "dev/virtio/net.h"
#include "dev/virtio/p9.h"
#include "dev/virtio/pci.h"
#include "dev/virtio/rng.h"
#include "dev/virtio/vsock.h"

/* `inner` is the device's struct tag and the stem of its type's name. */
#define CLASS(inner, bus_, transport, TRANSPORT, symbol, name_, alias_, description_, category_,   \
	      INNER)                                                                               \
	struct symbol##_instance {                                                                 \
		struct virtio_##transport proxy;                                                   \
		struct inner dev;                                                                  \
	};                                                                                         \
	static const struct property symbol##_properties[] = {                                     \
		TRANSPORT(struct symbol##_instance, proxy),                                        \
		INNER(struct symbol##_instance, dev),                                              \
		{.name = NULL},                                                                    \
	};                                                                                         \
	static bool symbol##_open(struct device *dev, GError **error)                              \
	{                                                                                          \
		struct symbol##_instance *self = (struct symbol##_instance *)dev;                  \
		return virtio_##transport##_open(&self->proxy, &self->dev.vdev, &inner##_type,     \
						 error);                                           \
	}                                                                                          \
	const struct device_class symbol = {                                                       \
		.name = name_, .alias = alias_, .description = description_, .bus = bus_,          \
		.category = category_, .properties = symbol##_properties,                          \
		.size = sizeof(struct symbol##_instance), .open = symbol##_open,                   \
		.create = virtio_##transport##_create, .reset = virtio_##transport##_reset,        \
		.start = virtio_##transport##_start, .stop = virtio_##transport##_stop,            \
		.destroy = virtio_##transport##_destroy,                                           \
	};

#define PCI_CLASS(inner, name, alias, description, category, PROPERTIES)                           \
	CLASS(inner, "PCI", pci, VIRTIO_PCI_PROPERTIES, inner##_pci, name "-pci", alias,           \
	      description, category, PROPERTIES)
#define MMIO_CLASS(inner, name, description, category, PROPERTIES)                                 \
	CLASS(inner, "virtio-bus", mmio, VIRTIO_MMIO_PROPERTIES, inner##_device, name "-device",   \
	      NULL, description, category, PROPERTIES)
#define BOTH(inner, name, alias, description, category, PROPERTIES)                                \
	PCI_CLASS(inner, name, alias, description " (PCI)", category, PROPERTIES)                  \
	MMIO_CLASS(inner, name, description " (MMIO)", category, PROPERTIES)

BOTH(virtio_blk, "virtio-blk", "virtio-blk", "disk", "storage", VIRTIO_BLK_PROPERTIES)
BOTH(virtio_net, "virtio-net", "virtio-net", "network card", "network", VIRTIO_NET_PROPERTIES)
BOTH(virtio_rng, "virtio-rng", "virtio-rng", "random number generator", "misc",
     VIRTIO_RNG_PROPERTIES)

BOTH(virtio_serial, "virtio-serial", "virtio-serial", "controller of console ports", "input",
     VIRTIO_SERIAL_PROPERTIES)
BOTH(virtio_balloon, "virtio-balloon", "virtio-balloon", "memory balloon", "misc",
     VIRTIO_BALLOON_PROPERTIES)
PCI_CLASS(virtio_mem, "virtio-mem", NULL, "memory that grows and shrinks (PCI)", "misc",
	  VIRTIO_MEM_PROPERTIES)
BOTH(virtio_vsock, "virtio-vsock", "virtio-vsock", "sockets between host and guest", "misc",
     VIRTIO_VSOCK_PROPERTIES)
BOTH(virtio_9p, "virtio-9p", "virtio-9p", "folder of the host", "storage", VIRTIO_9P_PROPERTIES)

/* ---- What the monitor asks ---- */

/* The `inner` in a device of either class, or NULL. */
#define INNER_OF(inner, dev_)                                                                      \
	((dev_)->class == &inner##_pci ? &((struct inner##_pci_instance *)(dev_))->dev             \
	 : (dev_)->class == &inner##_device ? &((struct inner##_device_instance *)(dev_))->dev     \
					    : NULL)

struct virtio_serial *virtio_serial_of(struct device *dev)
{
	return INNER_OF(virtio_serial, dev);
}

void *virtio_serial_bus(struct device *dev)
{
	return virtio_serial_of(dev);
}

struct virtio_balloon *virtio_balloon_of(struct device *dev)
{
	return INNER_OF(virtio_balloon, dev);
}

struct virtio_mem *virtio_mem_of(struct device *dev)
{
	return dev->class == &virtio_mem_pci ? &((struct virtio_mem_pci_instance *)dev)->dev : NULL;
}

bool virtio_blk_resized(struct device *dev)
{
	struct virtio_blk *blk = INNER_OF(virtio_blk, dev);
	if (blk)
		virtio_config_changed(&blk->vdev);
	return blk != NULL;
}

bool virtio_net_takes_memory(struct device *dev, const struct ram_block *ram, unsigned more, GError **error)
{
	const struct virtio_net *net = INNER_OF(virtio_net, dev);
	return !net || !net->vhost_rings || net_vhost_takes_memory(net, ram, more, error);
}

struct virtio_blk *virtio_blk_of(struct device *dev)
{
	return INNER_OF(virtio_blk, dev);
}

struct block_node *virtio_blk_node(struct device *dev)
{
	struct virtio_blk *blk = INNER_OF(virtio_blk, dev);
	return blk ? blk->node : NULL;
}
