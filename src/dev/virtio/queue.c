/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What split and packed queues have in common: mapping the ring, assembling chains out of
 * descriptors that a hostile guest wrote, the pool of chains, interrupts.
 *
 * Limits. A chain may hold as many descriptors as the queue's largest size, also through an
 * indirect table (2.7.5.3.1), and 4 GiB in all (2.7.5). Each chain has room for that many segments
 * in an arena that the kernel fills with pages only where they are touched, so nothing is ever
 * allocated while a request is handled, and idle depth costs no memory.
 */
#include "dev/virtio/virtq_int.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "vm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define CHAIN_BYTES_MAX (UINT64_C(1) << 32)

/* ---- Pool ---- */

static void doorbell_ready(void *opaque, int fd, uint32_t events)
{
	struct virtqueue *vq = opaque;
	uint64_t count;
	/* EAGAIN: rung and taken already. */
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
		log_error("%s: cannot read a doorbell: %s", vq->vdev->type->name,
			  g_strerror(errno));
	virtq_service(vq);
}

static void watch_add(void *opaque)
{
	struct virtqueue *vq = opaque;
	vq->watch = aio_watch_add(vq->loop, vq->doorbell, POLLIN, doorbell_ready, vq);
}

/* The server elsewhere has used buffers, and the driver wants to hear of it. */
static void call_ready(void *opaque, int fd, uint32_t events)
{
	struct virtqueue *vq = opaque;
	uint64_t count;
	if (read(fd, &count, sizeof(count)) == sizeof(count) && virtio_is_up(vq->vdev))
		vq->vdev->transport->notify(vq->vdev, vq->index);
}

static void call_watch_add(void *opaque)
{
	struct virtqueue *vq = opaque;
	vq->call_watch = aio_watch_add(vq->loop, vq->server_call, POLLIN, call_ready, vq);
}

void virtq_leave_loop(struct virtqueue *vq)
{
	g_assert(!virtq_is_elsewhere(vq));
	aio_watch_remove(g_steal_pointer(&vq->watch));
	vq->loop = NULL;
}

void virtq_enter_loop(struct virtqueue *vq, struct aio_loop *loop)
{
	vq->loop = loop;
	watch_add(vq);
	virtq_kick_later(vq);
}

static void watch_remove(void *opaque)
{
	struct virtqueue *vq = opaque;
	aio_watch_remove(vq->watch);
	if (vq->call_watch)
		aio_watch_remove(vq->call_watch);
}

/* Watches belong to their loop's thread; the VM's main loop is the caller's. */
static void on_loop(struct virtqueue *vq, void (*fn)(void *opaque))
{
	if (vq->loop == vq->vdev->vm->loop || aio_loop_is_current(vq->loop))
		fn(vq);
	else
		aio_loop_call(vq->loop, fn, vq);
}

bool virtq_init(struct virtqueue *vq, struct virtio_device *vdev, unsigned index, unsigned size,
		struct aio_loop *loop, GError **error)
{
	vq->vdev = vdev;
	vq->index = index;
	vq->max_size = vq->size = size;
	vq->loop = loop;
	vq->server_kick = vq->server_call = -1;
	vq->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vq->doorbell < 0)
		return error_set_errno(error, errno, "cannot create a doorbell for %s",
				       vdev->type->name);

	vq->max_segments = size + VIRTQ_EXTRA_SEGMENTS;
	size_t segments = (size_t)size * vq->max_segments;
	vq->arena_size = segments * (sizeof(struct iovec) + sizeof(struct virtq_place));
	vq->arena = mmap(NULL, vq->arena_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vq->arena == MAP_FAILED) {
		vq->arena = NULL;
		return error_set_errno(error, errno, "cannot reserve the request pool of %s",
				       vdev->type->name);
	}
	vq->chains = g_new0(struct virtq_chain, size);
	struct iovec *iov = vq->arena;
	struct virtq_place *places = (struct virtq_place *)(iov + segments);
	for (unsigned i = size; i-- > 0;) {
		vq->chains[i].vq = vq;
		vq->chains[i].out = iov + (size_t)i * vq->max_segments;
		vq->chains[i].in_places = places + (size_t)i * vq->max_segments;
		vq->chains[i].next = vq->free;
		vq->free = &vq->chains[i];
	}
	vq->busy = g_new0(uint64_t, (size + 63) / 64);
	on_loop(vq, watch_add);
	return true;
}

