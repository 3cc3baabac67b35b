/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that ask about checkpoints, make them and delete them. */
#include "daemon/domain/checkpoint.h"
#include "daemon/domain/vmm.h"

#include "daemon/rpc/serve.h"

#include <string.h>

/* --- Lists ---------------------------------------------------------------------------------- */

/* 2 asks for parents before children, which is always so. */
enum { LIST_ALL = 15 };

static struct remote_domain_checkpoint wire_of(const struct domain *dom, const char *name)
{
	return (struct remote_domain_checkpoint){.name = (char *)name, .dom = domain_wire(dom)};
}

/* NULL with the call failed. */
static struct conf_checkpoint *find(struct rpc_call *call, const struct remote_domain_checkpoint *wire,
				    struct domain **dom)
{
	GError *error = NULL;
	*dom = domain_find(call, &wire->dom);
	struct conf_moment *moment = *dom ? moments_need((*dom)->checkpoints, wire->name, &error) : NULL;
	if (error)
		rpc_call_fail(call, error);
	return (struct conf_checkpoint *)moment;
}

static struct remote_domain_checkpoint *wire_list(struct rpc_call *call, const struct domain *dom,
						  const GPtrArray *chosen)
{
	struct remote_domain_checkpoint *list = arena_alloc(rpc_call_arena(call),
							    chosen->len * sizeof(*list));
	for (unsigned i = 0; i < chosen->len; i++)
		list[i] = wire_of(dom, ((const struct conf_moment *)chosen->pdata[i])->name);
	return list;
}

void serve_domain_list_all_checkpoints(struct rpc_call *call,
				       const struct remote_domain_list_all_checkpoints_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, LIST_ALL))
		return;
	g_autoptr(GPtrArray) chosen = moments_select(dom->checkpoints, NULL, args->flags);
	struct remote_domain_list_all_checkpoints_ret ret = {.ret = chosen->len};
	if (args->need) {
		ret.checkpoints.count = chosen->len;
		ret.checkpoints.items = wire_list(call, dom, chosen);
	}
	rpc_call_reply(call, &ret);
}

void serve_domain_checkpoint_list_all_children(
	struct rpc_call *call, const struct remote_domain_checkpoint_list_all_children_args *args)
{
	struct domain *dom;
	if (!find(call, &args->checkpoint, &dom) || !rpc_call_check_flags(call, args->flags, LIST_ALL))
		return;
	g_autoptr(GPtrArray) chosen = moments_select(dom->checkpoints, args->checkpoint.name, args->flags);
	struct remote_domain_checkpoint_list_all_children_ret ret = {.ret = chosen->len};
	if (args->need) {
		ret.checkpoints.count = chosen->len;
		ret.checkpoints.items = wire_list(call, dom, chosen);
	}
	rpc_call_reply(call, &ret);
}

/* --- One ------------------------------------------------------------------------------------ */

void serve_domain_checkpoint_lookup_by_name(struct rpc_call *call,
					    const struct remote_domain_checkpoint_lookup_by_name_args *args)
{
	struct domain *dom;
	const struct remote_domain_checkpoint wanted = {.name = args->name, .dom = args->dom};
	const struct conf_checkpoint *checkpoint = find(call, &wanted, &dom);
	if (checkpoint && rpc_call_check_flags(call, args->flags, 0))
		rpc_call_reply(call, &(struct remote_domain_checkpoint_lookup_by_name_ret){
					     wire_of(dom, checkpoint->moment.name)});
}

void serve_domain_checkpoint_get_parent(struct rpc_call *call,
					const struct remote_domain_checkpoint_get_parent_args *args)
{
	struct domain *dom;
	const struct conf_checkpoint *checkpoint = find(call, &args->checkpoint, &dom);
	GError *error = NULL;
	if (!checkpoint || !rpc_call_check_flags(call, args->flags, 0))
		return;
	if (moments_find(dom->checkpoints, checkpoint->moment.parent)) {
		rpc_call_reply(call, &(struct remote_domain_checkpoint_get_parent_ret){
					     wire_of(dom, checkpoint->moment.parent)});
		return;
	}
	virt_error(&error, VIRT_FROM_QEMU, VIRT_NO_CHECKPOINT, "checkpoint '%s' does not have a parent",
		   checkpoint->moment.name);
	rpc_call_fail(call, error);
}

/* --- Its XML, with sizes --------------------------------------------------------------------- */

enum { XML_SECURE = 1, XML_NO_DOMAIN = 2, XML_SIZE = 4 };

