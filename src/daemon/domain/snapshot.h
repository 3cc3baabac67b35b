/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of domains: what is known of them, in STATE/snapshots/UUID, a file each; and the work on
 * images and files, which is done on a thread.
 */
#pragma once

#include "conf/snapshot.h"
#include "daemon/domain/domain.h"

/* Those of a domain that has just been added. */
void snapshots_load(struct domain *dom);
void snapshots_free(struct domain *dom);
/* NULL: there is none of that name. */
struct conf_snapshot *snapshot_find(const struct domain *dom, const char *name);
/* Takes it; one of the same name gives way. */
void snapshot_add(struct domain *dom, struct conf_snapshot *snapshot);
/* Its children become its parent's. */
void snapshot_remove(struct domain *dom, struct conf_snapshot *snapshot);
/* NULL: none is the current one. */
void snapshot_set_current(struct domain *dom, const char *name);
/* All of a domain that is being undefined, and their files. */
void snapshots_forget(struct domain *dom);

/* --- Work (snapshot_work.c) ------------------------------------------------------------------ */

enum snapshot_action {
	SNAPSHOT_FILES_ONLY, SNAPSHOT_CREATE, SNAPSHOT_APPLY, SNAPSHOT_DELETE, SNAPSHOT_OVERLAY,
};

struct snapshot_work;
typedef void snapshot_done_fn(void *opaque, const GError *error);

/* Of the snapshot with that name. */
struct snapshot_work *snapshot_work_new(struct domain *dom, enum snapshot_action action, const char *name);
/* An image to do it in or, for an overlay, the image that `overlay` lies on. */
void snapshot_work_add_image(struct snapshot_work *work, const char *file, const char *format,
			     const char *overlay);
/* A file to be written after that, durably, or with NULL removed. */
void snapshot_work_add_file(struct snapshot_work *work, const char *path, const char *text);
/* Write what the registry says now of a snapshot, or that it is gone; and which is current. */
void snapshot_work_add_metadata(struct snapshot_work *work, const char *name);
/* Without doing it. */
void snapshot_work_free(struct snapshot_work *work);
/* Takes the work. `done` is called on the loop with an error that it borrows. */
void snapshot_work_run(struct snapshot_work *work, snapshot_done_fn *done, void *opaque);
