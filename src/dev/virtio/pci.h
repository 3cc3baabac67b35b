/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI transport, virtio 1.2 section 4.1, modern interface only. A device's PCI class embeds
 * `struct virtio_pci` first and the device itself after it; virtio/classes.c builds the classes.
 */
#pragma once

#include "dev/pci/pci.h"
#include "dev/virtio/virtio.h"

enum virtio_pci_on_off_auto { VIRTIO_PCI_AUTO, VIRTIO_PCI_ON, VIRTIO_PCI_OFF };
extern const char *const virtio_pci_on_off_auto_names[];

struct virtio_pci {
	struct pci_device pci;
	struct virtio_device *vdev;
	/* Properties. */
	uint32_t vectors;       /* UINT32_MAX: one per queue and one for configuration changes */
	int disable_legacy;     /* enum virtio_pci_on_off_auto */
	bool disable_modern;
	bool ioeventfd;

	struct io_region bar;
	/* Plain registers: a driver that races with itself gets what it asked for. */
	uint32_t feature_select, driver_feature_select;
	uint16_t queue_select;
	_Atomic uint16_t config_vector;
	_Atomic uint16_t *queue_vectors;
	_Atomic uint8_t isr;
	struct virtio_pci_irqfd *irqfds; /* one for each vector, or NULL: the engine has none */
	unsigned irqfd_count;
	/* Under the PCI bus's lock. */
	uint64_t doorbells_at;  /* address of the notification area, UINT64_MAX: none */
	uint8_t cfg_cap;        /* offset of the PCI configuration access capability */
};

#define VIRTIO_PCI_PROPERTIES(struct_, field_)                                                     \
	PCI_PROPERTIES(struct_, field_.pci),                                                       \
	PROPERTY(struct_, field_.vectors, "vectors", PROPERTY_U32, "4294967295",                   \
		 "MSI-X vectors; 0: none"),                                                        \
	{.name = "disable-legacy", .type = PROPERTY_ENUM,                                          \
	 .offset = offsetof(struct_, field_.disable_legacy), .initial = "auto",                    \
	 .names = virtio_pci_on_off_auto_names, .help = "must not be off: modern interface only"}, \
	PROPERTY(struct_, field_.disable_modern, "disable-modern", PROPERTY_BOOL, "off",           \
		 "must be off: there is no legacy interface"),                                     \
	PROPERTY(struct_, field_.ioeventfd, "ioeventfd", PROPERTY_BOOL, "on",                      \
		 "let the kernel take doorbells")

/* Operations of the PCI classes; `open` is the class's own and calls virtio_pci_open(). */
bool virtio_pci_open(struct virtio_pci *proxy, struct virtio_device *vdev,
		     const struct virtio_type *type, GError **error);
bool virtio_pci_create(struct device *dev, GError **error);
void virtio_pci_reset(struct device *dev);
void virtio_pci_start(struct device *dev);
void virtio_pci_stop(struct device *dev);
void virtio_pci_destroy(struct device *dev);

/* pci_irqfd.c. After the MSI-X capability and before the guest sees the device. */
bool virtio_pci_irqfd_create(struct virtio_pci *proxy, GError **error);
/* Bus mastering was switched. */
void virtio_pci_irqfd_update(struct virtio_pci *proxy);
/* Any thread. False: the vector is not connected; send it by pci_msi_notify(). */
bool virtio_pci_irqfd_notify(struct virtio_pci *proxy, unsigned vector);
void virtio_pci_irqfd_destroy(struct virtio_pci *proxy);
