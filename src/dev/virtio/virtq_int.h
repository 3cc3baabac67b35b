/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtqueue's inside, shared by core.c (state), queue.c (chains), split.c and packed.c (rings).
 * Ring fields belong to the loop's thread while the queue is live, and to the holder of vdev->lock
 * while it is off; `state` hands them over (release to acquire).
 */
#pragma once

#include "dev/virtio/virtio.h"

/* Segments beyond one for each descriptor: a buffer that straddles RAM blocks takes two. */
#define VIRTQ_EXTRA_SEGMENTS 8

enum { VIRTQ_F_NEXT = 1, VIRTQ_F_WRITE = 2, VIRTQ_F_INDIRECT = 4 };

/* A descriptor copied from guest memory, in split order; packed has an id for `next`. */
struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* One of the three parts of a ring, contiguous in one RAM block. */
struct virtq_area {
	uint8_t *host;
	struct ram_block *ram;
	uint64_t offset;
};

enum virtq_state {
	VIRTQ_OFF,
	VIRTQ_LIVE,
	VIRTQ_STOPPING, /* waits for chains that the device still holds */
};

struct virtq_ring_ops {
	/* Bytes of the three areas, by enum virtq_address. */
	void (*area_sizes)(unsigned size, uint64_t sizes[3]);
	bool (*available)(struct virtqueue *vq);
	/* Fill `chain` from the next available one; false if none or broken. */
	bool (*pop)(struct virtqueue *vq, struct virtq_chain *chain);
	void (*unpop)(struct virtqueue *vq, struct virtq_chain *chain);
	/* Return chains such that the driver sees all of them at once or none. */
	void (*push)(struct virtqueue *vq, struct virtq_chain *const *chains,
		     const uint32_t *written, unsigned count);
	bool (*wants_interrupt)(struct virtqueue *vq);
	void (*set_kicks)(struct virtqueue *vq, bool on);
};

extern const struct virtq_ring_ops virtq_split_ops, virtq_packed_ops;

struct virtqueue {
	struct virtio_device *vdev;
	unsigned index, max_size;
	_Atomic(struct aio_loop *) loop; /* NULL for a moment while it moves */
	struct aio_watch *watch;
	int doorbell;
	int server_kick, server_call;     /* of a server elsewhere; or -1 */
	struct aio_watch *call_watch;
	_Atomic int state; /* enum virtq_state */

	/* Set by the driver, under vdev->lock; fixed while enabled. */
	unsigned size;
	uint64_t address[3];
	bool enabled;

	const struct virtq_ring_ops *ring;
	struct virtq_area area[3];
	bool event_idx, indirect;
	bool packed_avail_wrap, packed_used_wrap;
	/* Split: free-running counts. Packed: slots below `size`. */
	uint16_t next_avail, next_used;
	uint16_t seen_avail;     /* split: avail->idx as last loaded */
	unsigned unsignalled;    /* ring slots used since virtq_notify() last looked */
	unsigned slots_inflight; /* ring slots of chains that the device holds */
	unsigned inflight;       /* chains that the device holds */
	bool dropped;            /* type->drop has run since STOPPING */

	struct virtq_chain *chains, *free;
	unsigned max_segments;
	void *arena;
	size_t arena_size;
	uint64_t *busy;          /* split: a bit per head that the device holds */
};

/* Append one descriptor's memory to the chain. False: the guest broke it. */
bool virtq_chain_add(struct virtqueue *vq, struct virtq_chain *chain, const struct virtq_desc *desc);
/* Append an indirect table; `linked`: entries name their successor (split). */
bool virtq_chain_add_table(struct virtqueue *vq, struct virtq_chain *chain,
			   const struct virtq_desc *desc, bool linked);
/* Copy a descriptor once: the guest may be changing it. Packed ones have id and flags swapped. */
static inline struct virtq_desc virtq_desc_load(const uint8_t *p, bool packed)
{
	struct virtq_desc desc;
	memcpy(&desc, p, sizeof(desc));
	/* The copy is what gets checked and used; the compiler must not read guest memory again. */
	atomic_signal_fence(memory_order_seq_cst);
	if (packed) {
		uint16_t id = desc.flags;
		desc.flags = desc.next;
		desc.next = id;
	}
	return desc;
}

static inline uint16_t virtq_load16(const uint8_t *p)
{
	return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
}

static inline uint16_t virtq_load16_acquire(const uint8_t *p)
{
	return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
}

static inline void virtq_store16(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, v, __ATOMIC_RELAXED);
}

static inline void virtq_store16_release(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, v, __ATOMIC_RELEASE);
}

static inline void virtq_area_note(const struct virtq_area *area, uint64_t offset, uint64_t length)
{
	ram_note_write(area->ram, area->offset + offset, length);
}

/*
 * 2.7.10, 2.8.10: is the event index within what was added since the last look? `now` and `old` are
 * positions after and before that.
 */
static inline bool virtq_event_passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* core.c <-> queue.c */
bool virtq_activate(struct virtqueue *vq);
void virtq_service(struct virtqueue *vq);
void virtq_settle(struct virtqueue *vq);
bool virtq_init(struct virtqueue *vq, struct virtio_device *vdev, unsigned index, unsigned size,
		struct aio_loop *loop, GError **error);
void virtq_free(struct virtqueue *vq);
static inline bool virtq_is_elsewhere(const struct virtqueue *vq)
{
	return vq->server_kick >= 0;
}
