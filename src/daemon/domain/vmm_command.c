/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands to a domain's VMM, for all who have some. */
#include "daemon/domain/vmm_int.h"

static void on_command(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	GError *failure = NULL;
	if (!error) {
		job_reply(job, NULL);
		return;
	}
	virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "domain '%s': %s", job->dom->name,
		   error->message);
	job_fail(job, failure);
}

static void query(struct domain *dom, const char *command, json_t *args, int fd, unsigned timeout_ms,
		  qmp_done_fn *done, void *opaque)
{
	if (dom->vmm && dom->vmm->qmp) {
		qmp_execute_fd(dom->vmm->qmp, command, args, fd, timeout_ms, done, opaque);
		return;
	}
	g_autoptr(GError) error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
		   dom->vmm ? "domain '%s': its VMM's control socket is closed: try again"
			    : "domain '%s' has ended", dom->name);
	json_decref(args);
	done(opaque, NULL, error);
}

void vmm_query(struct domain *dom, const char *command, json_t *args, unsigned timeout_ms,
	       qmp_done_fn *done, void *opaque)
{
	query(dom, command, args, -1, timeout_ms, done, opaque);
}

void vmm_execute(struct domain *dom, const char *command, json_t *args, qmp_done_fn *done, void *opaque)
{
	query(dom, command, args, -1, COMMAND_TIMEOUT_MS, done, opaque);
}

void vmm_execute_fd(struct domain *dom, const char *command, json_t *args, int fd, qmp_done_fn *done,
		    void *opaque)
{
	query(dom, command, args, fd, COMMAND_TIMEOUT_MS, done, opaque);
}

void vmm_command(struct domain_job *job, const char *command)
{
	vmm_command_with(job, command, NULL);
}

void vmm_command_with(struct domain_job *job, const char *command, json_t *args)
{
	vmm_execute(job->dom, command, args, on_command, job);
}
