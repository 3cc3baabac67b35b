/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of a command line as elements of a domain. */
#include "conf/domain_native.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

static void set(xmlNode *node, const char *name, const char *value)
{
	xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static bool take_number(struct native_device *dev, const char *key, uint64_t most, uint64_t *number)
{
	g_autofree char *text = keyval_take(dev->props, key);
	if (!text || units_parse_number(text, 0, most, number, dev->error))
		return true;
	g_prefix_error(dev->error, "-device %s: %s: ", dev->item->type, key);
	return false;
}

/* An element with a number of KiB. */
static void add_kib(xmlNode *parent, const char *name, uint64_t bytes)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, (bytes + KIB - 1) / KIB);
	native_add(parent, name, text, "unit", "KiB", NULL);
}

/* --- Places ----------------------------------------------------------------------------------- */

/* "pcie.0", or a root port. */
static bool read_bus(struct native *n, struct native_device *dev, unsigned *bus)
{
	const char *name = dev->item->bus;
	gpointer index;
	*bus = 0;
	if (!name || strcmp(name, "pcie.0") == 0)
		return true;
	if (!g_hash_table_lookup_extended(n->ports, name, NULL, &index))
		return error_set(dev->error, BERTH_ERR_NOT_FOUND,
				 "-device %s: there is no bus '%s' of a pcie-root-port before it", dev->item->type,
				 name);
	*bus = GPOINTER_TO_UINT(index);
	return true;
}

/* <address type='pci'>, if the device says where it is: its slot and function are hexadecimal. */
static bool place(struct native *n, struct native_device *dev, xmlNode *node)
{
	g_autofree char *text = keyval_take(dev->props, "addr");
	unsigned bus;
	if (!read_bus(n, dev, &bus))
		return false;
	if (!text && !dev->item->bus)
		return true;
	g_auto(GStrv) parts = g_strsplit(text ? text : "0", ".", 2);
	g_autofree char *hex_bus = g_strdup_printf("0x%02x", bus);
	const char *const words[] = {parts[0], parts[0] && parts[1] ? parts[1] : "0"};
	char *hex[2] = {NULL, NULL};
	bool good = true;
	for (unsigned i = 0; i < 2; i++) {
		char *end;
		guint64 number = words[i] && *words[i] ? g_ascii_strtoull(words[i], &end, 16) : G_MAXUINT64;
		good = good && number <= 31 && !*end;
		hex[i] = g_strdup_printf("0x%x", (unsigned)number);
	}
	if (good)
		native_add(node, "address", NULL, "type", "pci", "domain", "0x0000", "bus", hex_bus, "slot", hex[0],
			   "function", hex[1], NULL);
	else
		error_set(dev->error, BERTH_ERR_INVALID, "-device %s: addr=%s is not SLOT.FUNCTION",
			  dev->item->type, text);
	g_free(hex[0]);
	g_free(hex[1]);
	return good;
}

/* What any device may have: its place, a name of the user's, its turn at boot. */
static bool finish(struct native *n, struct native_device *dev, xmlNode *node, bool on_pci)
{
	g_autofree char *order = keyval_take(dev->props, "bootindex");
	g_autofree char *what = g_strdup_printf("-device %s", dev->item->type);
	if (order)
		native_add(node, "boot", NULL, "order", order, NULL);
	if (dev->item->id && g_str_has_prefix(dev->item->id, "ua-"))
		native_add(node, "alias", NULL, "name", dev->item->id, NULL);
	return (!on_pci || place(n, dev, node)) && native_all_read(dev->props, what, dev->error);
}

/* --- Controllers -------------------------------------------------------------------------------- */

static unsigned port_index(const struct native *n, const char *id)
{
	uint64_t index;
	if (id && g_str_has_prefix(id, "pci.") && units_parse_number(id + strlen("pci."), 1, 255, &index, NULL))
		return index;
	return g_hash_table_size(n->ports) + 1;
}

static bool root_port(struct native *n, struct native_device *dev)
{
	xmlNode *node = native_add(n->devices, "controller", NULL, "type", "pci", NULL);
	unsigned index = port_index(n, dev->item->id);
	g_autofree char *chassis = keyval_take(dev->props, "chassis"), *port = keyval_take(dev->props, "port");
	bool ignored;
	native_set_number(node, "index", index);
	set(node, "model", "pcie-root-port");
	if (chassis || port)
		native_add(node, "target", NULL, "chassis", chassis, "port", port, NULL);
	if (dev->item->id)
		g_hash_table_insert(n->ports, dev->item->id, GUINT_TO_POINTER(index));
	/* The document says of each function 0 that there may be others. */
	return native_take_switch(dev->props, "multifunction", false, &ignored, dev->error) &&
	       finish(n, dev, node, true);
}

