/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VMM tells, and what clients hear of it. */
#pragma once

#include "codec/xdr.h"
#include "daemon/domain/domain.h"

#include <jansson.h>

/* A QMP event of the domain's VMM; `data` is not trusted, and may be NULL. */
void notify_event(struct domain *dom, const char *name, const json_t *data);

/* libvirt's events, to all that have registered for them. */
void notify_reboot(struct domain *dom);
void notify_device_added(struct domain *dom, const char *alias);
void notify_device_removed(struct domain *dom, const char *alias);
/* The guest keeps a device that it was asked for. */
void notify_removal_failed(struct domain *dom, const char *alias);
/* How much of a virtio-mem device the guest has plugged in. */
void notify_memory_size(struct domain *dom, const char *alias, uint64_t kib);
void notify_balloon(struct domain *dom, uint64_t actual_kib);
/* `type`: 0 description, 1 title, 2 an element of the namespace `uri`. */
void notify_metadata(struct domain *dom, int type, const char *uri);
/* An agent listens in the guest, or does no more. */
void notify_agent(struct domain *dom, bool connected);
/* The image has grown beyond what was to be told of (serve_watch.c). */
void notify_threshold_passed(struct domain *dom, const char *node, uint64_t threshold, uint64_t excess);
void notify_threshold(struct domain *dom, const char *target, const char *file, uint64_t threshold,
		      uint64_t excess);
/* Of a block job of the disk; the types are blockjob.h's. */
enum notify_block_job {
	BLOCK_JOB_IS_COMPLETED, BLOCK_JOB_HAS_FAILED, BLOCK_JOB_IS_CANCELLED, BLOCK_JOB_IS_READY,
};
void notify_block_job(struct domain *dom, const char *target, const char *file, int type,
		      enum notify_block_job status);
/* A long job has ended; `params` are those of domjobinfo --completed. */
void notify_job_completed(struct domain *dom, struct xdr_param *params, uint32_t count);
/* What may be used has changed while the domain runs: by libvirt's names, as "cputune.vcpupin0". */
void notify_tunable(struct domain *dom, struct xdr_param *params, uint32_t count);
void notify_media(struct domain *dom, const char *alias, const char *before, const char *after);
