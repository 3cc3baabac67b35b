/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of an address space.
 *
 * The flat view is read without a lock under a sequence counter: a writer makes it odd, stores the
 * new entries, makes it even; a reader that sees an odd or a changed counter tries again. Every
 * word that both touch is atomic (release stores, acquire loads: plain moves on x86), so there is
 * no data race to explain away. Storage only grows, by doubling, and outgrown tables live until
 * the space is freed: a reader may still look at one.
 */
#pragma once

#include "vm/space.h"

#include <stdatomic.h>

/* One struct space_range as atomic words. */
struct view_entry {
	_Atomic uint64_t base, size, ram_offset, region_offset;
	_Atomic(struct ram_block *) ram;
	_Atomic(struct io_region *) region;
	_Atomic bool readonly;
};

struct view_table {
	struct view_table *outgrown; /* the table before this one */
	unsigned capacity;
	_Atomic unsigned count; /* never over capacity */
	struct view_entry entries[];
};

struct bell_entry {
	_Atomic uint64_t addr;
};

/* Addresses with doorbells, sorted: tells space_write() cheaply that there is none. */
struct bell_table {
	struct bell_table *outgrown;
	unsigned capacity;
	_Atomic unsigned count;
	struct bell_entry entries[];
};

/* What was added, before overlaps are resolved. */
struct mapping {
	struct space_range range;
	int priority;
	uint64_t order; /* of adding */
};

struct space {
	char *name;
	uint64_t limit;

	pthread_mutex_t lock; /* recursive; held from begin to commit. Guards all but the tables' reading */
	unsigned depth;
	bool changed;
	uint64_t next_order;
	GArray *mappings; /* struct mapping, in the order of adding */
	GArray *flat;     /* struct space_range: the view as the writer knows it */
	struct space_listener listener;
	GArray *observers; /* struct space_listener */

	_Atomic uint32_t sequence;
	_Atomic(struct view_table *) view;

	pthread_mutex_t bell_lock; /* held while a doorbell is signalled: its fd stays open so long */
	GArray *bells;             /* struct space_doorbell, by addr; changed under both locks */
	_Atomic uint32_t bell_sequence;
	_Atomic(struct bell_table *) bell_table;
};

void space_view_init(struct space *space);
void space_view_free(struct space *space);
/* Publish space->flat. Under space->lock. */
void space_view_publish(struct space *space);
/* Publish the addresses of space->bells. Under space->lock. */
void space_bells_publish(struct space *space);
bool space_bell_at(struct space *space, uint64_t addr);
