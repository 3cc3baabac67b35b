/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/core/dirty.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/driver.h"
#include "block/core/graph.h"

#include <string.h>

static uint64_t bits_for(const struct block_dirty *dirty, uint64_t size)
{
	return (size + (UINT64_C(1) << dirty->shift) - 1) >> dirty->shift;
}

struct block_dirty *block_dirty_new(struct block_node *node, const char *name, unsigned shift)
{
	struct block_dirty *dirty = g_new0(struct block_dirty, 1);
	dirty->name = g_strdup(name);
	dirty->node = node;
	dirty->shift = shift;
	dirty->bits = bits_for(dirty, node->size);
	dirty->words = g_new0(uint64_t, dirty->bits / 64 + 1);
	dirty->enabled = true;
	struct block_dirty **last = &node->dirty;
	while (*last)
		last = &(*last)->next;
	*last = dirty;
	return dirty;
}

void block_dirty_free(struct block_dirty *dirty)
{
	if (!dirty)
		return;
	struct block_dirty **place = &dirty->node->dirty;
	while (*place != dirty)
		place = &(*place)->next;
	*place = dirty->next;
	g_free(dirty->name);
	g_free(dirty->words);
	g_free(dirty);
}

void block_dirty_free_all(struct block_node *node)
{
	while (node->dirty)
		block_dirty_free(node->dirty);
}

struct block_dirty *block_dirty_find(const struct block_node *node, const char *name)
{
	for (struct block_dirty *dirty = node->dirty; dirty; dirty = dirty->next)
		if (dirty->name && strcmp(dirty->name, name) == 0)
			return dirty;
	return NULL;
}

struct block_dirty *block_dirty_find_in_chain(struct block_node *node, const char *name)
{
	for (; node; node = node->backing) {
		struct block_dirty *found;
		for (; node->driver->transparent && node->file; node = node->file)
			if ((found = block_dirty_find(node, name)))
				return found;
		if ((found = block_dirty_find(node, name)))
			return found;
	}
	return NULL;
}

/* Set or clear bits [first, end). */
static void change(struct block_dirty *dirty, uint64_t first, uint64_t end, bool set)
{
	end = MIN(end, dirty->bits);
	while (first < end) {
		uint64_t *word = &dirty->words[first / 64];
		unsigned n = MIN(64 - first % 64, end - first);
		uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << first % 64;
		dirty->count -= __builtin_popcountll(*word);
		*word = set ? *word | mask : *word & ~mask;
		dirty->count += __builtin_popcountll(*word);
		first += n;
	}
}

void block_dirty_set(struct block_dirty *dirty, uint64_t offset, uint64_t length)
{
	if (length)
		change(dirty, offset >> dirty->shift, ((offset + length - 1) >> dirty->shift) + 1, true);
}

void block_dirty_clear(struct block_dirty *dirty, uint64_t offset, uint64_t length)
{
	if (length)
		change(dirty, offset >> dirty->shift, ((offset + length - 1) >> dirty->shift) + 1, false);
}

bool block_dirty_get(const struct block_dirty *dirty, uint64_t offset)
{
	uint64_t bit = offset >> dirty->shift;
	return bit < dirty->bits && dirty->words[bit / 64] >> bit % 64 & 1;
}

/* The first bit at or behind `bit` that is `set`; dirty->bits: none. */
static uint64_t find(const struct block_dirty *dirty, uint64_t bit, bool set)
{
	while (bit < dirty->bits) {
		uint64_t word = set ? dirty->words[bit / 64] : ~dirty->words[bit / 64];
		word >>= bit % 64;
		if (word)
			return MIN(bit + __builtin_ctzll(word), dirty->bits);
		bit = align_down(bit, 64) + 64;
	}
	return dirty->bits;
}

bool block_dirty_next(const struct block_dirty *dirty, uint64_t offset, uint64_t *start,
		      uint64_t *length)
{
	/* The last bit may reach beyond the end: who goes on from there has seen it. */
	if (offset >= dirty->node->size)
		return false;
	uint64_t bit = find(dirty, offset >> dirty->shift, true);
	if (bit >= dirty->bits)
		return false;
	*start = bit << dirty->shift;
	*length = MIN(UINT64_C(1) << dirty->shift, dirty->node->size - *start);
	return *start < dirty->node->size;
}

uint64_t block_dirty_run(const struct block_dirty *dirty, uint64_t offset, uint64_t length)
{
	uint64_t end = find(dirty, offset >> dirty->shift, !block_dirty_get(dirty, offset))
		       << dirty->shift;
	return end <= offset ? length : MIN(length, end - offset);
}

void block_dirty_merge(struct block_dirty *to, const struct block_dirty *from)
{
	if (to->shift == from->shift && to->bits == from->bits) {
		to->count = 0;
		for (uint64_t i = 0; i <= to->bits / 64; i++) {
			to->words[i] |= from->words[i];
			to->count += __builtin_popcountll(to->words[i]);
		}
		return;
	}
	for (uint64_t bit = 0; (bit = find(from, bit, true)) < from->bits;) {
		uint64_t end = find(from, bit, false);
		block_dirty_set(to, bit << from->shift, (end - bit) << from->shift);
		bit = end;
	}
}

struct block_dirty *block_dirty_copy(const struct block_dirty *dirty)
{
	struct block_dirty *copy = block_dirty_new(dirty->node, NULL, dirty->shift);
	block_dirty_merge(copy, dirty);
	copy->enabled = dirty->enabled;
	return copy;
}

bool block_dirty_check_usable(const struct block_dirty *dirty, GError **error)
{
	if (dirty->busy)
		return error_set(error, BERTH_ERR_BUSY,
				 "Bitmap '%s' is currently in use by another operation and cannot be "
				 "used", dirty->name);
	if (dirty->readonly)
		return error_set(error, BERTH_ERR_INVALID, "Bitmap '%s' is readonly and cannot be "
				 "modified", dirty->name);
	if (dirty->inconsistent)
		return error_set(error, BERTH_ERR_INVALID, "Bitmap '%s' is inconsistent and cannot be "
				 "used: remove it with block-dirty-bitmap-remove", dirty->name);
	return true;
}

void block_dirty_mark(struct block_node *node, uint64_t offset, uint64_t length)
{
	for (struct block_dirty *dirty = node->dirty; dirty; dirty = dirty->next)
		if (dirty->enabled && !dirty->inconsistent)
			block_dirty_set(dirty, offset, length);
}

void block_dirty_resize_all(struct block_node *node)
{
	for (struct block_dirty *dirty = node->dirty; dirty; dirty = dirty->next) {
		uint64_t bits = bits_for(dirty, node->size);
		uint64_t have = dirty->bits / 64 + 1, want = bits / 64 + 1;
		if (bits < dirty->bits)
			change(dirty, bits, dirty->bits, false);
		dirty->words = g_renew(uint64_t, dirty->words, want);
		if (want > have)
			memset(dirty->words + have, 0, (want - have) * 8);
		dirty->bits = bits;
	}
}
