/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The calls about definitions of filters. Queries are answered from memory; changes are written first,
 * one after the other, and mean something only when they are on the disk.
 */
#include "daemon/network/filter_int.h"

#include "base/log.h"
#include "conf/domain.h"
#include "daemon/domain/store.h"
#include "daemon/rpc/rpc.h"
#include "daemon/rpc/serve.h"

#include <string.h>

enum { DEFINE_VALIDATE = 1 };

static struct filters *filters_of(struct rpc_call *call)
{
	return rpc_call_daemon(call)->filters;
}

static struct remote_nwfilter wire_of(const struct conf_nwfilter *filter)
{
	struct remote_nwfilter wire = {.name = filter->name};
	memcpy(wire.uuid, filter->uuid, sizeof(wire.uuid));
	return wire;
}

/* --- Queries ---------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Borrowed names of what the caller may see, sorted. */
static GPtrArray *names_of(struct rpc_call *call)
{
	GPtrArray *names = g_ptr_array_new();
	GHashTableIter iter;
	void *name;
	g_hash_table_iter_init(&iter, filters_of(call)->by_name);
	while (g_hash_table_iter_next(&iter, &name, NULL)) {
		if (rpc_call_sees(call, RPC_NWFILTER, name))
			g_ptr_array_add(names, name);
	}
	g_ptr_array_sort(names, compare_names);
	return names;
}

void serve_connect_num_of_nwfilters(struct rpc_call *call)
{
	g_autoptr(GPtrArray) names = names_of(call);
	rpc_call_reply(call, &(struct remote_connect_num_of_nwfilters_ret){names->len});
}

void serve_connect_list_nwfilters(struct rpc_call *call,
				  const struct remote_connect_list_nwfilters_args *args)
{
	g_autoptr(GPtrArray) names = names_of(call);
	struct remote_connect_list_nwfilters_ret ret = {
		.names = {MIN(names->len, (unsigned)MAX(args->maxnames, 0)), (char **)names->pdata}};
	rpc_call_reply(call, &ret);
}

void serve_connect_list_all_nwfilters(struct rpc_call *call,
				      const struct remote_connect_list_all_nwfilters_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	g_autoptr(GPtrArray) names = names_of(call);
	struct remote_connect_list_all_nwfilters_ret ret = {.ret = names->len};
	if (args->need) {
		ret.filters.count = names->len;
		ret.filters.items = arena_alloc(rpc_call_arena(call),
						names->len * sizeof(*ret.filters.items));
		for (unsigned i = 0; i < names->len; i++)
			ret.filters.items[i] =
				wire_of(filter_by_name(filters_of(call), names->pdata[i]));
	}
	rpc_call_reply(call, &ret);
}

/* By UUID, or NULL with the call failed. */
static const struct conf_nwfilter *find(struct rpc_call *call, const uint8_t uuid[16])
{
	const struct conf_nwfilter *filter = filter_by_uuid(filters_of(call), uuid);
	if (filter)
		return filter;
	char text[37];
	GError *error = NULL;
	conf_uuid_format(uuid, text);
	virt_error(&error, VIRT_FROM_NWFILTER, VIRT_NO_NWFILTER, "no nwfilter with matching uuid '%s'", text);
	rpc_call_fail(call, error);
	return NULL;
}

void serve_nwfilter_lookup_by_name(struct rpc_call *call,
				   const struct remote_nwfilter_lookup_by_name_args *args)
{
	const struct conf_nwfilter *filter = filter_by_name(filters_of(call), args->name);
	GError *error = NULL;
	if (filter) {
		rpc_call_reply(call, &(struct remote_nwfilter_lookup_by_name_ret){wire_of(filter)});
		return;
	}
	virt_error(&error, VIRT_FROM_NWFILTER, VIRT_NO_NWFILTER, "no nwfilter with matching name '%s'",
		   args->name);
	rpc_call_fail(call, error);
}

void serve_nwfilter_lookup_by_uuid(struct rpc_call *call,
				   const struct remote_nwfilter_lookup_by_uuid_args *args)
{
	const struct conf_nwfilter *filter = find(call, args->uuid);
	if (filter)
		rpc_call_reply(call, &(struct remote_nwfilter_lookup_by_uuid_ret){wire_of(filter)});
}

void serve_nwfilter_get_xml_desc(struct rpc_call *call,
				 const struct remote_nwfilter_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct conf_nwfilter *filter = find(call, args->nwfilter.uuid);
	if (!filter)
		return;
	g_autofree char *xml = conf_nwfilter_format(filter);
	rpc_call_reply(call, &(struct remote_nwfilter_get_xml_desc_ret){xml});
}

/* --- Changes ---------------------------------------------------------------------------------- */

struct change {
	struct filters *filters;
	struct rpc_call *call;
	char *name;
	struct conf_nwfilter *definition; /* NULL: remove; once in effect the table's */
	struct conf_nwfilter *old;        /* what was there before, until the change is written */
};

static void begin(struct change *change);

/* Answers, and lets the next change begin. */
static void end(struct change *change, GError *error)
{
	struct filters *filters = change->filters;
	g_queue_pop_head(&filters->changes);
	if (error) {
		rpc_call_fail(change->call, error);
	} else if (change->definition) {
		struct remote_nwfilter_define_xml_ret ret = {wire_of(change->definition)};
		rpc_call_reply(change->call, &ret);
	} else {
		rpc_call_reply(change->call, NULL);
	}
	g_free(change->name);
	g_free(change);
	if (filters->changes.length)
		begin(g_queue_peek_head(&filters->changes));
}

