/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "shell.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- Printing --------------------------------------------------------------------------------- */

void shell_print(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stdout, format, args);
	va_end(args);
	fflush(stdout);
}

void shell_extra(const struct shell *sh, const char *format, ...)
{
	va_list args;
	if (sh->quiet)
		return;
	va_start(args, format);
	vfprintf(stdout, format, args);
	va_end(args);
	fflush(stdout);
}

static void print_error(struct shell *sh, const char *text)
{
	/* Both streams may be one file: keep the order. */
	fflush(stdout);
	fprintf(stderr, "error: %s\n", text);
	fflush(stderr);
	if (sh->log) {
		g_autoptr(GDateTime) now = g_date_time_new_now_local();
		g_autofree char *when = g_date_time_format(now, "%Y.%m.%d %H:%M:%S");
		fprintf(sh->log, "[%s] error: %s\n", when, text);
		fflush(sh->log);
	}
}

bool shell_fail(struct shell *sh, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	print_error(sh, text);
	return false;
}

void shell_forget_error(struct shell *sh)
{
	g_clear_error(&sh->error);
}

GError **shell_error(struct shell *sh)
{
	g_clear_error(&sh->error);
	return &sh->error;
}

int shell_error_code(const struct shell *sh)
{
	return sh->error && sh->error->domain == CLIENT_ERROR ? sh->error->code : 0;
}

bool shell_set_error(struct shell *sh, int code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_clear_error(&sh->error);
	sh->error = g_error_new_valist(CLIENT_ERROR, code, format, args);
	va_end(args);
	return false;
}

void shell_report(struct shell *sh)
{
	if (sh->error)
		print_error(sh, sh->error->message);
	g_clear_error(&sh->error);
}

/* --- Running ---------------------------------------------------------------------------------- */

bool shell_connect(struct shell *sh, const char *uri, bool readonly, bool again)
{
	bool lost = sh->client && !client_is_alive(sh->client);
	bool had = sh->client != NULL;
	if (!readonly && !uri)
		readonly = sh->readonly;
	client_close(g_steal_pointer(&sh->client));
	const struct client_options options = {
		.uri = uri ? uri : sh->uri, .readonly = readonly,
		.keepalive_interval = sh->keepalive_interval, .keepalive_count = sh->keepalive_count};
	sh->client = client_open(&options, shell_error(sh));
	if (!sh->client)
		return shell_fail(sh, lost ? "Failed to reconnect to the hypervisor" :
					     "failed to connect to the hypervisor");
	if (uri) {
		g_free(sh->uri);
		sh->uri = g_strdup(uri);
	}
	sh->readonly = readonly;
	if (had && !again)
		shell_fail(sh, "Reconnected to the hypervisor");
	return true;
}

static bool run_one(struct shell *sh, const struct cmd *cmd)
{
	bool connected = sh->client && client_is_alive(sh->client);
	if (!cmd->def->offline && !connected && !shell_connect(sh, NULL, false, false))
		return false;
	bool good = cmd->def->run(sh, cmd);
	if (sh->client)
		client_release(sh->client);
	return good;
}

bool shell_run(struct shell *sh, GPtrArray *cmds)
{
	bool good = true;
	for (unsigned i = 0; i < cmds->len && !sh->quit; i++) {
		gint64 before = g_get_monotonic_time();
		good = run_one(sh, cmds->pdata[i]);
		gint64 after = g_get_monotonic_time();
		if (!good)
			shell_report(sh);
		shell_forget_error(sh);
		if (sh->quit)
			break;
		if (sh->timing)
			shell_print("\n(Time: %.3f ms)\n\n", (after - before) / 1000.0);
		else
			shell_extra(sh, "\n");
	}
	return good;
}
