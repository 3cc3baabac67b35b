/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: devices: hotplug, properties, PCI. */
#include "vmm.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/units.h"
#include "codec/json.h"
#include "dev/pci/pci.h"
#include "dev/virtio/devices.h"
#include "dev/virtio/mem.h"

#include <string.h>

static json_t *run_device_add(void *opaque, const json_t *args, GError **error)
{
	struct keyval *kv = json_to_keyval(args, error);
	struct conf_item *item = kv ? conf_item_from_keyval(CONF_DEVICE, kv, error) : NULL;
	struct vmm *vmm = opaque;
	if (item && cpus_is_cpu(item))
		cpus_plug(vmm, item, error);
	else if (item && item->id && machine_find_cpu(vmm->machine, item->id) >= 0)
		qmp_error(error, QMP_ERROR_GENERIC, "Duplicate device ID '%s'", item->id);
	else if (item)
		vmm_add_device(vmm, item, error);
	conf_item_free(item);
	return NULL;
}

static json_t *run_device_del(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "id"));
	int cpu = machine_find_cpu(vmm->machine, id);
	if (cpu >= 0)
		machine_cpu_request(vmm->machine, (unsigned)cpu, error);
	else if (machine_find_device(vmm->machine, id))
		machine_remove_device(vmm->machine, id, error);
	else
		qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
	return NULL;
}

static void emit_deleted(struct vmm *vmm, const char *id, const char *path)
{
	json_t *data = json_pack("{s:s}", "path", path);
	if (id)
		json_object_set_new(data, "device", json_string(id));
	monitor_emit(vmm->monitor, "DEVICE_DELETED", data);
}

char *device_path(const struct device *dev)
{
	return dev->id ? g_strdup_printf("/machine/peripheral/%s", dev->id) :
			 g_strdup_printf("/machine/peripheral-anon/%s", dev->class->name);
}

/* A device goes: at once, or long after device_del, when the guest lets go of it. */
static void device_removed(void *opaque, struct device *dev)
{
	struct vmm *vmm = opaque;
	g_autofree char *path = device_path(dev);
	emit_deleted(vmm, dev->id, path);
}

static void cpu_removed(void *opaque, unsigned index, const char *id)
{
	g_autofree char *path = id ? g_strdup_printf("/machine/peripheral/%s", id) :
				     cpu_path(opaque, index);
	emit_deleted(opaque, id, path);
}

void device_events_connect(struct vmm *vmm)
{
	vmm->machine->removed = device_removed;
	vmm->machine->cpu_removed = cpu_removed;
	vmm->machine->removed_opaque = vmm;
}

/* --- classes --------------------------------------------------------------------------------------- */

static const char *type_name(enum property_type type)
{
	static const char *const names[] = {
		[PROPERTY_BOOL] = "bool",     [PROPERTY_U8] = "uint8",
		[PROPERTY_U16] = "uint16",    [PROPERTY_U32] = "uint32",
		[PROPERTY_U64] = "uint64",    [PROPERTY_SIZE] = "size",
		[PROPERTY_STRING] = "str",    [PROPERTY_ENUM] = "str",
		[PROPERTY_MAC] = "str",	      [PROPERTY_PCI_ADDR] = "str",
		[PROPERTY_DRIVE] = "str",     [PROPERTY_NETDEV] = "str",
		[PROPERTY_CHARDEV] = "str",   [PROPERTY_MEMDEV] = "link<memory-backend>",
	};
	return names[type];
}

static json_t *run_list_properties(void *opaque, const json_t *args, GError **error)
{
	const char *name = json_string_value(json_object_get(args, "typename"));
	const struct device_class *class = machine_device_class(name, NULL);
	if (!class)
		return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	json_t *list = json_array();
	const struct property *tables[] = {class->properties, class->bus_properties};
	for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++) {
		for (const struct property *p = tables[t]; p && p->name; p++) {
			json_t *entry = json_pack("{s:s, s:s}", "name", p->name, "type",
						  type_name(p->type));
			if (p->help)
				json_object_set_new(entry, "description", json_string(p->help));
			if (p->initial)
				json_object_set_new(entry, "default-value", json_string(p->initial));
			json_array_append_new(list, entry);
		}
	}
	return list;
}

/* Types that exist here by the names they have in QEMU; without its tree of abstract ones. */
static json_t *run_list_types(void *opaque, const json_t *args, GError **error)
{
	const json_t *implements = json_object_get(args, "implements");
	const char *parent = implements ? json_string_value(implements) : NULL;
	json_t *list = json_array();
	if (!parent || strcmp(parent, "device") == 0) {
		for (const struct device_class *const *class = machine_device_classes(); *class; class++)
			json_array_append_new(list, json_pack("{s:s, s:s}", "name", (*class)->name,
							      "parent", "device"));
	}
	for (const char *const *row = backends_object_help(); *row; row += 2) {
		if (!parent || strcmp(parent, "user-creatable") == 0)
			json_array_append_new(list, json_pack("{s:s, s:s}", "name", row[0], "parent",
							      "object"));
	}
	for (const struct engine_ops *const *engine = accel_engines(); *engine; engine++) {
		g_autofree char *name = g_strdup_printf("%s-accel", (*engine)->name);
		if (!parent || strcmp(parent, "accel") == 0)
			json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "parent",
							      "accel"));
	}
	return list;
}

