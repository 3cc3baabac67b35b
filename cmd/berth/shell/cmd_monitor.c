/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain is doing. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* --- State ------------------------------------------------------------------------------------ */

static const char *const running_reasons[] = {
	"unknown", "booted", "migrated", "restored", "from snapshot", "unpaused", "migration canceled",
	"save canceled", "event wakeup", "crashed", "post-copy", "post-copy failed", NULL};
static const char *const paused_reasons[] = {
	"unknown", "user", "migrating", "saving", "dumping", "I/O error", "watchdog", "from snapshot",
	"shutting down", "creating snapshot", "crashed", "starting up", "post-copy", "post-copy failed",
	NULL};
static const char *const shutdown_reasons[] = {"unknown", "user", NULL};
static const char *const shutoff_reasons[] = {
	"unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot",
	"daemon", NULL};
static const char *const crashed_reasons[] = {"unknown", "panicked", NULL};
static const char *const no_reasons[] = {"unknown", NULL};

static const char *state_reason(int state, int reason)
{
	static const char *const *const reasons[] = {no_reasons, running_reasons, no_reasons,
						     paused_reasons, shutdown_reasons, shutoff_reasons,
						     crashed_reasons, no_reasons};
	if (state < 0 || (size_t)state >= G_N_ELEMENTS(reasons))
		return "unknown";
	int count = g_strv_length((char **)reasons[state]);
	return reason >= 0 && reason < count ? reasons[state][reason] : "unknown";
}

bool cmd_domstate(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	int reason;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	int state = shell_domain_state(sh, dom, &reason);
	if (state < 0)
		return false;
	if (opt_bool(cmd, "reason"))
		shell_print("%s (%s)\n", domain_state_name(state), state_reason(state, reason));
	else
		shell_print("%s\n", domain_state_name(state));
	return true;
}

bool cmd_domcontrol(struct shell *sh, const struct cmd *cmd)
{
	static const char *const states[] = {"ok", "background job", "occupied", "error"};
	static const char *const errors[] = {"", "unknown", "monitor failure", "internal (locking) error"};
	enum { CONTROL_OK = 0, CONTROL_ERROR = 3 };
	struct remote_domain dom;
	struct remote_domain_get_control_info_ret info;
	if (!shell_domain(sh, cmd, NULL, &dom) || !GET(sh, domain_get_control_info, &info, dom, 0))
		return false;
	const char *state = info.state < G_N_ELEMENTS(states) ? states[info.state] : "unknown";
	if (info.state != CONTROL_OK && info.state != CONTROL_ERROR)
		shell_print("%s (%0.3fs)\n", state, info.state_time / 1000.0);
	else if (info.state == CONTROL_ERROR && info.details)
		shell_print("%s: %s\n", state,
			    info.details < G_N_ELEMENTS(errors) ? errors[info.details] : "unknown");
	else
		shell_print("%s\n", state);
	return true;
}

static void print_info(struct shell *sh, struct remote_domain dom)
{
	struct remote_domain_is_persistent_ret persistent;
	struct remote_domain_get_autostart_ret autostart;
	struct remote_domain_has_managed_save_image_ret saved;
	bool known = GET(sh, domain_is_persistent, &persistent, dom);
	shell_print("%-15s %s\n", "Persistent:", !known ? "unknown" : persistent.persistent ? "yes" : "no");
	if (GET(sh, domain_get_autostart, &autostart, dom))
		shell_print("%-15s %s\n", "Autostart:", autostart.autostart ? "enable" : "disable");
	known = GET(sh, domain_has_managed_save_image, &saved, dom, 0);
	shell_print("%-15s %s\n", "Managed save:", !known ? "unknown" : saved.result ? "yes" : "no");
}

/* The wire has a byte per word here. */
static char *word_text(const int32_t *words, uint32_t count)
{
	GString *text = g_string_new(NULL);
	for (uint32_t i = 0; i < count && words[i]; i++)
		g_string_append_c(text, words[i]);
	return g_string_free(text, FALSE);
}

