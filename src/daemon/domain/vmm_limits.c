/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VMM's process may use of the host beyond its control groups: getrlimit(2). */
#include "daemon/domain/vmm_int.h"

#include "base/error.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Root need not have it: a container's often has not. */
static bool has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	return syscall(SYS_capget, &header, data) == 0 &&
	       data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

/* Beyond what the daemon itself may have at most? */
static bool may_have(int resource, rlim_t wanted)
{
	struct rlimit own;
	return has_capability(CAP_SYS_RESOURCE) ||
	       (getrlimit(resource, &own) == 0 && wanted <= own.rlim_max);
}

/* The limit does not bind who may lock whatever it wants. */
static bool needs_no_limit(const struct vmm *vmm)
{
	return !vmm->user && has_capability(CAP_IPC_LOCK);
}

static void set(struct vmm_limits *limits, int resource, rlim_t most)
{
	limits->list[limits->count++] =
		(struct vmm_limit){resource, {.rlim_cur = most, .rlim_max = most}};
}

/*
 * VFIO locks all memory that a guest may have, so that devices find it where they were told; as libvirt does, a GiB
 * is added for what else is mapped (the devices' own memory).
 */
static rlim_t vfio_lock(const struct conf_domain *conf)
{
	uint64_t kib = MAX(conf->max_memory_kib, conf->memory_kib);
	return (rlim_t)kib * 1024 + (UINT64_C(1) << 30);
}

bool vmm_limits_let_lock(const struct domain *dom, GError **error)
{
	const struct conf_domain *conf = dom->live;
	rlim_t wanted = conf->tune[CONF_TUNE_HARD_LIMIT] ? (rlim_t)conf->tune[CONF_TUNE_HARD_LIMIT] * 1024
						       : vfio_lock(conf);
	struct rlimit limit;
	if (needs_no_limit(dom->vmm))
		return true;
	if (prlimit(vmm_pid(dom), RLIMIT_MEMLOCK, NULL, &limit) == 0 && limit.rlim_cur >= wanted)
		return true;
	limit = (struct rlimit){.rlim_cur = wanted, .rlim_max = MAX(wanted, limit.rlim_max)};
	return prlimit(vmm_pid(dom), RLIMIT_MEMLOCK, &limit, NULL) == 0 ||
	       error_set_errno(error, errno, "the VMM may not be given so much locked memory, which VFIO needs: "
			       "raise the daemon's limit (ulimit -l)");
}

bool vmm_limits_choose(const struct vmm *vmm, struct vmm_limits *limits, GError **error)
{
	const struct conf_domain *conf = vmm->dom->live;
	const struct daemon *daemon = vmm->dom->all->daemon;
	int64_t hard_kib = conf->tune[CONF_TUNE_HARD_LIMIT];
	bool vfio = conf->hostdevs->len;
	rlim_t lock = hard_kib ? (rlim_t)hard_kib * 1024
		: vfio && !conf->backing.locked ? vfio_lock(conf) : RLIM_INFINITY;
	*limits = (struct vmm_limits){0};
	if ((hard_kib || conf->backing.locked || vfio) && may_have(RLIMIT_MEMLOCK, lock))
		set(limits, RLIMIT_MEMLOCK, lock);
	else if ((conf->backing.locked || vfio) && !needs_no_limit(vmm))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: the daemon may not give its VMM so much locked memory: raise its "
				 "limit (ulimit -l), or set a lower <hard_limit>",
				 vfio ? "<hostdev>" : "<locked/>");
	if (!daemon->max_files)
		return true;
	if (!may_have(RLIMIT_NOFILE, daemon->max_files))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "max_files = %u of the configuration is more than the daemon itself may have "
				 "(ulimit -Hn)", daemon->max_files);
	set(limits, RLIMIT_NOFILE, daemon->max_files);
	return true;
}

bool vmm_limits_apply(const struct vmm_limits *limits)
{
	for (unsigned i = 0; i < limits->count; i++) {
		if (setrlimit(limits->list[i].resource, &limits->list[i].value) < 0)
			return false;
	}
	return true;
}
