/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk whose queues and image are served by the thread of another loop. It is lent to that loop while the guest
 * runs and nobody on the main thread looks at its image, and comes home for everything else (devices.h).
 */
#include "dev/virtio/blk.h"
#include "dev/virtio/devices.h"

#include "block/core/block.h"
#include "vm/vm.h"

static void leave(void *opaque)
{
	struct virtio_blk *blk = opaque;
	for (unsigned i = 0; i < blk->vdev.queue_count; i++)
		virtq_leave_loop(blk->vdev.queues[i]);
	/* On a loop that is not the VM's nothing else than its disks happens meanwhile. */
	block_drain(blk->node);
	block_leave_loop(blk->node);
}

struct arrival {
	struct virtio_blk *blk;
	struct aio_loop *loop;
};

static void arrive(void *opaque)
{
	const struct arrival *arrival = opaque;
	struct virtio_blk *blk = arrival->blk;
	block_enter_loop(blk->node, arrival->loop);
	blk->loop = arrival->loop;
	for (unsigned i = 0; i < blk->vdev.queue_count; i++)
		virtq_enter_loop(blk->vdev.queues[i], arrival->loop);
}

void virtio_blk_go_home(struct virtio_blk *blk)
{
	struct aio_loop *home = blk->vdev.vm->loop;
	if (!blk->loop || blk->loop == home) {
		blk->held_back = false;
		return;
	}
	aio_loop_call(blk->loop, leave, blk);
	arrive(&(struct arrival){blk, home});
}

void virtio_blk_bring_home(struct device *dev)
{
	struct virtio_blk *blk = virtio_blk_of(dev);
	if (!blk)
		return;
	virtio_blk_hold_back(dev, false);
	virtio_blk_go_home(blk);
}

const char *virtio_blk_iothread(struct device *dev)
{
	const struct virtio_blk *blk = virtio_blk_of(dev);
	return blk ? blk->iothread : NULL;
}

bool virtio_blk_is_away(struct device *dev)
{
	const struct virtio_blk *blk = virtio_blk_of(dev);
	return blk && blk->loop && blk->loop != blk->vdev.vm->loop;
}

void virtio_blk_hold_back(struct device *dev, bool on)
{
	struct virtio_blk *blk = virtio_blk_of(dev);
	if (blk->held_back == on)
		return;
	blk->held_back = on;
	for (unsigned i = 0; !on && i < blk->vdev.queue_count; i++)
		virtq_kick_later(blk->vdev.queues[i]);
}

bool virtio_blk_send_away(struct device *dev, struct aio_loop *loop)
{
	struct virtio_blk *blk = virtio_blk_of(dev);
	if (blk->pinned || !atomic_load(&blk->vdev.running) || !block_is_idle(blk->node))
		return false;
	blk->held_back = false;
	leave(blk);
	aio_loop_call(loop, arrive, &(struct arrival){blk, loop});
	return true;
}
