/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual CPUs: how many, where, and how busy. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { AFFECT_LIVE = 1, AFFECT_CONFIG = 2, VCPU_MAXIMUM = 4, VCPU_GUEST = 8, VCPU_HOTPLUGGABLE = 16,
       XML_INACTIVE = 2, STATE_SHUTOFF = 5 };
enum { COUNT_NONE = -1, COUNT_FAILED = -2 };

/* --- How many --------------------------------------------------------------------------------- */

static bool is_persistent(struct shell *sh, struct remote_domain dom)
{
	struct remote_domain_is_persistent_ret ret;
	bool good = GET(sh, domain_is_persistent, &ret, dom);
	shell_forget_error(sh);
	return good && ret.persistent;
}

/* COUNT_NONE: there is no such state; COUNT_FAILED: after an error. */
static int count_vcpus(struct shell *sh, struct remote_domain dom, uint32_t flags, bool check)
{
	struct remote_domain_get_vcpus_flags_ret ret;
	if (check && ((flags & AFFECT_LIVE && !domain_is_active(sh, dom)) ||
		      (flags & AFFECT_CONFIG && !is_persistent(sh, dom))))
		return COUNT_NONE;
	return GET(sh, domain_get_vcpus_flags, &ret, dom, flags) ? ret.count : COUNT_FAILED;
}

static bool count_all(struct shell *sh, struct remote_domain dom)
{
	static const struct {
		uint32_t flags;
		const char *which, *state;
	} rows[] = {
		{AFFECT_CONFIG | VCPU_MAXIMUM, "maximum", "config"},
		{AFFECT_LIVE | VCPU_MAXIMUM, "maximum", "live"},
		{AFFECT_CONFIG, "current", "config"},
		{AFFECT_LIVE, "current", "live"},
	};
	int counts[G_N_ELEMENTS(rows)];
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		counts[i] = count_vcpus(sh, dom, rows[i].flags, true);
		if (counts[i] == COUNT_FAILED)
			return false;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (counts[i] >= 0)
			shell_print("%-12s %-12s %3d\n", rows[i].which, rows[i].state, counts[i]);
	}
	return true;
}

