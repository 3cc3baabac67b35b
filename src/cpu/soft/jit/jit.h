/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The translator, as the interpreter and the engine see it.
 *
 * Blocks of the interpreter count how often they are entered. A hot one gets a unit: host code for
 * the block and what follows it by falling through, as far as the page goes. Units belong to blocks
 * (and to a TLB table, since the code names it): what drops a block drops its units. Entering the
 * block then runs the unit; whatever the translator cannot do goes on in the interpreter, instruction
 * by instruction, on the same state.
 *
 * All of it belongs to the vCPU's thread. See emit.h for the inside.
 */
#pragma once

#include "cpu/soft/soft.h"

#include <glib.h>

struct block;

/* c->jit; allocates code memory, so before the sandbox closes. */
bool jit_create(struct soft_vcpu *c, GError **error);
void jit_destroy(struct soft_vcpu *c);

/* The block is dropped: nothing may enter its units any more. */
void jit_block_drop(struct soft_vcpu *c, struct block *b);
/* All blocks are gone, and none is running: start again with empty code memory. */
void jit_reset(struct soft_vcpu *c);
/* Is code memory full? Then the run loop starts again with nothing translated. */
bool jit_wants_reset(const struct soft_vcpu *c);
/* Executable mappings of the table have changed: where indirect jumps lead must be looked up again. */
void jit_jumps_forget(struct soft_vcpu *c, enum soft_tlb_table table);
/* Memory is not what it was: the unit that runs must not go on after the present instruction. */
void jit_stop(struct soft_vcpu *c);
/* Lines for `info engine`. */
void jit_describe(const struct soft_vcpu *c, GString *text);
