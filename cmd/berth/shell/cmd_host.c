/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host and its hypervisor. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *get_capabilities(struct shell *sh)
{
	struct remote_connect_get_capabilities_ret ret;
	return call_connect_get_capabilities(sh->client, &ret, shell_error(sh)) ? ret.xml : NULL;
}

bool cmd_capabilities(struct shell *sh, const struct cmd *cmd)
{
	const char *xml = get_capabilities(sh);
	if (!xml)
		return shell_fail(sh, "failed to get capabilities");
	shell_print("%s\n", xml);
	return true;
}

bool cmd_domcapabilities(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_get_domain_capabilities_ret ret;
	const char *virttype, *emulator, *arch, *machine;
	if (!opt_string(sh, cmd, "virttype", &virttype) ||
	    !opt_string(sh, cmd, "emulatorbin", &emulator) || !opt_string(sh, cmd, "arch", &arch) ||
	    !opt_string(sh, cmd, "machine", &machine))
		return false;
	if (!GET(sh, connect_get_domain_capabilities, &ret, (char *)emulator, (char *)arch,
		 (char *)machine, (char *)virttype, 0))
		return shell_fail(sh, "failed to get emulator capabilities");
	shell_print("%s\n", ret.xml);
	return true;
}

bool cmd_hostname(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_get_hostname_ret ret;
	if (!call_connect_get_hostname(sh->client, &ret, shell_error(sh)))
		return shell_fail(sh, "failed to get hostname");
	shell_print("%s\n", ret.hostname);
	return true;
}

bool cmd_uri(struct shell *sh, const struct cmd *cmd)
{
	/* As it was given, with transport and host; only the default is unknown to us. */
	g_autofree char *given = sh->uri ? g_strdup(sh->uri) : client_default_uri(sh->readonly);
	shell_print("%s\n", given);
	return true;
}

bool cmd_sysinfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_get_sysinfo_ret ret;
	if (!GET(sh, connect_get_sysinfo, &ret, 0))
		return shell_fail(sh, "failed to get sysinfo");
	shell_print("%s", ret.xml);
	return true;
}

/* libvirt packs a version as major * 1000000 + minor * 1000 + release. */
static void print_version(const char *what, uint64_t version)
{
	shell_print("%s %d.%d.%d\n", what, (int)(version / 1000000), (int)(version / 1000 % 1000),
		    (int)(version % 1000));
}

/* The protocol of this version is what we speak: it is our "library". */
#define PROTOCOL_VERSION 9000000

bool cmd_version(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_get_type_ret type;
	struct remote_connect_get_version_ret version;
	struct remote_connect_get_lib_version_ret daemon;
	if (!call_connect_get_type(sh->client, &type, shell_error(sh)))
		return shell_fail(sh, "failed to get hypervisor type");
	print_version("Compiled against library: libvirt", PROTOCOL_VERSION);
	print_version("Using library: libvirt", PROTOCOL_VERSION);
	g_autofree char *api = g_strdup_printf("Using API: %s", type.type);
	print_version(api, PROTOCOL_VERSION);
	if (!call_connect_get_version(sh->client, &version, shell_error(sh)))
		return shell_fail(sh, "failed to get the hypervisor version");
	g_autofree char *running = g_strdup_printf("Running hypervisor: %s", type.type);
	if (version.version)
		print_version(running, version.version);
	else
		shell_print("Cannot extract running %s hypervisor version\n", type.type);
	if (!opt_bool(cmd, "daemon"))
		return true;
	if (!call_connect_get_lib_version(sh->client, &daemon, shell_error(sh)))
		return shell_fail(sh, "failed to get the daemon version");
	print_version("Running against daemon:", daemon.version);
	return true;
}

/* --- CPUs ------------------------------------------------------------------------------------- */

bool cmd_nodeinfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_get_info_ret info;
	char model[33] = "";
	if (!call_node_get_info(sh->client, &info, shell_error(sh)))
		return shell_fail(sh, "failed to get node information");
	for (unsigned i = 0; i < 32; i++)
		model[i] = info.model[i];
	shell_print("%-20s %s\n%-20s %d\n", "CPU model:", model, "CPU(s):", info.cpus);
	if (info.mhz)
		shell_print("%-20s %d MHz\n", "CPU frequency:", info.mhz);
	shell_print("%-20s %d\n%-20s %d\n%-20s %d\n%-20s %d\n%-20s %" PRIu64 " KiB\n",
		    "CPU socket(s):", info.sockets, "Core(s) per socket:", info.cores,
		    "Thread(s) per core:", info.threads, "NUMA cell(s):", info.nodes,
		    "Memory size:", info.memory);
	return true;
}

