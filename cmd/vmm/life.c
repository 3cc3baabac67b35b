/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What happens when the guest, a signal or a monitor asks for something. */
#include "vmm.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>

static void emit(struct vmm *vmm, const char *event, json_t *data)
{
	if (vmm->monitor)
		monitor_emit(vmm->monitor, event, data);
	else
		json_decref(data);
}

static void finish(struct vmm *vmm, int exit_code)
{
	vmm->quitting = true;
	vmm->exit_code = exit_code;
	aio_loop_quit(vmm->loop);
}

void life_quit(struct vmm *vmm, const char *reason, int exit_code)
{
	if (vmm->quitting)
		return;
	emit(vmm, "SHUTDOWN", json_pack("{s:b, s:s}", "guest", 0, "reason", reason));
	finish(vmm, exit_code);
}

bool life_resume(struct vmm *vmm, GError **error)
{
	if (dump_is_active(vmm))
		return error_set(error, BERTH_ERR_BUSY,
				 "the memory is being dumped: wait for its end, DUMP_COMPLETED");
	switch (vmm->vm->state) {
	case VM_STATE_SHUTDOWN:
	case VM_STATE_INTERNAL_ERROR:
		return error_set(error, BERTH_ERR_BUSY, "Resetting the Virtual Machine is required");
	case VM_STATE_SUSPENDED:
		return error_set(error, BERTH_ERR_BUSY,
				 "the guest sleeps: wake it with system_wakeup");
	default:
		disks_forget_errors(&vmm->backends);
		vm_resume(vmm->vm);
		return true;
	}
}

static void on_state_changed(void *opaque, enum vm_state state)
{
	struct vmm *vmm = opaque;
	/* Sleep is the guest's own; SUSPEND and WAKEUP tell of it. */
	bool running = state == VM_STATE_RUNNING || state == VM_STATE_SUSPENDED;
	if (running != vmm->was_running)
		emit(vmm, running ? "RESUME" : "STOP", NULL);
	vmm->was_running = running;
	iothreads_reconsider(vmm);
}

static void on_shutdown(struct vmm *vmm, bool by_guest, const char *reason, int code)
{
	if (vmm->quitting)
		return;
	emit(vmm, "SHUTDOWN", json_pack("{s:b, s:s}", "guest", (int)by_guest, "reason", reason));
	if (vmm->conf->action.shutdown == CONF_SHUTDOWN_POWEROFF)
		finish(vmm, code);
}

static void on_panic(struct vmm *vmm)
{
	static const char *const actions[] = {
		[CONF_PANIC_SHUTDOWN] = "poweroff",
		[CONF_PANIC_PAUSE] = "pause",
		[CONF_PANIC_NONE] = "run",
		[CONF_PANIC_EXIT_FAILURE] = "poweroff",
	};
	int action = vmm->conf->action.panic;
	log_warning("the guest's kernel has panicked");
	emit(vmm, "GUEST_PANICKED", json_pack("{s:s}", "action", actions[action]));
	if (action == CONF_PANIC_NONE)
		vm_resume(vmm->vm);
	else if (action == CONF_PANIC_EXIT_FAILURE)
		on_shutdown(vmm, true, "guest-panic", 1);
	else if (action == CONF_PANIC_SHUTDOWN)
		on_shutdown(vmm, true, "guest-panic", 0);
}

static void on_watchdog(struct vmm *vmm)
{
	static const char *const actions[] = {
		[CONF_WATCHDOG_RESET] = "reset", [CONF_WATCHDOG_SHUTDOWN] = "shutdown",
		[CONF_WATCHDOG_POWEROFF] = "poweroff", [CONF_WATCHDOG_PAUSE] = "pause",
		[CONF_WATCHDOG_DEBUG] = "debug", [CONF_WATCHDOG_NONE] = "none",
		[CONF_WATCHDOG_INJECT_NMI] = "inject-nmi",
	};
	int action = vmm->conf->action.watchdog;
	log_guest_fault("its watchdog has fired: %s", actions[action]);
	emit(vmm, "WATCHDOG", json_pack("{s:s}", "action", actions[action]));
	switch (action) {
	case CONF_WATCHDOG_RESET:
		vm_request(vmm->vm, VM_REQUEST_RESET, 0);
		break;
	case CONF_WATCHDOG_SHUTDOWN:
		machine_power_button(vmm->machine);
		emit(vmm, "POWERDOWN", NULL);
		break;
	case CONF_WATCHDOG_POWEROFF:
		vm_request(vmm->vm, VM_REQUEST_SHUTDOWN, 0);
		break;
	case CONF_WATCHDOG_PAUSE:
		/* A VM that was stopped meanwhile stays what it is: shut down, for one. */
		if (vmm->vm->state == VM_STATE_RUNNING)
			vm_pause(vmm->vm, VM_STATE_WATCHDOG);
		break;
	case CONF_WATCHDOG_INJECT_NMI:
		machine_nmi(vmm->machine);
		break;
	}
}

