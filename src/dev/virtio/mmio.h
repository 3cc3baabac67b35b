/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MMIO transport, virtio 1.2 section 4.2, version 2: a row of register windows at fixed
 * addresses ("slots"), which the machine tells its guest of by ACPI or the command line. Devices
 * take the free slots in the order of their creation.
 */
#pragma once

#include "dev/core/device.h"
#include "dev/virtio/virtio.h"
#include "vm/irq.h"
#include "vm/space.h"

#define VIRTIO_MMIO_SLOT_SIZE 0x200

struct virtio_mmio_bus;
struct virtio_mmio_slot;

/* `irqs` has `count` entries, one for each slot, and is copied. Slot i is at base + i * 0x200. */
struct virtio_mmio_bus *virtio_mmio_bus_new(struct vm *vm, uint64_t base, const struct irq *irqs,
					    unsigned count);
/* Every device has been freed before. */
void virtio_mmio_bus_free(struct virtio_mmio_bus *bus);
/* The device in slot i, or NULL; for the machine's description to the guest. */
struct device *virtio_mmio_bus_device(const struct virtio_mmio_bus *bus, unsigned i);

/* A device's MMIO class embeds this first; see virtio/classes.c. */
struct virtio_mmio {
	struct device dev;
	struct virtio_device *vdev;
	struct virtio_mmio_slot *slot;
	bool ioeventfd;
	/* Plain registers: a driver that races with itself gets what it asked for. */
	uint32_t feature_select, driver_feature_select, queue_select;
	_Atomic uint32_t interrupt_status;
	pthread_mutex_t irq_lock; /* keeps the line in step with interrupt_status */
};

#define VIRTIO_MMIO_PROPERTIES(struct_, field_)                                                    \
	PROPERTY(struct_, field_.ioeventfd, "ioeventfd", PROPERTY_BOOL, "on",                      \
		 "let the kernel take doorbells")

bool virtio_mmio_open(struct virtio_mmio *proxy, struct virtio_device *vdev,
		      const struct virtio_type *type, GError **error);
bool virtio_mmio_create(struct device *dev, GError **error);
void virtio_mmio_reset(struct device *dev);
void virtio_mmio_start(struct device *dev);
void virtio_mmio_stop(struct device *dev);
void virtio_mmio_destroy(struct device *dev);
