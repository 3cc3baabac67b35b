/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory balloon, virtio 1.2 section 5.5. */
#pragma once

#include "aio/loop.h"
#include "dev/virtio/devices.h"
#include "dev/virtio/virtio.h"

struct virtio_balloon {
	struct virtio_device vdev;
	/* Properties. */
	bool deflate_on_oom, reporting, page_poison;

	struct virtqueue *inflate, *deflate, *stats_vq, *reporting_vq;
	/* In pages of 4 KiB; written by the monitor and by the driver. */
	_Atomic uint32_t target, actual, poison;
	void (*changed)(void *opaque, uint64_t actual_bytes);
	void *changed_opaque;

	/* On the main loop. */
	struct virtq_chain *stats_chain; /* waits to be returned: asks for new statistics */
	struct aio_timer poll;
	unsigned poll_seconds;           /* 0: off */
	struct aio_timer tell;           /* the driver has changed `actual` */
	struct virtio_balloon_stats stats;
};

#define VIRTIO_BALLOON_PROPERTIES(struct_, field_)                                                 \
	VIRTIO_PROPERTIES(struct_, field_.vdev),                                                   \
	PROPERTY(struct_, field_.deflate_on_oom, "deflate-on-oom", PROPERTY_BOOL, "off",           \
		 "let a guest that runs out of memory take back what it needs"),                   \
	PROPERTY(struct_, field_.reporting, "free-page-reporting", PROPERTY_BOOL, "off",           \
		 "take back memory that the guest does not use"),                                  \
	PROPERTY(struct_, field_.page_poison, "page-poison", PROPERTY_BOOL, "on",                  \
		 "hear of the pattern that the guest fills free pages with")

extern const struct virtio_type virtio_balloon_type;
/* NULL if `dev` is another kind of device. */
struct virtio_balloon *virtio_balloon_of(struct device *dev);
