/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands to a domain's VMM, for all who have some. */
#include "base/fd.h"
#include "daemon/domain/confine.h"
#include "daemon/domain/vmm_int.h"

#include <fcntl.h>

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
	if (done)
		done(opaque, NULL, error);
}

/* --- Those that wait for the profile -------------------------------------------------------------- */

struct held {
	struct domain *dom;
	char *command;
	json_t *args;
	int fd;
	qmp_done_fn *done;
	void *opaque;
};

static void on_ready(void *opaque, const GError *error)
{
	struct held *held = opaque;
	if (error) {
		json_decref(held->args);
		if (held->done)
			held->done(held->opaque, NULL, error);
	} else {
		query(held->dom, held->command, held->args, held->fd, COMMAND_TIMEOUT_MS, held->done, held->opaque);
	}
	fd_clear(&held->fd);
	g_free(held->command);
	g_free(held);
}

/* What it does may need files that the VMM may not open yet. */
static void execute(struct domain *dom, const char *command, json_t *args, int fd, qmp_done_fn *done,
		    void *opaque)
{
	if (!dom->confining) {
		query(dom, command, args, fd, COMMAND_TIMEOUT_MS, done, opaque);
		return;
	}
	struct held *held = g_new(struct held, 1);
	*held = (struct held){dom, g_strdup(command), args, fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0), done,
			      opaque};
	confine_await(dom, on_ready, held);
}

void vmm_query(struct domain *dom, const char *command, json_t *args, unsigned timeout_ms,
	       qmp_done_fn *done, void *opaque)
{
	query(dom, command, args, -1, timeout_ms, done, opaque);
}

void vmm_execute(struct domain *dom, const char *command, json_t *args, qmp_done_fn *done, void *opaque)
{
	execute(dom, command, args, -1, done, opaque);
}

void vmm_execute_fd(struct domain *dom, const char *command, json_t *args, int fd, qmp_done_fn *done,
		    void *opaque)
{
	execute(dom, command, args, fd, done, opaque);
}

void vmm_command(struct domain_job *job, const char *command)
{
	vmm_command_with(job, command, NULL);
}

void vmm_command_with(struct domain_job *job, const char *command, json_t *args)
{
	vmm_execute(job->dom, command, args, on_command, job);
}
