/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the statistics of one domain and those in bulk share. */
#pragma once

#include "codec/json.h"
#include "daemon/domain/domain.h"
#include "daemon/domain/stats.h"

struct remote_domain_get_block_info_ret;

/* The entry of query-blockstats about a device, or NULL; borrowed. */
const json_t *stats_of_disk(const json_t *list, const char *alias);
/* One of its numbers; 0 if it, or the entry, is not there. */
int64_t stats_number(const json_t *entry, const char *name);
/* A file's capacity, allocation and physical size, as far as the host's stat(2) knows. */
bool stats_file_sizes(const char *file, struct remote_domain_get_block_info_ret *ret, GError **error);
/* A counter of the host's network device; -1: there is no such device. */
int64_t stats_of_interface(const char *device, const char *name);
