/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options: character streams, monitors and displays. */
#include "options.h"

#include "base/error.h"

#include <string.h>

static bool apply_chardev(struct options *o, const char *value, GError **error)
{
	if (options_wants_help(o, value, SHOW_CHARDEVS))
		return true;
	struct conf_item *item = conf_item_parse(CONF_CHARDEV, value, error);
	if (item)
		g_ptr_array_add(o->conf->items[CONF_CHARDEV], item);
	return item != NULL;
}

static bool apply_serial(struct options *o, const char *value, GError **error)
{
	if (o->conf->serials->len >= 4)
		return error_set(error, BERTH_ERR_INVALID,
				 "-serial: there are at most 4 serial ports: use a virtio console");
	g_ptr_array_add(o->conf->serials, g_strdup(value));
	return true;
}

static bool apply_parallel(struct options *o, const char *value, GError **error)
{
	if (strcmp(value, "none") == 0)
		return true;
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-parallel %s is not supported yet: only none is; use -serial", value);
}

static bool apply_debugcon(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->debugcon, value);
}

static bool add_monitor(struct options *o, const char *value, bool control, bool pretty)
{
	/* "none" stands for: not even the default one. It stays in the list until then. */
	g_ptr_array_add(o->conf->monitors, conf_monitor_new(value, control, pretty));
	return true;
}

static bool apply_monitor(struct options *o, const char *value, GError **error)
{
	return add_monitor(o, value, false, false);
}

static bool apply_qmp(struct options *o, const char *value, GError **error)
{
	return add_monitor(o, value, true, false);
}

static bool apply_qmp_pretty(struct options *o, const char *value, GError **error)
{
	return add_monitor(o, value, true, true);
}

static bool apply_mon(struct options *o, const char *value, GError **error)
{
	struct conf_monitor *monitor = conf_mon_parse(value, error);
	if (monitor)
		g_ptr_array_add(o->conf->monitors, monitor);
	return monitor != NULL;
}

const struct option options_stream[] = {
	{"serial", "STREAM",
	 "Connect a serial port (the first -serial is ttyS0) to: stdio, mon:stdio (shared with the "
	 "monitor), pty, file:PATH, pipe:PATH, unix:PATH[,server=on][,wait=off], "
	 "tcp:HOST:PORT[,...], chardev:ID, null, none.",
	 apply_serial},
	{"chardev", "TYPE,id=ID[,PROPERTY=VALUE...]",
	 "A stream that others name by id; -chardev help lists types.", apply_chardev},
	{"parallel", "none", "There are no parallel ports.", apply_parallel},
	{"debugcon", "STREAM", "What firmware writes to port 0xe9 and 0x402.", apply_debugcon},
	{"monitor", "STREAM", "The human monitor on a stream; type help there.", apply_monitor},
	{"qmp", "STREAM", "The machine protocol (QMP) on a stream, as in unix:PATH,server=on,wait=off.",
	 apply_qmp},
	{"qmp-pretty", "STREAM", "The same with indented output.", apply_qmp_pretty},
	{"mon", "[chardev=]ID[,mode=readline|control][,pretty=on]",
	 "A human (readline) or machine (control) monitor on a -chardev.", apply_mon},
	{NULL},
};

static bool apply_nographic(struct options *o, const char *value, GError **error)
{
	return o->conf->nographic = true;
}

static bool apply_display(struct options *o, const char *value, GError **error)
{
	if (strcmp(value, "none") == 0 || strcmp(value, "nographic") == 0)
		return o->conf->display_none = true;
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-display %s is not supported yet: use -display none or -nographic", value);
}

static bool apply_vga(struct options *o, const char *value, GError **error)
{
	if (strcmp(value, "none") == 0)
		return true;
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-vga %s is not supported yet: use -vga none, with -device bochs-display if the guest "
			 "needs a screen, or the serial console", value);
}

const struct option options_display[] = {
	{"nographic", NULL,
	 "The first serial port and the monitor share this terminal: Ctrl-a c switches, Ctrl-a x "
	 "quits.",
	 apply_nographic},
	{"display", "none", "No window; the serial ports are where -serial says.", apply_display},
	{"vga", "none", "No graphics card.", apply_vga},
	{NULL},
};
