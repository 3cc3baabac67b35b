/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For the files of cgroup*.c: hierarchies of control groups (cgroups(7)), and files in them. */
#pragma once

#include "daemon/domain/cgroup.h"

struct cgroup_hierarchy {
	char *mount; /* NULL: the host has none with that controller. Free with g_free() */
	bool unified;
};

struct cgroup_hierarchy cgroup_find(const char *controller);
/* The domain's group, whether it is there or not. Free with g_free(). */
char *cgroup_path(const struct cgroup_hierarchy *hierarchy, const struct domain *dom);
/* Is there a group already, whose limits must go? */
bool cgroup_exists(const struct cgroup_hierarchy *hierarchy, const struct domain *dom);
/* The domain's group with its VMM in it; NULL with an error. Free with g_free(). */
char *cgroup_enter(const struct cgroup_hierarchy *hierarchy, const char *controller, const struct domain *dom,
		   GError **error);
/* Is the VMM's thread in that part of the domain's group ("" is any)? It may be left from an earlier run. */
bool cgroup_is_in(const struct domain *dom, pid_t thread, const char *controller, const char *part);
/* It may be there already. */
bool cgroup_make_folder(const char *path, GError **error);

bool cgroup_write(const char *folder, const char *file, const char *text, GError **error);
bool cgroup_write_number(const char *folder, const char *file, int64_t number, GError **error);
/* May it be written? */
bool cgroup_has_file(const char *folder, const char *file);

/* --- Controllers, in force for `conf` ---------------------------------------------------------- */

/* cgroup_io.c */
bool cgroup_apply_io(struct domain *dom, const struct conf_domain *conf, GError **error);
