/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs of domains: what they have done, and ending them. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <string.h>

enum { JOB_NONE, JOB_BOUNDED, JOB_UNBOUNDED, JOB_COMPLETED };
enum { STATS_COMPLETED = 1, STATS_KEEP_COMPLETED = 2, ABORT_POSTCOPY = 1 };

bool cmd_domjobabort(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	return opt_bool(cmd, "postcopy") ? CALL(sh, domain_abort_job_flags, dom, ABORT_POSTCOPY) :
					   CALL(sh, domain_abort_job, dom);
}

/* How a parameter is shown. */
enum form { FORM_MS, FORM_SIZE, FORM_RATE, FORM_PAGES, FORM_BYTES, FORM_NUMBER, FORM_WIDE, FORM_TEXT };
struct row {
	const char *name, *title;
	enum form form;
};

static const struct row memory_rows[] = {
	{"memory_processed", "Memory processed:", FORM_SIZE},
	{"memory_remaining", "Memory remaining:", FORM_SIZE},
	{"memory_total", "Memory total:", FORM_SIZE},
};
/* These come only with some memory. */
static const struct row memory_details[] = {
	{"memory_bps", "Memory bandwidth:", FORM_RATE},
	{"memory_dirty_rate", "Dirty rate:", FORM_PAGES},
	{"memory_page_size", "Page size:", FORM_BYTES},
	{"memory_iteration", "Iteration:", FORM_NUMBER},
	{"memory_postcopy_requests", "Postcopy requests:", FORM_NUMBER},
};
static const struct row data_rows[] = {
	{"data_processed", "Data processed:", FORM_SIZE},
	{"data_remaining", "Data remaining:", FORM_SIZE},
	{"data_total", "Data total:", FORM_SIZE},
};
static const struct row file_rows[] = {
	{"disk_processed", "File processed:", FORM_SIZE},
	{"disk_remaining", "File remaining:", FORM_SIZE},
	{"disk_total", "File total:", FORM_SIZE},
};
static const struct row file_details[] = {{"disk_bps", "File bandwidth:", FORM_RATE}};
static const struct row other_rows[] = {
	{"memory_constant", "Constant pages:", FORM_NUMBER},
	{"memory_normal", "Normal pages:", FORM_NUMBER},
	{"memory_normal_bytes", "Normal data:", FORM_SIZE},
	{"downtime", NULL, FORM_MS},
	{"downtime_net", "Downtime w/o network:", FORM_MS},
	{"setup_time", "Setup time:", FORM_MS},
	{"compression_cache", "Compression cache:", FORM_SIZE},
	{"compression_bytes", "Compressed data:", FORM_SIZE},
	{"compression_pages", "Compressed pages:", FORM_WIDE},
	{"compression_cache_misses", "Compression cache misses:", FORM_WIDE},
	{"compression_overflow", "Compression overflows:", FORM_WIDE},
	{"auto_converge_throttle", "Auto converge throttle:", FORM_WIDE},
	{"disk_temp_used", "Temporary disk space use:", FORM_SIZE},
	{"disk_temp_total", "Temporary disk space total:", FORM_SIZE},
	{"errmsg", "Error message:", FORM_TEXT},
};

struct stats {
	int type;
	const struct xdr_param *params;
	uint32_t count;
};

static uint64_t value_of(const struct stats *stats, const char *name)
{
	uint64_t value = 0;
	param_u64(stats->params, stats->count, name, &value);
	return value;
}

static void print_value(const char *title, enum form form, uint64_t value)
{
	const char *unit;
	double scaled = scaled_size(value, &unit);
	switch (form) {
	case FORM_SIZE:
		shell_print("%-17s %-.3lf %s\n", title, scaled, unit);
		break;
	case FORM_RATE:
		shell_print("%-17s %-.3lf %s/s\n", title, scaled, unit);
		break;
	case FORM_MS:
		shell_print("%-17s %-12" PRIu64 " ms\n", title, value);
		break;
	case FORM_PAGES:
		shell_print("%-17s %-12" PRIu64 " pages/s\n", title, value);
		break;
	case FORM_BYTES:
		shell_print("%-17s %-12" PRIu64 " bytes\n", title, value);
		break;
	case FORM_WIDE:
		shell_print("%-17s %-13" PRIu64 "\n", title, value);
		break;
	default:
		shell_print("%-17s %-12" PRIu64 "\n", title, value);
	}
}

static void print_rows(const struct stats *stats, const struct row *rows, unsigned count, bool always)
{
	for (unsigned i = 0; i < count; i++) {
		const char *title = rows[i].title;
		uint64_t value = 0;
		if (!title)
			title = stats->type == JOB_COMPLETED ? "Total downtime:" : "Expected downtime:";
		if (rows[i].form == FORM_TEXT) {
			const char *text = param_string(stats->params, stats->count, rows[i].name);
			if (text)
				shell_print("%-17s %s\n", title, text);
		} else if (param_u64(stats->params, stats->count, rows[i].name, &value) || always) {
			print_value(title, rows[i].form, value);
		}
	}
}

