/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entropy device, virtio 1.2 section 5.4. Bytes come from getrandom(2), which does not block once
 * the host has booted; a limit of bytes in a period keeps a guest from using up the host's CPU.
 */
#include "dev/virtio/rng.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <sys/random.h>

#define QUEUE_SIZE 8
/* 5.4.6.2 asks for at least one byte: a larger buffer is used in part. */
#define REQUEST_MAX (64 * 1024)

static size_t fill(const struct virtq_chain *chain, size_t wanted)
{
	size_t done = 0;
	for (unsigned i = 0; i < chain->in_count && done < wanted; i++) {
		size_t take = MIN(chain->in[i].iov_len, wanted - done), got = 0;
		while (got < take) {
			ssize_t n = getrandom((uint8_t *)chain->in[i].iov_base + got, take - got, 0);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0) {
				log_error("virtio-rng: getrandom: %s", g_strerror(errno));
				return done + got;
			}
			got += n;
		}
		done += got;
	}
	return done;
}

static void rng_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_rng *rng = (struct virtio_rng *)vdev;
	unsigned budget = 2 * virtq_size(vq);
	do {
		struct virtq_chain *chain;
		while (rng->quota && budget && (chain = virtq_pop(vq))) {
			if (!chain->in_bytes) {
				virtio_broken(vdev, "request without room for entropy");
				virtq_drop(vq, chain);
				return;
			}
			size_t wanted = MIN(MIN(chain->in_bytes, REQUEST_MAX), rng->quota);
			rng->quota -= wanted;
			virtq_push(vq, chain, fill(chain, wanted));
			budget--;
		}
		if (!rng->quota) {
			if (!rng->refill_armed) {
				rng->refill_armed = true;
				aio_timer_arm(&rng->refill,
					      aio_now_ns() + rng->period_ms * INT64_C(1000000));
			}
			break;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}

static void rng_refill(void *opaque)
{
	struct virtio_rng *rng = opaque;
	rng->refill_armed = false;
	rng->quota = rng->max_bytes;
	virtq_kick_later(rng->vq);
}

static uint64_t rng_features(struct virtio_device *vdev)
{
	return 0;
}

static void rng_read_config(struct virtio_device *vdev, uint8_t *config)
{
}

static bool rng_create(struct virtio_device *vdev, GError **error)
{
	struct virtio_rng *rng = (struct virtio_rng *)vdev;
	if (!rng->max_bytes || !rng->period_ms)
		return error_set(error, BERTH_ERR_INVALID,
				 "virtio-rng: max-bytes and period must not be 0");
	rng->vq = virtio_add_queue(vdev, QUEUE_SIZE, NULL, error);
	if (!rng->vq)
		return false;
	rng->quota = rng->max_bytes;
	aio_timer_init(&rng->refill, virtq_loop(rng->vq), rng_refill, rng);
	return true;
}

static void rng_destroy(struct virtio_device *vdev)
{
	struct virtio_rng *rng = (struct virtio_rng *)vdev;
	if (rng->vq)
		aio_timer_cancel(&rng->refill);
}

const struct virtio_type virtio_rng_type = {
	.id = 4,
	.name = "virtio-rng",
	.pci_class = 0x00ff00,
	.config_size = 0,
	.create = rng_create,
	.destroy = rng_destroy,
	.features = rng_features,
	.read_config = rng_read_config,
	.kick = rng_kick,
};
