/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls about node devices. */
#include "daemon/nodedev/nodedev.h"

#include "daemon/rpc/serve.h"

#include <string.h>

/* Flags of lists are bits of capabilities, and a pair for devices that are there or only defined. */
#define LIST_CAPS     ((1U << NODEDEV_CAPS) - 1)
#define LIST_INACTIVE (1U << 30)
#define LIST_ACTIVE   (1U << 31)
enum { EVENT_NUMBERS = 2 };

static struct nodedevs *devices_of(struct rpc_call *call)
{
	return rpc_call_daemon(call)->nodedevs;
}

/* --- Lists ---------------------------------------------------------------------------------- */

/* Borrowed devices with one of `caps` that the caller may see. */
static GPtrArray *select_devices(struct rpc_call *call, uint32_t caps)
{
	g_autoptr(GPtrArray) all = nodedevs_list(devices_of(call), caps);
	GPtrArray *seen = g_ptr_array_new();
	for (unsigned i = 0; i < all->len; i++) {
		struct nodedev *dev = all->pdata[i];
		if (rpc_call_sees(call, RPC_NODEDEV, dev->name))
			g_ptr_array_add(seen, dev);
	}
	return seen;
}

void serve_connect_list_all_node_devices(struct rpc_call *call,
					 const struct remote_connect_list_all_node_devices_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, LIST_CAPS | LIST_INACTIVE | LIST_ACTIVE))
		return;
	uint32_t caps = args->flags & LIST_CAPS ? args->flags & LIST_CAPS : LIST_CAPS;
	/* What is not there is not known: no device is only defined. */
	if (!rpc_list_passes(args->flags, LIST_ACTIVE, LIST_INACTIVE, true))
		caps = 0;
	g_autoptr(GPtrArray) found = select_devices(call, caps);
	struct remote_connect_list_all_node_devices_ret ret = {.ret = found->len};
	if (args->need) {
		ret.devices.count = found->len;
		ret.devices.items = arena_alloc(rpc_call_arena(call),
						found->len * sizeof(*ret.devices.items));
		for (unsigned i = 0; i < found->len; i++)
			ret.devices.items[i].name = ((struct nodedev *)found->pdata[i])->name;
	}
	rpc_call_reply(call, &ret);
}

/* NULL: all; a word that is no capability: none, as libvirt's. */
static uint32_t named_cap(const char *cap)
{
	if (!cap)
		return LIST_CAPS;
	for (unsigned i = 0; i < NODEDEV_CAPS; i++) {
		if (strcmp(nodedev_cap_names[i], cap) == 0)
			return 1U << i;
	}
	return 0;
}

void serve_node_num_of_devices(struct rpc_call *call, const struct remote_node_num_of_devices_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	g_autoptr(GPtrArray) found = select_devices(call, named_cap(args->cap));
	rpc_call_reply(call, &(struct remote_node_num_of_devices_ret){found->len});
}

void serve_node_list_devices(struct rpc_call *call, const struct remote_node_list_devices_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	g_autoptr(GPtrArray) found = select_devices(call, named_cap(args->cap));
	struct remote_node_list_devices_ret ret = {
		.names.count = MIN(found->len, (unsigned)MAX(args->maxnames, 0))};
	ret.names.items = arena_alloc(rpc_call_arena(call), ret.names.count * sizeof(char *));
	for (unsigned i = 0; i < ret.names.count; i++)
		ret.names.items[i] = ((struct nodedev *)found->pdata[i])->name;
	rpc_call_reply(call, &ret);
}

/* --- One device ----------------------------------------------------------------------------- */

/* NULL with the call failed. */
static struct nodedev *find(struct rpc_call *call, const char *name)
{
	GError *error = NULL;
	struct nodedev *dev = nodedev_find(devices_of(call), name, &error);
	if (!dev)
		rpc_call_fail(call, error);
	return dev;
}

void serve_node_device_lookup_by_name(struct rpc_call *call,
				      const struct remote_node_device_lookup_by_name_args *args)
{
	const struct nodedev *dev = find(call, args->name);
	struct remote_node_device_lookup_by_name_ret ret;
	if (!dev)
		return;
	ret.dev.name = dev->name;
	rpc_call_reply(call, &ret);
}

