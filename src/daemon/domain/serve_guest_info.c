/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest's agent tells of its guest. All of it is the guest's word, and of any form. */
#include "daemon/domain/agent_call.h"
#include "daemon/domain/params.h"

#include "daemon/rpc/serve.h"

#include <stdio.h>
#include <string.h>

/* The protocol's limits. */
enum { MAX_PARAMS = 2048, MAX_FILESYSTEMS = 256, MAX_ALIASES = 256, MAX_INTERFACES = 2048 };

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* --- Parameters with numbers in their names --------------------------------------------------- */

static void add_text(struct params *params, const char *value, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
static void add_text(struct params *params, const char *value, const char *format, ...)
{
	va_list values;
	va_start(values, format);
	g_autofree char *name = g_strdup_vprintf(format, values);
	va_end(values);
	if (value)
		params_add_string(params, name, value);
}

static void add_number(struct params *params, const json_t *value, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
static void add_number(struct params *params, const json_t *value, const char *format, ...)
{
	va_list values;
	va_start(values, format);
	g_autofree char *name = g_strdup_vprintf(format, values);
	va_end(values);
	if (json_is_integer(value) && json_integer_value(value) >= 0)
		params_add_ullong(params, name, json_integer_value(value));
}

/* "user.count" and the like; more than the protocol can carry are not told of. */
static unsigned add_count(struct params *params, const json_t *list, const char *prefix)
{
	g_autofree char *name = g_strdup_printf("%s.count", prefix);
	unsigned count = MIN(json_array_size(list), MAX_PARAMS);
	params_add_uint(params, name, count);
	return count;
}

/* --- Parts of guestinfo ----------------------------------------------------------------------- */

static void fill_users(struct params *params, const struct domain *dom, const json_t *result)
{
	unsigned count = add_count(params, result, "user");
	for (unsigned i = 0; i < count; i++) {
		const json_t *user = json_array_get(result, i);
		add_text(params, text_of(user, "user"), "user.%u.name", i);
		add_text(params, text_of(user, "domain"), "user.%u.domain", i);
		double seconds = json_number_value(json_object_get(user, "login-time"));
		g_autofree char *name = g_strdup_printf("user.%u.login-time", i);
		if (seconds >= 0 && seconds < 1e15)
			params_add_ullong(params, name, seconds * 1000);
	}
}

static void fill_os(struct params *params, const struct domain *dom, const json_t *result)
{
	static const char *const keys[] = {"id", "name", "pretty-name", "version", "version-id", "machine",
					   "variant", "variant-id", "kernel-release", "kernel-version"};
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		add_text(params, text_of(result, keys[i]), "os.%s", keys[i]);
}

static void fill_timezone(struct params *params, const struct domain *dom, const json_t *result)
{
	const json_t *offset = json_object_get(result, "offset");
	add_text(params, text_of(result, "zone"), "timezone.name");
	json_int_t seconds = json_integer_value(offset);
	if (json_is_integer(offset) && seconds >= -86400 && seconds <= 86400)
		params_add_int(params, "timezone.offset", seconds);
}

static void fill_hostname(struct params *params, const struct domain *dom, const json_t *result)
{
	add_text(params, text_of(result, "host-name"), "hostname");
}

/*
 * The domain's disk at the place that the guest names: virtio disks are PCI devices, SATA ones ports of
 * the board's controller. NULL: none of them.
 */
static const struct conf_domain_disk *find_disk(const struct domain *dom, const json_t *disk)
{
	const json_t *pci = json_object_get(disk, "pci-controller");
	json_int_t bus = json_integer_value(json_object_get(pci, "bus"));
	json_int_t slot = json_integer_value(json_object_get(pci, "slot"));
	json_int_t function = json_integer_value(json_object_get(pci, "function"));
	bool virtio = g_strcmp0(text_of(disk, "bus-type"), "virtio") == 0;
	for (unsigned i = 0; dom->live && i < dom->live->disks->len; i++) {
		const struct conf_domain_disk *one = dom->live->disks->pdata[i];
		if (one->virtio != virtio)
			continue;
		if (virtio ? one->dev.placed && one->dev.bus == bus && one->dev.slot == slot &&
				     one->dev.function == function
			   : one->unit == json_integer_value(json_object_get(disk, "unit")))
			return one;
	}
	return NULL;
}

static void fill_filesystem(struct params *params, const struct domain *dom, const json_t *fs, unsigned i)
{
	const json_t *disks = json_object_get(fs, "disk");
	unsigned count = MIN(json_array_size(disks), MAX_ALIASES);
	add_text(params, text_of(fs, "name"), "fs.%u.name", i);
	add_text(params, text_of(fs, "mountpoint"), "fs.%u.mountpoint", i);
	add_text(params, text_of(fs, "type"), "fs.%u.fstype", i);
	add_number(params, json_object_get(fs, "total-bytes"), "fs.%u.total-bytes", i);
	add_number(params, json_object_get(fs, "used-bytes"), "fs.%u.used-bytes", i);
	g_autofree char *name = g_strdup_printf("fs.%u.disk.count", i);
	params_add_uint(params, name, count);
	for (unsigned d = 0; d < count; d++) {
		const json_t *disk = json_array_get(disks, d);
		const struct conf_domain_disk *ours = find_disk(dom, disk);
		add_text(params, ours ? ours->target : NULL, "fs.%u.disk.%u.alias", i, d);
		add_text(params, text_of(disk, "serial"), "fs.%u.disk.%u.serial", i, d);
		add_text(params, text_of(disk, "dev"), "fs.%u.disk.%u.device", i, d);
	}
}

static void fill_filesystems(struct params *params, const struct domain *dom, const json_t *result)
{
	unsigned count = add_count(params, result, "fs");
	for (unsigned i = 0; i < count; i++)
		fill_filesystem(params, dom, json_array_get(result, i), i);
}

static void fill_disks(struct params *params, const struct domain *dom, const json_t *result)
{
	unsigned count = add_count(params, result, "disk");
	for (unsigned i = 0; i < count; i++) {
		const json_t *disk = json_array_get(result, i), *address = json_object_get(disk, "address");
		const json_t *below = json_object_get(disk, "dependencies");
		const struct conf_domain_disk *ours = address ? find_disk(dom, address) : NULL;
		g_autofree char *partition = g_strdup_printf("disk.%u.partition", i);
		g_autofree char *prefix = g_strdup_printf("disk.%u.dependency", i);
		add_text(params, text_of(disk, "name"), "disk.%u.name", i);
		params_add_bool(params, partition, json_is_true(json_object_get(disk, "partition")));
		unsigned names = below ? add_count(params, below, prefix) : 0;
		for (unsigned d = 0; d < names; d++)
			add_text(params, json_string_value(json_array_get(below, d)),
				 "disk.%u.dependency.%u.name", i, d);
		add_text(params, text_of(address, "serial"), "disk.%u.serial", i);
		add_text(params, ours ? ours->target : NULL, "disk.%u.alias", i);
		add_text(params, text_of(disk, "alias"), "disk.%u.guest_alias", i);
		add_text(params, text_of(address, "bus-type"), "disk.%u.guest_bus", i);
	}
}

static void fill_interfaces(struct params *params, const struct domain *dom, const json_t *result)
{
	unsigned count = add_count(params, result, "if");
	for (unsigned i = 0; i < count; i++) {
		const json_t *one = json_array_get(result, i), *addrs = json_object_get(one, "ip-addresses");
		g_autofree char *prefix = g_strdup_printf("if.%u.addr", i);
		add_text(params, text_of(one, "name"), "if.%u.name", i);
		add_text(params, text_of(one, "hardware-address"), "if.%u.hwaddr", i);
		unsigned some = add_count(params, addrs, prefix);
		for (unsigned a = 0; a < some; a++) {
			const json_t *addr = json_array_get(addrs, a);
			g_autofree char *name = g_strdup_printf("if.%u.addr.%u.prefix", i, a);
			add_text(params, text_of(addr, "ip-address-type"), "if.%u.addr.%u.type", i, a);
			add_text(params, text_of(addr, "ip-address"), "if.%u.addr.%u.addr", i, a);
			params_add_uint(params, name, json_integer_value(json_object_get(addr, "prefix")));
		}
	}
}

/* By libvirt's bit. */
static const struct {
	const char *command;
	void (*fill)(struct params *params, const struct domain *dom, const json_t *result);
} parts[] = {
	{"guest-get-users", fill_users}, {"guest-get-osinfo", fill_os},
	{"guest-get-timezone", fill_timezone}, {"guest-get-host-name", fill_hostname},
	{"guest-get-fsinfo", fill_filesystems}, {"guest-get-disks", fill_disks},
	{"guest-network-get-interfaces", fill_interfaces},
};

struct guest_info {
	struct rpc_call *call;
	struct domain *dom;
	uint32_t types;
	bool all;      /* what the agent does not know is left out */
	unsigned part;
	struct params params;
};

static void ask_next(struct guest_info *info);

static void on_part(void *opaque, json_t *result, const GError *error)
{
	struct guest_info *info = opaque;
	if (error && !info->all) {
		rpc_call_fail(info->call, g_error_copy(error));
		domain_unpin(info->dom);
		g_free(info);
		return;
	}
	/* A guest that tells too much gets no more room than the protocol has. */
	if (result && info->params.count < MAX_PARAMS)
		parts[info->part].fill(&info->params, info->dom, result);
	info->part++;
	ask_next(info);
}

static void ask_next(struct guest_info *info)
{
	while (info->part < G_N_ELEMENTS(parts) && !(info->types >> info->part & 1))
		info->part++;
	if (info->part < G_N_ELEMENTS(parts)) {
		agent_execute(info->dom, &(struct agent_command){.name = parts[info->part].command,
								 .done = on_part, .opaque = info});
		return;
	}
	struct remote_domain_get_guest_info_ret ret = {
		.params = {MIN(info->params.count, MAX_PARAMS), info->params.items}};
	rpc_call_reply(info->call, &ret);
	domain_unpin(info->dom);
	g_free(info);
}

void serve_domain_get_guest_info(struct rpc_call *call,
				 const struct remote_domain_get_guest_info_args *args)
{
	enum { ALL = (1 << G_N_ELEMENTS(parts)) - 1 };
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	if (args->types & ~ALL)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "unsupported guest information types '0x%x'", args->types & ~ALL);
	if (error || !agent_check(dom, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	struct guest_info *info = g_new0(struct guest_info, 1);
	info->call = call;
	info->dom = domain_pin(dom);
	info->types = args->types ? args->types : ALL;
	info->all = !args->types;
	info->params.arena = rpc_call_arena(call);
	ask_next(info);
}

/* --- File systems ---------------------------------------------------------------------------- */

static void answer_fsinfo(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	struct arena *arena = rpc_call_arena(call);
	struct remote_domain_get_fsinfo_ret ret = {0};
	unsigned count = MIN(json_array_size(result), MAX_FILESYSTEMS);
	ret.info.items = arena_alloc(arena, count * sizeof(*ret.info.items));
	for (unsigned i = 0; i < count; i++) {
		const json_t *fs = json_array_get(result, i), *disks = json_object_get(fs, "disk");
		struct remote_domain_fsinfo *info = &ret.info.items[ret.info.count];
		unsigned some = MIN(json_array_size(disks), MAX_ALIASES);
		*info = (struct remote_domain_fsinfo){
			.mountpoint = (char *)text_of(fs, "mountpoint"), .name = (char *)text_of(fs, "name"),
			.fstype = (char *)text_of(fs, "type"),
			.dev_aliases.items = arena_alloc(arena, some * sizeof(char *))};
		for (unsigned d = 0; d < some; d++) {
			const struct conf_domain_disk *disk = find_disk(dom, json_array_get(disks, d));
			if (disk)
				info->dev_aliases.items[info->dev_aliases.count++] = disk->target;
		}
		ret.info.count += info->mountpoint && info->name && info->fstype;
	}
	ret.ret = ret.info.count;
	rpc_call_reply(call, &ret);
}

void serve_domain_get_fsinfo(struct rpc_call *call, const struct remote_domain_get_fsinfo_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (dom && rpc_call_check_flags(call, args->flags, 0))
		agent_call(call, dom, "guest-get-fsinfo", NULL, answer_fsinfo);
}

/* --- Addresses ------------------------------------------------------------------------------- */

static void take_addresses(struct remote_domain_interface *iface, const json_t *list, struct arena *arena)
{
	unsigned count = MIN(json_array_size(list), MAX_INTERFACES);
	iface->addrs.items = arena_alloc(arena, count * sizeof(*iface->addrs.items));
	for (unsigned i = 0; i < count; i++) {
		const json_t *addr = json_array_get(list, i);
		const char *type = text_of(addr, "ip-address-type"), *text = text_of(addr, "ip-address");
		if (type && text)
			iface->addrs.items[iface->addrs.count++] = (struct remote_domain_ip_addr){
				strcmp(type, "ipv6") == 0, (char *)text,
				json_integer_value(json_object_get(addr, "prefix"))};
	}
}

static void answer_interfaces(struct rpc_call *call, struct domain *dom, const json_t *result)
{
	struct arena *arena = rpc_call_arena(call);
	struct remote_domain_interface_addresses_ret ret = {0};
	unsigned count = MIN(json_array_size(result), MAX_INTERFACES);
	ret.ifaces.items = arena_alloc(arena, count * sizeof(*ret.ifaces.items));
	for (unsigned i = 0; i < count; i++) {
		const json_t *one = json_array_get(result, i);
		char *hardware = (char *)text_of(one, "hardware-address");
		struct remote_domain_interface *iface = &ret.ifaces.items[ret.ifaces.count];
		*iface = (struct remote_domain_interface){.name = (char *)text_of(one, "name")};
		if (hardware)
			iface->hwaddr = hardware;
		take_addresses(iface, json_object_get(one, "ip-addresses"), arena);
		ret.ifaces.count += iface->name != NULL;
	}
	rpc_call_reply(call, &ret);
}

void agent_interface_addresses(struct rpc_call *call, struct domain *dom)
{
	agent_call(call, dom, "guest-network-get-interfaces", NULL, answer_interfaces);
}
