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
/* Has a job of that disk ended, and clients have not been told yet? */
bool block_job_is_untold(const struct domain *dom, const char *alias);
/* A QMP event BLOCK_JOB_READY, _COMPLETED or _CANCELLED; `data` is not trusted. */
void block_job_event(struct domain *dom, const char *event, const json_t *data);