bool cmd_maxvcpus(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_get_domain_capabilities_ret caps;
	struct remote_connect_get_max_vcpus_ret ret;
	const char *type;
	if (!opt_string(sh, cmd, "type", &type))
		return false;
	int64_t count = -1;
	if (GET(sh, connect_get_domain_capabilities, &caps, NULL, NULL, NULL, (char *)type, 0)) {
		g_autoptr(xmlDoc) doc = xml_parse(caps.xml, "domainCapabilities", NULL);
		g_autofree char *max = doc ? xpath_text(doc, NULL, "/domainCapabilities/vcpu[1]/@max") :
					     NULL;
		if (max && !parse_int64(max, &count))
			count = -1;
	}
	if (count < 0) {
		if (!GET(sh, connect_get_max_vcpus, &ret, (char *)type))
			return false;
		count = ret.max_vcpus;
	}
	shell_print("%d\n", (int)count);
	return true;
}

bool cmd_cpu_models(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_get_cpu_model_names_ret ret;
	const char *arch;
	if (!opt_string(sh, cmd, "arch", &arch))
		return false;
	if (!GET(sh, connect_get_cpu_model_names, &ret, (char *)arch, 1, 0))
		return shell_fail(sh, "failed to get CPU model names");
	if (!ret.count)
		shell_extra(sh, "all CPU models are accepted\n");
	for (uint32_t i = 0; i < ret.models.count; i++)
		shell_print("%s\n", ret.models.items[i]);
	return true;
}

bool cmd_nodecpumap(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_get_cpu_map_ret ret;
	if (!GET(sh, node_get_cpu_map, &ret, 1, 1, 0))
		return shell_fail(sh, "Unable to get cpu map");
	shell_print("%-15s %d\n%-15s %d\n%-15s ", "CPUs present:", ret.count, "CPUs online:",
		    (int)ret.online, "CPU map:");
	if (opt_bool(cmd, "pretty")) {
		g_autofree char *text = cpumap_text(ret.map.items, ret.map.count);
		shell_print("%s", text);
	}
	for (int i = 0; !opt_bool(cmd, "pretty") && i < ret.count; i++)
		shell_print("%c", cpumap_has(ret.map.items, ret.map.count, i) ? 'y' : '-');
	shell_print("\n");
	return true;
}

enum cpu_time { CPU_USER, CPU_KERNEL, CPU_IDLE, CPU_IOWAIT, CPU_INTR, CPU_USAGE, CPU_TIMES };
static const char *const cpu_fields[] = {"user", "kernel", "idle", "iowait", "intr", "utilization"};
static const char *const cpu_titles[] = {"user:", "system:", "idle:", "iowait:", "intr:", "usage:"};

struct cpu_times {
	uint64_t value[CPU_TIMES];
	bool known[CPU_TIMES];
};

static bool read_cpu_times(struct shell *sh, int cpu, int count, struct cpu_times *times)
{
	struct remote_node_get_cpu_stats_ret ret;
	if (!GET(sh, node_get_cpu_stats, &ret, cpu, count, 0))
		return shell_fail(sh, "Unable to get node cpu stats");
	for (uint32_t i = 0; i < ret.stats.count; i++) {
		for (unsigned f = 0; f < CPU_TIMES; f++) {
			if (strcmp(ret.stats.items[i].field, cpu_fields[f]) == 0) {
				times->value[f] = ret.stats.items[i].value;
				times->known[f] = true;
			}
		}
	}
	return true;
}

static void print_percent(const struct cpu_times *first, const struct cpu_times *second)
{
	double part[CPU_TIMES], total = 0;
	for (unsigned f = 0; f < CPU_USAGE; f++)
		total += part[f] = second->value[f] - first->value[f];
	shell_print("%-15s %5.1lf%%\n", "usage:", (part[CPU_USER] + part[CPU_KERNEL]) / total * 100);
	for (unsigned f = 0; f < CPU_USAGE; f++) {
		if (first->known[f])
			shell_print("%-15s %5.1lf%%\n", cpu_titles[f], part[f] / total * 100);
	}
}

