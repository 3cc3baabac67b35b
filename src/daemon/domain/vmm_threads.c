/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMM's threads, and which of the host's CPUs they may use. */
#include "daemon/domain/vmm_int.h"

#include "base/error.h"
#include "daemon/domain/process.h"

#include <errno.h>
#include <string.h>

/*
 * [{"cpu-index": 0, "thread-id": 123, "qom-path": "..."}]; what a VMM says of threads that are not its own
 * is ignored.
 */
unsigned vmm_take_threads(struct domain *dom, const json_t *list)
{
	struct vmm *vmm = dom->vmm;
	unsigned count = MIN(json_array_size(list), dom->live->max_vcpus), i;
	g_free(vmm->threads);
	g_free(vmm->plugged);
	vmm->threads = g_new0(pid_t, count + 1);
	vmm->plugged = g_new0(bool, count + 1);
	for (i = 0; i < count; i++) {
		const json_t *cpu = json_array_get(list, i);
		const char *qom = json_string_value(json_object_get(cpu, "qom-path"));
		pid_t thread = json_integer_value(json_object_get(cpu, "thread-id"));
		g_autofree char *path = g_strdup_printf("/proc/%d/task/%d", (int)vmm->pid, (int)thread);
		if (thread <= 0 || !g_file_test(path, G_FILE_TEST_EXISTS))
			break;
		vmm->threads[i] = thread;
		vmm->plugged[i] = qom && g_str_has_prefix(qom, "/machine/peripheral/");
	}
	return i;
}

bool vmm_vcpu_is_plugged(const struct domain *dom, unsigned vcpu)
{
	return vmm_vcpu_thread(dom, vcpu) && dom->vmm->plugged[vcpu];
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
		if (!cpuset && vcpu > 0 && vmm_vcpu_is_plugged(dom, vcpu))
			memset(map, 0xff, sizeof(map)); /* it was among the emulator's threads */
		else if (!cpuset || !conf_cpuset_parse(cpuset, map, sizeof(map)))
			continue;
		int failed = vmm_pin(dom, vcpu, map, sizeof(map));
		if (failed)
			return error_set_errno(error, failed, "cannot pin to the host's CPUs %s",
					       cpuset ? cpuset : "");
	}
	return true;
}
