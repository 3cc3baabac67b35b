/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block device, virtio 1.2 section 5.2. Each chain is a header, data and a status byte, in any
 * distribution over descriptors (2.7.4). A queue has as many requests as entries, so there is
 * always one for a chain, and data goes straight between guest memory and the block node.
 *
 * A request that fails while the policy says "stop" is kept; the VM pauses, and when it goes on
 * the request is submitted again.
 */
#include "dev/virtio/blk.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "block/core/block.h"
#include "vm/vm.h"

#include <errno.h>

#define SECTOR 512u
#define ID_BYTES 20

enum {
	F_SEG_MAX = 2, F_GEOMETRY = 4, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10,
	F_CONFIG_WCE = 11, F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14,
};

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

/* 5.2.4 */
enum {
	CONFIG_CAPACITY = 0, CONFIG_SEG_MAX = 12, CONFIG_CYLINDERS = 16, CONFIG_HEADS = 18,
	CONFIG_SECTORS = 19, CONFIG_BLK_SIZE = 20, CONFIG_PHYSICAL_EXP = 24, CONFIG_MIN_IO = 26,
	CONFIG_OPT_IO = 28, CONFIG_WRITEBACK = 32, CONFIG_NUM_QUEUES = 34,
	CONFIG_MAX_DISCARD = 36, CONFIG_MAX_DISCARD_SEG = 40, CONFIG_DISCARD_ALIGN = 44,
	CONFIG_MAX_ZEROES = 48, CONFIG_MAX_ZEROES_SEG = 52, CONFIG_ZEROES_UNMAP = 56,
	CONFIG_SIZE = 60,
};

const char *const virtio_blk_on_error_names[] = {"auto", "report", "ignore", "enospc", "stop", NULL};
const char *const virtio_blk_cache_names[] = {"auto", "on", "off", NULL};

struct blk_request {
	struct block_request block;
	struct blk_queue *queue;
	struct virtq_chain *chain;
	uint8_t *status;
	bool status_trimmed; /* the status byte was cut off the last segment of `in` */
	struct blk_request *next;
};

struct blk_queue {
	struct virtio_blk *blk;
	struct virtqueue *vq;
	struct blk_request *requests, *free;
	struct blk_request *retry, **retry_tail; /* failed, to be submitted again */
	bool in_kick;                            /* notify once at its end */
};

static void request_submit(struct blk_request *request);

/* ---- Completion ---- */

static void request_finish(struct blk_request *request, uint8_t status)
{
	struct blk_queue *queue = request->queue;
	struct virtq_chain *chain = request->chain;
	*request->status = status;
	if (request->status_trimmed)
		chain->in[chain->in_count - 1].iov_len++;
	request->next = queue->free;
	queue->free = request;
	/* The status byte is the last, so all of it counts as written (2.7.8.2 wants no gaps). */
	virtq_push(queue->vq, chain, MIN(chain->in_bytes, UINT32_MAX));
	if (!queue->in_kick)
		virtq_notify(queue->vq);
}

static void pause_for_error(void *opaque)
{
	struct virtio_blk *blk = opaque;
	vm_pause(blk->vdev.vm, VM_STATE_IO_ERROR);
}

static enum virtio_blk_on_error policy(const struct virtio_blk *blk, enum block_op op, int error)
{
	int p = op == BLOCK_READ ? blk->rerror : blk->werror;
	if (p == VIRTIO_BLK_ERROR_AUTO)
		p = op == BLOCK_READ ? VIRTIO_BLK_ERROR_REPORT : VIRTIO_BLK_ERROR_ENOSPC;
	if (p == VIRTIO_BLK_ERROR_ENOSPC)
		p = error == -ENOSPC ? VIRTIO_BLK_ERROR_STOP : VIRTIO_BLK_ERROR_REPORT;
	return p;
}

static void tell_error(const struct virtio_blk *blk, enum block_op op, int result,
		       enum virtio_blk_on_error p)
{
	struct vm_notice notice = {.kind = VM_NOTICE_IO_ERROR, .write = op != BLOCK_READ,
				   .error = -result,
				   .action = p == VIRTIO_BLK_ERROR_IGNORE ? "ignore" :
					     p == VIRTIO_BLK_ERROR_STOP   ? "stop" :
									    "report"};
	vm_notify(blk->vdev.vm, &notice, block_node_name(blk->node));
}

