/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/cgroup_int.h"

#include "base/error.h"
#include "daemon/domain/vmm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNLIMITED INT64_C(-1)
#define DEFAULT_PERIOD 100000

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
		return cgroup_write(path, "cpu.max", text, error);
	}
	/* The quota first goes away: a child may not have more of a period than its parent. */
	return cgroup_write_number(path, "cpu.cfs_quota_us", UNLIMITED, error) &&
	       cgroup_write_number(path, "cpu.cfs_period_us", period, error) &&
	       cgroup_write_number(path, "cpu.cfs_quota_us", quota < 0 ? UNLIMITED : quota, error);
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
		if (is_vcpu || cgroup_write(path, "tasks", name, &cause) ||
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
	bool inside = cgroup_is_in(dom, thread, "cpu", part);
	if (!inside && !period && quota <= 0)
		return true;
	/* To the kernel thread 0 is the one that writes: us. */
	if (!thread)
		return error_set(error, BERTH_ERR_BUSY, "the VMM has not told of its vCPU %d yet", vcpu);
	if (!cgroup_make_folder(path, error))
		return false;
	if (!inside && !(vcpu < 0 ? move_others(dom, path, error)
			 : cgroup_write_number(path, "tasks", thread, error)))
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

static bool apply_cpu(struct domain *dom, const struct conf_domain *conf, const struct cgroup_hierarchy *hierarchy,
		      GError **error)
{
	const int64_t *tune = conf->tune;
	bool parts = tune[CONF_TUNE_PERIOD] || tune[CONF_TUNE_QUOTA] || tune[CONF_TUNE_EMULATOR_PERIOD] ||
		     tune[CONF_TUNE_EMULATOR_QUOTA];
	if (hierarchy->unified && parts)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "limits of single vCPUs and of the emulator need a version 1 cpu hierarchy: use "
				 "global_quota for the whole domain");
	g_autofree char *path = cgroup_enter(hierarchy, "cpu", dom, error);
	if (!path)
		return false;
	int64_t shares = tune[CONF_TUNE_SHARES] ? tune[CONF_TUNE_SHARES] : 1024;
	int64_t weight = tune[CONF_TUNE_SHARES] ? weight_of(shares) : 100;
	return cgroup_write_number(path, hierarchy->unified ? "cpu.weight" : "cpu.shares",
			    hierarchy->unified ? weight : shares, error) &&
	       set_bandwidth(path, hierarchy->unified, tune[CONF_TUNE_GLOBAL_PERIOD],
			     tune[CONF_TUNE_GLOBAL_QUOTA], error) &&
	       (hierarchy->unified || limit_parts(dom, conf, path, error));
}

/* --- Memory --------------------------------------------------------------------------------- */

static bool set_bytes(const char *path, const char *file, bool unified, int64_t kib, GError **error)
{
	if (kib)
		return cgroup_write_number(path, file, kib * 1024, error);
	return cgroup_write(path, file, unified ? "max" : "-1", error);
}

/*
 * In the unified hierarchy swap is counted by itself, or by an older kernel not at all. `both` is not less
 * than `hard`; without that all of it may be swap.
 */
static bool set_swap(const char *path, int64_t hard, int64_t both, GError **error)
{
	if (both)
		return cgroup_write_number(path, "memory.swap.max", (both - hard) * 1024, error);
	return !cgroup_has_file(path, "memory.swap.max") || cgroup_write(path, "memory.swap.max", "max", error);
}

static bool apply_memory(struct domain *dom, const struct conf_domain *conf,
			 const struct cgroup_hierarchy *hierarchy, GError **error)
{
	int64_t hard = conf->tune[CONF_TUNE_HARD_LIMIT], soft = conf->tune[CONF_TUNE_SOFT_LIMIT];
	int64_t both = conf->tune[CONF_TUNE_SWAP_HARD_LIMIT];
	g_autofree char *path = cgroup_enter(hierarchy, "memory", dom, error);
	if (!path)
		return false;
	if (hierarchy->unified)
		return set_bytes(path, "memory.max", true, hard, error) &&
		       set_bytes(path, "memory.high", true, soft, error) &&
		       set_swap(path, hard, both, error);
	/* Memory and swap together may not be less than memory alone: the larger one is set first. */
	bool swap = cgroup_has_file(path, "memory.memsw.limit_in_bytes");
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

bool cgroup_apply(struct domain *dom, const struct conf_domain *conf, GError **error)
{
	struct cgroup_hierarchy cpu = cgroup_find("cpu"), memory = cgroup_find("memory");
	bool good = (!any(conf, 0, CONF_TUNE_MEMORY) && !cgroup_exists(&cpu, dom)) ||
		    apply_cpu(dom, conf, &cpu, error);
	good = good && ((!any(conf, CONF_TUNE_MEMORY, CONF_TUNE_NUMBERS) && !cgroup_exists(&memory, dom)) ||
			apply_memory(dom, conf, &memory, error));
	g_free(cpu.mount);
	g_free(memory.mount);
	return good && cgroup_apply_io(dom, conf, error) && cgroup_apply_nodes(dom, conf, false, error);
}

bool cgroup_plan(struct domain_change *change, const struct conf_domain *old, const struct conf_domain *next,
		 GError **error)
{
	if (cgroup_apply(change->dom, next, error))
		return true;
	cgroup_apply(change->dom, old, NULL);
	return false;
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
	static const char *const controllers[] = {"cpu", "memory", "blkio", "io", "cpuset"};
	for (unsigned i = 0; i < G_N_ELEMENTS(controllers); i++) {
		struct cgroup_hierarchy hierarchy = cgroup_find(controllers[i]);
		g_autofree char *path = hierarchy.mount ? cgroup_path(&hierarchy, dom) : NULL;
		if (path)
			remove_group(path);
		g_free(hierarchy.mount);
	}
}
