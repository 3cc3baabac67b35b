/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Human commands: devices, disks, networks, streams. */
#include "vmm.h"

#include "base/error.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

static const char *string_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static uint64_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void info_pci(void *opaque, struct hmp_call *call)
{
	json_t *buses = hmp_qmp(call, "query-pci", NULL);
	size_t i, k;
	json_t *device, *region;
	json_array_foreach(json_object_get(json_array_get(buses, 0), "devices"), i, device) {
		const json_t *id = json_object_get(device, "id");
		hmp_printf(call, "  Bus %2d, device %3d, function %d:\n    %s: PCI device %04x:%04x\n",
			   (int)number_of(device, "bus"), (int)number_of(device, "slot"),
			   (int)number_of(device, "function"),
			   string_of(json_object_get(device, "class_info"), "desc"),
			   (unsigned)number_of(id, "vendor"), (unsigned)number_of(id, "device"));
		if (number_of(device, "irq_pin"))
			hmp_printf(call, "      IRQ %d, pin %c\n", (int)number_of(device, "irq"),
				   (char)('A' + number_of(device, "irq_pin") - 1));
		json_array_foreach(json_object_get(device, "regions"), k, region)
			hmp_printf(call, "      BAR%d: %s at 0x%" PRIx64 ", 0x%" PRIx64 " bytes\n",
				   (int)number_of(region, "bar"), string_of(region, "type"),
				   number_of(region, "address"), number_of(region, "size"));
		hmp_printf(call, "      id \"%s\"\n", string_of(device, "qdev_id"));
	}
	json_decref(buses);
}

static void info_block(void *opaque, struct hmp_call *call)
{
	json_t *disks = hmp_qmp(call, "query-block", NULL);
	size_t i;
	json_t *disk;
	json_array_foreach(disks, i, disk) {
		const json_t *medium = json_object_get(disk, "inserted");
		const char *name = string_of(disk, "device");
		hmp_printf(call, "%s: ", name[0] ? name : string_of(medium, "node-name"));
		if (medium)
			hmp_printf(call, "%s (%s%s)\n", string_of(medium, "file"),
				   string_of(medium, "drv"),
				   json_is_true(json_object_get(medium, "ro")) ? ", read-only" : "");
		else
			hmp_printf(call, "[not inserted]\n");
	}
	json_decref(disks);
}

static void info_blockstats(void *opaque, struct hmp_call *call)
{
	json_t *disks = hmp_qmp(call, "query-blockstats", NULL);
	size_t i;
	json_t *disk;
	json_array_foreach(disks, i, disk) {
		const json_t *stats = json_object_get(disk, "stats");
		const char *key;
		json_t *value;
		hmp_printf(call, "%s:", string_of(disk, "node-name"));
		json_object_foreach((json_t *)stats, key, value)
			hmp_printf(call, " %s=%" PRId64, key, (int64_t)json_integer_value(value));
		hmp_printf(call, "\n");
	}
	json_decref(disks);
}

static void info_network(void *opaque, struct hmp_call *call)
{
	struct vmm *vmm = opaque;
	for (unsigned i = 0; i < vmm->backends.nets->len; i++) {
		struct net_backend *net = vmm->backends.nets->pdata[i];
		g_autofree char *text = net->ops->describe ? net->ops->describe(net) : NULL;
		hmp_printf(call, "%s: type=%s%s%s\n", net->id, net->ops->type, text ? "," : "",
			   text ? text : "");
	}
}

static void info_chardev(void *opaque, struct hmp_call *call)
{
	json_t *list = hmp_qmp(call, "query-chardev", NULL);
	size_t i;
	json_t *chr;
	json_array_foreach(list, i, chr)
		hmp_printf(call, "%s: filename=%s\n", string_of(chr, "label"),
			   string_of(chr, "filename"));
	json_decref(list);
}

static void info_qtree(void *opaque, struct hmp_call *call)
{
	struct vmm *vmm = opaque;
	for (unsigned i = 0; i < vmm->machine->devices->len; i++) {
		const struct device *dev = vmm->machine->devices->pdata[i];
		hmp_printf(call, "dev: %s, id \"%s\"\n", dev->class->name, dev->id ? dev->id : "");
		const struct property *tables[] = {dev->class->properties, dev->class->bus_properties};
		for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++) {
			for (const struct property *p = tables[t]; p && p->name; p++) {
				g_autofree char *value = device_get(dev, p->name);
				hmp_printf(call, "  %s = %s\n", p->name, value ? value : "<null>");
			}
		}
	}
}

