/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk device; its disk checks that what arrives is within it. */
#include "dev/virtio/devices.h"
#include "vd_fakes.h"
#include "virtio_fuzz.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void event(void *opaque, struct vd *vd, struct fuzz_in *in)
{
	struct block_node *node = opaque;
	uint8_t what = fuzz_u8(in);
	node->defer = what & 1;
	if (what & 2)
		node->fail = what & 4 ? -ENOSPC : -EIO;
	if (what & 8)
		virtio_blk_resized(vd->dev);
	if (what & 16)
		fake_block_finish(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const properties[] = {"drive", "disk", "serial", "fuzz", "num-queues", "2",
						 "queue-size", "16", "packed", "on", "rerror", "ignore",
						 NULL};
	struct block_node node;
	struct fakes fakes = {.block = &node};
	struct device_resolver resolver = fakes_resolver(&fakes);
	const struct fuzz_target target = {
		.class = &virtio_blk_device, .resolver = &resolver, .properties = properties,
		.queues = 2, .features = ~UINT64_C(0), .event = event, .opaque = &node,
	};
	struct vd_machine m;
	fake_block_init(&node, 65536);
	vd_machine_init(&m);
	fuzz_virtio(&target, &m, data, size);
	fake_block_free(&node);
	return 0;
}
