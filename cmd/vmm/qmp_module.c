/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: memory modules and virtio-mem devices, and what the guest says of them. */
#include "vmm.h"

#include "dev/chips/dimm.h"
#include "dev/virtio/mem.h"

#include <string.h>

/* ACPI 6.4, 6.3.5: of _OST, what is reported about, and codes that are no failure. */
enum { OST_EJECT_REQUEST = 3, OST_EJECT_BY_GUEST = 0x103 };
enum { OST_SUCCESS = 0, OST_EJECT_IN_PROGRESS = 0x84 };

uint64_t modules_memory(const struct vmm *vmm)
{
	uint64_t memory = vmm->config.memory;
	for (unsigned i = 0; i < vmm->machine->devices->len; i++) {
		const struct pc_dimm *dimm = pc_dimm_of(vmm->machine->devices->pdata[i]);
		memory += dimm ? dimm->ram->size : 0;
	}
	return memory;
}

static json_t *describe_dimm(const struct pc_dimm *dimm)
{
	g_autofree char *memdev = g_strdup_printf("/objects/%s", dimm->ram->name);
	json_t *data = json_pack("{s:I, s:I, s:i, s:i, s:s, s:b, s:b}", "addr", (json_int_t)dimm->address,
				 "size", (json_int_t)dimm->ram->size, "slot", (int)dimm->slot, "node",
				 (int)dimm->node, "memdev", memdev, "hotplugged", (int)dimm->hotplugged,
				 "hotpluggable", 1);
	if (dimm->dev.id)
		json_object_set_new(data, "id", json_string(dimm->dev.id));
	return json_pack("{s:s, s:o}", "type", "dimm", "data", data);
}

static json_t *describe_virtio_mem(struct virtio_mem *mem)
{
	const struct device *dev = mem->vdev.owner;
	g_autofree char *memdev = g_strdup_printf("/objects/%s", mem->ram->name);
	json_t *data = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:i, s:s}", "memaddr", (json_int_t)mem->address, "requested-size",
		(json_int_t)atomic_load(&mem->requested), "size", (json_int_t)atomic_load(&mem->plugged),
		"max-size", (json_int_t)mem->ram->size, "block-size", (json_int_t)mem->block_size, "node",
		(int)mem->node, "memdev", memdev);
	if (dev->id)
		json_object_set_new(data, "id", json_string(dev->id));
	return json_pack("{s:s, s:o}", "type", "virtio-mem", "data", data);
}

static json_t *run_query_devices(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->machine->devices->len; i++) {
		struct device *dev = vmm->machine->devices->pdata[i];
		if (pc_dimm_of(dev))
			json_array_append_new(list, describe_dimm(pc_dimm_of(dev)));
		else if (virtio_mem_of(dev))
			json_array_append_new(list, describe_virtio_mem(virtio_mem_of(dev)));
	}
	return list;
}

/* --- events --------------------------------------------------------------------------------------- */

static void on_size(void *opaque, struct device *dev, uint64_t plugged)
{
	struct vmm *vmm = opaque;
	g_autofree char *path = device_path(dev);
	json_t *data = json_pack("{s:I, s:s}", "size", (json_int_t)plugged, "qom-path", path);
	if (dev->id)
		json_object_set_new(data, "id", json_string(dev->id));
	monitor_emit(vmm->monitor, "MEMORY_DEVICE_SIZE_CHANGE", data);
}

void modules_watch_device(struct vmm *vmm, struct device *dev)
{
	struct virtio_mem *mem = virtio_mem_of(dev);
	if (!mem)
		return;
	mem->changed = on_size;
	mem->changed_opaque = vmm;
}

/* The guest keeps the module: as QEMU, by the old event and the new one. */
static void emit_refused(struct vmm *vmm, const struct device *dev)
{
	g_autofree char *path = device_path(dev);
	json_t *data = json_pack("{s:s}", "path", path);
	if (dev->id) {
		json_object_set_new(data, "device", json_string(dev->id));
		monitor_emit(vmm->monitor, "MEM_UNPLUG_ERROR",
			     json_pack("{s:s, s:s}", "device", dev->id, "msg",
				       "the guest does not give the memory back"));
	}
	monitor_emit(vmm->monitor, "DEVICE_UNPLUG_GUEST_ERROR", data);
}

static void on_report(void *opaque, struct device *dev, uint32_t event, uint32_t status)
{
	struct vmm *vmm = opaque;
	g_autofree char *slot = g_strdup_printf("%u", pc_dimm_of(dev)->slot);
	json_t *info = json_pack("{s:s, s:s, s:I, s:I}", "slot-type", "DIMM", "slot", slot, "source",
				 (json_int_t)event, "status", (json_int_t)status);
	if (dev->id)
		json_object_set_new(info, "device", json_string(dev->id));
	monitor_emit(vmm->monitor, "ACPI_DEVICE_OST", json_pack("{s:o}", "info", info));
	if ((event == OST_EJECT_REQUEST || event == OST_EJECT_BY_GUEST) && status != OST_SUCCESS &&
	    status != OST_EJECT_IN_PROGRESS)
		emit_refused(vmm, dev);
}

void modules_connect(struct vmm *vmm)
{
	vmm->machine->memory_reported = on_report;
}

static const struct qmp_command commands[] = {
	{"query-memory-devices", NULL, "[MemoryDeviceInfo]", run_query_devices},
	{NULL},
};

static const struct qmp_type types[] = {
	{"MemoryDeviceInfo", "type:MemoryDeviceInfoKind data:any"},
	{"MemoryDeviceInfoKind", "=dimm virtio-mem"},
	{"ACPIOSTInfo", "device?:str slot:str slot-type:str source:int status:int"},
	{NULL},
};

static const struct qmp_event events[] = {
	{"MEMORY_DEVICE_SIZE_CHANGE", "id?:str size:size qom-path:str"},
	{"MEM_UNPLUG_ERROR", "device:str msg:str"},
	{"DEVICE_UNPLUG_GUEST_ERROR", "device?:str path:str"},
	{"ACPI_DEVICE_OST", "info:ACPIOSTInfo"},
	{NULL},
};

const struct qmp_table qmp_module_table = {commands, types, events, NULL};
