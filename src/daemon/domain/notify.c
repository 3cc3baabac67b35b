/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/notify.h"

#include "daemon/domain/agent.h"
#include "daemon/domain/blockjob.h"
#include "daemon/domain/change.h"
#include "daemon/domain/hotplug.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/vmm.h"

#include <string.h>

enum {
	ID_REBOOT = 1, ID_RTC_CHANGE = 2, ID_WATCHDOG = 3, ID_IO_ERROR = 4, ID_IO_ERROR_REASON = 6,
	ID_BLOCK_JOB = 8, ID_DISK_CHANGE = 9, ID_TRAY_CHANGE = 10, ID_PMWAKEUP = 11, ID_PMSUSPEND = 12,
	ID_BALLOON_CHANGE = 13, ID_PMSUSPEND_DISK = 14,
	ID_DEVICE_REMOVED = 15, ID_BLOCK_JOB_2 = 16, ID_TUNABLE = 17,
	ID_AGENT_LIFECYCLE = 18, ID_DEVICE_ADDED = 19, ID_JOB_COMPLETED = 21, ID_DEVICE_REMOVAL_FAILED = 22,
	ID_METADATA_CHANGE = 23, ID_BLOCK_THRESHOLD = 24, ID_MEMORY_DEVICE_SIZE = 26,
};

/*
 * Clients from before libvirt 1.3 register by the event's number alone, and get it by another procedure,
 * whose body is what the callback's has from the domain on.
 */
