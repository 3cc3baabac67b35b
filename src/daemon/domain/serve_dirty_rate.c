/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How quickly a guest writes to its memory: begun here, told by the statistics. */
#include "daemon/domain/vmm.h"

#include "daemon/rpc/serve.h"

/* virDomainDirtyRateCalcFlags; the VMM has no dirty ring. */
enum { PAGE_SAMPLING, DIRTY_BITMAP = 1, DIRTY_RING = 2, SECONDS_MIN = 1, SECONDS_MAX = 60 };

struct dirty_rate_request {
	int seconds;
	uint32_t flags;
};

static void run_measure(struct domain_job *job)
{
	const struct dirty_rate_request *request = job->data;
	if (job_needs_running(job))
		vmm_command_with(job, "calc-dirty-rate",
				 json_pack("{s:i, s:s}", "calc-time", request->seconds, "mode",
					   request->flags & DIRTY_BITMAP ? "dirty-bitmap" : "page-sampling"));
}

void serve_domain_start_dirty_rate_calc(struct rpc_call *call,
					const struct remote_domain_start_dirty_rate_calc_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, DIRTY_BITMAP | DIRTY_RING))
		return;
	if (args->flags == (DIRTY_BITMAP | DIRTY_RING))
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_INVALID_ARG,
			   "modes of a dirty rate exclude each other: dirty-bitmap and dirty-ring are both asked for");
	else if (args->seconds < SECONDS_MIN || args->seconds > SECONDS_MAX)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "seconds=%d is invalid, please choose value within [%d, %d].", args->seconds,
			   SECONDS_MIN, SECONDS_MAX);
	else if (args->flags & DIRTY_RING)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			   "dirty-ring calculation mode requires dirty-ring feature enabled.");
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	if (!domain_runs(call, dom))
		return;
	struct domain_job *job = domain_submit(dom, call, run_measure);
	struct dirty_rate_request *request = g_new(struct dirty_rate_request, 1);
	*request = (struct dirty_rate_request){args->seconds, args->flags};
	job->data = request;
	job->free_data = g_free;
	domain_run_jobs(dom);
}