static void on_requested(void *opaque, enum vm_request request, int code)
{
	struct vmm *vmm = opaque;
	switch (request) {
	case VM_REQUEST_SHUTDOWN:
		on_shutdown(vmm, true, "guest-shutdown", code);
		break;
	case VM_REQUEST_PANIC:
		on_panic(vmm);
		break;
	case VM_REQUEST_WATCHDOG:
		on_watchdog(vmm);
		break;
	case VM_REQUEST_SUSPEND:
		emit(vmm, "SUSPEND", NULL);
		break;
	case VM_REQUEST_WAKE:
		emit(vmm, "WAKEUP", NULL);
		break;
	case VM_REQUEST_INTERNAL_ERROR:
		log_error("the guest cannot go on; it is paused for a look: reset it with "
			  "system_reset and cont, or quit");
		if (vmm->conf->nodefaults && vmm->conf->monitors->len == 0)
			finish(vmm, 1);
		break;
	case VM_REQUEST_RESET:
		if (vmm->conf->action.reboot == CONF_REBOOT_SHUTDOWN)
			on_shutdown(vmm, true, "guest-reset", 0);
		break;
	case VM_REQUEST_COUNT:
		break;
	}
}

void life_reset(struct vmm *vmm)
{
	if (vmm->conf->action.reboot == CONF_REBOOT_SHUTDOWN) {
		vm_pause(vmm->vm, VM_STATE_SHUTDOWN);
		on_shutdown(vmm, false, "host-qmp-system-reset", 0);
		return;
	}
	vm_reset(vmm->vm, false);
	/* A machine that a guest has ended or broken is whole again. */
	if (vmm->vm->state == VM_STATE_SHUTDOWN || vmm->vm->state == VM_STATE_INTERNAL_ERROR ||
	    vmm->vm->state == VM_STATE_GUEST_PANICKED)
		vm_pause(vmm->vm, VM_STATE_PAUSED);
}

static void on_reset(void *opaque, bool by_guest)
{
	iothreads_reconsider(opaque);
	emit(opaque, "RESET",
	     json_pack("{s:b, s:s}", "guest", (int)by_guest, "reason",
		       by_guest ? "guest-reset" : "host-qmp-system-reset"));
}

/* As device_del does; the kernel asks again if it has to wait. */
static void ask_back(struct vmm *vmm, const char *id)
{
	g_autoptr(GError) error = NULL;
	if (!machine_remove_device(vmm->machine, id, &error))
		log_warning("the host wants a device back, but it cannot be unplugged: %s", error->message);
}

static void on_notice(void *opaque, const struct vm_notice *notice)
{
	switch (notice->kind) {
	case VM_NOTICE_CLOCK_SET:
		emit(opaque, "RTC_CHANGE",
		     json_pack("{s:I, s:s}", "offset", (json_int_t)notice->offset, "qom-path",
			       "/machine/rtc"));
		break;
	case VM_NOTICE_DEVICE_WANTED:
		ask_back(opaque, notice->device);
		break;
	case VM_NOTICE_SUSPEND_DISK:
		emit(opaque, "SUSPEND_DISK", NULL);
		break;
	case VM_NOTICE_TRAY_MOVED:
		emit(opaque, "DEVICE_TRAY_MOVED",
		     json_pack("{s:s, s:s, s:b}", "device", notice->device, "id", notice->device,
			       "tray-open", (int)notice->open));
		break;
	case VM_NOTICE_IO_ERROR:
		emit(opaque, "BLOCK_IO_ERROR",
		     json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "device", notice->device,
			       "node-name", notice->device, "operation",
			       notice->write ? "write" : "read", "action", notice->action, "nospace",
			       (int)(notice->error == ENOSPC), "reason",
			       g_strerror(notice->error)));
		break;
	}
}

static void on_terminal_quit(void *opaque)
{
	life_quit(opaque, "host-ui", 0);
}

void life_connect(struct vmm *vmm)
{
	vmm->vm->events = (struct vm_events){
		.state_changed = on_state_changed,
		.requested = on_requested,
		.was_reset = on_reset,
		.noticed = on_notice,
		.opaque = vmm,
	};
	for (unsigned i = 0; i < vmm->backends.chardevs->len; i++)
		chardev_mux_set_quit(vmm->backends.chardevs->pdata[i], on_terminal_quit, vmm);
}
