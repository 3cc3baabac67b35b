/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/change.h"

#include "base/log.h"
#include "daemon/domain/agent.h"
#include "daemon/domain/disk_source.h"
#include "daemon/domain/images.h"
#include "daemon/domain/interface.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/passt.h"
#include "daemon/domain/vmm.h"

#include <string.h>

/* As long as libvirt waits for a guest to give a device back before the call returns. */
#define AWAIT_NS (INT64_C(5) * 1000000000)

/* --- Life ----------------------------------------------------------------------------------- */

struct domain_change *change_new(uint32_t flags, conf_domain_edit_fn *edit, void *opaque,
				 GDestroyNotify free_opaque)
{
	struct domain_change *change = g_new0(struct domain_change, 1);
	change->flags = flags;
	change->edit = edit;
	change->opaque = opaque;
	change->free_opaque = free_opaque;
	change->steps = steps_new();
	change->cleanup = steps_new_lenient();
	change->await = g_ptr_array_new_with_free_func(g_free);
	return change;
}

void change_free(void *opaque)
{
	struct domain_change *change = opaque;
	if (change->free_opaque)
		change->free_opaque(change->opaque);
	steps_free(change->steps);
	steps_free(change->cleanup);
	conf_domain_free(change->next);
	g_clear_error(&change->error);
	g_ptr_array_unref(change->await);
	g_free(change);
}

void change_add_step(struct domain_change *change, const char *command, json_t *args,
		     const char *undo, json_t *undo_args)
{
	steps_add(change->steps, command, args, undo, undo_args);
}

void change_add_fd_step(struct domain_change *change, const char *name, int fd)
{
	steps_add_fd(change->steps, name, fd);
}

void change_add_cleanup(struct domain_change *change, const char *command, json_t *args)
{
	steps_add(change->cleanup, command, args, NULL, NULL);
}

/* --- The documents --------------------------------------------------------------------------- */

bool change_resolve(const struct domain *dom, uint32_t flags, bool *live, bool *config, GError **error)
{
	bool current = !(flags & (CHANGE_LIVE | CHANGE_CONFIG));
	*live = flags & CHANGE_LIVE || (current && dom->vmm);
	*config = flags & CHANGE_CONFIG || (current && !dom->vmm);
	if (*live && !dom->vmm)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
				  "domain is not running");
	if (*config && !dom->definition)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID,
				  "transient domains do not have any persistent config");
	return true;
}

const struct conf_domain *change_choose(struct rpc_call *call, const struct remote_domain *wire,
					uint32_t flags)
{
	enum { STRING_OKAY = 4 };
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	bool live, config;
	if (!dom || !rpc_call_check_flags(call, flags, CHANGE_LIVE | CHANGE_CONFIG | STRING_OKAY))
		return NULL;
	if (change_resolve(dom, flags & ~STRING_OKAY, &live, &config, &error))
		return live ? dom->live : dom->definition;
	rpc_call_fail(call, error);
	return NULL;
}

/* A document is read without the terminals of a run, which may be over; this one goes on. */
static void keep_terminals(const struct conf_domain *now, const struct conf_domain *next)
{
	for (unsigned i = 0; i < next->chars->len; i++) {
		struct conf_domain_char *chr = next->chars->pdata[i];
		for (unsigned n = 0; n < now->chars->len; n++) {
			const struct conf_domain_char *old = now->chars->pdata[n];
			if (strcmp(chr->type, "pty") == 0 && strcmp(old->type, "pty") == 0 &&
			    g_strcmp0(chr->dev.alias, old->dev.alias) == 0 && !chr->path)
				chr->path = g_strdup(old->path);
		}
	}
}

struct conf_domain *change_edit(const struct domain *dom, bool live, conf_domain_edit_fn *edit, void *opaque,
				GError **error)
{
	const struct conf_domain *conf = live ? dom->live : dom->definition;
	g_autoptr(GError) cause = NULL;
	g_autofree char *text = conf_domain_edit(conf, edit, opaque, &cause);
	struct conf_domain *next = text ? conf_domain_parse(text, live, &cause) : NULL;
	if (next && live)
		keep_terminals(conf, next);
	if (next && (!live || disk_sources_resolve(dom->all->daemon, next, conf, &cause)))
		return next;
	conf_domain_free(next);
	if (cause->domain == VIRT_ERROR)
		g_propagate_error(error, g_steal_pointer(&cause));
	else
		virt_error(error, VIRT_FROM_DOMAIN,
			   cause->code == BERTH_ERR_NOT_SUPPORTED ? VIRT_CONFIG_UNSUPPORTED : VIRT_XML_ERROR,
			   "%s", cause->message);
	return NULL;
}

void change_live(struct domain *dom, struct conf_domain *next)
{
	conf_domain_free(dom->live);
	dom->live = next;
	agent_update(dom);
	vmm_save_live(dom);
	/* A guest may have grown or shrunk while the change was on its way. */
	memory_recall(dom);
}

