/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device status, feature negotiation, configuration space and the taking down of queues: virtio
 * 1.2, sections 2.1 to 2.5. See virtio.h for who runs what on which thread.
 */
#include "dev/virtio/virtq_int.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/log.h"
#include "vm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <time.h>

/* How long a vCPU is held back for a reset before the driver has to poll for it. */
#define RESET_WAIT_MS 100

/* ---- Life ---- */

void virtio_init(struct virtio_device *vdev, struct device *owner, const struct virtio_type *type)
{
	g_assert(type->config_size <= VIRTIO_CONFIG_MAX);
	vdev->owner = owner;
	vdev->vm = owner->vm;
	vdev->type = type;
	pthread_mutex_init(&vdev->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vdev->settled, &attr);
	pthread_condattr_destroy(&attr);
	vdev->dma = true;
}

struct virtqueue *virtio_add_queue(struct virtio_device *vdev, unsigned size, struct aio_loop *loop,
				   GError **error)
{
	g_assert(size && !(size & (size - 1)) && size <= VIRTQUEUE_MAX_SIZE);
	g_assert(vdev->queue_count < VIRTIO_QUEUES_MAX);
	struct virtqueue *vq = g_new0(struct virtqueue, 1);
	if (!virtq_init(vq, vdev, vdev->queue_count, size, loop ? loop : vdev->vm->loop, error)) {
		virtq_free(vq);
		return NULL;
	}
	vdev->queues = g_renew(struct virtqueue *, vdev->queues, vdev->queue_count + 1);
	vdev->queues[vdev->queue_count++] = vq;
	return vq;
}

bool virtio_attach_transport(struct virtio_device *vdev, const struct virtio_transport_ops *ops,
			     void *opaque, GError **error)
{
	vdev->transport = ops;
	vdev->transport_opaque = opaque;
	vdev->offered = vdev->type->features(vdev) | VIRTIO_BIT(VIRTIO_F_VERSION_1);
	if (vdev->allow_indirect)
		vdev->offered |= VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
	if (vdev->allow_event_idx)
		vdev->offered |= VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
	if (vdev->allow_packed)
		vdev->offered |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (vdev->allow_queue_reset)
		vdev->offered |= VIRTIO_BIT(VIRTIO_F_RING_RESET);
	vdev->offered &= ~vdev->withheld;
	return true;
}

void virtio_cleanup(struct virtio_device *vdev)
{
	if (!vdev->type)
		return;
	virtio_reset(vdev);
	if (vdev->type->destroy)
		vdev->type->destroy(vdev);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		virtq_free(vdev->queues[i]);
	g_clear_pointer(&vdev->queues, g_free);
	vdev->queue_count = 0;
	pthread_cond_destroy(&vdev->settled);
	pthread_mutex_destroy(&vdev->lock);
	vdev->type = NULL;
}

/* ---- Status of the device and its queues ---- */

bool virtio_is_up(const struct virtio_device *vdev)
{
	return (atomic_load(&vdev->status) & VIRTIO_STATUS_DRIVER_OK) && !atomic_load(&vdev->broken);
}

bool virtq_ready(const struct virtqueue *vq)
{
	const struct virtio_device *vdev = vq->vdev;
	return atomic_load_explicit(&vq->state, memory_order_acquire) == VIRTQ_LIVE &&
	       atomic_load_explicit(&vdev->running, memory_order_relaxed) &&
	       atomic_load_explicit(&vdev->dma, memory_order_relaxed) &&
	       !atomic_load_explicit(&vdev->broken, memory_order_relaxed);
}

static void write_eventfd(int fd)
{
	uint64_t one = 1;
	ssize_t written;
	do {
		written = write(fd, &one, sizeof(one));
	} while (written < 0 && errno == EINTR);
	/* EAGAIN: the counter is full, so the reader has been woken as it is. */
}

void virtq_kick_later(struct virtqueue *vq)
{
	write_eventfd(vq->doorbell);
}