bool cmd_nodecpustats(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_get_cpu_stats_ret count;
	struct cpu_times first = {0}, second = {0};
	int32_t cpu = -1;
	if (opt_int(sh, cmd, "cpu", &cpu) < 0)
		return false;
	if (!GET(sh, node_get_cpu_stats, &count, cpu, 0, 0))
		return shell_fail(sh, "Unable to get number of cpu stats");
	if (!count.count)
		return true;
	if (!read_cpu_times(sh, cpu, count.count, &first))
		return false;
	if (!opt_bool(cmd, "percent")) {
		for (unsigned f = 0; f < CPU_USAGE; f++) {
			if (first.known[f])
				shell_print("%-15s %20" PRIu64 "\n", cpu_titles[f], first.value[f]);
		}
		return true;
	}
	if (first.known[CPU_USAGE]) {
		shell_print("%-15s %5.1" PRIu64 "%%\n%-15s %5.1" PRIu64 "%%\n", "usage:",
			    first.value[CPU_USAGE], "idle:", 100 - first.value[CPU_USAGE]);
		return true;
	}
	sleep(1);
	if (!read_cpu_times(sh, cpu, count.count, &second))
		return false;
	print_percent(&first, &second);
	return true;
}

/* --- Memory ----------------------------------------------------------------------------------- */

bool cmd_nodememstats(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_get_memory_stats_ret ret;
	int32_t cell = -1;
	if (opt_int(sh, cmd, "cell", &cell) < 0)
		return false;
	if (!GET(sh, node_get_memory_stats, &ret, 0, cell, 0))
		return shell_fail(sh, "Unable to get number of memory stats");
	if (!ret.count)
		return true;
	if (!GET(sh, node_get_memory_stats, &ret, ret.count, cell, 0))
		return shell_fail(sh, "Unable to get memory stats");
	for (uint32_t i = 0; i < ret.stats.count; i++)
		shell_print("%-7s: %20" PRIu64 " KiB\n", ret.stats.items[i].field, ret.stats.items[i].value);
	return true;
}

/* The numbers that an attribute of the host's cells (or their pages) has, in the XML's order. */
static GArray *host_numbers(struct shell *sh, const char *path, const char *attribute)
{
	const char *xml = get_capabilities(sh);
	g_autoptr(xmlDoc) doc = xml ? xml_parse(xml, "capabilities", NULL) : NULL;
	if (!doc) {
		shell_fail(sh, "unable to get node capabilities");
		return NULL;
	}
	GArray *numbers = g_array_new(FALSE, FALSE, sizeof(int64_t));
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, path);
	for (unsigned i = 0; i < nodes->len; i++) {
		g_autofree char *text = xml_attribute(nodes->pdata[i], attribute);
		int64_t number;
		if (!text || !parse_int64(text, &number)) {
			g_array_unref(numbers);
			shell_fail(sh, "conversion from string failed");
			return NULL;
		}
		g_array_append_val(numbers, number);
	}
	return numbers;
}

#define CELLS "/capabilities/host/topology/cells/cell"

static bool free_of_all_cells(struct shell *sh)
{
	g_autoptr(GArray) cells = host_numbers(sh, CELLS, "id");
	g_autoptr(GString) text = g_string_new(NULL);
	uint64_t total = 0;
	for (unsigned i = 0; cells && i < cells->len; i++) {
		struct remote_node_get_cells_free_memory_ret ret;
		int cell = g_array_index(cells, int64_t, i);
		if (!GET(sh, node_get_cells_free_memory, &ret, cell, 1) || ret.cells.count != 1)
			return shell_fail(sh, "failed to get free memory for NUMA node number: %d", cell);
		g_string_append_printf(text, "%5d: %10" PRIu64 " KiB\n", cell, ret.cells.items[0] / 1024);
		total += ret.cells.items[0];
	}
	if (!cells)
		return false;
	shell_print("%s", text->str);
	shell_extra(sh, "--------------------\n%5s: %10" PRIu64 " KiB\n", "Total", total / 1024);
	return true;
}

