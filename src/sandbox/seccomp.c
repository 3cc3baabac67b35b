/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system call filter. It lists what vCPUs, disks, networks and monitors use; the rest fails
 * with EPERM, so that a library's harmless attempt at something does not take the VM down, and what
 * only an intruder would try ends the process. After the set-up the lists cost a vCPU's ioctl
 * nothing: the kernel remembers which calls are always allowed.
 */
#include "sandbox/sandbox.h"

#include "base/error.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CALL(name) SCMP_SYS(name)

static const int allowed[] = {
	/* files and streams */
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64),
	CALL(preadv), CALL(pwritev), CALL(preadv2), CALL(pwritev2), CALL(close), CALL(close_range),
	CALL(open), CALL(openat), CALL(openat2), CALL(creat), CALL(lseek), CALL(fsync),
	CALL(fdatasync), CALL(sync_file_range), CALL(syncfs), CALL(fallocate), CALL(ftruncate),
	CALL(truncate), CALL(stat), CALL(fstat), CALL(lstat), CALL(newfstatat), CALL(statx),
	CALL(fstatfs), CALL(statfs), CALL(fcntl), CALL(flock), CALL(dup), CALL(dup2), CALL(dup3),
	CALL(pipe), CALL(pipe2), CALL(ioctl), CALL(fadvise64), CALL(copy_file_range),
	CALL(splice), CALL(sendfile), CALL(access), CALL(faccessat), CALL(faccessat2),
	CALL(readlink), CALL(readlinkat), CALL(getcwd), CALL(chdir), CALL(fchdir), CALL(umask),
	CALL(unlink), CALL(unlinkat), CALL(memfd_create),
	/* shared folders */
	CALL(getdents64), CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(rename), CALL(renameat),
	CALL(renameat2), CALL(link), CALL(linkat), CALL(symlink), CALL(symlinkat), CALL(mknodat),
	CALL(chmod), CALL(fchmod), CALL(fchmodat), CALL(chown), CALL(fchown), CALL(lchown),
	CALL(fchownat), CALL(utimensat), CALL(getxattr), CALL(lgetxattr), CALL(fgetxattr),
	CALL(setxattr), CALL(lsetxattr), CALL(fsetxattr), CALL(listxattr), CALL(llistxattr),
	CALL(flistxattr), CALL(removexattr), CALL(lremovexattr), CALL(fremovexattr),
	/* waiting, events and clocks */
	CALL(poll), CALL(ppoll), CALL(select), CALL(pselect6), CALL(epoll_create1),
	CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2), CALL(eventfd2),
	CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime), CALL(signalfd4),
	CALL(io_uring_setup), CALL(io_uring_enter), CALL(io_uring_register), CALL(clock_gettime),
	CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep), CALL(gettimeofday),
	CALL(time), CALL(restart_syscall),
	/* memory */
	CALL(mmap), CALL(munmap), CALL(mprotect), CALL(madvise), CALL(mremap), CALL(brk),
	CALL(msync), CALL(mlock), CALL(mlock2), CALL(munlock), CALL(mlockall), CALL(mincore),
	CALL(membarrier), CALL(mbind), CALL(set_mempolicy), CALL(get_mempolicy),
	/* threads and signals */
	CALL(futex), CALL(futex_waitv), CALL(set_robust_list), CALL(get_robust_list),
	CALL(set_tid_address), CALL(rseq), CALL(sched_yield), CALL(sched_getaffinity),
	CALL(getcpu), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn),
	CALL(rt_sigtimedwait), CALL(rt_sigpending), CALL(rt_sigsuspend), CALL(rt_sigqueueinfo),
	CALL(rt_tgsigqueueinfo), CALL(sigaltstack), CALL(tgkill), CALL(arch_prctl), CALL(prctl),
	CALL(exit), CALL(exit_group),
	/* sockets */
	CALL(socket), CALL(socketpair), CALL(bind), CALL(listen), CALL(accept), CALL(accept4),
	CALL(connect), CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(setsockopt),
	CALL(sendto), CALL(recvfrom), CALL(sendmsg), CALL(recvmsg), CALL(sendmmsg),
	CALL(recvmmsg), CALL(shutdown),
	/* what the process asks about itself and the host */
	CALL(getpid), CALL(getppid), CALL(gettid), CALL(getpgrp), CALL(getuid), CALL(geteuid),
	CALL(getgid), CALL(getegid), CALL(getresuid), CALL(getresgid), CALL(getgroups),
	CALL(getrandom), CALL(uname), CALL(sysinfo), CALL(getrusage), CALL(times),
	CALL(getrlimit), CALL(sched_getparam), CALL(sched_getscheduler), CALL(capget),
};