/* Queues may be served no longer: whoever serves them elsewhere must hear of it. */
static void tell_servers(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		if (virtq_is_elsewhere(vdev->queues[i]))
			virtq_kick_later(vdev->queues[i]);
	}
}

void virtio_broken(struct virtio_device *vdev, const char *format, ...)
{
	/* The first fault tells the story; what follows from it does not. */
	if (atomic_exchange(&vdev->broken, true))
		return;
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	log_guest_fault("%s%s%s: %s; the device needs a reset", vdev->type->name,
			vdev->owner->id ? " " : "", vdev->owner->id ? vdev->owner->id : "", text);
	tell_servers(vdev);
	uint8_t before = atomic_fetch_or(&vdev->status, VIRTIO_STATUS_NEEDS_RESET);
	/* 2.1.2: after DRIVER_OK the driver is told by a configuration interrupt. */
	if (before & VIRTIO_STATUS_DRIVER_OK)
		vdev->transport->notify_config(vdev);
}

/* Under vdev->lock, every queue off: the state that 2.1.2 asks for. */
static void reset_finish(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		struct virtqueue *vq = vdev->queues[i];
		vq->enabled = false;
		vq->size = vq->max_size;
		memset(vq->address, 0, sizeof(vq->address));
	}
	if (vdev->type->reset)
		vdev->type->reset(vdev);
	vdev->accepted = 0;
	vdev->transport->reset(vdev);
	vdev->resetting = false;
	atomic_store(&vdev->broken, false);
	atomic_store(&vdev->status, 0);
}

static bool all_off(const struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		if (atomic_load(&vdev->queues[i]->state) != VIRTQ_OFF)
			return false;
	}
	return true;
}

/* On the loop's thread: the last chain of a stopping queue is back. */
void virtq_settle(struct virtqueue *vq)
{
	struct virtio_device *vdev = vq->vdev;
	LOCK_SCOPE(&vdev->lock);
	vq->dropped = false;
	vq->unsignalled = 0;
	vq->enabled = false;
	vq->size = vq->max_size;
	memset(vq->address, 0, sizeof(vq->address));
	atomic_store(&vq->state, VIRTQ_OFF);
	if (vdev->resetting && all_off(vdev))
		reset_finish(vdev);
	pthread_cond_broadcast(&vdev->settled);
}

/* On the loop's thread: the doorbell rang. */
void virtq_service(struct virtqueue *vq)
{
	struct virtio_device *vdev = vq->vdev;
	if (atomic_load(&vq->state) == VIRTQ_STOPPING && !vq->dropped) {
		if (vdev->type->drop)
			vdev->type->drop(vdev, vq);
		vq->dropped = true;
		if (!vq->inflight)
			virtq_settle(vq);
	}
	if (virtq_ready(vq) || virtq_is_elsewhere(vq))
		vdev->type->kick(vdev, vq);
}

/* Under vdev->lock: ask the loop to take the queue down. */
static void queue_stop(struct virtqueue *vq)
{
	int live = VIRTQ_LIVE;
	if (atomic_compare_exchange_strong(&vq->state, &live, VIRTQ_STOPPING))
		virtq_kick_later(vq);
}

/* Under vdev->lock, which is released meanwhile: wait, but not for long, for one queue or a reset. */
static void wait_settled(struct virtio_device *vdev, struct virtqueue *only)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += RESET_WAIT_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	while (only ? atomic_load(&only->state) == VIRTQ_STOPPING : vdev->resetting) {
		if (pthread_cond_timedwait(&vdev->settled, &vdev->lock, &until) == ETIMEDOUT)
			return;
	}
}

/* Under vdev->lock. On a queue's own thread there is nobody to wait for: do its part here. */
static void service_own(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		struct virtqueue *vq = vdev->queues[i];
		struct aio_loop *loop = vq->loop;
		if (atomic_load(&vq->state) != VIRTQ_STOPPING || !loop || !aio_loop_is_current(loop))
			continue;
		pthread_mutex_unlock(&vdev->lock);
		virtq_service(vq);
		pthread_mutex_lock(&vdev->lock);
	}
}

