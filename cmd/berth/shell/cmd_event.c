/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events of domains. */
#include "table.h"

#include "event.h"
#include "job.h"
#include "shell.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ARGS(procedure, args) const struct remote_##procedure##_args *e = args

static void head(GString *out, const struct event_kind *kind, struct remote_domain dom)
{
	g_string_append_printf(out, "event '%s' for domain '%s'", kind->name, dom.name);
}

/* --- Lifecycle -------------------------------------------------------------------------------- */

static const char *const lifecycles[] = {"Defined", "Undefined", "Started", "Suspended", "Resumed",
					 "Stopped", "Shutdown", "PMSuspended", "Crashed"};
static const char *const details[][10] = {
	{"Added", "Updated", "Renamed", "Snapshot"},
	{"Removed", "Renamed"},
	{"Booted", "Migrated", "Restored", "Snapshot", "Event wakeup"},
	{"Paused", "Migrated", "I/O Error", "Watchdog", "Restored", "Snapshot", "API error", "Post-copy",
	 "Post-copy Error"},
	{"Unpaused", "Migrated", "Snapshot", "Post-copy", "Post-copy Error"},
	{"Shutdown", "Destroyed", "Crashed", "Migrated", "Saved", "Failed", "Snapshot"},
	{"Finished", "Finished after guest request", "Finished after host request"},
	{"Memory", "Disk"},
	{"Panicked", "Crashloaded"},
};

static void format_lifecycle(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_lifecycle, args);
	const char *detail = NULL;
	if (e->event >= 0 && (size_t)e->event < G_N_ELEMENTS(details) && e->detail >= 0 &&
	    (size_t)e->detail < G_N_ELEMENTS(details[0]))
		detail = details[e->event][e->detail];
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %s %s\n", EVENT_WORD(lifecycles, e->event),
			       detail ? detail : "unknown");
}

/* --- Those that say nothing more -------------------------------------------------------------- */

static void format_plain(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_reboot, args);
	head(out, kind, e->dom);
	g_string_append_c(out, '\n');
}

static void format_pm(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_pmwakeup, args);
	head(out, kind, e->dom);
	g_string_append_c(out, '\n');
}

/* --- Devices ---------------------------------------------------------------------------------- */

static const char *const io_actions[] = {"none", "pause", "report"};

static void format_rtc(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_rtc_change, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %" PRId64 "\n", e->offset);
}

static void format_watchdog(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const actions[] = {"none", "pause", "reset", "poweroff", "shutdown", "debug",
					      "inject-nmi"};
	ARGS(domain_event_callback_watchdog, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %s\n", EVENT_WORD(actions, e->action));
}

static void format_io_error(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_io_error, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %s (%s) %s\n", e->src_path, e->dev_alias,
			       EVENT_WORD(io_actions, e->action));
}

static void format_io_error_reason(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_io_error_reason, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %s (%s) %s due to %s\n", e->src_path, e->dev_alias,
			       EVENT_WORD(io_actions, e->action), e->reason);
}

static void format_graphics(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const phases[] = {"connect", "initialize", "disconnect"};
	static const char *const families[] = {"IPv4", "IPv6", "unix"};
	ARGS(domain_event_callback_graphics, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %s local[%s %s %s] remote[%s %s %s] %s\n",
			       EVENT_WORD(phases, e->phase), EVENT_WORD(families, e->local.family),
			       e->local.node, e->local.service, EVENT_WORD(families, e->remote.family),
			       e->remote.node, e->remote.service, e->auth_scheme);
	for (uint32_t i = 0; i < e->subject.count; i++)
		g_string_append_printf(out, "\t%s=%s\n", e->subject.items[i].type, e->subject.items[i].name);
}

static const char *const block_jobs[] = {"Unknown job", "Block Pull", "Block Copy", "Block Commit",
					 "Active Block Commit", "Backup"};
static const char *const block_statuses[] = {"completed", "failed", "canceled", "ready"};

static void format_block_job(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_block_job, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %s for %s %s\n", EVENT_WORD(block_jobs, e->type), e->path,
			       EVENT_WORD(block_statuses, e->status));
}

static void format_disk_change(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const reasons[] = {"changed", "dropped"};
	ARGS(domain_event_callback_disk_change, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, " disk %s: %s -> %s: %s\n", e->dev_alias,
			       e->old_src_path ? e->old_src_path : "<null>",
			       e->new_src_path ? e->new_src_path : "<null>", EVENT_WORD(reasons, e->reason));
}

static void format_tray_change(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const reasons[] = {"opened", "closed"};
	ARGS(domain_event_callback_tray_change, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, " disk %s: %s\n", e->dev_alias, EVENT_WORD(reasons, e->reason));
}

static void format_balloon(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_balloon_change, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %" PRIu64 "KiB\n", e->actual);
}

static void format_device(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_device_removed, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": %s\n", e->dev_alias);
}

static void format_threshold(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_block_threshold, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": dev: %s(%s) %" PRIu64 " %" PRIu64 "\n", e->dev,
			       e->path ? e->path : "<null>", e->threshold, e->excess);
}