static void request_done(struct block_request *block, int result)
{
	struct blk_request *request = (struct blk_request *)block;
	struct blk_queue *queue = request->queue;
	struct virtio_blk *blk = queue->blk;
	if (result == 0) {
		request_finish(request, S_OK);
		return;
	}
	/* A device that is being reset has nobody who would wait for another try. */
	enum virtio_blk_on_error p = virtq_ready(queue->vq) || !atomic_load(&blk->vdev.running)
					     ? policy(blk, block->op, result)
					     : VIRTIO_BLK_ERROR_REPORT;
	tell_error(blk, block->op, result, p);
	if (p == VIRTIO_BLK_ERROR_IGNORE) {
		request_finish(request, S_OK);
	} else if (p == VIRTIO_BLK_ERROR_STOP) {
		log_error("%s: %s: %s; the VM pauses and tries again when it goes on",
			  block_node_name(blk->node), block->op == BLOCK_READ ? "read" : "write",
			  g_strerror(-result));
		request->next = NULL;
		*queue->retry_tail = request;
		queue->retry_tail = &request->next;
		block_set_io_failed(blk->node, result);
		/* Not from here: pausing waits for requests, and this is one's completion. */
		aio_timer_arm(&blk->pause, aio_now_ns());
	} else {
		request_finish(request, S_IOERR);
	}
}

/* ---- Submission ---- */

static bool range_ok(const struct virtio_blk *blk, uint64_t sector, uint64_t bytes)
{
	if (sector > UINT64_MAX / SECTOR)
		return false;
	uint64_t offset = sector * SECTOR;
	uint64_t mask = blk->logical_block - 1;
	return !(offset & mask) && !(bytes & mask) &&
	       range_fits(offset, bytes, block_size(blk->node));
}

static void request_transfer(struct blk_request *request, uint64_t sector, bool write)
{
	struct virtio_blk *blk = request->queue->blk;
	struct virtq_chain *chain = request->chain;
	struct block_request *block = &request->block;
	uint64_t bytes = write ? chain->out_bytes - 16 : chain->in_bytes - 1;
	if (!range_ok(blk, sector, bytes) || (write && block_is_readonly(blk->node))) {
		request_finish(request, S_IOERR);
		return;
	}
	if (!bytes) {
		request_finish(request, S_OK);
		return;
	}
	block->op = write ? BLOCK_WRITE : BLOCK_READ;
	block->flags = write && atomic_load_explicit(&blk->write_fua, memory_order_relaxed)
			       ? BLOCK_REQ_FUA : 0;
	block->offset = sector * SECTOR;
	block->length = bytes;
	if (write) {
		/* The header was taken off the front. */
		block->iov = chain->out;
		block->iov_count = chain->out_count;
	} else {
		block->iov = chain->in;
		block->iov_count = chain->in_count - !request->status_trimmed;
	}
	request_submit(request);
}

/* 5.2.6.1: discard and write-zeroes name their ranges in the data; one range is what we allow. */
static void request_range(struct blk_request *request, uint32_t type)
{
	struct virtio_blk *blk = request->queue->blk;
	struct block_request *block = &request->block;
	bool zeroes = type == T_WRITE_ZEROES;
	uint8_t segment[16];
	if (request->chain->out_bytes != 16 + sizeof(segment) ||
	    !virtio_has(&blk->vdev, zeroes ? F_WRITE_ZEROES : F_DISCARD) ||
	    block_is_readonly(blk->node)) {
		request_finish(request, S_UNSUPP);
		return;
	}
	virtq_read(request->chain, 0, segment, sizeof(segment));
	uint64_t sector = le64_load(segment);
	uint32_t count = le32_load(segment + 8), flags = le32_load(segment + 12);
	if (flags & ~(zeroes ? 1u : 0u)) {
		request_finish(request, S_UNSUPP);
		return;
	}
	if (count > (zeroes ? blk->max_write_zeroes : blk->max_discard) ||
	    !range_ok(blk, sector, (uint64_t)count * SECTOR)) {
		request_finish(request, S_IOERR);
		return;
	}
	if (!count) {
		request_finish(request, S_OK);
		return;
	}
	block->op = zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD;
	block->flags = flags ? BLOCK_REQ_MAY_UNMAP : 0;
	if (zeroes && atomic_load_explicit(&blk->write_fua, memory_order_relaxed))
		block->flags |= BLOCK_REQ_FUA;
	block->offset = sector * SECTOR;
	block->length = (uint64_t)count * SECTOR;
	block->iov = NULL;
	block->iov_count = 0;
	request_submit(request);
}