static bool prepare(struct domain_job *job, struct domain_change *change, GError **error)
{
	struct domain *dom = change->dom = job->dom;
	if (!change_resolve(dom, change->flags, &change->live, &change->config, error))
		return false;
	if (change->config && !(job->conf = change_edit(dom, false, change->edit, change->opaque, error)))
		return false;
	if (!change->live)
		return true;
	change->next = change_edit(dom, true, change->edit, change->opaque, error);
	change->planned = change->next && (!change->plan || change->plan(change, dom->live, change->next, error));
	return change->planned && images_give(dom, change->next, error);
}

/* --- Steps ---------------------------------------------------------------------------------- */

static void apply_config(struct domain_job *job);

static void finish(struct domain_job *job)
{
	struct domain_change *change = job->data;
	interface_release(job->dom);
	images_release(job->dom);
	if (change->error) {
		passt_give_up(job->dom);
		job_fail(job, g_steal_pointer(&change->error));
		return;
	}
	if (change->applied)
		change->applied(job->dom, change);
	job_reply(job, change->ret);
}

static void on_taken_back(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		log_warning("domain '%s': a change cannot be taken back: %s", job->dom->name, error->message);
	finish(job);
}

/* With its error. A plan for a card has begun to make it so: the card is again as the live document has it. */
static void fail(struct domain_job *job)
{
	struct domain_change *change = job->data;
	if (change->planned && job->dom->live && interface_take_back(job->dom, change->next))
		interface_await(job->dom, on_taken_back, job);
	else
		finish(job);
}

static void on_cleaned(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct domain_change *change = job->data;
	if (job->dom->vmm && change->next)
		change_live(job->dom, g_steal_pointer(&change->next));
	apply_config(job);
}

static void clean_up(struct domain_job *job)
{
	struct domain_change *change = job->data;
	steps_run(change->cleanup, job->dom, on_cleaned, job);
}

/* The guest keeps the device for now: the call returns, and the event does the rest. */
static void on_await_over(void *opaque)
{
	struct domain_job *job = opaque;
	struct domain_change *change = job->data;
	change->waiting = false;
	g_clear_pointer(&change->next, conf_domain_free);
	change->applied = NULL;
	if (change->overdue)
		change->overdue(job->dom, &change->error);
	if (change->error)
		finish(job);
	else
		apply_config(job);
}

static void on_steps(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct domain_change *change = job->data;
	if (error) {
		change->error = g_error_copy(error);
		fail(job);
		return;
	}
	if (!change->await->len || !change->live) {
		clean_up(job);
		return;
	}
	change->waiting = true;
	job->timer.fn = on_await_over;
	aio_timer_arm(&job->timer, aio_now_ns() + AWAIT_NS);
}

/* The change that runs, if it waits for the device; *at is where in its list. */
static struct domain_change *find_waiting(struct domain *dom, const char *alias, guint *at)
{
	struct domain_job *job = g_queue_peek_head(&dom->jobs);
	struct domain_change *change = job && job->is_change ? job->data : NULL;
	bool waits = change && job->started &&
		     g_ptr_array_find_with_equal_func(change->await, alias, g_str_equal, at);
	return waits ? change : NULL;
}

bool change_device_gone(struct domain *dom, const char *alias)
{
	struct domain_job *job = g_queue_peek_head(&dom->jobs);
	guint at;
	struct domain_change *change = find_waiting(dom, alias, &at);
	if (!change)
		return false;
	g_ptr_array_remove_index(change->await, at);
	if (change->waiting && !change->await->len) {
		change->waiting = false;
		aio_timer_cancel(&job->timer);
		clean_up(job);
	}
	return true;
}

void change_device_refused(struct domain *dom, const char *alias)
{
	struct domain_job *job = g_queue_peek_head(&dom->jobs);
	guint at;
	struct domain_change *change = find_waiting(dom, alias, &at);
	if (!change || !change->waiting)
		return;
	aio_timer_cancel(&job->timer);
	virt_error(&change->error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
		   "device '%s': unplug was rejected by the guest", alias);
	on_await_over(job);
}

/* --- The definition -------------------------------------------------------------------------- */

static void on_stored(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct domain_change *change = job->data;
	if (error) {
		change->error = g_error_copy(error);
	} else {
		conf_domain_free(job->dom->definition);
		job->dom->definition = g_steal_pointer(&job->conf);
		conf_domain_compact(job->dom->definition);
	}
	finish(job);
}

static void apply_config(struct domain_job *job)
{
	struct domain *dom = job->dom;
	if (!job->conf) {
		finish(job);
		return;
	}
	g_autofree char *path = store_path(dom->all->daemon, "domains", dom->uuid_text, ".xml");
	g_autofree char *xml = conf_domain_format(job->conf, -1);
	store_write(dom->all->daemon, path, xml, on_stored, job);
}

static void on_networks(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct domain_change *change = job->data;
	if (error) {
		change->error = g_error_copy(error);
		fail(job);
		return;
	}
	steps_run(change->steps, job->dom, on_steps, job);
}

static void run_change(struct domain_job *job)
{
	struct domain_change *change = job->data;
	if (prepare(job, change, &change->error))
		interface_await(job->dom, on_networks, job);
	else
		fail(job);
}

void change_submit(struct domain *dom, struct rpc_call *call, struct domain_change *change)
{
	struct domain_job *job = domain_submit(dom, call, run_change);
	job->data = change;
	job->free_data = change_free;
	job->is_change = true;
	domain_run_jobs(dom);
}
