/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory device, virtio 1.2 section 5.15: a region of guest-physical addresses of which the driver
 * plugs blocks in and out, up to the size that was requested. Blocks that are out are given back to
 * the host. A guest can reach only the usable part of the region, which is little more than what was
 * requested, so a hostile one that writes to blocks which it has not plugged in wins little.
 */
#include "dev/virtio/mem.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "vm/vm.h"

#include <errno.h>
#include <string.h>

enum { F_ACPI_PXM = 0, F_UNPLUGGED_INACCESSIBLE = 1 };
enum { CONFIG_BLOCK_SIZE = 0, CONFIG_NODE = 8, CONFIG_ADDRESS = 16, CONFIG_REGION = 24, CONFIG_USABLE = 32,
       CONFIG_PLUGGED = 40, CONFIG_REQUESTED = 48, CONFIG_SIZE = 56 };
enum { REQUEST_PLUG, REQUEST_UNPLUG, REQUEST_UNPLUG_ALL, REQUEST_STATE };
enum { RESPONSE_ACK, RESPONSE_NACK, RESPONSE_BUSY, RESPONSE_ERROR };
enum { STATE_PLUGGED, STATE_UNPLUGGED, STATE_MIXED };

#define QUEUE_SIZE     128
#define REQUEST_BYTES  24
#define RESPONSE_BYTES 10
/* Linux adds memory in pieces of 128 MiB and looks for free blocks ahead: what QEMU leaves it, too. */
#define USABLE_SLACK   (256 * MIB)
/* A guest that plugs in and out all the time shall not flood the monitor. */
#define TELL_NS        INT64_C(100000000)

static uint64_t plugged_end(const struct virtio_mem *mem)
{
	unsigned count = mem->block_count;
	while (count && !mem->map[count - 1])
		count--;
	return count * mem->block_size;
}

/* Main thread: round what is asked for now, and what is plugged in. Did it change? */
static bool set_usable(struct virtio_mem *mem)
{
	uint64_t wanted = atomic_load(&mem->requested);
	uint64_t usable = wanted ? align_up(wanted + USABLE_SLACK, mem->block_size) : 0;
	usable = MIN(MAX(usable, plugged_end(mem)), mem->ram->size);
	if (usable == atomic_load(&mem->usable))
		return false;
	atomic_store(&mem->usable, usable);
	if (mem->reach)
		mem->reach(mem->reach_opaque, mem->vdev.owner);
	return true;
}

/* ---- Requests ---- */

/* The first of the request's blocks, or false if they are not all within the usable part. */
static bool find_blocks(const struct virtio_mem *mem, uint64_t address, unsigned count, unsigned *first)
{
	uint64_t offset = address - mem->address, usable = atomic_load(&mem->usable);
	if (address < mem->address || offset % mem->block_size || !count || offset >= usable ||
	    count > (usable - offset) / mem->block_size)
		return false;
	*first = (unsigned)(offset / mem->block_size);
	return true;
}

static unsigned count_plugged(const struct virtio_mem *mem, unsigned first, unsigned count)
{
	unsigned plugged = 0;
	for (unsigned i = first; i < first + count; i++)
		plugged += mem->map[i];
	return plugged;
}

static void note_plugged(struct virtio_mem *mem, uint64_t plugged)
{
	if (atomic_exchange(&mem->plugged, plugged) == plugged || mem->telling)
		return;
	mem->telling = true;
	aio_timer_arm(&mem->tell, aio_now_ns() + TELL_NS);
}

static unsigned plug(struct virtio_mem *mem, unsigned first, unsigned count)
{
	uint64_t plugged = atomic_load(&mem->plugged) + count * mem->block_size;
	if (count_plugged(mem, first, count))
		return RESPONSE_ERROR;
	if (plugged > atomic_load(&mem->requested))
		return RESPONSE_NACK;
	memset(mem->map + first, 1, count);
	note_plugged(mem, plugged);
	return RESPONSE_ACK;
}

static bool give_back(struct virtio_mem *mem, uint64_t offset, uint64_t length)
{
	static struct log_limit limit;
	int result = ram_discard(mem->ram, offset, length);
	if (result < 0 && result != -EBUSY && log_limit_allows(&limit, 1))
		log_warning("virtio-mem: cannot give back guest memory: %s", g_strerror(-result));
	return result == 0;
}

static unsigned unplug(struct virtio_mem *mem, unsigned first, unsigned count)
{
	if (count_plugged(mem, first, count) != count)
		return RESPONSE_ERROR;
	if (!give_back(mem, first * mem->block_size, count * mem->block_size))
		return RESPONSE_BUSY;
	memset(mem->map + first, 0, count);
	note_plugged(mem, atomic_load(&mem->plugged) - count * mem->block_size);
	return RESPONSE_ACK;
}

static bool unplug_all(struct virtio_mem *mem)
{
	if (!give_back(mem, 0, mem->ram->size))
		return false;
	memset(mem->map, 0, mem->block_count);
	note_plugged(mem, 0);
	return true;
}

static unsigned state(const struct virtio_mem *mem, unsigned first, unsigned count)
{
	unsigned plugged = count_plugged(mem, first, count);
	return plugged == count ? STATE_PLUGGED : plugged ? STATE_MIXED : STATE_UNPLUGGED;
}

