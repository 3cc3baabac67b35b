/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/cgroup.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/domain/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "berth"
#define UNLIMITED INT64_C(-1)
#define DEFAULT_PERIOD 100000

struct hierarchy {
	char *mount; /* NULL: the host has none with that controller */
	bool unified;
};

/* --- Files ---------------------------------------------------------------------------------- */

static bool write_text(const char *folder, const char *file, const char *text, GError **error)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return error_set_errno(error, errno, "cannot write '%s' to '%s'", text, path);
	return true;
}

static bool write_number(const char *folder, const char *file, int64_t number, GError **error)
{
	g_autofree char *text = g_strdup_printf("%" PRId64, number);
	return write_text(folder, file, text, error);
}

static bool has_file(const char *folder, const char *file)
{
	g_autofree char *path = g_build_filename(folder, file, NULL);
	return access(path, W_OK) == 0;
}

static bool make_folder(const char *path, GError **error)
{
	return mkdir(path, 0755) == 0 || errno == EEXIST ||
	       error_set_errno(error, errno, "cannot make the control group '%s'", path);
}

/* --- Hierarchies ---------------------------------------------------------------------------- */

static bool lists(const char *options, const char *controller, const char *separator)
{
	g_auto(GStrv) words = g_strsplit(options, separator, -1);
	return g_strv_contains((const char *const *)words, controller);
}

static bool unified_has(const char *mount, const char *controller)
{
	g_autofree char *path = g_build_filename(mount, "cgroup.controllers", NULL), *text = NULL;
	return g_file_get_contents(path, &text, NULL, NULL) && lists(g_strchomp(text), controller, " ");
}

/* proc(5): "31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu". */
static struct hierarchy find_hierarchy(const char *controller)
{
	struct hierarchy found = {NULL};
	g_autofree char *text = NULL;
	if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
		return found;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line && !found.mount; line++) {
		char mount[256], type[32], options[256];
		const char *rest = strstr(*line, " - ");
		if (!rest || sscanf(*line, "%*s %*s %*s %*s %255s", mount) != 1 ||
		    sscanf(rest, " - %31s %*s %255s", type, options) != 2)
			continue;
		bool unified = strcmp(type, "cgroup2") == 0;
		if ((strcmp(type, "cgroup") == 0 && lists(options, controller, ",")) ||
		    (unified && unified_has(mount, controller)))
			found = (struct hierarchy){g_strdup(mount), unified};
	}
	return found;
}

static char *group_path(const struct hierarchy *hierarchy, const struct domain *dom)
{
	return g_build_filename(hierarchy->mount, FOLDER, dom->uuid_text, NULL);
}

/* The unified hierarchy gives controllers to children only where a parent says so. */
static bool pass_on(const char *folder, const char *controller, GError **error)
{
	g_autofree char *text = g_strconcat("+", controller, NULL);
	return write_text(folder, "cgroup.subtree_control", text, error);
}

/*
 * Is the thread in that part of the domain's group ("" is any)? A group may be left from an earlier run.
 * cgroups(7): "4:memory:/berth/UUID", and "0::/..." of the unified hierarchy.
 */
static bool is_in(const struct domain *dom, pid_t thread, const char *controller, const char *part)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/cgroup", (int)vmm_pid(dom), (int)thread);
	g_autofree char *group = g_strdup_printf("/%s/%s%s", FOLDER, dom->uuid_text, part), *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return false;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) fields = g_strsplit(*line, ":", 3);
		if (g_strv_length(fields) == 3 && (!*fields[1] || lists(fields[1], controller, ",")) &&
		    strstr(fields[2], group))
			return true;
	}
	return false;
}

/* The domain's group with its VMM in it; NULL with an error. Free with g_free(). */
static char *enter(const struct hierarchy *hierarchy, const char *controller, const struct domain *dom,
		   GError **error)
{
	if (!hierarchy->mount) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "this host has no control group hierarchy with '%s': mount one", controller);
		return NULL;
	}
	g_autofree char *parent = g_build_filename(hierarchy->mount, FOLDER, NULL);
	g_autofree char *path = group_path(hierarchy, dom);
	bool inside = is_in(dom, vmm_pid(dom), controller, "");
	if (!make_folder(parent, error) ||
	    (hierarchy->unified && (!pass_on(hierarchy->mount, controller, error) ||
				    !pass_on(parent, controller, error))) ||
	    !make_folder(path, error) ||
	    (!inside && !write_number(path, "cgroup.procs", vmm_pid(dom), error)))
		return NULL;
	return g_steal_pointer(&path);
}

/* --- CPUs ----------------------------------------------------------------------------------- */

