/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/vm.h"

#include "base/error.h"

#include <string.h>

static GPtrArray *list_new(void (*free_item)(void *))
{
	return g_ptr_array_new_with_free_func(free_item);
}

#define LIST(type) list_new((void (*)(void *))type##_free)

struct conf_vm *conf_vm_new(void)
{
	struct conf_vm *conf = g_new0(struct conf_vm, 1);
	conf->accels = LIST(conf_accel);
	conf->drives = LIST(conf_drive);
	for (unsigned i = 0; i < CONF_ITEM_KINDS; i++)
		conf->items[i] = LIST(conf_item);
	conf->nics = LIST(conf_nic);
	conf->serials = list_new(g_free);
	conf->parallels = list_new(g_free);
	conf->smbios = list_new(g_free);
	conf->monitors = LIST(conf_monitor);
	conf->globals = LIST(conf_global);
	conf->fw_cfg = LIST(conf_blob);
	conf->acpitables = LIST(conf_blob);
	return conf;
}

void conf_vm_free(struct conf_vm *conf)
{
	if (!conf)
		return;
	keyval_clear(conf_name_fields, &conf->name);
	keyval_clear(conf_machine_fields, &conf->machine);
	keyval_clear(conf_boot_fields, &conf->boot);
	keyval_clear(conf_rtc_fields, &conf->rtc);
	g_free(conf->memory.path);
	conf_numa_clear(&conf->numa);
	GPtrArray *const lists[] = {conf->accels,    conf->drives,   conf->nics,    conf->serials,
				    conf->parallels, conf->smbios,   conf->monitors, conf->globals,
				    conf->fw_cfg,    conf->acpitables};
	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++)
		g_ptr_array_unref(lists[i]);
	for (unsigned i = 0; i < CONF_ITEM_KINDS; i++)
		g_ptr_array_unref(conf->items[i]);
	char *const strings[] = {conf->uuid,   conf->cpu,	    conf->kernel,   conf->initrd,
				 conf->append, conf->bios,     conf->firmware_dir, conf->debugcon,
				 conf->pidfile, conf->run_as, conf->chroot,   conf->log_file};
	for (unsigned i = 0; i < G_N_ELEMENTS(strings); i++)
		g_free(strings[i]);
	g_free(conf);
}

bool conf_uuid_parse(const char *text, uint8_t uuid[16], GError **error)
{
	uint8_t bytes[16];
	unsigned count = 0;
	bool good = strlen(text) == 36;
	for (unsigned i = 0; good && i < 36;) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			good = text[i++] == '-';
			continue;
		}
		int high = g_ascii_xdigit_value(text[i]), low = g_ascii_xdigit_value(text[i + 1]);
		good = high >= 0 && low >= 0;
		bytes[count++] = good ? high << 4 | low : 0;
		i += 2;
	}
	if (!good)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is not a UUID like 8a0f6a0e-3ec2-4d39-b6d8-6f4e0c2a1b7d", text);
	if (uuid)
		memcpy(uuid, bytes, sizeof(bytes));
	return true;
}
