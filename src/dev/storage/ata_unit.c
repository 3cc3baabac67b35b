/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ide-hd and ide-cd as devices: properties, life, media. */
#include "dev/storage/ata_int.h"

#include "aio/loop.h"
#include "dev/storage/ahci.h"
#include "vm/vm.h"

#include <string.h>

/* ACS-3, 9.12: what the signature FIS carries: LBA bits 23-0 in bits 31-8, count in 7-0. */
uint32_t ata_signature(const struct ata_unit *unit)
{
	return unit->cd ? 0xeb140101 : 0x00000101;
}

void ata_execute(struct ata_request *r)
{
	r->pio_in = r->queued = r->failed_map = false;
	r->transferred = 0;
	r->in_submit = r->completed = false;
	if (r->unit->cd)
		atapi_execute(r);
	else
		ata_disk_execute(r);
}

void ata_unit_reset(struct ata_unit *unit, bool power_on)
{
	unit->multiple = 0;
	unit->ncq_error.valid = false;
	if (!power_on)
		return;
	unit->transfer_mode = 0;
	unit->write_cache = unit->write_cache_property;
	unit->read_ahead = true;
	unit->smart = true;
	unit->sense = (struct ata_sense){0};
	unit->locked = false;
	unit->tray_open = false;
	unit->eject_requested = false;
	unit->medium_changed = false;
}

void ata_unit_tell_tray(const struct ata_unit *unit)
{
	const struct vm_notice notice = {.kind = VM_NOTICE_TRAY_MOVED, .open = unit->tray_open};
	vm_notify(unit->dev.vm, &notice, unit->dev.id);
}

/* --- life ------------------------------------------------------------------------------------------ */

static bool check_length(const struct ata_unit *unit, const char *name, const char *value,
			 size_t most, GError **error)
{
	if (!value || strlen(value) <= most)
		return true;
	return error_set(error, BERTH_ERR_INVALID,
			 "%s: %s='%s' is longer than the %zu characters that ATA has room for",
			 unit->dev.class->name, name, value, most);
}

static void pause_for_error(void *opaque)
{
	struct ata_unit *unit = opaque;
	vm_pause(unit->dev.vm, VM_STATE_IO_ERROR);
}

static bool unit_create(struct device *dev, bool cd, GError **error)
{
	struct ata_unit *unit = (struct ata_unit *)dev;
	unit->cd = cd;
	unit->created_ns = aio_now_ns();
	aio_timer_init(&unit->pause, dev->vm->loop, pause_for_error, unit);
	if (!check_length(unit, "serial", unit->serial, 20, error) ||
	    !check_length(unit, "ver", unit->version, 8, error) ||
	    !check_length(unit, "model", unit->model, 40, error))
		return false;
	uint32_t physical = unit->physical_block;
	if (physical < ATA_SECTOR || physical > ATA_SECTOR << 15 || physical & (physical - 1))
		return error_set(error, BERTH_ERR_INVALID,
				 "%s: physical_block_size=%u is not a power of two from 512 on",
				 dev->class->name, physical);
	ata_unit_show_status(unit);
	return ide_bus_attach(dev->bus, unit, error);
}

static bool hd_create(struct device *dev, GError **error)
{
	const struct ata_unit *unit = (struct ata_unit *)dev;
	if (!unit->node)
		return error_set(error, BERTH_ERR_INVALID,
				 "ide-hd needs a disk: give it drive=ID of a -drive or -blockdev");
	if (block_size(unit->node) < ATA_SECTOR)
		return error_set(error, BERTH_ERR_INVALID,
				 "ide-hd: the disk '%s' is smaller than one sector",
				 block_filename(unit->node));
	return unit_create(dev, false, error);
}

static bool cd_create(struct device *dev, GError **error)
{
	return unit_create(dev, true, error);
}

static void unit_reset(struct device *dev)
{
	ata_unit_reset((struct ata_unit *)dev, true);
}

static void unit_stop(struct device *dev)
{
	struct ata_unit *unit = (struct ata_unit *)dev;
	if (unit->node)
		block_drain(unit->node);
}

static void unit_destroy(struct device *dev)
{
	struct ata_unit *unit = (struct ata_unit *)dev;
	unit_stop(dev);
	ata_unit_drop_retries(unit);
	if (unit->pause.loop)
		aio_timer_cancel(&unit->pause);
	if (dev->bus)
		ide_bus_detach(dev->bus, unit);
}

