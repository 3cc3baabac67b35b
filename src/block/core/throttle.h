/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits on throughput: leaky buckets for bytes and requests, of all, reads and writes. A group has
 * one set of them for all its members; who waits goes in the order of arrival. As in QEMU, "max" is
 * what a burst may take for "max-length" seconds, and requests larger than iops-size count as several.
 */
#pragma once

#include "block/core/block.h"

#include <jansson.h>

enum throttle_limit {
	THROTTLE_BPS_TOTAL, THROTTLE_BPS_READ, THROTTLE_BPS_WRITE,
	THROTTLE_IOPS_TOTAL, THROTTLE_IOPS_READ, THROTTLE_IOPS_WRITE, THROTTLE_LIMITS,
};
/* "bps-total" and so on; their burst is NAME-max for NAME-max-length seconds. */
extern const char *const throttle_limit_names[];

struct throttle_config {
	struct {
		uint64_t rate, burst, burst_length; /* per second; 0: no limit, no burst, 1 s */
	} limits[THROTTLE_LIMITS];
	uint64_t iops_size;
};
/* Take the keys above out of `dict`, each after `prefix`. */
bool throttle_config_take(struct throttle_config *config, json_t *dict, const char *prefix,
			  GError **error);
bool throttle_config_check(const struct throttle_config *config, GError **error);
bool throttle_config_any(const struct throttle_config *config);

struct throttle_group;
/* The group of that name in the graph, made if need be; each call ends with throttle_group_put(). */
struct throttle_group *throttle_group_get(struct block_graph *graph, const char *name);
/* NULL: there is none. Borrowed. */
struct throttle_group *throttle_group_find(struct block_graph *graph, const char *name);
void throttle_group_put(struct throttle_group *group);
void throttle_group_set(struct throttle_group *group, const struct throttle_config *config);
const struct throttle_config *throttle_group_config(const struct throttle_group *group);
const char *throttle_group_name(const struct throttle_group *group);
/* Has it more than one reference? */
bool throttle_group_is_shared(const struct throttle_group *group);
/* Does a request have to ask at all? */
bool throttle_group_limits(const struct throttle_group *group);
/* On a fiber: wait until so much is allowed. */
void throttle_group_wait(struct throttle_group *group, struct aio_loop *loop, bool write,
			 uint64_t bytes);
/* Somebody waits for requests to end: while it is on, nobody waits for the group. Nests. */
void throttle_group_hurry(struct throttle_group *group, bool on);
