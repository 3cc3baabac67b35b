/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that grows and shrinks in blocks, virtio 1.2 section 5.15. */
#pragma once

#include "aio/loop.h"
#include "dev/virtio/devices.h"
#include "dev/virtio/virtio.h"

struct virtio_mem {
	struct virtio_device vdev;
	/* Properties. */
	struct ram_block *ram; /* the back end's: as large as the region */
	uint64_t block_size;
	uint64_t address;      /* of the region; 0: any, until the machine has placed it */
	uint32_t node;
	uint64_t asked;        /* requested-size, as it was set last. Main thread */

	struct virtqueue *vq;
	unsigned block_count;
	/* In bytes. The driver reads them on any thread. */
	_Atomic uint64_t requested; /* changes on the main thread */
	_Atomic uint64_t usable;    /* the guest can reach so much of the region; main thread */
	_Atomic uint64_t plugged;   /* changes on the main loop, as the map does */
	uint8_t *map;               /* a byte per block: is it plugged in? */
	struct aio_timer tell;      /* `plugged` has changed */
	bool telling;               /* it is armed */
	/* Set by the machine and the monitor. Main thread. May be NULL. */
	void (*reach)(void *opaque, struct device *dev); /* `usable` has changed */
	void *reach_opaque;
	void (*changed)(void *opaque, struct device *dev, uint64_t plugged);
	void *changed_opaque;
};

#define VIRTIO_MEM_PROPERTIES(struct_, field_)                                                     \
	VIRTIO_PROPERTIES(struct_, field_.vdev),                                                   \
	PROPERTY(struct_, field_.ram, "memdev", PROPERTY_MEMDEV, NULL, "the memory at its largest"), \
	PROPERTY(struct_, field_.block_size, "block-size", PROPERTY_SIZE, "2M",                    \
		 "how it grows and shrinks: a power of two"),                                      \
	PROPERTY(struct_, field_.asked, "requested-size", PROPERTY_SIZE, "0",          \
		 "how much the guest shall plug in"),                                              \
	PROPERTY(struct_, field_.node, "node", PROPERTY_U32, "0", "NUMA node"),                    \
	PROPERTY(struct_, field_.address, "memaddr", PROPERTY_U64, "0",                            \
		 "guest-physical address; 0: any")

extern const struct virtio_type virtio_mem_type;
/* NULL if `dev` is another kind of device. */
struct virtio_mem *virtio_mem_of(struct device *dev);

/*
 * How much the guest shall have plugged in, which it then does by itself. Main thread. An error if it
 * is no multiple of the block size, or more than the region.
 */
bool virtio_mem_request(struct virtio_mem *mem, uint64_t bytes, GError **error);
/* At a machine reset nothing is plugged in. Main thread, no vCPU runs. */
void virtio_mem_system_reset(struct virtio_mem *mem);
