/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pair of 8259A interrupt controllers of a PC, with the edge/level control registers of the
 * chip set. Inputs are ISA IRQs 0 to 15 (2 is the cascade). Any thread.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

struct pic;
struct vm;

/* `output` is INTR. Maps ports 20, a0 and 4d0. */
struct pic *pic_new(struct vm *vm, const struct irq *output);
void pic_free(struct pic *pic);
void pic_reset(struct pic *pic);
/* As struct irq's set: `opaque` is the struct pic. */
void pic_set_line(void *opaque, unsigned line, bool level);
/* INTA: the vector, or -1 if the request has gone meanwhile. */
int pic_acknowledge(struct pic *pic);
