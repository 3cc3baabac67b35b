/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VMM's process may use of the host beyond its control groups: getrlimit(2). */
#include "daemon/domain/vmm_int.h"

#include "base/error.h"

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

bool vmm_limits_choose(const struct vmm *vmm, struct vmm_limits *limits, GError **error)
{
	const struct conf_domain *conf = vmm->dom->live;
	const struct daemon *daemon = vmm->dom->all->daemon;
	int64_t hard_kib = conf->tune[CONF_TUNE_HARD_LIMIT];
	rlim_t lock = hard_kib ? (rlim_t)hard_kib * 1024 : RLIM_INFINITY;
	*limits = (struct vmm_limits){0};
	if ((hard_kib || conf->backing.locked) && may_have(RLIMIT_MEMLOCK, lock))
		set(limits, RLIMIT_MEMLOCK, lock);
	else if (conf->backing.locked && !needs_no_limit(vmm))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "<locked/>: the daemon may not give its VMM so much locked memory: raise its "
				 "limit (ulimit -l), or set a lower <hard_limit>");
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
