/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/perf.h"

#include "base/error.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct perf {
	pid_t pid;
	GArray *fds[CONF_PERF_EVENTS]; /* int; NULL: it is not counted */
};

/* Those of a cache's use by a process (cmt, mbmt, mbml) have left the kernel, for resctrl, which has groups. */
static const struct {
	bool known;
	uint32_t type;
	uint64_t config;
} kinds[CONF_PERF_EVENTS] = {
	[CONF_PERF_CPU_CYCLES] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
	[CONF_PERF_INSTRUCTIONS] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
	[CONF_PERF_CACHE_REFERENCES] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES},
	[CONF_PERF_CACHE_MISSES] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
	[CONF_PERF_BRANCH_INSTRUCTIONS] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
	[CONF_PERF_BRANCH_MISSES] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES},
	[CONF_PERF_BUS_CYCLES] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_BUS_CYCLES},
	[CONF_PERF_STALLED_FRONTEND] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_FRONTEND},
	[CONF_PERF_STALLED_BACKEND] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_BACKEND},
	[CONF_PERF_REF_CPU_CYCLES] = {true, PERF_TYPE_HARDWARE, PERF_COUNT_HW_REF_CPU_CYCLES},
	[CONF_PERF_CPU_CLOCK] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK},
	[CONF_PERF_TASK_CLOCK] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK},
	[CONF_PERF_PAGE_FAULTS] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
	[CONF_PERF_CONTEXT_SWITCHES] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES},
	[CONF_PERF_CPU_MIGRATIONS] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_MIGRATIONS},
	[CONF_PERF_PAGE_FAULTS_MIN] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN},
	[CONF_PERF_PAGE_FAULTS_MAJ] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MAJ},
	[CONF_PERF_ALIGNMENT_FAULTS] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_ALIGNMENT_FAULTS},
	[CONF_PERF_EMULATION_FAULTS] = {true, PERF_TYPE_SOFTWARE, PERF_COUNT_SW_EMULATION_FAULTS},
};

struct perf *perf_new(pid_t pid)
{
	struct perf *perf = g_new0(struct perf, 1);
	perf->pid = pid;
	return perf;
}

void perf_free(struct perf *perf)
{
	for (unsigned i = 0; perf && i < CONF_PERF_EVENTS; i++)
		perf_disable(perf, i);
	g_free(perf);
}

bool perf_is_enabled(const struct perf *perf, enum conf_perf_event event)
{
	return perf && perf->fds[event];
}

void perf_disable(struct perf *perf, enum conf_perf_event event)
{
	GArray *fds = g_steal_pointer(&perf->fds[event]);
	for (unsigned i = 0; fds && i < fds->len; i++)
		close(g_array_index(fds, int, i));
	if (fds)
		g_array_unref(fds);
}

static int open_counter(pid_t thread, enum conf_perf_event event)
{
	struct perf_event_attr attr = {
		.type = kinds[event].type, .size = sizeof(attr), .config = kinds[event].config, .inherit = 1};
	return syscall(SYS_perf_event_open, &attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static bool fail(enum conf_perf_event event, int code, GError **error)
{
	const char *name = conf_perf_names[event];
	if (code == ENOENT || code == EOPNOTSUPP)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "this host's CPU has no counter for the event '%s', or shows none to a guest", name);
	if (code == EACCES || code == EPERM)
		return error_set_errno(error, code,
				       "the event '%s' needs the right CAP_PERFMON, or a lower "
				       "kernel.perf_event_paranoid", name);
	return error_set_errno(error, code, "cannot count the event '%s'", name);
}

bool perf_enable(struct perf *perf, enum conf_perf_event event, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)perf->pid);
	if (perf->fds[event])
		return true;
	if (!kinds[event].known)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the kernel counts the event '%s' for no process any more: look at resctrl",
				 conf_perf_names[event]);
	g_autoptr(GDir) dir = g_dir_open(path, 0, error);
	const char *name;
	int failed = 0;
	if (!dir)
		return false;
	perf->fds[event] = g_array_new(FALSE, FALSE, sizeof(int));
	while (!failed && (name = g_dir_read_name(dir))) {
		int fd = open_counter(atoi(name), event);
		if (fd >= 0)
			g_array_append_val(perf->fds[event], fd);
		else if (errno != ESRCH) /* the thread has ended */
			failed = errno;
	}
	if (!failed)
		return true;
	perf_disable(perf, event);
	return fail(event, failed, error);
}

bool perf_read(const struct perf *perf, enum conf_perf_event event, uint64_t *value)
{
	*value = 0;
	for (unsigned i = 0; perf_is_enabled(perf, event) && i < perf->fds[event]->len; i++) {
		uint64_t one;
		if (read(g_array_index(perf->fds[event], int, i), &one, sizeof(one)) != sizeof(one))
			return false;
		*value += one;
	}
	return perf_is_enabled(perf, event);
}
