/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Split virtqueues, virtio 1.2 section 2.7: a descriptor table, an available ring that the driver
 * writes and a used ring that the device writes. Areas, by enum virtq_address: descriptor table,
 * available ring, used ring. The guest is little-endian x86, as is the host.
 */
#include "dev/virtio/virtq_int.h"

#include "vm/vm.h"

enum { AVAIL_F_NO_INTERRUPT = 1, USED_F_NO_NOTIFY = 1 };

/* Offsets in the available ring: flags, idx, ring[size], used_event. */
#define AVAIL_IDX       2
#define AVAIL_RING(i)   (4 + 2 * (i))
/* And in the used ring: flags, idx, ring[size] of { id, len }, avail_event. */
#define USED_IDX        2
#define USED_RING(i)    (4 + 8 * (i))

static void split_area_sizes(unsigned size, uint64_t sizes[3])
{
	sizes[VIRTQ_DESC] = 16 * size;
	sizes[VIRTQ_DRIVER] = AVAIL_RING(size) + 2;
	sizes[VIRTQ_DEVICE] = USED_RING(size) + 2;
}

static bool split_available(struct virtqueue *vq)
{
	if (vq->seen_avail != vq->next_avail)
		return true;
	/* Acquire: ring entries and descriptors are read after the index that publishes them. */
	vq->seen_avail = virtq_load16_acquire(vq->area[VIRTQ_DRIVER].host + AVAIL_IDX);
	uint16_t pending = vq->seen_avail - vq->next_avail;
	if (pending > vq->size) {
		virtio_broken(vq->vdev, "queue %u: available index jumped from %u to %u", vq->index,
			      vq->next_avail, vq->seen_avail);
		vq->seen_avail = vq->next_avail;
		return false;
	}
	return pending != 0;
}

static bool split_walk(struct virtqueue *vq, struct virtq_chain *chain, unsigned head)
{
	const uint8_t *table = vq->area[VIRTQ_DESC].host;
	unsigned i = head;
	for (unsigned steps = 0;; steps++) {
		if (steps == vq->size) {
			virtio_broken(vq->vdev, "queue %u: descriptor chain %u loops", vq->index,
				      head);
			return false;
		}
		struct virtq_desc desc = virtq_desc_load(table + 16 * i, false);
		if (desc.flags & VIRTQ_F_INDIRECT)
			return virtq_chain_add_table(vq, chain, &desc, true);
		if (!virtq_chain_add(vq, chain, &desc))
			return false;
		if (!(desc.flags & VIRTQ_F_NEXT))
			return true;
		i = desc.next;
		if (i >= vq->size) {
			virtio_broken(vq->vdev, "queue %u: descriptor %u is beyond size %u",
				      vq->index, i, vq->size);
			return false;
		}
	}
}

static bool split_pop(struct virtqueue *vq, struct virtq_chain *chain)
{
	if (!split_available(vq))
		return false;
	unsigned slot = vq->next_avail & (vq->size - 1);
	unsigned head = virtq_load16(vq->area[VIRTQ_DRIVER].host + AVAIL_RING(slot));
	if (head >= vq->size) {
		virtio_broken(vq->vdev, "queue %u: available head %u is beyond size %u", vq->index,
			      head, vq->size);
		return false;
	}
	if (vq->busy[head / 64] >> head % 64 & 1) {
		virtio_broken(vq->vdev, "queue %u: head %u made available twice", vq->index, head);
		return false;
	}
	if (!split_walk(vq, chain, head))
		return false;
	vq->busy[head / 64] |= UINT64_C(1) << head % 64;
	chain->head = head;
	chain->ndescs = 1;
	vq->next_avail++;
	return true;
}

static void split_unpop(struct virtqueue *vq, struct virtq_chain *chain)
{
	vq->busy[chain->head / 64] &= ~(UINT64_C(1) << chain->head % 64);
	vq->next_avail--;
}

static void split_push(struct virtqueue *vq, struct virtq_chain *const *chains,
		       const uint32_t *written, unsigned count)
{
	const struct virtq_area *used = &vq->area[VIRTQ_DEVICE];
	for (unsigned i = 0; i < count; i++) {
		unsigned head = chains[i]->head;
		unsigned offset = USED_RING(vq->next_used & (vq->size - 1));
		uint32_t element[2] = {head, written[i]};
		memcpy(used->host + offset, element, sizeof(element));
		virtq_area_note(used, offset, sizeof(element));
		vq->busy[head / 64] &= ~(UINT64_C(1) << head % 64);
		vq->next_used++;
	}
	/* Release: the elements, and the data before them, are visible before the index. */
	virtq_store16_release(used->host + USED_IDX, vq->next_used);
	virtq_area_note(used, USED_IDX, 2);
}

static bool split_wants_interrupt(struct virtqueue *vq)
{
	const uint8_t *avail = vq->area[VIRTQ_DRIVER].host;
	/*
	 * The used index must be visible before the driver's wish is read: it writes its wish, then
	 * looks at the index again. Only a full fence orders a store with a later load.
	 */
	vm_fence(vq->vdev->vm);
	if (!vq->event_idx)
		return !(virtq_load16(avail) & AVAIL_F_NO_INTERRUPT);
	uint16_t used_event = virtq_load16(avail + AVAIL_RING(vq->size));
	return virtq_event_passed(used_event, vq->next_used, vq->next_used - vq->unsignalled);
}

static void split_set_kicks(struct virtqueue *vq, bool on)
{
	const struct virtq_area *used = &vq->area[VIRTQ_DEVICE];
	if (vq->event_idx) {
		/* There is no way to say "never"; an old event index is one 65,536 chains away. */
		if (!on)
			return;
		/*
		 * The next chain that the driver adds, not the next one that we take: chains too few
		 * for what the device wants may be waiting, and it must hear of more.
		 */
		uint16_t added = virtq_load16(vq->area[VIRTQ_DRIVER].host + AVAIL_IDX);
		virtq_store16(used->host + USED_RING(vq->size), added);
		virtq_area_note(used, USED_RING(vq->size), 2);
	} else {
		virtq_store16(used->host, on ? 0 : USED_F_NO_NOTIFY);
		virtq_area_note(used, 0, 2);
	}
}

const struct virtq_ring_ops virtq_split_ops = {
	.area_sizes = split_area_sizes,
	.available = split_available,
	.pop = split_pop,
	.unpop = split_unpop,
	.push = split_push,
	.wants_interrupt = split_wants_interrupt,
	.set_kicks = split_set_kicks,
};
