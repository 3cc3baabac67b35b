/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All filters, by name and UUID; and how they come back when the daemon starts. */
#include "daemon/network/filter_int.h"

#include "base/error.h"
#include "base/log.h"
#include "conf/domain.h"
#include "daemon/domain/store.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define DEFINED_FOLDER "nwfilters"

const struct conf_nwfilter *filter_by_name(const struct filters *filters, const char *name)
{
	return g_hash_table_lookup(filters->by_name, name);
}

const struct conf_nwfilter *filter_by_uuid(const struct filters *filters, const uint8_t uuid[16])
{
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, filters->by_name);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct conf_nwfilter *filter = value;
		if (!memcmp(filter->uuid, uuid, sizeof(filter->uuid)))
			return filter;
	}
	return NULL;
}

char *filter_path(const struct filters *filters, const struct conf_nwfilter *filter)
{
	char uuid[37];
	conf_uuid_format(filter->uuid, uuid);
	return store_path(filters->daemon, DEFINED_FOLDER, uuid, ".xml");
}

static bool refers(const struct filters *filters, const char *name, const char *wanted,
		   const struct conf_nwfilter *instead, GHashTable *seen)
{
	if (!strcmp(name, wanted))
		return true;
	if (!g_hash_table_add(seen, (void *)name))
		return false;
	const struct conf_nwfilter *filter =
		instead && !strcmp(instead->name, name) ? instead : filter_by_name(filters, name);
	for (unsigned i = 0; filter && i < filter->entries->len; i++) {
		const struct conf_nwfilter_entry *entry = filter->entries->pdata[i];
		if (entry->reference &&
		    refers(filters, entry->reference->filter, wanted, instead, seen))
			return true;
	}
	return false;
}

bool filter_refers_to(const struct filters *filters, const char *name, const char *wanted,
		      const struct conf_nwfilter *instead)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
	return refers(filters, name, wanted, instead, seen);
}

/* --- Start of the daemon ---------------------------------------------------------------------- */

static void load(struct filters *filters, const char *path)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;
	auto_conf_nwfilter filter = NULL;
	if (g_file_get_contents(path, &text, NULL, &error))
		filter = conf_nwfilter_parse(text, &error);
	if (!filter) {
		log_warning("'%s' is left alone: %s", path, error->message);
	} else if (filter_by_name(filters, filter->name) || filter_by_uuid(filters, filter->uuid)) {
		log_warning("'%s' is left alone: there is a filter '%s' already", path, filter->name);
	} else {
		g_hash_table_insert(filters->by_name, filter->name, filter);
		filter = NULL;
	}
}

/* Written to a folder that becomes the true one when all are there. */
static bool make_stock(const struct filters *filters, const char *folder, GError **error)
{
	const struct daemon *daemon = filters->daemon;
	g_autofree char *new = g_strconcat(folder, ".new", NULL);
	if (g_mkdir_with_parents(new, 0700) < 0)
		return error_set_errno(error, errno, "cannot create the folder '%s'", new);
	for (const char *const *xml = filter_stock; *xml; xml++) {
		auto_conf_nwfilter filter = conf_nwfilter_parse(*xml, error);
		if (!filter)
			return false;
		g_autofree char *text = conf_nwfilter_format(filter);
		char uuid[37];
		conf_uuid_format(filter->uuid, uuid);
		g_autofree char *path = store_path(daemon, DEFINED_FOLDER ".new", uuid, ".xml");
		if (!g_file_set_contents(path, text, -1, error))
			return false;
	}
	if (rename(new, folder) < 0)
		return error_set_errno(error, errno, "cannot rename '%s'", new);
	return true;
}

struct filters *filters_new(struct daemon *daemon, GError **error)
{
	static const char *const folders[] = {FILTER_PORTS_FOLDER, NULL};
	if (!store_make_folders(daemon, folders, error))
		return NULL;
	struct filters *filters = g_new0(struct filters, 1);
	filters->daemon = daemon;
	filters->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
						 (GDestroyNotify)conf_nwfilter_free);
	filters->ports = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, filter_port_free);
	g_queue_init(&filters->changes);
	g_autofree char *folder = g_build_filename(daemon->state_dir, DEFINED_FOLDER, NULL);
	if (!g_file_test(folder, G_FILE_TEST_IS_DIR) && !make_stock(filters, folder, error)) {
		filters_free(filters);
		return NULL;
	}
	g_autoptr(GPtrArray) paths = store_list(daemon, DEFINED_FOLDER, ".xml");
	for (unsigned i = 0; i < paths->len; i++)
		load(filters, paths->pdata[i]);
	filter_ports_load(filters);
	return filters;
}

void filters_finish(struct filters *filters)
{
	while (filters && filters->changes.length)
		aio_loop_iterate(filters->daemon->loop, -1);
}

void filters_free(struct filters *filters)
{
	if (!filters)
		return;
	nft_watch_free(filters->watch);
	g_hash_table_unref(filters->ports);
	g_hash_table_unref(filters->by_name);
	g_free(filters);
}
