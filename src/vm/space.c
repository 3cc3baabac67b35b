/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of an address space: the list of mappings, the flat view computed from it, doorbells and
 * the listener. Everything here runs under space->lock.
 */
#include "vm/space_int.h"

#include "base/lock.h"

#include <string.h>

struct space *space_new(const char *name, uint64_t limit)
{
	struct space *space = g_new0(struct space, 1);
	space->name = g_strdup(name);
	space->limit = limit;
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&space->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	pthread_mutex_init(&space->bell_lock, NULL);
	space->mappings = g_array_new(FALSE, FALSE, sizeof(struct mapping));
	space->flat = g_array_new(FALSE, FALSE, sizeof(struct space_range));
	space->bells = g_array_new(FALSE, FALSE, sizeof(struct space_doorbell));
	space->observers = g_array_new(FALSE, FALSE, sizeof(struct space_listener));
	space_view_init(space);
	return space;
}

void space_free(struct space *space)
{
	if (!space)
		return;
	space_view_free(space);
	g_array_unref(space->mappings);
	g_array_unref(space->flat);
	g_array_unref(space->bells);
	g_array_unref(space->observers);
	pthread_mutex_destroy(&space->bell_lock);
	pthread_mutex_destroy(&space->lock);
	g_free(space->name);
	g_free(space);
}

/* --- The flat view -------------------------------------------------------------------------- */

/* The part of `r` that is [base, base + size). */
static struct space_range clip(const struct space_range *r, uint64_t base, uint64_t size)
{
	struct space_range part = *r;
	part.ram_offset += r->ram ? base - r->base : 0;
	part.region_offset += r->region ? base - r->base : 0;
	part.base = base;
	part.size = size;
	return part;
}

static int mapping_order(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int range_order(const void *a, const void *b)
{
	const struct space_range *x = a, *y = b;
	return x->base < y->base ? -1 : x->base > y->base;
}

/* Add the parts of `r` that nothing in `flat` (sorted) covers yet; `flat` comes out sorted. */
static void fill_gaps(GArray *flat, const struct space_range *r)
{
	uint64_t at = r->base, end = r->base + r->size;
	unsigned before = flat->len;
	for (unsigned i = 0; i < before && at < end; i++) {
		/* Copied, since appending may move the array. */
		struct space_range have = g_array_index(flat, struct space_range, i);
		if (have.base + have.size <= at)
			continue;
		if (have.base >= end)
			break;
		if (have.base > at) {
			struct space_range part = clip(r, at, have.base - at);
			g_array_append_val(flat, part);
		}
		at = have.base + have.size;
	}
	if (at < end) {
		struct space_range part = clip(r, at, end - at);
		g_array_append_val(flat, part);
	}
	if (flat->len != before)
		g_array_sort(flat, range_order);
}

static bool continues(const struct space_range *a, const struct space_range *b)
{
	return a->base + a->size == b->base && a->ram == b->ram && a->region == b->region &&
	       a->readonly == b->readonly && (!a->ram || a->ram_offset + a->size == b->ram_offset) &&
	       (!a->region || a->region_offset + a->size == b->region_offset);
}

/* Neighbours that continue each other become one: fewer memslots, larger DMA pieces. */
static void merge(GArray *flat)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < flat->len; i++) {
		struct space_range *r = &g_array_index(flat, struct space_range, i);
		struct space_range *last =
			kept ? &g_array_index(flat, struct space_range, kept - 1) : NULL;
		if (last && continues(last, r))
			last->size += r->size;
		else
			g_array_index(flat, struct space_range, kept++) = *r;
	}
	g_array_set_size(flat, kept);
}

static void recompute(struct space *space)
{
	g_autoptr(GArray) order = g_array_copy(space->mappings);
	g_array_sort(order, mapping_order);
	g_array_set_size(space->flat, 0);
	for (unsigned i = 0; i < order->len; i++)
		fill_gaps(space->flat, &g_array_index(order, struct mapping, i).range);
	merge(space->flat);
	space_view_publish(space);
}

/* --- Changes -------------------------------------------------------------------------------- */

void space_begin(struct space *space)
{
	pthread_mutex_lock(&space->lock);
	space->depth++;
}

static void tell(struct space *space, const struct space_listener *listener)
{
	if (listener->changed)
		listener->changed(listener->opaque, (const struct space_range *)space->flat->data,
				  space->flat->len);
}

void space_commit(struct space *space)
{
	g_assert(space->depth > 0);
	if (space->depth == 1 && space->changed) {
		space->changed = false;
		recompute(space);
		tell(space, &space->listener);
		for (unsigned i = 0; i < space->observers->len; i++)
			tell(space, &g_array_index(space->observers, struct space_listener, i));
	}
	space->depth--;
	pthread_mutex_unlock(&space->lock);
}

