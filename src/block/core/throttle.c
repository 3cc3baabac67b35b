/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/core/throttle.h"

#include "aio/loop.h"
#include "base/error.h"
#include "block/core/driver.h"
#include "block/core/options.h"

#include <math.h>
#include <string.h>

#define SECOND_NS  1e9
#define RATE_MAX   (UINT64_C(1) << 50)
#define BURST_MAX_LENGTH 86400
/* Limits may be changed, or somebody be in a hurry: waiting is looked at again after this. */
#define LOOK_AGAIN_NS (INT64_C(20) * 1000 * 1000)

const char *const throttle_limit_names[] = {"bps-total",  "bps-read",  "bps-write", "iops-total",
					    "iops-read", "iops-write", NULL};

struct bucket {
	double level, burst_level; /* units that have not leaked out yet */
};

struct throttle_group {
	char *name;
	unsigned references, hurried;
	struct block_graph *graph;
	struct throttle_config config;
	struct bucket buckets[THROTTLE_LIMITS];
	int64_t leaked_ns;
	struct fiber_mutex turn[2]; /* of reads and of writes */
	bool limited;
};

/* --- configuration --------------------------------------------------------------------------------------*/

bool throttle_config_take(struct throttle_config *config, json_t *dict, const char *prefix,
			  GError **error)
{
	for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
		g_autofree char *rate = g_strconcat(prefix, throttle_limit_names[i], NULL);
		g_autofree char *burst = g_strconcat(rate, "-max", NULL);
		g_autofree char *length = g_strconcat(burst, "-length", NULL);
		if (!block_take_size(dict, rate, &config->limits[i].rate, error) ||
		    !block_take_size(dict, burst, &config->limits[i].burst, error) ||
		    !block_take_size(dict, length, &config->limits[i].burst_length, error))
			return false;
	}
	g_autofree char *size = g_strconcat(prefix, "iops-size", NULL);
	return block_take_size(dict, size, &config->iops_size, error) &&
	       throttle_config_check(config, error);
}

bool throttle_config_check(const struct throttle_config *config, GError **error)
{
	for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
		uint64_t rate = config->limits[i].rate, burst = config->limits[i].burst;
		uint64_t length = config->limits[i].burst_length;
		if (rate > RATE_MAX || burst > RATE_MAX || length > BURST_MAX_LENGTH)
			return error_set(error, BERTH_ERR_INVALID, "%s: too large",
					 throttle_limit_names[i]);
		if (burst && burst < rate)
			return error_set(error, BERTH_ERR_INVALID,
					 "%s: max cannot be lower than the limit",
					 throttle_limit_names[i]);
		if (burst && !rate)
			return error_set(error, BERTH_ERR_INVALID, "%s: max needs a limit",
					 throttle_limit_names[i]);
		if (length > 1 && !burst)
			return error_set(error, BERTH_ERR_INVALID, "%s: a burst's length needs max",
					 throttle_limit_names[i]);
	}
	for (unsigned i = 0; i < THROTTLE_LIMITS; i += 3)
		if (config->limits[i].rate && (config->limits[i + 1].rate || config->limits[i + 2].rate))
			return error_set(error, BERTH_ERR_INVALID,
					 "%s and limits of reads or writes cannot be used at the same "
					 "time", throttle_limit_names[i]);
	bool counts = config->limits[3].rate || config->limits[4].rate || config->limits[5].rate;
	return !config->iops_size || counts ||
	       error_set(error, BERTH_ERR_INVALID, "iops size requires an iops value to be set");
}

bool throttle_config_any(const struct throttle_config *config)
{
	for (unsigned i = 0; i < THROTTLE_LIMITS; i++)
		if (config->limits[i].rate)
			return true;
	return false;
}

/* --- groups ---------------------------------------------------------------------------------------------*/

struct throttle_group *throttle_group_find(struct block_graph *graph, const char *name)
{
	const GPtrArray *groups = block_graph_throttles(graph);
	for (unsigned i = 0; i < groups->len; i++) {
		struct throttle_group *group = groups->pdata[i];
		if (strcmp(group->name, name) == 0)
			return group;
	}
	return NULL;
}

