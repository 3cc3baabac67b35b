/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lives of domains. */
#include "table.h"

#include "shell.h"

#include <string.h>

/* --- Definitions ------------------------------------------------------------------------------ */

bool cmd_define(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain_define_xml_ret ret;
	struct remote_domain_define_xml_flags_ret flagged;
	const char *path = opt_text(cmd, "file");
	bool validate = opt_bool(cmd, "validate");
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	bool good = validate ? GET(sh, domain_define_xml_flags, &flagged, xml, 1) :
			       GET(sh, domain_define_xml, &ret, xml);
	if (!good)
		return shell_fail(sh, "Failed to define domain from %s", path);
	shell_extra(sh, "Domain '%s' defined from %s\n", validate ? flagged.dom.name : ret.dom.name, path);
	return true;
}

bool cmd_domrename(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_rename_ret ret;
	const char *name;
	if (!shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "new-name", &name) ||
	    !GET(sh, domain_rename, &ret, dom, (char *)name, 0))
		return false;
	shell_extra(sh, "Domain successfully renamed\n");
	return true;
}

bool cmd_autostart(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name;
	bool off = opt_bool(cmd, "disable");
	if (!shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!CALL(sh, domain_set_autostart, dom, !off))
		return shell_fail(sh, off ? "Failed to unmark domain '%s' as autostarted" :
					    "Failed to mark domain '%s' as autostarted", name);
	shell_extra(sh, off ? "Domain '%s' unmarked as autostarted\n" :
			      "Domain '%s' marked as autostarted\n", name);
	return true;
}

static bool find_by(struct shell *sh, const struct cmd *cmd, unsigned by, struct remote_domain *dom)
{
	const char *text;
	return opt_string(sh, cmd, "domain", &text) && shell_domain_by(sh, text, by, dom);
}

bool cmd_domname(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!find_by(sh, cmd, BY_ID | BY_UUID, &dom))
		return false;
	shell_print("%s\n", dom.name);
	return true;
}

bool cmd_domid(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!find_by(sh, cmd, BY_NAME | BY_UUID, &dom))
		return false;
	if (dom.id == -1)
		shell_print("-\n");
	else
		shell_print("%d\n", dom.id);
	return true;
}

bool cmd_domuuid(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	char uuid[UUID_TEXT];
	if (!find_by(sh, cmd, BY_NAME | BY_ID, &dom))
		return false;
	shell_print("%s\n", format_uuid(dom.uuid, uuid));
	return true;
}

/* --- Starting --------------------------------------------------------------------------------- */

static const struct option_flag start_flags[] = {
	{"paused", 1}, {"autodestroy", 2}, {"bypass-cache", 4}, {"force-boot", 8}, {"reset-nvram", 32},
	{NULL},
};
static const struct option_flag create_flags[] = {
	{"paused", 1}, {"autodestroy", 2}, {"validate", 16}, {"reset-nvram", 32}, {NULL},
};

bool pass_fds(struct shell *sh, const struct cmd *cmd, unsigned *count)
{
	const char *text = opt_text(cmd, "pass-fds");
	g_auto(GStrv) parts = g_strsplit(text ? text : "", ",", 0);
	*count = g_strv_length(parts);
	g_autofree int *fds = g_new0(int, *count + 1);
	for (unsigned i = 0; i < *count; i++) {
		int64_t fd;
		if (!parse_int64(parts[i], &fd) || fd < 0 || fd > INT32_MAX)
			return shell_fail(sh, "Unable to parse FD number '%s'", parts[i]);
		fds[i] = fd;
	}
	return client_pass_fds(sh->client, fds, *count, shell_error(sh));
}

static bool start_domain(struct shell *sh, struct remote_domain dom, unsigned fds, uint32_t flags)
{
	struct remote_domain_create_with_flags_ret ret;
	struct remote_domain_create_with_files_ret with_files;
	if (fds)
		return GET(sh, domain_create_with_files, &with_files, dom, flags);
	return flags ? GET(sh, domain_create_with_flags, &ret, dom, flags) : CALL(sh, domain_create, dom);
}

bool cmd_start(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	unsigned fds;
	if (!find_by(sh, cmd, BY_NAME | BY_UUID, &dom))
		return false;
	if (dom.id != -1)
		return shell_fail(sh, "Domain is already active");
	if (!pass_fds(sh, cmd, &fds))
		return false;
	if (!start_domain(sh, dom, fds, opt_flags(cmd, start_flags)))
		return shell_fail(sh, "Failed to start domain '%s'", dom.name);
	shell_extra(sh, "Domain '%s' started\n", dom.name);
	return !opt_bool(cmd, "console") || run_console(sh, dom, NULL, 0);
}

bool cmd_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain_create_xml_ret ret;
	struct remote_domain_create_xml_with_files_ret with_files;
	const char *path = opt_text(cmd, "file");
	uint32_t flags = opt_flags(cmd, create_flags);
	unsigned fds;
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml || !pass_fds(sh, cmd, &fds))
		return false;
	bool good = fds ? GET(sh, domain_create_xml_with_files, &with_files, xml, flags) :
			  GET(sh, domain_create_xml, &ret, xml, flags);
	if (!good)
		return shell_fail(sh, "Failed to create domain from %s", path);
	struct remote_domain dom = fds ? with_files.dom : ret.dom;
	shell_extra(sh, "Domain '%s' created from %s\n", dom.name, path);
	return !opt_bool(cmd, "console") || run_console(sh, dom, NULL, 0);
}

