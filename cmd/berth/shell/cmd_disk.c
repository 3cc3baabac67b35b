/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain's disks are and do. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <string.h>

bool cmd_domblklist(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	bool details = opt_bool(cmd, "details");
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, opt_bool(cmd, "inactive") ? 2 : 0);
	if (!doc)
		return false;
	struct table *table = details ? table_new("Type", "Device", "Target", "Source", NULL) :
					table_new("Target", "Source", NULL);
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, "/domain/devices/disk");
	for (unsigned i = 0; i < nodes->len; i++) {
		xmlNode *node = nodes->pdata[i];
		g_autofree char *type = xpath_text(doc, node, "./@type");
		g_autofree char *device = xpath_text(doc, node, "./@device");
		g_autofree char *target = xpath_text(doc, node, "./target/@dev");
		g_autofree char *source = xpath_text(doc, node, "./source/@file|./source/@dev|./source/@dir|"
						     "./source/@name|./source/@volume|./source/@path");
		const char *shown = source ? source : "-";
		if (!target || (details && (!type || !device))) {
			table_free(table);
			return shell_fail(sh, "unable to query block list");
		}
		if (details)
			table_row(table, type, device, target, shown, NULL);
		else
			table_row(table, target, shown, NULL);
	}
	table_print(sh, table);
	return true;
}

static char *size_text(uint64_t size, bool human)
{
	const char *unit;
	if (!human)
		return g_strdup_printf("%" PRIu64, size);
	double value = scaled_size(size, &unit);
	return g_strdup_printf("%.3lf %s", value, unit);
}

struct size_texts {
	char *capacity, *allocation, *physical;
};

static struct size_texts info_texts(const struct remote_domain_get_block_info_ret *info, bool human)
{
	if (!info->capacity && !info->allocation && !info->physical)
		return (struct size_texts){g_strdup("-"), g_strdup("-"), g_strdup("-")};
	return (struct size_texts){size_text(info->capacity, human), size_text(info->allocation, human),
				   size_text(info->physical, human)};
}

static void free_texts(struct size_texts *texts)
{
	g_free(texts->capacity);
	g_free(texts->allocation);
	g_free(texts->physical);
}

static bool all_disks(struct shell *sh, struct remote_domain dom, bool human)
{
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, 0);
	if (!doc)
		return false;
	struct table *table = table_new("Target", "Capacity", "Allocation", "Physical", NULL);
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, "/domain/devices/disk");
	bool good = true;
	for (unsigned i = 0; good && i < nodes->len; i++) {
		xmlNode *node = nodes->pdata[i];
		struct remote_domain_get_block_info_ret info = {0};
		g_autofree char *target = xpath_text(doc, node, "./target/@dev");
		g_autofree char *protocol = xpath_text(doc, node, "./source/@protocol");
		if (xml_child(node, "source")) {
			good = GET(sh, domain_get_block_info, &info, dom, target, 0);
			/* A network disk of a domain that does not run cannot be asked. */
			if (!good && protocol && dom.id == -1 && shell_error_code(sh) == CLIENT_INTERNAL) {
				shell_forget_error(sh);
				good = true;
			}
		}
		struct size_texts texts = info_texts(&info, human);
		table_row(table, target, texts.capacity, texts.allocation, texts.physical, NULL);
		free_texts(&texts);
	}
	if (good)
		table_print(sh, table);
	else
		table_free(table);
	return good;
}

bool cmd_domblkinfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_block_info_ret info;
	const char *device = opt_text(cmd, "device");
	bool all = opt_bool(cmd, "all"), human = opt_bool(cmd, "human");
	if (!opt_exclusive(sh, cmd, "all", "device") || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!all && (!device || !*device))
		return shell_fail(sh, "command 'domblkinfo' requires <device> option");
	if (all)
		return all_disks(sh, dom, human);
	if (!GET(sh, domain_get_block_info, &info, dom, (char *)device, 0))
		return false;
	struct size_texts texts = info_texts(&info, human);
	shell_print("%-15s %s\n%-15s %s\n%-15s %s\n", "Capacity:", texts.capacity,
		    "Allocation:", texts.allocation, "Physical:", texts.physical);
	free_texts(&texts);
	return true;
}