static bool virtio_serial(struct native *n, struct native_device *dev)
{
	xmlNode *node = native_add(n->devices, "controller", NULL, "type", "virtio-serial", "index", "0", NULL);
	return finish(n, dev, node, true);
}

/* --- Disks, folders ------------------------------------------------------------------------------- */

static bool disk(struct native *n, struct native_device *dev)
{
	xmlNode *node;
	return native_disk(n, dev, &node) && finish(n, dev, node, g_str_has_prefix(dev->item->type, "virtio"));
}

/* The folder is the device's own, or an -fsdev's. */
static bool folder(struct native *n, struct native_device *dev)
{
	g_autofree char *id = keyval_take(dev->props, "fsdev"), *tag = keyval_take(dev->props, "mount_tag");
	const struct conf_item *fsdev = id ? native_take_item(n, CONF_FSDEV, id, dev->error) : NULL;
	if (id && !fsdev)
		return false;
	auto_keyval outer = fsdev ? keyval_copy(fsdev->props) : keyval_new();
	struct keyval *props = fsdev ? outer : dev->props;
	g_autofree char *path = keyval_take(props, "path"), *model = keyval_take(props, "security_model");
	const char *access = !model || strcmp(model, "passthrough") == 0 ? "passthrough"
		: strcmp(model, "none") == 0 ? "squash" : g_str_has_prefix(model, "mapped") ? "mapped" : NULL;
	bool readonly;
	if (!native_take_switch(props, "readonly", false, &readonly, dev->error))
		return false;
	if (!access || g_strcmp0(model, "mapped-file") == 0)
		return error_set(dev->error, BERTH_ERR_NOT_SUPPORTED,
				 "-fsdev: security_model=%s has no place in a domain's XML", model);
	xmlNode *node = native_add(n->devices, "filesystem", NULL, "type", "mount", "accessmode", access, NULL);
	native_add(node, "source", NULL, "dir", path ? path : "", NULL);
	native_add(node, "target", NULL, "dir", tag ? tag : "", NULL);
	if (readonly)
		native_add(node, "readonly", NULL, NULL);
	return native_all_read(outer, "-fsdev", dev->error) && finish(n, dev, node, true);
}

/* --- Networks ----------------------------------------------------------------------------------- */

static bool vhost_user(struct native *n, xmlNode *node, struct keyval *props, GError **error)
{
	g_autofree char *id = keyval_take(props, "chardev");
	const struct conf_item *stream = native_take_item(n, CONF_CHARDEV, id, error);
	if (!stream)
		return false;
	auto_keyval options = keyval_copy(stream->props);
	g_autofree char *path = keyval_take(options, "path"), *seconds = keyval_take(options, "reconnect");
	bool listens, wait;
	if (!native_take_switch(options, "server", false, &listens, error) ||
	    !native_take_switch(options, "wait", true, &wait, error) ||
	    !native_all_read(options, "-chardev socket", error))
		return false;
	xmlNode *source = native_add(node, "source", NULL, "type", "unix", "path", path ? path : "", "mode",
				     listens ? "server" : "client", NULL);
	if (seconds)
		native_add(source, "reconnect", NULL, "enabled", "yes", "timeout", seconds, NULL);
	return true;
}

/*
 * A tap device: named, or given as a descriptor, which the daemon opens again by itself. *vhost: the kernel
 * moves its packets.
 */
static bool tap(xmlNode *node, struct keyval *props, bool *vhost, GError **error)
{
	static const char *const given[] = {"fd", "fds", "vhostfd", "vhostfds"};
	g_autofree char *name = keyval_take(props, "ifname"), *up = keyval_take(props, "script");
	g_autofree char *down = keyval_take(props, "downscript");
	const char *const scripts[] = {up, down};
	for (unsigned i = 0; i < G_N_ELEMENTS(given); i++)
		g_free(keyval_take(props, given[i]));
	for (unsigned i = 0; i < G_N_ELEMENTS(scripts); i++) {
		if (scripts[i] && strcmp(scripts[i], "no") != 0)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "-netdev tap: script '%s' has no place in a domain's XML: write script=no",
					 scripts[i]);
	}
	if (name)
		native_add(node, "target", NULL, "dev", name, "managed", "no", NULL);
	return native_take_switch(props, "vhost", false, vhost, error);
}