static bool print_security(struct shell *sh, struct remote_domain dom)
{
	struct remote_node_get_security_model_ret model;
	struct remote_domain_get_security_label_ret label;
	if (!call_node_get_security_model(sh->client, &model, shell_error(sh))) {
		bool fine = shell_error_code(sh) == CLIENT_NO_SUPPORT;
		if (fine)
			shell_forget_error(sh);
		return fine;
	}
	g_autofree char *name = word_text(model.model.items, model.model.count);
	g_autofree char *doi = word_text(model.doi.items, model.doi.count);
	if (!*name)
		return true;
	shell_print("%-15s %s\n", "Security model:", name);
	shell_print("%-15s %s\n", "Security DOI:", doi);
	if (!GET(sh, domain_get_security_label, &label, dom))
		return false;
	g_autofree char *text = word_text(label.label.items, label.label.count);
	if (*text)
		shell_print("%-15s %s (%s)\n", "Security label:", text,
			    label.enforcing ? "enforcing" : "permissive");
	return true;
}

bool cmd_dominfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_os_type_ret os;
	struct remote_domain_get_info_ret info;
	struct remote_domain_get_messages_ret messages;
	char uuid[UUID_TEXT];
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	g_autofree char *id = dom.id == -1 ? g_strdup("-") : g_strdup_printf("%d", dom.id);
	shell_print("%-15s %s\n%-15s %s\n%-15s %s\n", "Id:", id, "Name:", dom.name,
		    "UUID:", format_uuid(dom.uuid, uuid));
	if (GET(sh, domain_get_os_type, &os, dom))
		shell_print("%-15s %s\n", "OS Type:", os.type);
	bool good = GET(sh, domain_get_info, &info, dom);
	if (good) {
		shell_print("%-15s %s\n", "State:", domain_state_name(info.state));
		shell_print("%-15s %d\n", "CPU(s):", (int)info.vcpus);
		if (info.cpu_time)
			shell_print("%-15s %.1lfs\n", "CPU time:", info.cpu_time / 1e9);
		if (info.max_memory != UINT32_MAX)
			shell_print("%-15s %" PRIu64 " KiB\n", "Max memory:", info.max_memory);
		else
			shell_print("%-15s %s\n", "Max memory:", "no limit");
		shell_print("%-15s %" PRIu64 " KiB\n", "Used memory:", info.memory);
	}
	print_info(sh, dom);
	if (!print_security(sh, dom))
		return false;
	if (!GET(sh, domain_get_messages, &messages, dom, 0))
		messages.messages.count = 0;
	for (uint32_t i = 0; i < messages.messages.count; i++)
		shell_print("%-15s %s\n", i ? "" : "Messages:", messages.messages.items[i]);
	return good;
}

/* --- Memory and time -------------------------------------------------------------------------- */

bool cmd_dommemstat(struct shell *sh, const struct cmd *cmd)
{
	static const char *const tags[] = {
		"swap_in", "swap_out", "major_fault", "minor_fault", "unused", "available", "actual", "rss",
		"usable", "last_update", "disk_caches", "hugetlb_pgalloc", "hugetlb_pgfail"};
	struct remote_domain dom;
	struct remote_domain_is_active_ret active = {0};
	struct remote_domain_memory_stats_ret ret;
	const char *name;
	uint32_t flags = 0;
	int32_t period = -1;
	bool any;
	if (!opt_affect(sh, cmd, &flags, &any) || !shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!any && GET(sh, domain_is_active, &active, dom) && active.active)
		flags |= 1;
	int given = opt_int(sh, cmd, "period", &period);
	if (given < 0)
		return false;
	if (given && period < 0)
		return shell_fail(sh, "Invalid collection period value '%d'", period);
	if (given && !CALL(sh, domain_set_memory_stats_period, dom, period, flags))
		return shell_fail(sh, "Unable to change balloon collection period.");
	if (given)
		return true;
	if (!GET(sh, domain_memory_stats, &ret, dom, G_N_ELEMENTS(tags), 0))
		return shell_fail(sh, "Failed to get memory statistics for domain %s", name);
	for (uint32_t i = 0; i < ret.stats.count; i++) {
		int tag = ret.stats.items[i].tag;
		if (tag >= 0 && (size_t)tag < G_N_ELEMENTS(tags))
			shell_print("%s %" PRIu64 "\n", tags[tag], ret.stats.items[i].value);
	}
	return true;
}

