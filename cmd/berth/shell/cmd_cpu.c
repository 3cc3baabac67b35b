/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparing CPUs, and maps of CPUs. */
#include "table.h"

#include "shell.h"

#include <string.h>

/* --- Maps ------------------------------------------------------------------------------------- */

bool cpumap_has(const uint8_t *map, uint32_t size, unsigned cpu)
{
	return cpu / 8 < size && map[cpu / 8] & 1 << cpu % 8;
}

char *cpumap_text(const uint8_t *map, uint32_t size)
{
	GString *text = g_string_new(NULL);
	for (unsigned cpu = 0; cpu < size * 8; cpu++) {
		unsigned last = cpu;
		if (!cpumap_has(map, size, cpu))
			continue;
		while (cpumap_has(map, size, last + 1))
			last++;
		g_string_append_printf(text, last > cpu ? "%s%u-%u" : "%s%u", text->len ? "," : "", cpu, last);
		cpu = last;
	}
	return g_string_free(text, FALSE);
}

uint8_t *cpumap_parse(const char *text, unsigned cpus, uint32_t *size)
{
	*size = (cpus + 7) / 8;
	g_autofree uint8_t *map = g_malloc0(*size + 1);
	if (strcmp(text, "r") == 0) {
		for (unsigned cpu = 0; cpu < cpus; cpu++)
			map[cpu / 8] |= 1 << cpu % 8;
		return g_steal_pointer(&map);
	}
	g_auto(GStrv) parts = g_strsplit(text, ",", 0);
	for (char **part = parts; *part; part++) {
		bool out = **part == '^';
		g_auto(GStrv) ends = g_strsplit(*part + out, "-", 2);
		uint64_t first, last;
		if (!ends[0] || !parse_uint64(ends[0], &first) ||
		    !parse_uint64(ends[1] ? ends[1] : ends[0], &last) || last < first || last >= cpus)
			return NULL;
		for (uint64_t cpu = first; cpu <= last; cpu++) {
			if (out)
				map[cpu / 8] &= ~(1 << cpu % 8);
			else
				map[cpu / 8] |= 1 << cpu % 8;
		}
	}
	return g_steal_pointer(&map);
}

int host_cpu_count(struct shell *sh)
{
	struct remote_node_get_cpu_map_ret map;
	struct remote_node_get_info_ret info;
	if (GET(sh, node_get_cpu_map, &map, 0, 0, 0))
		return map.count;
	if (shell_error_code(sh) != CLIENT_NO_SUPPORT)
		return -1;
	if (!call_node_get_info(sh->client, &info, shell_error(sh)))
		return -1;
	return info.nodes * info.sockets * info.cores * info.threads;
}

/* --- Comparing -------------------------------------------------------------------------------- */

#define CPU_ELEMENTS                                                                               \
	"/container/cpu|/container/domain/cpu|/container/capabilities/host/cpu|"                   \
	"/container/domainCapabilities/cpu/mode[@name='host-model' and @supported='yes']"

/* The <cpu> elements in a file, whatever they are in; NULL after an error. g_strfreev() them. */
static char **read_cpus(struct shell *sh, const char *path)
{
	g_autofree char *text = shell_read_file(sh, path);
	if (!text)
		return NULL;
	char *body = g_str_has_prefix(text, "<?xml") ? strstr(text, "?>") : NULL;
	g_autofree char *wrapped = g_strdup_printf("<container>%s</container>", body ? body + 2 : text);
	g_autoptr(GError) error = NULL;
	g_autoptr(xmlDoc) doc = xml_parse(wrapped, path, &error);
	if (!doc) {
		shell_set_error(sh, CLIENT_INTERNAL, "%s", error->message);
		return NULL;
	}
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, CPU_ELEMENTS);
	if (!nodes->len) {
		shell_fail(sh, "File '%s' does not contain any <cpu> element or valid domain XML, host "
			   "capabilities XML, or domain capabilities XML", path);
		return NULL;
	}
	char **cpus = g_new0(char *, nodes->len + 1);
	for (unsigned i = 0; i < nodes->len; i++) {
		xmlNode *node = nodes->pdata[i];
		if (xml_is(node, "mode")) {
			xmlNodeSetName(node, (const xmlChar *)"cpu");
			while (node->properties)
				xmlRemoveProp(node->properties);
		}
		cpus[i] = xml_node_text(doc, node);
	}
	return cpus;
}

static const struct option_flag compare_flags[] = {{"error", 1}, {"validate", 2}, {NULL}};
static const struct option_flag baseline_flags[] = {{"features", 1}, {"migratable", 2}, {NULL}};
enum { CPU_INCOMPATIBLE, CPU_IDENTICAL, CPU_SUPERSET };

