/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/hotplug_int.h"

#include "base/fd.h"
#include "daemon/domain/blockjob.h"
#include "daemon/domain/change.h"
#include "daemon/domain/device_args.h"
#include "daemon/domain/disk_args.h"
#include "daemon/domain/disk_source.h"
#include "daemon/domain/hostdev.h"
#include "daemon/domain/interface.h"
#include "daemon/domain/memory.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/vcpus.h"
#include "daemon/domain/vmm_int.h"
#include "daemon/rpc/serve.h"

#include <string.h>

static void device_edit_free(void *opaque)
{
	struct device_edit *edit = opaque;
	if (edit->doc)
		xmlFreeDoc(edit->doc);
	if (edit->claimer) {
		edit->claimer->claiming--;
		hostdevs_settle(edit->claimer);
		domain_unpin(edit->claimer);
	}
	g_free(edit->alias);
	g_free(edit->before);
	g_free(edit->target);
	g_free(edit);
}

/* --- Which one ------------------------------------------------------------------------------ */

/* What tells devices of a kind apart: an attribute of a child; NULL: there is only one. */
static const struct {
	const char *element, *child, *attribute;
} keys[] = {
	{"disk", "target", "dev"}, {"interface", "mac", "address"}, {"channel", "target", "name"},
	{"rng", NULL, NULL}, {"memballoon", NULL, NULL},
};

xmlNode *hotplug_find(const xmlNode *devices, const xmlNode *wanted)
{
	if (xml_is(wanted, "memory"))
		return memory_find(devices, wanted);
	if (hostdev_is_one(wanted))
		return hostdev_find(devices, wanted);
	for (unsigned k = 0; k < G_N_ELEMENTS(keys); k++) {
		if (!xml_is(wanted, keys[k].element))
			continue;
		g_autofree char *name =
			keys[k].child ? conf_domain_child_attribute(wanted, keys[k].child, keys[k].attribute)
				      : NULL;
		xml_for_each(node, devices, keys[k].element) {
			g_autofree char *its = keys[k].child
				? conf_domain_child_attribute(node, keys[k].child, keys[k].attribute) : NULL;
			if (!name || (its && g_ascii_strcasecmp(its, name) == 0))
				return node;
		}
	}
	return NULL;
}

static xmlNode *find_by_alias(const xmlNode *devices, const char *alias)
{
	xml_for_each(node, devices, NULL) {
		g_autofree char *its = conf_domain_child_attribute(node, "alias", "name");
		if (g_strcmp0(its, alias) == 0)
			return node;
	}
	return NULL;
}

bool hotplug_no_device(GError **error, const struct device_edit *edit)
{
	if (edit->doc)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_DEVICE_MISSING,
				  "no such %s device in the domain",
				  (const char *)xmlDocGetRootElement(edit->doc)->name);
	return virt_error(error, VIRT_FROM_DOMAIN, VIRT_DEVICE_MISSING, "no device found with alias %s",
			  edit->alias);
}

/* The last device of the kind: where a new one is put. */
static xmlNode *last_of(const xmlNode *devices, const xmlNode *like)
{
	xmlNode *last = NULL;
	xml_for_each(node, devices, (const char *)like->name)
		last = node;
	return last;
}

/* --- Attach --------------------------------------------------------------------------------- */

static bool edit_attach(xmlNode *root, void *opaque, GError **error)
{
	const struct device_edit *edit = opaque;
	xmlNode *devices = xml_child(root, "devices"), *device = xmlDocGetRootElement(edit->doc);
	if (xml_is(device, "disk") && hotplug_find(devices, device)) {
		g_autofree char *target = conf_domain_child_attribute(device, "target", "dev");
		if (target)
			return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
					  "target %s already exists", target);
	}
	xmlNode *copy = xmlDocCopyNode(device, root->doc, 1), *last = last_of(devices, device);
	if (xml_is(device, "memory"))
		memory_count(root, device, true);
	if (last)
		xmlAddNextSibling(last, copy);
	else
		xmlAddChild(devices, copy);
	return true;
}

