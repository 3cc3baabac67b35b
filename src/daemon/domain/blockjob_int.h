/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What beginning and ending of block jobs share. */
#pragma once

#include "daemon/domain/blockjob.h"
#include "daemon/rpc/error.h"

#define MIB UINT64_C(1048576)

/* A job's data: what is to be done to a disk. */
struct block_op {
	char *alias, *target;
	enum block_job_type type;
	const char *command;
	json_t *args;
	bool pivot, async;
	bool shallow;  /* commit: into the next image below `top` */
	bool relative; /* the image above is to name the one below as the chain does: by a relative path */
	bool deletes;  /* commit: what is committed is removed when that is done */
	char *job; /* the one found, to be ended */
};

void block_op_fail(struct rpc_call *call, enum virt_code code, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* The job ends, because the VMM has refused its command. */
void block_op_refused(struct domain_job *job, const GError *error);
/* The disk of a running domain by its target or path, or NULL with the call failed. */
const struct conf_domain_disk *block_op_disk(struct rpc_call *call, const struct remote_domain *wire,
					     const char *path, uint32_t flags, uint32_t allowed,
					     struct domain **dom);
/* Sets "speed", in bytes a second; false with the call failed. */
bool block_op_bandwidth(struct rpc_call *call, uint64_t bandwidth, bool bytes, json_t *args);
/* A job with `op`, which is taken. */
void block_op_submit(struct rpc_call *call, struct domain *dom, struct block_op *op,
		     void (*run)(struct domain_job *job));
