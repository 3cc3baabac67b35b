/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img snapshot: internal snapshots. */
#include "image.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

static int list(struct block_node *node)
{
	g_autoptr(GError) error = NULL;
	json_t *info = block_info(node, &error);
	if (!info)
		return img_fail("%s", error->message);
	const json_t *snapshots = json_object_get(info, "snapshots");
	if (json_array_size(snapshots))
		snapshot_table_print(snapshots);
	json_decref(info);
	return EXIT_SUCCESS;
}

/* qemu-img's words, for scripts; ours where there is more to say. */
static int complain(const char *what, const char *name, const GError *error)
{
	if (g_error_matches(error, BERTH_ERROR, BERTH_ERR_NOT_SUPPORTED))
		return img_fail("Could not %s snapshot '%s': %d (%s)", what, name, -EOPNOTSUPP,
				g_strerror(EOPNOTSUPP));
	if (!g_error_matches(error, BERTH_ERROR, BERTH_ERR_NOT_FOUND))
		return img_fail("Could not %s snapshot '%s': %s", what, name, error->message);
	return img_fail("Could not %s snapshot '%s': %s", what, name,
			g_str_equal(what, "delete") ? "snapshot not found"
						    : "Failed to load snapshot: No such file or directory");
}

static int create(struct block_node *node, const char *name)
{
	g_autoptr(GError) error = NULL;
	struct timeval now;
	gettimeofday(&now, NULL);
	struct block_snapshot snapshot = {
		.name = (char *)name, .date_sec = now.tv_sec, .date_nsec = now.tv_usec * 1000,
		.disk_size = block_size(node),
	};
	return block_snapshot_create(node, &snapshot, &error) ? EXIT_SUCCESS
							      : complain("create", name, error);
}

static int run(int argc, char **argv)
{
	const char *apply = NULL, *make = NULL, *drop = NULL;
	bool show = false;
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'l', NULL, OPTION_FLAG, &show, NULL, "list the snapshots (default)"},
		{'a', NULL, OPTION_TEXT, &apply, "SNAPSHOT", "go back to the state of a snapshot"},
		{'c', NULL, OPTION_TEXT, &make, "NAME", "create a snapshot of the present state"},
		{'d', NULL, OPTION_TEXT, &drop, "SNAPSHOT", "delete a snapshot"},
		IMAGE_QUIET_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_SHARE_ROW(env),
		IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (show + !!apply + !!make + !!drop > 1)
		return img_usage("Cannot mix '-l', '-a', '-c', '-d'");
	if (first != argc - 1)
		return img_usage("Expecting one image file name");
	if (!image_env_objects(&env))
		return EXIT_FAILURE;
	bool write = apply || make || drop;
	if (write && env.force_share)
		return img_fail("Could not open '%s': force-share=on can only be used with read-only images",
				argv[first]);
	auto_node node = image_open(&env, argv[first], NULL, NULL, write ? IMAGE_WRITE : 0);
	if (!node)
		return EXIT_FAILURE;
	g_autoptr(GError) error = NULL;
	if (make)
		return create(node, make);
	if (apply)
		return block_snapshot_apply(node, apply, &error) ? EXIT_SUCCESS
								 : complain("apply", apply, error);
	if (drop)
		return block_snapshot_delete(node, drop, &error) ? EXIT_SUCCESS
								 : complain("delete", drop, error);
	return list(node);
}

const struct img_command snapshot_command = {
	"snapshot", "[--object objectdef] [--image-opts] [-U] [-q] [-l | -a snapshot | -c snapshot | "
		    "-d snapshot] filename",
	"List, create, apply and delete internal snapshots", run,
};
