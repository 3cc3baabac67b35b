/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A running domain's VMM, for the files of vmm*.c. */
#pragma once

#include "daemon/domain/vmm.h"

#include <sys/resource.h>

/* What a VMM has to answer a command in. */
enum { COMMAND_TIMEOUT_MS = 20000 };

struct vmm {
	struct domain *dom;
	char *run_dir;
	struct vmm_user *user;        /* whom it is started as; NULL: as the daemon */
	pid_t pid;
	int pidfd;
	struct aio_watch *watch;
	struct qmp *qmp;
	struct perf *perf;            /* once the process is there */
	struct aio_timer timer;       /* connecting, or killing */
	int64_t deadline_ns;          /* of connecting */
	struct domain_job *job;       /* that starts it */
	bool start_paused, destroyed, crashed, was_shutdown, failed;
	GError *cause;                /* why we gave it up, if not by its own words */
	pid_t *threads;               /* of the vCPUs, ended by 0 */
	bool *plugged;                /* which of them came while it ran */
	GPtrArray *destroyers;        /* struct rpc_call: answered when it has ended */
};

/* vmm_streams.c: what query-chardev says. */
void vmm_take_streams(struct domain *dom, const json_t *list);

/*
 * vmm_spawn.c: start the process, with vmm->pid and vmm->pidfd for it. It loads its profile, if it has one, before
 * it becomes berth-vmm, so that nobody waits here. What of `fds` is a descriptor goes with it by its own number.
 * Why it does not become berth-vmm, the VMM's log says.
 */
bool vmm_spawn(struct vmm *vmm, GPtrArray *args, const GArray *fds, GError **error);

/* --- Its limits: vmm_limits.c ------------------------------------------------------------------ */

struct vmm_limits {
	unsigned count;
	struct vmm_limit {
		int resource;
		struct rlimit value;
	} list[2];
};

/* By the live document and the daemon's configuration; fails if the daemon may not give so much. */
/* A running VMM is about to get its first device of the host. */
bool vmm_limits_let_lock(const struct domain *dom, GError **error);
bool vmm_limits_choose(const struct vmm *vmm, struct vmm_limits *limits, GError **error);
/* In the child, between fork and exec: system calls only. */
bool vmm_limits_apply(const struct vmm_limits *limits);

/* --- Its user: vmm_user.c --------------------------------------------------------------------- */

/* Whom is it to run as? */
bool vmm_user_choose(struct vmm *vmm, GError **error);
/* Are its images to be its user's? */
bool vmm_user_owns_images(const struct vmm *vmm);
/* The run folder and the one of sockets. */
bool vmm_user_make_folders(const struct vmm *vmm, GError **error);
/* In the child, between fork and exec: system calls only. NULL: it stays what it is. */
void vmm_user_become(const struct vmm_user *user);