static void reply_xml(struct rpc_call *call, const struct conf_checkpoint *checkpoint, uint32_t flags)
{
	g_autofree char *xml = conf_checkpoint_format(checkpoint, !(flags & XML_NO_DOMAIN));
	rpc_call_reply(call, &(struct remote_domain_checkpoint_get_xml_desc_ret){xml});
}

struct sizing {
	struct rpc_call *call;
	struct domain *dom;
	char *name;
	uint32_t flags;
};

static void set_sizes(const struct domain *dom, struct conf_checkpoint *checkpoint, const json_t *blocks)
{
	for (unsigned i = 0; i < checkpoint->disks->len; i++) {
		struct conf_checkpoint_disk *disk = checkpoint->disks->pdata[i];
		const struct conf_domain_disk *its = conf_domain_find_disk(dom->live, disk->name);
		/* As libvirt: one whose bitmap is not whole has no size. */
		disk->size = its && disk->bitmap ? checkpoint_bitmap_size(its, blocks, disk->bitmap,
									  NULL) : -1;
	}
}

static void on_sizes(void *opaque, json_t *result, const GError *error)
{
	struct sizing *sizing = opaque;
	struct domain *dom = sizing->dom;
	GError *failure = error ? g_error_copy(error) : NULL;
	struct conf_moment *moment = failure ? NULL : moments_need(dom->checkpoints, sizing->name, &failure);
	if (moment && !dom->live)
		virt_error(&failure, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID, "domain is not running");
	if (failure) {
		rpc_call_fail(sizing->call, failure);
	} else {
		struct conf_checkpoint *checkpoint = (struct conf_checkpoint *)moment;
		set_sizes(dom, checkpoint, result);
		reply_xml(sizing->call, checkpoint, sizing->flags);
		/* They are true for a moment only, and in no file. */
		set_sizes(dom, checkpoint, NULL);
	}
	domain_unpin(dom);
	g_free(sizing->name);
	g_free(sizing);
}

void serve_domain_checkpoint_get_xml_desc(struct rpc_call *call,
					  const struct remote_domain_checkpoint_get_xml_desc_args *args)
{
	struct domain *dom;
	const struct conf_checkpoint *checkpoint = find(call, &args->checkpoint, &dom);
	if (!checkpoint || !rpc_call_check_flags(call, args->flags, XML_SECURE | XML_NO_DOMAIN | XML_SIZE) ||
	    !rpc_call_may_show(call, args->flags & XML_SECURE))
		return;
	if (!(args->flags & XML_SIZE)) {
		reply_xml(call, checkpoint, args->flags);
		return;
	}
	if (!domain_runs(call, dom))
		return;
	struct sizing *sizing = g_new(struct sizing, 1);
	*sizing = (struct sizing){call, domain_pin(dom), g_strdup(args->checkpoint.name), args->flags};
	vmm_execute(dom, "query-block", NULL, on_sizes, sizing);
}

/* --- Create --------------------------------------------------------------------------------- */

enum { CREATE_REDEFINE = 1, CREATE_QUIESCE = 2, CREATE_VALIDATE_BITMAPS = 4 };

struct making {
	struct conf_checkpoint *checkpoint; /* NULL: the registry has it */
	char *name;
	uint32_t flags;
};

static void making_free(void *opaque)
{
	struct making *making = opaque;
	conf_checkpoint_free(making->checkpoint);
	g_free(making->name);
	g_free(making);
}

static void on_written(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	const struct making *making = job->data;
	struct conf_moment *known = moments_find(job->dom->checkpoints, making->name);
	struct remote_domain_checkpoint_create_xml_ret ret = {wire_of(job->dom, making->name)};
	if (!error) {
		job_reply(job, &ret);
		return;
	}
	/* The next daemon would not know it either. */
	if (known)
		moments_remove(job->dom->checkpoints, known);
	job_fail(job, g_error_copy(error));
}

static struct moment_work *files_only(const struct domain_job *job)
{
	return moment_work_new(job->dom, job->dom->checkpoints, MOMENT_FILES_ONLY, NULL);
}

static bool add_actions(struct domain_job *job, const json_t *blocks, json_t *actions, GError **error)
{
	const struct making *making = job->data;
	return checkpoint_add_actions(job->dom, making->checkpoint, blocks, actions, error);
}

static void on_unmade(void *opaque, const GError *error)
{
	job_fail(opaque, g_error_copy(error));
}

/* A bitmap that no checkpoint knows of would record for ever, and stand in the way of the next try. */
static void on_made_written(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	const struct making *making = job->data;
	if (error)
		checkpoint_unmake(job->dom, making->name, error, on_unmade, job);
	else
		on_written(job, NULL);
}

