/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands to monitors and agents as they are: QEMU's program of the protocol. */
#include "table.h"

#include "shell.h"

#include <stdlib.h>
#include <string.h>

enum { QEMU_MONITOR_COMMAND = 1, QEMU_ATTACH = 2, QEMU_AGENT_COMMAND = 3, QEMU_MONITOR_COMMAND_FILES = 7 };
enum { MONITOR_HMP = 1 };

static char *join(const GPtrArray *words, unsigned first, const char *gap)
{
	GString *text = g_string_new(NULL);
	for (unsigned i = first; i < words->len; i++)
		g_string_append_printf(text, "%s%s", i > first ? gap : "", (char *)words->pdata[i]);
	return g_string_free(text, FALSE);
}

static json_t *parse_object(const char *text)
{
	json_t *value = json_loads(text, 0, NULL);
	if (json_is_object(value))
		return value;
	json_decref(value);
	return NULL;
}

/*
 * A whole QMP command as it is; a name and its arguments become one. Arguments are an object or its
 * members. NULL after an error.
 */
static char *qmp_command(struct shell *sh, const GPtrArray *words)
{
	g_autofree char *all = join(words, 0, " ");
	json_t *whole = parse_object(all);
	json_decref(whole);
	if (whole)
		return g_steal_pointer(&all);
	g_autofree char *rest = join(words, 1, " ");
	json_t *arguments = words->len > 1 ? parse_object(rest) : NULL;
	if (words->len > 1 && !arguments) {
		g_autofree char *members = join(words, 1, ",");
		g_autofree char *wrapped = g_strdup_printf("{%s}", members);
		arguments = parse_object(wrapped);
		if (!arguments) {
			shell_fail(sh, "failed to wrap arguments '%s' into a QMP command wrapper", rest);
			return NULL;
		}
	}
	json_t *command = json_pack("{s:s}", "execute", words->pdata[0]);
	if (arguments)
		json_object_set_new(command, "arguments", arguments);
	char *text = json_dumps(command, JSON_COMPACT);
	json_decref(command);
	return text;
}

/* As the daemon's text, or its "return" member, or pretty. */
static bool print_result(struct shell *sh, const struct cmd *cmd, const char *text)
{
	bool only = opt_bool(cmd, "return-value"), pretty = opt_bool(cmd, "pretty");
	json_t *value = only || pretty ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	if (only && !value)
		return shell_fail(sh, "failed to parse JSON returned by qemu");
	if (!value) {
		shell_print("%s\n", text);
		return true;
	}
	json_t *shown = only ? json_object_get(value, "return") : value;
	if (!shown) {
		json_decref(value);
		return shell_fail(sh, "'return' member missing");
	}
	char *out = json_dumps(shown, JSON_ENCODE_ANY | (pretty ? JSON_INDENT(2) : JSON_COMPACT));
	shell_print("%s", out);
	free(out);
	json_decref(value);
	return true;
}

bool cmd_qemu_monitor_command(struct shell *sh, const struct cmd *cmd)
{
	struct remote_qemu_monitor_command args = {.flags = opt_bool(cmd, "hmp") ? MONITOR_HMP : 0};
	struct remote_qemu_monitor_result ret;
	unsigned fds;
	if (!opt_exclusive(sh, cmd, "hmp", "pretty") || !opt_exclusive(sh, cmd, "hmp", "return-value") ||
	    !shell_domain(sh, cmd, NULL, &args.dom))
		return false;
	g_autoptr(GPtrArray) words = opt_rest(cmd);
	g_autofree char *text = args.flags ? join(words, 0, " ") : qmp_command(sh, words);
	if (!text || !pass_fds(sh, cmd, &fds))
		return false;
	args.cmd = text;
	return client_call_program(sh->client, QEMU_PROGRAM,
				   fds ? QEMU_MONITOR_COMMAND_FILES : QEMU_MONITOR_COMMAND,
				   &remote_qemu_monitor_command_type, &args,
				   &remote_qemu_monitor_result_type, &ret, shell_error(sh)) &&
	       print_result(sh, cmd, ret.result);
}

bool cmd_qemu_agent_command(struct shell *sh, const struct cmd *cmd)
{
	enum { AGENT_BLOCK = -2, AGENT_NOWAIT = 0 };
	struct remote_qemu_agent_command args = {.timeout = AGENT_BLOCK};
	struct remote_qemu_agent_result ret;
	if (!shell_domain(sh, cmd, NULL, &args.dom))
		return false;
	int given = opt_int(sh, cmd, "timeout", &args.timeout);
	if (given < 0)
		return false;
	if (given && args.timeout < 1)
		return shell_fail(sh, "timeout must be positive");
	if (opt_bool(cmd, "async"))
		args.timeout = AGENT_NOWAIT;
	if (opt_bool(cmd, "block"))
		args.timeout = AGENT_BLOCK;
	if (given + opt_bool(cmd, "async") + opt_bool(cmd, "block") > 1)
		return shell_fail(sh, "timeout, async and block options are exclusive");
	g_autoptr(GPtrArray) words = opt_rest(cmd);
	g_autofree char *text = join(words, 0, " ");
	args.cmd = text;
	if (!client_call_program(sh->client, QEMU_PROGRAM, QEMU_AGENT_COMMAND, &remote_qemu_agent_command_type,
				 &args, &remote_qemu_agent_result_type, &ret, shell_error(sh)) ||
	    !ret.result)
		return false;
	json_t *value = opt_bool(cmd, "pretty") ? json_loads(ret.result, 0, NULL) : NULL;
	char *pretty = value ? json_dumps(value, JSON_INDENT(2)) : NULL;
	shell_print("%s\n", pretty ? pretty : ret.result);
	free(pretty);
	json_decref(value);
	return true;
}

bool cmd_qemu_attach(struct shell *sh, const struct cmd *cmd)
{
	struct remote_qemu_attach args = {.flags = 0};
	struct remote_qemu_attach_result ret;
	if (opt_uint(sh, cmd, "pid", &args.pid) <= 0)
		return false;
	if (!client_call_program(sh->client, QEMU_PROGRAM, QEMU_ATTACH, &remote_qemu_attach_type, &args,
				 &remote_qemu_attach_result_type, &ret, shell_error(sh)))
		return shell_fail(sh, "Failed to attach to pid %u", args.pid);
	shell_extra(sh, "Domain '%s' attached to pid %u\n", ret.dom.name, args.pid);
	return true;
}