bool virtq_serve_elsewhere(struct virtqueue *vq, GError **error)
{
	vq->server_kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	vq->server_call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (vq->server_kick < 0 || vq->server_call < 0)
		return error_set_errno(error, errno, "cannot create the eventfds of a queue of %s",
				       vq->vdev->type->name);
	on_loop(vq, call_watch_add);
	return true;
}

struct virtq_layout virtq_layout(const struct virtqueue *vq)
{
	g_assert(vq->ring == &virtq_split_ops);
	return (struct virtq_layout){
		.size = vq->size,
		.host = {vq->area[VIRTQ_DESC].host, vq->area[VIRTQ_DRIVER].host, vq->area[VIRTQ_DEVICE].host},
		.kick = vq->server_kick, .call = vq->server_call};
}

uint16_t virtq_used_index(const struct virtqueue *vq)
{
	/* 2.7.8: flags, then idx. */
	return virtq_load16_acquire(vq->area[VIRTQ_DEVICE].host + 2);
}

void virtq_free(struct virtqueue *vq)
{
	if (vq->watch)
		on_loop(vq, watch_remove);
	fd_clear(&vq->doorbell);
	fd_clear(&vq->server_kick);
	fd_clear(&vq->server_call);
	if (vq->arena)
		munmap(vq->arena, vq->arena_size);
	g_free(vq->chains);
	g_free(vq->busy);
	g_free(vq);
}

static void chain_release(struct virtqueue *vq, struct virtq_chain *chain)
{
	g_assert(vq->inflight);
	chain->next = vq->free;
	vq->free = chain;
	vq->inflight--;
	vq->slots_inflight -= chain->ndescs;
	if (!vq->inflight && vq->dropped)
		virtq_settle(vq);
}

/* ---- Enabling ---- */

static bool area_map(struct virtqueue *vq, unsigned which, uint64_t length)
{
	static const char *const names[] = {"descriptor", "driver", "device"};
	static const uint8_t align[2][3] = {{16, 2, 4}, {16, 4, 4}};
	uint64_t addr = vq->address[which];
	struct space_range range;
	bool writes = which == VIRTQ_DEVICE || (which == VIRTQ_DESC && vq->ring == &virtq_packed_ops);
	if (addr & (align[vq->ring == &virtq_packed_ops][which] - 1)) {
		virtio_broken(vq->vdev, "queue %u: %s area at 0x%" PRIx64 " is not aligned",
			      vq->index, names[which], addr);
		return false;
	}
	if (!space_find(vq->vdev->vm->memory, addr, &range) || !range.ram ||
	    (writes && range.readonly) ||
	    !range_fits(addr - range.base, length, range.size)) {
		virtio_broken(vq->vdev, "queue %u: %s area at 0x%" PRIx64 " is not in RAM",
			      vq->index, names[which], addr);
		return false;
	}
	vq->area[which].ram = range.ram;
	vq->area[which].offset = range.ram_offset + (addr - range.base);
	vq->area[which].host = range.ram->host + vq->area[which].offset;
	return true;
}

/* Under vdev->lock, queue off: take what the driver set up and hand the ring to the loop. */
bool virtq_activate(struct virtqueue *vq)
{
	struct virtio_device *vdev = vq->vdev;
	uint64_t sizes[3];
	bool packed = virtio_has(vdev, VIRTIO_F_RING_PACKED);
	vq->ring = packed ? &virtq_packed_ops : &virtq_split_ops;
	if (!vq->size || vq->size > vq->max_size || (!packed && (vq->size & (vq->size - 1)))) {
		virtio_broken(vdev, "queue %u: size %u is not possible", vq->index, vq->size);
		return false;
	}
	vq->ring->area_sizes(vq->size, sizes);
	for (unsigned i = 0; i < 3; i++) {
		if (!area_map(vq, i, sizes[i]))
			return false;
	}
	g_assert(!vq->inflight);
	vq->event_idx = virtio_has(vdev, VIRTIO_F_EVENT_IDX);
	vq->indirect = virtio_has(vdev, VIRTIO_F_INDIRECT_DESC);
	vq->next_avail = vq->next_used = vq->seen_avail = 0;
	vq->packed_avail_wrap = vq->packed_used_wrap = true;
	vq->unsignalled = vq->slots_inflight = 0;
	vq->dropped = false;
	memset(vq->busy, 0, (vq->max_size + 63) / 64 * sizeof(*vq->busy));
	atomic_store_explicit(&vq->state, VIRTQ_LIVE, memory_order_release);
	return true;
}