static void taken(struct domain_job *job, GError *error)
{
	struct making *making = job->data;
	if (error) {
		job_fail(job, error);
		return;
	}
	struct moment_work *work = files_only(job);
	checkpoint_made(job->dom, g_steal_pointer(&making->checkpoint), work);
	moment_work_run(work, on_made_written, job);
}

static const struct moment_taker checkpoint_taker = {add_actions, taken};

static void make(struct domain_job *job)
{
	const struct making *making = job->data;
	GError *error = NULL;
	if (!job->dom->vmm)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			   "cannot create checkpoint for inactive domain");
	if (error || !checkpoint_prepare(job->dom, making->checkpoint, &error))
		job_fail(job, error);
	else
		moment_take(job, &checkpoint_taker, making->flags & CREATE_QUIESCE);
}

/* --- Redefine ------------------------------------------------------------------------------- */

static void redefine(struct domain_job *job)
{
	struct making *making = job->data;
	struct moments *all = job->dom->checkpoints;
	struct moment_work *work = files_only(job);
	/* As libvirt: the first one, and one that goes on from the current one, become it. */
	bool current = !all->current || g_strcmp0(making->checkpoint->moment.parent, all->current) == 0;
	moments_add(all, &g_steal_pointer(&making->checkpoint)->moment);
	if (current)
		moments_set_current(all, making->name);
	moment_work_add_metadata(work, making->name);
	moment_work_run(work, on_written, job);
}

static void on_bitmaps(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	const struct making *making = job->data;
	GError *failure = error ? g_error_copy(error) : NULL;
	for (unsigned i = 0; !failure && job->dom->live && i < making->checkpoint->disks->len; i++) {
		const struct conf_checkpoint_disk *disk = making->checkpoint->disks->pdata[i];
		const struct conf_domain_disk *its = conf_domain_find_disk(job->dom->live, disk->name);
		if (its && disk->bitmap)
			checkpoint_bitmap_size(its, result, disk->bitmap, &failure);
	}
	if (failure)
		job_fail(job, failure);
	else
		redefine(job);
}

static bool check_redefined(const struct domain *dom, struct conf_checkpoint *checkpoint, GError **error)
{
	struct conf_moment *moment = &checkpoint->moment;
	g_autoptr(GError) cause = NULL;
	if (!moments_check_parent(dom->checkpoints, moment, error))
		return false;
	struct conf_domain *then = moment->domain ? conf_domain_parse(moment->domain, false, &cause) : NULL;
	bool ours = !then || memcmp(then->uuid, dom->uuid, sizeof(dom->uuid)) == 0;
	if (ours && !cause)
		conf_checkpoint_align(checkpoint, then ? then : domain_conf(dom), &cause);
	conf_domain_free(then);
	if (!ours)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "definition for checkpoint %s must use uuid %s", moment->name, dom->uuid_text);
	return !cause || virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED, "%s", cause->message);
}

static void run_create(struct domain_job *job)
{
	const struct making *making = job->data;
	GError *error = NULL;
	if (!(making->flags & CREATE_REDEFINE))
		make(job);
	else if (!check_redefined(job->dom, making->checkpoint, &error))
		job_fail(job, error);
	else if (!(making->flags & CREATE_VALIDATE_BITMAPS))
		redefine(job);
	else if (job_needs_running(job))
		vmm_execute(job->dom, "query-block", NULL, on_bitmaps, job);
}

void serve_domain_checkpoint_create_xml(struct rpc_call *call,
					const struct remote_domain_checkpoint_create_xml_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	g_autoptr(GError) cause = NULL;
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags,
					  CREATE_REDEFINE | CREATE_QUIESCE | CREATE_VALIDATE_BITMAPS))
		return;
	struct conf_checkpoint *checkpoint =
		conf_checkpoint_parse(args->xml, args->flags & CREATE_REDEFINE, &cause);
	if (!checkpoint) {
		virt_error(&error, VIRT_FROM_DOMAIN,
			   cause->code == BERTH_ERR_NOT_SUPPORTED ? VIRT_CONFIG_UNSUPPORTED : VIRT_XML_ERROR,
			   "%s", cause->message);
		rpc_call_fail(call, error);
		return;
	}
	struct making *making = g_new0(struct making, 1);
	making->checkpoint = checkpoint;
	making->name = g_strdup(checkpoint->moment.name);
	making->flags = args->flags;
	struct domain_job *job = domain_submit(dom, call, run_create);
	job->data = making;
	job->free_data = making_free;
	domain_run_jobs(dom);
}

