/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Second-level tables of one file, read when needed and kept: at most TABLE_CACHE_BYTES of them, so
 * that no image can make us hold more. Writers change table and file together.
 */
#pragma once

#include "block/format/mapped.h"

#define TABLE_CACHE_BYTES (UINT64_C(32) << 20)

struct table_cache {
	struct block_node *file;
	uint64_t bytes;     /* of each table */
	GHashTable *tables; /* file offset (uint64_t *) to bytes */
};

void table_cache_init(struct table_cache *cache, struct block_node *file, uint64_t bytes);
void table_cache_clear(struct table_cache *cache);
/* The table at `at`, borrowed until the next call. 0 or -errno. */
int table_cache_load(struct table_cache *cache, uint64_t at, void **table);
/* Takes `table` (g_malloc) as the one at `at`. */
void table_cache_add(struct table_cache *cache, uint64_t at, void *table);
