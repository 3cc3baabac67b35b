/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What -help, -version, -device help and their kin print. Lists come from the tables in use. */
#include "vmm.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

static void show_version(void)
{
	/* Tools look for "emulator version N.N.N"; people for the name. */
	printf("QEMU emulator version 7.2.22 (Berth " BERTH_VERSION ")\n"
	       "Berth virtual machine monitor, compatible with the options and the QMP of QEMU 7.2\n");
}

static void show_machines(void)
{
	printf("Supported machines are:\n");
	for (const struct machine_ops *const *board = machine_list(); *board; board++) {
		printf("%-20s %s%s\n", (*board)->name, (*board)->description,
		       board == machine_list() ? " (default)" : "");
		for (const char *const *alias = (*board)->aliases; alias && *alias; alias++)
			printf("%-20s alias of %s\n", *alias, (*board)->name);
	}
}

static void show_fields(const struct keyval_field *fields)
{
	for (; fields->name; fields++) {
		bool refused = fields->type == KEYVAL_REFUSED || fields->type == KEYVAL_OFF;
		printf("  %-22s %s%s\n", fields->name, refused ? "not supported: " : "",
		       fields->help ? fields->help : "");
	}
}

static void show_accels(void)
{
	printf("Accelerators supported in this binary:\n");
	for (const struct engine_ops *const *engine = accel_engines(); *engine; engine++)
		printf("%-5s %s\n", (*engine)->name, (*engine)->description);
	printf("auto  the first of these that works on this host (default)\n"
	       "tcg   another name of soft\njit   another name of soft\n\nProperties:\n");
	show_fields(conf_accel_fields);
}

static void show_cpus(void)
{
	printf("Available CPUs:\n");
	for (const struct cpu_model_entry *model = cpu_model_list(); model->name; model++)
		printf("x86 %-22s %s\n", model->name, model->description);
	printf("\nRecognized CPUID flags:\n ");
	unsigned column = 1;
	for (const char *const *name = cpu_feature_names(); *name; name++) {
		unsigned length = strlen(*name) + 1;
		if (column + length > 79) {
			printf("\n ");
			column = 1;
		}
		printf(" %s", *name);
		column += length;
	}
	printf("\n");
}

static bool show_devices(const char *name, GError **error)
{
	const struct device_class *class = name ? machine_device_class(name, error) : NULL;
	if (name && !class)
		return false;
	g_autofree char *text = machine_device_help(class);
	fputs(text, stdout);
	return true;
}

static void show_netdevs(void)
{
	printf("Available netdev backend types:\n");
	for (const struct net_type *type = net_types(); type->name; type++)
		printf("%-10s %s\n", type->name, type->help);
}

static void show_chardevs(void)
{
	printf("Available chardev backend types:\n");
	for (const struct chardev_type *type = chardev_types(); type->name; type++)
		printf("  %-10s %s\n", type->name, type->help);
}

static void show_objects(void)
{
	printf("List of user creatable objects:\n");
	for (const char *const *row = backends_object_help(); *row; row += 2)
		printf("  %-22s %s\n", row[0], row[1]);
}

bool show(const struct options *o, GError **error)
{
	switch (o->show) {
	case SHOW_NOTHING:
		break;
	case SHOW_HELP: {
		g_autofree char *help = options_help("berth-vmm");
		fputs(help, stdout);
		break;
	}
	case SHOW_VERSION:
		show_version();
		break;
	case SHOW_MACHINES:
		show_machines();
		break;
	case SHOW_MACHINE_PROPERTIES: {
		const struct machine_ops *board = machine_find(o->show_name, error);
		if (!board)
			return false;
		printf("%s options:\n", board->name);
		show_fields(conf_machine_fields);
		break;
	}
	case SHOW_ACCELS:
		show_accels();
		break;
	case SHOW_CPUS:
		show_cpus();
		break;
	case SHOW_DEVICES:
		return show_devices(o->show_name, error);
	case SHOW_NETDEVS:
		show_netdevs();
		break;
	case SHOW_CHARDEVS:
		show_chardevs();
		break;
	case SHOW_OBJECTS:
		show_objects();
		break;
	case SHOW_LOG_ITEMS:
		printf("Log items (comma separated):\n");
		for (const struct log_item *i = options_log_items; i->name; i++)
			printf("%-14s %s\n", i->name, i->help);
		break;
	}
	return true;
}
