/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drive a virtio device with bytes: they are a program of register writes, memory writes, chains
 * (honest and not), doorbells, events of the back end and resets. Nothing that a guest can do is
 * left out; nothing may crash, hang or leak.
 */
#pragma once

#include "vdriver.h"

struct fuzz_in {
	const uint8_t *data;
	size_t left;
};

static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

static inline uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t low = fuzz_u8(in);
	return low | fuzz_u8(in) << 8;
}

static inline uint32_t fuzz_u32(struct fuzz_in *in)
{
	uint32_t low = fuzz_u16(in);
	return low | (uint32_t)fuzz_u16(in) << 16;
}

struct fuzz_target {
	const struct device_class *class;
	const struct device_resolver *resolver; /* or NULL */
	const char *const *properties;
	unsigned queues;
	uint64_t features;      /* that the honest driver accepts */
	unsigned settle_ms;     /* wait for other threads */
	/* What comes from the other side. May be NULL. */
	void (*event)(void *opaque, struct vd *vd, struct fuzz_in *in);
	void *opaque;
};

/* `m` is fresh and is freed. */
void fuzz_virtio(const struct fuzz_target *target, struct vd_machine *m, const uint8_t *data,
		 size_t size);
/* The rings under the echo device; `packed` is its property: "on" or "off". */
void fuzz_virtqueue(const char *packed, const uint8_t *data, size_t size);
