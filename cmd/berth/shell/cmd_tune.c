/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits and weights of domains: typed parameters, shown or set. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* libvirt's "no limit", in KiB. */
#define MEMORY_UNLIMITED UINT64_C(9007199254740991)

/* The end of every such command that sets: send, or say that it failed. */
static bool show(struct shell *sh, enum fetch_step step, const char *count_text, const char *data_text,
		 const struct param_list *list)
{
	if (step == FETCH_COUNT)
		return shell_fail(sh, "%s", count_text);
	if (step == FETCH_DATA)
		return shell_fail(sh, "%s", data_text);
	print_params(list);
	return true;
}

static bool begin(struct shell *sh, const struct cmd *cmd, struct remote_domain *dom, uint32_t *flags)
{
	*flags = 0;
	return opt_affect(sh, cmd, flags, NULL) && shell_domain(sh, cmd, NULL, dom);
}

/* --- Disks ------------------------------------------------------------------------------------ */

static const char *const disk_sizes[] = {"total-bytes-sec", "read-bytes-sec", "write-bytes-sec",
					 "total-bytes-sec-max", "read-bytes-sec-max", "write-bytes-sec-max"};
static const char *const disk_numbers[] = {
	"total-iops-sec", "read-iops-sec", "write-iops-sec", "total-iops-sec-max", "read-iops-sec-max",
	"write-iops-sec-max", "size-iops-sec", "total-bytes-sec-max-length", "read-bytes-sec-max-length",
	"write-bytes-sec-max-length", "total-iops-sec-max-length", "read-iops-sec-max-length",
	"write-iops-sec-max-length"};

/* The parameter has the option's name with underscores. */
static char *parameter_name(const char *option)
{
	return g_strdelimit(g_strdup(option), "-", '_');
}

static bool disk_params(struct shell *sh, const struct cmd *cmd, struct params *params)
{
	uint64_t value;
	for (unsigned i = 0; i < G_N_ELEMENTS(disk_sizes) + G_N_ELEMENTS(disk_numbers); i++) {
		bool size = i < G_N_ELEMENTS(disk_sizes);
		const char *option = size ? disk_sizes[i] : disk_numbers[i - G_N_ELEMENTS(disk_sizes)];
		int given = size ? opt_scaled(sh, cmd, option, 1, UINT64_MAX, &value) :
				   opt_ulong(sh, cmd, option, &value);
		if (given < 0)
			return shell_fail(sh, "Unable to parse integer parameter");
		g_autofree char *name = parameter_name(option);
		if (given)
			params_ulong(params, name, value);
	}
	const char *group;
	if (!opt_string(sh, cmd, "group-name", &group))
		return shell_fail(sh, "Unable to parse group-name parameter");
	params_string(params, "group_name", group);
	return true;
}

bool cmd_blkdeviotune(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct param_list list = {0};
	const char *disk;
	uint32_t flags;
	if (!begin(sh, cmd, &dom, &flags) || !opt_string(sh, cmd, "device", &disk))
		return false;
	struct params params = params_new();
	bool good = disk_params(sh, cmd, &params);
	if (good && params.array->len)
		good = CALL(sh, domain_set_block_io_tune, dom, (char *)disk, PARAMS(params), flags) ||
		       shell_fail(sh, "Unable to change block I/O throttle");
	else if (good)
		good = show(sh, FETCH_PARAMS(sh, domain_get_block_io_tune, &list, .dom = dom,
					     .disk = (char *)disk, .flags = typed_flags(sh, flags)),
			    "Unable to get number of block I/O throttle parameters",
			    "Unable to get block I/O throttle parameters", &list);
	params_clear(&params);
	return good;
}

static bool weight_params(struct shell *sh, const struct cmd *cmd, struct params *params)
{
	static const char *const texts[][2] = {
		{"device-weights", "device_weight"},
		{"device-read-iops-sec", "device_read_iops_sec"},
		{"device-write-iops-sec", "device_write_iops_sec"},
		{"device-read-bytes-sec", "device_read_bytes_sec"},
		{"device-write-bytes-sec", "device_write_bytes_sec"},
	};
	int32_t weight;
	int given = opt_int(sh, cmd, "weight", &weight);
	if (given < 0)
		return false;
	if (given && weight <= 0)
		return shell_fail(sh, "Invalid value of %d for I/O weight", weight);
	if (given)
		params_uint(params, "weight", weight);
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		const char *text = opt_text(cmd, texts[i][0]);
		if (text && !*text)
			return shell_fail(sh, "Unable to parse string parameter");
		params_string(params, texts[i][1], text);
	}
	return true;
}

