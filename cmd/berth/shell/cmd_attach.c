/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plugging devices in and out, by their XML. */
#include "table.h"

#include "device.h"
#include "shell.h"

#include <string.h>

/* --- What all of them share ------------------------------------------------------------------- */

bool device_options(struct shell *sh, const struct cmd *cmd, struct device_change *change)
{
	bool persistent = opt_bool(cmd, "persistent");
	change->current = opt_bool(cmd, "current");
	change->flags = 0;
	if (!opt_exclusive(sh, cmd, "persistent", "current") ||
	    !opt_affect(sh, cmd, &change->flags, NULL))
		return false;
	if (persistent)
		change->flags |= AFFECT_CONFIG;
	return true;
}

bool device_domain(struct shell *sh, const struct cmd *cmd, struct device_change *change)
{
	if (!shell_domain(sh, cmd, NULL, &change->dom))
		return false;
	if (opt_bool(cmd, "persistent") && domain_is_active(sh, change->dom))
		change->flags |= AFFECT_LIVE;
	return true;
}

bool device_attach(struct shell *sh, const struct device_change *change, const char *xml)
{
	return change->flags || change->current ?
		       CALL(sh, domain_attach_device_flags, change->dom, (char *)xml, change->flags) :
		       CALL(sh, domain_attach_device, change->dom, (char *)xml);
}

bool device_detach(struct shell *sh, const struct device_change *change, const char *xml)
{
	return change->flags || change->current ?
		       CALL(sh, domain_detach_device_flags, change->dom, (char *)xml, change->flags) :
		       CALL(sh, domain_detach_device, change->dom, (char *)xml);
}

/* The file's text, after options and domain. NULL after an error. */
static char *change_file(struct shell *sh, const struct cmd *cmd, struct device_change *change)
{
	const char *path;
	if (!device_options(sh, cmd, change) || !device_domain(sh, cmd, change) ||
	    !opt_string(sh, cmd, "file", &path))
		return NULL;
	return shell_read_file(sh, path);
}

bool cmd_attach_device(struct shell *sh, const struct cmd *cmd)
{
	struct device_change change;
	g_autofree char *xml = change_file(sh, cmd, &change);
	if (!xml)
		return false;
	if (!device_attach(sh, &change, xml))
		return shell_fail(sh, "Failed to attach device from %s", opt_text(cmd, "file"));
	shell_extra(sh, "Device attached successfully\n");
	return true;
}

bool cmd_detach_device(struct shell *sh, const struct cmd *cmd)
{
	struct device_change change;
	g_autofree char *xml = change_file(sh, cmd, &change);
	if (!xml)
		return false;
	if (!device_detach(sh, &change, xml))
		return shell_fail(sh, "Failed to detach device from %s", opt_text(cmd, "file"));
	shell_extra(sh, "Device detached successfully\n");
	return true;
}

bool cmd_update_device(struct shell *sh, const struct cmd *cmd)
{
	struct device_change change;
	g_autofree char *xml = change_file(sh, cmd, &change);
	if (!xml)
		return false;
	if (opt_bool(cmd, "force"))
		change.flags |= MODIFY_FORCE;
	if (!CALL(sh, domain_update_device_flags, change.dom, xml, change.flags))
		return shell_fail(sh, "Failed to update device from %s", opt_text(cmd, "file"));
	shell_extra(sh, "Device updated successfully\n");
	return true;
}

bool cmd_detach_device_alias(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *alias;
	uint32_t flags = 0;
	if (!opt_affect(sh, cmd, &flags, NULL) || !shell_domain(sh, cmd, NULL, &dom) ||
	    !opt_string(sh, cmd, "alias", &alias))
		return false;
	if (!CALL(sh, domain_detach_device_alias, dom, (char *)alias, flags))
		return shell_fail(sh, "Failed to detach device with alias %s", alias);
	shell_extra(sh, "Device detach request sent successfully\n");
	return true;
}

/* --- Memory ----------------------------------------------------------------------------------- */

static xmlNode *find_memory(struct shell *sh, xmlDoc *doc, const char *alias, const char *node)
{
	g_autofree char *path =
		node  ? g_strdup_printf("/domain/devices/memory[./target/node='%s']", node) :
		alias ? g_strdup_printf("/domain/devices/memory[./alias/@name='%s']", alias) :
			g_strdup("/domain/devices/memory");
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, path);
	if (!nodes || nodes->len == 0)
		shell_fail(sh, "no memory device found");
	else if (nodes->len > 1)
		shell_fail(sh, "multiple memory devices found, use --alias or --node to select one");
	else
		return nodes->pdata[0];
	return NULL;
}

bool cmd_update_memory_device(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *alias;
	uint32_t flags = 0, number;
	uint64_t bytes;
	if (!opt_affect(sh, cmd, &flags, NULL) || !opt_exclusive(sh, cmd, "node", "alias") ||
	    !shell_domain(sh, cmd, NULL, &dom))
		return false;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, flags & AFFECT_CONFIG ? XML_INACTIVE : 0);
	if (!doc || !opt_string(sh, cmd, "alias", &alias) || opt_uint(sh, cmd, "node", &number) < 0)
		return false;
	xmlNode *memory = find_memory(sh, doc, alias, opt_text(cmd, "node"));
	if (!memory)
		return false;
	int sized = opt_scaled(sh, cmd, "requested-size", 1024, UINT64_MAX, &bytes);
	if (sized < 0)
		return false;
	g_autoptr(GPtrArray) requested = xpath_nodes(doc, memory, "./target/requested");
	if (sized && !requested->len)
		return shell_fail(sh, "virtio-mem device is missing <requested/>");
	if (sized) {
		g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, (bytes + 1023) / 1024);
		xmlNodeSetContent(requested->pdata[0], (const xmlChar *)size);
	}
	g_autofree char *xml = xml_node_text(doc, memory);
	if (opt_bool(cmd, "print-xml")) {
		shell_print("%s", xml);
		return true;
	}
	return CALL(sh, domain_update_device_flags, dom, xml, flags);
}
