/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that are removed when the commit that makes them superfluous is done. Which ones stands in a file of the
 * domain's run folder from before the job begins, so that a later daemon removes them as well; it comes from the
 * images' own headers, never from the VMM. An image that is in the disk's chain afterwards - the job has failed, or
 * was given up - stays.
 */
#pragma once

#include "daemon/domain/domain.h"

/* Of the disk's chain, those from `top` (NULL: the disk's image) to above `base` (NULL: the lowest one). */
bool block_delete_plan(struct domain *dom, const struct conf_domain_disk *disk, const char *top, const char *base,
		       GError **error);
/* The job could not be begun. */
void block_delete_forget(const struct domain *dom, const char *alias);
/* The disk's job has ended, and the live document is right. What cannot be removed is in the log. */
void block_delete_finish(struct domain *dom, const char *alias);
/* Jobs of a former daemon's may have ended when there was none. */
void block_delete_finish_all(struct domain *dom);
