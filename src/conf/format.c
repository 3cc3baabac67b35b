/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The model as berth-vmm's options, in an order that a person would choose. */
#include "conf/vm.h"

#include "base/units.h"

#include <inttypes.h>

static void put(GPtrArray *args, const char *option, const char *value)
{
	if (!value)
		return;
	g_ptr_array_add(args, g_strdup(option));
	g_ptr_array_add(args, g_strdup(value));
}

static void put_flag(GPtrArray *args, const char *option, bool on)
{
	if (on)
		g_ptr_array_add(args, g_strdup(option));
}

static void put_fields(GPtrArray *args, const char *option, const struct keyval_field *fields,
		       const void *target, const char *implied)
{
	auto_keyval kv = keyval_new();
	keyval_unbind(kv, fields, target);
	if (keyval_count(kv) == 0)
		return;
	g_autofree char *text = keyval_format(kv, implied);
	put(args, option, text);
}

static void put_drive(GPtrArray *args, const struct conf_drive *drive)
{
	g_autofree char *text = conf_drive_format(drive);
	put(args, drive->is_blockdev ? "-blockdev" : "-drive", text);
}

static void put_nic(GPtrArray *args, const struct conf_nic *nic)
{
	auto_keyval kv = keyval_new();
	keyval_add(kv, "type", nic->type ? nic->type : "nic");
	if (nic->id)
		keyval_add(kv, nic->type ? "id" : "name", nic->id);
	if (nic->model)
		keyval_add(kv, "model", nic->model);
	if (nic->mac)
		keyval_add(kv, nic->type ? "mac" : "macaddr", nic->mac);
	if (nic->netdev)
		keyval_add(kv, "netdev", nic->netdev);
	for (unsigned i = 0; i < keyval_count(nic->netdev_props); i++)
		keyval_add(kv, nic->netdev_props->keys->pdata[i],
			   nic->netdev_props->values->pdata[i]);
	g_autofree char *text = keyval_format(kv, "type");
	put(args, nic->legacy ? "-net" : "-nic", text);
}

static void put_monitor(GPtrArray *args, const struct conf_monitor *monitor)
{
	if (monitor->spec) {
		put(args, !monitor->control ? "-monitor" : monitor->pretty ? "-qmp-pretty" : "-qmp",
		    monitor->spec);
		return;
	}
	g_autofree char *text =
		g_strdup_printf("chardev=%s,mode=%s%s", monitor->chardev,
				monitor->control ? "control" : "readline",
				monitor->pretty ? ",pretty=on" : "");
	put(args, "-mon", text);
}

static void put_blob(GPtrArray *args, const char *option, const struct conf_blob *blob)
{
	auto_keyval kv = keyval_new();
	if (blob->name)
		keyval_add(kv, "name", blob->name);
	if (blob->file)
		keyval_add(kv, "file", blob->file);
	if (blob->string)
		keyval_add(kv, "string", blob->string);
	g_autofree char *text = keyval_format(kv, NULL);
	put(args, option, text);
}

static void put_system(GPtrArray *args, const struct conf_vm *conf)
{
	put_fields(args, "-name", conf_name_fields, &conf->name, "guest");
	put(args, "-uuid", conf->uuid);
	put_fields(args, "-machine", conf_machine_fields, &conf->machine, "type");
	for (unsigned i = 0; i < conf->accels->len; i++)
		put_fields(args, "-accel", conf_accel_fields, conf->accels->pdata[i], "accel");
	put(args, "-cpu", conf->cpu);
	put_fields(args, "-smp", conf_smp_fields, &conf->smp, "cpus");
	put_fields(args, "-m", conf_memory_fields, &conf->memory, "size");
	put(args, "-mem-path", conf->memory.path);
	put_flag(args, "-mem-prealloc", conf->memory.prealloc);
	g_autoptr(GPtrArray) numa = g_ptr_array_new_with_free_func(g_free);
	conf_numa_format(&conf->numa, numa);
	for (unsigned i = 0; i < numa->len; i++)
		put(args, "-numa", numa->pdata[i]);
	put_fields(args, "-boot", conf_boot_fields, &conf->boot, "order");
	put_fields(args, "-rtc", conf_rtc_fields, &conf->rtc, "base");
	put_fields(args, "-action", conf_action_fields, &conf->action, NULL);
	put(args, "-L", conf->firmware_dir);
	put(args, "-bios", conf->bios);
	put(args, "-kernel", conf->kernel);
	put(args, "-initrd", conf->initrd);
	put(args, "-append", conf->append);
}