static void reset_begin(struct virtio_device *vdev)
{
	if (vdev->resetting)
		return;
	vdev->resetting = true;
	for (unsigned i = 0; i < vdev->queue_count; i++)
		queue_stop(vdev->queues[i]);
	if (all_off(vdev))
		reset_finish(vdev);
	else
		service_own(vdev);
}

static bool features_acceptable(struct virtio_device *vdev)
{
	uint64_t extra = vdev->accepted & ~vdev->offered;
	if (extra) {
		log_guest_fault("%s: driver accepted features that were not offered: 0x%" PRIx64,
				vdev->type->name, extra);
		return false;
	}
	/* 6.2: a device may insist on VERSION_1, and this one has no legacy interface. */
	if (!virtio_has(vdev, VIRTIO_F_VERSION_1)) {
		log_guest_fault("%s: driver did not accept VERSION_1", vdev->type->name);
		return false;
	}
	if (vdev->type->features_ok && !vdev->type->features_ok(vdev, vdev->accepted)) {
		log_guest_fault("%s: driver accepted features 0x%" PRIx64
				" without those that they depend on",
				vdev->type->name, vdev->accepted);
		return false;
	}
	return true;
}

static void driver_ok(struct virtio_device *vdev)
{
	if (vdev->type->driver_ok)
		vdev->type->driver_ok(vdev);
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		if (vdev->queues[i]->enabled && !virtq_activate(vdev->queues[i]))
			return;
	}
	/* 2.7.7: buffers may have been made available, and rung for, before this. */
	for (unsigned i = 0; i < vdev->queue_count; i++)
		virtq_kick_later(vdev->queues[i]);
}

uint8_t virtio_get_status(struct virtio_device *vdev)
{
	return atomic_load(&vdev->status);
}

void virtio_set_status(struct virtio_device *vdev, uint8_t value)
{
	LOCK_SCOPE(&vdev->lock);
	if (!value) {
		reset_begin(vdev);
		wait_settled(vdev, NULL);
		return;
	}
	if (vdev->resetting)
		return; /* the driver did not wait; there is no state yet to change */
	uint8_t old = atomic_load(&vdev->status), added = value & ~old;
	/* 2.1.1: bits are only ever added; NEEDS_RESET is the device's. */
	added &= ~VIRTIO_STATUS_NEEDS_RESET;
	if (added & VIRTIO_STATUS_FEATURES_OK && !features_acceptable(vdev))
		added &= ~VIRTIO_STATUS_FEATURES_OK;
	if (added & VIRTIO_STATUS_DRIVER_OK &&
	    !((old | added) & VIRTIO_STATUS_FEATURES_OK)) {
		log_guest_fault("%s: DRIVER_OK without FEATURES_OK", vdev->type->name);
		added &= ~VIRTIO_STATUS_DRIVER_OK;
	}
	atomic_fetch_or(&vdev->status, added);
	if (added & VIRTIO_STATUS_DRIVER_OK && !atomic_load(&vdev->broken))
		driver_ok(vdev);
}

static void service_call(void *opaque)
{
	virtq_service(opaque);
}

void virtio_reset(struct virtio_device *vdev)
{
	if (!vdev->transport)
		return;
	if (vdev->type->drain)
		vdev->type->drain(vdev);
	pthread_mutex_lock(&vdev->lock);
	reset_begin(vdev);
	pthread_mutex_unlock(&vdev->lock);
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		struct virtqueue *vq = vdev->queues[i];
		if (vq->loop == vdev->vm->loop)
			virtq_service(vq);
		else
			aio_loop_call(vq->loop, service_call, vq);
	}
	/* Requests that are with a thread pool or a disk come back by the loop. */
	for (;;) {
		pthread_mutex_lock(&vdev->lock);
		bool resetting = vdev->resetting;
		pthread_mutex_unlock(&vdev->lock);
		if (!resetting)
			return;
		aio_loop_iterate(vdev->vm->loop, 1000000);
	}
}

static void nothing(void *opaque)
{
}

