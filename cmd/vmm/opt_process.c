/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options: the process, its life and its rights; help and diagnosis. */
#include "options.h"

#include "base/error.h"

#include <string.h>

static bool apply_daemonize(struct options *o, const char *value, GError **error)
{
	return o->conf->daemonize = true;
}

static bool apply_pidfile(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->pidfile, value);
}

static bool apply_paused(struct options *o, const char *value, GError **error)
{
	return o->conf->paused = true;
}

static bool apply_no_reboot(struct options *o, const char *value, GError **error)
{
	o->conf->action.reboot = CONF_REBOOT_SHUTDOWN;
	return true;
}

static bool apply_no_shutdown(struct options *o, const char *value, GError **error)
{
	o->conf->action.shutdown = CONF_SHUTDOWN_PAUSE;
	return true;
}

static bool apply_action(struct options *o, const char *value, GError **error)
{
	return conf_action_merge(&o->conf->action, value, error);
}

static bool apply_watchdog_action(struct options *o, const char *value, GError **error)
{
	g_autofree char *text = g_strdup_printf("watchdog=%s", value);
	return conf_action_merge(&o->conf->action, text, error);
}

static bool apply_sandbox(struct options *o, const char *value, GError **error)
{
	return conf_sandbox_merge(&o->conf->sandbox, value, error);
}

static bool apply_runas(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->run_as, value);
}

static bool apply_chroot(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->chroot, value);
}

static bool apply_msg(struct options *o, const char *value, GError **error)
{
	struct msg {
		bool timestamp;
	} given = {0};
	static const struct keyval_field fields[] = {
		{"timestamp", KEYVAL_BOOL, offsetof(struct msg, timestamp)},
		{"guest-name", KEYVAL_OFF, .help = "each machine has a process and a log of its own"},
		{NULL},
	};
	auto_keyval kv = keyval_parse(value, NULL, error);
	if (!kv || !keyval_bind(kv, fields, &given, "-msg", NULL, error))
		return false;
	o->conf->log_timestamps = given.timestamp;
	return true;
}

static bool apply_readconfig(struct options *o, const char *value, GError **error)
{
	g_autofree char *text = NULL;
	g_autoptr(GError) cause = NULL;
	if (o->forbid_files)
		return error_set(error, BERTH_ERR_INVALID, "-readconfig is not allowed here");
	if (!g_file_get_contents(value, &text, NULL, &cause))
		return error_set(error, BERTH_ERR_IO, "-readconfig: %s", cause->message);
	return options_read_config(o, text, value, error);
}

const struct option options_process[] = {
	{"S", NULL, "Start paused; the monitor's cont starts the guest.", apply_paused},
	{"no-reboot", NULL, "A reboot of the guest ends the process.", apply_no_reboot},
	{"no-shutdown", NULL, "A power-off of the guest leaves the machine paused.",
	 apply_no_shutdown},
	{"action", "[reboot=reset|shutdown][,shutdown=poweroff|pause][,panic=ACTION][,watchdog=ACTION]",
	 "What happens when the guest reboots, powers off, panics or hangs. panic is shutdown, "
	 "pause, none or exit-failure.",
	 apply_action},
	{"watchdog-action", "ACTION", "The same as -action watchdog=ACTION.", apply_watchdog_action},
	{"daemonize", NULL, "Go into the background once the machine is set up.", apply_daemonize},
	{"pidfile", "FILE", "Write the process's number to a file; removed at the end.",
	 apply_pidfile},
	{"sandbox", "on|off[,spawn=allow|deny][,resourcecontrol=allow|deny]",
	 "The system call filter, on by default; spawn=allow lets tap scripts run at hotplug and "
	 "exit.",
	 apply_sandbox},
	{"runas", "USER | UID:GID", "Give up root for this user once everything is open.",
	 apply_runas},
	{"chroot", "FOLDER", "Make this the root folder once everything is open.", apply_chroot},
	{"readconfig", "FILE", "Read options from a file of [group \"id\"] sections.",
	 apply_readconfig},
	{"msg", "timestamp=on|off", "Times before log lines.", apply_msg},
	{NULL},
};

static bool apply_help(struct options *o, const char *value, GError **error)
{
	o->show = SHOW_HELP;
	return true;
}

static bool apply_version(struct options *o, const char *value, GError **error)
{
	o->show = SHOW_VERSION;
	return true;
}

const struct log_item options_log_items[] = {
	{"all", 0, "everything below warnings"},
	{"guest_errors", 0, "the same; what guests do wrong is always a warning"},
	{"in_asm", CONF_TRACE_IN_ASM, "soft engine: guest code that is decoded, in hexadecimal"},
	{"out_asm", CONF_TRACE_OUT_ASM, "soft engine: what is made of it"},
	{"int", CONF_TRACE_INT, "soft engine: exceptions and interrupts that are delivered"},
	{"exec", CONF_TRACE_EXEC, "soft engine: code entered, but for jumps from code to code"},
	{NULL},
};

