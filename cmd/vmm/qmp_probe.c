/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: what management programs ask before they use a machine: its options, its CPU slots. */
#include "vmm.h"

#include "base/error.h"

#include <string.h>

static const struct {
	const char *option;
	const struct keyval_field *fields;
} groups[] = {
	{"machine", conf_machine_fields}, {"accel", conf_accel_fields},
	{"smp-opts", conf_smp_fields},    {"memory", conf_memory_fields},
	{"boot-opts", conf_boot_fields},  {"rtc", conf_rtc_fields},
	{"name", conf_name_fields},       {"action", conf_action_fields},
};

static const char *type_name(enum keyval_type type)
{
	switch (type) {
	case KEYVAL_BOOL:
	case KEYVAL_SWITCH:
	case KEYVAL_OFF:
		return "boolean";
	case KEYVAL_UINT:
		return "number";
	case KEYVAL_SIZE:
		return "size";
	case KEYVAL_STRING:
	case KEYVAL_ENUM:
	case KEYVAL_REFUSED:
		return "string";
	}
	g_assert_not_reached();
}

static json_t *describe_fields(const struct keyval_field *fields)
{
	json_t *list = json_array();
	for (; fields->name; fields++) {
		if (fields->type == KEYVAL_REFUSED)
			continue;
		json_t *entry = json_pack("{s:s, s:s}", "name", fields->name, "type",
					  type_name(fields->type));
		if (fields->help)
			json_object_set_new(entry, "help", json_string(fields->help));
		json_array_append_new(list, entry);
	}
	return list;
}

/* Options whose fields depend on a type have an entry without parameters, as in QEMU. */
static json_t *run_command_line_options(void *opaque, const json_t *args, GError **error)
{
	const char *wanted = json_string_value(json_object_get(args, "option"));
	json_t *list = json_array();
	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
		if (!wanted || strcmp(wanted, groups[i].option) == 0)
			json_array_append_new(list, json_pack("{s:s, s:o}", "option",
							      groups[i].option, "parameters",
							      describe_fields(groups[i].fields)));
	}
	static const char *const bare[] = {"device", "drive", "netdev", "chardev", "object", "fsdev",
					   "mon", "global", "smbios", "fw_cfg", "sandbox",
					   "overcommit", "msg"};
	for (unsigned i = 0; i < G_N_ELEMENTS(bare); i++) {
		if (!wanted || strcmp(wanted, bare[i]) == 0)
			json_array_append_new(list, json_pack("{s:s, s:[]}", "option", bare[i],
							      "parameters"));
	}
	if (wanted && json_array_size(list) == 0) {
		json_decref(list);
		return qmp_error(error, QMP_ERROR_GENERIC, "invalid option name: %s", wanted);
	}
	return list;
}

/* As QEMU: the last place first; with a path where there is a CPU. */
static json_t *run_cpu_slots(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	g_autofree char *type = g_strdup_printf("%s-x86_64-cpu", cpus_model(vmm));
	for (unsigned i = vmm->vm->vcpu_count; i-- > 0;) {
		json_t *entry = json_pack("{s:s, s:i, s:o}", "type", type, "vcpus-count", 1, "props",
					  cpu_place(vmm->vm, i));
		g_autofree char *path = cpu_path(vmm, i);
		if (vmm->vm->vcpus[i].present)
			json_object_set_new(entry, "qom-path", json_string(path));
		json_array_append_new(list, entry);
	}
	return list;
}

static const struct qmp_command commands[] = {
	{"query-command-line-options", "option?:str", "[CommandLineOptionInfo]",
	 run_command_line_options},
	{"query-hotpluggable-cpus", NULL, "[HotpluggableCPU]", run_cpu_slots},
	{NULL},
};

static const struct qmp_type types[] = {
	{"CommandLineOptionInfo", "option:str parameters:[CommandLineParameterInfo]"},
	{"CommandLineParameterInfo", "name:str type:CommandLineParameterType help?:str"},
	{"CommandLineParameterType", "=string boolean number size"},
	{"HotpluggableCPU", "type:str vcpus-count:int props:CpuInstanceProperties qom-path?:str"},
	{NULL},
};

const struct qmp_table qmp_probe_table = {commands, types, NULL, NULL};
