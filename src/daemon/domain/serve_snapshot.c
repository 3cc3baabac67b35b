/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that ask about snapshots. */
#include "daemon/domain/snapshot.h"

#include "daemon/rpc/serve.h"

#include <string.h>

/* 1024 asks for parents before children, which is always so. */
enum {
	LIST_METADATA = 2, LIST_NO_METADATA = 16, LIST_INACTIVE = 32, LIST_ACTIVE = 64, LIST_DISK_ONLY = 128,
	LIST_INTERNAL = 256, LIST_EXTERNAL = 512, LIST_ALL = 2047,
};

static void not_found(struct rpc_call *call, const char *format, const char *name)
{
	GError *error = NULL;
	g_autofree char *text = g_strdup_printf("%s '%s'", format, name);
	virt_error(&error, VIRT_FROM_QEMU, VIRT_NO_SNAPSHOT, "%s", text);
	rpc_call_fail(call, error);
}

static const char not_matching[] = "no domain snapshot with matching name";

/* NULL with the call failed. */
static struct conf_snapshot *find(struct rpc_call *call, const struct remote_snapshot *wire,
				  struct domain **dom)
{
	*dom = domain_find(call, &wire->dom);
	struct conf_snapshot *snapshot = *dom ? snapshot_find(*dom, wire->name) : NULL;
	if (*dom && !snapshot)
		not_found(call, not_matching, wire->name);
	return snapshot;
}

static struct remote_snapshot wire_of(const struct domain *dom, const char *name)
{
	return (struct remote_snapshot){.name = (char *)name, .dom = domain_wire(dom)};
}

/* --- Lists ---------------------------------------------------------------------------------- */

static bool is_external(const struct conf_snapshot *snapshot)
{
	for (unsigned i = 0; i < snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = snapshot->disks->pdata[i];
		if (disk->where == CONF_SNAPSHOT_EXTERNAL)
			return true;
	}
	return snapshot->memory == CONF_SNAPSHOT_EXTERNAL;
}

/* Each group of flags chooses, if it has any set; moments_select() knows the others. */
static bool passes(const struct conf_snapshot *snapshot, uint32_t flags)
{
	bool external = is_external(snapshot);
	bool off = g_strcmp0(snapshot->state, "shutoff") == 0;
	bool disk_only = g_strcmp0(snapshot->state, "disk-snapshot") == 0;
	const struct {
		uint32_t all, its;
	} groups[] = {
		{LIST_METADATA | LIST_NO_METADATA, LIST_METADATA},
		{LIST_INACTIVE | LIST_ACTIVE | LIST_DISK_ONLY,
		 disk_only ? LIST_DISK_ONLY : off ? LIST_INACTIVE : LIST_ACTIVE},
		{LIST_INTERNAL | LIST_EXTERNAL, external ? LIST_EXTERNAL : LIST_INTERNAL},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
		if (flags & groups[i].all && !(flags & groups[i].its))
			return false;
	}
	return true;
}

/* Names (char *, the snapshots' own) of those of the domain or, with `root`, below that one. */
static GPtrArray *select_names(const struct domain *dom, const char *root, uint32_t flags)
{
	g_autoptr(GPtrArray) chosen = moments_select(dom->snapshots, root, flags);
	GPtrArray *names = g_ptr_array_new();
	for (unsigned i = 0; i < chosen->len; i++) {
		const struct conf_snapshot *snapshot = chosen->pdata[i];
		if (passes(snapshot, flags))
			g_ptr_array_add(names, snapshot->moment.name);
	}
	return names;
}

void serve_domain_snapshot_num(struct rpc_call *call, const struct remote_domain_snapshot_num_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, LIST_ALL))
		return;
	g_autoptr(GPtrArray) names = select_names(dom, NULL, args->flags);
	rpc_call_reply(call, &(struct remote_domain_snapshot_num_ret){names->len});
}

void serve_domain_snapshot_list_names(struct rpc_call *call,
				      const struct remote_domain_snapshot_list_names_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, LIST_ALL))
		return;
	g_autoptr(GPtrArray) names = select_names(dom, NULL, args->flags);
	rpc_call_reply(call, &(struct remote_domain_snapshot_list_names_ret){
				     {MIN(names->len, (unsigned)MAX(args->maxnames, 0)),
				      (char **)names->pdata}});
}

void serve_domain_snapshot_num_children(struct rpc_call *call,
					const struct remote_domain_snapshot_num_children_args *args)
{
	struct domain *dom;
	if (!find(call, &args->snap, &dom) || !rpc_call_check_flags(call, args->flags, LIST_ALL))
		return;
	g_autoptr(GPtrArray) names = select_names(dom, args->snap.name, args->flags);
	rpc_call_reply(call, &(struct remote_domain_snapshot_num_children_ret){names->len});
}

void serve_domain_snapshot_list_children_names(
	struct rpc_call *call, const struct remote_domain_snapshot_list_children_names_args *args)
{
	struct domain *dom;
	if (!find(call, &args->snap, &dom) || !rpc_call_check_flags(call, args->flags, LIST_ALL))
		return;
	g_autoptr(GPtrArray) names = select_names(dom, args->snap.name, args->flags);
	rpc_call_reply(call, &(struct remote_domain_snapshot_list_children_names_ret){
				     {MIN(names->len, (unsigned)MAX(args->maxnames, 0)),
				      (char **)names->pdata}});
}