bool cmd_blkiotune(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct param_list list = {0};
	uint32_t flags;
	if (!begin(sh, cmd, &dom, &flags))
		return false;
	struct params params = params_new();
	bool good = weight_params(sh, cmd, &params);
	if (good && params.array->len)
		good = CALL(sh, domain_set_blkio_parameters, dom, PARAMS(params), flags) ||
		       shell_fail(sh, "Unable to change blkio parameters");
	else if (good)
		good = show(sh, FETCH_PARAMS(sh, domain_get_blkio_parameters, &list, .dom = dom,
					     .flags = typed_flags(sh, flags)),
			    "Unable to get number of blkio parameters", "Unable to get blkio parameters",
			    &list);
	params_clear(&params);
	return good;
}

/* --- Memory ----------------------------------------------------------------------------------- */

static bool set_memory(struct shell *sh, const struct cmd *cmd, uint32_t extra, bool *called)
{
	struct remote_domain dom;
	uint32_t flags;
	uint64_t bytes;
	*called = false;
	if (!begin(sh, cmd, &dom, &flags) || opt_scaled(sh, cmd, "size", 1024, UINT64_MAX, &bytes) < 0)
		return false;
	*called = true;
	return CALL(sh, domain_set_memory_flags, dom, bytes / 1024 + (bytes % 1024 != 0), flags | extra);
}

bool cmd_setmem(struct shell *sh, const struct cmd *cmd)
{
	bool called;
	return set_memory(sh, cmd, 0, &called);
}

bool cmd_setmaxmem(struct shell *sh, const struct cmd *cmd)
{
	enum { MEMORY_MAXIMUM = 4 };
	bool called;
	if (set_memory(sh, cmd, MEMORY_MAXIMUM, &called))
		return true;
	return called ? shell_fail(sh, "Unable to change MaxMemorySize") : false;
}

/* A negative number means no limit. */
static bool limit_value(const char *text, uint64_t *value)
{
	int64_t number;
	if (parse_int64(text, &number) && number < 0) {
		*value = MEMORY_UNLIMITED;
		return true;
	}
	if (!scale_number(text, 1024, INT64_MAX, value))
		return false;
	*value = *value / 1024 + (*value % 1024 != 0);
	return true;
}

static void print_limits(const struct param_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		const struct xdr_param *param = &list->items[i];
		bool none = param->type == XDR_PARAM_ULLONG && param->ul == MEMORY_UNLIMITED;
		g_autofree char *text = none ? g_strdup("unlimited") : param_text(param);
		shell_print("%-15s: %s\n", param->name, text);
	}
}

bool cmd_memtune(struct shell *sh, const struct cmd *cmd)
{
	static const char *const options[][2] = {
		{"hard-limit", "hard_limit"}, {"soft-limit", "soft_limit"},
		{"swap-hard-limit", "swap_hard_limit"}, {"min-guarantee", "min_guarantee"}};
	struct remote_domain dom;
	struct param_list list = {0};
	uint32_t flags;
	if (!begin(sh, cmd, &dom, &flags))
		return false;
	struct params params = params_new();
	bool good = true;
	for (unsigned i = 0; good && i < G_N_ELEMENTS(options); i++) {
		const char *text = opt_text(cmd, options[i][0]);
		uint64_t value;
		good = !text || limit_value(text, &value) ||
		       shell_fail(sh, "Unable to parse integer parameter %s", options[i][0]);
		if (text && good)
			params_ulong(&params, options[i][1], value);
	}
	if (good && params.array->len) {
		good = CALL(sh, domain_set_memory_parameters, dom, PARAMS(params), flags) ||
		       shell_fail(sh, "Unable to change memory parameters");
	} else if (good) {
		enum fetch_step step = FETCH_PARAMS(sh, domain_get_memory_parameters, &list, .dom = dom,
						    .flags = typed_flags(sh, flags));
		good = step == FETCH_DONE ||
		       shell_fail(sh, step == FETCH_COUNT ? "Unable to get number of memory parameters" :
							    "Unable to get memory parameters");
		if (good)
			print_limits(&list);
	}
	params_clear(&params);
	return good;
}