/* "ADDRESS:PORT" as attributes of `node`; an address of IPv6 is in brackets. */
static void set_place(xmlNode *node, const char *text)
{
	const char *colon = strrchr(text, ':');
	bool v6 = *text == '[' && colon && colon[-1] == ']';
	g_autofree char *address = colon ? g_strndup(text + v6, colon - text - 2 * v6) : NULL;
	if (address && *address)
		set(node, "address", address);
	set(node, "port", colon ? colon + 1 : text);
}

/* -netdev socket; *type is the <interface>'s. */
static bool cable(xmlNode *node, struct keyval *props, const char **type, GError **error)
{
	static const char *const types[][2] = {
		{"connect", "client"}, {"listen", "server"}, {"mcast", "mcast"}, {"udp", "udp"}};
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		g_autofree char *to = keyval_take(props, types[i][0]);
		if (!to)
			continue;
		xmlNode *source = native_add(node, "source", NULL, NULL);
		g_autofree char *from = strcmp(types[i][0], "udp") == 0 ? keyval_take(props, "localaddr") : NULL;
		set_place(source, to);
		if (from)
			set_place(native_add(source, "local", NULL, NULL), from);
		*type = types[i][1];
		return true;
	}
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-netdev socket: a domain has connect=, listen=, mcast= and udp=");
}

/* <interface type=> and what is behind it. */
static bool back_end(struct native *n, const struct conf_item *netdev, xmlNode *node, GError **error)
{
	auto_keyval props = keyval_copy(netdev->props);
	g_autofree char *what = g_strdup_printf("-netdev %s", netdev->type);
	g_autofree char *queues = keyval_take(props, "queues"), *bridge = NULL;
	const char *type = netdev->type;
	bool vhost = false, good = true;
	if (strcmp(type, "bridge") == 0) {
		bridge = keyval_take(props, "br");
		native_add(node, "source", NULL, "bridge", bridge ? bridge : "br0", NULL);
	} else if (strcmp(type, "vhost-user") == 0) {
		type = "vhostuser";
		good = vhost_user(n, node, props, error);
	} else if (strcmp(type, "tap") == 0) {
		type = "ethernet";
		good = tap(node, props, &vhost, error);
	} else if (strcmp(type, "socket") == 0) {
		good = cable(node, props, &type, error);
	} else if (strcmp(type, "stream") == 0 && g_strcmp0(keyval_get(props, "addr.type"), "fd") == 0) {
		/* The other end of such a descriptor is passt. */
		type = "user";
		g_free(keyval_take(props, "addr.type"));
		g_free(keyval_take(props, "addr.str"));
		native_add(node, "backend", NULL, "type", "passt", NULL);
	} else if (strcmp(type, "user") != 0) {
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "%s has no place in a domain's XML", what);
	}
	set(node, "type", type);
	if (queues || vhost)
		native_add(node, "driver", NULL, "name", vhost ? "vhost" : NULL, "queues", queues, NULL);
	return good && native_all_read(props, what, error);
}

static bool card(struct native *n, struct native_device *dev)
{
	g_autofree char *id = keyval_take(dev->props, "netdev"), *mac = keyval_take(dev->props, "mac");
	g_autofree char *mtu = keyval_take(dev->props, "host_mtu"), *rom = keyval_take(dev->props, "romfile");
	bool virtio = g_str_has_prefix(dev->item->type, "virtio"), has_bar = keyval_get(dev->props, "rombar"), bar;
	const struct conf_item *netdev = native_take_item(n, CONF_NETDEV, id, dev->error);
	bool queues;
	if (!netdev || !native_take_switch(dev->props, "mq", false, &queues, dev->error) ||
	    !native_take_switch(dev->props, "rombar", true, &bar, dev->error))
		return false;
	xmlNode *node = native_add(n->devices, "interface", NULL, NULL);
	if (mac)
		native_add(node, "mac", NULL, "address", mac, NULL);
	if (!back_end(n, netdev, node, dev->error))
		return false;
	native_add(node, "model", NULL, "type", virtio ? "virtio" : dev->item->type, NULL);
	if (mtu)
		native_add(node, "mtu", NULL, "size", mtu, NULL);
	if (rom || has_bar)
		native_add(node, "rom", NULL, "enabled", rom && !*rom ? "no" : NULL, "bar",
			   has_bar ? bar ? "on" : "off" : NULL, "file", rom && *rom ? rom : NULL, NULL);
	return finish(n, dev, node, true);
}