struct throttle_group *throttle_group_get(struct block_graph *graph, const char *name)
{
	struct throttle_group *group = throttle_group_find(graph, name);
	if (!group) {
		group = g_new0(struct throttle_group, 1);
		group->name = g_strdup(name);
		group->graph = graph;
		g_ptr_array_add(block_graph_throttles(graph), group);
	}
	group->references++;
	return group;
}

void throttle_group_put(struct throttle_group *group)
{
	if (!group || --group->references)
		return;
	g_ptr_array_remove(block_graph_throttles(group->graph), group);
	g_free(group->name);
	g_free(group);
}

void throttle_group_set(struct throttle_group *group, const struct throttle_config *config)
{
	group->config = *config;
	group->limited = throttle_config_any(config);
	memset(group->buckets, 0, sizeof(group->buckets));
	group->leaked_ns = aio_now_ns();
}

const struct throttle_config *throttle_group_config(const struct throttle_group *group)
{
	return &group->config;
}

const char *throttle_group_name(const struct throttle_group *group)
{
	return group->name;
}

bool throttle_group_is_shared(const struct throttle_group *group)
{
	return group->references > 1;
}

bool throttle_group_limits(const struct throttle_group *group)
{
	return group->limited;
}

void throttle_group_hurry(struct throttle_group *group, bool on)
{
	group->hurried += on ? 1 : -1;
}

/* --- buckets --------------------------------------------------------------------------------------------*/

static void leak(struct throttle_group *group)
{
	int64_t now = aio_now_ns();
	double seconds = (now - group->leaked_ns) / SECOND_NS;
	group->leaked_ns = now;
	for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
		struct bucket *b = &group->buckets[i];
		b->level = fmax(b->level - group->config.limits[i].rate * seconds, 0);
		b->burst_level = fmax(b->burst_level - group->config.limits[i].burst * seconds, 0);
	}
}

/* Seconds until one bucket takes more. */
static double bucket_wait(const struct throttle_group *group, unsigned i)
{
	const struct bucket *b = &group->buckets[i];
	double rate = group->config.limits[i].rate, burst = group->config.limits[i].burst;
	double length = group->config.limits[i].burst_length ? group->config.limits[i].burst_length : 1;
	if (rate == 0)
		return 0;
	/* Without a burst a tenth of a second's worth may come at once. */
	double over = b->level - (burst > 0 ? burst * length : rate / 10);
	double wait = over > 0 ? over / rate : 0;
	/* A long burst must itself keep to its rate. */
	double burst_over = length > 1 ? b->burst_level - burst / 10 : 0;
	return burst_over > 0 ? fmax(wait, burst_over / burst) : wait;
}

static int64_t wait_ns(struct throttle_group *group, bool write)
{
	double wait = 0;
	leak(group);
	for (unsigned i = 0; i < THROTTLE_LIMITS; i++)
		if (i % 3 == 0 || i % 3 == (write ? 2 : 1))
			wait = fmax(wait, bucket_wait(group, i));
	return wait * SECOND_NS;
}

static void account(struct throttle_group *group, bool write, uint64_t bytes)
{
	double units = 1, size = group->config.iops_size;
	if (size > 0 && bytes > size)
		units = bytes / size;
	for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
		if (i % 3 != 0 && i % 3 != (write ? 2 : 1))
			continue;
		double amount = i < THROTTLE_IOPS_TOTAL ? bytes : units;
		group->buckets[i].level += amount;
		group->buckets[i].burst_level += amount;
	}
}

void throttle_group_wait(struct throttle_group *group, struct aio_loop *loop, bool write,
			 uint64_t bytes)
{
	int64_t ns;
	FIBER_LOCK_SCOPE(&group->turn[write]);
	while (!group->hurried && group->limited && (ns = wait_ns(group, write)) > 0)
		fiber_sleep(loop, MIN(ns, LOOK_AGAIN_NS));
	account(group, write, bytes);
}