struct block_node *ata_unit_node(struct device *dev)
{
	if (dev->class != &ide_hd_class && dev->class != &ide_cd_class)
		return NULL;
	return ((struct ata_unit *)dev)->node;
}

bool ide_cd_change_medium(struct device *dev, struct block_node *node, bool force, GError **error)
{
	struct ata_unit *unit = (struct ata_unit *)dev;
	if (dev->class != &ide_cd_class)
		return error_set(error, BERTH_ERR_INVALID, "the device '%s' has no removable medium",
				 dev->id ? dev->id : dev->class->name);
	if (unit->locked && !force) {
		unit->eject_requested = true; /* the guest sees it in GET EVENT STATUS */
		return error_set(error, BERTH_ERR_BUSY,
				 "the guest has locked the tray of '%s'; it was asked to open it: try "
				 "again, or use force", dev->id ? dev->id : dev->class->name);
	}
	vm_quiesce(dev->vm);
	if (unit->node)
		block_drain(unit->node);
	ata_unit_drop_retries(unit);
	unit->node = node;
	ata_unit_show_status(unit);
	/* Taking a medium out opens the tray, and the drive closes it again: as QEMU tells it. */
	unit->tray_open = true;
	ata_unit_tell_tray(unit);
	unit->tray_open = false;
	ata_unit_tell_tray(unit);
	unit->eject_requested = false;
	unit->medium_changed = node != NULL;
	vm_unquiesce(dev->vm);
	return true;
}

static const char *const on_error_names[] = {"auto", "report", "ignore", "enospc", "stop", NULL};

#define UNIT_PROPERTIES                                                                            \
	PROPERTY(struct ata_unit, node, "drive", PROPERTY_DRIVE, NULL, "the medium"),              \
	PROPERTY(struct ata_unit, serial, "serial", PROPERTY_STRING, NULL,                         \
		 "serial number, up to 20 characters"),                                            \
	PROPERTY(struct ata_unit, version, "ver", PROPERTY_STRING, NULL,                           \
		 "firmware version, up to 8 characters"),                                          \
	PROPERTY(struct ata_unit, model, "model", PROPERTY_STRING, NULL,                           \
		 "model name, up to 40 characters"),                                               \
	{.name = "rerror", .type = PROPERTY_ENUM, .offset = offsetof(struct ata_unit, rerror),     \
	 .initial = "auto", .names = on_error_names, .help = "what a failed read does"},           \
	{.name = "werror", .type = PROPERTY_ENUM, .offset = offsetof(struct ata_unit, werror),     \
	 .initial = "auto", .names = on_error_names,                                               \
	 .help = "what a failed write does; auto: pause the VM when the host's disk is full"},     \
	PROPERTY(struct ata_unit, wwn, "wwn", PROPERTY_U64, "0", "world wide name, 0: none"),      \
	PROPERTY(struct ata_unit, bootindex, "bootindex", PROPERTY_U32, "4294967295",              \
		 "place in the boot order, from 0; the largest number: none")

static const struct property hd_properties[] = {
	UNIT_PROPERTIES,
	PROPERTY(struct ata_unit, physical_block, "physical_block_size", PROPERTY_U32, "512",
		 "bytes that the medium writes at once"),
	PROPERTY(struct ata_unit, rotation_rate, "rotation_rate", PROPERTY_U16, "0",
		 "turns a minute; 1: solid state, 0: not told"),
	PROPERTY(struct ata_unit, write_cache_property, "write-cache", PROPERTY_BOOL, "on",
		 "the volatile write cache is on after power-on"),
	{.name = NULL},
};

static const struct property cd_properties[] = {
	UNIT_PROPERTIES,
	PROPERTY(struct ata_unit, physical_block, "physical_block_size", PROPERTY_U32, "2048",
		 "bytes that the medium has in a sector"),
	{.name = NULL},
};

const struct device_class ide_hd_class = {
	.name = "ide-hd", .alias = "ide-drive", .description = "SATA disk", .bus = "IDE",
	.category = "storage", .properties = hd_properties, .size = sizeof(struct ata_unit),
	.create = hd_create, .reset = unit_reset, .stop = unit_stop, .destroy = unit_destroy,
};

const struct device_class ide_cd_class = {
	.name = "ide-cd", .description = "SATA CD/DVD drive", .bus = "IDE", .category = "storage",
	.properties = cd_properties, .size = sizeof(struct ata_unit), .create = cd_create,
	.reset = unit_reset, .stop = unit_stop, .destroy = unit_destroy,
};