void virtio_start(struct virtio_device *vdev)
{
	atomic_store(&vdev->running, true);
	if (vdev->type->start)
		vdev->type->start(vdev);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		virtq_kick_later(vdev->queues[i]);
}

void virtio_stop(struct virtio_device *vdev)
{
	atomic_store(&vdev->running, false);
	/* A kick that has begun elsewhere must have ended. */
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		if (vdev->queues[i]->loop != vdev->vm->loop)
			aio_loop_call(vdev->queues[i]->loop, nothing, NULL);
	}
	if (vdev->type->stop)
		vdev->type->stop(vdev);
}

void virtio_set_dma(struct virtio_device *vdev, bool on)
{
	if (atomic_exchange(&vdev->dma, on) == on)
		return;
	if (!on) {
		tell_servers(vdev);
		return;
	}
	for (unsigned i = 0; i < vdev->queue_count; i++)
		virtq_kick_later(vdev->queues[i]);
}

/* ---- Features and configuration ---- */

uint32_t virtio_get_features(struct virtio_device *vdev, unsigned word, bool accepted)
{
	LOCK_SCOPE(&vdev->lock);
	uint64_t bits = accepted ? vdev->accepted : vdev->offered;
	return word < 2 ? bits >> (32 * word) : 0;
}

void virtio_set_features(struct virtio_device *vdev, unsigned word, uint32_t value)
{
	LOCK_SCOPE(&vdev->lock);
	/* 2.2: final once FEATURES_OK is set. */
	if (word >= 2 || atomic_load(&vdev->status) & VIRTIO_STATUS_FEATURES_OK)
		return;
	uint64_t mask = UINT64_C(0xffffffff) << (32 * word);
	vdev->accepted = (vdev->accepted & ~mask) | (uint64_t)value << (32 * word);
}

uint64_t virtio_config_read(struct virtio_device *vdev, uint64_t offset, unsigned size)
{
	LOCK_SCOPE(&vdev->lock);
	/* Accesses at the end of the structure may reach past it: those bytes read zero. */
	if (offset >= vdev->type->config_size)
		return 0;
	vdev->type->read_config(vdev, vdev->config);
	return le_load(vdev->config + offset, MIN(size, vdev->type->config_size - offset));
}

void virtio_config_write(struct virtio_device *vdev, uint64_t offset, uint64_t value, unsigned size)
{
	LOCK_SCOPE(&vdev->lock);
	if (!vdev->type->write_config || !range_fits(offset, size, vdev->type->config_size))
		return;
	vdev->type->read_config(vdev, vdev->config);
	le_store(vdev->config + offset, value, size);
	vdev->type->write_config(vdev, offset, size);
}

void virtio_config_changed(struct virtio_device *vdev)
{
	atomic_fetch_add(&vdev->generation, 1);
	if (virtio_is_up(vdev))
		vdev->transport->notify_config(vdev);
}

/* ---- Queue registers ---- */

unsigned virtio_queue_max_size(struct virtio_device *vdev, unsigned n)
{
	return n < vdev->queue_count ? vdev->queues[n]->max_size : 0;
}

unsigned virtio_queue_size(struct virtio_device *vdev, unsigned n)
{
	LOCK_SCOPE(&vdev->lock);
	return n < vdev->queue_count ? vdev->queues[n]->size : 0;
}

/* Registers of a queue may be written while it is off and not enabled (4.1.4.3.2). */
static struct virtqueue *queue_for_setup(struct virtio_device *vdev, unsigned n)
{
	if (n >= vdev->queue_count || vdev->resetting || vdev->queues[n]->enabled ||
	    atomic_load(&vdev->queues[n]->state) != VIRTQ_OFF)
		return NULL;
	return vdev->queues[n];
}

void virtio_queue_set_size(struct virtio_device *vdev, unsigned n, unsigned size)
{
	LOCK_SCOPE(&vdev->lock);
	struct virtqueue *vq = queue_for_setup(vdev, n);
	if (vq)
		vq->size = size; /* looked at when it goes live */
}

