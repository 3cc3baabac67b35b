/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packed virtqueues, virtio 1.2 section 2.8: one ring of descriptors that both sides write. Two
 * flag bits tell, together with a wrap counter on each side, whose turn a descriptor is. Areas, by
 * enum virtq_address: the ring, the driver's and the device's event suppression structures.
 */
#include "dev/virtio/virtq_int.h"

#include "vm/vm.h"

enum { PACKED_F_AVAIL = 1 << 7, PACKED_F_USED = 1 << 15 };
enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 };

/* In a descriptor. */
#define DESC_FLAGS 14
/* In an event suppression structure. */
#define EVENT_OFFSET 0
#define EVENT_FLAGS  2

static void packed_area_sizes(unsigned size, uint64_t sizes[3])
{
	sizes[VIRTQ_DESC] = 16 * size;
	sizes[VIRTQ_DRIVER] = 4;
	sizes[VIRTQ_DEVICE] = 4;
}

static bool packed_available(struct virtqueue *vq)
{
	const uint8_t *desc = vq->area[VIRTQ_DESC].host + 16 * vq->next_avail;
	/* Acquire: the rest of the chain is read after the first descriptor's flags. */
	uint16_t flags = virtq_load16_acquire(desc + DESC_FLAGS);
	bool avail = flags & PACKED_F_AVAIL, used = flags & PACKED_F_USED;
	return avail == vq->packed_avail_wrap && used != vq->packed_avail_wrap;
}

static bool packed_pop(struct virtqueue *vq, struct virtq_chain *chain)
{
	if (!packed_available(vq))
		return false;
	const uint8_t *ring = vq->area[VIRTQ_DESC].host;
	unsigned i = vq->next_avail, slots = 0;
	bool wrap = vq->packed_avail_wrap;
	struct virtq_desc desc;
	do {
		/* A driver that has got no slot back cannot have filled it again. */
		if (vq->slots_inflight + slots == vq->size) {
			virtio_broken(vq->vdev, "queue %u: chain at slot %u is longer than the ring",
				      vq->index, vq->next_avail);
			return false;
		}
		desc = virtq_desc_load(ring + 16 * i, true);
		slots++;
		if (++i == vq->size) {
			i = 0;
			wrap = !wrap;
		}
		bool ok = desc.flags & VIRTQ_F_INDIRECT
				  ? virtq_chain_add_table(vq, chain, &desc, false)
				  : virtq_chain_add(vq, chain, &desc);
		if (!ok)
			return false;
	} while (desc.flags & VIRTQ_F_NEXT);

	/* 2.8.6: the id is valid in the chain's last descriptor. */
	chain->head = desc.next;
	chain->ndescs = slots;
	vq->next_avail = i;
	vq->packed_avail_wrap = wrap;
	return true;
}

static void packed_unpop(struct virtqueue *vq, struct virtq_chain *chain)
{
	if (vq->next_avail < chain->ndescs) {
		vq->next_avail += vq->size;
		vq->packed_avail_wrap = !vq->packed_avail_wrap;
	}
	vq->next_avail -= chain->ndescs;
}

static void packed_push(struct virtqueue *vq, struct virtq_chain *const *chains,
			const uint32_t *written, unsigned count)
{
	const struct virtq_area *ring = &vq->area[VIRTQ_DESC];
	unsigned first_offset = 16 * vq->next_used;
	uint16_t first_flags = 0;
	for (unsigned i = 0; i < count; i++) {
		unsigned offset = 16 * vq->next_used;
		uint16_t flags = written[i] ? VIRTQ_F_WRITE : 0;
		if (vq->packed_used_wrap)
			flags |= PACKED_F_AVAIL | PACKED_F_USED;
		memcpy(ring->host + offset + 8, &written[i], 4);
		virtq_store16(ring->host + offset + 12, chains[i]->head);
		/* The driver goes in ring order: what lies behind the first waits for it. */
		if (i)
			virtq_store16(ring->host + offset + DESC_FLAGS, flags);
		else
			first_flags = flags;
		virtq_area_note(ring, offset, 16);
		vq->next_used += chains[i]->ndescs;
		if (vq->next_used >= vq->size) {
			vq->next_used -= vq->size;
			vq->packed_used_wrap = !vq->packed_used_wrap;
		}
	}
	/* Release: the flags hand the descriptors over with all that was written before. */
	virtq_store16_release(ring->host + first_offset + DESC_FLAGS, first_flags);
	virtq_area_note(ring, first_offset, 16);
}

static bool packed_wants_interrupt(struct virtqueue *vq)
{
	const uint8_t *event = vq->area[VIRTQ_DRIVER].host;
	/* Used descriptors before the driver's wish: see split_wants_interrupt(). */
	vm_fence(vq->vdev->vm);
	/* Acquire: the driver writes the offset before the flags that make it valid. */
	uint16_t flags = virtq_load16_acquire(event + EVENT_FLAGS) & 3;
	if (flags != EVENT_DESC || !vq->event_idx)
		return flags != EVENT_DISABLE;
	uint16_t raw = virtq_load16(event + EVENT_OFFSET);
	uint16_t at = raw & 0x7fff;
	/* A position of the lap before ours lies below zero. */
	if ((raw >> 15) != vq->packed_used_wrap)
		at -= vq->size;
	return virtq_event_passed(at, vq->next_used, vq->next_used - vq->unsignalled);
}

static void packed_set_kicks(struct virtqueue *vq, bool on)
{
	const struct virtq_area *event = &vq->area[VIRTQ_DEVICE];
	uint16_t flags = EVENT_DISABLE;
	/* With chains waiting, too few for the device, any more must be heard of: 2.8.10.1, ENABLE. */
	if (on && vq->event_idx && !packed_available(vq)) {
		virtq_store16(event->host + EVENT_OFFSET,
			      vq->next_avail | vq->packed_avail_wrap << 15);
		flags = EVENT_DESC;
	} else if (on) {
		flags = EVENT_ENABLE;
	}
	virtq_store16_release(event->host + EVENT_FLAGS, flags);
	virtq_area_note(event, 0, 4);
}

const struct virtq_ring_ops virtq_packed_ops = {
	.area_sizes = packed_area_sizes,
	.available = packed_available,
	.pop = packed_pop,
	.unpop = packed_unpop,
	.push = packed_push,
	.wants_interrupt = packed_wants_interrupt,
	.set_kicks = packed_set_kicks,
};
