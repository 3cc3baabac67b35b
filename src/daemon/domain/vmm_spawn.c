/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a fork of the daemon to berth-vmm. Between them the child writes down that it is there and, if AppArmor
 * is to confine it, has apparmor_parser load its profile; the daemon sees the VMM's socket then, or the child's
 * end. A daemon that dies meanwhile takes the child along, which no later one would know for a VMM.
 *
 * The daemon has other threads, so that the child may do system calls only: signal-safety(7).
 */
#include "daemon/domain/vmm_int.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/domain/confine.h"
#include "daemon/domain/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
	int pid_fd, log_fd, null_fd;
	pid_t daemon;
	const struct vmm_user *user;
	struct vmm_limits limits;
	char **args;         /* NULL-terminated */
	const int *kept;     /* descriptors, in rising order */
	size_t kept_count;
	char *load[5];       /* the command that loads its profile; [0] NULL: it has none to load */
	char *profile;       /* that confines it; or NULL */
};

/* --- In the child ------------------------------------------------------------------------------- */

G_NORETURN static void give_up(const char *words)
{
	/* If even that fails, the daemon sees that there is no VMM. */
	(void)!write(STDERR_FILENO, words, strlen(words));
	_exit(127);
}

static void write_pid(int fd)
{
	char text[16];
	unsigned at = sizeof(text);
	text[--at] = '\n';
	for (unsigned pid = getpid(); pid; pid /= 10)
		text[--at] = '0' + pid % 10;
	if (write(fd, text + at, sizeof(text) - at) < 0)
		give_up("the VMM's process id cannot be written down\n");
}

/* Handlers of the daemon are no business of the child; what it ignores, the VMM does not. */
static void reset_signals(void)
{
	const struct sigaction usual = {.sa_handler = SIG_DFL};
	sigset_t none;
	for (int number = 1; number < NSIG; number++)
		sigaction(number, &usual, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* All but its own: clients would not see the daemon's end of a connection close. */
static void close_others(const struct child *child)
{
	unsigned first = STDERR_FILENO + 1;
	for (size_t i = 0; i < child->kept_count; i++) {
		unsigned fd = child->kept[i];
		if (fd > first)
			close_range(first, fd - 1, 0);
		first = MAX(first, fd + 1);
	}
	close_range(first, ~0U, 0);
}

/* With no descriptor but the log. */
static void load_profile(const struct child *child)
{
	int status;
	if (!child->load[0])
		return;
	pid_t pid = fork();
	if (pid == 0) {
		close_range(STDERR_FILENO + 1, ~0U, 0);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
			execv(child->load[0], child->load);
		give_up("apparmor_parser cannot be started\n");
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		give_up("apparmor_parser does not load the VMM's profile\n");
}

/* From the next exec on: Linux, apparmor(7). Older kernels have the second file only. */
static void choose_profile(const char *name)
{
	static const char *const files[] = {"/proc/self/attr/apparmor/exec", "/proc/self/attr/exec"};
	char text[300] = "exec ";
	if (!name)
		return;
	size_t length = strlen(text), more = strlen(name);
	if (length + more >= sizeof(text))
		give_up("the name of the AppArmor profile is too long\n");
	memcpy(text + length, name, more);
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		int fd = open(files[i], O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (write(fd, text, length + more) == (ssize_t)(length + more)) {
			close(fd);
			return;
		}
		break;
	}
	give_up("the VMM cannot be confined by its AppArmor profile\n");
}

G_NORETURN static void become(const struct child *child)
{
	if (dup2(child->null_fd, STDIN_FILENO) < 0 || dup2(child->log_fd, STDOUT_FILENO) < 0 ||
	    dup2(child->log_fd, STDERR_FILENO) < 0)
		_exit(127);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != child->daemon)
		_exit(127);
	write_pid(child->pid_fd);
	reset_signals();
	/* A signal to the daemon's terminal or group is not meant for VMs. */
	setsid();
	close_others(child);
	load_profile(child);
	for (size_t i = 0; i < child->kept_count; i++)
		fcntl(child->kept[i], F_SETFD, 0);
	if (!vmm_limits_apply(&child->limits))
		give_up("the VMM's limits cannot be set\n");
	choose_profile(child->profile);
	vmm_user_become(child->user);
	/* A VM lives on without its daemon. */
	prctl(PR_SET_PDEATHSIG, 0);
	execv(child->args[0], child->args);
	give_up("berth-vmm cannot be executed\n");
}

/* --- In the daemon ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Of `fds` those that are some. Free with g_free(). */
static int *choose_kept(const GArray *fds, size_t *count)
{
	int *kept = g_new(int, fds->len + 1);
	*count = 0;
	for (unsigned i = 0; i < fds->len; i++) {
		if (g_array_index(fds, int, i) >= 0)
			kept[(*count)++] = g_array_index(fds, int, i);
	}
	qsort(kept, *count, sizeof(*kept), compare);
	return kept;
}

/* The child begins with all signals blocked, as no handler of the daemon's must run in it. */
static bool start(struct vmm *vmm, const struct child *child, GError **error)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	int reason = errno;
	if (pid == 0)
		become(child);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return error_set_errno(error, reason, "cannot start the VMM");
	vmm->pid = pid;
	vmm->pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (vmm->pidfd >= 0)
		return true;
	error_set_errno(error, errno, "cannot watch the VMM");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return false;
}

bool vmm_spawn(struct vmm *vmm, GPtrArray *args, const GArray *fds, GError **error)
{
	const struct daemon *daemon = vmm->dom->all->daemon;
	g_autofree char *pid_path = g_build_filename(vmm->run_dir, "pid", NULL);
	g_autofree char *file = confine_file(vmm->dom);
	int log_fd = logs_own_fd(vmm->dom);
	auto_fd pid_fd = open(pid_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	auto_fd null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (pid_fd < 0 || null_fd < 0)
		return error_set_errno(error, errno, "cannot create '%s'", pid_fd < 0 ? pid_path : "/dev/null");
	g_autofree char *line = g_strjoinv(" ", (char **)args->pdata);
	dprintf(log_fd, "%s\n", line);
	struct child child = {
		.pid_fd = pid_fd, .log_fd = log_fd, .null_fd = null_fd, .daemon = getpid(), .user = vmm->user,
		.args = (char **)args->pdata, .profile = vmm->dom->live->profile,
	};
	g_autofree int *kept = choose_kept(fds, &child.kept_count);
	child.kept = kept;
	if (file) {
		char *const load[] = {daemon->confinement->parser, (char *)"--replace", (char *)"--skip-cache", file};
		memcpy(child.load, load, sizeof(load));
	}
	return vmm_limits_choose(vmm, &child.limits, error) && start(vmm, &child, error);
}
