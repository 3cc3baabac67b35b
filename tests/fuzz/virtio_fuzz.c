/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio_fuzz.h"

#include "vd_echo.h"

#include "base/bytes.h"
#include "base/log.h"
#include "dev/virtio/pci.h"

#include <string.h>

#define RING_SIZE 8
#define MAX_QUEUES 8
#define OPS_MAX 200

struct fuzz {
	const struct fuzz_target *target;
	struct vd vd;
	struct vdq queues[MAX_QUEUES];
	uint64_t pages;
};

static void start(struct fuzz *f, uint64_t features)
{
	struct vd_machine *m = f->vd.m;
	m->next_page = 0x100000;
	/* The status poll would wait for requests that only an event can end. */
	virtio_reset(f->vd.pci ? ((struct virtio_pci *)f->vd.dev)->vdev :
				 ((struct virtio_mmio *)f->vd.dev)->vdev);
	if (!vd_negotiate(&f->vd, features))
		return;
	for (unsigned i = 0; i < f->target->queues; i++)
		vdq_open(&f->queues[i], &f->vd, i, RING_SIZE);
	f->pages = vd_alloc(m, 65536);
	vd_driver_ok(&f->vd);
}

static void chain(struct fuzz *f, struct fuzz_in *in, bool indirect)
{
	struct vdq *vq = &f->queues[fuzz_u8(in) % f->target->queues];
	struct vd_buffer buffers[5];
	unsigned count = 1 + fuzz_u8(in) % 5;
	uint8_t *mem = f->vd.m->mem;
	if (!vq->vd)
		return;
	for (unsigned i = 0; i < count; i++) {
		uint8_t how = fuzz_u8(in);
		uint64_t at = f->pages + (i << 12) + (how >> 4);
		uint16_t length = fuzz_u16(in) % 8192;
		buffers[i] = (struct vd_buffer){at, length, how & 1};
		unsigned wanted = how & 2 ? fuzz_u8(in) : 0;
		unsigned given = MIN(in->left, MIN(length, wanted));
		if (given)
			memcpy(mem + at, in->data, given);
		in->data += given;
		in->left -= given;
	}
	vdq_add(vq, buffers, count, indirect ? f->pages + 0x8000 : 0);
	vdq_kick(vq);
}

static void operation(struct fuzz *f, struct fuzz_in *in)
{
	struct vd_machine *m = f->vd.m;
	uint8_t op = fuzz_u8(in);
	switch (op % 12) {
	case 0: { /* a register, any */
		uint64_t at = VD_MMIO_BASE + f->vd.slot * VIRTIO_MMIO_SLOT_SIZE;
		unsigned reg = fuzz_u16(in) % VIRTIO_MMIO_SLOT_SIZE;
		uint32_t value = fuzz_u32(in);
		if (op & 0x80)
			space_read(m->vm->memory, at + reg, 1u << fuzz_u8(in) % 3);
		else if ((reg & ~3u) != 0x70 || value & 0xff)
			space_write(m->vm->memory, at + reg, value, 1u << fuzz_u8(in) % 3);
		break;
	}
	case 1: { /* some bytes of a ring */
		struct vdq *vq = &f->queues[fuzz_u8(in) % f->target->queues];
		const uint64_t areas[] = {vq->desc, vq->driver, vq->device, f->pages + 0x8000};
		uint64_t at = areas[fuzz_u8(in) % 4] + fuzz_u8(in);
		unsigned count = fuzz_u8(in) % 32;
		for (unsigned i = 0; i < count; i++)
			m->mem[at + i] = fuzz_u8(in);
		break;
	}
	case 2:
		vdq_kick(&(struct vdq){.vd = &f->vd, .index = fuzz_u8(in) % MAX_QUEUES});
		break;
	case 3:
		start(f, op & 0x80 ? f->target->features & fuzz_u32(in) : f->target->features);
		break;
	case 4:
		if (f->target->event)
			f->target->event(f->target->opaque, &f->vd, in);
		break;
	case 5:
		if (op & 0x80)
			device_stop(f->vd.dev);
		else
			device_start(f->vd.dev);
		break;
	case 6:
		if (f->vd.features >> VIRTIO_F_RING_RESET & 1) {
			unsigned n = fuzz_u8(in) % f->target->queues;
			if (f->queues[n].vd)
				vdq_reset(&f->queues[n]);
		}
		break;
	case 7:
	case 8:
		chain(f, in, true);
		break;
	default:
		chain(f, in, false);
		break;
	}
	for (unsigned i = 0; i < 3; i++)
		aio_loop_iterate(m->loop, 0);
	if (f->target->settle_ms)
		vd_pump(m, f->target->settle_ms, NULL);
}

void fuzz_virtio(const struct fuzz_target *target, struct vd_machine *m, const uint8_t *data,
		 size_t size)
{
	struct fuzz_in in = {data, size};
	struct fuzz f = {.target = target};
	log_setup("fuzz", LOG_LEVEL_ERROR + 1, stderr);
	vd_open(&f.vd, m, target->class, target->resolver, target->properties);
	start(&f, target->features);
	for (unsigned i = 0; in.left && i < OPS_MAX; i++)
		operation(&f, &in);
	vd_close(&f.vd);
	vd_machine_free(m);
}

static void echo_event(void *opaque, struct vd *vd, struct fuzz_in *in)
{
	struct echo *echo = echo_of(vd->dev);
	uint8_t what = fuzz_u8(in);
	echo->hold = what & 1;
	echo->keep_on_drop = what & 2;
	if (what & 4)
		echo_release(echo);
	/* What is kept must come back some time, or a reset waits for ever. */
	echo->keep_on_drop = false;
}

void fuzz_virtqueue(const char *packed, const uint8_t *data, size_t size)
{
	const char *const properties[] = {"packed", packed, NULL};
	const struct fuzz_target target = {
		.class = &echo_mmio, .properties = properties, .queues = ECHO_QUEUES,
		.features = ~UINT64_C(0), .event = echo_event,
	};
	struct vd_machine m;
	vd_machine_init(&m);
	fuzz_virtio(&target, &m, data, size);
}
