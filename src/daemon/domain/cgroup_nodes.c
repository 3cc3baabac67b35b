/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's memory nodes that a domain may use: the controller cpuset. What it has elsewhere moves. Where a
 * domain's memory is bound as it is made (numa(7)), there is no group until the nodes change while it runs.
 */
#include "daemon/domain/cgroup_int.h"

#include "base/error.h"
#include "daemon/domain/vmm.h"

/* A version 1 group is born with no CPU and no node, and takes nobody in until it has some. */
static bool inherit(const char *parent, const char *folder, const char *file, GError **error)
{
	g_autofree char *from = g_build_filename(parent, file, NULL), *text = NULL;
	g_autofree char *to = g_build_filename(folder, file, NULL), *now = NULL;
	if (!g_file_get_contents(to, &now, NULL, error) || !g_file_get_contents(from, &text, NULL, error))
		return false;
	return *g_strstrip(now) || cgroup_write(folder, file, g_strstrip(text), error);
}

static bool make_group(const char *parent, const char *folder, GError **error)
{
	return cgroup_make_folder(folder, error) && inherit(parent, folder, "cpuset.cpus", error) &&
	       inherit(parent, folder, "cpuset.mems", error);
}

static bool prepare(const struct cgroup_hierarchy *hierarchy, const char *path, const char *nodeset, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(path);
	return make_group(hierarchy->mount, parent, error) && make_group(parent, path, error) &&
	       cgroup_write(path, "cpuset.memory_migrate", "1", error) &&
	       cgroup_write(path, "cpuset.mems", nodeset, error);
}

static bool apply(struct domain *dom, const struct cgroup_hierarchy *hierarchy, const char *nodeset, GError **error)
{
	g_autofree char *path = hierarchy->mount ? cgroup_path(hierarchy, dom) : NULL;
	if (path && !hierarchy->unified && !prepare(hierarchy, path, nodeset, error))
		return false;
	g_autofree char *group = cgroup_enter(hierarchy, "cpuset", dom, error);
	/* A thread that comes in may use all of the group's CPUs, whatever it was pinned to. */
	return group && (!hierarchy->unified || cgroup_write(group, "cpuset.mems", nodeset, error)) &&
	       vmm_pin_all(dom, error);
}

bool cgroup_apply_nodes(struct domain *dom, const struct conf_domain *conf, bool changed, GError **error)
{
	const struct conf_numa_policy *memory = &conf->numatune.memory;
	struct cgroup_hierarchy hierarchy = cgroup_find("cpuset");
	bool needed = memory->nodeset && (changed || memory->mode == CONF_NUMA_RESTRICTIVE);
	if (!needed && memory->nodeset && cgroup_exists(&hierarchy, dom)) {
		/* The unified hierarchy's group may be there for other controllers. */
		g_autofree char *path = cgroup_path(&hierarchy, dom);
		needed = !hierarchy.unified || cgroup_has_file(path, "cpuset.mems");
	}
	bool good = !needed || apply(dom, &hierarchy, memory->nodeset, error);
	g_free(hierarchy.mount);
	return good;
}
