/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/snapshot.h"

#include "base/log.h"

#include <string.h>
#include <unistd.h>

static void free_snapshot(void *opaque)
{
	conf_snapshot_free(opaque);
}

struct conf_snapshot *snapshot_find(const struct domain *dom, const char *name)
{
	for (unsigned i = 0; name && i < dom->snapshots->len; i++) {
		struct conf_snapshot *snapshot = dom->snapshots->pdata[i];
		if (strcmp(snapshot->name, name) == 0)
			return snapshot;
	}
	return NULL;
}

void snapshot_add(struct domain *dom, struct conf_snapshot *snapshot)
{
	struct conf_snapshot *old = snapshot_find(dom, snapshot->name);
	if (old)
		g_ptr_array_remove(dom->snapshots, old);
	g_ptr_array_add(dom->snapshots, snapshot);
}

void snapshot_set_current(struct domain *dom, const char *name)
{
	char *copy = g_strdup(name);
	g_free(dom->current_snapshot);
	dom->current_snapshot = copy;
}

void snapshot_remove(struct domain *dom, struct conf_snapshot *snapshot)
{
	for (unsigned i = 0; i < dom->snapshots->len; i++) {
		struct conf_snapshot *child = dom->snapshots->pdata[i];
		if (child == snapshot || g_strcmp0(child->parent, snapshot->name) != 0)
			continue;
		g_free(child->parent);
		child->parent = g_strdup(snapshot->parent);
	}
	if (g_strcmp0(dom->current_snapshot, snapshot->name) == 0)
		snapshot_set_current(dom, snapshot->parent);
	g_ptr_array_remove(dom->snapshots, snapshot);
}

static char *folder_of(const struct domain *dom)
{
	return g_strdup_printf("snapshots/%s", dom->uuid_text);
}

void snapshots_load(struct domain *dom)
{
	g_autofree char *folder = folder_of(dom);
	g_autofree char *current = store_path(dom->all->daemon, folder, ".current", "");
	g_autoptr(GPtrArray) files = store_list(dom->all->daemon, folder, ".xml");
	dom->snapshots = g_ptr_array_new_with_free_func(free_snapshot);
	for (unsigned i = 0; i < files->len; i++) {
		g_autofree char *text = NULL;
		g_autoptr(GError) error = NULL;
		struct conf_snapshot *snapshot = NULL;
		if (g_file_get_contents(files->pdata[i], &text, NULL, &error))
			snapshot = conf_snapshot_parse(text, &error);
		if (snapshot)
			snapshot_add(dom, snapshot);
		else
			log_warning("'%s' is left alone: %s", (char *)files->pdata[i], error->message);
	}
	g_autofree char *name = NULL;
	if (g_file_get_contents(current, &name, NULL, NULL) && snapshot_find(dom, name))
		snapshot_set_current(dom, name);
}

void snapshots_free(struct domain *dom)
{
	g_ptr_array_unref(dom->snapshots);
	g_free(dom->current_snapshot);
}

void snapshots_forget(struct domain *dom)
{
	if (!dom->snapshots->len)
		return;
	g_autofree char *folder = folder_of(dom);
	g_autofree char *path = store_path(dom->all->daemon, folder, "", "");
	g_autoptr(GPtrArray) files = store_list(dom->all->daemon, folder, "");
	for (unsigned i = 0; i < files->len; i++) {
		if (unlink(files->pdata[i]) < 0)
			log_warning("domain '%s': cannot remove '%s'", dom->name, (char *)files->pdata[i]);
	}
	if (files->len)
		rmdir(path);
	g_ptr_array_set_size(dom->snapshots, 0);
	snapshot_set_current(dom, NULL);
}