static bool add_log_item(struct conf_vm *conf, const char *name, GError **error)
{
	const char *names[G_N_ELEMENTS(options_log_items)] = {NULL};
	for (unsigned i = 0; options_log_items[i].name; i++) {
		const struct log_item *item = &options_log_items[i];
		names[i] = item->name;
		if (strcmp(item->name, name) != 0)
			continue;
		conf->debug_log |= !item->trace;
		conf->trace |= item->trace;
		return true;
	}
	const char *near = nearest_name(name, names);
	return error_set(error, BERTH_ERR_INVALID, "-d: there is no log item '%s': %s%s%s", name,
			 near ? "did you mean '" : "-d help lists them", near ? near : "",
			 near ? "'?" : "");
}

static bool apply_debug(struct options *o, const char *value, GError **error)
{
	if (options_wants_help(o, value, SHOW_LOG_ITEMS))
		return true;
	g_auto(GStrv) names = g_strsplit(value, ",", -1);
	for (char **name = names; *name; name++) {
		if (!add_log_item(o->conf, *name, error))
			return false;
	}
	return true;
}

static bool apply_log_file(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->log_file, value);
}

const struct option options_debug[] = {
	{"help", NULL, "Show this text.", apply_help},
	{"h", NULL, "Show this text.", apply_help},
	{"version", NULL, "Show the version.", apply_version},
	{"d", "ITEM[,...]", "Log more; -d help lists what.", apply_debug},
	{"D", "FILE", "Write the log to a file instead of standard error.", apply_log_file},
	{NULL},
};

#define LATER_DISPLAY   "there is no display yet; use -nographic or a serial console"
#define LATER_MIGRATION "migration and saved states come later"
#define LATER_IMAGES    "only raw files and block devices work; convert with qemu-img"
#define NO_FLOPPY       "there is no floppy or card reader; use -cdrom or -drive if=virtio"
#define NO_SOUND        "there is no sound device; leave it out"
#define NO_USB          "there is no USB controller; use virtio devices"
#define LATER_GDB       "there is no debugger stub; the monitor's x, xp and info registers help"

const struct option options_missing[] = {
	{"vnc", "DISPLAY", .missing = LATER_DISPLAY},
	{"spice", "OPTIONS", .missing = LATER_DISPLAY},
	{"k", "LANGUAGE", .missing = LATER_DISPLAY},
	{"full-screen", NULL, .missing = LATER_DISPLAY},
	{"portrait", NULL, .missing = LATER_DISPLAY},
	{"rotate", "DEGREES", .missing = LATER_DISPLAY},
	{"g", "MODE", .missing = LATER_DISPLAY},
	{"incoming", "URI", .missing = LATER_MIGRATION},
	{"loadvm", "TAG", .missing = LATER_MIGRATION},
	{"only-migratable", NULL, .missing = LATER_MIGRATION},
	{"dump-vmstate", "FILE", .missing = LATER_MIGRATION},
	{"iscsi", "OPTIONS", .missing = LATER_IMAGES},
	{"fda", "FILE", .missing = NO_FLOPPY},
	{"fdb", "FILE", .missing = NO_FLOPPY},
	{"sd", "FILE", .missing = NO_FLOPPY},
	{"mtdblock", "FILE", .missing = NO_FLOPPY},
	{"no-fd-bootchk", NULL, .missing = NO_FLOPPY},
	{"audio", "OPTIONS", .missing = NO_SOUND},
	{"audiodev", "OPTIONS", .missing = NO_SOUND},
	{"audio-help", NULL, .missing = NO_SOUND},
	{"soundhw", "NAME", .missing = NO_SOUND},
	{"usb", NULL, .missing = NO_USB},
	{"usbdevice", "NAME", .missing = NO_USB},
	{"tpmdev", "OPTIONS", .missing = "there is no TPM device; leave it out"},
	{"add-fd", "fd=N,set=N", .missing = "give the file's path"},
	{"gdb", "STREAM", .missing = LATER_GDB},
	{"s", NULL, .missing = LATER_GDB},
	{"singlestep", NULL, .missing = LATER_GDB},
	{"trace", "OPTIONS", .missing = "use -d and -D to log more"},
	{"plugin", "FILE", .missing = "there are no plugins; leave it out"},
	{"icount", "OPTIONS", .missing = "the soft engine runs in real time; leave it out"},
	{"tb-size", "N", .missing = "use -accel soft,tb-size=N"},
	{"compat", "OPTIONS", .missing = "there is no deprecated interface to hide; leave it out"},
	{"preconfig", NULL, .missing = "configure by options, and start with -S to wait"},
	{"dtb", "FILE", .missing = "PCs have no device tree; leave it out"},
	{"option-rom", "FILE", .missing = "set romfile of a device instead"},
	{"win2k-hack", NULL, .missing = "there is no IDE controller that needs it; leave it out"},
	{"writeconfig", "FILE", .missing = "keep the command line in a script"},
	{"prom-env", "TEXT", .missing = "that is for other machines than PCs"},
	{"semihosting", NULL, .missing = "that is for other machines than PCs"},
	{"xen-domid", "ID", .missing = "Xen is not an engine of Berth"},
	{"xen-attach", NULL, .missing = "Xen is not an engine of Berth"},
	{"async-teardown", NULL, .missing = "memory is freed at once; leave it out"},
	{"run-with", "OPTIONS", .missing = "use -runas, -chroot"},
	{"enable-fips", NULL, .missing = "Berth's cryptography comes later; leave it out"},
	{"no-kvm", NULL, .missing = "use -accel soft"},
	{"perfmap", NULL, .missing = "there are no perf maps; leave it out"},
	{NULL},
};
