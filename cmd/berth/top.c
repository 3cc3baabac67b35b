/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth top: what the domains use, anew every few seconds. */
#include "berth.h"

#include "base/units.h"
#include "entries.h"
#include "shell/shell.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { STATS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5, LIST_ACTIVE = 1, NOWAIT = 1 << 29 };

struct top {
	char *connect;
	int count;       /* 0: without end */
	double delay;    /* seconds */
	gboolean batch;
};

static void fill_entries(struct top *t, GOptionEntry *out)
{
	const GOptionEntry entries[] = {
		{"connect", 'c', 0, G_OPTION_ARG_STRING, &t->connect, "the daemon's URI", "URI"},
		{"delay", 'd', 0, G_OPTION_ARG_DOUBLE, &t->delay, "seconds between two looks (default: 3)",
		 "SECONDS"},
		{"count", 'n', 0, G_OPTION_ARG_INT, &t->count, "end after so many looks", "N"},
		{"batch", 'b', 0, G_OPTION_ARG_NONE, &t->batch, "write one table after another", NULL},
		{NULL},
	};
	memcpy(out, entries, sizeof(entries));
}

enum { MOST_ENTRIES = 6 };

static char *options_help(void)
{
	struct top unused = {.delay = 3};
	GOptionEntry entries[MOST_ENTRIES];
	fill_entries(&unused, entries);
	return entries_help(entries);
}

/* What a domain has used since it started. */
struct usage {
	uint64_t cpu, read, written, received, sent;
	gint64 when;
};

static uint64_t value_of(const struct remote_domain_stats *record, const char *name)
{
	uint64_t value = 0;
	param_u64(record->params.items, record->params.count, name, &value);
	return value;
}

/* The sum of "net.0.rx.bytes", "net.1.rx.bytes"... */
static uint64_t sum(const struct remote_domain_stats *record, const char *group, const char *what)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < record->params.count; i++) {
		const struct xdr_param *param = &record->params.items[i];
		if (g_str_has_prefix(param->name, group) && g_str_has_suffix(param->name, what))
			total += param->type == XDR_PARAM_ULLONG ? param->ul : 0;
	}
	return total;
}

static struct usage usage_of(const struct remote_domain_stats *record)
{
	return (struct usage){
		.cpu = value_of(record, "cpu.time"),
		.read = sum(record, "block.", ".rd.bytes"), .written = sum(record, "block.", ".wr.bytes"),
		.received = sum(record, "net.", ".rx.bytes"), .sent = sum(record, "net.", ".tx.bytes"),
		.when = g_get_monotonic_time(),
	};
}

/* A second's part of what has grown, as "1.5 MiB"; "-" at the first look. */
static char *rate(uint64_t now, uint64_t before, double seconds)
{
	if (seconds <= 0)
		return g_strdup("-");
	return units_format_size(now > before ? (now - before) / seconds : 0);
}

static void add_row(struct table *table, GHashTable *last, const struct remote_domain_stats *record)
{
	struct usage now = usage_of(record), *before = g_hash_table_lookup(last, record->dom.name);
	double seconds = before ? (now.when - before->when) / 1e6 : 0;
	const struct usage since = before ? *before : now;
	g_autofree char *id = record->dom.id == -1 ? g_strdup("-") : g_strdup_printf("%d", record->dom.id);
	g_autofree char *cpus = g_strdup_printf("%" PRIu64, value_of(record, "vcpu.current"));
	g_autofree char *cpu = seconds > 0 ? g_strdup_printf("%.1f", (now.cpu - MIN(since.cpu, now.cpu)) /
								      seconds / 1e7) : g_strdup("-");
	g_autofree char *memory = units_format_size(value_of(record, "balloon.current") * KIB);
	g_autofree char *read = rate(now.read, since.read, seconds);
	g_autofree char *written = rate(now.written, since.written, seconds);
	g_autofree char *received = rate(now.received, since.received, seconds);
	g_autofree char *sent = rate(now.sent, since.sent, seconds);
	table_row(table, id, record->dom.name, domain_state_name(value_of(record, "state.state")), cpus, cpu,
		  memory, read, written, received, sent, NULL);
	g_hash_table_insert(last, g_strdup(record->dom.name), g_memdup2(&now, sizeof(now)));
}

static bool look(struct shell *sh, const struct top *top, GHashTable *last)
{
	struct remote_connect_get_all_domain_stats_ret ret;
	if (!GET(sh, connect_get_all_domain_stats, &ret, {0, NULL}, STATS, LIST_ACTIVE | NOWAIT))
		return false;
	struct table *table = table_new("Id", "Name", "State", "vCPUs", "%CPU", "Memory", "Read/s", "Written/s",
					"Received/s", "Sent/s", NULL);
	for (uint32_t i = 0; i < ret.records.count; i++)
		add_row(table, last, &ret.records.items[i]);
	/* Home, and nothing below. */
	if (!top->batch)
		shell_print("\033[H\033[J%u domains run; q ends\n\n", ret.records.count);
	table_print(sh, table);
	client_release(sh->client);
	return true;
}

/* Sleep until the next look. True: q was typed. */
static bool pause_or_quit(const struct top *top, bool terminal)
{
	struct pollfd in = {STDIN_FILENO, POLLIN, 0};
	char key = '\0';
	int ready = poll(&in, terminal ? 1 : 0, top->delay * 1000);
	return ready > 0 && (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q');
}

static bool run_with(struct shell *sh, struct top *top)
{
	struct termios before, quiet;
	g_autoptr(GHashTable) last = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	if (!shell_connect(sh, top->connect, true, true))
		return false;
	if (!isatty(STDOUT_FILENO))
		top->batch = TRUE;
	bool terminal = !top->batch && tcgetattr(STDIN_FILENO, &before) == 0;
	if (terminal) {
		quiet = before;
		quiet.c_lflag &= ~(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
	}
	bool good = true;
	for (int i = 1; (good = look(sh, top, last)) && i != top->count; i++) {
		if (pause_or_quit(top, terminal))
			break;
	}
	if (terminal)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return good;
}

static int run(int argc, char **argv)
{
	struct shell sh = {.escape = "^]"};
	struct top top = {.delay = 3};
	GOptionEntry entries[MOST_ENTRIES];
	fill_entries(&top, entries);
	bool good = entries_parse(&sh, entries, argc, argv, "top");
	if (good && (top.delay < 0.1 || top.count < 0))
		good = shell_fail(&sh, "--delay is at least 0.1, --count is not negative");
	good = good && run_with(&sh, &top);
	shell_report(&sh);
	client_close(sh.client);
	g_free(sh.uri);
	g_free(top.connect);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct subcommand top_command = {
	.name = "top",
	.usage = "[--delay SECONDS] [--count N] [--batch]",
	.summary = "Watch what the domains use",
	.text = "",
	.options = options_help,
	.run = run,
};