/* --- instances --------------------------------------------------------------------------------------- */

#define PERIPHERAL "/machine/peripheral/"

static struct device *find_by_path(struct vmm *vmm, const json_t *args, GError **error)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	const char *id = g_str_has_prefix(path, PERIPHERAL) ? path + strlen(PERIPHERAL) : path;
	struct device *dev = machine_find_device(vmm->machine, id);
	if (!dev)
		qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", path);
	return dev;
}

static json_t *balloon_stats(struct device *dev)
{
	static const struct {
		const char *name;
		unsigned tag;
	} tags[] = {
		{"stat-swap-in", VIRTIO_BALLOON_SWAP_IN},
		{"stat-swap-out", VIRTIO_BALLOON_SWAP_OUT},
		{"stat-major-faults", VIRTIO_BALLOON_MAJOR_FAULTS},
		{"stat-minor-faults", VIRTIO_BALLOON_MINOR_FAULTS},
		{"stat-free-memory", VIRTIO_BALLOON_FREE_MEMORY},
		{"stat-total-memory", VIRTIO_BALLOON_TOTAL_MEMORY},
		{"stat-available-memory", VIRTIO_BALLOON_AVAILABLE_MEMORY},
		{"stat-disk-caches", VIRTIO_BALLOON_DISK_CACHES},
		{"stat-htlb-pgalloc", VIRTIO_BALLOON_HTLB_ALLOCATIONS},
		{"stat-htlb-pgfail", VIRTIO_BALLOON_HTLB_FAILURES},
	};
	struct virtio_balloon_stats stats;
	if (!virtio_balloon_get_stats(dev, &stats))
		return NULL;
	json_t *values = json_object();
	for (unsigned i = 0; i < G_N_ELEMENTS(tags); i++)
		json_object_set_new(values, tags[i].name,
				    json_integer((json_int_t)stats.value[tags[i].tag]));
	return json_pack("{s:I, s:o}", "last-update", (json_int_t)stats.last_update, "stats", values);
}

static const struct property *find_property(const struct device_class *class, const char *name)
{
	const struct property *tables[] = {class->properties, class->bus_properties};
	for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++) {
		for (const struct property *p = tables[t]; p && p->name; p++) {
			if (strcmp(p->name, name) == 0)
				return p;
		}
	}
	return NULL;
}

static json_t *property_value(const struct device *dev, const struct property *p)
{
	g_autofree char *text = device_get(dev, p->name);
	uint64_t number;
	if (p->type == PROPERTY_BOOL)
		return json_boolean(text && strcmp(text, "on") == 0);
	if (p->type >= PROPERTY_U8 && p->type <= PROPERTY_U64 && text &&
	    units_parse_number(text, 0, INT64_MAX, &number, NULL))
		return json_integer((json_int_t)number);
	if (p->type == PROPERTY_SIZE && text && units_parse_size(text, 1, &number, NULL))
		return json_integer((json_int_t)number);
	return json_string(text ? text : "");
}

static json_t *run_qom_get(void *opaque, const json_t *args, GError **error)
{
	const char *name = json_string_value(json_object_get(args, "property"));
	struct device *dev = find_by_path(opaque, args, error);
	if (!dev)
		return NULL;
	if (strcmp(name, "type") == 0)
		return json_string(dev->class->name);
	json_t *stats = strcmp(name, "guest-stats") == 0 ? balloon_stats(dev) : NULL;
	if (stats)
		return stats;
	const struct property *p = find_property(dev->class, name);
	if (!p)
		return qmp_error(error, QMP_ERROR_GENERIC, "Property '%s.%s' not found",
				 dev->class->name, name);
	return property_value(dev, p);
}

static json_t *run_qom_set(void *opaque, const json_t *args, GError **error)
{
	const char *name = json_string_value(json_object_get(args, "property"));
	const json_t *value = json_object_get(args, "value");
	struct device *dev = find_by_path(opaque, args, error);
	struct virtio_balloon_stats stats;
	if (!dev)
		return NULL;
	if (strcmp(name, "requested-size") == 0 && virtio_mem_of(dev)) {
		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return qmp_error(error, QMP_ERROR_GENERIC, "requested-size must be a number of bytes");
		virtio_mem_request(virtio_mem_of(dev), (uint64_t)json_integer_value(value), error);
		return NULL;
	}
	if (strcmp(name, "guest-stats-polling-interval") != 0 ||
	    !virtio_balloon_get_stats(dev, &stats))
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "Property '%s.%s' cannot be changed while the machine exists",
				 dev->class->name, name);
	json_int_t seconds = json_integer_value(value);
	if (!json_is_integer(value) || seconds < 0 || seconds > UINT32_MAX)
		return qmp_error(error, QMP_ERROR_GENERIC, "timer value must be a number of seconds");
	virtio_balloon_set_polling(dev, seconds);
	return NULL;
}