/* "TYPE,id=..,k=v" as an option has it, given to a QMP command that takes the same names. */
static void run_item(struct hmp_call *call, enum conf_item_kind kind, const char *command,
		     const char *type_key)
{
	g_autoptr(GError) error = NULL;
	struct conf_item *item = conf_item_parse(kind, call->rest, &error);
	if (!item) {
		hmp_printf(call, "Error: %s\n", error->message);
		return;
	}
	json_t *args = json_object();
	for (unsigned i = 0; i < keyval_count(item->props); i++)
		json_object_set_new(args, item->props->keys->pdata[i],
				    json_string(item->props->values->pdata[i]));
	json_object_set_new(args, type_key, json_string(item->type));
	if (item->id)
		json_object_set_new(args, "id", json_string(item->id));
	if (item->bus)
		json_object_set_new(args, "bus", json_string(item->bus));
	conf_item_free(item);
	json_decref(hmp_qmp(call, command, args));
}

static void run_device_add(void *opaque, struct hmp_call *call)
{
	run_item(call, CONF_DEVICE, "device_add", "driver");
}

static void run_netdev_add(void *opaque, struct hmp_call *call)
{
	run_item(call, CONF_NETDEV, "netdev_add", "type");
}

static void run_object_add(void *opaque, struct hmp_call *call)
{
	run_item(call, CONF_OBJECT, "object-add", "qom-type");
}

static void run_by_id(struct hmp_call *call, const char *command)
{
	json_decref(hmp_qmp(call, command, json_pack("{s:s}", "id", call->words[0])));
}

static void run_device_del(void *opaque, struct hmp_call *call)
{
	run_by_id(call, "device_del");
}

static void run_netdev_del(void *opaque, struct hmp_call *call)
{
	run_by_id(call, "netdev_del");
}

static void run_object_del(void *opaque, struct hmp_call *call)
{
	run_by_id(call, "object-del");
}

static void run_chardev_remove(void *opaque, struct hmp_call *call)
{
	run_by_id(call, "chardev-remove");
}

static void run_block_resize(void *opaque, struct hmp_call *call)
{
	g_autoptr(GError) error = NULL;
	uint64_t size;
	if (!units_parse_size(call->words[1], MIB, &size, &error))
		hmp_printf(call, "Error: %s\n", error->message);
	else
		json_decref(hmp_qmp(call, "block_resize",
				    json_pack("{s:s, s:I}", "device", call->words[0], "size",
					      (json_int_t)size)));
}

static void run_eject(void *opaque, struct hmp_call *call)
{
	bool force = strcmp(call->words[0], "-f") == 0;
	const char *device = call->words[force];
	if (device)
		json_decref(hmp_qmp(call, "eject", json_pack("{s:s, s:b}", "device", device, "force",
							     (int)force)));
	else
		hmp_printf(call, "usage: eject [-f] device\n");
}

static void run_change(void *opaque, struct hmp_call *call)
{
	json_decref(hmp_qmp(call, "blockdev-change-medium",
			    json_pack("{s:s, s:s}", "device", call->words[0], "filename",
				      call->words[1])));
}

static void run_set_link(void *opaque, struct hmp_call *call)
{
	bool up = strcmp(call->words[1], "on") == 0;
	if (!up && strcmp(call->words[1], "off") != 0)
		hmp_printf(call, "usage: set_link name on|off\n");
	else
		json_decref(hmp_qmp(call, "set_link", json_pack("{s:s, s:b}", "name", call->words[0],
								"up", (int)up)));
}

const struct hmp_command hmp_device_commands[] = {
	{"device_add", NULL, "driver[,prop=value][,...]", "plug in a device", 1, 0, run_device_add},
	{"device_del", NULL, "id", "pull out a device", 1, 1, run_device_del},
	{"netdev_add", NULL, "type,id=str[,prop=value][,...]", "add a connection to the host", 1, 0,
	 run_netdev_add},
	{"netdev_del", NULL, "id", "remove a connection to the host", 1, 1, run_netdev_del},
	{"object_add", NULL, "type,id=str[,prop=value][,...]", "add a helper object", 1, 0,
	 run_object_add},
	{"object_del", NULL, "id", "remove a helper object", 1, 1, run_object_del},
	{"chardev-remove", NULL, "id", "remove a stream that nothing uses", 1, 1,
	 run_chardev_remove},
	{"block_resize", NULL, "device size", "change the size of a disk (MiB)", 2, 2,
	 run_block_resize},
	{"eject", NULL, "[-f] device", "take the medium out of a CD drive (-f: even if locked)", 1, 2,
	 run_eject},
	{"change", NULL, "device file", "put another medium into a CD drive", 2, 2, run_change},
	{"set_link", NULL, "name on|off", "plug in or pull the cable of a network card", 2, 2,
	 run_set_link},
	{"info pci", NULL, NULL, "show PCI devices", 0, 0, info_pci},
	{"info qtree", NULL, NULL, "show devices and their properties", 0, 0, info_qtree},
	{"info block", NULL, NULL, "show disks", 0, 0, info_block},
	{"info blockstats", NULL, NULL, "show what disks have done", 0, 0, info_blockstats},
	{"info network", NULL, NULL, "show connections to the host", 0, 0, info_network},
	{"info chardev", NULL, NULL, "show streams", 0, 0, info_chardev},
	{NULL},
};
