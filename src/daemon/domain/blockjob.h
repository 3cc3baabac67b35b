/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs of a domain's disks. What a job does and whose it is stands in its name, so that a later
 * daemon knows it, too: "pull-virtio-disk0".
 */
#pragma once

#include "daemon/domain/domain.h"

#include <jansson.h>

/* libvirt's numbers. */
enum block_job_type {
	BLOCK_JOB_PULL = 1, BLOCK_JOB_COPY = 2, BLOCK_JOB_COMMIT = 3, BLOCK_JOB_ACTIVE_COMMIT = 4,
	BLOCK_JOB_BACKUP = 5, BLOCK_JOB_TYPES,
};

/* Free with g_free(). */
char *block_job_name(enum block_job_type type, const char *alias);
/* The type, and the alias behind it in `name`; 0: this is none of ours. */
enum block_job_type block_job_parse(const char *name, const char **alias);
/* The disk's job in an answer to query-block-jobs; NULL: it has none. */
const json_t *block_job_find(const json_t *list, const char *alias, enum block_job_type *type);
/* A new name for the node of a copy's target. Free with g_free(). */
char *block_job_copy_node(const char *alias);
/*
 * The bitmaps of the domain's checkpoints go on in the image that a copy is about to put in the place of the
 * disk's, or that an active commit has begun to write to: `base` is its file, or NULL for the lowest one.
 * `done` is always called, perhaps at once.
 */
typedef void block_job_done_fn(void *opaque, const GError *error);
void block_job_carry_bitmaps(struct domain *dom, const char *alias, enum block_job_type type, const char *base,
			     block_job_done_fn *done, void *opaque);
/* Has a job of that disk ended, and clients have not been told yet? */
bool block_job_is_untold(const struct domain *dom, const char *alias);
/* A QMP event BLOCK_JOB_READY, _COMPLETED or _CANCELLED; `data` is not trusted. */
void block_job_event(struct domain *dom, const char *event, const json_t *data);