static void request_submit(struct blk_request *request)
{
	struct virtio_blk *blk = request->queue->blk;
	request->block.done = request_done;
	block_submit(blk->node, &request->block);
}

static void request_get_id(struct blk_request *request)
{
	const struct virtio_blk *blk = request->queue->blk;
	char id[ID_BYTES] = {0};
	if (blk->serial)
		memcpy(id, blk->serial, MIN(strlen(blk->serial), ID_BYTES));
	/* `in` without the status byte. */
	virtq_write(request->chain, 0, id, MIN(request->chain->in_bytes - 1, ID_BYTES));
	request_finish(request, S_OK);
}

/* Cut `bytes` that have been read off the front of what the driver wrote. */
static void trim_front(struct virtq_chain *chain, size_t bytes)
{
	while (bytes) {
		size_t take = MIN(bytes, chain->out->iov_len);
		chain->out->iov_base = (uint8_t *)chain->out->iov_base + take;
		chain->out->iov_len -= take;
		bytes -= take;
		if (!chain->out->iov_len) {
			chain->out++;
			chain->out_count--;
		}
	}
}

static bool request_start(struct blk_queue *queue, struct virtq_chain *chain)
{
	struct virtio_device *vdev = &queue->blk->vdev;
	uint8_t header[16];
	if (chain->out_bytes < sizeof(header) || !chain->in_bytes) {
		virtio_broken(vdev, "request without %s",
			      chain->in_bytes ? "a whole header" : "room for the status");
		virtq_drop(queue->vq, chain);
		return false;
	}
	virtq_read(chain, 0, header, sizeof(header));

	struct blk_request *request = queue->free;
	g_assert(request); /* as many as the queue has entries */
	queue->free = request->next;
	request->chain = chain;
	struct iovec *last = &chain->in[chain->in_count - 1];
	request->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	request->status_trimmed = last->iov_len > 1;
	if (request->status_trimmed)
		last->iov_len--;

	uint32_t type = le32_load(header);
	uint64_t sector = le64_load(header + 8);
	switch (type) {
	case T_IN:
	case T_OUT:
		trim_front(chain, sizeof(header));
		request_transfer(request, sector, type == T_OUT);
		break;
	case T_FLUSH:
		request->block.op = BLOCK_FLUSH;
		request->block.flags = 0;
		request->block.offset = request->block.length = 0;
		request->block.iov = NULL;
		request->block.iov_count = 0;
		request_submit(request);
		break;
	case T_GET_ID:
		request_get_id(request);
		break;
	case T_DISCARD:
	case T_WRITE_ZEROES:
		trim_front(chain, sizeof(header));
		request_range(request, type);
		break;
	default:
		request_finish(request, S_UNSUPP);
		break;
	}
	return true;
}

static void retry_all(struct blk_queue *queue)
{
	struct blk_request *request = queue->retry;
	queue->retry = NULL;
	queue->retry_tail = &queue->retry;
	while (request) {
		struct blk_request *next = request->next;
		request_submit(request);
		request = next;
	}
}