bool cmd_domtime(struct shell *sh, const struct cmd *cmd)
{
	enum { TIME_SYNC = 1 };
	struct remote_domain dom;
	struct remote_domain_get_time_ret ret;
	int64_t seconds = 0;
	bool now = opt_bool(cmd, "now"), sync = opt_bool(cmd, "sync");
	if (!opt_exclusive(sh, cmd, "time", "now") || !opt_exclusive(sh, cmd, "time", "sync") ||
	    !opt_exclusive(sh, cmd, "now", "sync") || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	int given = opt_long(sh, cmd, "time", &seconds);
	if (given < 0)
		return false;
	if (now)
		seconds = time(NULL);
	if (given || now || sync)
		return CALL(sh, domain_set_time, dom, seconds, 0, sync ? TIME_SYNC : 0);
	if (!GET(sh, domain_get_time, &ret, dom, 0))
		return false;
	if (opt_bool(cmd, "pretty")) {
		g_autoptr(GDateTime) then = g_date_time_new_from_unix_utc(ret.seconds);
		g_autofree char *text = then ? g_date_time_format(then, "%Y-%m-%d %H:%M:%S") : NULL;
		if (!text)
			return false;
		shell_print("Time: %s", text);
	} else {
		shell_print("Time: %" PRId64, ret.seconds);
	}
	return true;
}

/* --- Interfaces ------------------------------------------------------------------------------- */

bool cmd_domiflist(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, opt_bool(cmd, "inactive") ? 2 : 0);
	if (!doc)
		return false;
	struct table *table = table_new("Interface", "Type", "Source", "Model", "MAC", NULL);
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, "/domain/devices/interface");
	for (unsigned i = 0; i < nodes->len; i++) {
		xmlNode *node = nodes->pdata[i];
		g_autofree char *type = xpath_text(doc, node, "./@type");
		g_autofree char *target = xpath_text(doc, node, "./target/@dev");
		g_autofree char *source = xpath_text(doc, node, "./source/@bridge|./source/@dev|"
						     "./source/@network|./source/@name|./source/@path");
		g_autofree char *model = xpath_text(doc, node, "./model/@type");
		g_autofree char *mac = xpath_text(doc, node, "./mac/@address");
		table_row(table, target ? target : "-", type ? type : "-", source ? source : "-",
			  model ? model : "-", mac ? mac : "-", NULL);
	}
	table_print(sh, table);
	return true;
}

bool cmd_domif_getlink(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *iface;
	if (!opt_string(sh, cmd, "interface", &iface) || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, opt_bool(cmd, "config") ? 2 : 0);
	if (!doc)
		return false;
	bool mac = strchr(iface, ':') != NULL;
	g_autofree char *lower = g_ascii_strdown(iface, -1);
	g_autofree char *path = g_strdup_printf("/domain/devices/interface[(mac/@address = '%s') or "
						"(target/@dev = '%s')]", lower, iface);
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, path);
	if (!nodes)
		return shell_fail(sh, "Failed to extract interface information");
	if (nodes->len == 0)
		return shell_fail(sh, mac ? "Interface (mac: %s) not found." :
					    "Interface (dev: %s) not found.", mac ? lower : iface);
	if (nodes->len > 1)
		return shell_fail(sh, "multiple matching interfaces found");
	g_autofree char *state = xpath_text(doc, nodes->pdata[0], "./link/@state");
	shell_print("%s %s", iface, state ? state : "up");
	return true;
}

