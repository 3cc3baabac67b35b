/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain does by itself when something happens: at its end, and when a disk's image grows. */
#include "daemon/domain/change.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/vmm.h"

#include "daemon/rpc/serve.h"

#include <string.h>

/* --- The ends ------------------------------------------------------------------------------- */

struct life_action {
	const char *element, *text;
};

static bool edit_action(xmlNode *root, void *opaque, GError **error)
{
	const struct life_action *action = opaque;
	xmlNode *node = xml_child(root, action->element);
	if (node) {
		xmlNodeSetContent(node, (const xmlChar *)action->text);
		return true;
	}
	node = xmlNewDocNode(root->doc, NULL, (const xmlChar *)action->element, NULL);
	xmlNodeSetContent(node, (const xmlChar *)action->text);
	xmlAddPrevSibling(xml_child(root, "devices"), node);
	return true;
}

static json_t *actions_of(const struct conf_domain *conf)
{
	return json_pack("{s:s, s:s}", "reboot", conf->on_reboot == CONF_DOMAIN_RESTART ? "reset" : "shutdown",
			 "panic", conf->on_crash == CONF_DOMAIN_PRESERVE ? "pause" : "shutdown");
}

static bool plan_action(struct domain_change *change, const struct conf_domain *old,
			const struct conf_domain *next, GError **error)
{
	change_add_step(change, "set-action", actions_of(next), "set-action", actions_of(old));
	return true;
}

void serve_domain_set_lifecycle_action(struct rpc_call *call,
				       const struct remote_domain_set_lifecycle_action_args *args)
{
	static const char *const elements[] = {"on_poweroff", "on_reboot", "on_crash"};
	static const char *const actions[] = {"destroy", "restart", "rename-restart", "preserve",
					      "coredump-destroy", "coredump-restart"};
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	if (args->type >= G_N_ELEMENTS(elements) || args->action >= G_N_ELEMENTS(actions)) {
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "there is no such event or action");
		rpc_call_fail(call, error);
		return;
	}
	struct life_action *action = g_new(struct life_action, 1);
	*action = (struct life_action){elements[args->type], actions[args->action]};
	struct domain_change *change = change_new(args->flags, edit_action, action, g_free);
	change->plan = plan_action;
	change_submit(dom, call, change);
}

/* --- Images that grow ------------------------------------------------------------------------- */

struct threshold {
	char *alias;
	uint64_t bytes;
};

static void threshold_free(void *opaque)
{
	struct threshold *threshold = opaque;
	g_free(threshold->alias);
	g_free(threshold);
}

static void on_set(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		job_fail(job, g_error_copy(error));
	else
		job_reply(job, NULL);
}

static void on_disk(void *opaque, const struct disk_now *now, const GError *error)
{
	struct domain_job *job = opaque;
	const struct threshold *threshold = job->data;
	if (error)
		job_fail(job, g_error_copy(error));
	else
		vmm_execute(job->dom, "block-set-write-threshold",
			    json_pack("{s:s, s:I}", "node-name", now->node, "write-threshold",
				      (json_int_t)threshold->bytes), on_set, job);
}

static void run_threshold(struct domain_job *job)
{
	const struct threshold *threshold = job->data;
	if (job_needs_running(job))
		disk_now_query(job->dom, threshold->alias, on_disk, job);
}

void serve_domain_set_block_threshold(struct rpc_call *call,
				      const struct remote_domain_set_block_threshold_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0) || !domain_runs(call, dom))
		return;
	const struct conf_domain_disk *disk = conf_domain_find_disk(dom->live, args->dev);
	if (!disk || disk->cdrom)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "failed to find disk '%s'",
			   args->dev);
	else if (args->threshold > G_MAXINT64)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "threshold must be less than 2^63");
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct threshold *threshold = g_new(struct threshold, 1);
	*threshold = (struct threshold){g_strdup(disk->dev.alias), args->threshold};
	struct domain_job *job = domain_submit(dom, call, run_threshold);
	job->data = threshold;
	job->free_data = threshold_free;
	domain_run_jobs(dom);
}

struct passed {
	struct domain *dom;
	char *node;
	uint64_t threshold, excess;
};

/* The VMM names the image; clients know the disk. */
static void on_blocks(void *opaque, json_t *result, const GError *error)
{
	struct passed *passed = opaque;
	struct domain *dom = passed->dom;
	for (unsigned i = 0; !error && dom->live && i < dom->live->disks->len; i++) {
		const struct conf_domain_disk *disk = dom->live->disks->pdata[i];
		struct disk_now now;
		if (disk_now_find(result, disk->dev.alias, &now) && strcmp(now.node, passed->node) == 0)
			notify_threshold(dom, disk->target, disk->file, passed->threshold, passed->excess);
	}
	domain_unpin(dom);
	g_free(passed->node);
	g_free(passed);
}

void notify_threshold_passed(struct domain *dom, const char *node, uint64_t threshold, uint64_t excess)
{
	struct passed *passed = g_new(struct passed, 1);
	*passed = (struct passed){domain_pin(dom), g_strdup(node), threshold, excess};
	vmm_execute(dom, "query-block", NULL, on_blocks, passed);
}
