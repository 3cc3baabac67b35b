/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one list of the monitors' command tables, and the events that devices give rise to. */
#include "vmm.h"

#include "dev/virtio/devices.h"

static const struct qmp_table *const tables[] = {
	&qmp_vm_table, &qmp_cpu_table, &qmp_backend_table, &qmp_device_table,
	&qmp_key_table, &qmp_memory_table, &qmp_dump_table, &qmp_probe_table, &qmp_fd_table, &qmp_block_table,
	&qmp_job_table, &qmp_chain_table, &qmp_copy_table, &qmp_bitmap_table, &qmp_transaction_table,
	&qmp_export_table, &qmp_limits_table, &qmp_image_table, &qmp_internal_table, &qmp_module_table,
	&qmp_dirty_rate_table, &qmp_screen_table,
};
static const struct hmp_command *const human[] = {
	hmp_vm_commands, hmp_device_commands, hmp_key_commands, hmp_dump_commands, hmp_dirty_rate_commands,
	hmp_screen_commands,
};

static void on_balloon(void *opaque, uint64_t actual)
{
	struct vmm *vmm = opaque;
	monitor_emit(vmm->monitor, "BALLOON_CHANGE",
		     json_pack("{s:I}", "actual", (json_int_t)(modules_memory(vmm) - actual)));
}

static void on_port(void *opaque, const char *id, bool open)
{
	struct vmm *vmm = opaque;
	monitor_emit(vmm->monitor, "VSERPORT_CHANGE",
		     json_pack("{s:s, s:b}", "id", id ? id : "", "open", (int)open));
}

void commands_watch_device(struct vmm *vmm, struct device *dev)
{
	virtio_balloon_set_listener(dev, on_balloon, vmm);
	virtio_serial_set_listener(dev, on_port, vmm);
	modules_watch_device(vmm, dev);
}

void commands_register(struct vmm *vmm)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
		struct qmp_table table = *tables[i];
		table.opaque = vmm;
		monitor_add_qmp(vmm->monitor, &table);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(human); i++)
		monitor_add_hmp(vmm->monitor, human[i], vmm);
	for (unsigned i = 0; i < vmm->machine->devices->len; i++)
		commands_watch_device(vmm, vmm->machine->devices->pdata[i]);
}
