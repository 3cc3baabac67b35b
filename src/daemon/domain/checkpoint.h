/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints of domains: from each on a dirty bitmap in the images records what is written, so that a
 * backup can have what has changed since. All bitmaps record at the same time: one is as good without those
 * of other checkpoints.
 */
#pragma once

#include "conf/checkpoint.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/moment.h"

extern const struct moment_kind checkpoint_kind;

/* NULL: there is none of that name. */
struct conf_checkpoint *checkpoint_find(const struct domain *dom, const char *name);
/* Everything that can be known before the VMM is asked; parent, time and document are filled in. */
bool checkpoint_prepare(const struct domain *dom, struct conf_checkpoint *checkpoint, GError **error);
/*
 * What a transaction does to make its bitmaps. `blocks` is the VMM's answer to query-block. Fails if a disk
 * of the checkpoint is not there.
 */
bool checkpoint_add_actions(const struct domain *dom, const struct conf_checkpoint *checkpoint,
			    const json_t *blocks, json_t *actions, GError **error);
/* The bitmaps are there: it is taken, known, the current one, and `work` will write it. */
void checkpoint_made(struct domain *dom, struct conf_checkpoint *checkpoint, struct moment_work *work);

/*
 * It could not be written, for the reason `why`: forget it, and remove its bitmaps and what is there of its
 * files; what cannot be removed is logged. `done` is called on the loop with `why`, which it borrows.
 */
void checkpoint_unmake(struct domain *dom, const char *name, const GError *why, moment_done_fn *done,
		       void *opaque);
/*
 * What a transaction does to remove its bitmaps from the disks that have them. `blocks` is the VMM's answer
 * to query-block; the domain runs.
 */
void checkpoint_add_removals(const struct domain *dom, const struct conf_checkpoint *checkpoint,
			     const json_t *blocks, json_t *actions);

/* In an array of BlockDirtyInfo, or NULL; NULL: there is none of that name. */
const json_t *checkpoint_find_bitmap(const json_t *bitmaps, const char *name);
/*
 * The bytes that a disk's bitmap says were written. -1 with *error set: there is none of that name, or it was
 * not closed properly, so that it does not know all.
 */
int64_t checkpoint_bitmap_size(const struct conf_domain_disk *disk, const json_t *blocks, const char *bitmap,
			       GError **error);
/*
 * The image of the node `next` takes the place of the one that the disk has `now`: what a transaction does
 * that its bitmaps go on in there. `known`: those (or NULL) that it has already, and which it goes on with by
 * itself.
 */
void checkpoint_carry_over(const struct disk_now *now, const char *next, const json_t *known, json_t *actions);
