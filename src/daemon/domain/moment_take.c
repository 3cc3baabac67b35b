/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All disks of a running domain at one moment: a transaction of the VMM's, between freezing and thawing. */
#include "daemon/domain/agent.h"
#include "daemon/domain/moment.h"
#include "daemon/domain/vmm.h"

#include "base/log.h"

struct taking {
	struct domain_job *job;
	const struct moment_taker *taker;
	bool quiesce;
	GError *error; /* while the guest is thawed */
};

static void finish(struct taking *taking)
{
	taking->taker->taken(taking->job, taking->error);
	g_free(taking);
}

static void on_thawed(void *opaque, json_t *result, const GError *error)
{
	struct taking *taking = opaque;
	if (error)
		log_warning("domain '%s': its file systems are still frozen: %s", taking->job->dom->name,
			    error->message);
	finish(taking);
}

static void thaw(struct taking *taking)
{
	if (taking->quiesce)
		agent_execute(taking->job->dom, &(struct agent_command){.name = "guest-fsfreeze-thaw",
									.done = on_thawed, .opaque = taking});
	else
		finish(taking);
}

static void on_taken(void *opaque, json_t *result, const GError *error)
{
	struct taking *taking = opaque;
	if (error)
		virt_error(&taking->error, VIRT_FROM_QEMU, VIRT_INTERNAL,
			   "unable to execute QEMU command 'transaction': %s", error->message);
	thaw(taking);
}

static void on_blocks(void *opaque, json_t *result, const GError *error)
{
	struct taking *taking = opaque;
	struct domain_job *job = taking->job;
	json_t *actions = json_array();
	if (error)
		taking->error = g_error_copy(error);
	else if (!job->dom->live)
		virt_error(&taking->error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "the domain has ended");
	if (!taking->error && taking->taker->add_actions(job, result, actions, &taking->error))
		vmm_execute(job->dom, "transaction", json_pack("{s:O}", "actions", actions), on_taken, taking);
	else
		thaw(taking);
	json_decref(actions);
}

static void on_frozen(void *opaque, json_t *result, const GError *error)
{
	struct taking *taking = opaque;
	if (!error) {
		vmm_execute(taking->job->dom, "query-block", NULL, on_blocks, taking);
		return;
	}
	job_fail(taking->job, g_error_copy(error));
	g_free(taking);
}

void moment_take(struct domain_job *job, const struct moment_taker *taker, bool quiesce)
{
	struct taking *taking = g_new0(struct taking, 1);
	*taking = (struct taking){.job = job, .taker = taker, .quiesce = quiesce};
	if (quiesce)
		agent_execute(job->dom, &(struct agent_command){.name = "guest-fsfreeze-freeze",
								.done = on_frozen, .opaque = taking});
	else
		on_frozen(taking, NULL, NULL);
}
