/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory balloon, virtio 1.2 section 5.5. Pages that the driver gives up are given back to the
 * host; when it takes them again it finds zeroes. Queues are in the order of what is offered:
 * inflate, deflate, statistics, free page reporting.
 */
#include "dev/virtio/balloon.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "vm/vm.h"

#include <errno.h>

enum { F_MUST_TELL_HOST = 0, F_STATS_VQ = 1, F_DEFLATE_ON_OOM = 2, F_PAGE_POISON = 4, F_REPORTING = 5 };
enum { CONFIG_NUM_PAGES = 0, CONFIG_ACTUAL = 4, CONFIG_POISON = 12, CONFIG_SIZE = 16 };

#define QUEUE_SIZE 128
#define STAT_BYTES 10
/* Page numbers looked at before others on the loop get a turn. */
#define PAGES_PER_KICK (64 * 1024)

/* ---- Giving memory back ---- */

/*
 * Huge pages cannot go piecemeal, and pinned ones stay (-EBUSY). The guest loses nothing then, the host
 * gains nothing.
 */
static void discard(struct ram_block *ram, uint64_t offset, uint64_t length)
{
	static struct log_limit limit;
	int result = ram_discard(ram, offset, length);
	if (result < 0 && result != -EBUSY && log_limit_allows(&limit, 1))
		log_warning("virtio-balloon: cannot give back guest memory: %s", g_strerror(-result));
}

/* A run of neighbouring pages, in guest page numbers. */
struct run {
	uint64_t first, count;
};

static void discard_run(struct virtio_balloon *balloon, const struct run *run)
{
	uint64_t addr = run->first * PAGE_SIZE, left = run->count * PAGE_SIZE;
	while (left) {
		struct space_range range;
		/* A number that is no page of RAM is not worth more than this line. */
		if (!space_find(balloon->vdev.vm->memory, addr, &range) || !range.ram ||
		    range.readonly) {
			log_guest_fault("virtio-balloon: page 0x%" G_GINT64_MODIFIER "x is not RAM",
					addr / PAGE_SIZE);
			return;
		}
		uint64_t take = MIN(left, range.size - (addr - range.base));
		discard(range.ram, range.ram_offset + (addr - range.base), take);
		addr += take;
		left -= take;
	}
}

/* 5.5.6: a buffer of 32-bit page numbers. Neighbours, rising or falling, become one call. */
static void inflate_chain(struct virtio_balloon *balloon, const struct virtq_chain *chain)
{
	struct run run = {0};
	uint32_t numbers[256];
	uint64_t offset = 0;
	size_t got;
	while ((got = virtq_read(chain, offset, numbers, sizeof(numbers)) / 4)) {
		offset += got * 4;
		for (size_t i = 0; i < got; i++) {
			uint64_t page = numbers[i];
			if (run.count && page == run.first + run.count) {
				run.count++;
			} else if (run.count && page + 1 == run.first) {
				run.first--;
				run.count++;
			} else {
				if (run.count)
					discard_run(balloon, &run);
				run = (struct run){page, 1};
			}
		}
	}
	if (run.count)
		discard_run(balloon, &run);
}