/* --- The rest --------------------------------------------------------------------------------- */

static void append_params(GString *out, const struct xdr_param *params, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		g_autofree char *text = param_text(&params[i]);
		g_string_append_printf(out, "\t%s: %s\n", params[i].name, text);
	}
}

static void format_tunable(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_tunable, args);
	head(out, kind, e->dom);
	g_string_append(out, ":\n");
	append_params(out, e->params.items, e->params.count);
}

static void format_agent(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const states[] = {"unknown", "connected", "disconnected"};
	static const char *const reasons[] = {"unknown", "domain started", "channel event"};
	ARGS(domain_event_callback_agent_lifecycle, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": state: '%s' reason: '%s'\n", EVENT_WORD(states, e->state),
			       EVENT_WORD(reasons, e->reason));
}

static void format_iteration(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_migration_iteration, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": iteration: '%d'\n", e->iteration);
}

static void format_job_completed(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_callback_job_completed, args);
	head(out, kind, e->dom);
	g_string_append(out, ":\n");
	append_params(out, e->params.items, e->params.count);
}

static void format_metadata(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const types[] = {"description", "title", "element"};
	ARGS(domain_event_callback_metadata_change, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ": type %s, uri %s\n", EVENT_WORD(types, e->type),
			       e->nsuri ? e->nsuri : "<null>");
}

static void format_memory_failure(GString *out, const struct event_kind *kind, const void *args)
{
	static const char *const recipients[] = {"hypervisor", "guest"};
	static const char *const actions[] = {"ignore", "inject", "fatal", "reset"};
	ARGS(domain_event_memory_failure, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ":\nrecipient: %s\naction: %s\n", EVENT_WORD(recipients, e->recipient),
			       EVENT_WORD(actions, e->action));
	g_string_append_printf(out, "flags:\n\taction required: %d\n\trecursive: %d\n", (e->flags & 1) != 0,
			       (e->flags & 2) != 0);
}

static void format_memory_size(GString *out, const struct event_kind *kind, const void *args)
{
	ARGS(domain_event_memory_device_size_change, args);
	head(out, kind, e->dom);
	g_string_append_printf(out, ":\nalias: %s\nsize: %" PRIu64 "\n", e->alias, e->size);
}

static const struct event_kind domain_kinds[] = {
	{"lifecycle", REMOTE_DOMAIN_EVENT_CALLBACK_LIFECYCLE, format_lifecycle},
	{"reboot", REMOTE_DOMAIN_EVENT_CALLBACK_REBOOT, format_plain},
	{"rtc-change", REMOTE_DOMAIN_EVENT_CALLBACK_RTC_CHANGE, format_rtc},
	{"watchdog", REMOTE_DOMAIN_EVENT_CALLBACK_WATCHDOG, format_watchdog},
	{"io-error", REMOTE_DOMAIN_EVENT_CALLBACK_IO_ERROR, format_io_error},
	{"graphics", REMOTE_DOMAIN_EVENT_CALLBACK_GRAPHICS, format_graphics},
	{"io-error-reason", REMOTE_DOMAIN_EVENT_CALLBACK_IO_ERROR_REASON, format_io_error_reason},
	{"control-error", REMOTE_DOMAIN_EVENT_CALLBACK_CONTROL_ERROR, format_plain},
	{"block-job", REMOTE_DOMAIN_EVENT_CALLBACK_BLOCK_JOB, format_block_job},
	{"disk-change", REMOTE_DOMAIN_EVENT_CALLBACK_DISK_CHANGE, format_disk_change},
	{"tray-change", REMOTE_DOMAIN_EVENT_CALLBACK_TRAY_CHANGE, format_tray_change},
	{"pm-wakeup", REMOTE_DOMAIN_EVENT_CALLBACK_PMWAKEUP, format_pm},
	{"pm-suspend", REMOTE_DOMAIN_EVENT_CALLBACK_PMSUSPEND, format_pm},
	{"balloon-change", REMOTE_DOMAIN_EVENT_CALLBACK_BALLOON_CHANGE, format_balloon},
	{"pm-suspend-disk", REMOTE_DOMAIN_EVENT_CALLBACK_PMSUSPEND_DISK, format_pm},
	{"device-removed", REMOTE_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVED, format_device},
	{"block-job-2", REMOTE_DOMAIN_EVENT_BLOCK_JOB_2, format_block_job},
	{"tunable", REMOTE_DOMAIN_EVENT_CALLBACK_TUNABLE, format_tunable},
	{"agent-lifecycle", REMOTE_DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE, format_agent},
	{"device-added", REMOTE_DOMAIN_EVENT_CALLBACK_DEVICE_ADDED, format_device},
	{"migration-iteration", REMOTE_DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION, format_iteration},
	{"job-completed", REMOTE_DOMAIN_EVENT_CALLBACK_JOB_COMPLETED, format_job_completed},
	{"device-removal-failed", REMOTE_DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED, format_device},
	{"metadata-change", REMOTE_DOMAIN_EVENT_CALLBACK_METADATA_CHANGE, format_metadata},
	{"block-threshold", REMOTE_DOMAIN_EVENT_BLOCK_THRESHOLD, format_threshold},
	{"memory-failure", REMOTE_DOMAIN_EVENT_MEMORY_FAILURE, format_memory_failure},
	{"memory-device-size-change", REMOTE_DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE, format_memory_size},
};

