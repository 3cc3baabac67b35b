/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shares of the host's block devices: the controller blkio of a version 1 hierarchy, or io of the unified
 * one. Limits are the block layer's own; weights are the I/O scheduler's, which must be BFQ (or CFQ, of
 * kernels before 5.0) or, in the unified hierarchy, blk-iocost.
 */
#include "daemon/domain/cgroup_int.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The kernel's own weights, for when nothing is said. */
enum { BFQ_WEIGHT = 100, CFQ_WEIGHT = 500 };

/* A kind of limit of single devices: its file, and what is written after "MAJOR:MINOR ". */
struct io_file {
	const char *name;
	const char *key;  /* "rbps": "rbps=VALUE", or NULL: "VALUE" */
	const char *none; /* VALUE without a limit */
};

/* The files of this kernel; a name of NULL: it has no such limit. */
static void choose_files(const char *path, bool unified, struct io_file files[CONF_BLKIO_LIMITS])
{
	static const struct io_file separate[CONF_BLKIO_LIMITS] = {
		[CONF_BLKIO_READ_IOPS] = {"blkio.throttle.read_iops_device", NULL, "0"},
		[CONF_BLKIO_WRITE_IOPS] = {"blkio.throttle.write_iops_device", NULL, "0"},
		[CONF_BLKIO_READ_BYTES] = {"blkio.throttle.read_bps_device", NULL, "0"},
		[CONF_BLKIO_WRITE_BYTES] = {"blkio.throttle.write_bps_device", NULL, "0"},
	};
	static const struct io_file together[CONF_BLKIO_LIMITS] = {
		[CONF_BLKIO_READ_IOPS] = {"io.max", "riops", "max"},
		[CONF_BLKIO_WRITE_IOPS] = {"io.max", "wiops", "max"},
		[CONF_BLKIO_READ_BYTES] = {"io.max", "rbps", "max"},
		[CONF_BLKIO_WRITE_BYTES] = {"io.max", "wbps", "max"},
	};
	static const struct io_file weights[] = {
		{"blkio.bfq.weight_device", NULL, "default"}, {"blkio.weight_device", NULL, "0"},
		{"io.bfq.weight", NULL, "default"}, {"io.weight", NULL, "default"},
	};
	memcpy(files, unified ? together : separate, sizeof(together));
	for (unsigned i = 0; i < G_N_ELEMENTS(weights) && !files[CONF_BLKIO_WEIGHT].name; i++) {
		if (cgroup_has_file(path, weights[i].name))
			files[CONF_BLKIO_WEIGHT] = weights[i];
	}
}

static bool find_device(const char *path, dev_t *number, GError **error)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return error_set_errno(error, errno, "blkiotune: cannot look at '%s'", path);
	if (!S_ISBLK(st.st_mode))
		return error_set(error, BERTH_ERR_INVALID,
				 "blkiotune: '%s' is no block device: name a whole one of the host's, as /dev/sda",
				 path);
	*number = st.st_rdev;
	return true;
}

static bool write_limit(const char *path, const struct io_file *file, dev_t device, const char *value,
			GError **error)
{
	g_autofree char *text = g_strdup_printf("%u:%u %s%s%s", major(device), minor(device),
						file->key ? file->key : "", file->key ? "=" : "", value);
	return cgroup_write(path, file->name, text, error);
}

static bool wants(const struct conf_blkio *blkio, enum conf_blkio_limit limit, dev_t number)
{
	for (unsigned i = 0; blkio->devices && i < blkio->devices->len; i++) {
		const struct conf_blkio_device *device = blkio->devices->pdata[i];
		struct stat st;
		if (device->limits[limit] && stat(device->path, &st) == 0 && st.st_rdev == number)
			return true;
	}
	return false;
}

