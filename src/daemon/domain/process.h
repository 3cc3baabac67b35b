/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel knows of a VMM and its threads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_times {
	uint64_t user_ns, system_ns;
	int cpu; /* where it last ran */
};

/* Of a process or, with `thread` not 0, of that thread of it. False: it is gone. */
bool process_times(pid_t pid, pid_t thread, struct process_times *times);
/* The host CPUs that a thread may run on, as a map of `length` bytes; bits beyond are 0. */
bool process_affinity(pid_t thread, uint8_t *map, unsigned length);
/* errno of a failure, or 0. With `all` every thread of the process but those in `but` (ended by 0). */
int process_pin(pid_t thread, const uint8_t *map, unsigned length);
int process_pin_others(pid_t pid, const pid_t *but, const uint8_t *map, unsigned length);
/* Resident memory in KiB; 0: it is gone. */
uint64_t process_rss_kib(pid_t pid);
/* The user and group that it acts as; false: it is gone. */
bool process_owner(pid_t pid, uid_t *uid, gid_t *gid);
/* The AppArmor profile that it is in, or "unconfined"; false: it is gone. Free the name with g_free(). */
bool process_profile(pid_t pid, char **name, bool *enforced);