#define OLD_FORM(id, upper, lower)                                                                 \
	[id] = {REMOTE_DOMAIN_EVENT_##upper,                                                       \
		offsetof(struct remote_domain_event_callback_##lower##_args, dom)}
#define SAME_TAIL(lower, last)                                                                     \
	G_STATIC_ASSERT(offsetof(struct remote_domain_event_callback_##lower##_args, last) -       \
				offsetof(struct remote_domain_event_callback_##lower##_args, dom) == \
			offsetof(struct remote_domain_event_##lower##_args, last))

static const struct {
	enum remote_procedure procedure; /* 0: none */
	size_t tail;
} old_forms[] = {
	OLD_FORM(ID_REBOOT, REBOOT, reboot),
	OLD_FORM(ID_RTC_CHANGE, RTC_CHANGE, rtc_change),
	OLD_FORM(ID_WATCHDOG, WATCHDOG, watchdog),
	OLD_FORM(ID_IO_ERROR, IO_ERROR, io_error),
	OLD_FORM(ID_IO_ERROR_REASON, IO_ERROR_REASON, io_error_reason),
	OLD_FORM(ID_BLOCK_JOB, BLOCK_JOB, block_job),
	OLD_FORM(ID_DISK_CHANGE, DISK_CHANGE, disk_change),
	OLD_FORM(ID_TRAY_CHANGE, TRAY_CHANGE, tray_change),
	OLD_FORM(ID_PMWAKEUP, PMWAKEUP, pmwakeup),
	OLD_FORM(ID_PMSUSPEND, PMSUSPEND, pmsuspend),
	OLD_FORM(ID_BALLOON_CHANGE, BALLOON_CHANGE, balloon_change),
	OLD_FORM(ID_PMSUSPEND_DISK, PMSUSPEND_DISK, pmsuspend_disk),
	OLD_FORM(ID_DEVICE_REMOVED, DEVICE_REMOVED, device_removed),
};
SAME_TAIL(rtc_change, offset);
SAME_TAIL(watchdog, action);
SAME_TAIL(io_error, action);
SAME_TAIL(io_error_reason, reason);
SAME_TAIL(block_job, status);
SAME_TAIL(disk_change, reason);
SAME_TAIL(tray_change, reason);
SAME_TAIL(balloon_change, actual);
SAME_TAIL(device_removed, dev_alias);

static void emit_old(struct domain *dom, unsigned id, const void *body)
{
	if (id < G_N_ELEMENTS(old_forms) && old_forms[id].procedure)
		rpc_event_emit(dom->all->daemon->server, RPC_EVENT_DOMAIN_LEGACY, id, dom->uuid,
			       old_forms[id].procedure, (const char *)body + old_forms[id].tail, NULL);
}

static void emit(struct domain *dom, int id, enum remote_procedure procedure, const void *body,
		 int32_t *callback)
{
	if (!dom->all->daemon->server)
		return;
	rpc_event_emit(dom->all->daemon->server, RPC_EVENT_DOMAIN, id, dom->uuid, procedure, body, callback);
	emit_old(dom, id, body);
}

/* --- Events without a VMM's word ------------------------------------------------------------- */

void notify_reboot(struct domain *dom)
{
	struct remote_domain_event_callback_reboot_args body = {.dom = domain_wire(dom)};
	emit(dom, ID_REBOOT, REMOTE_DOMAIN_EVENT_CALLBACK_REBOOT, &body, &body.callback);
}

void notify_device_added(struct domain *dom, const char *alias)
{
	struct remote_domain_event_callback_device_added_args body = {.dom = domain_wire(dom),
								      .dev_alias = (char *)alias};
	emit(dom, ID_DEVICE_ADDED, REMOTE_DOMAIN_EVENT_CALLBACK_DEVICE_ADDED, &body, &body.callback);
}

void notify_device_removed(struct domain *dom, const char *alias)
{
	struct remote_domain_event_callback_device_removed_args body = {.dom = domain_wire(dom),
									.dev_alias = (char *)alias};
	emit(dom, ID_DEVICE_REMOVED, REMOTE_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED, &body,
	     &body.callback);
}

void notify_removal_failed(struct domain *dom, const char *alias)
{
	struct remote_domain_event_callback_device_removal_failed_args body = {.dom = domain_wire(dom),
									       .dev_alias = (char *)alias};
	emit(dom, ID_DEVICE_REMOVAL_FAILED, REMOTE_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED, &body,
	     &body.callback);
}

void notify_memory_size(struct domain *dom, const char *alias, uint64_t kib)
{
	struct remote_domain_event_memory_device_size_change_args body = {
		.dom = domain_wire(dom), .alias = (char *)alias, .size = kib};
	emit(dom, ID_MEMORY_DEVICE_SIZE, REMOTE_DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE, &body, &body.callback);
}

void notify_balloon(struct domain *dom, uint64_t actual_kib)
{
	struct remote_domain_event_callback_balloon_change_args body = {.dom = domain_wire(dom),
									.actual = actual_kib};
	emit(dom, ID_BALLOON_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE, &body,
	     &body.callback);
}

void notify_metadata(struct domain *dom, int type, const char *uri)
{
	struct remote_domain_event_callback_metadata_change_args body = {
		.dom = domain_wire(dom), .type = type, .nsuri = (char *)uri};
	emit(dom, ID_METADATA_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_METADATA_CHANGE, &body,
	     &body.callback);
}

void notify_media(struct domain *dom, const char *alias, const char *before, const char *after)
{
	struct remote_domain_event_callback_disk_change_args body = {
		.dom = domain_wire(dom), .old_src_path = (char *)before, .new_src_path = (char *)after,
		.dev_alias = (char *)alias, .reason = 0};
	emit(dom, ID_DISK_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_DISK_CHANGE, &body, &body.callback);
}

void notify_block_job(struct domain *dom, const char *target, const char *file, int type,
		      enum notify_block_job status)
{
	struct remote_domain_event_callback_block_job_args body = {
		.dom = domain_wire(dom), .path = (char *)file, .type = type, .status = status};
	emit(dom, ID_BLOCK_JOB, REMOTE_DOMAIN_EVENT_CALLBACK_BLOCK_JOB, &body, &body.callback);
	struct remote_domain_event_block_job_2_args by_target = {
		.dom = body.dom, .dst = (char *)target, .type = type, .status = status};
	emit(dom, ID_BLOCK_JOB_2, REMOTE_DOMAIN_EVENT_BLOCK_JOB_2, &by_target, &by_target.callback);
}

void notify_job_completed(struct domain *dom, struct xdr_param *params, uint32_t count)
{
	struct remote_domain_event_callback_job_completed_args body = {
		.dom = domain_wire(dom), .params = {count, params}};
	emit(dom, ID_JOB_COMPLETED, REMOTE_DOMAIN_EVENT_CALLBACK_JOB_COMPLETED, &body, &body.callback);
}

void notify_tunable(struct domain *dom, struct xdr_param *params, uint32_t count)
{
	struct remote_domain_event_callback_tunable_args body = {.dom = domain_wire(dom),
								 .params = {count, params}};
	emit(dom, ID_TUNABLE, REMOTE_DOMAIN_EVENT_CALLBACK_TUNABLE, &body, &body.callback);
}

void notify_threshold(struct domain *dom, const char *target, const char *file, uint64_t threshold,
		      uint64_t excess)
{
	char *path = (char *)file;
	struct remote_domain_event_block_threshold_args body = {
		.dom = domain_wire(dom), .dev = (char *)target, .path = path, .threshold = threshold,
		.excess = excess};
	emit(dom, ID_BLOCK_THRESHOLD, REMOTE_DOMAIN_EVENT_BLOCK_THRESHOLD, &body, &body.callback);
}

void notify_agent(struct domain *dom, bool connected)
{
	enum { CONNECTED = 1, DISCONNECTED = 2, BY_CHANNEL = 2 };
	struct remote_domain_event_callback_agent_lifecycle_args body = {
		.dom = domain_wire(dom), .state = connected ? CONNECTED : DISCONNECTED, .reason = BY_CHANNEL};
	emit(dom, ID_AGENT_LIFECYCLE, REMOTE_DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE, &body,
	     &body.callback);
}

/* --- The VMM's words -------------------------------------------------------------------------- */

static const char *text_of(const json_t *data, const char *key)
{
	const char *text = json_string_value(json_object_get(data, key));
	return text ? text : "";
}

static void on_shutdown(struct domain *dom, const json_t *data)
{
	agent_guest_ended(dom);
	if (dom->rebooting) {
		reboot_after_shutdown(dom);
		return;
	}
	dom->state = DOMAIN_SHUTDOWN;
	domain_emit(dom, EVENT_SHUTDOWN, 0);
}

static void on_stop(struct domain *dom, const json_t *data)
{
	if (dom->state != DOMAIN_RUNNING)
		return;
	dom->state = DOMAIN_PAUSED;
	dom->reason = dom->stop_reason ? dom->stop_reason : (int)PAUSED_USER;
	dom->stop_reason = 0;
	domain_emit(dom, EVENT_SUSPENDED, dom->reason == PAUSED_IOERROR ? SUSPENDED_IOERROR
		    : dom->reason == PAUSED_WATCHDOG ? SUSPENDED_WATCHDOG : 0);
}

static void on_resume(struct domain *dom, const json_t *data)
{
	if (dom->state != DOMAIN_PAUSED)
		return;
	dom->state = DOMAIN_RUNNING;
	dom->reason = RUNNING_UNPAUSED;
	domain_emit(dom, EVENT_RESUMED, 0);
}

static void awake(struct domain *dom)
{
	dom->state = DOMAIN_RUNNING;
	dom->reason = RUNNING_WAKEUP;
	domain_emit(dom, EVENT_STARTED, STARTED_WAKEUP);
}

static void on_suspend(struct domain *dom, const json_t *data)
{
	struct remote_domain_event_callback_pmsuspend_args body = {.dom = domain_wire(dom)};
	agent_guest_ended(dom);
	dom->state = DOMAIN_PMSUSPENDED;
	dom->reason = 0;
	domain_emit(dom, EVENT_PMSUSPENDED, 0);
	emit(dom, ID_PMSUSPEND, REMOTE_DOMAIN_EVENT_CALLBACK_PMSUSPEND, &body, &body.callback);
}

/* The power-off comes after it. */
static void on_suspend_disk(struct domain *dom, const json_t *data)
{
	struct remote_domain_event_callback_pmsuspend_disk_args body = {.dom = domain_wire(dom)};
	emit(dom, ID_PMSUSPEND_DISK, REMOTE_DOMAIN_EVENT_CALLBACK_PMSUSPEND_DISK, &body, &body.callback);
}

static void on_wakeup(struct domain *dom, const json_t *data)
{
	struct remote_domain_event_callback_pmwakeup_args body = {.dom = domain_wire(dom)};
	if (dom->state == DOMAIN_PMSUSPENDED)
		awake(dom);
	emit(dom, ID_PMWAKEUP, REMOTE_DOMAIN_EVENT_CALLBACK_PMWAKEUP, &body, &body.callback);
}

static void on_reset(struct domain *dom, const json_t *data)
{
	agent_guest_ended(dom);
	if (dom->state == DOMAIN_PMSUSPENDED)
		awake(dom);
	notify_reboot(dom);
}

static void on_balloon(struct domain *dom, const json_t *data)
{
	json_int_t actual = json_integer_value(json_object_get(data, "actual")) / 1024;
	if (actual < 0)
		return;
	dom->balloon_kib = actual;
	notify_balloon(dom, dom->balloon_kib);
}

static void on_device_deleted(struct domain *dom, const json_t *data)
{
	hotplug_device_gone(dom, text_of(data, "device"));
}

static void on_unplug_refused(struct domain *dom, const json_t *data)
{
	const char *alias = text_of(data, "device");
	if (!dom->live || !*alias || !conf_domain_find_alias(dom->live, alias))
		return;
	change_device_refused(dom, alias);
	notify_removal_failed(dom, alias);
}

static void on_memory_size(struct domain *dom, const json_t *data)
{
	json_int_t size = json_integer_value(json_object_get(data, "size"));
	memory_resized(dom, text_of(data, "id"), MAX(size, 0));
}

static void on_rtc_change(struct domain *dom, const json_t *data)
{
	struct remote_domain_event_callback_rtc_change_args body = {
		.dom = domain_wire(dom),
		.offset = json_integer_value(json_object_get(data, "offset"))};
	emit(dom, ID_RTC_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_RTC_CHANGE, &body, &body.callback);
}

static void on_tray(struct domain *dom, const json_t *data)
{
	bool open = json_is_true(json_object_get(data, "tray-open"));
	struct remote_domain_event_callback_tray_change_args body = {
		.dom = domain_wire(dom), .dev_alias = (char *)text_of(data, "id"), .reason = open ? 0 : 1};
	emit(dom, ID_TRAY_CHANGE, REMOTE_DOMAIN_EVENT_CALLBACK_TRAY_CHANGE, &body, &body.callback);
}

/* The disk by its device or, if that has no name, by its block node. */
static const struct conf_domain_disk *find_disk(const struct domain *dom, const json_t *data)
{
	const char *node = text_of(data, "node-name"), *device = text_of(data, "device");
	for (unsigned i = 0; dom->live && i < dom->live->disks->len; i++) {
		const struct conf_domain_disk *disk = dom->live->disks->pdata[i];
		const char *alias = disk->dev.alias;
		if (strcmp(device, alias) == 0 ||
		    (g_str_has_prefix(node, "drive-") && strcmp(node + strlen("drive-"), alias) == 0))
			return disk;
	}
	return NULL;
}

static void on_io_error(struct domain *dom, const json_t *data)
{
	static const char *const actions[] = {"ignore", "stop", "report", NULL};
	const struct conf_domain_disk *disk = find_disk(dom, data);
	int action = 0;
	while (actions[action] && strcmp(actions[action], text_of(data, "action")) != 0)
		action++;
	bool full = json_is_true(json_object_get(data, "nospace"));
	struct remote_domain_event_callback_io_error_args body = {
		.dom = domain_wire(dom), .src_path = disk && disk->file ? disk->file : (char *)"",
		.dev_alias = disk ? disk->dev.alias : (char *)"", .action = actions[action] ? action : 2};
	emit(dom, ID_IO_ERROR, REMOTE_DOMAIN_EVENT_CALLBACK_IO_ERROR, &body, &body.callback);
	struct remote_domain_event_callback_io_error_reason_args with_reason = {
		.dom = body.dom, .src_path = body.src_path, .dev_alias = body.dev_alias, .action = body.action,
		.reason = (char *)(full ? "enospc" : "")};
	emit(dom, ID_IO_ERROR_REASON, REMOTE_DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON, &with_reason,
	     &with_reason.callback);
	if (body.action == 1)
		dom->stop_reason = PAUSED_IOERROR;
}

static void on_port_change(struct domain *dom, const json_t *data)
{
	vmm_port_changed(dom, text_of(data, "id"), json_is_true(json_object_get(data, "open")));
}

static void on_threshold(struct domain *dom, const json_t *data)
{
	json_int_t threshold = json_integer_value(json_object_get(data, "write-threshold"));
	json_int_t excess = json_integer_value(json_object_get(data, "amount-exceeded"));
	notify_threshold_passed(dom, text_of(data, "node-name"), MAX(threshold, 0), MAX(excess, 0));
}

static void on_panic(struct domain *dom, const json_t *data)
{
	dom->stop_reason = PAUSED_CRASHED;
}

/* What the VMM does then, by libvirt's numbers; other words are no actions of ours. */
static void on_watchdog(struct domain *dom, const json_t *data)
{
	static const char *const actions[] = {"none", "pause", "reset", "poweroff", "shutdown", "debug",
					      "inject-nmi"};
	const char *action = json_string_value(json_object_get(data, "action"));
	struct remote_domain_event_callback_watchdog_args body = {.dom = domain_wire(dom), .action = -1};
	for (unsigned i = 0; action && i < G_N_ELEMENTS(actions); i++) {
		if (strcmp(actions[i], action) == 0)
			body.action = i;
	}
	if (body.action < 0)
		return;
	if (strcmp(action, "pause") == 0)
		dom->stop_reason = PAUSED_WATCHDOG;
	emit(dom, ID_WATCHDOG, REMOTE_DOMAIN_EVENT_CALLBACK_WATCHDOG, &body, &body.callback);
}

void notify_event(struct domain *dom, const char *name, const json_t *data)
{
	static const struct {
		const char *name;
		void (*fn)(struct domain *dom, const json_t *data);
	} handlers[] = {
		{"SHUTDOWN", on_shutdown}, {"STOP", on_stop}, {"RESUME", on_resume}, {"RESET", on_reset},
		{"SUSPEND", on_suspend}, {"SUSPEND_DISK", on_suspend_disk}, {"WAKEUP", on_wakeup},
		{"BALLOON_CHANGE", on_balloon}, {"DEVICE_DELETED", on_device_deleted},
		{"DEVICE_UNPLUG_GUEST_ERROR", on_unplug_refused},
		{"MEMORY_DEVICE_SIZE_CHANGE", on_memory_size}, {"RTC_CHANGE", on_rtc_change},
		{"DEVICE_TRAY_MOVED", on_tray},
		{"BLOCK_IO_ERROR", on_io_error}, {"GUEST_PANICKED", on_panic}, {"WATCHDOG", on_watchdog},
		{"VSERPORT_CHANGE", on_port_change}, {"BLOCK_WRITE_THRESHOLD", on_threshold},
	};
	if (g_str_has_prefix(name, "BLOCK_JOB_") && strcmp(name, "BLOCK_JOB_ERROR") != 0 &&
	    strcmp(name, "BLOCK_JOB_PENDING") != 0)
		block_job_event(dom, name, data);
	for (unsigned i = 0; i < G_N_ELEMENTS(handlers); i++) {
		if (strcmp(handlers[i].name, name) == 0)
			handlers[i].fn(dom, data);
	}
}