/* References must lead to filters that are there, and not back. */
static bool check_references(const struct filters *filters, const struct conf_nwfilter *definition,
			     GError **error)
{
	for (unsigned i = 0; i < definition->entries->len; i++) {
		const struct conf_nwfilter_entry *entry = definition->entries->pdata[i];
		const char *name = entry->reference ? entry->reference->filter : NULL;
		if (!name)
			continue;
		if (filter_refers_to(filters, name, definition->name, definition))
			return virt_error(error, VIRT_FROM_NWFILTER, VIRT_OPERATION_FAILED,
					  "filter would introduce a loop");
		if (!filter_by_name(filters, name))
			return virt_error(error, VIRT_FROM_NWFILTER, VIRT_OPERATION_FAILED,
					  "referenced filter '%s' is missing", name);
	}
	return true;
}

/* A definition without a UUID changes the filter of its name; others must be of one filter. */
static bool check_identity(const struct filters *filters, struct conf_nwfilter *definition,
			   GError **error)
{
	const struct conf_nwfilter *named = filter_by_name(filters, definition->name);
	const struct conf_nwfilter *same = filter_by_uuid(filters, definition->uuid);
	char uuid[37];
	if (named && !definition->has_uuid) {
		memcpy(definition->uuid, named->uuid, sizeof(definition->uuid));
		return true;
	}
	if (named && named != same) {
		conf_uuid_format(named->uuid, uuid);
		return virt_error(error, VIRT_FROM_NWFILTER, VIRT_OPERATION_FAILED,
				  "filter '%s' already exists with uuid %s", named->name, uuid);
	}
	conf_uuid_format(definition->uuid, uuid);
	return !same || named || virt_error(error, VIRT_FROM_NWFILTER, VIRT_OPERATION_FAILED,
					    "filter with same UUID but different name ('%s') already exists",
					    same->name);
}

static void *steal(struct filters *filters, const char *name)
{
	void *key, *value = NULL;
	g_hash_table_steal_extended(filters->by_name, name, &key, &value);
	return value;
}

static void insert(struct filters *filters, struct conf_nwfilter *filter)
{
	if (filter)
		g_hash_table_insert(filters->by_name, filter->name, filter);
}

/* Back to what was before, also what the ports learn. */
static void undo(struct change *change)
{
	g_autoptr(GError) error = NULL;
	conf_nwfilter_free(steal(change->filters, change->name));
	change->definition = NULL;
	insert(change->filters, g_steal_pointer(&change->old));
	if (!filter_reapply(change->filters, change->name, &error))
		log_warning("filter '%s': %s", change->name, error->message);
}

static void on_written(void *opaque, const GError *cause)
{
	struct change *change = opaque;
	if (cause)
		undo(change);
	conf_nwfilter_free(change->old);
	end(change, cause ? g_error_copy(cause) : NULL);
}

static bool check(struct change *change, GError **error)
{
	struct filters *filters = change->filters;
	if (change->definition)
		return check_references(filters, change->definition, error) &&
		       check_identity(filters, change->definition, error);
	if (!filter_by_name(filters, change->name))
		return virt_error(error, VIRT_FROM_NWFILTER, VIRT_NO_NWFILTER,
				  "no nwfilter with matching name '%s'", change->name);
	if (filter_in_use(filters, change->name))
		return virt_error(error, VIRT_FROM_NWFILTER, VIRT_OPERATION_INVALID, "nwfilter is in use");
	return true;
}

/* Ports have the new rules before they are written: what no port can have is no definition. */
static void begin(struct change *change)
{
	struct filters *filters = change->filters;
	GError *error = NULL;
	if (!check(change, &error)) {
		conf_nwfilter_free(change->definition);
		end(change, error);
		return;
	}
	change->old = steal(filters, change->name);
	insert(filters, change->definition);
	if (change->definition && !filter_reapply(filters, change->name, &error)) {
		undo(change);
		end(change, error);
		return;
	}
	const struct conf_nwfilter *filter = change->definition ? change->definition : change->old;
	g_autofree char *path = filter_path(filters, filter);
	g_autofree char *xml = change->definition ? conf_nwfilter_format(filter) : NULL;
	store_write(filters->daemon, path, xml, on_written, change);
}

static void queue(struct rpc_call *call, const char *name, struct conf_nwfilter *definition)
{
	struct change *change = g_new0(struct change, 1);
	change->filters = filters_of(call);
	change->call = call;
	change->name = g_strdup(name);
	change->definition = definition;
	g_queue_push_tail(&change->filters->changes, change);
	if (change->filters->changes.length == 1)
		begin(change);
}

static void define(struct rpc_call *call, const char *xml)
{
	GError *error = NULL;
	struct conf_nwfilter *definition = conf_nwfilter_parse(xml, &error);
	if (definition)
		queue(call, definition->name, definition);
	else
		rpc_call_fail(call, error);
}

void serve_nwfilter_define_xml(struct rpc_call *call, const struct remote_nwfilter_define_xml_args *args)
{
	define(call, args->xml);
}

void serve_nwfilter_define_xml_flags(struct rpc_call *call,
				     const struct remote_nwfilter_define_xml_flags_args *args)
{
	/* Every definition is checked against the tables of what is understood. */
	if (rpc_call_check_flags(call, args->flags, DEFINE_VALIDATE))
		define(call, args->xml);
}

void serve_nwfilter_undefine(struct rpc_call *call, const struct remote_nwfilter_undefine_args *args)
{
	const struct conf_nwfilter *filter = find(call, args->nwfilter.uuid);
	if (filter)
		queue(call, filter->name, NULL);
}
