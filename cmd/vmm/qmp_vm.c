/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: the machine's life, what it is, and the protocol itself. */
#include "vmm.h"

#include "dev/virtio/devices.h"

#include <string.h>

static json_t *run_capabilities(void *opaque, const json_t *args, GError **error)
{
	return NULL; /* the session does it */
}

static json_t *run_query_version(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return monitor_version(vmm->monitor);
}

static json_t *run_query_commands(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return monitor_command_names(vmm->monitor);
}

static json_t *run_query_schema(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return monitor_schema(vmm->monitor);
}

static json_t *run_query_status(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return json_pack("{s:s, s:b, s:b}", "status", vm_state_name(vmm->vm->state), "singlestep", 0,
			 "running", (int)vm_is_running(vmm->vm));
}

static json_t *run_query_name(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *result = json_object();
	if (vmm->conf->name.guest)
		json_object_set_new(result, "name", json_string(vmm->conf->name.guest));
	return result;
}

static json_t *run_query_uuid(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *uuid = vmm->conf->uuid;
	return json_pack("{s:s}", "UUID", uuid ? uuid : "00000000-0000-0000-0000-000000000000");
}

static json_t *run_query_kvm(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return json_pack("{s:b, s:b}", "enabled", (int)(strcmp(vmm->engine->name, "kvm") == 0),
			 "present", 1);
}

static json_t *run_query_target(void *opaque, const json_t *args, GError **error)
{
	return json_pack("{s:s}", "arch", "x86_64");
}

static json_t *describe_board(const struct machine_ops *board, const char *name, const char *of)
{
	json_t *entry = json_pack("{s:s, s:i, s:b, s:b, s:b, s:s}", "name", name, "cpu-max",
				  (int)board->max_cpus, "hotpluggable-cpus", (int)board->hotplug_cpus,
				  "numa-mem-supported", 0, "deprecated", 0, "default-cpu-type", "max");
	if (of)
		json_object_set_new(entry, "alias", json_string(of));
	if (board == machine_list()[0] && !of)
		json_object_set_new(entry, "is-default", json_true());
	return entry;
}

static json_t *run_query_machines(void *opaque, const json_t *args, GError **error)
{
	json_t *list = json_array();
	for (const struct machine_ops *const *board = machine_list(); *board; board++) {
		json_array_append_new(list, describe_board(*board, (*board)->name, NULL));
		for (const char *const *alias = (*board)->aliases; alias && *alias; alias++)
			json_array_append_new(list, describe_board(*board, *alias, (*board)->name));
	}
	return list;
}

static json_t *run_stop(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	if (vm_is_running(vmm->vm))
		vm_pause(vmm->vm, VM_STATE_PAUSED);
	return NULL;
}

static json_t *run_cont(void *opaque, const json_t *args, GError **error)
{
	life_resume(opaque, error);
	return NULL;
}

static json_t *run_quit(void *opaque, const json_t *args, GError **error)
{
	life_quit(opaque, "host-qmp-quit", 0);
	return NULL;
}

static json_t *run_system_reset(void *opaque, const json_t *args, GError **error)
{
	life_reset(opaque);
	return NULL;
}

static json_t *run_system_powerdown(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	machine_power_button(vmm->machine);
	monitor_emit(vmm->monitor, "POWERDOWN", NULL);
	return NULL;
}

static json_t *run_system_wakeup(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	if (!vmm->machine->sleeps)
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "wake-up from suspend is not supported by this guest");
	if (vmm->vm->state != VM_STATE_SUSPENDED)
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "Unable to wake up: guest is not in suspended state");
	vm_request(vmm->vm, VM_REQUEST_WAKE, 0);
	return NULL;
}

static json_t *run_query_current_machine(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return json_pack("{s:b}", "wakeup-suspend-support", (int)vmm->machine->sleeps);
}

static json_t *run_inject_nmi(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	machine_nmi(vmm->machine);
	return NULL;
}

static json_t *run_human(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *line = json_string_value(json_object_get(args, "command-line"));
	g_autofree char *output = monitor_execute_human(vmm->monitor, line);
	g_autofree char *valid = g_utf8_make_valid(output, -1);
	return json_string(valid);
}

static json_t *run_set_action(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct conf_action action = vmm->conf->action;
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)args, key, value) {
		g_autofree char *text = g_strdup_printf("%s=%s", key, json_string_value(value));
		if (!conf_action_merge(&action, text, error))
			return NULL;
	}
	vmm->conf->action = action;
	vmm->vm->config.pause_on_reset_request = action.reboot == CONF_REBOOT_SHUTDOWN;
	return NULL;
}

/* --- memory ---------------------------------------------------------------------------------------- */

static json_t *run_memory_summary(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return json_pack("{s:I, s:I}", "base-memory", (json_int_t)vmm->config.memory, "plugged-memory",
			 (json_int_t)machine_memory_plugged(vmm->machine));
}

static json_t *run_iothreads(void *opaque, const json_t *args, GError **error)
{
	return iothreads_list(opaque, error);
}

static struct device *find_balloon(struct vmm *vmm)
{
	struct virtio_balloon_stats stats;
	for (unsigned i = 0; i < vmm->machine->devices->len; i++) {
		struct device *dev = vmm->machine->devices->pdata[i];
		if (virtio_balloon_get_stats(dev, &stats))
			return dev;
	}
	return NULL;
}

