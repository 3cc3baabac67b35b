/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/process.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool process_times(pid_t pid, pid_t thread, struct process_times *times)
{
	*times = (struct process_times){0};
	g_autofree char *path = thread ? g_strdup_printf("/proc/%d/task/%d/stat", (int)pid, (int)thread)
				       : g_strdup_printf("/proc/%d/stat", (int)pid);
	g_autofree char *text = NULL;
	if (!pid || !g_file_get_contents(path, &text, NULL, NULL))
		return false;
	/* The program's name may contain anything, but ends with the last parenthesis. proc(5) */
	const char *at = strrchr(text, ')');
	if (!at || sscanf(at + 1,
			  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			  " %*d %*d %*d %*d %*d %*d %*u %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u "
			  "%*u %*u %*u %*d %d", &times->user_ns, &times->system_ns, &times->cpu) != 3)
		return false;
	uint64_t tick = 1000000000 / sysconf(_SC_CLK_TCK);
	times->user_ns *= tick;
	times->system_ns *= tick;
	return true;
}

bool process_affinity(pid_t thread, uint8_t *map, unsigned length)
{
	cpu_set_t set;
	memset(map, 0, length);
	if (sched_getaffinity(thread, sizeof(set), &set) < 0)
		return false;
	for (unsigned cpu = 0; cpu < MIN(length * 8, CPU_SETSIZE); cpu++) {
		if (CPU_ISSET(cpu, &set))
			map[cpu / 8] |= 1 << cpu % 8;
	}
	return true;
}

int process_pin(pid_t thread, const uint8_t *map, unsigned length)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	for (unsigned cpu = 0; cpu < MIN(length * 8, CPU_SETSIZE); cpu++) {
		if (map[cpu / 8] >> cpu % 8 & 1)
			CPU_SET(cpu, &set);
	}
	return sched_setaffinity(thread, sizeof(set), &set) < 0 ? errno : 0;
}

static bool is_among(pid_t thread, const pid_t *list)
{
	while (*list && *list != thread)
		list++;
	return *list;
}

int process_pin_others(pid_t pid, const pid_t *but, const uint8_t *map, unsigned length)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pid);
	GDir *tasks = g_dir_open(path, 0, NULL);
	const char *name;
	int failed = tasks ? 0 : ESRCH;
	while (tasks && (name = g_dir_read_name(tasks))) {
		pid_t thread = atoi(name);
		int error = is_among(thread, but) ? 0 : process_pin(thread, map, length);
		/* A thread that has ended meanwhile is no failure. */
		if (error && error != ESRCH)
			failed = error;
	}
	if (tasks)
		g_dir_close(tasks);
	return failed;
}

uint64_t process_rss_kib(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int)pid), *text = NULL;
	uint64_t pages = 0;
	if (g_file_get_contents(path, &text, NULL, NULL))
		sscanf(text, "%*u %" SCNu64, &pages);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

bool process_owner(pid_t pid, uid_t *uid, gid_t *gid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid), *text = NULL;
	if (!pid || !g_file_get_contents(path, &text, NULL, NULL))
		return false;
	/* Real, then effective ones; the name of the program, which comes first, has no line breaks. proc(5) */
	const char *users = strstr(text, "\nUid:"), *groups = strstr(text, "\nGid:");
	return users && groups && sscanf(users, " Uid: %*u %u", uid) == 1 && sscanf(groups, " Gid: %*u %u", gid) == 1;
}

bool process_profile(pid_t pid, char **name, bool *enforced)
{
	static const char *const files[] = {"apparmor/current", "current"};
	g_autofree char *text = NULL;
	for (unsigned i = 0; pid && !text && i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = g_strdup_printf("/proc/%d/attr/%s", (int)pid, files[i]);
		g_file_get_contents(path, &text, NULL, NULL);
	}
	if (!text)
		return false;
	/* "NAME (enforce)", or "unconfined". */
	char *mode = strrchr(g_strchomp(text), '(');
	*enforced = mode && strcmp(mode, "(enforce)") == 0;
	if (mode && mode > text && mode[-1] == ' ')
		mode[-1] = '\0';
	*name = g_steal_pointer(&text);
	return true;
}