/* cpu.weight is 1 to 10000 where shares are 2 to 262144; the kernel's own middle is 100 for 1024. */
static int64_t weight_of(int64_t shares)
{
	return CLAMP(1 + (shares - 2) * 9999 / 262142, 1, 10000);
}

static bool set_bandwidth(const char *path, bool unified, int64_t period, int64_t quota, GError **error)
{
	if (!period)
		period = DEFAULT_PERIOD;
	if (!quota)
		quota = UNLIMITED;
	if (unified) {
		g_autofree char *text = quota < 0 ? g_strdup_printf("max %" PRId64, period)
						  : g_strdup_printf("%" PRId64 " %" PRId64, quota, period);
		return write_text(path, "cpu.max", text, error);
	}
	/* The quota first goes away: a child may not have more of a period than its parent. */
	return write_number(path, "cpu.cfs_quota_us", UNLIMITED, error) &&
	       write_number(path, "cpu.cfs_period_us", period, error) &&
	       write_number(path, "cpu.cfs_quota_us", quota < 0 ? UNLIMITED : quota, error);
}

/* The VMM's threads but the vCPUs': each must be moved by itself. */
static bool move_others(const struct domain *dom, const char *path, GError **error)
{
	g_autofree char *tasks = g_strdup_printf("/proc/%d/task", (int)vmm_pid(dom));
	g_autoptr(GDir) dir = g_dir_open(tasks, 0, error);
	const char *name;
	while (dir && (name = g_dir_read_name(dir))) {
		bool is_vcpu = false;
		for (unsigned i = 0; i < dom->live->vcpus; i++)
			is_vcpu |= vmm_vcpu_thread(dom, i) == atoi(name);
		g_autoptr(GError) cause = NULL;
		if (is_vcpu || write_text(path, "tasks", name, &cause) ||
		    !g_file_test(tasks, G_FILE_TEST_IS_DIR))
			continue;
		/* A thread that has ended meanwhile needs no limit. */
		g_autofree char *its = g_build_filename(tasks, name, NULL);
		if (!g_file_test(its, G_FILE_TEST_EXISTS))
			continue;
		g_propagate_error(error, g_steal_pointer(&cause));
		return false;
	}
	return dir != NULL;
}

/* A part of the VMM: vCPU `vcpu` or, with -1, all other threads, in a group below the domain's. */
static bool limit_part(const struct domain *dom, const char *group, int vcpu, int64_t period, int64_t quota,
		       GError **error)
{
	g_autofree char *name = vcpu < 0 ? g_strdup("emulator") : g_strdup_printf("vcpu%d", vcpu);
	g_autofree char *path = g_build_filename(group, name, NULL);
	g_autofree char *part = g_strconcat("/", name, NULL);
	pid_t thread = vcpu < 0 ? vmm_pid(dom) : vmm_vcpu_thread(dom, vcpu);
	bool inside = is_in(dom, thread, "cpu", part);
	if (!inside && !period && quota <= 0)
		return true;
	/* To the kernel thread 0 is the one that writes: us. */
	if (!thread)
		return error_set(error, BERTH_ERR_BUSY, "the VMM has not told of its vCPU %d yet", vcpu);
	if (!make_folder(path, error))
		return false;
	if (!inside && !(vcpu < 0 ? move_others(dom, path, error)
			 : write_number(path, "tasks", thread, error)))
		return false;
	return set_bandwidth(path, false, period, quota, error);
}

static bool limit_parts(struct domain *dom, const struct conf_domain *conf, const char *group, GError **error)
{
	const int64_t *tune = conf->tune;
	for (unsigned i = 0; i < conf->vcpus; i++) {
		if (!limit_part(dom, group, i, tune[CONF_TUNE_PERIOD], tune[CONF_TUNE_QUOTA], error))
			return false;
	}
	return limit_part(dom, group, -1, tune[CONF_TUNE_EMULATOR_PERIOD], tune[CONF_TUNE_EMULATOR_QUOTA], error);
}