bool cmd_vcpucount(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {
		{"live", AFFECT_LIVE}, {"config", AFFECT_CONFIG}, {"maximum", VCPU_MAXIMUM},
		{"guest", VCPU_GUEST}, {NULL}};
	struct remote_domain dom;
	bool maximum = opt_bool(cmd, "maximum"), active = opt_bool(cmd, "active");
	bool current = opt_bool(cmd, "current"), config = opt_bool(cmd, "config");
	bool live = opt_bool(cmd, "live"), guest = opt_bool(cmd, "guest");
	bool all = !(maximum || active || config || live || guest || current);
	/* --current alone once meant --active. */
	if (!maximum && !active && current)
		current = false;
	if (!opt_exclusive(sh, cmd, "live", "config") ||
	    (current && !opt_exclusive(sh, cmd, "current", "live")) ||
	    (current && !opt_exclusive(sh, cmd, "current", "config")) ||
	    !opt_exclusive(sh, cmd, "active", "maximum") || !opt_exclusive(sh, cmd, "guest", "config") ||
	    !shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (all)
		return count_all(sh, dom);
	int count = count_vcpus(sh, dom, opt_flags(cmd, table), false);
	if (count >= 0)
		shell_print("%d\n", count);
	return count >= 0;
}

bool cmd_setvcpus(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {
		{"guest", VCPU_GUEST}, {"maximum", VCPU_MAXIMUM}, {"hotpluggable", VCPU_HOTPLUGGABLE}, {NULL}};
	struct remote_domain dom;
	uint32_t flags = 0, count = 0;
	if (!opt_affect(sh, cmd, &flags, NULL) || !opt_exclusive(sh, cmd, "guest", "config") ||
	    !opt_require(sh, cmd, "maximum", "config") || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	flags |= opt_flags(cmd, table);
	if (opt_uint(sh, cmd, "count", &count) < 0)
		return false;
	if (!count)
		return shell_fail(sh, "Can't set 0 processors for a VM");
	return flags || opt_bool(cmd, "current") ? CALL(sh, domain_set_vcpus_flags, dom, count, flags) :
						   CALL(sh, domain_set_vcpus, dom, count);
}

bool cmd_setvcpu(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *list;
	uint32_t flags = 0;
	bool on = opt_bool(cmd, "enable");
	if (!opt_exclusive(sh, cmd, "enable", "disable") || !opt_affect(sh, cmd, &flags, NULL))
		return false;
	if (!on && !opt_bool(cmd, "disable"))
		return shell_fail(sh, "one of --enable, --disable is required");
	return opt_string(sh, cmd, "vcpulist", &list) && shell_domain(sh, cmd, NULL, &dom) &&
	       CALL(sh, domain_set_vcpu, dom, (char *)list, on, flags);
}

bool cmd_guestvcpus(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_guest_vcpus_ret ret;
	const char *list;
	bool on = opt_bool(cmd, "enable");
	if (!opt_exclusive(sh, cmd, "enable", "disable") || !opt_require(sh, cmd, "enable", "cpulist") ||
	    !opt_require(sh, cmd, "disable", "cpulist") || !opt_string(sh, cmd, "cpulist", &list))
		return false;
	if (list && !on && !opt_bool(cmd, "disable"))
		return shell_fail(sh, "One of options --enable or --disable is required by option --cpulist");
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (list)
		return CALL(sh, domain_set_guest_vcpus, dom, (char *)list, on, 0);
	if (!GET(sh, domain_get_guest_vcpus, &ret, dom, 0))
		return false;
	print_params(&(struct param_list){ret.params.count, ret.params.items});
	return true;
}

/* --- Where ------------------------------------------------------------------------------------ */

static void print_affinity(const uint8_t *map, uint32_t size, int cpus, bool pretty)
{
	shell_print("%-15s ", "CPU Affinity:");
	g_autofree char *text = cpumap_text(map, size);
	if (pretty)
		shell_print("%s (out of %d)", text, cpus);
	for (int i = 0; !pretty && i < cpus; i++)
		shell_print("%c", cpumap_has(map, size, i) ? 'y' : '-');
	shell_print("\n");
}

/* The virtual CPUs that the definition switches on. */
static bool is_enabled(xmlDoc *doc, int vcpu, int current)
{
	g_autoptr(GPtrArray) listed = xpath_nodes(doc, NULL, "/domain/vcpus/vcpu");
	if (!listed->len)
		return vcpu < current;
	g_autofree char *path = g_strdup_printf("/domain/vcpus/vcpu[@id='%d']/@enabled", vcpu);
	g_autofree char *enabled = xpath_text(doc, NULL, path);
	return g_strcmp0(enabled, "yes") == 0;
}

static bool vcpuinfo_inactive(struct shell *sh, struct remote_domain dom, int cpus, bool pretty)
{
	struct remote_domain_get_vcpu_pin_info_ret pins;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, XML_INACTIVE);
	if (!doc)
		return false;
	g_autofree char *maximum = xpath_text(doc, NULL, "/domain/vcpu");
	g_autofree char *given = xpath_text(doc, NULL, "/domain/vcpu/@current");
	if (!maximum)
		return shell_fail(sh, "Failed to retrieve maximum vcpu count");
	int count = atoi(maximum), current = given ? atoi(given) : count;
	uint32_t size = (cpus + 7) / 8;
	if (!GET(sh, domain_get_vcpu_pin_info, &pins, dom, count, size, AFFECT_CONFIG))
		return false;
	bool first = true;
	for (int i = 0; i < count && (i + 1) * size <= pins.cpumaps.count; i++) {
		if (!is_enabled(doc, i, current))
			continue;
		shell_print("%s%-15s %d\n%-15s %s\n%-15s %s\n%-15s %s\n", first ? "" : "\n", "VCPU:", i, "CPU:",
			    "N/A", "State:", "N/A", "CPU time", "N/A");
		print_affinity(pins.cpumaps.items + i * size, size, cpus, pretty);
		first = false;
	}
	return true;
}

bool cmd_vcpuinfo(struct shell *sh, const struct cmd *cmd)
{
	static const char *const states[] = {"offline", "running", "blocked"};
	struct remote_domain dom;
	struct remote_domain_get_info_ret info;
	struct remote_domain_get_vcpus_ret ret;
	bool pretty = opt_bool(cmd, "pretty");
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	int cpus = host_cpu_count(sh);
	if (cpus < 0 || !GET(sh, domain_get_info, &info, dom))
		return false;
	uint32_t size = (cpus + 7) / 8;
	if (!GET(sh, domain_get_vcpus, &ret, dom, info.vcpus, size)) {
		if (info.state != STATE_SHUTOFF)
			return false;
		shell_forget_error(sh);
		return vcpuinfo_inactive(sh, dom, cpus, pretty);
	}
	for (uint32_t i = 0; i < ret.info.count; i++) {
		const struct remote_vcpu_info *vcpu = &ret.info.items[i];
		bool known = vcpu->state >= 0 && (size_t)vcpu->state < G_N_ELEMENTS(states);
		shell_print("%-15s %u\n%-15s %d\n%-15s %s\n", "VCPU:", vcpu->number, "CPU:", vcpu->cpu,
			    "State:", known ? states[vcpu->state] : "no state");
		if (vcpu->cpu_time)
			shell_print("%-15s %.1lfs\n", "CPU time:", vcpu->cpu_time / 1e9);
		if ((i + 1) * size <= ret.cpumaps.count)
			print_affinity(ret.cpumaps.items + i * size, size, cpus, pretty);
		if (i + 1 < ret.info.count)
			shell_print("\n");
	}
	return true;
}

/* A list of CPUs as bytes; NULL after an error. g_free() it. */
static uint8_t *opt_cpus(struct shell *sh, const char *text, int cpus, uint32_t *size)
{
	enum { MOST = 1024 };
	uint32_t full;
	g_autofree uint8_t *map = cpumap_parse(text[0] == 'r' ? "r" : text,
					       text[0] == 'r' ? (unsigned)cpus : MOST, &full);
	int last = -1;
	for (int i = 0; map && i < MOST && i / 8 < (int)full; i++) {
		if (cpumap_has(map, full, i))
			last = i;
	}
	if (last < 0)
		shell_fail(sh, "Invalid cpulist '%s'", text);
	else if (last >= cpus)
		shell_fail(sh, "CPU %d in cpulist '%s' exceed the maxcpu %d", last, text, cpus);
	else {
		*size = last / 8 + 1;
		return g_steal_pointer(&map);
	}
	return NULL;
}

static bool show_pins(struct shell *sh, struct remote_domain dom, uint32_t flags, int64_t wanted, int cpus)
{
	struct remote_domain_get_vcpu_pin_info_ret ret;
	int count = count_vcpus(sh, dom, flags | VCPU_MAXIMUM, true);
	if (count == COUNT_NONE)
		return shell_fail(sh, flags & AFFECT_LIVE ? "cannot get vcpupin for offline domain" :
							    "cannot get vcpupin for transient domain");
	if (count < 0)
		return false;
	if (wanted >= count) {
		bool live = flags & AFFECT_LIVE || (!(flags & AFFECT_CONFIG) && domain_is_active(sh, dom));
		return shell_fail(sh, live ? "vcpu %d is out of range of live cpu count %d" :
					     "vcpu %d is out of range of persistent cpu count %d",
				  (int)wanted, count);
	}
	uint32_t size = (cpus + 7) / 8;
	if (!GET(sh, domain_get_vcpu_pin_info, &ret, dom, count, size, flags))
		return false;
	struct table *table = table_new("VCPU", "CPU Affinity", NULL);
	for (int i = 0; i < ret.num && (i + 1) * size <= ret.cpumaps.count; i++) {
		g_autofree char *number = g_strdup_printf("%d", i);
		g_autofree char *text = cpumap_text(ret.cpumaps.items + i * size, size);
		if (wanted < 0 || i == wanted)
			table_row(table, number, text, NULL);
	}
	table_print(sh, table);
	return true;
}

bool cmd_vcpupin(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *list;
	uint32_t flags = 0, vcpu = 0, size;
	if (!opt_affect(sh, cmd, &flags, NULL) || !opt_string(sh, cmd, "cpulist", &list) ||
	    (!list && !opt_exclusive(sh, cmd, "live", "config")))
		return false;
	int given = opt_uint(sh, cmd, "vcpu", &vcpu);
	if (given < 0)
		return false;
	if (list && !given)
		return shell_fail(sh, "vcpupin: Missing vCPU number in pin mode.");
	int cpus = host_cpu_count(sh);
	if (cpus < 0 || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!list)
		return show_pins(sh, dom, flags, given ? (int64_t)vcpu : -1, cpus);
	g_autofree uint8_t *map = opt_cpus(sh, list, cpus, &size);
	if (!map)
		return false;
	return flags || opt_bool(cmd, "current") ? CALL(sh, domain_pin_vcpu_flags, dom, vcpu, {size, map}, flags) :
						   CALL(sh, domain_pin_vcpu, dom, vcpu, {size, map});
}

bool cmd_emulatorpin(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_emulator_pin_info_ret ret;
	const char *list;
	uint32_t flags = 0, size;
	bool any;
	if (!opt_affect(sh, cmd, &flags, &any) || !shell_domain(sh, cmd, NULL, &dom) ||
	    !opt_string(sh, cmd, "cpulist", &list))
		return false;
	int cpus = host_cpu_count(sh);
	if (cpus < 0)
		return false;
	if (list) {
		g_autofree uint8_t *map = opt_cpus(sh, list, cpus, &size);
		return map && CALL(sh, domain_pin_emulator, dom, {size, map}, any ? flags : AFFECT_LIVE);
	}
	if (!GET(sh, domain_get_emulator_pin_info, &ret, dom, (cpus + 7) / 8, flags))
		return false;
	g_autofree char *text = cpumap_text(ret.cpumaps.items, ret.cpumaps.count);
	shell_extra(sh, "%s %s\n----------------------------------\n       *: ", "emulator:", "CPU Affinity");
	shell_print("%s\n", text);
	return true;
}

/* --- I/O threads ------------------------------------------------------------------------------ */

bool cmd_iothreadinfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_iothread_info_ret ret;
	uint32_t flags = 0;
	if (!opt_affect(sh, cmd, &flags, NULL) || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!GET(sh, domain_get_iothread_info, &ret, dom, flags))
		return shell_fail(sh, "Unable to get domain IOThreads information");
	if (!ret.info.count) {
		shell_extra(sh, "No IOThreads found for the domain");
		return true;
	}
	struct table *table = table_new("IOThread ID", "CPU Affinity", NULL);
	for (uint32_t i = 0; i < ret.info.count; i++) {
		g_autofree char *id = g_strdup_printf("%u", ret.info.items[i].iothread_id);
		g_autofree char *text = cpumap_text(ret.info.items[i].cpumap.items,
						    ret.info.items[i].cpumap.count);
		table_row(table, id, text, NULL);
	}
	table_print(sh, table);
	return true;
}