static const int spawning[] = {
	CALL(fork), CALL(vfork), CALL(execve), CALL(execveat), CALL(wait4), CALL(waitid),
	CALL(setsid), CALL(setpgid), CALL(kill),
};

static const int resources[] = {
	CALL(setpriority), CALL(sched_setparam), CALL(sched_setscheduler), CALL(sched_setattr),
	CALL(sched_setaffinity), CALL(setrlimit), CALL(ioprio_set),
};

/* Never by mistake. */
static const int fatal[] = {
	CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev), CALL(mount), CALL(umount2),
	CALL(pivot_root), CALL(chroot), CALL(unshare), CALL(setns), CALL(init_module),
	CALL(finit_module), CALL(delete_module), CALL(kexec_load), CALL(kexec_file_load),
	CALL(bpf), CALL(perf_event_open), CALL(keyctl), CALL(add_key), CALL(request_key),
	CALL(setuid), CALL(setgid), CALL(setresuid), CALL(setresgid), CALL(setreuid),
	CALL(setregid), CALL(setgroups), CALL(reboot), CALL(swapon), CALL(swapoff), CALL(iopl),
	CALL(ioperm), CALL(userfaultfd), CALL(modify_ldt), CALL(acct), CALL(settimeofday),
	CALL(clock_settime), CALL(sethostname), CALL(open_by_handle_at),
};

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	int result = 0;
	for (size_t i = 0; i < count && result == 0; i++)
		result = seccomp_rule_add(filter, action, calls[i], 0);
	return result;
}

#define ADD(filter, action, calls) add_all(filter, action, calls, G_N_ELEMENTS(calls))

static int add_rules(scmp_filter_ctx filter, const struct sandbox_policy *policy)
{
	int result = ADD(filter, SCMP_ACT_ALLOW, allowed);
	if (result == 0)
		result = ADD(filter, SCMP_ACT_KILL_PROCESS, fatal);
	if (result == 0 && policy->allow_spawn)
		result = ADD(filter, SCMP_ACT_ALLOW, spawning);
	if (result == 0 && policy->allow_resources)
		result = ADD(filter, SCMP_ACT_ALLOW, resources);
	/* prlimit64 to read, which libraries do. */
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(prlimit64), 1,
					  SCMP_A2(SCMP_CMP_EQ, 0));
	/*
	 * Threads but no processes. The flags of clone3 are in memory, where a filter cannot look:
	 * without it, the C library falls back to clone.
	 */
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), CALL(clone3), 0);
	if (result == 0 && policy->allow_spawn)
		return seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(clone), 0);
	if (result == 0)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(clone), 1,
					  SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	return result;
}

bool sandbox_enter(const struct sandbox_policy *policy, GError **error)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set_errno(error, errno, "-sandbox: cannot set no_new_privs");
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return error_set(error, BERTH_ERR_INTERNAL, "-sandbox: no memory for the filter");
	int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (result == 0)
		result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (result == 0)
		result = add_rules(filter, policy);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	if (result < 0)
		return error_set_errno(error, -result,
				       "-sandbox: the kernel does not take the system call filter "
				       "(-sandbox off runs without one)");
	return true;
}
