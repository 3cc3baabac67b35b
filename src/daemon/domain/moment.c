/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/moment.h"

#include "base/log.h"

#include <string.h>

struct conf_moment *moments_find(const struct moments *moments, const char *name)
{
	for (unsigned i = 0; name && i < moments->list->len; i++) {
		struct conf_moment *moment = moments->list->pdata[i];
		if (strcmp(moment->name, name) == 0)
			return moment;
	}
	return NULL;
}

struct conf_moment *moments_need(const struct moments *moments, const char *name, GError **error)
{
	struct conf_moment *moment = moments_find(moments, name);
	if (!moment)
		virt_error(error, VIRT_FROM_QEMU, moments->kind->missing,
			   "no domain %s with matching name '%s'",
			   moments->kind->noun, name);
	return moment;
}

void moments_add(struct moments *moments, struct conf_moment *moment)
{
	struct conf_moment *old = moments_find(moments, moment->name);
	if (old)
		g_ptr_array_remove(moments->list, old);
	g_ptr_array_add(moments->list, moment);
}

void moments_set_current(struct moments *moments, const char *name)
{
	char *copy = g_strdup(name);
	g_free(moments->current);
	moments->current = copy;
}

void moments_remove(struct moments *moments, struct conf_moment *moment)
{
	for (unsigned i = 0; i < moments->list->len; i++) {
		struct conf_moment *child = moments->list->pdata[i];
		if (child == moment || g_strcmp0(child->parent, moment->name) != 0)
			continue;
		g_free(child->parent);
		child->parent = g_strdup(moment->parent);
	}
	if (g_strcmp0(moments->current, moment->name) == 0)
		moments_set_current(moments, moment->parent);
	g_ptr_array_remove(moments->list, moment);
}

/* --- Files ---------------------------------------------------------------------------------- */

static char *folder_of(const struct domain *dom, const struct moment_kind *kind)
{
	return g_strdup_printf("%s/%s", kind->folder, dom->uuid_text);
}

struct moments *moments_load(const struct domain *dom, const struct moment_kind *kind)
{
	g_autofree char *folder = folder_of(dom, kind);
	g_autofree char *current = store_path(dom->all->daemon, folder, ".current", "");
	struct moments *moments = g_new0(struct moments, 1);
	moments->kind = kind;
	moments->list = g_ptr_array_new_with_free_func(kind->free);
	if (!domain_may_have(dom, kind->folder))
		return moments;
	g_autoptr(GPtrArray) files = store_list(dom->all->daemon, folder, ".xml");
	for (unsigned i = 0; i < files->len; i++) {
		g_autofree char *text = NULL;
		g_autoptr(GError) error = NULL;
		struct conf_moment *moment = NULL;
		if (g_file_get_contents(files->pdata[i], &text, NULL, &error))
			moment = kind->parse(text, &error);
		if (moment)
			moments_add(moments, moment);
		else
			log_warning("'%s' is left alone: %s", (char *)files->pdata[i], error->message);
	}
	g_autofree char *name = NULL;
	if (g_file_get_contents(current, &name, NULL, NULL) && moments_find(moments, name))
		moments_set_current(moments, name);
	return moments;
}

void moments_free(struct moments *moments)
{
	g_ptr_array_unref(moments->list);
	g_free(moments->current);
	g_free(moments);
}

void moments_forget(const struct domain *dom, struct moments *moments)
{
	if (!moments->list->len)
		return;
	g_autofree char *folder = folder_of(dom, moments->kind);
	g_autofree char *path = store_path(dom->all->daemon, folder, "", "");
	store_remove_folder(path);
	g_ptr_array_set_size(moments->list, 0);
	moments_set_current(moments, NULL);
}

/* --- The tree ------------------------------------------------------------------------------- */

bool moments_check_parent(const struct moments *moments, const struct conf_moment *moment, GError **error)
{
	const struct conf_moment *above = moments_find(moments, moment->parent);
	const char *noun = moments->kind->noun;
	if (!moment->parent)
		return true;
	if (!above && strcmp(moment->parent, moment->name) != 0)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "parent %s for %s %s not found",
				  moment->parent, noun, moment->name);
	for (unsigned depth = 0; above && strcmp(above->name, moment->name) != 0 && above->parent &&
				 depth < moments->list->len; depth++)
		above = moments_find(moments, above->parent);
	return (above && strcmp(above->name, moment->name) != 0) ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "parent %s would create cycle to %s",
			  moment->parent, moment->name);
}

bool moments_allow_stopped(const struct domain *dom, GError **error)
{
	return !dom->checkpoints->list->len ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			  "cannot perform block operations while checkpoint exists");
}

static bool has_children(const struct moments *moments, const char *name)
{
	for (unsigned i = 0; i < moments->list->len; i++) {
		const struct conf_moment *one = moments->list->pdata[i];
		if (g_strcmp0(one->parent, name) == 0)
			return true;
	}
	return false;
}

/* Is it below `root` (NULL: anywhere)? A document that names itself as its own ancestor ends nothing. */
static bool is_below(const struct moments *moments, const struct conf_moment *moment, const char *root,
		     bool deep)
{
	if (!root)
		return deep || !moments_find(moments, moment->parent);
	for (unsigned depth = 0; moment && depth <= moments->list->len; depth++) {
		if (g_strcmp0(moment->parent, root) == 0)
			return true;
		moment = deep ? moments_find(moments, moment->parent) : NULL;
	}
	return false;
}

static unsigned depth_of(const struct moments *moments, const struct conf_moment *moment)
{
	unsigned depth = 0;
	while (depth <= moments->list->len && (moment = moments_find(moments, moment->parent)))
		depth++;
	return depth;
}

static int compare_depth(const void *a, const void *b, void *opaque)
{
	const struct conf_moment *const *first = a, *const *second = b;
	return (int)depth_of(opaque, *first) - (int)depth_of(opaque, *second);
}

GPtrArray *moments_select(const struct moments *moments, const char *root, uint32_t flags)
{
	GPtrArray *chosen = g_ptr_array_new();
	bool deep = root ? flags & MOMENTS_DESCENDANTS : !(flags & MOMENTS_ROOTS);
	for (unsigned i = 0; i < moments->list->len; i++) {
		struct conf_moment *moment = moments->list->pdata[i];
		uint32_t its = has_children(moments, moment->name) ? MOMENTS_NO_LEAVES : MOMENTS_LEAVES;
		uint32_t wanted = flags & (MOMENTS_LEAVES | MOMENTS_NO_LEAVES);
		if (is_below(moments, moment, root, deep) && (!wanted || wanted & its))
			g_ptr_array_add(chosen, moment);
	}
	g_ptr_array_sort_with_data(chosen, compare_depth, (void *)moments);
	return chosen;
}