static bool apply_cpu(struct domain *dom, const struct conf_domain *conf, const struct hierarchy *hierarchy,
		      GError **error)
{
	const int64_t *tune = conf->tune;
	bool parts = tune[CONF_TUNE_PERIOD] || tune[CONF_TUNE_QUOTA] || tune[CONF_TUNE_EMULATOR_PERIOD] ||
		     tune[CONF_TUNE_EMULATOR_QUOTA];
	if (hierarchy->unified && parts)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "limits of single vCPUs and of the emulator need a version 1 cpu hierarchy: use "
				 "global_quota for the whole domain");
	g_autofree char *path = enter(hierarchy, "cpu", dom, error);
	if (!path)
		return false;
	int64_t shares = tune[CONF_TUNE_SHARES] ? tune[CONF_TUNE_SHARES] : 1024;
	int64_t weight = tune[CONF_TUNE_SHARES] ? weight_of(shares) : 100;
	return write_number(path, hierarchy->unified ? "cpu.weight" : "cpu.shares",
			    hierarchy->unified ? weight : shares, error) &&
	       set_bandwidth(path, hierarchy->unified, tune[CONF_TUNE_GLOBAL_PERIOD],
			     tune[CONF_TUNE_GLOBAL_QUOTA], error) &&
	       (hierarchy->unified || limit_parts(dom, conf, path, error));
}

/* --- Memory --------------------------------------------------------------------------------- */

static bool set_bytes(const char *path, const char *file, bool unified, int64_t kib, GError **error)
{
	if (kib)
		return write_number(path, file, kib * 1024, error);
	return write_text(path, file, unified ? "max" : "-1", error);
}

/*
 * In the unified hierarchy swap is counted by itself, or by an older kernel not at all. `both` is not less
 * than `hard`; without that all of it may be swap.
 */
static bool set_swap(const char *path, int64_t hard, int64_t both, GError **error)
{
	if (both)
		return write_number(path, "memory.swap.max", (both - hard) * 1024, error);
	return !has_file(path, "memory.swap.max") || write_text(path, "memory.swap.max", "max", error);
}

static bool apply_memory(struct domain *dom, const struct conf_domain *conf,
			 const struct hierarchy *hierarchy, GError **error)
{
	int64_t hard = conf->tune[CONF_TUNE_HARD_LIMIT], soft = conf->tune[CONF_TUNE_SOFT_LIMIT];
	int64_t both = conf->tune[CONF_TUNE_SWAP_HARD_LIMIT];
	g_autofree char *path = enter(hierarchy, "memory", dom, error);
	if (!path)
		return false;
	if (hierarchy->unified)
		return set_bytes(path, "memory.max", true, hard, error) &&
		       set_bytes(path, "memory.high", true, soft, error) &&
		       set_swap(path, hard, both, error);
	/* Memory and swap together may not be less than memory alone: the larger one is set first. */
	bool swap = has_file(path, "memory.memsw.limit_in_bytes");
	if (both && !swap)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "this host's kernel does not count swap (swapaccount=1): leave out swap_hard_limit");
	return (!swap || set_bytes(path, "memory.memsw.limit_in_bytes", false, 0, error)) &&
	       set_bytes(path, "memory.limit_in_bytes", false, hard, error) &&
	       set_bytes(path, "memory.soft_limit_in_bytes", false, soft, error) &&
	       (!both || set_bytes(path, "memory.memsw.limit_in_bytes", false, both, error));
}

/* --- Both ----------------------------------------------------------------------------------- */

static bool any(const struct conf_domain *conf, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		if (conf->tune[i])
			return true;
	}
	return false;
}

/* Is there a group already, whose limits must go? */
static bool entered(const struct hierarchy *hierarchy, const struct domain *dom)
{
	g_autofree char *path = hierarchy->mount ? group_path(hierarchy, dom) : NULL;
	return path && g_file_test(path, G_FILE_TEST_IS_DIR);
}

bool cgroup_apply(struct domain *dom, const struct conf_domain *conf, GError **error)
{
	struct hierarchy cpu = find_hierarchy("cpu"), memory = find_hierarchy("memory");
	bool good = (!any(conf, 0, CONF_TUNE_MEMORY) && !entered(&cpu, dom)) ||
		    apply_cpu(dom, conf, &cpu, error);
	good = good && ((!any(conf, CONF_TUNE_MEMORY, CONF_TUNE_NUMBERS) && !entered(&memory, dom)) ||
			apply_memory(dom, conf, &memory, error));
	g_free(cpu.mount);
	g_free(memory.mount);
	return good;
}

static void remove_group(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;
	/* Files of a group are the kernel's; only folders can be removed. */
	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *part = g_build_filename(path, name, NULL);
		rmdir(part);
	}
	rmdir(path);
}

void cgroup_remove(const struct domain *dom)
{
	static const char *const controllers[] = {"cpu", "memory"};
	for (unsigned i = 0; i < G_N_ELEMENTS(controllers); i++) {
		struct hierarchy hierarchy = find_hierarchy(controllers[i]);
		g_autofree char *path = hierarchy.mount ? group_path(&hierarchy, dom) : NULL;
		if (path)
			remove_group(path);
		g_free(hierarchy.mount);
	}
}