/* --- Streams -------------------------------------------------------------------------------------- */

/* type= and <source> of `node`; a terminal of the one who types the command is one of the daemon's. */
static bool stream(xmlNode *node, const struct conf_item *item, GError **error)
{
	auto_keyval props = keyval_copy(item->props);
	g_autofree char *what = g_strdup_printf("-chardev %s", item->type);
	g_autofree char *path = keyval_take(props, "path");
	bool socket = strcmp(item->type, "socket") == 0, file = strcmp(item->type, "file") == 0;
	bool terminal = strcmp(item->type, "pty") == 0 || strcmp(item->type, "stdio") == 0, listens, wait;
	if (!socket && !file && !terminal && strcmp(item->type, "null") != 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "%s has no place in a domain's XML", what);
	if (!native_take_switch(props, "server", false, &listens, error) ||
	    !native_take_switch(props, "wait", true, &wait, error) || !native_all_read(props, what, error))
		return false;
	set(node, "type", socket ? "unix" : terminal ? "pty" : item->type);
	if (socket || file)
		native_add(node, "source", NULL, "path", path ? path : "", "mode",
			   !socket ? NULL : listens ? "bind" : "connect", NULL);
	return true;
}

static bool take_stream(struct native *n, struct native_device *dev, xmlNode *node)
{
	g_autofree char *id = keyval_take(dev->props, "chardev");
	const struct conf_item *item = native_take_item(n, CONF_CHARDEV, id, dev->error);
	return item && stream(node, item, dev->error);
}

static bool serial(struct native *n, struct native_device *dev)
{
	xmlNode *node = native_add(n->devices, "serial", NULL, NULL);
	return take_stream(n, dev, node) && finish(n, dev, node, false);
}

static bool port(struct native *n, struct native_device *dev)
{
	bool console = strcmp(dev->item->type, "virtconsole") == 0;
	xmlNode *node = native_add(n->devices, console ? "console" : "channel", NULL, NULL);
	g_autofree char *name = keyval_take(dev->props, "name");
	uint64_t number = UINT64_MAX;
	if (!take_stream(n, dev, node) || !take_number(dev, "nr", 30, &number))
		return false;
	native_add(node, "target", NULL, "type", "virtio", "name", name, NULL);
	if (number != UINT64_MAX)
		native_set_number(native_add(node, "address", NULL, "type", "virtio-serial", "controller", "0", "bus",
					     "0", NULL), "port", number);
	return finish(n, dev, node, false);
}

/* -serial, before the serial ports of -device: "pty", "stdio", "file:/x", "unix:/x,server=on", "chardev:ID". */
static bool short_serial(struct native *n, const char *spec, GError **error)
{
	const char *text = g_str_has_prefix(spec, "mon:") ? spec + strlen("mon:") : spec;
	if (strcmp(text, "none") == 0)
		return true;
	xmlNode *node = native_add(n->devices, "serial", NULL, NULL);
	if (g_str_has_prefix(text, "chardev:")) {
		const struct conf_item *item =
			native_take_item(n, CONF_CHARDEV, text + strlen("chardev:"), error);
		return item && stream(node, item, error);
	}
	const char *colon = strchr(text, ':');
	g_autofree char *type = g_strndup(text, strcspn(text, ":,")), *rest = NULL;
	rest = g_strdup_printf("%s%s%s,id=serial", strcmp(type, "unix") == 0 ? "socket" : type,
			       colon ? ",path=" : "", colon ? colon + 1 : "");
	struct conf_item *item = conf_item_parse(CONF_CHARDEV, rest, error);
	bool good = item && stream(node, item, error);
	conf_item_free(item);
	if (!good)
		g_prefix_error(error, "-serial %s: ", spec);
	return good;
}

/* --- The rest --------------------------------------------------------------------------------------- */