bool cmd_domifstat(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_interface_stats_ret ret;
	const char *name, *device;
	if (!shell_domain(sh, cmd, &name, &dom) || !opt_string(sh, cmd, "interface", &device))
		return false;
	if (!GET(sh, domain_interface_stats, &ret, dom, (char *)device))
		return shell_fail(sh, "Failed to get interface stats %s %s", name, device);
	const struct {
		const char *name;
		int64_t value;
	} fields[] = {
		{"rx_bytes", ret.rx_bytes}, {"rx_packets", ret.rx_packets}, {"rx_errs", ret.rx_errs},
		{"rx_drop", ret.rx_drop},   {"tx_bytes", ret.tx_bytes},	    {"tx_packets", ret.tx_packets},
		{"tx_errs", ret.tx_errs},   {"tx_drop", ret.tx_drop},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
		if (fields[i].value >= 0)
			shell_print("%s %s %" PRId64 "\n", device, fields[i].name, fields[i].value);
	}
	return true;
}

static void print_addresses(const struct remote_domain_interface *iface, bool full)
{
	const char *mac = iface->hwaddr;
	if (!iface->addrs.count)
		shell_print(" %-10s %-17s    %-12s %s\n", iface->name, mac ? mac : "N/A", "N/A", "N/A");
	for (uint32_t i = 0; i < iface->addrs.count; i++) {
		const struct remote_domain_ip_addr *addr = &iface->addrs.items[i];
		bool named = full || i == 0;
		g_autofree char *text = g_strdup_printf("%-12s %s/%u", addr->type == 1 ? "ipv6" : "ipv4",
							addr->addr, addr->prefix);
		shell_print(" %-10s %-17s    %s\n", named ? iface->name : "-",
			    named ? (mac ? mac : "") : "-", text);
	}
}

static void add_addresses(struct table *table, const struct remote_domain_interface *iface)
{
	for (uint32_t i = 0; i < iface->addrs.count; i++) {
		const struct remote_domain_ip_addr *addr = &iface->addrs.items[i];
		g_autofree char *text = g_strdup_printf("%s/%u", addr->addr, addr->prefix);
		table_row(table, iface->name, iface->hwaddr ? iface->hwaddr : "", addr->type == 1 ? "ipv6" : "ipv4",
			  text, NULL);
	}
}

/* The table of virsh is no table of ours: it repeats nothing, and its columns do not grow. */
static void addresses_json(struct shell *sh, const struct remote_domain_interface *ifaces, uint32_t count,
			   const char *wanted)
{
	struct table *table = table_new("Name", "MAC address", "Protocol", "Address", NULL);
	for (uint32_t i = 0; i < count; i++) {
		if (!wanted || strcmp(wanted, ifaces[i].name) == 0)
			add_addresses(table, &ifaces[i]);
	}
	table_print(sh, table);
}

bool cmd_domifaddr(struct shell *sh, const struct cmd *cmd)
{
	static const char *const sources[] = {"lease", "agent", "arp"};
	struct remote_domain dom;
	struct remote_domain_interface_addresses_ret ret;
	const char *wanted, *name;
	unsigned source = 0;
	if (!opt_string(sh, cmd, "interface", &wanted) || !opt_string(sh, cmd, "source", &name))
		return false;
	while (name && source < G_N_ELEMENTS(sources) && strcmp(sources[source], name))
		source++;
	if (source == G_N_ELEMENTS(sources))
		return shell_fail(sh, "Unknown data source '%s'", name);
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!GET(sh, domain_interface_addresses, &ret, dom, source, 0))
		return shell_fail(sh, "Failed to query for interfaces addresses");
	if (sh->json) {
		addresses_json(sh, ret.ifaces.items, ret.ifaces.count, wanted);
		return true;
	}
	shell_extra(sh, " %-10s %-20s %-8s     %s\n%s%s\n", "Name", "MAC address", "Protocol", "Address",
		    "-------------------------------------------------", "------------------------------");
	for (uint32_t i = 0; i < ret.ifaces.count; i++) {
		if (!wanted || strcmp(wanted, ret.ifaces.items[i].name) == 0)
			print_addresses(&ret.ifaces.items[i], opt_bool(cmd, "full"));
	}
	return true;
}
