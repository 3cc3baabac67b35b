/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's devices. */
#include "table.h"

#include "shell.h"

#include <stdlib.h>
#include <string.h>

/* Each kind's bit is its place. */
static const char *const kinds[] = {
	"system", "pci", "usb_device", "usb", "net", "scsi_host", "scsi_target", "scsi", "storage", "fc_host",
	"vports", "scsi_generic", "drm", "mdev_types", "mdev", "ccw", "css", "vdpa", "ap_card", "ap_queue",
	"ap_matrix", "vpd"};
enum { LIST_INACTIVE = 1 << 30 };
#define LIST_ACTIVE (1U << 31)

static bool kind_flags(struct shell *sh, char **caps, uint32_t *flags)
{
	for (char **cap = caps; *cap; cap++) {
		unsigned i = 0;
		while (i < G_N_ELEMENTS(kinds) && strcmp(kinds[i], *cap))
			i++;
		if (i == G_N_ELEMENTS(kinds))
			return shell_fail(sh, "Invalid capability type");
		*flags |= 1U << i;
	}
	return true;
}

/* Daemons that cannot list devices with flags can name them all. */
static bool list_names(struct shell *sh, char **caps, GPtrArray *names)
{
	struct remote_node_num_of_devices_ret count;
	struct remote_node_list_devices_ret ret;
	const char *kind = caps[0] && !caps[1] ? caps[0] : NULL;
	if (!GET(sh, node_num_of_devices, &count, (char *)kind, 0))
		return shell_fail(sh, "Failed to count node devices");
	if (!GET(sh, node_list_devices, &ret, (char *)kind, count.num, 0))
		return shell_fail(sh, "Failed to list node devices");
	for (uint32_t i = 0; i < ret.names.count; i++)
		g_ptr_array_add(names, ret.names.items[i]);
	return true;
}

static bool collect(struct shell *sh, char **caps, uint32_t flags, GPtrArray *names)
{
	struct remote_connect_list_all_node_devices_ret ret;
	if (GET(sh, connect_list_all_node_devices, &ret, 1, flags)) {
		for (uint32_t i = 0; i < ret.devices.count; i++)
			g_ptr_array_add(names, ret.devices.items[i].name);
	} else if (shell_error_code(sh) == CLIENT_NO_SUPPORT) {
		if (!list_names(sh, caps, names))
			return false;
	} else {
		return shell_fail(sh, "Failed to list node devices");
	}
	g_ptr_array_sort(names, compare_names);
	return true;
}

static void print_tree(struct shell *sh, const GPtrArray *names)
{
	g_autofree int *parents = g_new0(int, names->len + 1);
	for (unsigned i = 0; i < names->len; i++) {
		struct remote_node_device_get_parent_ret ret = {NULL};
		parents[i] = -1;
		if (!strcmp(names->pdata[i], "computer") ||
		    !GET(sh, node_device_get_parent, &ret, names->pdata[i]))
			continue;
		for (unsigned p = 0; ret.parent_name && p < names->len; p++) {
			if (strcmp(names->pdata[p], ret.parent_name) == 0)
				parents[i] = p;
		}
		/* Its parent is not in the list: it does not appear. */
		if (ret.parent_name && parents[i] < 0)
			parents[i] = names->len;
	}
	shell_forget_error(sh);
	tree_print(names->len, (char *const *)names->pdata, parents);
}

bool cmd_nodedev_list(struct shell *sh, const struct cmd *cmd)
{
	bool tree = opt_bool(cmd, "tree"), inactive = opt_bool(cmd, "inactive");
	bool all = opt_bool(cmd, "all");
	const char *text = opt_text(cmd, "cap");
	g_auto(GStrv) caps = g_strsplit(text ? text : "", ",", 0);
	uint32_t flags = 0;
	if (all && inactive)
		return shell_fail(sh, "Option --all is incompatible with --inactive");
	if (tree && (text || inactive))
		return shell_fail(sh, "Option --tree is incompatible with --cap and --inactive");
	if (!kind_flags(sh, caps, &flags))
		return false;
	flags |= (inactive || all ? LIST_INACTIVE : 0) | (inactive ? 0 : LIST_ACTIVE);
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	if (!collect(sh, caps, flags, names))
		return false;
	if (tree) {
		print_tree(sh, names);
		return true;
	}
	struct table *table = table_new("Name", NULL);
	for (unsigned i = 0; i < names->len; i++)
		table_row(table, names->pdata[i], NULL);
	table_print_words(sh, table);
	return true;
}

bool cmd_nodedev_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	struct remote_node_device_get_xml_desc_ret ret;
	return shell_nodedev(sh, cmd, NULL, &dev) &&
	       GET(sh, node_device_get_xml_desc, &ret, dev.name, 0) && shell_show_xml(sh, cmd, ret.xml);
}