static void blk_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	struct blk_queue *queue = &blk->queues[virtq_index(vq)];
	/* Requests can complete at once (page cache, errors): others on this loop want a turn. */
	unsigned budget = 2 * virtq_size(vq);
	if (blk->held_back)
		return; /* virtio_blk_hold_back() kicks again */
	queue->in_kick = true;
	block_plug(blk->node);
	if (queue->retry)
		retry_all(queue);
	do {
		struct virtq_chain *chain;
		virtq_disable_kicks(vq);
		while (budget && (chain = virtq_pop(vq))) {
			budget--;
			if (!request_start(queue, chain))
				break;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	block_unplug(blk->node);
	queue->in_kick = false;
	virtq_notify(vq);
}

static void blk_drop(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	struct blk_queue *queue = &blk->queues[virtq_index(vq)];
	while (queue->retry) {
		struct blk_request *request = queue->retry;
		queue->retry = request->next;
		if (request->status_trimmed)
			request->chain->in[request->chain->in_count - 1].iov_len++;
		request->next = queue->free;
		queue->free = request;
		virtq_drop(vq, request->chain);
	}
	queue->retry_tail = &queue->retry;
}

/* ---- Features and configuration ---- */

static uint64_t blk_features(struct virtio_device *vdev)
{
	const struct virtio_blk *blk = (struct virtio_blk *)vdev;
	uint64_t features = VIRTIO_BIT(F_SEG_MAX) | VIRTIO_BIT(F_GEOMETRY) |
			    VIRTIO_BIT(F_BLK_SIZE) | VIRTIO_BIT(F_TOPOLOGY) | VIRTIO_BIT(F_FLUSH);
	if (blk->config_wce)
		features |= VIRTIO_BIT(F_CONFIG_WCE);
	if (blk->num_queues > 1)
		features |= VIRTIO_BIT(F_MQ);
	if (block_is_readonly(blk->node))
		return features | VIRTIO_BIT(F_RO);
	if (blk->discard)
		features |= VIRTIO_BIT(F_DISCARD);
	if (blk->write_zeroes)
		features |= VIRTIO_BIT(F_WRITE_ZEROES);
	return features;
}

static void blk_read_config(struct virtio_device *vdev, uint8_t *config)
{
	const struct virtio_blk *blk = (struct virtio_blk *)vdev;
	const struct block_limits *limits = block_limits(blk->node);
	uint64_t sectors = block_size(blk->node) / SECTOR;
	uint32_t discard_align = blk->discard_granularity != UINT32_MAX
					 ? blk->discard_granularity
					 : MIN(limits->discard_alignment, UINT32_MAX);
	memset(config, 0, CONFIG_SIZE);
	le64_store(config + CONFIG_CAPACITY, sectors);
	le32_store(config + CONFIG_SEG_MAX, MIN(blk->queue_size, 1024) - 2);
	/* What every firmware derives for large disks: 255 heads and 63 sectors. */
	le16_store(config + CONFIG_CYLINDERS, MIN(sectors / (255 * 63), 16383));
	config[CONFIG_HEADS] = 255;
	config[CONFIG_SECTORS] = 63;
	le32_store(config + CONFIG_BLK_SIZE, blk->logical_block);
	config[CONFIG_PHYSICAL_EXP] = __builtin_ctz(blk->physical_block / blk->logical_block);
	le16_store(config + CONFIG_MIN_IO, blk->min_io / blk->logical_block);
	le32_store(config + CONFIG_OPT_IO, blk->opt_io / blk->logical_block);
	config[CONFIG_WRITEBACK] = atomic_load(&blk->writeback);
	le16_store(config + CONFIG_NUM_QUEUES, blk->num_queues);
	le32_store(config + CONFIG_MAX_DISCARD, blk->max_discard);
	le32_store(config + CONFIG_MAX_DISCARD_SEG, 1);
	le32_store(config + CONFIG_DISCARD_ALIGN, MAX(discard_align, blk->logical_block) / SECTOR);
	le32_store(config + CONFIG_MAX_ZEROES, blk->max_write_zeroes);
	le32_store(config + CONFIG_MAX_ZEROES_SEG, 1);
	config[CONFIG_ZEROES_UNMAP] = 1;
}

static void update_write_fua(struct virtio_blk *blk)
{
	/* 5.2.6.2: a driver that cannot flush, or has switched the cache off, relies on this. */
	bool cached = virtio_has(&blk->vdev, F_CONFIG_WCE) ? atomic_load(&blk->writeback)
							   : virtio_has(&blk->vdev, F_FLUSH) &&
								     blk->write_cache != 2;
	atomic_store(&blk->write_fua, !cached);
}

static void blk_write_config(struct virtio_device *vdev, unsigned offset, unsigned size)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	if (offset != CONFIG_WRITEBACK || size != 1 || !virtio_has(vdev, F_CONFIG_WCE))
		return;
	atomic_store(&blk->writeback, vdev->config[CONFIG_WRITEBACK] & 1);
	update_write_fua(blk);
}

static void blk_driver_ok(struct virtio_device *vdev)
{
	update_write_fua((struct virtio_blk *)vdev);
}

static void blk_reset(struct virtio_device *vdev)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	atomic_store(&blk->writeback, blk->write_cache != 2);
	atomic_store(&blk->write_fua, false);
}

/* ---- Life ---- */

static bool power_of_two(uint32_t v)
{
	return v && !(v & (v - 1));
}

