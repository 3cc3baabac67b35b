/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restore points: definitions and live state as they were, in a file that outlives the daemon. Before
 * something is changed its name is put there, so that a way back knows what to look at.
 */
#include "daemon/interface/interface.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/domain/store.h"

#include <string.h>

#define FILE_NAME "interfaces-restore-point"

static struct interface_point *point_new(void)
{
	struct interface_point *point = g_new0(struct interface_point, 1);
	point->defined = g_ptr_array_new_with_free_func(conf_interface_free);
	point->touched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return point;
}

void interface_point_free(struct interface_point *point)
{
	if (!point)
		return;
	g_ptr_array_unref(point->defined);
	g_clear_pointer(&point->state, g_ptr_array_unref);
	g_hash_table_unref(point->touched);
	g_free(point->boot);
	g_free(point);
}

struct interface_point *interface_point_new(const struct interfaces *interfaces, GError **error)
{
	auto_interface_view view;
	GHashTableIter iter;
	void *conf;
	if (!interface_look(&view, error))
		return NULL;
	struct interface_point *point = point_new();
	point->state = interface_describe_all(&view);
	point->boot = store_boot_mark();
	g_hash_table_iter_init(&iter, interfaces->defined);
	while (g_hash_table_iter_next(&iter, NULL, &conf))
		g_ptr_array_add(point->defined, conf_interface_copy(conf));
	return point;
}

/* --- Its file --------------------------------------------------------------------------------- */

static char *path_of(const struct interfaces *interfaces)
{
	return g_build_filename(interfaces->daemon->state_dir, FILE_NAME ".xml", NULL);
}

static void write_list(struct xml_writer *w, const char *name, const GPtrArray *list)
{
	xml_open(w, name, NULL);
	for (unsigned i = 0; i < list->len; i++)
		conf_interface_write(w, list->pdata[i]);
	xml_close(w, name);
}

static char *format(const struct interface_point *point)
{
	struct xml_writer w = xml_writer_new();
	GHashTableIter iter;
	void *name;
	xml_open(&w, "restorepoint", NULL);
	write_list(&w, "defined", point->defined);
	write_list(&w, "state", point->state);
	xml_open(&w, "touched", NULL);
	g_hash_table_iter_init(&iter, point->touched);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		xml_empty(&w, "interface", "name", name, NULL);
	xml_close(&w, "touched");
	xml_close(&w, "restorepoint");
	g_autofree char *xml = xml_writer_take(&w);
	return g_strconcat(point->boot, xml, NULL);
}

bool interface_point_save(const struct interfaces *interfaces, const struct interface_point *point,
			  GError **error)
{
	g_autofree char *path = path_of(interfaces), *text = point ? format(point) : NULL;
	return store_write_now(path, text, error);
}

/* NULL with *error set. */
static GPtrArray *read_list(const xmlNode *root, const char *name, GError **error)
{
	const xmlNode *parent = xml_child(root, name);
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(conf_interface_free);
	if (!parent) {
		error_set(error, BERTH_ERR_INVALID, "<%s> is missing", name);
		return NULL;
	}
	xml_for_each(node, parent, "interface") {
		struct conf_interface *conf = conf_interface_read(node, error);
		if (!conf)
			return NULL;
		g_ptr_array_add(list, conf);
	}
	return g_steal_pointer(&list);
}

static struct interface_point *parse(const char *text, GError **error)
{
	const char *end = strchr(text, '\n');
	g_autoptr(xmlDoc) doc = xml_parse(text, "restore point", error);
	if (!doc)
		return NULL;
	const xmlNode *root = xmlDocGetRootElement(doc), *touched = xml_child(root, "touched");
	GPtrArray *defined = read_list(root, "defined", error);
	GPtrArray *state = defined ? read_list(root, "state", error) : NULL;
	if (!state) {
		g_clear_pointer(&defined, g_ptr_array_unref);
		return NULL;
	}
	struct interface_point *point = point_new();
	g_ptr_array_unref(point->defined);
	point->defined = defined;
	point->state = state;
	point->boot = g_strndup(text, end ? end + 1 - text : 0);
	for (xmlNode *node = touched ? xml_child(touched, "interface") : NULL; node;
	     node = xml_next(node, "interface")) {
		char *name = xml_attribute(node, "name");
		if (name)
			g_hash_table_add(point->touched, name);
	}
	return point;
}

struct interface_point *interface_point_load(const struct interfaces *interfaces)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = path_of(interfaces), *text = NULL;
	if (!g_file_test(path, G_FILE_TEST_EXISTS))
		return NULL;
	struct interface_point *point = g_file_get_contents(path, &text, NULL, &error) ? parse(text, &error) : NULL;
	if (!point)
		log_warning("the restore point of interfaces in '%s' is left alone: %s", path, error->message);
	return point;
}
