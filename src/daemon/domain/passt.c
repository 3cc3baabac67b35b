/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * passt(1) is given its end of a socket pair, so that there is no path on which somebody else could be
 * first, and none to clean up. It goes to the background when it is ready, drops its rights, and outlives
 * this daemon as the VMM does.
 */
#include "daemon/domain/passt.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define READY_NS (INT64_C(10) * 1000000000)
#define PASST_FD 3

/* What it has said, in one line, without its complaints about a syslog that is not there. */
static char *words_of(int output)
{
	char buffer[2048];
	ssize_t n = pread(output, buffer, sizeof(buffer) - 1, 0);
	buffer[n > 0 ? n : 0] = '\0';
	g_autoptr(GPtrArray) kept = g_ptr_array_new();
	g_auto(GStrv) lines = g_strsplit(buffer, "\n", -1);
	for (unsigned i = 0; lines[i]; i++) {
		if (*g_strstrip(lines[i]) && !g_str_has_prefix(lines[i], "Failed to send"))
			g_ptr_array_add(kept, lines[i]);
	}
	if (!kept->len)
		g_ptr_array_add(kept, (void *)"it does not say why");
	g_ptr_array_add(kept, NULL);
	return g_strjoinv("; ", (char **)kept->pdata);
}

static bool spawn(GPtrArray *args, int fd, int output, GPid *pid, GError **error)
{
	const int target = PASST_FD;
	g_autoptr(GError) reason = NULL;
	if (g_spawn_async_with_pipes_and_fds(NULL, (const char *const *)args->pdata, NULL,
					     G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH, NULL, NULL, -1,
					     output, output, &fd, &target, 1, pid, NULL, NULL, NULL, &reason))
		return true;
	return error_set(error, BERTH_ERR_NOT_FOUND, "cannot start passt (is it installed?): %s",
			 reason->message);
}

/* --- Until they are ready --------------------------------------------------------------------- */

struct launch {
	struct domain *dom;
	GPid pid;
	int pidfd, output;
	struct aio_watch *watch;
	struct aio_timer timer;
};

struct passts {
	GPtrArray *list; /* struct launch: those that are not ready */
	GError *error;   /* why the first one that failed did */
	passt_done_fn *done; /* or NULL: nobody waits */
	void *opaque;
};

static void launch_free(void *opaque)
{
	struct launch *launch = opaque;
	aio_timer_cancel(&launch->timer);
	aio_watch_remove(launch->watch);
	fd_clear(&launch->pidfd);
	fd_clear(&launch->output);
	g_free(launch);
}

void passt_forget(struct domain *dom)
{
	if (!dom->passts)
		return;
	g_ptr_array_unref(dom->passts->list);
	g_clear_error(&dom->passts->error);
	g_clear_pointer(&dom->passts, g_free);
}

/* Tell who waits. */
static void settle(struct domain *dom)
{
	struct passts *passts = dom->passts;
	if (!passts || !passts->done || (passts->list->len && !passts->error))
		return;
	passt_done_fn *done = passts->done;
	void *opaque = passts->opaque;
	g_autoptr(GError) error = g_steal_pointer(&passts->error);
	passts->done = NULL;
	if (!passts->list->len)
		passt_forget(dom);
	done(opaque, error);
}

static int reap(const struct launch *launch)
{
	int status = 0;
	while (waitpid(launch->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void end(struct launch *launch, const char *failure)
{
	struct domain *dom = launch->dom;
	g_autofree char *words = failure ? words_of(launch->output) : NULL;
	if (failure && !dom->passts->error)
		virt_error(&dom->passts->error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
			   "passt %s: %s", failure, words);
	g_ptr_array_remove(dom->passts->list, launch);
	settle(dom);
}

/* The process that was started ends when the one that it leaves behind is ready. */
static void on_ended(void *opaque, int fd, uint32_t events)
{
	int status = reap(opaque);
	end(opaque, WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : "did not start");
}

static void on_late(void *opaque)
{
	struct launch *launch = opaque;
	kill(launch->pid, SIGKILL);
	reap(launch);
	end(launch, "was not ready in time");
}

static bool watch(struct domain *dom, GPid pid, int output, GError **error)
{
	struct aio_loop *loop = dom->all->daemon->loop;
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		error_set_errno(error, errno, "cannot watch passt");
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return false;
	}
	if (!dom->passts) {
		dom->passts = g_new0(struct passts, 1);
		dom->passts->list = g_ptr_array_new_with_free_func(launch_free);
	}
	struct launch *launch = g_new0(struct launch, 1);
	*launch = (struct launch){.dom = dom, .pid = pid, .pidfd = pidfd, .output = output};
	launch->watch = aio_watch_add(loop, pidfd, POLLIN, on_ended, launch);
	aio_timer_init(&launch->timer, loop, on_late, launch);
	aio_timer_arm(&launch->timer, aio_now_ns() + READY_NS);
	g_ptr_array_add(dom->passts->list, launch);
	return true;
}

void passt_await(struct domain *dom, passt_done_fn *done, void *opaque)
{
	if (!dom->passts) {
		done(opaque, NULL);
		return;
	}
	dom->passts->done = done;
	dom->passts->opaque = opaque;
	settle(dom);
}

void passt_give_up(struct domain *dom)
{
	struct passts *passts = dom->passts;
	if (!passts)
		return;
	for (unsigned i = 0; i < passts->list->len; i++) {
		const struct launch *launch = passts->list->pdata[i];
		kill(launch->pid, SIGKILL);
		reap(launch);
	}
	g_ptr_array_set_size(passts->list, 0);
	if (!passts->error)
		virt_error(&passts->error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "the domain has ended");
	if (passts->done)
		settle(dom);
	else
		passt_forget(dom);
}

/* --- Start ---------------------------------------------------------------------------------- */

int passt_start(struct domain *dom, const struct conf_domain_nic *nic, GError **error)
{
	int ends[2];
	GPid pid;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		error_set_errno(error, errno, "cannot make a socket for passt");
		return -1;
	}
	auto_fd ours = ends[0], its = ends[1], output = memfd_create("passt", MFD_CLOEXEC);
	g_autoptr(GPtrArray) args = g_ptr_array_new();
	const char *const fixed[] = {"passt", "--one-off", "--fd", G_STRINGIFY(PASST_FD)};
	for (unsigned i = 0; i < G_N_ELEMENTS(fixed); i++)
		g_ptr_array_add(args, (void *)fixed[i]);
	for (unsigned i = 0; i < nic->passt->len; i++)
		g_ptr_array_add(args, nic->passt->pdata[i]);
	g_ptr_array_add(args, NULL);
	if (!spawn(args, its, output, &pid, error) || !watch(dom, pid, output, error))
		return -1;
	fd_steal(&output);
	return fd_steal(&ours);
}