static int subscribe(struct shell *sh, int number, const void *object)
{
	struct remote_connect_domain_event_callback_register_any_ret ret;
	return GET(sh, connect_domain_event_callback_register_any, &ret, number,
		   (struct remote_domain *)object) ? ret.callback : -1;
}

static bool unsubscribe(struct shell *sh, int callback)
{
	return CALL(sh, connect_domain_event_callback_deregister_any, callback);
}

bool cmd_event(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct event_wait wait = {domain_kinds, G_N_ELEMENTS(domain_kinds), opt_bool(cmd, "all"), subscribe,
				  unsubscribe, NULL};
	const char *name;
	if (!opt_exclusive(sh, cmd, "all", "event") || !opt_exclusive(sh, cmd, "list", "all") ||
	    !opt_exclusive(sh, cmd, "list", "event"))
		return false;
	if (opt_bool(cmd, "list"))
		return event_list(&wait);
	if (!opt_string(sh, cmd, "event", &name))
		return false;
	if (!name && !wait.all)
		return shell_fail(sh, "one of --list, --all, or --event <type> is required");
	if (opt_bool(cmd, "domain")) {
		if (!shell_domain(sh, cmd, NULL, &dom))
			return false;
		wait.object = &dom;
	}
	return event_run(sh, cmd, &wait);
}

/* --- Monitors --------------------------------------------------------------------------------- */

enum { QEMU_EVENT_REGISTER = 4, QEMU_EVENT_DEREGISTER = 5 };

static void print_monitor_event(const struct cmd *cmd, const struct remote_qemu_event *event)
{
	json_t *value = event->details && opt_bool(cmd, "pretty") ? json_loads(event->details, 0, NULL) : NULL;
	char *pretty = value ? json_dumps(value, JSON_INDENT(2)) : NULL;
	const char *text = pretty ? pretty : event->details ? event->details : "<null>";
	if (opt_bool(cmd, "timestamp")) {
		event_print_time();
		shell_print("event %s for domain '%s': %s\n", event->event, event->dom.name, text);
	} else {
		shell_print("event %s at %" PRId64 ".%06u for domain '%s': %s\n", event->event,
			    event->seconds, event->micros, event->dom.name, text);
	}
	free(pretty);
	json_decref(value);
}

static bool wait_monitor(struct shell *sh, const struct cmd *cmd, int timeout, unsigned *received)
{
	gint64 end = timeout ? g_get_monotonic_time() + (gint64)timeout * 1000 : 0;
	struct client_event event;
	while (!*received || opt_bool(cmd, "loop")) {
		int left = end ? MAX(0, (end - g_get_monotonic_time() + 999) / 1000) : -1;
		int got = client_next_event(sh->client, left, &event, shell_error(sh));
		if (got < 0)
			return false;
		if (got > 0 && event.program == QEMU_PROGRAM) {
			print_monitor_event(cmd, event.args);
			++*received;
		} else if (got == 0 && interrupted()) {
			shell_print("event loop interrupted\n");
			return true;
		} else if (got == 0 && end && g_get_monotonic_time() >= end) {
			shell_print("event loop timed out\n");
			return true;
		}
	}
	return true;
}

bool cmd_qemu_monitor_event(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {{"regex", 1}, {"no-case", 2}, {NULL}};
	struct remote_qemu_event_register args = {.flags = opt_flags(cmd, table)};
	struct remote_qemu_event_callback callback;
	struct remote_domain dom;
	const char *name;
	unsigned received = 0;
	int timeout = opt_timeout(sh, cmd);
	if (timeout < 0 || !opt_string(sh, cmd, "event", &name))
		return false;
	args.event = (char *)name;
	if (opt_bool(cmd, "domain")) {
		if (!shell_domain(sh, cmd, NULL, &dom))
			return false;
		args.dom = &dom;
	}
	if (!client_call_program(sh->client, QEMU_PROGRAM, QEMU_EVENT_REGISTER,
				 &remote_qemu_event_register_type, &args, &remote_qemu_event_callback_type,
				 &callback, shell_error(sh)))
		return false;
	interrupts_catch();
	bool good = wait_monitor(sh, cmd, timeout, &received);
	interrupts_restore();
	if (good)
		shell_print("events received: %u\n", received);
	good = good && client_call_program(sh->client, QEMU_PROGRAM, QEMU_EVENT_DEREGISTER,
					   &remote_qemu_event_callback_type, &callback, NULL, NULL,
					   shell_error(sh));
	return good && received;
}