bool cmd_cpu_compare(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_compare_cpu_ret ret;
	const char *path;
	if (!opt_string(sh, cmd, "file", &path))
		return false;
	g_auto(GStrv) cpus = read_cpus(sh, path);
	if (!cpus)
		return false;
	if (!GET(sh, connect_compare_cpu, &ret, cpus[0], opt_flags(cmd, compare_flags)))
		return shell_fail(sh, "Failed to compare host CPU with %s", path);
	if (ret.result == CPU_INCOMPATIBLE)
		shell_print("CPU described in %s is incompatible with host CPU\n", path);
	else if (ret.result == CPU_IDENTICAL)
		shell_print("CPU described in %s is identical to host CPU\n", path);
	else
		shell_print("Host CPU is a superset of CPU described in %s\n", path);
	return ret.result != CPU_INCOMPATIBLE;
}

bool cmd_cpu_baseline(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_baseline_cpu_args args = {.flags = opt_flags(cmd, baseline_flags)};
	struct remote_connect_baseline_cpu_ret ret;
	const char *path;
	if (!opt_string(sh, cmd, "file", &path))
		return false;
	g_auto(GStrv) cpus = read_cpus(sh, path);
	if (!cpus)
		return false;
	args.xml_cpus.count = g_strv_length(cpus);
	args.xml_cpus.items = cpus;
	if (!call_connect_baseline_cpu(sh->client, &args, &ret, shell_error(sh)))
		return false;
	shell_print("%s", ret.cpu);
	return true;
}

struct hypervisor {
	const char *virttype, *emulator, *arch, *machine;
};

static bool opt_hypervisor(struct shell *sh, const struct cmd *cmd, struct hypervisor *h)
{
	return opt_string(sh, cmd, "virttype", &h->virttype) &&
	       opt_string(sh, cmd, "emulator", &h->emulator) && opt_string(sh, cmd, "arch", &h->arch) &&
	       opt_string(sh, cmd, "machine", &h->machine);
}

bool cmd_hypervisor_cpu_compare(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_compare_hypervisor_cpu_ret ret;
	struct hypervisor h;
	const char *path;
	if (!opt_string(sh, cmd, "file", &path) || !opt_hypervisor(sh, cmd, &h))
		return false;
	g_auto(GStrv) cpus = read_cpus(sh, path);
	if (!cpus)
		return false;
	if (!GET(sh, connect_compare_hypervisor_cpu, &ret, (char *)h.emulator, (char *)h.arch,
		 (char *)h.machine, (char *)h.virttype, cpus[0], opt_flags(cmd, compare_flags)))
		return shell_fail(sh, "Failed to compare hypervisor CPU with %s", path);
	if (ret.result == CPU_INCOMPATIBLE)
		shell_print("CPU described in %s is incompatible with the CPU provided by hypervisor on the "
			    "host\n", path);
	else if (ret.result == CPU_IDENTICAL)
		shell_print("CPU described in %s is identical to the CPU provided by hypervisor on the "
			    "host\n", path);
	else
		shell_print("The CPU provided by hypervisor on the host is a superset of CPU described in "
			    "%s\n", path);
	return ret.result != CPU_INCOMPATIBLE;
}

bool cmd_hypervisor_cpu_baseline(struct shell *sh, const struct cmd *cmd)
{
	struct hypervisor h;
	struct remote_connect_baseline_hypervisor_cpu_ret ret;
	const char *path, *model;
	if (!opt_string(sh, cmd, "file", &path) || !opt_string(sh, cmd, "model", &model) ||
	    !opt_hypervisor(sh, cmd, &h))
		return false;
	if (!path == !model)
		return shell_fail(sh, path ? "Options --file and --model are mutually exclusive" :
					     "Either --file or --model must be provided");
	g_auto(GStrv) cpus = path ? read_cpus(sh, path) : g_new0(char *, 2);
	if (!cpus)
		return false;
	if (model)
		cpus[0] = g_strdup_printf("<cpu><model>%s</model></cpu>", model);
	struct remote_connect_baseline_hypervisor_cpu_args args = {
		.emulator = (char *)h.emulator, .arch = (char *)h.arch, .machine = (char *)h.machine,
		.virttype = (char *)h.virttype, .flags = opt_flags(cmd, baseline_flags)};
	args.xml_cpus.count = g_strv_length(cpus);
	args.xml_cpus.items = cpus;
	if (!call_connect_baseline_hypervisor_cpu(sh->client, &args, &ret, shell_error(sh)))
		return false;
	shell_print("%s", ret.cpu);
	return true;
}
