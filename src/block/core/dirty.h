/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps: which parts of a node were written. Jobs have them without a name, for what is
 * left to copy; the monitor's and those in images have names and tell backups what has changed.
 * A write is marked when it completes, before its submitter is told: who clears a bit, and then
 * reads, misses nothing. The node's loop owns them.
 */
#pragma once

#include "block/core/block.h"

struct block_dirty {
	char *name; /* NULL: a job's own */
	struct block_node *node;
	unsigned shift; /* granularity: 1 << shift bytes for each bit */
	uint64_t bits, count; /* how many there are, and how many are set */
	uint64_t *words;
	bool enabled;      /* records writes */
	bool persistent;   /* kept in the image when it is closed */
	bool readonly;     /* the image cannot be written now, so what it holds must not change */
	bool inconsistent; /* not closed properly: good for nothing but removal */
	unsigned busy;     /* users that it must not be changed or removed under */
	struct block_dirty *next;
};

enum { BLOCK_DIRTY_NAME_MAX = 1023, BLOCK_DIRTY_SHIFT_MIN = 9, BLOCK_DIRTY_SHIFT_MAX = 31,
       BLOCK_DIRTY_SHIFT_DEFAULT = 16 };

/* Enabled and clear. `name` may be NULL. */
struct block_dirty *block_dirty_new(struct block_node *node, const char *name, unsigned shift);
void block_dirty_free(struct block_dirty *dirty);
struct block_dirty *block_dirty_find(const struct block_node *node, const char *name);
/* In a node or what it is based on, as NBD and QMP look for them. NULL: nowhere. */
struct block_dirty *block_dirty_find_in_chain(struct block_node *node, const char *name);

void block_dirty_set(struct block_dirty *dirty, uint64_t offset, uint64_t length);
void block_dirty_clear(struct block_dirty *dirty, uint64_t offset, uint64_t length);
bool block_dirty_get(const struct block_dirty *dirty, uint64_t offset);
/* The first set bit at or behind `offset`, as the bytes it stands for. False: none. */
bool block_dirty_next(const struct block_dirty *dirty, uint64_t offset, uint64_t *start,
		      uint64_t *length);
/* How far the state of `offset` reaches. */
uint64_t block_dirty_run(const struct block_dirty *dirty, uint64_t offset, uint64_t length);
/* Set in `to` what is set in `from`. Their granularities may differ. */
void block_dirty_merge(struct block_dirty *to, const struct block_dirty *from);
/* The same bits, enabled or not, with no name. */
struct block_dirty *block_dirty_copy(const struct block_dirty *dirty);
/* May it be changed now? Else *error says why not. */
bool block_dirty_check_usable(const struct block_dirty *dirty, GError **error);

/* For the core: a request that may have changed bytes; the node has another size. */
void block_dirty_mark(struct block_node *node, uint64_t offset, uint64_t length);
void block_dirty_resize_all(struct block_node *node);
void block_dirty_free_all(struct block_node *node);