static bool add_disk_objects(struct domain_change *change, const struct conf_domain_disk *disk, GError **error)
{
	for (enum disk_object kind = 0; kind < DISK_OBJECTS; kind++) {
		if (!disk_needs_object(disk, kind))
			continue;
		json_t *object = disk_object(change->dom->all->daemon, disk, kind, NULL, error);
		if (!object)
			return false;
		json_t *id = json_pack("{s:O}", "id", json_object_get(object, "id"));
		change_add_step(change, "object-add", object, "object-del", id);
	}
	return true;
}

static bool add_disk(struct domain_change *change, const struct conf_domain *conf,
		     const struct conf_domain_disk *disk, GError **error)
{
	g_autofree char *node = disk_node_name(disk);
	if (!disk->virtio)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				  "disk bus 'sata' cannot be hotplugged: use bus='virtio'");
	if (!add_disk_objects(change, disk, error))
		return false;
	change_add_step(change, "blockdev-add", disk_blockdev(disk), "blockdev-del",
			json_pack("{s:s}", "node-name", node));
	change_add_step(change, "device_add", disk_device(conf, disk), NULL, NULL);
	if (conf_iotune_is_set(&disk->iotune))
		change_add_step(change, "block_set_io_throttle", disk_throttle(disk), NULL, NULL);
	return true;
}

/* Give some of the descriptors to the VMM; their names there, joined by ':'. NULL: none. */
static char *hand_over(struct domain_change *change, const char *host, GArray *fds, unsigned first,
		       unsigned count)
{
	GString *names = g_string_new(NULL);
	for (unsigned i = first; i < first + count; i++) {
		g_autofree char *name = g_strdup_printf("fd-%s-%u", host, i);
		change_add_fd_step(change, name, fd_steal(&g_array_index(fds, int, i)));
		g_string_append_printf(names, "%s%s", i > first ? ":" : "", name);
	}
	return g_string_free(names, count == 0);
}

static bool add_nic(struct domain_change *change, const struct conf_domain *conf,
		    struct conf_domain_nic *nic, GError **error)
{
	g_autofree char *host = g_strdup_printf("host%s", nic->dev.alias);
	g_autoptr(GArray) fds = interface_fds_new();
	if (!interface_open(change->dom, nic, fds, error))
		return false;
	g_autofree char *taps = hand_over(change, host, fds, 0, nic->fds);
	g_autofree char *vhosts = hand_over(change, host, fds, nic->fds, nic->vhost_fds);
	if (nic->socket) {
		json_t *backend = nic_socket(nic);
		json_t *id = json_pack("{s:O}", "id", json_object_get(backend, "id"));
		change_add_step(change, "chardev-add", backend, "chardev-remove", id);
	}
	change_add_step(change, "netdev_add", nic_netdev(nic, taps, vhosts), "netdev_del",
			json_pack("{s:s}", "id", host));
	change_add_step(change, "device_add", nic_device(conf, nic), NULL, NULL);
	if (nic->link_down)
		change_add_step(change, "set_link",
				json_pack("{s:s, s:b}", "name", nic->dev.alias, "up", 0), NULL, NULL);
	return true;
}

static bool add_channel(struct domain_change *change, const struct conf_domain *conf,
			const struct conf_domain_char *chr, GError **error)
{
	if (chr->log)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "a channel with <log> cannot be plugged in while the domain runs: use --config");
	g_autofree char *folder = vmm_user_folder(vmm_run_dir(change->dom));
	json_t *backend = char_backend(chr, folder);
	json_t *id = json_pack("{s:O}", "id", json_object_get(backend, "id"));
	change_add_step(change, "chardev-add", backend, "chardev-remove", id);
	change_add_step(change, "device_add", char_device(conf, chr), NULL, NULL);
	return true;
}

static bool add_rng(struct domain_change *change, const struct conf_domain *conf)
{
	g_autofree char *object = g_strdup_printf("obj%s", conf->rng->alias);
	change_add_step(change, "object-add", rng_object(conf), "object-del",
			json_pack("{s:s}", "id", object));
	change_add_step(change, "device_add", rng_device(conf), NULL, NULL);
	return true;
}

void *hotplug_in_list(const GPtrArray *list, const struct conf_domain_device *dev)
{
	for (unsigned i = 0; i < list->len; i++) {
		if (list->pdata[i] == dev)
			return list->pdata[i];
	}
	return NULL;
}