static void add(struct space *space, const struct space_range *range, int priority)
{
	g_assert(range->size > 0 && range->base < space->limit &&
		 range->size <= space->limit - range->base);
	space_begin(space);
	struct mapping m = {*range, priority, space->next_order++};
	g_array_append_val(space->mappings, m);
	space->changed = true;
	space_commit(space);
}

void space_add_io(struct space *space, uint64_t base, struct io_region *region, int priority)
{
	add(space, &(struct space_range){.base = base, .size = region->size, .region = region},
	    priority);
}

void space_add_ram(struct space *space, uint64_t base, struct ram_block *ram, uint64_t offset,
		   uint64_t size, bool readonly, struct io_region *region, int priority)
{
	g_assert(!((base | offset | size) & PAGE_MASK));
	g_assert(offset <= ram->size && size <= ram->size - offset);
	add(space,
	    &(struct space_range){.base = base, .size = size, .ram = ram, .ram_offset = offset,
				  .readonly = readonly, .region = region},
	    priority);
}

static void remove_if(struct space *space, bool (*match)(const struct mapping *, const void *),
		      const void *key)
{
	space_begin(space);
	for (unsigned i = space->mappings->len; i-- > 0;) {
		if (match(&g_array_index(space->mappings, struct mapping, i), key)) {
			g_array_remove_index(space->mappings, i);
			space->changed = true;
		}
	}
	space_commit(space);
}

static bool is_io(const struct mapping *m, const void *region)
{
	return !m->range.ram && m->range.region == region;
}

void space_remove_io(struct space *space, struct io_region *region)
{
	remove_if(space, is_io, region);
}

static bool is_ram_at(const struct mapping *m, const void *base)
{
	return m->range.ram && m->range.base == *(const uint64_t *)base;
}

void space_remove_ram(struct space *space, uint64_t base)
{
	remove_if(space, is_ram_at, &base);
}

static bool is_ram_of(const struct mapping *m, const void *ram)
{
	return m->range.ram == ram;
}

void space_remove_ram_block(struct space *space, const struct ram_block *ram)
{
	remove_if(space, is_ram_of, ram);
}

void space_for_each(struct space *space, void (*fn)(void *opaque, const struct space_range *range),
		    void *opaque)
{
	LOCK_SCOPE(&space->lock);
	for (unsigned i = 0; i < space->flat->len; i++)
		fn(opaque, &g_array_index(space->flat, struct space_range, i));
}

/* --- Doorbells and the listener ---------------------------------------------------------------- */

static bool same_bell(const struct space_doorbell *a, const struct space_doorbell *b)
{
	return a->addr == b->addr && a->size == b->size && a->match == b->match &&
	       (!a->match || a->value == b->value) && a->fd == b->fd;
}

void space_add_doorbell(struct space *space, const struct space_doorbell *doorbell)
{
	LOCK_SCOPE(&space->lock);
	unsigned at = 0;
	while (at < space->bells->len &&
	       g_array_index(space->bells, struct space_doorbell, at).addr <= doorbell->addr)
		at++;
	pthread_mutex_lock(&space->bell_lock);
	g_array_insert_val(space->bells, at, *doorbell);
	pthread_mutex_unlock(&space->bell_lock);
	space_bells_publish(space);
	if (space->listener.doorbell)
		space->listener.doorbell(space->listener.opaque, doorbell, true);
}

void space_remove_doorbell(struct space *space, const struct space_doorbell *doorbell)
{
	LOCK_SCOPE(&space->lock);
	unsigned at = 0;
	while (at < space->bells->len &&
	       !same_bell(&g_array_index(space->bells, struct space_doorbell, at), doorbell))
		at++;
	if (at == space->bells->len)
		return;
	pthread_mutex_lock(&space->bell_lock);
	g_array_remove_index(space->bells, at);
	pthread_mutex_unlock(&space->bell_lock);
	space_bells_publish(space);
	if (space->listener.doorbell)
		space->listener.doorbell(space->listener.opaque, doorbell, false);
}

void space_set_listener(struct space *space, const struct space_listener *listener)
{
	LOCK_SCOPE(&space->lock);
	space->listener = listener ? *listener : (struct space_listener){0};
	tell(space, &space->listener);
	for (unsigned i = 0; space->listener.doorbell && i < space->bells->len; i++)
		space->listener.doorbell(space->listener.opaque,
					 &g_array_index(space->bells, struct space_doorbell, i),
					 true);
}

void space_add_observer(struct space *space, const struct space_listener *observer)
{
	LOCK_SCOPE(&space->lock);
	g_array_append_val(space->observers, *observer);
	tell(space, observer);
}

void space_remove_observer(struct space *space, const void *opaque)
{
	LOCK_SCOPE(&space->lock);
	for (unsigned i = space->observers->len; i-- > 0;) {
		if (g_array_index(space->observers, struct space_listener, i).opaque == opaque)
			g_array_remove_index(space->observers, i);
	}
}