static void put_host_side(GPtrArray *args, const struct conf_vm *conf)
{
	put_flag(args, "-nographic", conf->nographic);
	put(args, "-display", conf->display_none ? "none" : NULL);
	put_flag(args, "-snapshot", conf->snapshot);
	put_flag(args, "-S", conf->paused);
	put_flag(args, "-daemonize", conf->daemonize);
	put_flag(args, "-no-hpet", conf->no_hpet);
	put_flag(args, "-no-acpi", conf->no_acpi);
	put(args, "-overcommit", conf->mem_lock ? "mem-lock=on" : NULL);
	put(args, "-msg", conf->log_timestamps ? "timestamp=on" : NULL);
	put(args, "-pidfile", conf->pidfile);
	put(args, "-runas", conf->run_as);
	put(args, "-chroot", conf->chroot);
	put(args, "-D", conf->log_file);
	if (conf->sandbox.off)
		put(args, "-sandbox", "off");
	else if (conf->sandbox.allow_spawn || conf->sandbox.allow_resources)
		put(args, "-sandbox",
		    !conf->sandbox.allow_resources ? "on,spawn=allow" :
		    conf->sandbox.allow_spawn      ? "on,spawn=allow,resourcecontrol=allow" :
						     "on,resourcecontrol=allow");
}

GPtrArray *conf_vm_format(const struct conf_vm *conf)
{
	/* Objects and back ends before the devices that name them. */
	static const enum conf_item_kind order[] = {CONF_OBJECT, CONF_CHARDEV, CONF_FSDEV,
						    CONF_NETDEV, CONF_DEVICE};
	GPtrArray *args = g_ptr_array_new_null_terminated(32, g_free, TRUE);
	put_flag(args, "-nodefaults", conf->nodefaults);
	put_system(args, conf);
	for (unsigned i = 0; i < conf->drives->len; i++)
		put_drive(args, conf->drives->pdata[i]);
	for (unsigned i = 0; i < conf->globals->len; i++) {
		const struct conf_global *global = conf->globals->pdata[i];
		g_autofree char *text = g_strdup_printf("%s.%s=%s", global->driver,
							global->property, global->value);
		put(args, "-global", text);
	}
	for (unsigned k = 0; k < G_N_ELEMENTS(order); k++) {
		const GPtrArray *items = conf->items[order[k]];
		for (unsigned i = 0; i < items->len; i++) {
			g_autofree char *text = conf_item_format(order[k], items->pdata[i]);
			put(args, conf_item_option(order[k]), text);
		}
	}
	for (unsigned i = 0; i < conf->nics->len; i++)
		put_nic(args, conf->nics->pdata[i]);
	for (unsigned i = 0; i < conf->serials->len; i++)
		put(args, "-serial", conf->serials->pdata[i]);
	for (unsigned i = 0; i < conf->parallels->len; i++)
		put(args, "-parallel", conf->parallels->pdata[i]);
	put(args, "-debugcon", conf->debugcon);
	for (unsigned i = 0; i < conf->monitors->len; i++)
		put_monitor(args, conf->monitors->pdata[i]);
	for (unsigned i = 0; i < conf->smbios->len; i++)
		put(args, "-smbios", conf->smbios->pdata[i]);
	for (unsigned i = 0; i < conf->fw_cfg->len; i++)
		put_blob(args, "-fw_cfg", conf->fw_cfg->pdata[i]);
	for (unsigned i = 0; i < conf->acpitables->len; i++)
		put_blob(args, "-acpitable", conf->acpitables->pdata[i]);
	put_host_side(args, conf);
	return args;
}