static json_t *no_balloon(GError **error)
{
	return qmp_error(error, QMP_ERROR_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
}

static json_t *run_balloon(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct device *balloon = find_balloon(vmm);
	uint64_t wanted = json_integer_value(json_object_get(args, "value"));
	if (!balloon)
		return no_balloon(error);
	if (wanted == 0)
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "Parameter 'value' expects a size: the memory to leave the guest");
	uint64_t memory = modules_memory(vmm);
	virtio_balloon_set_target(balloon, wanted < memory ? memory - wanted : 0);
	return NULL;
}

static json_t *run_query_balloon(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct device *balloon = find_balloon(vmm);
	if (!balloon)
		return no_balloon(error);
	return json_pack("{s:I}", "actual",
			 (json_int_t)(modules_memory(vmm) - virtio_balloon_actual(balloon)));
}

static const struct qmp_command commands[] = {
	{"qmp_capabilities", "enable?:[str]", NULL, run_capabilities},
	{"query-version", NULL, "VersionInfo", run_query_version},
	{"query-commands", NULL, "[CommandInfo]", run_query_commands},
	{"query-qmp-schema", NULL, "[any]", run_query_schema},
	{"query-status", NULL, "StatusInfo", run_query_status},
	{"query-name", NULL, "NameInfo", run_query_name},
	{"query-uuid", NULL, "UuidInfo", run_query_uuid},
	{"query-kvm", NULL, "KvmInfo", run_query_kvm},
	{"query-target", NULL, "TargetInfo", run_query_target},
	{"query-machines", NULL, "[MachineInfo]", run_query_machines},
	{"stop", NULL, NULL, run_stop},
	{"cont", NULL, NULL, run_cont},
	{"quit", NULL, NULL, run_quit},
	{"system_reset", NULL, NULL, run_system_reset},
	{"system_powerdown", NULL, NULL, run_system_powerdown},
	{"system_wakeup", NULL, NULL, run_system_wakeup},
	{"query-current-machine", NULL, "CurrentMachineParams", run_query_current_machine},
	{"inject-nmi", NULL, NULL, run_inject_nmi},
	{"human-monitor-command", "command-line:str cpu-index?:int", "str", run_human},
	{"set-action", "reboot?:RebootAction shutdown?:ShutdownAction panic?:PanicAction "
		       "watchdog?:WatchdogAction", NULL, run_set_action},
	{"query-memory-size-summary", NULL, "MemoryInfo", run_memory_summary},
	{"query-iothreads", NULL, "[IOThreadInfo]", run_iothreads},
	{"balloon", "value:size", NULL, run_balloon},
	{"query-balloon", NULL, "BalloonInfo", run_query_balloon},
	{NULL},
};

static const struct qmp_type types[] = {
	{"VersionInfo", "qemu:VersionTriple package:str"},
	{"VersionTriple", "major:int minor:int micro:int"},
	{"CommandInfo", "name:str"},
	{"StatusInfo", "running:bool singlestep:bool status:RunState"},
	{"RunState", "=prelaunch running paused shutdown io-error internal-error guest-panicked "
		     "suspended watchdog save-vm"},
	{"NameInfo", "name?:str"},
	{"UuidInfo", "UUID:str"},
	{"KvmInfo", "enabled:bool present:bool"},
	{"TargetInfo", "arch:str"},
	{"MachineInfo", "name:str alias?:str is-default?:bool cpu-max:int hotpluggable-cpus:bool "
			"numa-mem-supported:bool deprecated:bool default-cpu-type?:str"},
	{"CurrentMachineParams", "wakeup-suspend-support:bool"},
	{"MemoryInfo", "base-memory:size plugged-memory?:size"},
	{"BalloonInfo", "actual:size"},
	{"IOThreadInfo", "id:str thread-id:int poll-max-ns:int poll-grow:int poll-shrink:int aio-max-batch:int"},
	{"RebootAction", "=reset shutdown"},
	{"ShutdownAction", "=poweroff pause"},
	{"PanicAction", "=pause shutdown exit-failure none"},
	{"WatchdogAction", "=reset shutdown poweroff pause debug none inject-nmi"},
	{"ShutdownCause", "=host-qmp-quit host-qmp-system-reset host-signal host-ui guest-shutdown "
			  "guest-reset guest-panic"},
	{"GuestPanicAction", "=pause poweroff run"},
	{"IoOperationType", "=read write"},
	{"BlockErrorAction", "=ignore report stop"},
	{NULL},
};

static const struct qmp_event events[] = {
	{"SHUTDOWN", "guest:bool reason:ShutdownCause"},
	{"POWERDOWN"},
	{"RESET", "guest:bool reason:ShutdownCause"},
	{"STOP"},
	{"RESUME"},
	{"SUSPEND"},
	{"SUSPEND_DISK"},
	{"WAKEUP"},
	{"GUEST_PANICKED", "action:GuestPanicAction"},
	{"WATCHDOG", "action:WatchdogAction", true},
	{"BALLOON_CHANGE", "actual:size", true},
	{"VSERPORT_CHANGE", "id:str open:bool"},
	{"RTC_CHANGE", "offset:int qom-path:str", true},
	{"DEVICE_TRAY_MOVED", "device:str id:str tray-open:bool"},
	{"BLOCK_IO_ERROR", "device:str node-name?:str operation:IoOperationType "
			   "action:BlockErrorAction nospace?:bool reason:str"},
	{NULL},
};

const struct qmp_table qmp_vm_table = {commands, types, events, NULL};