/* A Fibre Channel adapter's port, by its world wide names. */
void serve_node_device_lookup_scsi_host_by_wwn(
	struct rpc_call *call, const struct remote_node_device_lookup_scsi_host_by_wwn_args *args)
{
	struct remote_node_device_lookup_scsi_host_by_wwn_ret ret;
	GError *error = NULL;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct nodedev *dev = nodedev_find_wwn(devices_of(call), args->wwnn, args->wwpn);
	if (dev && rpc_call_sees(call, RPC_NODEDEV, dev->name)) {
		ret.dev.name = dev->name;
		rpc_call_reply(call, &ret);
		return;
	}
	virt_error(&error, VIRT_FROM_NODEDEV, VIRT_NO_NODE_DEVICE,
		   "no SCSI host with the WWNN '%s' and the WWPN '%s'", args->wwnn, args->wwpn);
	rpc_call_fail(call, error);
}

void serve_node_device_get_xml_desc(struct rpc_call *call,
				    const struct remote_node_device_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct nodedev *dev = find(call, args->name);
	if (!dev)
		return;
	g_autofree char *xml = nodedev_format(dev, rpc_call_daemon(call)->host);
	rpc_call_reply(call, &(struct remote_node_device_get_xml_desc_ret){xml});
}

void serve_node_device_get_parent(struct rpc_call *call,
				  const struct remote_node_device_get_parent_args *args)
{
	const struct nodedev *dev = find(call, args->name);
	if (dev)
		rpc_call_reply(call, &(struct remote_node_device_get_parent_ret){dev->parent});
}

void serve_node_device_num_of_caps(struct rpc_call *call,
				   const struct remote_node_device_num_of_caps_args *args)
{
	if (find(call, args->name))
		rpc_call_reply(call, &(struct remote_node_device_num_of_caps_ret){1});
}

void serve_node_device_list_caps(struct rpc_call *call,
				 const struct remote_node_device_list_caps_args *args)
{
	const struct nodedev *dev = find(call, args->name);
	if (!dev)
		return;
	char *name = (char *)nodedev_cap_names[dev->kind->cap];
	struct remote_node_device_list_caps_ret ret = {.names = {args->maxnames > 0, &name}};
	rpc_call_reply(call, &ret);
}

/* What the kernel shows is there. */
void serve_node_device_is_active(struct rpc_call *call,
				 const struct remote_node_device_is_active_args *args)
{
	if (find(call, args->name))
		rpc_call_reply(call, &(struct remote_node_device_is_active_ret){1});
}

/* Definitions are for mediated devices, which we do not make; only the machine itself stays. */
void serve_node_device_is_persistent(struct rpc_call *call,
				     const struct remote_node_device_is_persistent_args *args)
{
	const struct nodedev *dev = find(call, args->name);
	if (dev)
		rpc_call_reply(call, &(struct remote_node_device_is_persistent_ret){!dev->path});
}

void serve_node_device_get_autostart(struct rpc_call *call,
				     const struct remote_node_device_get_autostart_args *args)
{
	const struct nodedev *dev = find(call, args->name);
	if (dev)
		rpc_call_reply(call, &(struct remote_node_device_get_autostart_ret){!dev->path});
}

/* --- Events --------------------------------------------------------------------------------- */

void serve_connect_node_device_event_register_any(
	struct rpc_call *call, const struct remote_connect_node_device_event_register_any_args *args)
{
	GError *error = NULL;
	uint8_t key[16];
	if (args->event < 0 || args->event >= EVENT_NUMBERS) {
		virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "unsupported node device event ID %d",
			   args->event);
		rpc_call_fail(call, error);
		return;
	}
	if (args->dev)
		nodedev_key(args->dev->name, key);
	int id = rpc_event_register(call, RPC_EVENT_NODE_DEVICE, args->event, args->dev ? key : NULL);
	if (id >= 0)
		rpc_call_reply(call, &(struct remote_connect_node_device_event_register_any_ret){id});
}

void serve_connect_node_device_event_deregister_any(
	struct rpc_call *call, const struct remote_connect_node_device_event_deregister_any_args *args)
{
	GError *error = NULL;
	if (rpc_event_deregister(call, RPC_EVENT_NODE_DEVICE, args->callback)) {
		rpc_call_reply(call, NULL);
		return;
	}
	virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "node device event callback %d not registered",
		   args->callback);
	rpc_call_fail(call, error);
}
