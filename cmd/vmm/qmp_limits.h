/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What query-block and query-blockstats tell of limits and latencies. */
#pragma once

#include "block/core/block.h"

#include <jansson.h>

void qmp_describe_limits(const struct block_node *root, json_t *info); /* root may be NULL */
void qmp_describe_histograms(const struct block_node *root, json_t *stats);