bool cmd_iothreadpin(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *list;
	uint32_t flags = 0, id = 0, size;
	if (!opt_affect(sh, cmd, &flags, NULL) || !shell_domain(sh, cmd, NULL, &dom) ||
	    opt_uint(sh, cmd, "iothread", &id) < 0 || !opt_string(sh, cmd, "cpulist", &list))
		return false;
	int cpus = host_cpu_count(sh);
	g_autofree uint8_t *map = cpus < 0 ? NULL : opt_cpus(sh, list, cpus, &size);
	return map && CALL(sh, domain_pin_iothread, dom, id, {size, map}, flags);
}

static bool iothread_id(struct shell *sh, const struct cmd *cmd, struct remote_domain *dom, uint32_t *flags,
			int32_t *id)
{
	*flags = 0;
	*id = 0;
	if (!opt_affect(sh, cmd, flags, NULL) || !shell_domain(sh, cmd, NULL, dom) ||
	    opt_int(sh, cmd, "id", id) < 0)
		return false;
	return *id > 0 || shell_fail(sh, "Invalid IOThread id value: '%d'", *id);
}

bool cmd_iothreadadd(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	uint32_t flags;
	int32_t id;
	return iothread_id(sh, cmd, &dom, &flags, &id) && CALL(sh, domain_add_iothread, dom, id, flags);
}