/* The order in which these come; the others follow in the daemon's order. */
static const struct {
	const char *field, *shown, *human;
} block_fields[] = {
	{"rd_operations", "rd_req", "number of read operations:"},
	{"rd_bytes", "rd_bytes", "number of bytes read:"},
	{"wr_operations", "wr_req", "number of write operations:"},
	{"wr_bytes", "wr_bytes", "number of bytes written:"},
	{"errs", "errs", "error count:"},
	{"flush_operations", "flush_operations", "number of flush operations:"},
	{"rd_total_times", "rd_total_times", "total duration of reads (ns):"},
	{"wr_total_times", "wr_total_times", "total duration of writes (ns):"},
	{"flush_total_times", "flush_total_times", "total duration of flushes (ns):"},
};

static void print_block_stats(const struct xdr_param *params, uint32_t count, const char *device,
			      bool human)
{
	g_autofree bool *shown = g_new0(bool, count + 1);
	if (human) {
		shell_print("Device: %s\n", device);
		device = "";
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(block_fields); i++) {
		const struct xdr_param *param = param_find(params, count, block_fields[i].field);
		if (!param)
			continue;
		g_autofree char *text = param_text(param);
		shown[param - params] = true;
		shell_print("%s %-*s %s\n", device, human ? 31 : 0,
			    human ? block_fields[i].human : block_fields[i].shown, text);
	}
	for (uint32_t i = 0; i < count; i++) {
		g_autofree char *text = param_text(&params[i]);
		if (!shown[i])
			shell_print("%s %s %s\n", device, params[i].name, text);
	}
}

static bool old_block_stats(struct shell *sh, const char *name, struct remote_domain dom,
			    const char *device, bool human)
{
	struct remote_domain_block_stats_ret ret;
	if (!GET(sh, domain_block_stats, &ret, dom, (char *)device))
		return shell_fail(sh, "Failed to get block stats %s %s", name, device);
	const int64_t values[] = {ret.rd_req, ret.rd_bytes, ret.wr_req, ret.wr_bytes, ret.errs};
	if (human)
		shell_print("Device: %s\n", device);
	for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
		if (values[i] >= 0)
			shell_print("%s %-*s %" PRId64 "\n", human ? "" : device, human ? 31 : 0,
				    human ? block_fields[i].human : block_fields[i].shown, values[i]);
	}
	return true;
}

bool cmd_domblkstat(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_block_stats_flags_ret count, ret;
	const char *name, *device;
	bool human = opt_bool(cmd, "human");
	if (!shell_domain(sh, cmd, &name, &dom) || !opt_string(sh, cmd, "device", &device))
		return false;
	if (!device)
		device = "";
	if (!GET(sh, domain_block_stats_flags, &count, dom, (char *)device, 0, 0)) {
		if (shell_error_code(sh) != CLIENT_NO_SUPPORT)
			return false;
		shell_forget_error(sh);
		return old_block_stats(sh, name, dom, device, human);
	}
	if (count.nparams && !GET(sh, domain_block_stats_flags, &ret, dom, (char *)device, count.nparams, 0))
		return shell_fail(sh, "Failed to get block stats for domain '%s' device '%s'", name, device);
	if (count.nparams)
		print_block_stats(ret.params.items, ret.params.count, device, human);
	return true;
}

bool cmd_domblkerror(struct shell *sh, const struct cmd *cmd)
{
	static const char *const errors[] = {"no error", "unspecified error", "no space"};
	struct remote_domain dom;
	struct remote_domain_get_disk_errors_ret ret;
	if (!shell_domain(sh, cmd, NULL, &dom) || !GET(sh, domain_get_disk_errors, &ret, dom, 0, 0))
		return false;
	if (ret.nerrors > 0 && !GET(sh, domain_get_disk_errors, &ret, dom, ret.nerrors, 0))
		return false;
	if (!ret.nerrors)
		shell_print("No errors found\n");
	for (uint32_t i = 0; i < ret.errors.count; i++) {
		int error = ret.errors.items[i].error;
		shell_print("%s: %s\n", ret.errors.items[i].disk,
			    error >= 0 && (size_t)error < G_N_ELEMENTS(errors) ? errors[error] :
										 "unknown error");
	}
	return true;
}