/* --- Changing state --------------------------------------------------------------------------- */

bool cmd_suspend(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name;
	if (!shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!CALL(sh, domain_suspend, dom))
		return shell_fail(sh, "Failed to suspend domain '%s'", name);
	shell_extra(sh, "Domain '%s' suspended\n", name);
	return true;
}

bool cmd_resume(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name;
	if (!shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!CALL(sh, domain_resume, dom))
		return shell_fail(sh, "Failed to resume domain '%s'", name);
	shell_extra(sh, "Domain '%s' resumed\n", name);
	return true;
}

bool cmd_reset(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name;
	if (!shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!CALL(sh, domain_reset, dom, 0))
		return shell_fail(sh, "Failed to reset domain '%s'", name);
	shell_extra(sh, "Domain '%s' was reset\n", name);
	return true;
}

bool cmd_destroy(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {{"graceful", 1}, {"remove-logs", 2}, {NULL}};
	struct remote_domain dom;
	const char *name;
	uint32_t flags = opt_flags(cmd, table);
	if (!shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!(flags ? CALL(sh, domain_destroy_flags, dom, flags) : CALL(sh, domain_destroy, dom)))
		return shell_fail(sh, "Failed to destroy domain '%s'", name);
	shell_extra(sh, "Domain '%s' destroyed\n", name);
	return true;
}

/* The bits of --mode, which are the same for both; `last` is how virsh joins the last one. */
static bool mode_flags(struct shell *sh, const struct cmd *cmd, const char *last, uint32_t *flags)
{
	static const char *const names[] = {"acpi", "agent", "initctl", "signal", "paravirt"};
	const char *mode;
	*flags = 0;
	if (!opt_string(sh, cmd, "mode", &mode))
		return false;
	g_auto(GStrv) words = g_strsplit(mode ? mode : "", ",", 0);
	for (char **word = words; *word; word++) {
		unsigned i = 0;
		while (i < G_N_ELEMENTS(names) && strcmp(names[i], *word))
			i++;
		if (i == G_N_ELEMENTS(names))
			return shell_fail(sh, "Unknown mode %s value, expecting 'acpi', 'agent', 'initctl', "
					  "'signal'%s 'paravirt'", *word, last);
		*flags |= 1U << i;
	}
	return true;
}

bool cmd_shutdown(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name;
	uint32_t flags;
	if (!mode_flags(sh, cmd, ", or", &flags) || !shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!(flags ? CALL(sh, domain_shutdown_flags, dom, flags) : CALL(sh, domain_shutdown, dom)))
		return shell_fail(sh, "Failed to shutdown domain '%s'", name);
	shell_extra(sh, "Domain '%s' is being shutdown\n", name);
	return true;
}

bool cmd_reboot(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name;
	uint32_t flags;
	if (!mode_flags(sh, cmd, " or", &flags) || !shell_domain(sh, cmd, &name, &dom))
		return false;
	if (!CALL(sh, domain_reboot, dom, flags))
		return shell_fail(sh, "Failed to reboot domain '%s'", name);
	shell_extra(sh, "Domain '%s' is being rebooted\n", name);
	return true;
}

static int find_word(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(words[i], word) == 0)
			return i;
	}
	return -1;
}

bool cmd_dompmsuspend(struct shell *sh, const struct cmd *cmd)
{
	static const char *const targets[] = {"mem", "disk", "hybrid", NULL};
	struct remote_domain dom;
	const char *name;
	uint64_t duration = 0;
	if (!shell_domain(sh, cmd, NULL, &dom) || opt_ulong(sh, cmd, "duration", &duration) < 0 ||
	    !opt_string(sh, cmd, "target", &name))
		return false;
	int target = find_word(targets, name);
	if (target < 0)
		return shell_fail(sh, "Invalid target");
	if (!CALL(sh, domain_pm_suspend_for_duration, dom, target, duration, 0))
		return shell_fail(sh, "Domain '%s' could not be suspended", dom.name);
	shell_extra(sh, "Domain '%s' successfully suspended", dom.name);
	return true;
}

bool cmd_dompmwakeup(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!CALL(sh, domain_pm_wakeup, dom, 0))
		return shell_fail(sh, "Domain '%s' could not be woken up", dom.name);
	shell_extra(sh, "Domain '%s' successfully woken up", dom.name);
	return true;
}

bool cmd_inject_nmi(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	return shell_domain(sh, cmd, NULL, &dom) && CALL(sh, domain_inject_nmi, dom, 0);
}

bool cmd_set_lifecycle_action(struct shell *sh, const struct cmd *cmd)
{
	static const char *const types[] = {"poweroff", "reboot", "crash", NULL};
	static const char *const actions[] = {"destroy", "restart", "rename-restart", "preserve",
					      "coredump-destroy", "coredump-restart", NULL};
	struct remote_domain dom;
	const char *type, *action;
	uint32_t flags = 0;
	if (!opt_affect(sh, cmd, &flags, NULL) || !opt_string(sh, cmd, "type", &type) ||
	    !opt_string(sh, cmd, "action", &action))
		return false;
	if (find_word(types, type) < 0)
		return shell_fail(sh, "Invalid lifecycle type '%s'.", type);
	if (find_word(actions, action) < 0)
		return shell_fail(sh, "Invalid lifecycle action '%s'.", action);
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	return CALL(sh, domain_set_lifecycle_action, dom, find_word(types, type),
		    find_word(actions, action), flags) ||
	       shell_fail(sh, "Unable to change lifecycle action.");
}