bool cmd_iothreaddel(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	uint32_t flags;
	int32_t id;
	return iothread_id(sh, cmd, &dom, &flags, &id) && CALL(sh, domain_del_iothread, dom, id, flags);
}

static bool iothread_params(struct shell *sh, const struct cmd *cmd, struct params *params)
{
	static const char *const unsigneds[][2] = {{"poll-grow", "poll_grow"}, {"poll-shrink", "poll_shrink"}};
	static const char *const ints[][2] = {{"thread-pool-min", "thread_pool_min"},
					      {"thread-pool-max", "thread_pool_max"}};
	uint64_t nanoseconds;
	int given = opt_ulong(sh, cmd, "poll-max-ns", &nanoseconds);
	if (given > 0)
		params_ulong(params, "poll_max_ns", nanoseconds);
	for (unsigned i = 0; given >= 0 && i < G_N_ELEMENTS(unsigneds); i++) {
		uint32_t value;
		given = opt_uint(sh, cmd, unsigneds[i][0], &value);
		if (given > 0)
			params_uint(params, unsigneds[i][1], value);
	}
	for (unsigned i = 0; given >= 0 && i < G_N_ELEMENTS(ints); i++) {
		int32_t value;
		given = opt_int(sh, cmd, ints[i][0], &value);
		if (given > 0)
			params_int(params, ints[i][1], value);
	}
	return given >= 0 && (params->array->len || shell_fail(sh, "Not enough arguments passed, nothing to set"));
}