static bool plan_attach(struct domain_change *change, const struct conf_domain *old,
			const struct conf_domain *next, GError **error)
{
	struct device_edit *edit = change->opaque;
	const xmlNode *device = xmlDocGetRootElement(edit->doc);
	const xmlNode *devices = xml_child(xmlDocGetRootElement(next->doc), "devices");
	struct conf_domain_device *dev = conf_domain_find_node(next, last_of(devices, device));
	void *found;
	if (!dev)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "live attach of device '%s' is not supported", device->name);
	edit->alias = g_strdup(dev->alias);
	if ((found = hotplug_in_list(next->disks, dev)))
		return add_disk(change, next, found, error);
	if ((found = hotplug_in_list(next->nics, dev)))
		return add_nic(change, next, found, error);
	if ((found = hotplug_in_list(next->chars, dev)) && xml_is(device, "channel"))
		return add_channel(change, next, found, error);
	if (dev == next->rng)
		return add_rng(change, next);
	if ((found = hotplug_in_list(next->hostdevs, dev))) {
		change_add_step(change, "device_add", hostdev_device(found), NULL, NULL);
		return vmm_limits_let_lock(change->dom, error);
	}
	if ((found = hotplug_in_list(next->memories, dev))) {
		memory_plan_attach(change, next, found);
		return true;
	}
	return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			  "live attach of device '%s' is not supported", device->name);
}

static void attached(struct domain *dom, const struct domain_change *change)
{
	const struct device_edit *edit = change->opaque;
	if (!edit->alias || !dom->live)
		return;
	struct conf_domain_device *dev = conf_domain_find_alias(dom->live, edit->alias);
	if (dev && hotplug_in_list(dom->live->memories, dev))
		memory_changed(dom, memory_module_kib(hotplug_in_list(dom->live->memories, dev)), true);
	notify_device_added(dom, edit->alias);
}

/* --- Detach --------------------------------------------------------------------------------- */

static bool edit_detach(xmlNode *root, void *opaque, GError **error)
{
	const struct device_edit *edit = opaque;
	const xmlNode *devices = xml_child(root, "devices");
	xmlNode *node = edit->doc ? hotplug_find(devices, xmlDocGetRootElement(edit->doc))
				  : find_by_alias(devices, edit->alias);
	if (!node)
		return hotplug_no_device(error, edit);
	if (xml_is(node, "memory"))
		memory_count(root, node, false);
	xmlUnlinkNode(node);
	xmlFreeNode(node);
	return true;
}

static void clean_up_disk_objects(struct domain_change *change, const struct conf_domain_disk *disk)
{
	for (enum disk_object kind = 0; kind < DISK_OBJECTS; kind++) {
		g_autofree char *id = disk_needs_object(disk, kind) ? disk_object_id(disk, kind) : NULL;
		if (id)
			change_add_cleanup(change, "object-del", json_pack("{s:s}", "id", id));
	}
}

static void clean_up_socket(struct domain_change *change, const struct conf_domain_nic *nic)
{
	g_autofree char *id = g_strdup_printf("char%s", nic->dev.alias);
	if (nic->socket)
		change_add_cleanup(change, "chardev-remove", json_pack("{s:s}", "id", id));
}

/* What is left in the VMM of a device that is gone. */
static bool plan_cleanup(struct domain_change *change, const struct conf_domain *conf,
			 const struct conf_domain_device *dev, GError **error)
{
	struct device_edit *edit = change->opaque;
	const struct conf_domain_disk *disk = hotplug_in_list(conf->disks, dev);
	g_autofree char *id = NULL;
	if (disk && conf_domain_disk_has_medium(disk)) {
		id = disk_node_name(disk);
		change_add_cleanup(change, "blockdev-del", json_pack("{s:s}", "node-name", id));
		clean_up_disk_objects(change, disk);
	} else if (hotplug_in_list(conf->nics, dev)) {
		id = g_strdup_printf("host%s", dev->alias);
		change_add_cleanup(change, "netdev_del", json_pack("{s:s}", "id", id));
		clean_up_socket(change, hotplug_in_list(conf->nics, dev));
	} else if (hotplug_in_list(conf->chars, dev)) {
		id = g_strdup_printf("char%s", dev->alias);
		change_add_cleanup(change, "chardev-remove", json_pack("{s:s}", "id", id));
	} else if (hotplug_in_list(conf->memories, dev)) {
		id = g_strdup_printf("mem%s", dev->alias);
		change_add_cleanup(change, "object-del", json_pack("{s:s}", "id", id));
		edit->module_kib = memory_module_kib(hotplug_in_list(conf->memories, dev));
	} else if (dev == conf->rng) {
		id = g_strdup_printf("obj%s", dev->alias);
		change_add_cleanup(change, "object-del", json_pack("{s:s}", "id", id));
	} else if (!disk && !hotplug_in_list(conf->hostdevs, dev)) {
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "live detach of device '%s' is not supported", dev->node->name);
	}
	return true;
}

