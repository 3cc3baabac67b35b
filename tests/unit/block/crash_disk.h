/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk in memory that keeps apart what was flushed and what was only written. At a chosen write
 * the power fails: of the unflushed writes some arrive, in part or not at all. The disk itself goes
 * on; what the cut has left is a copy. One thread, that of the loop.
 */
#pragma once

#include "block/core/drivers.h"

#define DISK_MAX (12 << 20) /* of the host's file */

struct disk {
	struct block_node node;
	uint8_t *now, *stable;
	GArray *pending; /* struct pending: written since the last flush */
	uint64_t written, cut_at;
	uint64_t end, stable_end, cut_end; /* of the file; what is certain of that */
	uint8_t *cut; /* what the power cut left, or NULL */
	GRand *rand;
};

/*
 * The node "disk" of `graph`: empty, or with DISK_MAX `bytes` of a file that has `least` bytes at
 * least. `seed` decides what becomes of unflushed writes. block_close() frees it.
 */
struct disk *disk_new(struct block_graph *graph, struct aio_loop *loop, const uint8_t *bytes,
		      uint64_t least, uint32_t seed);

/* An empty image on the disk: `pairs` are its options, to NULL; secrets are in the graph. */
void disk_format(struct disk *disk, const char *format, uint64_t size, const char *const *pairs);
/* The image on it, its key being "s" if it is encrypted. */
struct block_node *disk_open_image(struct block_graph *graph, struct aio_loop *loop, const char *format,
				   bool encrypted, bool readonly);
/* Check an image: there must be no corruption, and after that repair what leaked if it is qcow2.
 * Formats without checks have nothing to show. */
void disk_check_image(struct block_node *node);