/* What holds now is in the file, a device a line: "7:0 1048576", "7:0 rbps=1048576 wbps=max". */
static bool lift(const char *path, const struct io_file *file, enum conf_blkio_limit limit,
		 const struct conf_blkio *blkio, GError **error)
{
	g_autofree char *name = g_build_filename(path, file->name, NULL), *text = NULL;
	if (!g_file_get_contents(name, &text, NULL, error))
		return false;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		unsigned major_number, minor_number;
		if (sscanf(*line, "%u:%u", &major_number, &minor_number) != 2)
			continue;
		dev_t device = makedev(major_number, minor_number);
		if (!wants(blkio, limit, device) && !write_limit(path, file, device, file->none, error))
			return false;
	}
	return true;
}

static bool limit_device(const char *path, const struct io_file *file, enum conf_blkio_limit limit,
			 const struct conf_blkio_device *device, GError **error)
{
	g_autofree char *value = g_strdup_printf("%" PRIu64, device->limits[limit]);
	dev_t number = 0;
	if (!file->name)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "weight of '%s': this host's kernel has no I/O scheduler with weights (BFQ)",
				 device->path);
	if (!find_device(device->path, &number, error))
		return false;
	if (write_limit(path, file, number, value, error))
		return true;
	if (limit == CONF_BLKIO_WEIGHT)
		g_prefix_error(error, "weight of '%s', whose I/O scheduler must be bfq: ", device->path);
	return false;
}

static bool limit_devices(const char *path, const struct io_file *file, enum conf_blkio_limit limit,
			  const struct conf_blkio *blkio, GError **error)
{
	for (unsigned i = 0; blkio->devices && i < blkio->devices->len; i++) {
		const struct conf_blkio_device *device = blkio->devices->pdata[i];
		if (device->limits[limit] && !limit_device(path, file, limit, device, error))
			return false;
	}
	return !file->name || lift(path, file, limit, blkio, error);
}

/* The weight of all devices that have none of their own. */
static bool weigh(const char *path, unsigned weight, GError **error)
{
	static const struct {
		const char *name;
		unsigned none;
	} files[] = {
		{"blkio.bfq.weight", BFQ_WEIGHT}, {"blkio.weight", CFQ_WEIGHT}, {"io.bfq.weight", BFQ_WEIGHT},
		{"io.weight", BFQ_WEIGHT},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		if (cgroup_has_file(path, files[i].name))
			return cgroup_write_number(path, files[i].name, weight ? weight : files[i].none, error);
	}
	return !weight || error_set(error, BERTH_ERR_NOT_SUPPORTED,
				    "blkiotune: this host's kernel has no I/O scheduler with weights (BFQ): leave "
				    "out <weight>");
}

static bool apply(const char *path, bool unified, const struct conf_blkio *blkio, GError **error)
{
	struct io_file files[CONF_BLKIO_LIMITS];
	choose_files(path, unified, files);
	/* First the weight of all: with it the kernel forgets those of single devices. */
	bool good = weigh(path, blkio->weight, error);
	for (unsigned i = 0; good && i < CONF_BLKIO_LIMITS; i++)
		good = limit_devices(path, &files[i], i, blkio, error);
	return good;
}

bool cgroup_apply_io(struct domain *dom, const struct conf_domain *conf, GError **error)
{
	struct cgroup_hierarchy hierarchy = cgroup_find("blkio");
	if (!hierarchy.mount)
		hierarchy = cgroup_find("io");
	bool needed = conf_blkio_is_set(&conf->blkio);
	if (!needed && cgroup_exists(&hierarchy, dom)) {
		/* The unified hierarchy's group may be there for other controllers. */
		g_autofree char *path = cgroup_path(&hierarchy, dom);
		needed = !hierarchy.unified || cgroup_has_file(path, "io.max");
	}
	g_autofree char *path =
		needed ? cgroup_enter(&hierarchy, hierarchy.unified ? "io" : "blkio", dom, error) : NULL;
	bool good = !needed || (path && apply(path, hierarchy.unified, &conf->blkio, error));
	g_free(hierarchy.mount);
	return good;
}
