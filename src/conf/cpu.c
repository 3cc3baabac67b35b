/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/cpu.h"

#include "base/error.h"
#include "conf/domain.h"
#include "conf/grammar.h"

#include <string.h>

/* What of it is no feature (caches, sizes) is accepted, as it is in capabilities, and not compared. */
static const char *const rows[] = {
	"cpu mode match check migratable",
	"cpu/arch",
	"cpu/model fallback vendor_id",
	"cpu/vendor",
	"cpu/microcode version",
	"cpu/signature family model stepping",
	"cpu/counter name frequency scaling",
	"cpu/maxphysaddr mode bits limit",
	"cpu/topology sockets dies cores threads",
	"cpu/cache level mode",
	"cpu/pages unit size",
	"cpu/numa *",
	"cpu/feature policy name",
};

static void clear_feature(void *opaque)
{
	g_free(((struct conf_cpu_feature *)opaque)->name);
}

static bool read_feature(struct conf_cpu *cpu, const xmlNode *node, GError **error)
{
	g_autofree char *policy = xml_attribute(node, "policy"), *name = xml_attribute(node, "name");
	struct conf_cpu_feature feature = {.policy = CONF_CPU_REQUIRE};
	if (!name || !*name)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "Invalid CPU feature name");
	if (!CONF_DOMAIN_ONE_OF(node, "policy", policy, error, "force", "require", "optional", "disable",
				"forbid"))
		return false;
	/* What a guest may have or not is nothing to compare. */
	if (g_strcmp0(policy, "optional") == 0)
		return true;
	if (g_strcmp0(policy, "disable") == 0)
		feature.policy = CONF_CPU_DISABLE;
	else if (g_strcmp0(policy, "forbid") == 0)
		feature.policy = CONF_CPU_FORBID;
	feature.name = g_steal_pointer(&name);
	g_array_append_val(cpu->features, feature);
	return true;
}

static bool read_all(struct conf_cpu *cpu, const xmlNode *root, GError **error)
{
	g_autofree char *mode = xml_attribute(root, "mode"), *match = xml_attribute(root, "match");
	if (!CONF_DOMAIN_ONE_OF(root, "mode", mode, error, "custom", "host-model", "host-passthrough",
				"maximum") ||
	    !CONF_DOMAIN_ONE_OF(root, "match", match, error, "minimum", "exact", "strict"))
		return false;
	cpu->guest = mode || match;
	cpu->is_host = mode && strcmp(mode, "custom") != 0;
	cpu->arch = xml_child_text(root, "arch");
	cpu->model = xml_child_text(root, "model");
	cpu->vendor = xml_child_text(root, "vendor");
	xml_for_each(node, root, "feature") {
		if (!read_feature(cpu, node, error))
			return false;
	}
	return true;
}

struct conf_cpu *conf_cpu_parse(const char *text, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	g_autoptr(xmlDoc) doc = xml_parse(text, "CPU_definition", error);
	if (!doc)
		return NULL;
	const xmlNode *root = xmlDocGetRootElement(doc);
	struct conf_cpu *cpu = g_new0(struct conf_cpu, 1);
	cpu->features = g_array_new(FALSE, FALSE, sizeof(struct conf_cpu_feature));
	g_array_set_clear_func(cpu->features, clear_feature);
	if (!xml_is(root, "cpu"))
		error_set(error, BERTH_ERR_INVALID, "expecting root element of 'cpu', not '%s'",
			  root->name);
	else if (conf_grammar_check(&grammar, root, error) && read_all(cpu, root, error))
		return cpu;
	conf_cpu_free(cpu);
	return NULL;
}

void conf_cpu_free(struct conf_cpu *cpu)
{
	if (!cpu)
		return;
	g_array_unref(cpu->features);
	g_free(cpu->arch);
	g_free(cpu->model);
	g_free(cpu->vendor);
	g_free(cpu);
}
