/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options: kernel, firmware and boot. */
#include "options.h"

#include "base/error.h"

static bool apply_kernel(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->kernel, value);
}

static bool apply_initrd(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->initrd, value);
}

static bool apply_append(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->append, value);
}

static bool apply_bios(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->bios, value);
}

static bool apply_firmware_dir(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->firmware_dir, value);
}

static bool apply_boot(struct options *o, const char *value, GError **error)
{
	return conf_boot_merge(&o->conf->boot, value, error);
}

static bool apply_pflash(struct options *o, const char *value, GError **error)
{
	struct conf_drive *drive = conf_drive_new();
	drive->interface = CONF_IF_PFLASH;
	drive->file = g_strdup(value);
	drive->format = g_strdup("raw");
	g_ptr_array_add(o->conf->drives, drive);
	return true;
}

static bool apply_fw_cfg(struct options *o, const char *value, GError **error)
{
	struct conf_blob *blob = conf_fw_cfg_parse(value, error);
	if (blob)
		g_ptr_array_add(o->conf->fw_cfg, blob);
	return blob != NULL;
}

const struct option options_boot[] = {
	{"kernel", "FILE", "Start this kernel: a Linux bzImage, an ELF vmlinux (PVH) or a multiboot image.",
	 apply_kernel},
	{"initrd", "FILE", "Initial RAM disk for -kernel, or multiboot modules.", apply_initrd},
	{"append", "TEXT", "Command line for -kernel.", apply_append},
	{"bios", "FILE", "Firmware image (default: SeaBIOS, from Debian's package).", apply_bios},
	{"pflash", "FILE", "Flash image: OVMF's code, then its variables.", apply_pflash},
	{"L", "FOLDER", "Where to look for firmware first.", apply_firmware_dir},
	{"boot", "[order=LETTERS][,once=LETTERS][,menu=on|off][,strict=on|off][,reboot-timeout=MS]",
	 "What the firmware boots from: c disk, d CD-ROM, n network.", apply_boot},
	{"fw_cfg", "[name=]NAME,file=PATH | string=TEXT", "Add a file to the firmware's configuration device.",
	 apply_fw_cfg},
	{NULL},
};
