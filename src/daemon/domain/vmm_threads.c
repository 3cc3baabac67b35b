/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMM's threads, and which of the host's CPUs they may use. */
#include "daemon/domain/vmm_int.h"

#include "base/error.h"
#include "daemon/domain/process.h"

#include <errno.h>

/* [{"cpu-index": 0, "thread-id": 123}]; what a VMM says of threads that are not its own is ignored. */
void vmm_take_threads(struct vmm *vmm, const json_t *list)
{
	unsigned count = MIN(json_array_size(list), vmm->dom->live->max_vcpus);
	g_free(vmm->threads);
	vmm->threads = g_new0(pid_t, count + 1);
	for (unsigned i = 0; i < count; i++) {
		pid_t thread = json_integer_value(json_object_get(json_array_get(list, i), "thread-id"));
		g_autofree char *path = g_strdup_printf("/proc/%d/task/%d", (int)vmm->pid, (int)thread);
		if (thread <= 0 || !g_file_test(path, G_FILE_TEST_EXISTS))
			break;
		vmm->threads[i] = thread;
	}
}

pid_t vmm_vcpu_thread(const struct domain *dom, unsigned vcpu)
{
	const pid_t *threads = dom->vmm ? dom->vmm->threads : NULL;
	for (unsigned i = 0; threads && threads[i]; i++) {
		if (i == vcpu)
			return threads[i];
	}
	return 0;
}

int vmm_pin(struct domain *dom, int vcpu, const uint8_t *map, unsigned length)
{
	static const pid_t none[] = {0};
	const struct vmm *vmm = dom->vmm;
	if (vcpu < 0)
		return process_pin_others(vmm->pid, vmm->threads ? vmm->threads : none, map, length);
	pid_t thread = vmm_vcpu_thread(dom, vcpu);
	return thread ? process_pin(thread, map, length) : ESRCH;
}

/* As the document says; the host may have fewer CPUs than it had when that was written. */
bool vmm_pin_all(struct domain *dom, GError **error)
{
	for (int vcpu = -1; vcpu < (int)dom->live->vcpus; vcpu++) {
		uint8_t map[64];
		g_autofree char *cpuset = conf_domain_cpuset(dom->live, vcpu);
		if (!cpuset || !conf_cpuset_parse(cpuset, map, sizeof(map)))
			continue;
		int failed = vmm_pin(dom, vcpu, map, sizeof(map));
		if (failed)
			return error_set_errno(error, failed, "cannot pin to the host's CPUs %s", cpuset);
	}
	return true;
}
