/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "block/job/job.h"

/* block/job/mirror.c: commit of an image that is in use. The options are checked. */
bool block_commit_active_start(struct block_jobs *jobs, const struct block_commit_options *options,
			       GError **error);