/* 5.15.6: answers one request. */
static void answer(struct virtio_mem *mem, const uint8_t *request, uint8_t *response)
{
	unsigned type = le16_load(request), count = le16_load(request + 16), first = 0;
	bool good = find_blocks(mem, le64_load(request + 8), count, &first);
	unsigned result = RESPONSE_ERROR;
	if (type == REQUEST_UNPLUG_ALL) {
		result = unplug_all(mem) ? RESPONSE_ACK : RESPONSE_BUSY;
	} else if (good && type == REQUEST_PLUG) {
		result = plug(mem, first, count);
	} else if (good && type == REQUEST_UNPLUG) {
		result = unplug(mem, first, count);
	} else if (good && type == REQUEST_STATE) {
		result = RESPONSE_ACK;
		le16_store(response + 8, state(mem, first, count));
	}
	le16_store(response, result);
}

static void mem_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_mem *mem = (struct virtio_mem *)vdev;
	unsigned budget = 2 * virtq_size(vq);
	do {
		struct virtq_chain *chain;
		while (budget && (chain = virtq_pop(vq))) {
			uint8_t request[REQUEST_BYTES] = {0}, response[RESPONSE_BYTES] = {0};
			if (chain->out_bytes < REQUEST_BYTES || chain->in_bytes < RESPONSE_BYTES) {
				virtio_broken(vdev, "request of %u bytes with %u for the answer",
					      (unsigned)MIN(chain->out_bytes, UINT32_MAX),
					      (unsigned)MIN(chain->in_bytes, UINT32_MAX));
				virtq_drop(vq, chain);
				return;
			}
			virtq_read(chain, 0, request, sizeof(request));
			answer(mem, request, response);
			virtq_push(vq, chain,
				   (uint32_t)virtq_write(chain, 0, response, sizeof(response)));
			budget--;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}

/* ---- The device ---- */

static void tell_changed(void *opaque)
{
	struct virtio_mem *mem = opaque;
	mem->telling = false;
	if (set_usable(mem))
		virtio_config_changed(&mem->vdev);
	if (mem->changed)
		mem->changed(mem->changed_opaque, mem->vdev.owner, atomic_load(&mem->plugged));
}

static uint64_t mem_features(struct virtio_device *vdev)
{
	return VIRTIO_BIT(F_ACPI_PXM) | VIRTIO_BIT(F_UNPLUGGED_INACCESSIBLE);
}

static void mem_read_config(struct virtio_device *vdev, uint8_t *config)
{
	struct virtio_mem *mem = (struct virtio_mem *)vdev;
	memset(config, 0, CONFIG_SIZE);
	le64_store(config + CONFIG_BLOCK_SIZE, mem->block_size);
	le16_store(config + CONFIG_NODE, (uint16_t)mem->node);
	le64_store(config + CONFIG_ADDRESS, mem->address);
	le64_store(config + CONFIG_REGION, mem->ram->size);
	le64_store(config + CONFIG_USABLE, atomic_load(&mem->usable));
	le64_store(config + CONFIG_PLUGGED, atomic_load(&mem->plugged));
	le64_store(config + CONFIG_REQUESTED, atomic_load(&mem->requested));
}

static bool check_request(const struct virtio_mem *mem, uint64_t bytes, GError **error)
{
	return (bytes % mem->block_size == 0 && bytes <= mem->ram->size) ||
	       error_set(error, BERTH_ERR_INVALID,
			 "requested-size %" G_GUINT64_FORMAT " is not a multiple of the block size %"
			 G_GUINT64_FORMAT " up to %" G_GUINT64_FORMAT,
			 bytes, mem->block_size, mem->ram->size);
}

static bool mem_create(struct virtio_device *vdev, GError **error)
{
	struct virtio_mem *mem = (struct virtio_mem *)vdev;
	uint64_t block = mem->block_size;
	if (!mem->ram)
		return error_set(error, BERTH_ERR_INVALID,
				 "virtio-mem needs memory: memdev=ID of a -object memory-backend-*");
	if (block < MIB || block & (block - 1) || mem->ram->size % block)
		return error_set(error, BERTH_ERR_INVALID,
				 "virtio-mem: block-size must be a power of two from 1M up of which the "
				 "memory's size is a multiple");
	if (!check_request(mem, mem->asked, error))
		return false;
	mem->vq = virtio_add_queue(vdev, QUEUE_SIZE, NULL, error);
	if (!mem->vq)
		return false;
	mem->block_count = (unsigned)(mem->ram->size / block);
	mem->map = g_malloc0(mem->block_count);
	aio_timer_init(&mem->tell, vdev->vm->loop, tell_changed, mem);
	atomic_store(&mem->requested, mem->asked);
	set_usable(mem);
	return true;
}

static void mem_destroy(struct virtio_device *vdev)
{
	struct virtio_mem *mem = (struct virtio_mem *)vdev;
	if (mem->map)
		aio_timer_cancel(&mem->tell);
	g_clear_pointer(&mem->map, g_free);
}

const struct virtio_type virtio_mem_type = {
	.id = 24,
	.name = "virtio-mem",
	.pci_class = 0x00ff00,
	.config_size = CONFIG_SIZE,
	.create = mem_create,
	.destroy = mem_destroy,
	.features = mem_features,
	.read_config = mem_read_config,
	.kick = mem_kick,
};

/* ---- What the machine and the monitor ask; main thread ---- */

bool virtio_mem_request(struct virtio_mem *mem, uint64_t bytes, GError **error)
{
	if (!check_request(mem, bytes, error))
		return false;
	mem->asked = bytes;
	atomic_store(&mem->requested, bytes);
	set_usable(mem);
	virtio_config_changed(&mem->vdev);
	return true;
}

void virtio_mem_system_reset(struct virtio_mem *mem)
{
	if (unplug_all(mem))
		set_usable(mem);
}