bool cmd_freecell(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_get_cells_free_memory_ret cells;
	struct remote_node_get_free_memory_ret memory;
	int32_t cell = -1;
	if (!opt_exclusive(sh, cmd, "all", "cellno"))
		return false;
	int given = opt_int(sh, cmd, "cellno", &cell);
	if (given < 0)
		return false;
	if (opt_bool(cmd, "all"))
		return free_of_all_cells(sh);
	if (given) {
		if (!GET(sh, node_get_cells_free_memory, &cells, cell, 1) || cells.cells.count != 1)
			return false;
		shell_print("%d: %" PRIu64 " KiB\n", cell, cells.cells.items[0] / 1024);
		return true;
	}
	if (!call_node_get_free_memory(sh->client, &memory, shell_error(sh)))
		return false;
	shell_print("%s: %" PRIu64 " KiB\n", "Total", memory.bytes / 1024);
	return true;
}

static bool print_free_pages(struct shell *sh, const char *title, int cell, uint32_t *sizes,
			     uint32_t count)
{
	struct remote_node_get_free_pages_ret ret;
	struct remote_node_get_free_pages_args args = {.start_cell = cell, .cell_count = 1};
	args.pages.count = count;
	args.pages.items = sizes;
	if (!call_node_get_free_pages(sh->client, &args, &ret, shell_error(sh)))
		return false;
	shell_print("%s", title);
	for (uint32_t i = 0; i < ret.counts.count && i < count; i++)
		shell_print("%uKiB: %" PRId64 "\n", sizes[i], (int64_t)ret.counts.items[i]);
	return true;
}

