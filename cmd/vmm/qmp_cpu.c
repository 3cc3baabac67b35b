/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: vCPUs and CPU models. */
#include "vmm.h"

#include "base/error.h"

#include <string.h>
#include <unistd.h>

static void get_thread_id(struct vcpu *vcpu, void *opaque)
{
	*(pid_t *)opaque = gettid();
}

static json_t *describe_cpu(struct vmm *vmm, struct vcpu *vcpu)
{
	pid_t tid = 0;
	vcpu_call(vcpu, get_thread_id, &tid);
	g_autofree char *path = cpu_path(vmm, vcpu->index);
	return json_pack("{s:i, s:s, s:i, s:s, s:o}", "cpu-index", (int)vcpu->index, "qom-path",
			 path, "thread-id", (int)tid, "target", "x86_64", "props",
			 cpu_place(vmm->vm, vcpu->index));
}

static json_t *run_query_cpus(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->vm->vcpu_count; i++) {
		if (vmm->vm->vcpus[i].present)
			json_array_append_new(list, describe_cpu(vmm, &vmm->vm->vcpus[i]));
	}
	return list;
}

static bool features_of(struct vmm *vmm, const char *model, struct cpu_model **result,
			GError **error)
{
	struct cpu_features allowed;
	if (!vmm->engine->features(&allowed, error))
		return false;
	*result = cpu_model_parse(model, &allowed, error);
	return *result != NULL;
}

/* What the model asks for and is not in `allowed`, which the engine on this host can give; NULL: all is. */
static json_t *missing_features(const char *name, const struct cpu_features *allowed)
{
	struct cpu_features everything, missing = {0};
	memset(&everything, 0xff, sizeof(everything));
	json_t *list = json_array();
	struct cpu_model *model = cpu_model_parse(name, &everything, NULL);
	for (unsigned w = 0; model && allowed && !model->host && w < CPU_WORD_COUNT; w++)
		missing.word[w] = model->features.word[w] & ~allowed->word[w];
	g_autoptr(GPtrArray) names = cpu_feature_list(&missing);
	for (unsigned i = 0; i < names->len; i++)
		json_array_append_new(list, json_string(names->pdata[i]));
	cpu_model_free(model);
	return list;
}

static json_t *run_query_definitions(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	struct cpu_features allowed;
	bool known = vmm->engine->features(&allowed, NULL);
	for (const struct cpu_model_entry *model = cpu_model_list(); model->name; model++) {
		g_autofree char *typename = g_strdup_printf("%s-x86_64-cpu", model->name);
		bool host = strcmp(model->name, "host") == 0 || strcmp(model->name, "max") == 0;
		json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:b, s:o}", "name",
						      model->name, "typename", typename, "static",
						      0, "migration-safe", (int)!host, "deprecated",
						      0, "unavailable-features",
						      missing_features(model->name, known ? &allowed : NULL)));
	}
	return list;
}

/* {"name": N, "props": {"feature": bool}} as -cpu would have it. */
static char *model_text(const json_t *model, GError **error)
{
	GString *text = g_string_new(json_string_value(json_object_get(model, "name")));
	const char *key;
	json_t *value;
	json_object_foreach(json_object_get(model, "props"), key, value) {
		if (!json_is_boolean(value)) {
			error_set(error, BERTH_ERR_INVALID,
				  "Invalid parameter type for 'props.%s', expected: boolean", key);
			g_string_free(text, TRUE);
			return NULL;
		}
		g_string_append_printf(text, ",%s=%s", key, json_is_true(value) ? "on" : "off");
	}
	return g_string_free(text, FALSE);
}

static json_t *run_expansion(void *opaque, const json_t *args, GError **error)
{
	const json_t *asked = json_object_get(args, "model");
	g_autofree char *text = model_text(asked, error);
	struct cpu_model *model = NULL;
	if (!text || !features_of(opaque, text, &model, error))
		return NULL;
	json_t *props = json_object();
	for (const char *const *name = cpu_feature_names(); *name; name++) {
		enum cpu_feature_word word;
		uint32_t mask;
		if (cpu_feature_find(*name, &word, &mask))
			json_object_set_new(props, *name,
					    json_boolean((model->features.word[word] & mask) == mask));
	}
	const char *type = json_string_value(json_object_get(args, "type"));
	json_t *result = json_pack(
		"{s:{s:s, s:o}}", "model", "name",
		strcmp(type, "static") == 0 ? "base" : model->name, "props", props);
	cpu_model_free(model);
	return result;
}

static const struct qmp_command commands[] = {
	{"query-cpus-fast", NULL, "[CpuInfoFast]", run_query_cpus},
	{"query-cpu-definitions", NULL, "[CpuDefinitionInfo]", run_query_definitions},
	{"query-cpu-model-expansion", "type:CpuModelExpansionType model:CpuModelInfo",
	 "CpuModelExpansionInfo", run_expansion},
	{NULL},
};

static const struct qmp_type types[] = {
	{"CpuInfoFast", "cpu-index:int qom-path:str thread-id:int props?:CpuInstanceProperties "
			"target:str"},
	{"CpuInstanceProperties", "node-id?:int socket-id?:int die-id?:int core-id?:int "
				  "thread-id?:int"},
	{"CpuDefinitionInfo", "name:str migration-safe?:bool static:bool "
			      "unavailable-features?:[str] typename:str deprecated:bool"},
	{"CpuModelExpansionType", "=static full"},
	{"CpuModelInfo", "name:str props?:any"},
	{"CpuModelExpansionInfo", "model:CpuModelInfo"},
	{NULL},
};

const struct qmp_table qmp_cpu_table = {commands, types, NULL, NULL};
