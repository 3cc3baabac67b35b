/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A memory module that can be plugged in. What it does is machine/memory.c's; here are its properties. */
#pragma once

#include "dev/core/device.h"

#define PC_DIMM_ANY_SLOT UINT32_MAX

struct ram_block;

struct pc_dimm {
	struct device dev;
	struct ram_block *ram; /* the back end's */
	uint32_t node;
	uint32_t slot;         /* PC_DIMM_ANY_SLOT until it is plugged in */
	uint64_t address;      /* 0: any, until it is plugged in */
	bool hotplugged;       /* came after power-on */
};

extern const struct device_class pc_dimm_class;
/* NULL if `dev` is another kind of device. */
struct pc_dimm *pc_dimm_of(struct device *dev);
