/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that change while they stay: media, and what of a network card is the host's. */
#include "daemon/domain/hotplug_int.h"

#include "daemon/domain/disk_args.h"
#include "daemon/domain/interface.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/notify.h"
#include "daemon/rpc/error.h"

#include <string.h>

/* What a running card's source has besides what the client knows of. */
static void keep_port(const xmlNode *old, xmlNode *next)
{
	static const char *const names[] = {"portid", "bridge"};
	xmlNode *from = xml_child(old, "source"), *to = xml_child(next, "source");
	for (unsigned i = 0; from && to && xmlHasProp(from, (const xmlChar *)"portid") &&
			     i < G_N_ELEMENTS(names); i++) {
		g_autofree char *value = xml_attribute(from, names[i]);
		if (value && !xmlHasProp(to, (const xmlChar *)names[i]))
			xmlSetProp(to, (const xmlChar *)names[i], (const xmlChar *)value);
	}
}

/* A card that the client describes without an interfaceid is the one that it was. */
static void keep_interfaceid(const xmlNode *old, xmlNode *next)
{
	const xmlNode *old_port = xml_child(old, "virtualport");
	xmlNode *port = xml_child(next, "virtualport");
	const xmlNode *from = old_port ? xml_child(old_port, "parameters") : NULL;
	xmlNode *to = port ? xml_child(port, "parameters") : NULL;
	g_autofree char *id = from ? xml_attribute(from, "interfaceid") : NULL;
	if (!id || !port || (to && xmlHasProp(to, (const xmlChar *)"interfaceid")))
		return;
	if (!to)
		to = xmlNewChild(port, NULL, (const xmlChar *)"parameters", NULL);
	xmlSetProp(to, (const xmlChar *)"interfaceid", (const xmlChar *)id);
}

/* The client's device takes the old one's place, and what it leaves out stays. */
bool hotplug_edit_update(xmlNode *root, void *opaque, GError **error)
{
	static const char *const kept[] = {"address", "alias", "mac", "model", "target"};
	const struct device_edit *edit = opaque;
	const xmlNode *devices = xml_child(root, "devices");
	xmlNode *old = hotplug_find(devices, xmlDocGetRootElement(edit->doc));
	if (!old)
		return hotplug_no_device(error, edit);
	xmlNode *copy = xmlDocCopyNode(xmlDocGetRootElement(edit->doc), root->doc, 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(kept); i++) {
		xmlNode *child = xml_child(old, kept[i]);
		if (child && !xml_child(copy, kept[i]))
			xmlAddChild(copy, xmlDocCopyNode(child, root->doc, 1));
	}
	keep_port(old, copy);
	keep_interfaceid(old, copy);
	xmlReplaceNode(old, copy);
	xmlFreeNode(old);
	return true;
}

static bool same(const char *a, const char *b)
{
	return g_strcmp0(a, b) == 0;
}

static bool update_disk(struct domain_change *change, const struct conf_domain_disk *old,
			const struct conf_domain_disk *next, GError **error)
{
	struct device_edit *edit = change->opaque;
	if (!old->cdrom || !next->cdrom)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "a disk's medium can be changed in a CD-ROM drive only");
	edit->before = g_strdup(old->file);
	if (same(old->source.key, next->source.key))
		return true;
	if (next->source.kind == CONF_SOURCE_NETWORK || next->source.encryption.given)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "drive '%s': a running domain takes a medium that is a file, a block device or "
				  "a volume, and not encrypted", next->target);
	json_t *args = json_pack("{s:s, s:b}", "id", old->dev.alias, "force",
				 (int)(change->flags >> 2 & 1));
	if (!next->file) {
		change_add_step(change, "eject", args, NULL, NULL);
		return true;
	}
	json_object_set_new(args, "filename", json_string(next->file));
	json_object_set_new(args, "format", json_string(next->format));
	change_add_step(change, "blockdev-change-medium", args, NULL, NULL);
	return true;
}

static bool update_nic(struct domain_change *change, const struct conf_domain_nic *old,
		       const struct conf_domain_nic *next, GError **error)
{
	if (!same(old->type, next->type) || !conf_domain_nic_same_card(old, next) ||
	    !same(old->source, next->source) ||
	    !same(old->network, next->network) || !same(old->port, next->port) || old->mtu != next->mtu ||
	    old->isolated != next->isolated || !same(old->mac, next->mac) ||
	    !same(old->target, next->target))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "of a running domain's interface only the link state, the filter, the "
				  "bandwidth, the VLAN tags and the portgroup can be changed");
	if (!interface_update(change->dom, old, next, error))
		return false;
	if (old->link_down != next->link_down)
		change_add_step(change, "set_link",
				json_pack("{s:s, s:b}", "name", old->dev.alias, "up",
					  (int)!next->link_down), NULL, NULL);
	return true;
}

bool hotplug_plan_update(struct domain_change *change, const struct conf_domain *old,
			const struct conf_domain *next, GError **error)
{
	struct device_edit *edit = change->opaque;
	const xmlNode *wanted = xmlDocGetRootElement(edit->doc);
	const xmlNode *devices = xml_child(xmlDocGetRootElement(old->doc), "devices");
	const struct conf_domain_device *dev =
		conf_domain_find_node(old, hotplug_find(devices, wanted));
	const struct conf_domain_device *then = dev ? conf_domain_find_alias(next, dev->alias) : NULL;
	void *disk = hotplug_in_list(old->disks, dev), *nic = hotplug_in_list(old->nics, dev);
	if (then && disk && hotplug_in_list(next->disks, then)) {
		edit->alias = g_strdup(dev->alias);
		return update_disk(change, disk, hotplug_in_list(next->disks, then), error);
	}
	if (then && nic && hotplug_in_list(next->nics, then))
		return update_nic(change, nic, hotplug_in_list(next->nics, then), error);
	if (then && hotplug_in_list(old->memories, dev) && hotplug_in_list(next->memories, then))
		return memory_plan_update(change, hotplug_in_list(old->memories, dev), hotplug_in_list(next->memories, then),
					  error);
	return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			  "live update of device '%s' is not supported", wanted->name);
}

void hotplug_updated(struct domain *dom, const struct domain_change *change)
{
	const struct device_edit *edit = change->opaque;
	if (!edit->alias || !change->live)
		return;
	const struct conf_domain_disk *disk =
		hotplug_in_list(dom->live->disks, conf_domain_find_alias(dom->live, edit->alias));
	notify_media(dom, edit->alias, edit->before, disk ? disk->file : NULL);
}