static bool check_properties(struct virtio_blk *blk, GError **error)
{
	const struct block_limits *limits = block_limits(blk->node);
	if (blk->serial && strlen(blk->serial) > ID_BYTES)
		log_warning("virtio-blk: only the first %d characters of serial '%s' are shown",
			    ID_BYTES, blk->serial);
	if (!blk->logical_block)
		blk->logical_block = MAX(limits->logical_block, SECTOR);
	if (!blk->physical_block)
		blk->physical_block = MAX(limits->physical_block, blk->logical_block);
	if (!power_of_two(blk->logical_block) || blk->logical_block < SECTOR ||
	    blk->logical_block > 2 * 1024 * 1024)
		return error_set(error, BERTH_ERR_INVALID,
				 "logical_block_size=%u is not a power of two from 512 to 2M",
				 blk->logical_block);
	if (!power_of_two(blk->physical_block) || blk->physical_block < blk->logical_block)
		return error_set(error, BERTH_ERR_INVALID,
				 "physical_block_size=%u is not a power of two of at least %u",
				 blk->physical_block, blk->logical_block);
	if (!power_of_two(blk->queue_size) || blk->queue_size < 4 ||
	    blk->queue_size > VIRTQUEUE_MAX_SIZE)
		return error_set(error, BERTH_ERR_INVALID,
				 "queue-size=%u is not a power of two from 4 to %u",
				 blk->queue_size, VIRTQUEUE_MAX_SIZE);
	if (blk->num_queues == UINT16_MAX)
		blk->num_queues = CLAMP(blk->vdev.vm->config.vcpus, 1, VIRTIO_QUEUES_MAX);
	if (!blk->num_queues || blk->num_queues > VIRTIO_QUEUES_MAX)
		return error_set(error, BERTH_ERR_INVALID, "num-queues=%u is not from 1 to %u",
				 blk->num_queues, VIRTIO_QUEUES_MAX);
	return true;
}

static bool blk_create(struct virtio_device *vdev, GError **error)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	if (!blk->node)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s needs a disk: give it drive=ID of a -drive or -blockdev",
				 vdev->owner->class->name);
	if (!check_properties(blk, error))
		return false;
	blk->queues = g_new0(struct blk_queue, blk->num_queues);
	for (unsigned i = 0; i < blk->num_queues; i++) {
		struct blk_queue *queue = &blk->queues[i];
		queue->blk = blk;
		queue->retry_tail = &queue->retry;
		queue->vq = virtio_add_queue(vdev, blk->queue_size, NULL, error);
		if (!queue->vq)
			return false;
		queue->requests = g_new0(struct blk_request, blk->queue_size);
		for (unsigned r = 0; r < blk->queue_size; r++) {
			queue->requests[r].queue = queue;
			queue->requests[r].next = queue->free;
			queue->free = &queue->requests[r];
		}
	}
	blk->loop = vdev->vm->loop;
	blk_reset(vdev);
	if (policy(blk, BLOCK_READ, -ENOSPC) == VIRTIO_BLK_ERROR_STOP ||
	    policy(blk, BLOCK_WRITE, -ENOSPC) == VIRTIO_BLK_ERROR_STOP)
		block_set_io_status(blk->node, BLOCK_IO_OK);
	aio_timer_init(&blk->pause, vdev->vm->loop, pause_for_error, blk);
	return true;
}

static void blk_drain(struct virtio_device *vdev)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	blk->pinned++;
	virtio_blk_go_home(blk);
	block_drain(blk->node);
	blk->pinned--;
}

static void blk_destroy(struct virtio_device *vdev)
{
	struct virtio_blk *blk = (struct virtio_blk *)vdev;
	blk->pinned++;
	virtio_blk_go_home(blk);
	if (blk->node)
		block_drain(blk->node);
	if (blk->pause.loop)
		aio_timer_cancel(&blk->pause);
	for (unsigned i = 0; blk->queues && i < blk->num_queues; i++)
		g_free(blk->queues[i].requests);
	g_clear_pointer(&blk->queues, g_free);
}

const struct virtio_type virtio_blk_type = {
	.id = 2,
	.name = "virtio-blk",
	.pci_class = 0x010000,
	.config_size = CONFIG_SIZE,
	.create = blk_create,
	.stop = blk_drain,
	.drain = blk_drain,
	.destroy = blk_destroy,
	.features = blk_features,
	.read_config = blk_read_config,
	.write_config = blk_write_config,
	.driver_ok = blk_driver_ok,
	.reset = blk_reset,
	.kick = blk_kick,
	.drop = blk_drop,
};
