/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: limits on disks' throughput, and how long their requests take. */
#include "vmm.h"

#include "base/error.h"
#include "block/core/graph.h"
#include "block/core/histogram.h"
#include "block/core/throttle.h"
#include "qmp_args.h"
#include "qmp_limits.h"

#include <string.h>

/* QMP's names of what block/core/throttle.h calls bps-total and so on. */
static const char *const names[THROTTLE_LIMITS] = {"bps",  "bps_rd",  "bps_wr",
						   "iops", "iops_rd", "iops_wr"};

/* A disk by the name of its drive, or by the id of its device. */
static struct backend_disk *find_disk(struct vmm *vmm, const json_t *args, GError **error)
{
	const char *device = arg_text(args, "device"), *id = arg_text(args, "id");
	for (unsigned i = 0; i < vmm->backends.disks->len; i++) {
		struct backend_disk *disk = vmm->backends.disks->pdata[i];
		const struct device *user =
			disk->node ? backends_user(vmm->machine->devices, disk->node) : NULL;
		if (disk->node && ((device && strcmp(disk->id, device) == 0) ||
				   (id && ((user && user->id && strcmp(user->id, id) == 0) ||
					   strcmp(disk->id, id) == 0))))
			return disk;
	}
	return (void *)qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found",
				 id ? id : device ? device : "");
}

/* --- throttling -----------------------------------------------------------------------------------------*/

static bool take_limits(const json_t *args, struct throttle_config *config, GError **error)
{
	for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
		g_autofree char *burst = g_strconcat(names[i], "_max", NULL);
		g_autofree char *length = g_strconcat(burst, "_length", NULL);
		json_int_t values[] = {arg_int(args, names[i], 0), arg_int(args, burst, 0),
				       arg_int(args, length, 0)};
		if (values[0] < 0 || values[1] < 0 || values[2] < 0)
			return qmp_error(error, QMP_ERROR_GENERIC, "%s is not negative", names[i]), false;
		config->limits[i].rate = values[0];
		config->limits[i].burst = values[1];
		config->limits[i].burst_length = values[2];
	}
	config->iops_size = MAX(arg_int(args, "iops_size", 0), 0);
	return true;
}

static json_t *run_set_throttle(void *opaque, const json_t *args, GError **error)
{
	struct backend_disk *disk = find_disk(opaque, args, error);
	struct throttle_config config = {0};
	const char *group = arg_text(args, "group");
	if (disk && take_limits(args, &config, error))
		block_root_set_throttle(disk->node, group ? group : disk->id, &config, error);
	return NULL;
}

void qmp_describe_limits(const struct block_node *root, json_t *info)
{
	const struct throttle_group *group = root ? block_root_throttle(root) : NULL;
	static const struct throttle_config none;
	const struct throttle_config *config = group ? throttle_group_config(group) : &none;
	for (unsigned i = 0; i < THROTTLE_LIMITS; i++) {
		g_autofree char *burst = g_strconcat(names[i], "_max", NULL);
		g_autofree char *length = g_strconcat(burst, "_length", NULL);
		json_object_set_new(info, names[i], json_integer(config->limits[i].rate));
		if (!config->limits[i].burst)
			continue;
		json_object_set_new(info, burst, json_integer(config->limits[i].burst));
		json_object_set_new(info, length,
				    json_integer(MAX(config->limits[i].burst_length, 1)));
	}
	if (config->iops_size)
		json_object_set_new(info, "iops_size", json_integer(config->iops_size));
	if (group)
		json_object_set_new(info, "group", json_string(throttle_group_name(group)));
}

/* --- latency --------------------------------------------------------------------------------------------*/

static bool set_one(struct block_node *node, enum block_histogram_kind kind, const json_t *list)
{
	size_t count = json_array_size(list);
	if (count > BLOCK_HISTOGRAM_BOUNDARIES_MAX)
		return false;
	g_autofree uint64_t *boundaries = g_new0(uint64_t, count + 1);
	for (size_t i = 0; i < count; i++)
		boundaries[i] = MAX(json_integer_value(json_array_get(list, i)), 0);
	return block_histogram_set(node, kind, boundaries, count);
}

static json_t *run_set_histogram(void *opaque, const json_t *args, GError **error)
{
	struct backend_disk *disk = find_disk(opaque, args, error);
	static const char *const keys[] = {"boundaries-read", "boundaries-write", "boundaries-flush"};
	const json_t *all = json_object_get(args, "boundaries");
	bool any = all;
	if (!disk)
		return NULL;
	for (unsigned kind = 0; kind < BLOCK_HISTOGRAMS; kind++) {
		const json_t *own = json_object_get(args, keys[kind]);
		any |= own != NULL;
		if ((own || all) && !set_one(disk->node, kind, own ? own : all))
			return qmp_error(error, QMP_ERROR_GENERIC, "Device '%s' set %s fail: boundaries "
					 "rise, and are at most %d", disk->id, keys[kind],
					 BLOCK_HISTOGRAM_BOUNDARIES_MAX);
	}
	for (unsigned kind = 0; kind < BLOCK_HISTOGRAMS && !any; kind++)
		block_histogram_set(disk->node, kind, NULL, 0);
	return NULL;
}

void qmp_describe_histograms(const struct block_node *root, json_t *stats)
{
	static const char *const keys[] = {"rd_latency_histogram", "wr_latency_histogram",
					   "flush_latency_histogram"};
	for (unsigned kind = 0; kind < BLOCK_HISTOGRAMS; kind++) {
		const struct block_histogram *histogram = block_histogram_get(root, kind);
		if (!histogram)
			continue;
		json_t *boundaries = json_array(), *bins = json_array();
		for (unsigned i = 0; i < histogram->count; i++)
			json_array_append_new(boundaries, json_integer(histogram->boundaries[i]));
		for (unsigned i = 0; i <= histogram->count; i++)
			json_array_append_new(bins, json_integer(histogram->bins[i]));
		json_object_set_new(stats, keys[kind],
				    json_pack("{s:o, s:o}", "boundaries", boundaries, "bins", bins));
	}
}

#define LIMIT(name) name ":int " name "_rd:int " name "_wr:int "
#define BURST(name)                                                                                \
	name "_max?:int " name "_rd_max?:int " name "_wr_max?:int " name "_max_length?:int "       \
	name "_rd_max_length?:int " name "_wr_max_length?:int "

static const struct qmp_command commands[] = {
	{"block_set_io_throttle",
	 "device?:str id?:str " LIMIT("bps") LIMIT("iops") BURST("bps") BURST("iops")
	 "iops_size?:int group?:str", NULL, run_set_throttle},
	{"block-latency-histogram-set",
	 "id:str boundaries?:[int] boundaries-read?:[int] boundaries-write?:[int] "
	 "boundaries-flush?:[int]", NULL, run_set_histogram},
	{NULL},
};

static const struct qmp_type types[] = {
	{"BlockLatencyHistogramInfo", "boundaries:[int] bins:[int]"},
	{NULL},
};

const struct qmp_table qmp_limits_table = {commands, types, NULL, NULL};
