/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparing CPUs, on a host that the test makes up; and what its firmware says. */
#include "daemon/host/host.h"

#include <string.h>
#include <unistd.h>

static struct host host = {.cpu_vendor = "AMD"};

static void add_model(const char *name, const char *features)
{
	struct host_model *model = g_new0(struct host_model, 1);
	g_auto(GStrv) words = g_strsplit(features, " ", -1);
	model->name = g_strdup(name);
	for (char **word = words; *word; word++)
		host_feature_learn(&host, &model->features, *word, true);
	g_ptr_array_add(host.models, model);
}

static void make_host(void)
{
	host.models = g_ptr_array_new();
	host.feature_names = g_ptr_array_new();
	add_model("small", "fpu sse");
	add_model("medium", "fpu sse lahf-lm");
	add_model("same", "fpu sse lahf-lm");
	add_model("large", "fpu sse lahf-lm avx pclmulqdq");
	static const char *const ours[] = {"fpu", "sse", "lahf-lm", "avx", "kvmclock"};
	for (unsigned i = 0; i < G_N_ELEMENTS(ours); i++)
		host_feature_learn(&host, &host.soft_features, ours[i], true);
	host_feature_learn(&host, &host.soft_features, "vmx", false);
}

static void test_compare(void)
{
	static const struct {
		const char *xml;
		enum host_comparison result;
		const char *why;
	} cases[] = {
		{"<cpu><model>small</model></cpu>", HOST_CPU_SUPERSET, NULL},
		{"<cpu><model>medium</model><feature name='avx'/></cpu>", HOST_CPU_IDENTICAL, NULL},
		{"<cpu><model>large</model></cpu>", HOST_CPU_INCOMPATIBLE,
		 "Host CPU does not provide required features: pclmuldq"},
		{"<cpu><model>large</model><feature policy='disable' name='pclmuldq'/></cpu>",
		 HOST_CPU_IDENTICAL, NULL},
		{"<cpu match='exact'><model>small</model><feature policy='require' name='vmx'/>"
		 "<feature policy='require' name='pclmuldq'/></cpu>", HOST_CPU_INCOMPATIBLE,
		 "required features: pclmuldq, vmx"},
		{"<cpu match='exact'><model>small</model><feature policy='forbid' name='avx'/></cpu>",
		 HOST_CPU_INCOMPATIBLE, "Host CPU provides forbidden features: avx"},
		{"<cpu><model>small</model><vendor>Intel</vendor></cpu>", HOST_CPU_INCOMPATIBLE,
		 "vendor Intel"},
		{"<cpu><arch>aarch64</arch><model>small</model></cpu>", HOST_CPU_INCOMPATIBLE, "aarch64"},
		{"<cpu mode='host-passthrough'/>", HOST_CPU_SUPERSET, NULL},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct conf_cpu *cpu = conf_cpu_parse(cases[i].xml, NULL);
		enum host_comparison result;
		g_autofree char *why = NULL;
		g_assert_nonnull(cpu);
		g_assert_true(host_cpu_compare(&host, cpu, false, &result, &why, NULL));
		g_assert_cmpint(result, ==, cases[i].result);
		g_assert_true(cases[i].why ? why && strstr(why, cases[i].why) : !why);
		conf_cpu_free(cpu);
	}
}

static void test_refusals(void)
{
	static const char *const cases[][2] = {
		{"<cpu><model>none</model></cpu>", "Unknown CPU model none"},
		{"<cpu><model>small</model><feature name='x'/></cpu>", "Unknown CPU feature x"},
		{"<cpu/>", "Missing CPU model name"},
		{"<cpu><feature/></cpu>", "Invalid CPU feature name"},
		{"<cpu colour='red'/>", "the attribute 'colour'"},
		{"<gpu/>", "expecting root element of 'cpu', not 'gpu'"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *why = NULL;
		enum host_comparison result;
		struct conf_cpu *cpu = conf_cpu_parse(cases[i][0], &error);
		if (cpu)
			g_assert_false(host_cpu_compare(&host, cpu, false, &result, &why, &error));
		g_assert_nonnull(strstr(error->message, cases[i][1]));
		conf_cpu_free(cpu);
	}
}

/* The XML's model and features, as words. */
static char *baseline(const char *first, const char *second, bool expand)
{
	g_autoptr(GPtrArray) cpus = g_ptr_array_new();
	g_ptr_array_add(cpus, conf_cpu_parse(first, NULL));
	if (second)
		g_ptr_array_add(cpus, conf_cpu_parse(second, NULL));
	g_autofree char *xml = host_cpu_baseline(&host, cpus, NULL, expand, NULL);
	g_autoptr(xmlDoc) doc = xml_parse(xml, "cpu", NULL);
	GString *words = g_string_new(NULL);
	g_autofree char *model = xml_child_text(xmlDocGetRootElement(doc), "model");
	g_string_assign(words, model);
	xml_for_each(feature, xmlDocGetRootElement(doc), "feature") {
		g_autofree char *name = xml_attribute(feature, "name");
		g_string_append_printf(words, " %s", name);
	}
	for (unsigned i = 0; i < cpus->len; i++)
		conf_cpu_free(cpus->pdata[i]);
	return g_string_free(words, FALSE);
}

static void test_baseline(void)
{
	static const struct {
		const char *first, *second;
		bool expand;
		const char *words;
	} cases[] = {
		{"<cpu><model>same</model></cpu>", NULL, false, "same"},
		{"<cpu><model>same</model></cpu>", NULL, true, "same fpu lahf_lm sse"},
		{"<cpu><model>large</model></cpu>",
		 "<cpu><model>small</model><feature name='avx'/></cpu>", false, "small avx"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *words = baseline(cases[i].first, cases[i].second, cases[i].expand);
		g_assert_cmpstr(words, ==, cases[i].words);
	}
}

static void test_sysinfo(void)
{
	g_autofree char *folder = g_dir_make_tmp("dmi-XXXXXX", NULL);
	g_autofree char *vendor = g_build_filename(folder, "sys_vendor", NULL);
	g_autofree char *serial = g_build_filename(folder, "product_serial", NULL);
	g_assert_null(host_sysinfo_xml(folder));
	g_assert_true(g_file_set_contents(vendor, "A & B\n", -1, NULL));
	g_assert_true(g_file_set_contents(serial, "\n", -1, NULL));
	g_autofree char *xml = host_sysinfo_xml(folder);
	g_assert_cmpstr(xml, ==, "<sysinfo type='smbios'>\n  <system>\n"
				 "    <entry name='manufacturer'>A &amp; B</entry>\n  </system>\n</sysinfo>\n");
	unlink(vendor);
	unlink(serial);
	rmdir(folder);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	make_host();
	g_test_add_func("/cpu/compare", test_compare);
	g_test_add_func("/cpu/refusals", test_refusals);
	g_test_add_func("/cpu/baseline", test_baseline);
	g_test_add_func("/host/sysinfo", test_sysinfo);
	return g_test_run();
}
