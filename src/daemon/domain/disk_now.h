/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The images that a running domain's disks have now: snapshots and jobs put others in the place of those
 * that the VMM was started with.
 */
#pragma once

#include "daemon/domain/domain.h"

#include <jansson.h>

struct disk_now {
	const char *name;    /* what commands call it: `device` or `node-name` */
	bool is_node;        /* `name` is a node's, not a drive's */
	const char *node;    /* the name of the node that is the image */
	const char *file, *format;
	const char *backing; /* or NULL */
	uint64_t size;       /* bytes, as the guest sees it */
	const json_t *image; /* ImageInfo, with those below in "backing-image" */
	const json_t *bitmaps; /* dirty bitmaps with names: an array of BlockDirtyInfo, or NULL */
};

/* `now` lives until it returns; NULL with an error, which is borrowed. */
typedef void disk_now_fn(void *opaque, const struct disk_now *now, const GError *error);

/* Ask the VMM for the disk with that alias. `done` is always called, perhaps at once. */
void disk_now_query(struct domain *dom, const char *alias, disk_now_fn *done, void *opaque);
/* The same out of an answer to query-block; false: there is no such disk in it, or it is empty. */
bool disk_now_find(const json_t *list, const char *alias, struct disk_now *now);

/* Put another image into a <disk> of a document. */
void disk_now_edit(xmlNode *disk, const char *file, const char *format);

/* All disks of a domain whose VMM a former daemon has started, which may have ended in between. */
void disk_now_refresh_all(struct domain *dom);
/*
 * Bring the documents up to date with what disk_now_query() says, the definition too if it had the same
 * image; then end `call`, which may be NULL, and call `done`, which may be NULL.
 */
void disk_now_refresh(struct domain *dom, const char *alias, struct rpc_call *call,
		      void (*done)(void *opaque), void *opaque);
