/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock-free half of an address space: tables under sequence counters (see space_int.h). */
#include "vm/space_int.h"

#define LOAD(x)     atomic_load_explicit(&(x), memory_order_acquire)
#define STORE(x, v) atomic_store_explicit(&(x), v, memory_order_release)

enum { VIEW_INITIAL = 64, BELLS_INITIAL = 16 };

/* Even: the count to compare with at the end. Waits out a writer, who is in a few stores' time. */
static uint32_t read_begin(_Atomic uint32_t *sequence)
{
	uint32_t s;
	while ((s = LOAD(*sequence)) & 1)
		__builtin_ia32_pause();
	return s;
}

/* The acquire loads before this keep their order with it. */
static bool read_retry(_Atomic uint32_t *sequence, uint32_t begun)
{
	return LOAD(*sequence) != begun;
}

static void write_begin(_Atomic uint32_t *sequence)
{
	STORE(*sequence, atomic_load_explicit(sequence, memory_order_relaxed) + 1);
}

static void write_end(_Atomic uint32_t *sequence)
{
	STORE(*sequence, atomic_load_explicit(sequence, memory_order_relaxed) + 1);
}

static struct view_table *view_table_new(unsigned capacity, struct view_table *outgrown)
{
	struct view_table *t = g_malloc0(sizeof(*t) + capacity * sizeof(t->entries[0]));
	t->capacity = capacity;
	t->outgrown = outgrown;
	return t;
}

static struct bell_table *bell_table_new(unsigned capacity, struct bell_table *outgrown)
{
	struct bell_table *t = g_malloc0(sizeof(*t) + capacity * sizeof(t->entries[0]));
	t->capacity = capacity;
	t->outgrown = outgrown;
	return t;
}

void space_view_init(struct space *space)
{
	STORE(space->view, view_table_new(VIEW_INITIAL, NULL));
	STORE(space->bell_table, bell_table_new(BELLS_INITIAL, NULL));
}

void space_view_free(struct space *space)
{
	for (struct view_table *t = LOAD(space->view), *next; t; t = next) {
		next = t->outgrown;
		g_free(t);
	}
	for (struct bell_table *t = LOAD(space->bell_table), *next; t; t = next) {
		next = t->outgrown;
		g_free(t);
	}
}

void space_view_publish(struct space *space)
{
	struct view_table *t = LOAD(space->view);
	unsigned capacity = t->capacity;
	while (capacity < space->flat->len)
		capacity *= 2;
	if (capacity != t->capacity)
		t = view_table_new(capacity, t);

	write_begin(&space->sequence);
	for (unsigned i = 0; i < space->flat->len; i++) {
		const struct space_range *r = &g_array_index(space->flat, struct space_range, i);
		struct view_entry *e = &t->entries[i];
		STORE(e->base, r->base);
		STORE(e->size, r->size);
		STORE(e->ram_offset, r->ram_offset);
		STORE(e->region_offset, r->region_offset);
		STORE(e->ram, r->ram);
		STORE(e->region, r->region);
		STORE(e->readonly, r->readonly);
	}
	STORE(t->count, space->flat->len);
	STORE(space->view, t);
	write_end(&space->sequence);
}

/* The entry that may hold addr: the last whose base is not above it. May be torn; see the caller. */
static struct view_entry *search(struct view_table *t, uint64_t addr)
{
	unsigned low = 0, high = LOAD(t->count);
	while (low < high) {
		unsigned mid = (low + high) / 2;
		if (LOAD(t->entries[mid].base) <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &t->entries[low - 1] : NULL;
}

bool space_find(struct space *space, uint64_t addr, struct space_range *range)
{
	uint32_t begun;
	bool found;
	do {
		begun = read_begin(&space->sequence);
		struct view_entry *e = search(LOAD(space->view), addr);
		found = false;
		if (!e)
			continue;
		range->base = LOAD(e->base);
		range->size = LOAD(e->size);
		range->ram_offset = LOAD(e->ram_offset);
		range->region_offset = LOAD(e->region_offset);
		range->ram = LOAD(e->ram);
		range->region = LOAD(e->region);
		range->readonly = LOAD(e->readonly);
		found = addr - range->base < range->size;
	} while (read_retry(&space->sequence, begun));
	return found;
}

void space_bells_publish(struct space *space)
{
	struct bell_table *t = LOAD(space->bell_table);
	unsigned capacity = t->capacity;
	while (capacity < space->bells->len)
		capacity *= 2;
	if (capacity != t->capacity)
		t = bell_table_new(capacity, t);

	write_begin(&space->bell_sequence);
	for (unsigned i = 0; i < space->bells->len; i++)
		STORE(t->entries[i].addr, g_array_index(space->bells, struct space_doorbell, i).addr);
	STORE(t->count, space->bells->len);
	STORE(space->bell_table, t);
	write_end(&space->bell_sequence);
}

bool space_bell_at(struct space *space, uint64_t addr)
{
	uint32_t begun;
	bool found;
	do {
		begun = read_begin(&space->bell_sequence);
		struct bell_table *t = LOAD(space->bell_table);
		unsigned low = 0, high = LOAD(t->count);
		found = false;
		while (low < high && !found) {
			unsigned mid = (low + high) / 2;
			uint64_t at = LOAD(t->entries[mid].addr);
			found = at == addr;
			if (at < addr)
				low = mid + 1;
			else
				high = mid;
		}
	} while (read_retry(&space->bell_sequence, begun));
	return found;
}
