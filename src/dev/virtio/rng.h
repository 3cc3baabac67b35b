/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entropy device, virtio 1.2 section 5.4, fed by the host kernel's generator. */
#pragma once

#include "aio/loop.h"
#include "dev/virtio/virtio.h"

struct virtio_rng {
	struct virtio_device vdev;
	/* Properties. */
	char *rng;          /* name of a -object rng-*; every one of them is the host's generator */
	uint64_t max_bytes; /* for each period */
	uint32_t period_ms;

	struct virtqueue *vq;
	/* On the queue's loop. */
	uint64_t quota;
	struct aio_timer refill;
	bool refill_armed;
};

#define VIRTIO_RNG_PROPERTIES(struct_, field_)                                                     \
	VIRTIO_PROPERTIES(struct_, field_.vdev),                                                   \
	PROPERTY(struct_, field_.rng, "rng", PROPERTY_STRING, NULL, "id of an rng object"),        \
	PROPERTY(struct_, field_.max_bytes, "max-bytes", PROPERTY_U64, "9223372036854775807",      \
		 "bytes for each period"),                                                         \
	PROPERTY(struct_, field_.period_ms, "period", PROPERTY_U32, "65536",                       \
		 "length of a period in milliseconds")

extern const struct virtio_type virtio_rng_type;