/* --- NUMA and events -------------------------------------------------------------------------- */

static const char *const numa_modes[] = {"strict", "preferred", "interleave", "restrictive"};

static bool numa_params(struct shell *sh, const struct cmd *cmd, struct params *params)
{
	const char *nodes, *mode;
	if (!opt_string(sh, cmd, "nodeset", &nodes) || !opt_string(sh, cmd, "mode", &mode))
		return false;
	params_string(params, "numa_nodeset", nodes);
	if (!mode)
		return true;
	unsigned number = 0;
	uint64_t value;
	while (number < G_N_ELEMENTS(numa_modes) && strcmp(numa_modes[number], mode))
		number++;
	if (number == G_N_ELEMENTS(numa_modes)) {
		if (!parse_uint64(mode, &value) || value > INT32_MAX)
			return shell_fail(sh, "Invalid mode: %s", mode);
		number = value;
	}
	params_int(params, "numa_mode", number);
	return true;
}

static void print_numa(const struct param_list *list)
{
	for (uint32_t i = 0; i < list->count; i++) {
		const struct xdr_param *param = &list->items[i];
		bool mode = param->type == XDR_PARAM_INT && !strcmp(param->name, "numa_mode") &&
			    param->i >= 0 && (size_t)param->i < G_N_ELEMENTS(numa_modes);
		g_autofree char *text = mode ? g_strdup(numa_modes[param->i]) : param_text(param);
		shell_print("%-15s: %s\n", param->name, text);
	}
}

bool cmd_numatune(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct param_list list = {0};
	uint32_t flags;
	if (!begin(sh, cmd, &dom, &flags))
		return false;
	struct params params = params_new();
	bool good = numa_params(sh, cmd, &params);
	if (good && params.array->len) {
		good = CALL(sh, domain_set_numa_parameters, dom, PARAMS(params), flags) ||
		       shell_fail(sh, "Unable to change numa parameters");
	} else if (good) {
		enum fetch_step step = FETCH_PARAMS(sh, domain_get_numa_parameters, &list, .dom = dom,
						    .flags = typed_flags(sh, flags));
		good = step == FETCH_DONE ||
		       shell_fail(sh, step == FETCH_COUNT ? "Unable to get number of memory parameters" :
							    "Unable to get numa parameters");
		if (good)
			print_numa(&list);
	}
	params_clear(&params);
	return good;
}

static void add_events(struct params *params, const char *text, bool on)
{
	g_auto(GStrv) names = g_strsplit(text ? text : "", ",", 0);
	for (char **name = names; *name; name++) {
		if (!**name)
			continue;
		params_int(params, *name, on);
		g_array_index(params->array, struct xdr_param, params->array->len - 1).type = XDR_PARAM_BOOL;
	}
}

static void print_events(const struct shell *sh, const struct xdr_param *params, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		shell_extra(sh, "%-15s: %s\n", params[i].name,
			    params[i].type == XDR_PARAM_BOOL && params[i].i ? "enabled" : "disabled");
}

