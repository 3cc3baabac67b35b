/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deleting an external snapshot: what its overlays hold goes into the images below them, which take their
 * place. By the VMM's block-commit while the domain runs, else on a thread.
 */
#pragma once

#include "daemon/domain/snapshot.h"

struct snapshot_merge {
	char *target;               /* of the disk */
	char *overlay;              /* the snapshot's image, which goes */
	char *base, *base_format;   /* what it lies on */
};

/*
 * Of each external disk of the snapshot (struct snapshot_merge). NULL with *error set, in libvirt's words: it
 * cannot be done. The caller frees the array.
 */
GPtrArray *snapshot_merge_plan(const struct domain *dom, const struct conf_snapshot *snapshot,
			       GError **error);
/* The overlays that the running domain has. `done` is called with an error that it borrows. */
void snapshot_merge_live(struct domain *dom, const GPtrArray *merges, moment_done_fn *done, void *opaque);
/* For a thread: those that the stopped domain's images have. */
void snapshot_merge_stopped(const struct domain *dom, const GPtrArray *merges, struct moment_work *work);
/* A conf_domain_edit_fn: the bases in the overlays' place. */
bool snapshot_merge_edit(xmlNode *root, void *merges, GError **error);
