/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network device with a back end that takes plain packets (all offloads are done here). */
#include "dev/virtio/devices.h"
#include "vd_fakes.h"
#include "virtio_fuzz.h"

#include <limits.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void event(void *opaque, struct vd *vd, struct fuzz_in *in)
{
	struct fake_net *net = opaque;
	uint8_t what = fuzz_u8(in);
	if (!net->has_receiver)
		return;
	struct net_receiver *r = &net->receiver;
	unsigned queue = what >> 6;
	net->room = what & 1 ? UINT_MAX : fuzz_u8(in) % 8;
	if (what & 2)
		r->writable(r->opaque, queue);
	if (what & 4)
		r->link_changed(r->opaque, what & 8);
	if (what & 16 && r->can_receive(r->opaque, queue)) {
		uint8_t packet[4096];
		unsigned size = fuzz_u16(in) % sizeof(packet);
		for (unsigned i = 0; i < size; i++)
			packet[i] = i < 20 ? fuzz_u8(in) : i;
		struct iovec iov[2] = {{packet, size / 3}, {packet + size / 3, size - size / 3}};
		r->receive(r->opaque, queue, iov, 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const properties[] = {"netdev", "net", "mq", "on", "packed", "on", NULL};
	struct vd_machine m;
	struct fake_net net;
	struct fakes fakes = {.net = &net};
	struct device_resolver resolver = fakes_resolver(&fakes);
	const struct fuzz_target target = {
		.class = &virtio_net_device, .resolver = &resolver, .properties = properties,
		.queues = 5, .features = ~(size & 1 ? 0 : VIRTIO_BIT(VIRTIO_F_RING_PACKED)),
		.event = event, .opaque = &net,
	};
	vd_machine_init(&m);
	fake_net_init(&net, m.loop, size & 2 ? NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 : 0);
	fuzz_virtio(&target, &m, data, size);
	fake_net_free(&net);
	return 0;
}