char *native_take_host_nodes(struct keyval *props)
{
	GString *nodes = g_string_new(NULL);
	for (unsigned i = 0;; i++) {
		g_autofree char *key = g_strdup_printf("host-nodes.%u", i), *number = keyval_take(props, key);
		if (!number)
			break;
		g_string_append_printf(nodes, "%s%s", i ? "," : "", number);
	}
	return g_string_free(nodes, !nodes->len);
}

/* <source> of a memory device: pages and nodes of the host. */
static bool memory_source(xmlNode *node, struct keyval *props, GError **error)
{
	bool huge;
	g_autofree char *page = keyval_take(props, "hugetlbsize"), *policy = keyval_take(props, "policy");
	g_autofree char *nodes = native_take_host_nodes(props);
	uint64_t bytes = 0;
	if (!native_take_switch(props, "hugetlb", false, &huge, error) ||
	    (page && !units_parse_size(page, 1, &bytes, error)))
		return false;
	if (policy && strcmp(policy, "bind") != 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-object: policy=%s has no place in a domain's XML", policy);
	if (!bytes && !nodes)
		return true;
	xmlNode *source = native_add(node, "source", NULL, NULL);
	if (bytes)
		add_kib(source, "pagesize", bytes);
	if (nodes)
		native_add(source, "nodemask", nodes, NULL);
	return true;
}

static bool memory_object(struct native *n, struct native_device *dev, xmlNode *node, uint64_t *size)
{
	g_autofree char *id = keyval_take(dev->props, "memdev");
	const struct conf_item *item = native_take_item(n, CONF_OBJECT, id, dev->error);
	if (!item)
		return false;
	auto_keyval props = keyval_copy(item->props);
	g_autofree char *amount = keyval_take(props, "size"), *what = g_strdup_printf("-object %s", item->type);
	bool shared, discard, taken, reserved, huge = keyval_get(props, "hugetlb");
	g_free(keyval_take(props, "prealloc-threads"));
	/* <memoryBacking> says it of all, and huge pages are always taken at the start. */
	bool is_usual = huge || xml_child(xml_child(n->root, "memoryBacking"), "allocation");
	if ((is_usual && (!native_take_switch(props, "prealloc", false, &taken, dev->error) ||
			  !native_take_switch(props, "reserve", true, &reserved, dev->error))) ||
	    !native_take_switch(props, "share", false, &shared, dev->error) ||
	    !native_take_switch(props, "discard-data", false, &discard, dev->error) ||
	    !memory_source(node, props, dev->error) || !native_all_read(props, what, dev->error))
		return false;
	if (!g_str_has_prefix(item->type, "memory-backend-") || !amount ||
	    !units_parse_size(amount, 1, size, NULL))
		return error_set(dev->error, BERTH_ERR_INVALID, "%s: it is no memory with a size", what);
	set(node, "access", shared ? "shared" : "private");
	if (discard)
		set(node, "discard", "yes");
	return true;
}

static bool memory(struct native *n, struct native_device *dev)
{
	bool module = strcmp(dev->item->type, "pc-dimm") == 0;
	xmlNode *node = native_add(n->devices, "memory", NULL, "model", module ? "dimm" : "virtio-mem", NULL);
	g_autofree char *slot = keyval_take(dev->props, "slot");
	uint64_t size = 0, cell = UINT64_MAX, block = 0, requested = 0, base = 0;
	if (!memory_object(n, dev, node, &size) || !take_number(dev, "node", 127, &cell) ||
	    !take_number(dev, module ? "addr" : "memaddr", INT64_MAX, &base) ||
	    !take_number(dev, "block-size", INT64_MAX, &block) ||
	    !take_number(dev, "requested-size", INT64_MAX, &requested))
		return false;
	n->device_kib += (size + KIB - 1) / KIB;
	xmlNode *target = native_add(node, "target", NULL, NULL);
	add_kib(target, "size", size);
	if (cell != UINT64_MAX) {
		g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, cell);
		native_add(target, "node", text, NULL);
	}
	if (!module) {
		add_kib(target, "block", block);
		add_kib(target, "requested", requested);
	}
	if (base && !module)
		return error_set(dev->error, BERTH_ERR_NOT_SUPPORTED,
				 "-device virtio-mem: 'memaddr' has no place in a domain's XML: leave it out");
	if (module && slot) {
		g_autofree char *text = base ? g_strdup_printf("0x%" G_GINT64_MODIFIER "x", base) : NULL;
		native_add(node, "address", NULL, "type", "dimm", "slot", slot, "base", text, NULL);
	}
	return finish(n, dev, node, !module);
}

