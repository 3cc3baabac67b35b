/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statistics of many domains as typed parameters. */
#pragma once

#include "daemon/domain/domain.h"

/* Reduce libvirt's groups to those that we have (0: all). False: `enforce` does not allow that. */
bool domain_stats_supported(uint32_t *stats, bool enforce);
/*
 * End the call with the statistics of `doms` (struct domain). With `wait` VMMs are asked, which takes
 * less than a second whatever they do.
 */
void domain_reply_stats(struct rpc_call *call, const GPtrArray *doms, uint32_t stats, bool wait);
