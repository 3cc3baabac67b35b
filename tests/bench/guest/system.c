/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process asks of its kernel: calls, pipes, signals, processes, page faults. */
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, FAULT_PAGES = 256 };

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static uint64_t run_getppid(uint64_t times)
{
	while (times--)
		syscall(SYS_getppid);
	return 0;
}

static uint64_t run_read(uint64_t times)
{
	int fd = open("/dev/zero", O_RDONLY);
	char byte = 0;
	need(fd >= 0, "/dev/zero");
	while (times--)
		need(read(fd, &byte, 1) == 1, "read");
	close(fd);
	return byte;
}

/* A byte to another process and back. */
static uint64_t run_pipe(uint64_t times)
{
	int there[2], back[2];
	char byte = 'x';
	need(!pipe(there) && !pipe(back), "pipe");
	pid_t child = fork();
	need(child >= 0, "fork");
	if (!child) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	while (times--) {
		need(write(there[1], &byte, 1) == 1, "write");
		need(read(back[0], &byte, 1) == 1, "read");
	}
	close(there[1]);
	close(back[0]);
	waitpid(child, NULL, 0);
	return byte;
}

static volatile sig_atomic_t signals;

static void on_signal(int number)
{
	signals++;
}

static uint64_t run_signal(uint64_t times)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigaction(SIGUSR1, &action, NULL);
	signals = 0;
	for (uint64_t i = 0; i < times; i++)
		raise(SIGUSR1);
	return signals == (sig_atomic_t)times;
}

static uint64_t run_fork(uint64_t times)
{
	while (times--) {
		pid_t child = fork();
		need(child >= 0, "fork");
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
	}
	return 0;
}

static uint64_t run_forkexec(uint64_t times)
{
	int status = 0;
	while (times--) {
		pid_t child = vfork();
		need(child >= 0, "vfork");
		if (!child) {
			execl("/proc/self/exe", "bench", "--exit", (char *)NULL);
			_exit(1);
		}
		waitpid(child, &status, 0);
		need(!status, "exec");
	}
	return 0;
}

static uint8_t *map_pages(void)
{
	uint8_t *p = mmap(NULL, FAULT_PAGES * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(p != MAP_FAILED, "mmap");
	/* Small pages everywhere, whatever the kernel would do by itself. */
	madvise(p, FAULT_PAGES * PAGE, MADV_NOHUGEPAGE);
	return p;
}

static void touch(uint8_t *p)
{
	for (unsigned i = 0; i < FAULT_PAGES; i++)
		p[i * PAGE] = 1;
}

static uint64_t run_pgfault(uint64_t times)
{
	while (times--) {
		uint8_t *p = map_pages();
		touch(p);
		munmap(p, FAULT_PAGES * PAGE);
	}
	return 0;
}

/* A child that writes to all pages that it shares with its parent. */
static uint64_t run_forkcow(uint64_t times)
{
	uint8_t *p = map_pages();
	touch(p);
	while (times--) {
		pid_t child = fork();
		need(child >= 0, "fork");
		if (!child) {
			touch(p);
			_exit(0);
		}
		waitpid(child, NULL, 0);
	}
	munmap(p, FAULT_PAGES * PAGE);
	return 0;
}

static uint64_t run_mprotect(uint64_t times)
{
	uint8_t *p = map_pages();
	while (times--) {
		p[0] = 1;
		need(!mprotect(p, PAGE, PROT_READ), "mprotect");
		bench_use(p);
		need(!mprotect(p, PAGE, PROT_READ | PROT_WRITE), "mprotect");
	}
	munmap(p, FAULT_PAGES * PAGE);
	return 0;
}

const struct bench_row bench_system[] = {
	{ "getppid", "system", run_getppid, 1 },
	{ "read1", "system", run_read, 1 },
	{ "pipe", "system", run_pipe, 1 },
	{ "signal", "system", run_signal, 1 },
	{ "fork", "system", run_fork, 1 },
	{ "forkexec", "system", run_forkexec, 1 },
	{ "pgfault", "system", run_pgfault, FAULT_PAGES },
	{ "forkcow", "system", run_forkcow, 1 },
	{ "mprotect", "system", run_mprotect, 1 },
	{ NULL },
};
