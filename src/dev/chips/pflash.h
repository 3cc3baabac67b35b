/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parallel NOR flash with Intel's command set (CFI type 1): firmware code and its variable store.
 * In array mode it is plain read-only memory to the vCPUs; a command switches it to status reads.
 * Changes are written behind to a block node and are all there after pflash_flush().
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct block_node;
struct pflash;
struct vm;

#define PFLASH_SECTOR 4096

/*
 * The contents come from `node` (its size must be a multiple of 4 KiB); writes go back to it unless
 * `readonly`, when programming fails as on a write-protected chip. The flash ends at `end`.
 */
struct pflash *pflash_new(struct vm *vm, const char *name, struct block_node *node, bool readonly,
			  uint64_t end, GError **error);
/* The same over bytes that are copied; changes are lost with the VM. */
struct pflash *pflash_new_memory(struct vm *vm, const char *name, const void *data, uint64_t size,
				 bool readonly, uint64_t end, GError **error);
uint64_t pflash_base(const struct pflash *flash);
uint64_t pflash_size(const struct pflash *flash);
struct ram_block *pflash_ram(struct pflash *flash);
void pflash_reset(struct pflash *flash);
/* Main thread, VM paused: wait until the block node has everything. */
bool pflash_flush(struct pflash *flash, GError **error);
/* Flushes. NULL is allowed. */
void pflash_free(struct pflash *flash);