static json_t *run_qom_list(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *path = json_string_value(json_object_get(args, "path"));
	json_t *list = json_array();
	if (strcmp(path, "/machine/peripheral") == 0) {
		for (unsigned i = 0; i < vmm->machine->devices->len; i++) {
			const struct device *dev = vmm->machine->devices->pdata[i];
			g_autofree char *type = g_strdup_printf("child<%s>", dev->class->name);
			if (dev->id)
				json_array_append_new(list, json_pack("{s:s, s:s}", "name", dev->id,
								      "type", type));
		}
		return list;
	}
	const struct device *dev = find_by_path(vmm, args, error);
	if (!dev) {
		json_decref(list);
		return NULL;
	}
	json_array_append_new(list, json_pack("{s:s, s:s}", "name", "type", "type", "string"));
	const struct property *tables[] = {dev->class->properties, dev->class->bus_properties};
	for (unsigned t = 0; t < G_N_ELEMENTS(tables); t++) {
		for (const struct property *p = tables[t]; p && p->name; p++)
			json_array_append_new(list, json_pack("{s:s, s:s}", "name", p->name, "type",
							      type_name(p->type)));
	}
	return list;
}

/* --- PCI -------------------------------------------------------------------------------------------------- */

static json_t *describe_bar(const struct pci_device *pci, unsigned i)
{
	const struct pci_bar *bar = &pci->bars[i];
	json_int_t address = bar->mapped_at == UINT64_MAX ? -1 : (json_int_t)bar->mapped_at;
	json_t *entry = json_pack("{s:i, s:s, s:I, s:I}", "bar", (int)i, "type",
				  bar->io ? "io" : "memory", "address", address, "size",
				  (json_int_t)bar->size);
	if (!bar->io) {
		json_object_set_new(entry, "prefetch", json_boolean(bar->prefetch));
		json_object_set_new(entry, "mem_type_64", json_boolean(bar->wide));
	}
	return entry;
}

static void add_function(void *opaque, struct pci_device *pci)
{
	const uint8_t *config = pci->config;
	json_t *regions = json_array();
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		if (pci->bars[i].size)
			json_array_append_new(regions, describe_bar(pci, i));
	}
	json_t *entry = json_pack(
		"{s:i, s:i, s:i, s:{s:i}, s:{s:i, s:i, s:i, s:i}, s:i, s:i, s:s, s:o}", "bus", 0,
		"slot", pci->devfn >> 3, "function", pci->devfn & 7, "class_info", "class",
		le16_load(config + 10), "id", "vendor", le16_load(config), "device",
		le16_load(config + 2), "subsystem-vendor", le16_load(config + 0x2c), "subsystem",
		le16_load(config + 0x2e), "irq", config[0x3c], "irq_pin", config[0x3d], "qdev_id",
		pci->dev.id ? pci->dev.id : "", "regions", regions);
	json_object_set_new(json_object_get(entry, "class_info"), "desc",
			    json_string(pci->dev.class->description ? pci->dev.class->description :
								      pci->dev.class->name));
	json_array_append_new(opaque, entry);
}

static json_t *run_query_pci(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	if (!vmm->machine->pci)
		return json_array();
	json_t *devices = json_array();
	pci_bus_for_each(vmm->machine->pci, add_function, devices);
	return json_pack("[{s:i, s:o}]", "bus", 0, "devices", devices);
}

static const struct qmp_command commands[] = {
	{"device_add", "driver:str bus?:str id?:str", NULL, run_device_add, true},
	{"device_del", "id:str", NULL, run_device_del},
	{"device-list-properties", "typename:str", "[ObjectPropertyInfo]", run_list_properties},
	{"qom-list-types", "implements?:str abstract?:bool", "[ObjectTypeInfo]", run_list_types},
	{"qom-list", "path:str", "[ObjectPropertyInfo]", run_qom_list},
	{"qom-get", "path:str property:str", "any", run_qom_get},
	{"qom-set", "path:str property:str value:any", NULL, run_qom_set},
	{"query-pci", NULL, "[PciInfo]", run_query_pci},
	{NULL},
};

static const struct qmp_type types[] = {
	{"ObjectPropertyInfo", "name:str type:str description?:str default-value?:any"},
	{"ObjectTypeInfo", "name:str parent?:str"},
	{"PciInfo", "bus:int devices:[PciDeviceInfo]"},
	{"PciDeviceInfo", "bus:int slot:int function:int class_info:PciDeviceClass id:PciDeviceId "
			  "irq?:int irq_pin:int qdev_id:str regions:[PciMemoryRegion]"},
	{"PciDeviceClass", "desc?:str class:int"},
	{"PciDeviceId", "device:int vendor:int subsystem?:int subsystem-vendor?:int"},
	{"PciMemoryRegion", "bar:int type:str address:int size:int prefetch?:bool mem_type_64?:bool"},
	{NULL},
};

static const struct qmp_event events[] = {
	{"DEVICE_DELETED", "device?:str path:str"},
	{NULL},
};

const struct qmp_table qmp_device_table = {commands, types, events, NULL};