uint32_t virtio_queue_get_address(struct virtio_device *vdev, unsigned n, enum virtq_address which,
				  bool high)
{
	LOCK_SCOPE(&vdev->lock);
	return n < vdev->queue_count ? vdev->queues[n]->address[which] >> (high ? 32 : 0) : 0;
}

void virtio_queue_set_address(struct virtio_device *vdev, unsigned n, enum virtq_address which,
			      bool high, uint32_t value)
{
	LOCK_SCOPE(&vdev->lock);
	struct virtqueue *vq = queue_for_setup(vdev, n);
	if (!vq)
		return;
	uint64_t mask = UINT64_C(0xffffffff) << (high ? 32 : 0);
	vq->address[which] = (vq->address[which] & ~mask) | (uint64_t)value << (high ? 32 : 0);
}

bool virtio_queue_enabled(struct virtio_device *vdev, unsigned n)
{
	LOCK_SCOPE(&vdev->lock);
	return n < vdev->queue_count && vdev->queues[n]->enabled;
}

void virtio_queue_enable(struct virtio_device *vdev, unsigned n)
{
	LOCK_SCOPE(&vdev->lock);
	struct virtqueue *vq = queue_for_setup(vdev, n);
	if (!vq || !(atomic_load(&vdev->status) & VIRTIO_STATUS_FEATURES_OK)) {
		if (vq)
			log_guest_fault("%s: queue %u enabled before FEATURES_OK",
					vdev->type->name, n);
		return;
	}
	vq->enabled = true;
	/* After a ring reset (2.6.1.2) the device is up already. */
	if (virtio_is_up(vdev) && virtq_activate(vq))
		virtq_kick_later(vq);
}

void virtio_queue_reset(struct virtio_device *vdev, unsigned n)
{
	LOCK_SCOPE(&vdev->lock);
	if (n >= vdev->queue_count || vdev->resetting ||
	    !virtio_has(vdev, VIRTIO_F_RING_RESET))
		return;
	struct virtqueue *vq = vdev->queues[n];
	if (atomic_load(&vq->state) == VIRTQ_OFF) {
		vq->enabled = false;
		vq->size = vq->max_size;
		memset(vq->address, 0, sizeof(vq->address));
		return;
	}
	queue_stop(vq);
	service_own(vdev);
	wait_settled(vdev, vq);
}

bool virtio_queue_resetting(struct virtio_device *vdev, unsigned n)
{
	return n < vdev->queue_count && atomic_load(&vdev->queues[n]->state) == VIRTQ_STOPPING;
}

/* On a vCPU: it would rather do the work than wake another thread and be interrupted by it. */
static void queue_rung(void *opaque)
{
	struct virtqueue *vq = opaque;
	struct aio_loop *loop = vq->loop;
	if (!loop || !aio_loop_borrow(loop)) {
		virtq_kick_later(vq);
		return;
	}
	/* A queue leaves a loop while the loop's thread is awake: now it stays where it is. */
	if (vq->loop == loop)
		virtq_service(vq);
	else
		virtq_kick_later(vq);
	aio_loop_return(loop);
}

void virtio_queue_doorbell(struct virtio_device *vdev, unsigned n, struct space_doorbell *doorbell)
{
	struct virtqueue *vq = vdev->queues[n];
	bool elsewhere = virtq_is_elsewhere(vq);
	doorbell->fd = elsewhere ? vq->server_kick : vq->doorbell;
	doorbell->ring = elsewhere ? NULL : queue_rung;
	doorbell->opaque = vq;
}

void virtio_queue_ring(struct virtio_device *vdev, unsigned n)
{
	if (n >= vdev->queue_count)
		return;
	struct virtqueue *vq = vdev->queues[n];
	write_eventfd(virtq_is_elsewhere(vq) ? vq->server_kick : vq->doorbell);
}

/* ---- Queues as devices see them ---- */

unsigned virtq_index(const struct virtqueue *vq)
{
	return vq->index;
}

unsigned virtq_size(const struct virtqueue *vq)
{
	return vq->size;
}

struct aio_loop *virtq_loop(const struct virtqueue *vq)
{
	return vq->loop;
}