static bool check_no_job(const void *opaque, const json_t *jobs, GError **error)
{
	const struct device_edit *edit = opaque;
	enum block_job_type type;
	return !block_job_find(jobs, edit->alias, &type) ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			  "disk '%s' already in active block job", edit->target);
}

static bool plan_detach(struct domain_change *change, const struct conf_domain *old,
			const struct conf_domain *next, GError **error)
{
	struct device_edit *edit = change->opaque;
	const xmlNode *devices = xml_child(xmlDocGetRootElement(old->doc), "devices");
	const xmlNode *node = edit->doc ? hotplug_find(devices, xmlDocGetRootElement(edit->doc))
					: find_by_alias(devices, edit->alias);
	const struct conf_domain_device *dev = conf_domain_find_node(old, node);
	if (!dev)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "live detach of this device is not supported");
	g_free(edit->alias);
	edit->alias = g_strdup(dev->alias);
	g_ptr_array_add(change->await, g_strdup(dev->alias));
	if (!plan_cleanup(change, old, dev, error))
		return false;
	const struct conf_domain_disk *disk = hotplug_in_list(old->disks, dev);
	if (disk) {
		edit->target = g_strdup(disk->target);
		steps_add_query(change->steps, "query-block-jobs", check_no_job, edit);
	}
	change_add_step(change, "device_del", json_pack("{s:s}", "id", dev->alias), NULL, NULL);
	return true;
}

static void detached(struct domain *dom, const struct domain_change *change)
{
	const struct device_edit *edit = change->opaque;
	if (!change->live || !edit->alias)
		return;
	memory_changed(dom, edit->module_kib, false);
	hostdevs_settle(dom);
	notify_device_removed(dom, edit->alias);
}

/* The guest gave it back by itself, or after the call had returned. */
static bool plan_gone(struct domain_change *change, const struct conf_domain *old,
		      const struct conf_domain *next, GError **error)
{
	const struct device_edit *edit = change->opaque;
	const struct conf_domain_device *dev = conf_domain_find_alias(old, edit->alias);
	return !dev || plan_cleanup(change, old, dev, error);
}

void hotplug_device_gone(struct domain *dom, const char *alias)
{
	if (vcpus_gone(dom, alias))
		return;
	if (!*alias || !conf_domain_find_alias(dom->live, alias) || change_device_gone(dom, alias))
		return;
	struct device_edit *edit = g_new0(struct device_edit, 1);
	edit->alias = g_strdup(alias);
	struct domain_change *change = change_new(CHANGE_LIVE, edit_detach, edit, device_edit_free);
	change->plan = plan_gone;
	change->applied = detached;
	change_submit(dom, NULL, change);
}

/* --- Calls ---------------------------------------------------------------------------------- */

/* VIR_DOMAIN_DEVICE_MODIFY_FORCE opens a CD-ROM drive that the guest has locked. */
enum { MODIFY_FLAGS = CHANGE_LIVE | CHANGE_CONFIG, FORCE = 4 };

static struct domain_change *new_change(struct rpc_call *call, const char *xml, uint32_t flags,
					conf_domain_edit_fn *edit_fn)
{
	GError *error = NULL, *cause = NULL;
	xmlDoc *doc = xml_parse(xml, "device_definition", &cause);
	if (!doc) {
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_XML_DETAIL, "%s", cause->message);
		g_error_free(cause);
		rpc_call_fail(call, error);
		return NULL;
	}
	struct device_edit *edit = g_new0(struct device_edit, 1);
	edit->doc = doc;
	return change_new(flags, edit_fn, edit, device_edit_free);
}

