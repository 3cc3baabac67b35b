/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process: background, signals, pid file, rights. */
#include "vmm.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A signal handler reaches nothing but globals. */
static struct {
	int fd, null_fd;
	_Atomic int number, sender;
	char *pidfile;
} process = {.fd = -1, .null_fd = -1};

static void on_signal(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	uint64_t one = 1;
	process.number = number;
	process.sender = info->si_pid;
	if (write(process.fd, &one, sizeof(one)) < 0) {
		/* The counter is full: the loop will wake in any case. */
	}
	errno = saved;
}

static void on_signal_fd(void *opaque, int fd, uint32_t events)
{
	uint64_t count;
	if (read(fd, &count, sizeof(count)) < 0)
		return;
	if (process.number != SIGINT)
		log_info("terminating on signal %d from pid %d", process.number, process.sender);
	life_quit(opaque, "host-signal", 0);
}

bool process_catch_signals(struct vmm *vmm, GError **error)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	process.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (process.fd < 0)
		return error_set_errno(error, errno, "cannot make an event descriptor");
	vmm->signal_watch = aio_watch_add(vmm->loop, process.fd, POLLIN, on_signal_fd, vmm);
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigfillset(&action.sa_mask);
	for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++)
		sigaction(signals[i], &action, NULL);
	return true;
}

/* The parent's part: the child says "ready" with one byte, or has printed why not. */
static void wait_for_child(int fd)
{
	char byte;
	ssize_t got;
	do
		got = read(fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	_exit(got == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

bool process_daemonize(int *ready_fd, GError **error)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set_errno(error, errno, "-daemonize: cannot make a pipe");
	pid_t pid = fork();
	if (pid < 0)
		return error_set_errno(error, errno, "-daemonize: cannot fork");
	if (pid > 0) {
		close(fds[1]);
		wait_for_child(fds[0]);
	}
	close(fds[0]);
	setsid();
	/* A second time, so that no terminal can become ours. */
	pid = fork();
	if (pid < 0)
		return error_set_errno(error, errno, "-daemonize: cannot fork");
	if (pid > 0)
		_exit(EXIT_SUCCESS);
	umask(027);
	/* Opened now: later there may be another root folder and fewer rights. */
	process.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (process.null_fd < 0)
		return error_set_errno(error, errno, "cannot open /dev/null");
	*ready_fd = fds[1];
	return true;
}

bool process_ready(struct vmm *vmm, GError **error)
{
	if (vmm->ready_fd < 0)
		return true;
	if (!vmm->conf->chroot && chdir("/") < 0)
		return error_set_errno(error, errno, "cannot change to /");
	if (write(vmm->ready_fd, "", 1) != 1)
		return error_set_errno(error, errno, "-daemonize: cannot tell the parent process");
	fd_clear(&vmm->ready_fd);
	for (int fd = 0; fd < 3; fd++)
		dup2(process.null_fd, fd);
	fd_clear(&process.null_fd);
	return true;
}

static void remove_pidfile(void)
{
	unlink(process.pidfile);
	g_clear_pointer(&process.pidfile, g_free);
}

bool process_write_pidfile(const char *path, GError **error)
{
	/* Stays open: the lock says that the number is of a process that lives. */
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(error, errno, "-pidfile: cannot create '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return error_set(error, BERTH_ERR_BUSY,
				 "-pidfile: '%s' belongs to a machine that is running: choose "
				 "another name",
				 path);
	}
	char text[32];
	int length = g_snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || write(fd, text, length) != length) {
		error_set_errno(error, errno, "-pidfile: cannot write '%s'", path);
		close(fd);
		return false;
	}
	process.pidfile = g_canonicalize_filename(path, NULL);
	atexit(remove_pidfile);
	return true;
}

/* A tap back end runs its down script when the machine ends. */
static bool has_down_script(const struct conf_vm *conf)
{
	const GPtrArray *netdevs = conf->items[CONF_NETDEV];
	for (unsigned i = 0; i < netdevs->len; i++) {
		const struct conf_item *item = netdevs->pdata[i];
		const char *script = keyval_get(item->props, "downscript");
		if (strcmp(item->type, "tap") == 0 && script && strcmp(script, "no") != 0)
			return true;
	}
	return false;
}

bool process_drop_rights(const struct conf_vm *conf, GError **error)
{
	if (conf->chroot && !sandbox_chroot(conf->chroot, error))
		return false;
	if (conf->run_as && !sandbox_drop_user(conf->run_as, error))
		return false;
	if (conf->sandbox.off)
		return true;
	const struct sandbox_policy policy = {
		.allow_spawn = conf->sandbox.allow_spawn || has_down_script(conf),
		.allow_resources = conf->sandbox.allow_resources,
	};
	return sandbox_enter(&policy, error);
}