/* --- Delete --------------------------------------------------------------------------------- */

enum { DELETE_CHILDREN = 1, DELETE_METADATA_ONLY = 2, DELETE_CHILDREN_ONLY = 4 };

struct deleting {
	char *name;
	uint32_t flags;
};

static void deleting_free(void *opaque)
{
	struct deleting *deleting = opaque;
	g_free(deleting->name);
	g_free(deleting);
}

/* What is to go, parents before their children. */
static GPtrArray *doomed(const struct domain_job *job, struct conf_moment *moment)
{
	const struct deleting *deleting = job->data;
	bool below = deleting->flags & (DELETE_CHILDREN | DELETE_CHILDREN_ONLY);
	GPtrArray *list = below ? moments_select(job->dom->checkpoints, moment->name, MOMENTS_DESCENDANTS)
				: g_ptr_array_new();
	if (!(deleting->flags & DELETE_CHILDREN_ONLY))
		g_ptr_array_insert(list, 0, moment);
	return list;
}

static void on_metadata_gone(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		job_fail(job, g_error_copy(error));
	else
		job_reply(job, NULL);
}

/* The children's documents, whose parent is another one now, are written before those that go are removed. */
static void forget(struct domain_job *job, GPtrArray *list)
{
	struct moments *all = job->dom->checkpoints;
	struct moment_work *work = files_only(job);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) children = list->len == 1
		? moments_select(all, ((struct conf_moment *)list->pdata[0])->name, 0) : g_ptr_array_new();
	for (unsigned i = list->len; i-- > 0;) {
		struct conf_moment *moment = list->pdata[i];
		g_ptr_array_add(names, g_strdup(moment->name));
		moments_remove(all, moment);
	}
	for (unsigned i = 0; i < children->len; i++) {
		const struct conf_moment *child = children->pdata[i];
		if (moments_find(all, child->name) == child)
			moment_work_add_metadata(work, child->name);
	}
	for (unsigned i = 0; i < names->len; i++)
		moment_work_add_metadata(work, names->pdata[i]);
	moment_work_run(work, on_metadata_gone, job);
}

static void on_bitmaps_gone(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	const struct deleting *deleting = job->data;
	GError *failure = NULL;
	struct conf_moment *moment = NULL;
	if (error)
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_INTERNAL,
			   "unable to execute QEMU command 'transaction': %s", error->message);
	else
		moment = moments_need(job->dom->checkpoints, deleting->name, &failure);
	if (failure) {
		job_fail(job, failure);
		return;
	}
	g_autoptr(GPtrArray) list = doomed(job, moment);
	forget(job, list);
}

static void on_disks(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	const struct deleting *deleting = job->data;
	struct conf_moment *moment = moments_find(job->dom->checkpoints, deleting->name);
	if (error || !moment || !job->dom->live) {
		on_bitmaps_gone(job, NULL, error);
		return;
	}
	g_autoptr(GPtrArray) list = doomed(job, moment);
	json_t *actions = json_array();
	for (unsigned i = 0; i < list->len; i++)
		checkpoint_add_removals(job->dom, list->pdata[i], result, actions);
	vmm_execute(job->dom, "transaction", json_pack("{s:o}", "actions", actions), on_bitmaps_gone, job);
}

static void run_delete(struct domain_job *job)
{
	const struct deleting *deleting = job->data;
	bool bitmaps = !(deleting->flags & DELETE_METADATA_ONLY);
	GError *error = NULL;
	if (bitmaps && !job->dom->vmm)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			   "cannot delete checkpoint for inactive domain");
	if (error || !moments_need(job->dom->checkpoints, deleting->name, &error))
		job_fail(job, error);
	else if (bitmaps)
		vmm_execute(job->dom, "query-block", NULL, on_disks, job);
	else
		on_bitmaps_gone(job, NULL, NULL);
}

void serve_domain_checkpoint_delete(struct rpc_call *call,
				    const struct remote_domain_checkpoint_delete_args *args)
{
	struct domain *dom = domain_find(call, &args->checkpoint.dom);
	if (!dom || !rpc_call_check_flags(call, args->flags,
					  DELETE_CHILDREN | DELETE_METADATA_ONLY | DELETE_CHILDREN_ONLY))
		return;
	struct deleting *deleting = g_new(struct deleting, 1);
	*deleting = (struct deleting){g_strdup(args->checkpoint.name), args->flags};
	struct domain_job *job = domain_submit(dom, call, run_delete);
	job->data = deleting;
	job->free_data = deleting_free;
	domain_run_jobs(dom);
}