/* ---- Chains ---- */

bool virtq_chain_add(struct virtqueue *vq, struct virtq_chain *chain, const struct virtq_desc *desc)
{
	struct virtio_device *vdev = vq->vdev;
	bool in = desc->flags & VIRTQ_F_WRITE;
	uint64_t addr = desc->addr, left = desc->len;
	if (!left) {
		virtio_broken(vdev, "queue %u: descriptor of no length", vq->index);
		return false;
	}
	if (!in && chain->in_count) {
		virtio_broken(vdev, "queue %u: readable descriptor after a writable one", vq->index);
		return false;
	}
	if (chain->out_bytes + chain->in_bytes + left > CHAIN_BYTES_MAX) {
		virtio_broken(vdev, "queue %u: chain of more than 4 GiB", vq->index);
		return false;
	}
	*(in ? &chain->in_bytes : &chain->out_bytes) += left;
	while (left) {
		struct space_range range;
		unsigned n = chain->out_count + chain->in_count;
		if (n == vq->max_segments) {
			virtio_broken(vdev, "queue %u: chain of more than %u buffers", vq->index, n);
			return false;
		}
		if (!space_find(vdev->vm->memory, addr, &range) || !range.ram ||
		    (in && range.readonly)) {
			virtio_broken(vdev, "queue %u: buffer at 0x%" PRIx64 " is not in RAM",
				      vq->index, addr);
			return false;
		}
		uint64_t skip = addr - range.base, take = MIN(left, range.size - skip);
		uint64_t offset = range.ram_offset + skip;
		chain->out[n] = (struct iovec){range.ram->host + offset, take};
		if (in)
			chain->in_places[chain->in_count++] = (struct virtq_place){range.ram, offset};
		else
			chain->out_count++;
		addr += take;
		left -= take;
	}
	return true;
}

bool virtq_chain_add_table(struct virtqueue *vq, struct virtq_chain *chain,
			   const struct virtq_desc *table, bool linked)
{
	struct virtio_device *vdev = vq->vdev;
	unsigned count = table->len / 16;
	if (!vq->indirect || table->flags & VIRTQ_F_NEXT) {
		virtio_broken(vdev, "queue %u: indirect descriptor %s", vq->index,
			      vq->indirect ? "with a successor" : "without the feature");
		return false;
	}
	if (!count || table->len % 16 || count > vq->max_size) {
		virtio_broken(vdev, "queue %u: indirect table of %u bytes", vq->index, table->len);
		return false;
	}
	uint64_t contiguous = table->len;
	const uint8_t *host = space_dma_map(vdev->vm->memory, table->addr, &contiguous, false);
	unsigned i = 0;
	for (unsigned steps = 0;; steps++) {
		struct virtq_desc desc;
		uint8_t copy[16];
		if (steps == count) {
			if (!linked)
				return true;
			virtio_broken(vdev, "queue %u: indirect chain loops", vq->index);
			return false;
		}
		if (host && 16 * (i + 1) <= contiguous) {
			desc = virtq_desc_load(host + 16 * i, !linked);
		} else if (space_dma_read(vdev->vm->memory, table->addr + 16 * i, copy, 16)) {
			desc = virtq_desc_load(copy, !linked);
		} else {
			virtio_broken(vdev, "queue %u: indirect table at 0x%" PRIx64 " is not in RAM",
				      vq->index, table->addr);
			return false;
		}
		if (desc.flags & VIRTQ_F_INDIRECT) {
			virtio_broken(vdev, "queue %u: indirect descriptor in an indirect table",
				      vq->index);
			return false;
		}
		if (!virtq_chain_add(vq, chain, &desc))
			return false;
		if (!linked) {
			i++;
			continue;
		}
		if (!(desc.flags & VIRTQ_F_NEXT))
			return true;
		i = desc.next;
		if (i >= count) {
			virtio_broken(vdev, "queue %u: indirect entry %u of %u", vq->index, i, count);
			return false;
		}
	}
}

bool virtq_available(struct virtqueue *vq)
{
	return virtq_ready(vq) && vq->ring->available(vq);
}