static struct remote_snapshot *wire_list(struct rpc_call *call, const struct domain *dom,
					 const GPtrArray *names)
{
	struct remote_snapshot *list = arena_alloc(rpc_call_arena(call), names->len * sizeof(*list));
	for (unsigned i = 0; i < names->len; i++)
		list[i] = wire_of(dom, names->pdata[i]);
	return list;
}

void serve_domain_list_all_snapshots(struct rpc_call *call,
				     const struct remote_domain_list_all_snapshots_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, LIST_ALL))
		return;
	g_autoptr(GPtrArray) names = select_names(dom, NULL, args->flags);
	struct remote_domain_list_all_snapshots_ret ret = {.count = names->len};
	if (args->need) {
		ret.snapshots.count = names->len;
		ret.snapshots.items = wire_list(call, dom, names);
	}
	rpc_call_reply(call, &ret);
}

void serve_domain_snapshot_list_all_children(
	struct rpc_call *call, const struct remote_domain_snapshot_list_all_children_args *args)
{
	struct domain *dom;
	if (!find(call, &args->snapshot, &dom) || !rpc_call_check_flags(call, args->flags, LIST_ALL))
		return;
	g_autoptr(GPtrArray) names = select_names(dom, args->snapshot.name, args->flags);
	struct remote_domain_snapshot_list_all_children_ret ret = {.ret = names->len};
	if (args->need) {
		ret.snapshots.count = names->len;
		ret.snapshots.items = wire_list(call, dom, names);
	}
	rpc_call_reply(call, &ret);
}

/* --- One ------------------------------------------------------------------------------------ */

void serve_domain_snapshot_lookup_by_name(struct rpc_call *call,
					  const struct remote_domain_snapshot_lookup_by_name_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct conf_snapshot *snapshot = snapshot_find(dom, args->name);
	if (snapshot)
		rpc_call_reply(call, &(struct remote_domain_snapshot_lookup_by_name_ret){
					     wire_of(dom, snapshot->moment.name)});
	else
		not_found(call, not_matching, args->name);
}

void serve_domain_has_current_snapshot(struct rpc_call *call,
				       const struct remote_domain_has_current_snapshot_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom && rpc_call_check_flags(call, args->flags, 0))
		rpc_call_reply(call, &(struct remote_domain_has_current_snapshot_ret){
					     dom->snapshots->current != NULL});
}

void serve_domain_snapshot_current(struct rpc_call *call,
				   const struct remote_domain_snapshot_current_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	if (dom->snapshots->current) {
		rpc_call_reply(call, &(struct remote_domain_snapshot_current_ret){
					     wire_of(dom, dom->snapshots->current)});
		return;
	}
	virt_error(&error, VIRT_FROM_QEMU, VIRT_NO_SNAPSHOT, "the domain does not have a current snapshot");
	rpc_call_fail(call, error);
}

void serve_domain_snapshot_is_current(struct rpc_call *call,
				      const struct remote_domain_snapshot_is_current_args *args)
{
	struct domain *dom;
	if (find(call, &args->snap, &dom) && rpc_call_check_flags(call, args->flags, 0))
		rpc_call_reply(call, &(struct remote_domain_snapshot_is_current_ret){
					     g_strcmp0(dom->snapshots->current, args->snap.name) == 0});
}

/* What is not in our files we do not know of. */
void serve_domain_snapshot_has_metadata(struct rpc_call *call,
					const struct remote_domain_snapshot_has_metadata_args *args)
{
	struct domain *dom;
	if (find(call, &args->snap, &dom) && rpc_call_check_flags(call, args->flags, 0))
		rpc_call_reply(call, &(struct remote_domain_snapshot_has_metadata_ret){1});
}

void serve_domain_snapshot_get_parent(struct rpc_call *call,
				      const struct remote_domain_snapshot_get_parent_args *args)
{
	struct domain *dom;
	const struct conf_snapshot *snapshot = find(call, &args->snap, &dom);
	if (!snapshot || !rpc_call_check_flags(call, args->flags, 0))
		return;
	if (snapshot_find(dom, snapshot->moment.parent))
		rpc_call_reply(call, &(struct remote_domain_snapshot_get_parent_ret){
					     wire_of(dom, snapshot->moment.parent)});
	else
		not_found(call, "there is no parent of snapshot", snapshot->moment.name);
}

void serve_domain_snapshot_get_xml_desc(struct rpc_call *call,
					const struct remote_domain_snapshot_get_xml_desc_args *args)
{
	enum { SECURE = 1 };
	struct domain *dom;
	const struct conf_snapshot *snapshot = find(call, &args->snap, &dom);
	if (!snapshot || !rpc_call_check_flags(call, args->flags, SECURE) ||
	    !rpc_call_may_show(call, args->flags & SECURE))
		return;
	g_autofree char *xml = conf_snapshot_format(snapshot);
	rpc_call_reply(call, &(struct remote_domain_snapshot_get_xml_desc_ret){xml});
}