static void pages_kick(struct virtio_balloon *balloon, struct virtqueue *vq)
{
	uint64_t budget = PAGES_PER_KICK;
	do {
		struct virtq_chain *chain;
		while (budget && (chain = virtq_pop(vq))) {
			uint64_t pages = chain->out_bytes / 4;
			/* A chain that names more pages than a guest has is for keeping us busy. */
			if (pages > 1024 * 1024) {
				virtio_broken(&balloon->vdev, "%u pages in one request",
					      (unsigned)MIN(pages, UINT32_MAX));
				virtq_drop(vq, chain);
				return;
			}
			/* What comes out of the balloon is faulted in when it is used. */
			if (vq == balloon->inflate)
				inflate_chain(balloon, chain);
			virtq_push(vq, chain, 0);
			budget -= MIN(budget, pages + 64);
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}

/* 5.5.6.8: writable buffers that are free memory, for the time until they are returned. */
static void reporting_kick(struct virtio_balloon *balloon, struct virtqueue *vq)
{
	unsigned budget = 2 * virtq_size(vq);
	do {
		struct virtq_chain *chain;
		while (budget && (chain = virtq_pop(vq))) {
			/* A guest that poisons free pages expects its pattern to be there still. */
			for (unsigned i = 0; i < chain->in_count && !atomic_load(&balloon->poison); i++)
				discard(chain->in_places[i].ram, chain->in_places[i].offset,
					chain->in[i].iov_len);
			virtq_push(vq, chain, 0);
			budget--;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}

/* ---- Statistics ---- */

static void arm_poll(struct virtio_balloon *balloon)
{
	if (balloon->poll_seconds)
		aio_timer_arm(&balloon->poll,
			      aio_now_ns() + balloon->poll_seconds * INT64_C(1000000000));
	else
		aio_timer_cancel(&balloon->poll);
}

/* Returning the buffer asks the driver for new numbers (5.5.6.3). */
static void ask_for_stats(struct virtio_balloon *balloon)
{
	struct virtq_chain *chain = balloon->stats_chain;
	if (!chain || !virtq_ready(balloon->stats_vq))
		return;
	balloon->stats_chain = NULL;
	virtq_push(balloon->stats_vq, chain, 0);
	virtq_notify(balloon->stats_vq);
}

static void poll_due(void *opaque)
{
	ask_for_stats(opaque);
	arm_poll(opaque);
}

static void stats_kick(struct virtio_balloon *balloon, struct virtqueue *vq)
{
	do {
		struct virtq_chain *chain = virtq_pop(vq);
		if (!chain)
			continue;
		if (balloon->stats_chain) {
			/* 5.5.6.3: one buffer at a time. */
			virtio_broken(&balloon->vdev, "second statistics buffer");
			virtq_drop(vq, chain);
			return;
		}
		uint8_t entry[STAT_BYTES];
		for (unsigned i = 0; i < 64 && virtq_read(chain, i * STAT_BYTES, entry,
							  STAT_BYTES) == STAT_BYTES; i++) {
			unsigned tag = le16_load(entry);
			if (tag < VIRTIO_BALLOON_STATS)
				balloon->stats.value[tag] = le64_load(entry + 2);
		}
		balloon->stats.last_update = g_get_real_time() / G_USEC_PER_SEC;
		balloon->stats_chain = chain;
	} while (virtq_enable_kicks(vq));
}

/* ---- The device ---- */

static void balloon_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_balloon *balloon = (struct virtio_balloon *)vdev;
	if (vq == balloon->stats_vq)
		stats_kick(balloon, vq);
	else if (vq == balloon->reporting_vq)
		reporting_kick(balloon, vq);
	else
		pages_kick(balloon, vq);
}

static void balloon_drop(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_balloon *balloon = (struct virtio_balloon *)vdev;
	if (vq == balloon->stats_vq && balloon->stats_chain) {
		virtq_drop(vq, balloon->stats_chain);
		balloon->stats_chain = NULL;
	}
}

static uint64_t balloon_features(struct virtio_device *vdev)
{
	const struct virtio_balloon *balloon = (struct virtio_balloon *)vdev;
	uint64_t features = VIRTIO_BIT(F_STATS_VQ);
	if (balloon->deflate_on_oom)
		features |= VIRTIO_BIT(F_DEFLATE_ON_OOM);
	if (balloon->reporting)
		features |= VIRTIO_BIT(F_REPORTING);
	if (balloon->page_poison)
		features |= VIRTIO_BIT(F_PAGE_POISON);
	return features;
}

static void balloon_read_config(struct virtio_device *vdev, uint8_t *config)
{
	struct virtio_balloon *balloon = (struct virtio_balloon *)vdev;
	memset(config, 0, CONFIG_SIZE);
	le32_store(config + CONFIG_NUM_PAGES, atomic_load(&balloon->target));
	le32_store(config + CONFIG_ACTUAL, atomic_load(&balloon->actual));
	le32_store(config + CONFIG_POISON, atomic_load(&balloon->poison));
}

static void tell_changed(void *opaque)
{
	struct virtio_balloon *balloon = opaque;
	if (balloon->changed)
		balloon->changed(balloon->changed_opaque, virtio_balloon_actual(balloon->vdev.owner));
}

static void balloon_write_config(struct virtio_device *vdev, unsigned offset, unsigned size)
{
	struct virtio_balloon *balloon = (struct virtio_balloon *)vdev;
	uint32_t actual = le32_load(vdev->config + CONFIG_ACTUAL);
	if (offset == CONFIG_POISON && virtio_has(vdev, F_PAGE_POISON))
		atomic_store(&balloon->poison, le32_load(vdev->config + CONFIG_POISON));
	/* The monitor hears of it on the main thread; this is a vCPU's. */
	if (offset == CONFIG_ACTUAL && atomic_exchange(&balloon->actual, actual) != actual)
		aio_timer_arm(&balloon->tell, aio_now_ns());
}

static void balloon_reset(struct virtio_device *vdev)
{
	struct virtio_balloon *balloon = (struct virtio_balloon *)vdev;
	/* A driver that starts anew holds nothing. */
	atomic_store(&balloon->actual, 0);
	atomic_store(&balloon->poison, 0);
}

static bool balloon_create(struct virtio_device *vdev, GError **error)
{
	struct virtio_balloon *balloon = (struct virtio_balloon *)vdev;
	struct virtqueue **queues[] = {&balloon->inflate, &balloon->deflate, &balloon->stats_vq,
				       &balloon->reporting_vq};
	for (unsigned i = 0; i < (balloon->reporting ? 4 : 3); i++) {
		*queues[i] = virtio_add_queue(vdev, QUEUE_SIZE, NULL, error);
		if (!*queues[i])
			return false;
	}
	aio_timer_init(&balloon->poll, vdev->vm->loop, poll_due, balloon);
	aio_timer_init(&balloon->tell, vdev->vm->loop, tell_changed, balloon);
	for (unsigned i = 0; i < VIRTIO_BALLOON_STATS; i++)
		balloon->stats.value[i] = UINT64_MAX;
	return true;
}

static void balloon_destroy(struct virtio_device *vdev)
{
	struct virtio_balloon *balloon = (struct virtio_balloon *)vdev;
	aio_timer_cancel(&balloon->poll);
	aio_timer_cancel(&balloon->tell);
}

const struct virtio_type virtio_balloon_type = {
	.id = 5,
	.name = "virtio-balloon",
	.pci_class = 0x00ff00,
	.config_size = CONFIG_SIZE,
	.create = balloon_create,
	.destroy = balloon_destroy,
	.features = balloon_features,
	.read_config = balloon_read_config,
	.write_config = balloon_write_config,
	.reset = balloon_reset,
	.kick = balloon_kick,
	.drop = balloon_drop,
};

/* ---- What the monitor asks; main thread ---- */

bool virtio_balloon_set_target(struct device *dev, uint64_t bytes)
{
	struct virtio_balloon *balloon = virtio_balloon_of(dev);
	if (!balloon)
		return false;
	atomic_store(&balloon->target, MIN(bytes / PAGE_SIZE, UINT32_MAX));
	virtio_config_changed(&balloon->vdev);
	return true;
}

uint64_t virtio_balloon_actual(struct device *dev)
{
	struct virtio_balloon *balloon = virtio_balloon_of(dev);
	return balloon ? (uint64_t)atomic_load(&balloon->actual) * PAGE_SIZE : 0;
}

void virtio_balloon_set_listener(struct device *dev,
				 void (*changed)(void *opaque, uint64_t actual_bytes), void *opaque)
{
	struct virtio_balloon *balloon = virtio_balloon_of(dev);
	if (!balloon)
		return;
	balloon->changed = changed;
	balloon->changed_opaque = opaque;
}

void virtio_balloon_set_polling(struct device *dev, unsigned seconds)
{
	struct virtio_balloon *balloon = virtio_balloon_of(dev);
	if (!balloon)
		return;
	balloon->poll_seconds = seconds;
	arm_poll(balloon);
}

bool virtio_balloon_get_stats(struct device *dev, struct virtio_balloon_stats *stats)
{
	struct virtio_balloon *balloon = virtio_balloon_of(dev);
	if (balloon)
		*stats = balloon->stats;
	return balloon != NULL;
}