struct virtq_chain *virtq_pop(struct virtqueue *vq)
{
	struct virtq_chain *chain = vq->free;
	if (!chain || !virtq_ready(vq))
		return NULL;
	/* A device may have moved `out` past what it had read. */
	chain->out = (struct iovec *)vq->arena + (chain - vq->chains) * vq->max_segments;
	chain->out_count = chain->in_count = 0;
	chain->out_bytes = chain->in_bytes = 0;
	if (!vq->ring->pop(vq, chain))
		return NULL;
	chain->in = chain->out + chain->out_count;
	vq->free = chain->next;
	chain->next = NULL;
	vq->inflight++;
	vq->slots_inflight += chain->ndescs;
	return chain;
}

void virtq_unpop(struct virtqueue *vq, struct virtq_chain *chain)
{
	vq->ring->unpop(vq, chain);
	chain_release(vq, chain);
}

void virtq_push_batch(struct virtqueue *vq, struct virtq_chain *const *chains,
		      const uint32_t *written, unsigned count)
{
	for (unsigned c = 0; c < count; c++) {
		const struct virtq_chain *chain = chains[c];
		uint64_t left = written[c];
		g_assert(left <= chain->in_bytes);
		for (unsigned i = 0; left; i++) {
			uint64_t take = MIN(left, chain->in[i].iov_len);
			ram_note_write(chain->in_places[i].ram, chain->in_places[i].offset, take);
			left -= take;
		}
	}
	if (!atomic_load_explicit(&vq->vdev->broken, memory_order_relaxed)) {
		vq->ring->push(vq, chains, written, count);
		for (unsigned c = 0; c < count; c++)
			vq->unsignalled += chains[c]->ndescs;
	}
	for (unsigned c = 0; c < count; c++)
		chain_release(vq, chains[c]);
}

void virtq_push(struct virtqueue *vq, struct virtq_chain *chain, uint32_t written)
{
	virtq_push_batch(vq, &chain, &written, 1);
}

void virtq_drop(struct virtqueue *vq, struct virtq_chain *chain)
{
	chain_release(vq, chain);
}

void virtq_notify(struct virtqueue *vq)
{
	/* Nothing new, or a ring that has been taken away since. */
	if (!vq->unsignalled || atomic_load_explicit(&vq->state, memory_order_relaxed) == VIRTQ_OFF)
		return;
	bool wanted = vq->ring->wants_interrupt(vq);
	vq->unsignalled = 0;
	if (wanted && !atomic_load_explicit(&vq->vdev->broken, memory_order_relaxed))
		vq->vdev->transport->notify(vq->vdev, vq->index);
}

bool virtq_enable_kicks(struct virtqueue *vq)
{
	if (!virtq_ready(vq))
		return false;
	vq->ring->set_kicks(vq, true);
	/* Our wish must be visible before we look again; the driver does the reverse. */
	vm_fence(vq->vdev->vm);
	return vq->ring->available(vq);
}

void virtq_disable_kicks(struct virtqueue *vq)
{
	if (virtq_ready(vq))
		vq->ring->set_kicks(vq, false);
}

/* ---- Copies ---- */

static size_t iov_copy(const struct iovec *iov, unsigned count, uint64_t offset, uint8_t *buffer,
		       size_t length, bool to_iov)
{
	size_t done = 0;
	for (unsigned i = 0; i < count && done < length; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		size_t take = MIN(length - done, iov[i].iov_len - offset);
		uint8_t *guest = (uint8_t *)iov[i].iov_base + offset;
		if (to_iov)
			memcpy(guest, buffer + done, take);
		else
			memcpy(buffer + done, guest, take);
		done += take;
		offset = 0;
	}
	return done;
}

size_t virtq_read(const struct virtq_chain *chain, uint64_t offset, void *buffer, size_t length)
{
	return iov_copy(chain->out, chain->out_count, offset, buffer, length, false);
}

size_t virtq_write(const struct virtq_chain *chain, uint64_t offset, const void *buffer,
		   size_t length)
{
	return iov_copy(chain->in, chain->in_count, offset, (uint8_t *)buffer, length, true);
}

int virtq_iov_slice(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t length,
		    struct iovec *slice, unsigned max)
{
	unsigned n = 0;
	for (unsigned i = 0; i < count && length; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		if (n == max)
			return -1;
		uint64_t take = MIN(length, iov[i].iov_len - offset);
		slice[n++] = (struct iovec){(uint8_t *)iov[i].iov_base + offset, take};
		length -= take;
		offset = 0;
	}
	return length ? -1 : (int)n;
}
