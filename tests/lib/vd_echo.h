/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtio device for tests: copies what it reads into what it may write, at once or when told. */
#pragma once

#include "dev/virtio/mmio.h"
#include "dev/virtio/pci.h"

#define ECHO_QUEUES 2
#define ECHO_SIZE   64

struct echo {
	struct virtio_device vdev;
	struct virtqueue *vqs[ECHO_QUEUES];
	bool hold;                /* keep chains in `held` */
	bool keep_on_drop;        /* as if requests were with a disk */
	struct virtq_chain *held; /* newest first */
	unsigned resets, popped;
	uint8_t byte;             /* configuration */
};

extern const struct device_class echo_pci, echo_mmio;
struct echo *echo_of(struct device *dev);
/* Answer everything that is held. */
void echo_release(struct echo *echo);