bool cmd_perf(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_perf_events_ret ret;
	const char *enable, *disable;
	uint32_t flags = 0;
	if (!opt_affect(sh, cmd, &flags, NULL) || !opt_string(sh, cmd, "enable", &enable) ||
	    !opt_string(sh, cmd, "disable", &disable) || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	struct params params = params_new();
	add_events(&params, enable, true);
	add_events(&params, disable, false);
	bool good;
	if (params.array->len) {
		good = CALL(sh, domain_set_perf_events, dom, PARAMS(params), flags) ||
		       shell_fail(sh, "Unable to enable/disable perf events");
		if (good)
			print_events(sh, (struct xdr_param *)params.array->data, params.array->len);
	} else {
		good = GET(sh, domain_get_perf_events, &ret, dom, typed_flags(sh, flags)) ||
		       shell_fail(sh, "Unable to get perf events");
		if (good)
			print_events(sh, ret.params.items, ret.params.count);
	}
	params_clear(&params);
	return good;
}

/* --- Scheduler -------------------------------------------------------------------------------- */

/* Set one of the parameters that the daemon knows, in its type. */
static bool update_one(struct shell *sh, const struct param_list *known, struct params *params,
		       const char *name, const char *text)
{
	const struct xdr_param *param = param_find(known->items, known->count, name);
	int64_t number;
	char *end;
	if (!param)
		return shell_fail(sh, "invalid scheduler option: %s", name);
	if (param->type == XDR_PARAM_STRING) {
		params_string(params, name, text);
		return true;
	}
	if (param->type == XDR_PARAM_DOUBLE) {
		double value = strtod(text, &end);
		params_ulong(params, name, 0);
		struct xdr_param *last = &g_array_index(params->array, struct xdr_param,
							params->array->len - 1);
		last->type = XDR_PARAM_DOUBLE;
		last->d = value;
		return !*end || shell_set_error(sh, CLIENT_INVALID_ARG, "Invalid value for field '%s': expected "
						"double", name);
	}
	uint64_t value;
	bool is_signed = param->type == XDR_PARAM_INT || param->type == XDR_PARAM_LLONG;
	bool good = is_signed ? parse_int64(text, &number) : parse_uint64(text, &value);
	if (!good) {
		static const char *const types[] = {"", "int", "unsigned int", "long long",
						    "unsigned long long", "", "boolean"};
		return shell_set_error(sh, CLIENT_INVALID_ARG,
				       "invalid argument: Invalid value for field '%s': expected %s", name,
				       types[param->type]);
	}
	params_ulong(params, name, is_signed ? (uint64_t)number : value);
	struct xdr_param *last = &g_array_index(params->array, struct xdr_param, params->array->len - 1);
	last->type = param->type;
	return true;
}

static bool updates(struct shell *sh, const struct cmd *cmd, const struct param_list *known,
		    struct params *params)
{
	g_autoptr(GPtrArray) words = opt_rest(cmd);
	for (unsigned i = 0; i < words->len; i++) {
		g_auto(GStrv) pair = g_strsplit(words->pdata[i], "=", 2);
		if (!pair[0] || !pair[1])
			return shell_fail(sh, "Invalid syntax for --set, expecting name=value");
		if (!update_one(sh, known, params, pair[0], pair[1]))
			return false;
	}
	static const char *const old[] = {"cap", "weight"};
	for (unsigned i = 0; i < G_N_ELEMENTS(old); i++) {
		const char *text;
		if (!opt_string(sh, cmd, old[i], &text) ||
		    (text && !update_one(sh, known, params, old[i], text)))
			return false;
	}
	return true;
}

static bool get_schedule(struct shell *sh, struct remote_domain dom, bool flagged, uint32_t flags, int count,
			 struct param_list *list)
{
	struct remote_domain_get_scheduler_parameters_flags_ret with_flags;
	struct remote_domain_get_scheduler_parameters_ret ret;
	bool good = flagged ? GET(sh, domain_get_scheduler_parameters_flags, &with_flags, dom, count,
				  typed_flags(sh, flags)) :
			      GET(sh, domain_get_scheduler_parameters, &ret, dom, count);
	if (good && flagged)
		*list = (struct param_list){with_flags.params.count, with_flags.params.items};
	else if (good)
		*list = (struct param_list){ret.params.count, ret.params.items};
	return good;
}

bool cmd_schedinfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_scheduler_type_ret type;
	struct param_list list = {0};
	uint32_t flags = 0;
	bool flagged;
	if (!opt_affect(sh, cmd, &flags, &flagged) || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	bool both = flags == 3;
	if (!GET(sh, domain_get_scheduler_type, &type, dom)) {
		shell_print("%-15s: %s\n", "Scheduler", "Unknown");
		return false;
	}
	shell_print("%-15s: %s\n", "Scheduler", type.type);
	if (!type.nparams)
		return true;
	uint32_t query = both ? 0 : flags;
	if (!get_schedule(sh, dom, flagged, query, type.nparams, &list))
		return false;
	struct params params = params_new();
	bool good = updates(sh, cmd, &list, &params);
	if (good && params.array->len) {
		good = flagged ? CALL(sh, domain_set_scheduler_parameters_flags, dom, PARAMS(params), flags) :
				 CALL(sh, domain_set_scheduler_parameters, dom, PARAMS(params));
		good = good && get_schedule(sh, dom, flagged, query, type.nparams, &list);
	} else if (good && both) {
		good = shell_fail(sh, "cannot query both live and config at once");
	}
	if (good)
		print_params(&list);
	params_clear(&params);
	return good;
}