/* The three rows, and their details, if any of the three is not zero. */
static void print_group(const struct stats *stats, const struct row *rows, const struct row *details,
			unsigned detail_count)
{
	bool any = false;
	for (unsigned i = 0; i < 3; i++)
		any |= value_of(stats, rows[i].name) != 0;
	if (!any)
		return;
	print_rows(stats, rows, 3, true);
	print_rows(stats, details, detail_count, false);
}

/* The parameters that old daemons answer as a struct. */
static bool old_stats(struct shell *sh, struct remote_domain dom, struct params *params, struct stats *stats)
{
	struct remote_domain_get_job_info_ret info;
	if (!GET(sh, domain_get_job_info, &info, dom))
		return false;
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {
		{"time_elapsed", info.time_elapsed},	  {"time_remaining", info.time_remaining},
		{"data_total", info.data_total},	  {"data_processed", info.data_processed},
		{"data_remaining", info.data_remaining},  {"memory_total", info.mem_total},
		{"memory_processed", info.mem_processed}, {"memory_remaining", info.mem_remaining},
		{"disk_total", info.file_total},	  {"disk_processed", info.file_processed},
		{"disk_remaining", info.file_remaining},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
		params_ulong(params, fields[i].name, fields[i].value);
	*stats = (struct stats){info.type, (struct xdr_param *)params->array->data, params->array->len};
	return true;
}

static void print_stats(const struct cmd *cmd, const struct stats *stats, uint32_t flags)
{
	static const char *const types[] = {"None", "Bounded", "Unbounded", "Completed", "Failed", "Cancelled"};
	static const char *const operations[] = {
		"Unknown", "Start", "Save", "Restore", "Incoming migration", "Outgoing migration", "Snapshot",
		"Snapshot revert", "Dump", "Backup", "Snapshot delete"};
	int type = stats->type;
	bool known = type >= 0 && (size_t)type < G_N_ELEMENTS(types);
	shell_print("%-17s %-12s\n", "Job type:", known ? types[type] : "unknown");
	if (type == JOB_NONE)
		return;
	uint64_t operation = value_of(stats, "operation");
	shell_print("%-17s %-12s\n", "Operation:",
		    operation < G_N_ELEMENTS(operations) ? operations[operation] : "unknown");
	bool completed = flags & STATS_COMPLETED && type == JOB_COMPLETED;
	if (!opt_bool(cmd, "anystats") && type != JOB_BOUNDED && type != JOB_UNBOUNDED && !completed)
		return;
	print_value("Time elapsed:", FORM_MS, value_of(stats, "time_elapsed"));
	print_rows(stats, &(struct row){"time_elapsed_net", "Time elapsed w/o network:", FORM_MS}, 1, false);
	if (type == JOB_BOUNDED)
		print_value("Time remaining:", FORM_MS, value_of(stats, "time_remaining"));
	print_group(stats, data_rows, NULL, 0);
	print_group(stats, memory_rows, memory_details, G_N_ELEMENTS(memory_details));
	print_group(stats, file_rows, file_details, G_N_ELEMENTS(file_details));
	print_rows(stats, other_rows, G_N_ELEMENTS(other_rows), false);
}

bool cmd_domjobinfo(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {
		{"completed", STATS_COMPLETED}, {"keep-completed", STATS_KEEP_COMPLETED}, {NULL}};
	struct remote_domain dom;
	struct remote_domain_get_job_stats_ret ret;
	uint32_t flags = opt_flags(cmd, table);
	bool raw = opt_bool(cmd, "rawstats");
	if (!opt_require(sh, cmd, "keep-completed", "completed") || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	struct params params = params_new();
	struct stats stats = {0};
	bool good = GET(sh, domain_get_job_stats, &ret, dom, flags);
	if (good) {
		stats = (struct stats){ret.type, ret.params.items, ret.params.count};
	} else if (shell_error_code(sh) == CLIENT_NO_SUPPORT) {
		good = flags || raw ? shell_fail(sh, "Optional flags or --rawstats are not supported by the "
						 "daemon") :
				      old_stats(sh, dom, &params, &stats);
	}
	if (good && raw) {
		shell_print("Job type: %d\n\n", stats.type);
		for (uint32_t i = 0; i < stats.count; i++) {
			g_autofree char *text = param_text(&stats.params[i]);
			shell_print("%s: %s\n", stats.params[i].name, text);
		}
	} else if (good) {
		print_stats(cmd, &stats, flags);
	}
	params_clear(&params);
	return good;
}
