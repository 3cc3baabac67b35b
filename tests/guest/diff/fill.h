/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values for memory and FPU registers: random bits, and numbers at the edges of their formats. */
#pragma once

#include "cpu/x86/state.h"
#include "random.h"

#include <stddef.h>

/* `size` is a multiple of 8. */
void fill_memory(struct rng *r, uint8_t *to, size_t size);
void fill_fpu(struct rng *r, struct x86_fpu *fpu);
