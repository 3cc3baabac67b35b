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

#define READY_MS 10000
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

/* The process that was started ends when the one that it leaves behind is ready. */
static bool await_ready(GPid pid, int output, GError **error)
{
	auto_fd pidfd = syscall(SYS_pidfd_open, pid, 0);
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	int status = 0;
	bool late = pidfd >= 0 && poll(&ended, 1, READY_MS) == 0;
	if (late)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!late && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	g_autofree char *words = words_of(output);
	return error_set(error, BERTH_ERR_IO, "passt %s: %s",
			 late ? "was not ready in time" : "did not start", words);
}

int passt_start(const struct conf_domain_nic *nic, GError **error)
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
	if (!spawn(args, its, output, &pid, error) || !await_ready(pid, output, error))
		return -1;
	return fd_steal(&ours);
}
