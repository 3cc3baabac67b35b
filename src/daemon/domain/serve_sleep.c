/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that sleep: asked by their agent, woken by the VMM. */
#include "daemon/domain/agent_call.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

/* Targets of libvirt, and what the agent calls them. */
enum { SUSPEND_MEMORY, SUSPEND_DISK, SUSPEND_HYBRID, SUSPEND_TARGETS };
static const char *const suspend_commands[SUSPEND_TARGETS] = {
	"guest-suspend-ram", "guest-suspend-disk", "guest-suspend-hybrid",
};

static void run_suspend(struct domain_job *job)
{
	if (job_needs_running(job))
		agent_suspend_guest(job, job->data);
}

static bool check_target(const struct domain *dom, uint32_t target, uint64_t duration, GError **error)
{
	const struct conf_domain *conf = dom->live;
	bool memory = target != SUSPEND_DISK, disk = target != SUSPEND_MEMORY;
	if (duration)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_ARGUMENT_UNSUPPORTED,
				  "Duration not supported. Use 0 for now");
	if (target >= SUSPEND_TARGETS)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "Unknown suspend target: %u",
				  target);
	if (memory && conf->no_sleep)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "S3 state is disabled for this domain");
	if (disk && conf->no_sleep_on_disk)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "S4 state is disabled for this domain");
	if (!conf->acpi || conf_domain_is_microvm(conf))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "Domain does not have suspend support");
	return agent_check(dom, error);
}

void serve_domain_pm_suspend_for_duration(struct rpc_call *call,
					  const struct remote_domain_pm_suspend_for_duration_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0) || !domain_runs(call, dom))
		return;
	if (!check_target(dom, args->target, args->duration, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	domain_submit(dom, call, run_suspend)->data = (void *)suspend_commands[args->target];
	domain_run_jobs(dom);
}

static void run_wakeup(struct domain_job *job)
{
	if (job_needs_running(job))
		vmm_command(job, "system_wakeup");
}

void serve_domain_pm_wakeup(struct rpc_call *call, const struct remote_domain_pm_wakeup_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, 0) || !domain_runs(call, dom))
		return;
	domain_submit(dom, call, run_wakeup);
	domain_run_jobs(dom);
}
