/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a domain's control groups are, and how they come to be. */
#include "daemon/domain/cgroup_int.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/domain/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "berth"

/* --- Files ---------------------------------------------------------------------------------- */

bool cgroup_write(const char *folder, const char *file, const char *text, GError **error)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return error_set_errno(error, errno, "cannot write '%s' to '%s'", text, path);
	return true;
}

bool cgroup_write_number(const char *folder, const char *file, int64_t number, GError **error)
{
	g_autofree char *text = g_strdup_printf("%" PRId64, number);
	return cgroup_write(folder, file, text, error);
}

bool cgroup_has_file(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	return access(path, W_OK) == 0;
}

bool cgroup_make_folder(const char *path, GError **error)
{
	return mkdir(path, 0755) == 0 || errno == EEXIST ||
	       error_set_errno(error, errno, "cannot make the control group '%s'", path);
}

/* --- Hierarchies ---------------------------------------------------------------------------- */

static bool lists(const char *options, const char *controller, const char *separator)
{
	g_auto(GStrv) words = g_strsplit(options, separator, -1);
	return g_strv_contains((const char *const *)words, controller);
}

static bool unified_has(const char *mount, const char *controller)
{
	g_autofree char *path = g_build_filename(mount, "cgroup.controllers", NULL), *text = NULL;
	return g_file_get_contents(path, &text, NULL, NULL) && lists(g_strchomp(text), controller, " ");
}

/* proc(5): "31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu". */
struct cgroup_hierarchy cgroup_find(const char *controller)
{
	struct cgroup_hierarchy found = {NULL};
	g_autofree char *text = NULL;
	if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
		return found;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line && !found.mount; line++) {
		char mount[256], type[32], options[256];
		const char *rest = strstr(*line, " - ");
		if (!rest || sscanf(*line, "%*s %*s %*s %*s %255s", mount) != 1 ||
		    sscanf(rest, " - %31s %*s %255s", type, options) != 2)
			continue;
		bool unified = strcmp(type, "cgroup2") == 0;
		if ((strcmp(type, "cgroup") == 0 && lists(options, controller, ",")) ||
		    (unified && unified_has(mount, controller)))
			found = (struct cgroup_hierarchy){g_strdup(mount), unified};
	}
	return found;
}

char *cgroup_path(const struct cgroup_hierarchy *hierarchy, const struct domain *dom)
{
	return g_build_filename(hierarchy->mount, FOLDER, dom->uuid_text, NULL);
}

/* The unified hierarchy gives controllers to children only where a parent says so. */
static bool pass_on(const char *folder, const char *controller, GError **error)
{
	g_autofree char *text = g_strconcat("+", controller, NULL);
	return cgroup_write(folder, "cgroup.subtree_control", text, error);
}

/* cgroups(7): "4:memory:/berth/UUID", and "0::/..." of the unified hierarchy. */
bool cgroup_is_in(const struct domain *dom, pid_t thread, const char *controller, const char *part)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/cgroup", (int)vmm_pid(dom), (int)thread);
	g_autofree char *group = g_strdup_printf("/%s/%s%s", FOLDER, dom->uuid_text, part), *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return false;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) fields = g_strsplit(*line, ":", 3);
		if (g_strv_length(fields) == 3 && (!*fields[1] || lists(fields[1], controller, ",")) &&
		    strstr(fields[2], group))
			return true;
	}
	return false;
}

char *cgroup_enter(const struct cgroup_hierarchy *hierarchy, const char *controller, const struct domain *dom,
		   GError **error)
{
	if (!hierarchy->mount) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "this host has no control group hierarchy with '%s': mount one", controller);
		return NULL;
	}
	g_autofree char *parent = g_build_filename(hierarchy->mount, FOLDER, NULL);
	g_autofree char *path = cgroup_path(hierarchy, dom);
	bool inside = cgroup_is_in(dom, vmm_pid(dom), controller, "");
	if (!cgroup_make_folder(parent, error) ||
	    (hierarchy->unified && (!pass_on(hierarchy->mount, controller, error) ||
				    !pass_on(parent, controller, error))) ||
	    !cgroup_make_folder(path, error) ||
	    (!inside && !cgroup_write_number(path, "cgroup.procs", vmm_pid(dom), error)))
		return NULL;
	return g_steal_pointer(&path);
}

bool cgroup_exists(const struct cgroup_hierarchy *hierarchy, const struct domain *dom)
{
	g_autofree char *path = hierarchy->mount ? cgroup_path(hierarchy, dom) : NULL;
	return path && g_file_test(path, G_FILE_TEST_IS_DIR);
}