bool cmd_iothreadset(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	uint32_t flags;
	int32_t id;
	if (!iothread_id(sh, cmd, &dom, &flags, &id))
		return false;
	struct params params = params_new();
	bool good = iothread_params(sh, cmd, &params) &&
		    CALL(sh, domain_set_iothread_params, dom, id, PARAMS(params), flags);
	params_clear(&params);
	return good;
}

/* --- How busy --------------------------------------------------------------------------------- */

static void print_stat(const struct xdr_param *param)
{
	static const char *const times[] = {"cpu_time", "vcpu_time", "user_time", "system_time", NULL};
	g_autofree char *text = param_text(param);
	if (param->type == XDR_PARAM_ULLONG && g_strv_contains(times, param->name))
		shell_print("\t%-12s %9" PRIu64 ".%09" PRIu64 " seconds\n", param->name,
			    param->ul / 1000000000, param->ul % 1000000000);
	else
		shell_print("\t%-12s %s\n", param->name, text);
}

static bool print_each(struct shell *sh, struct remote_domain dom, int first, int count)
{
	enum { AT_ONCE = 128 };
	struct remote_domain_get_cpu_stats_ret ret;
	if (!GET(sh, domain_get_cpu_stats, &ret, dom, 0, 0, 0, 0))
		return false;
	int cpus = ret.nparams;
	if (first >= cpus)
		return shell_fail(sh, "Start CPU %d is out of range (min: 0, max: %d)", first, cpus - 1);
	if (count > cpus)
		shell_print("Only %d CPUs available to show\n", cpus);
	if (count < 0 || count > cpus)
		count = cpus - first;
	if (!GET(sh, domain_get_cpu_stats, &ret, dom, 0, 0, 1, 0))
		return false;
	int fields = ret.nparams;
	if (!fields) {
		shell_print("No per-CPU stats available");
		return true;
	}
	for (int now; count > 0; first += now, count -= now) {
		now = MIN(count, AT_ONCE);
		if (!GET(sh, domain_get_cpu_stats, &ret, dom, fields, first, now, typed_flags(sh, 0)))
			return false;
		for (uint32_t i = 0; i < ret.params.count; i++) {
			if (i % fields == 0)
				shell_print("CPU%d:\n", first + (int)i / fields);
			print_stat(&ret.params.items[i]);
		}
	}
	return true;
}

static bool print_total(struct shell *sh, struct remote_domain dom)
{
	struct remote_domain_get_cpu_stats_ret ret;
	if (!GET(sh, domain_get_cpu_stats, &ret, dom, 0, -1, 1, 0))
		return false;
	if (!ret.nparams) {
		shell_print("No total stats available");
		return true;
	}
	if (!GET(sh, domain_get_cpu_stats, &ret, dom, ret.nparams, -1, 1, typed_flags(sh, 0)))
		return false;
	shell_print("Total:\n");
	for (uint32_t i = 0; i < ret.params.count; i++)
		print_stat(&ret.params.items[i]);
	return true;
}

bool cmd_cpu_stats(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	int32_t first = 0, count = -1;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	int has_first = opt_int(sh, cmd, "start", &first), has_count = opt_int(sh, cmd, "count", &count);
	if (has_first < 0 || has_count < 0)
		return false;
	if (has_first && first < 0)
		return shell_fail(sh, "Invalid value for start CPU");
	if (has_count && count < 0)
		return shell_fail(sh, "Invalid value for number of CPUs to show");
	bool total = opt_bool(cmd, "total"), each = has_first || has_count;
	if (!total && !each)
		total = each = true;
	if ((!each || print_each(sh, dom, first, count)) && (!total || print_total(sh, dom)))
		return true;
	return shell_fail(sh, "Failed to retrieve CPU statistics for domain '%s'", dom.name);
}