static int compare_sizes(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* The sizes of pages that the host has, each once. */
static GArray *page_sizes(struct shell *sh)
{
	g_autoptr(GArray) all = host_numbers(sh, "/capabilities/host/cpu/pages", "size");
	if (all && !all->len) {
		g_array_unref(all);
		all = host_numbers(sh, CELLS "/pages", "size");
	}
	if (!all || !all->len) {
		shell_fail(sh, "could not get information about supported page sizes");
		return NULL;
	}
	GArray *sizes = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	for (unsigned i = 0; i < all->len; i++) {
		uint32_t size = g_array_index(all, int64_t, i);
		g_array_append_val(sizes, size);
	}
	g_array_sort(sizes, compare_sizes);
	for (unsigned i = 1; i < sizes->len;) {
		if (g_array_index(sizes, uint32_t, i) == g_array_index(sizes, uint32_t, i - 1))
			g_array_remove_index(sizes, i);
		else
			i++;
	}
	return sizes;
}

static bool free_pages_of_all(struct shell *sh, bool one, uint32_t size)
{
	g_autoptr(GArray) sizes = one ? g_array_new(FALSE, FALSE, sizeof(uint32_t)) : page_sizes(sh);
	g_autoptr(GArray) cells = sizes ? host_numbers(sh, CELLS, "id") : NULL;
	if (one)
		g_array_append_val(sizes, size);
	for (unsigned i = 0; cells && i < cells->len; i++) {
		int cell = g_array_index(cells, int64_t, i);
		g_autofree char *title = g_strdup_printf("Node %d:\n", cell);
		if (!print_free_pages(sh, title, cell, (uint32_t *)sizes->data, sizes->len))
			return false;
		shell_print("\n");
	}
	return cells != NULL;
}

bool cmd_freepages(struct shell *sh, const struct cmd *cmd)
{
	uint64_t bytes = 0;
	int32_t cell;
	if (!opt_exclusive(sh, cmd, "all", "cellno"))
		return false;
	int sized = opt_scaled(sh, cmd, "pagesize", 1024, UINT32_MAX, &bytes);
	uint32_t size = (bytes + 1023) / 1024;
	if (sized < 0)
		return false;
	if (opt_bool(cmd, "all"))
		return free_pages_of_all(sh, sized > 0, size);
	int given = opt_int(sh, cmd, "cellno", &cell);
	if (given <= 0)
		return given == 0 && shell_fail(sh, "missing cellno argument");
	if (cell < -1)
		return shell_fail(sh, "cell number must be non-negative integer or -1");
	if (!sized)
		return shell_fail(sh, "missing pagesize argument");
	return print_free_pages(sh, "", cell, &size, 1);
}

bool cmd_allocpages(struct shell *sh, const struct cmd *cmd)
{
	enum { PAGES_ADD = 0, PAGES_SET = 1 };
	struct remote_node_alloc_pages_args args = {.start_cell = -1, .cell_count = 1};
	struct remote_node_alloc_pages_ret ret;
	uint64_t bytes, pages;
	if (!opt_exclusive(sh, cmd, "all", "cellno") || opt_int(sh, cmd, "cellno", &args.start_cell) < 0 ||
	    opt_scaled(sh, cmd, "pagesize", 1024, UINT32_MAX * UINT64_C(1024), &bytes) < 0 ||
	    opt_ulong(sh, cmd, "pagecount", &pages) < 0)
		return false;
	uint32_t size = (bytes + 1023) / 1024;
	args.page_sizes.count = args.page_counts.count = 1;
	args.page_sizes.items = &size;
	args.page_counts.items = &pages;
	args.flags = opt_bool(cmd, "add") ? PAGES_ADD : PAGES_SET;
	if (!opt_bool(cmd, "all"))
		return call_node_alloc_pages(sh->client, &args, &ret, shell_error(sh));
	g_autoptr(GArray) cells = host_numbers(sh, CELLS, "id");
	for (unsigned i = 0; cells && i < cells->len; i++) {
		args.start_cell = g_array_index(cells, int64_t, i);
		if (!call_node_alloc_pages(sh->client, &args, &ret, shell_error(sh)))
			return false;
	}
	return cells != NULL;
}

bool cmd_node_memory_tune(struct shell *sh, const struct cmd *cmd)
{
	static const char *const options[][2] = {
		{"shm-pages-to-scan", "shm_pages_to_scan"},
		{"shm-sleep-millisecs", "shm_sleep_millisecs"},
		{"shm-merge-across-nodes", "shm_merge_across_nodes"},
	};
	struct remote_node_get_memory_parameters_ret ret;
	struct params params = params_new();
	bool good = true;
	for (unsigned i = 0; good && i < G_N_ELEMENTS(options); i++) {
		uint32_t value;
		int given = opt_uint(sh, cmd, options[i][0], &value);
		good = given >= 0;
		if (given > 0)
			params_uint(&params, options[i][1], value);
	}
	if (good && params.array->len) {
		good = CALL(sh, node_set_memory_parameters, PARAMS(params), 0) ||
		       shell_fail(sh, "Unable to change memory parameters");
	} else if (good) {
		good = GET(sh, node_get_memory_parameters, &ret, 0, 0) ||
		       shell_fail(sh, "Unable to get number of memory parameters");
		if (good && ret.nparams)
			good = GET(sh, node_get_memory_parameters, &ret, ret.nparams, 0) ||
			       shell_fail(sh, "Unable to get memory parameters");
		if (good && ret.params.count)
			shell_print("Shared memory:\n");
		for (uint32_t i = 0; good && i < ret.params.count; i++) {
			g_autofree char *text = param_text(&ret.params.items[i]);
			shell_print("\t%-15s %s\n", ret.params.items[i].name, text);
		}
	}
	params_clear(&params);
	return good;
}

bool cmd_nodesevinfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_node_get_sev_info_ret ret;
	if (!GET(sh, node_get_sev_info, &ret, 0, 0) || !GET(sh, node_get_sev_info, &ret, ret.nparams, 0))
		return shell_fail(sh, "Unable to get host SEV information");
	for (uint32_t i = 0; i < ret.params.count; i++) {
		g_autofree char *text = param_text(&ret.params.items[i]);
		shell_print("%-18s: %s\n", ret.params.items[i].name, text);
	}
	return true;
}

bool cmd_nodesuspend(struct shell *sh, const struct cmd *cmd)
{
	static const char *const targets[] = {"mem", "disk", "hybrid"};
	const char *name;
	int64_t duration;
	unsigned target = 0;
	if (!opt_string(sh, cmd, "target", &name) || opt_long(sh, cmd, "duration", &duration) < 0)
		return false;
	while (target < G_N_ELEMENTS(targets) && strcmp(targets[target], name))
		target++;
	if (target == G_N_ELEMENTS(targets))
		return shell_fail(sh, "Invalid target");
	if (duration < 0)
		return shell_fail(sh, "Invalid duration");
	return CALL(sh, node_suspend_for_duration, target, duration, 0) ||
	       shell_fail(sh, "The host was not suspended");
}