static bool rng(struct native *n, struct native_device *dev)
{
	g_autofree char *id = keyval_take(dev->props, "rng");
	const struct conf_item *item = native_take_item(n, CONF_OBJECT, id, dev->error);
	if (!item)
		return false;
	auto_keyval props = keyval_copy(item->props);
	g_autofree char *file = keyval_take(props, "filename");
	if (strcmp(item->type, "rng-random") != 0)
		return error_set(dev->error, BERTH_ERR_NOT_SUPPORTED, "-object %s has no place in a domain's XML: "
				 "use rng-random", item->type);
	xmlNode *node = native_add(n->devices, "rng", NULL, "model", "virtio", NULL);
	native_add(node, "backend", file ? file : "/dev/urandom", "model", "random", NULL);
	return native_all_read(props, "-object rng-random", dev->error) && finish(n, dev, node, true);
}

static bool balloon(struct native *n, struct native_device *dev)
{
	return finish(n, dev, native_add(n->devices, "memballoon", NULL, "model", "virtio", NULL), true);
}

static bool panic(struct native *n, struct native_device *dev)
{
	return finish(n, dev, native_add(n->devices, "panic", NULL, "model", "isa", NULL), false);
}

/* What it does is -action's. */
static bool watchdog(struct native *n, struct native_device *dev)
{
	static const char *const actions[] = {
		[CONF_WATCHDOG_RESET] = "reset", [CONF_WATCHDOG_SHUTDOWN] = "shutdown",
		[CONF_WATCHDOG_POWEROFF] = "poweroff", [CONF_WATCHDOG_PAUSE] = "pause",
		[CONF_WATCHDOG_DEBUG] = "debug", [CONF_WATCHDOG_NONE] = "none",
		[CONF_WATCHDOG_INJECT_NMI] = "inject-nmi",
	};
	return finish(n, dev, native_add(n->devices, "watchdog", NULL, "model", "i6300esb", "action",
					 actions[n->vm->action.watchdog], NULL), true);
}

/* Virtio devices by their name without the bus. */
static const struct {
	const char *driver;
	bool virtio;
	bool (*read)(struct native *n, struct native_device *dev);
} drivers[] = {
	{"pcie-root-port", false, root_port}, {"virtio-serial", true, virtio_serial}, {"virtio-blk", true, disk},
	{"ide-hd", false, disk}, {"ide-cd", false, disk}, {"virtio-net", true, card}, {"e1000", false, card},
	{"e1000e", false, card}, {"rtl8139", false, card}, {"virtio-9p", true, folder},
	{"isa-serial", false, serial}, {"virtconsole", false, port}, {"virtserialport", false, port},
	{"pc-dimm", false, memory}, {"virtio-mem", true, memory}, {"virtio-rng", true, rng},
	{"virtio-balloon", true, balloon}, {"pvpanic", false, panic}, {"i6300esb", false, watchdog},
};

static bool is_driver(const char *type, const char *driver, bool virtio)
{
	const char *rest = type + strlen(driver);
	return g_str_has_prefix(type, driver) &&
	       (virtio ? strcmp(rest, "-pci") == 0 || strcmp(rest, "-device") == 0 : !*rest);
}

static bool device(struct native *n, const struct conf_item *item, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(drivers); i++) {
		if (!is_driver(item->type, drivers[i].driver, drivers[i].virtio))
			continue;
		auto_keyval props = keyval_copy(item->props);
		struct native_device dev = {item, props, error};
		return drivers[i].read(n, &dev);
	}
	return error_set(error, BERTH_ERR_NOT_SUPPORTED, "-device %s has no place in a domain's XML: leave it out",
			 item->type);
}

bool native_devices(struct native *n, GError **error)
{
	const GPtrArray *devices = n->vm->items[CONF_DEVICE];
	for (unsigned i = 0; i < n->vm->serials->len; i++) {
		if (!short_serial(n, n->vm->serials->pdata[i], error))
			return false;
	}
	for (unsigned i = 0; i < devices->len; i++) {
		if (!device(n, devices->pdata[i], error))
			return false;
	}
	/* Who asked for no balloon gets none. */
	if (!xml_child(n->devices, "memballoon"))
		native_add(n->devices, "memballoon", NULL, "model", "none", NULL);
	return true;
}
