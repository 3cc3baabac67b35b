/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded cache of tables: when it is full it starts anew, which keeps it simple. */
#include "block/format/tables.h"

#include <errno.h>

void table_cache_init(struct table_cache *cache, struct block_node *file, uint64_t bytes)
{
	*cache = (struct table_cache){.file = file, .bytes = bytes};
	cache->tables = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
}

void table_cache_clear(struct table_cache *cache)
{
	g_clear_pointer(&cache->tables, g_hash_table_unref);
}

void table_cache_add(struct table_cache *cache, uint64_t at, void *table)
{
	uint64_t *key = g_new(uint64_t, 1);
	*key = at;
	if ((g_hash_table_size(cache->tables) + 1) * cache->bytes > TABLE_CACHE_BYTES)
		g_hash_table_remove_all(cache->tables);
	g_hash_table_insert(cache->tables, key, table);
}

int table_cache_load(struct table_cache *cache, uint64_t at, void **table)
{
	*table = g_hash_table_lookup(cache->tables, &at);
	if (*table)
		return 0;
	*table = g_try_malloc(cache->bytes);
	if (!*table)
		return -ENOMEM;
	int rc = block_pread(cache->file, at, *table, cache->bytes);
	if (rc == 0)
		table_cache_add(cache, at, *table);
	else
		g_free(*table);
	return rc;
}