static void serve(struct rpc_call *call, const struct remote_domain *wire, const char *xml,
		  uint32_t flags, conf_domain_edit_fn *edit_fn, change_plan_fn *plan,
		  void (*applied)(struct domain *dom, const struct domain_change *change))
{
	struct domain *dom = domain_find(call, wire);
	struct domain_change *change = dom ? new_change(call, xml, flags, edit_fn) : NULL;
	if (!change)
		return;
	change->plan = plan;
	change->applied = applied;
	change_submit(dom, call, change);
}

struct plugging {
	struct domain *dom;
	struct rpc_call *call;
	struct domain_change *change;
};

static void on_claimed(void *opaque, const GError *error)
{
	struct plugging *plugging = opaque;
	if (error) {
		rpc_call_fail(plugging->call, g_error_copy(error));
		change_free(plugging->change);
	} else {
		change_submit(plugging->dom, plugging->call, plugging->change);
	}
	g_free(plugging);
}

/* A device of the host is taken from its driver before the VMM hears of it. */
static void attach(struct rpc_call *call, const struct remote_domain *wire, const char *xml, uint32_t flags)
{
	struct domain *dom = domain_find(call, wire);
	struct domain_change *change = dom ? new_change(call, xml, flags, edit_attach) : NULL;
	bool live, config;
	if (!change)
		return;
	struct device_edit *edit = change->opaque;
	change->plan = plan_attach;
	change->applied = attached;
	if (!hostdev_is_one(xmlDocGetRootElement(edit->doc)) || !change_resolve(dom, flags, &live, &config, NULL) ||
	    !live) {
		change_submit(dom, call, change);
		return;
	}
	/* Nothing is taken from the host for what would be refused afterwards. */
	GError *error = NULL;
	struct conf_domain *next = change_edit(dom, true, edit_attach, edit, &error);
	if (!next) {
		change_free(change);
		rpc_call_fail(call, error);
		return;
	}
	edit->claimer = domain_pin(dom);
	dom->claiming++;
	struct plugging *plugging = g_new(struct plugging, 1);
	*plugging = (struct plugging){dom, call, change};
	hostdev_claim(dom, next->hostdevs->pdata[next->hostdevs->len - 1], on_claimed, plugging);
	conf_domain_free(next);
}

void serve_domain_attach_device(struct rpc_call *call,
				const struct remote_domain_attach_device_args *args)
{
	attach(call, &args->dom, args->xml, CHANGE_LIVE);
}

void serve_domain_attach_device_flags(struct rpc_call *call,
				      const struct remote_domain_attach_device_flags_args *args)
{
	if (rpc_call_check_flags(call, args->flags, MODIFY_FLAGS))
		attach(call, &args->dom, args->xml, args->flags);
}

void serve_domain_detach_device(struct rpc_call *call,
				const struct remote_domain_detach_device_args *args)
{
	serve(call, &args->dom, args->xml, CHANGE_LIVE, edit_detach, plan_detach, detached);
}

void serve_domain_detach_device_flags(struct rpc_call *call,
				      const struct remote_domain_detach_device_flags_args *args)
{
	if (rpc_call_check_flags(call, args->flags, MODIFY_FLAGS))
		serve(call, &args->dom, args->xml, args->flags, edit_detach, plan_detach, detached);
}

void serve_domain_update_device_flags(struct rpc_call *call,
				      const struct remote_domain_update_device_flags_args *args)
{
	if (rpc_call_check_flags(call, args->flags, MODIFY_FLAGS | FORCE))
		serve(call, &args->dom, args->xml, args->flags, hotplug_edit_update, hotplug_plan_update, hotplug_updated);
}

void serve_domain_detach_device_alias(struct rpc_call *call,
				      const struct remote_domain_detach_device_alias_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, MODIFY_FLAGS))
		return;
	struct device_edit *edit = g_new0(struct device_edit, 1);
	edit->alias = g_strdup(args->alias);
	struct domain_change *change = change_new(args->flags, edit_detach, edit, device_edit_free);
	change->plan = plan_detach;
	change->applied = detached;
	change_submit(dom, call, change);
}