bool cmd_nodedev_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device_create_xml_ret ret;
	const char *path = opt_text(cmd, "file");
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!GET(sh, node_device_create_xml, &ret, xml, opt_bool(cmd, "validate") ? 1 : 0))
		return shell_fail(sh, "Failed to create node device from %s", path);
	shell_extra(sh, "Node device %s created from %s\n", ret.dev.name, path);
	return true;
}

bool cmd_nodedev_define(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device_define_xml_ret ret;
	const char *path = opt_text(cmd, "file");
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!GET(sh, node_device_define_xml, &ret, xml, opt_bool(cmd, "validate") ? 1 : 0))
		return shell_fail(sh, "Failed to define node device from '%s'", path);
	shell_extra(sh, "Node device '%s' defined from '%s'\n", ret.dev.name, path);
	return true;
}

bool cmd_nodedev_destroy(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	const char *name;
	if (!shell_nodedev(sh, cmd, &name, &dev))
		return false;
	if (!CALL(sh, node_device_destroy, dev.name))
		return shell_fail(sh, "Failed to destroy node device '%s'", name);
	shell_extra(sh, "Destroyed node device '%s'\n", name);
	return true;
}

bool cmd_nodedev_undefine(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	const char *name;
	if (!shell_nodedev(sh, cmd, &name, &dev))
		return false;
	if (!CALL(sh, node_device_undefine, dev.name, 0))
		return shell_fail(sh, "Failed to undefine node device '%s'", name);
	shell_extra(sh, "Undefined node device '%s'\n", name);
	return true;
}

bool cmd_nodedev_detach(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	const char *name, *driver;
	if (!opt_string(sh, cmd, "driver", &driver) || !shell_nodedev(sh, cmd, &name, &dev))
		return false;
	bool good = driver ? CALL(sh, node_device_detach_flags, dev.name, (char *)driver, 0) :
			     CALL(sh, node_device_dettach, dev.name);
	if (!good)
		return shell_fail(sh, "Failed to detach device %s", name);
	shell_extra(sh, "Device %s detached\n", name);
	return true;
}

bool cmd_nodedev_reattach(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	const char *name;
	if (!shell_nodedev(sh, cmd, &name, &dev))
		return false;
	if (!CALL(sh, node_device_re_attach, dev.name))
		return shell_fail(sh, "Failed to re-attach device %s", name);
	shell_extra(sh, "Device %s re-attached\n", name);
	return true;
}

bool cmd_nodedev_reset(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	const char *name;
	if (!shell_nodedev(sh, cmd, &name, &dev))
		return false;
	if (!CALL(sh, node_device_reset, dev.name))
		return shell_fail(sh, "Failed to reset device %s", name);
	shell_extra(sh, "Device %s reset\n", name);
	return true;
}

bool cmd_nodedev_start(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	const char *name;
	if (!shell_nodedev(sh, cmd, &name, &dev))
		return false;
	if (!CALL(sh, node_device_create, dev.name, 0))
		return shell_fail(sh, "Failed to start device %s", name);
	shell_extra(sh, "Device %s started\n", name);
	return true;
}

bool cmd_nodedev_autostart(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	const char *name;
	bool off = opt_bool(cmd, "disable");
	if (!shell_nodedev(sh, cmd, &name, &dev))
		return false;
	if (!CALL(sh, node_device_set_autostart, dev.name, !off))
		return shell_fail(sh, off ? "failed to unmark device %s as autostarted" :
					    "failed to mark device %s as autostarted", name);
	shell_extra(sh, off ? "Device %s unmarked as autostarted\n" : "Device %s marked as autostarted\n",
		    name);
	return true;
}

bool cmd_nodedev_info(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_device dev;
	struct remote_node_device_get_parent_ret parent = {NULL};
	struct remote_node_device_is_active_ret active;
	struct remote_node_device_is_persistent_ret persistent;
	struct remote_node_device_get_autostart_ret autostart;
	if (!shell_nodedev(sh, cmd, NULL, &dev))
		return false;
	if (!GET(sh, node_device_get_parent, &parent, dev.name))
		parent.parent_name = NULL;
	shell_print("%-15s %s\n%-15s %s\n", "Name:", dev.name, "Parent:",
		    parent.parent_name ? parent.parent_name : "");
	bool on = !GET(sh, node_device_is_active, &active, dev.name) || active.active;
	shell_print("%-15s %s\n", "Active:", yes_no(on));
	bool stays = !GET(sh, node_device_is_persistent, &persistent, dev.name) || persistent.persistent;
	shell_print("%-15s %s\n", "Persistent:", yes_no(stays));
	bool known = GET(sh, node_device_get_autostart, &autostart, dev.name);
	shell_print("%-15s %s\n", "Autostart:", known ? yes_no(autostart.autostart) : "no autostart");
	return true;
}
