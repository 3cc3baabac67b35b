/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Secrets. */
#include "table.h"

#include "shell.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const struct option_flag list_filters[] = {
	{"ephemeral", 1}, {"no-ephemeral", 2}, {"private", 4}, {"no-private", 8}, {NULL},
};

bool cmd_secret_define(struct shell *sh, const struct cmd *cmd)
{
	struct remote_secret_define_xml_ret ret;
	char uuid[UUID_TEXT];
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!GET(sh, secret_define_xml, &ret, xml, opt_bool(cmd, "validate") ? 1 : 0))
		return shell_fail(sh, "Failed to set attributes from %s", opt_text(cmd, "file"));
	shell_extra(sh, "Secret %s created\n", format_uuid(ret.secret.uuid, uuid));
	return true;
}

bool cmd_secret_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_secret secret;
	struct remote_secret_get_xml_desc_ret ret;
	return shell_secret(sh, cmd, NULL, &secret) && GET(sh, secret_get_xml_desc, &ret, secret, 0) &&
	       shell_show_xml(sh, cmd, ret.xml);
}

/* A line from the terminal that is not shown. NULL: nothing came. g_free() it. */
static char *ask_secret(void)
{
	struct termios before, quiet;
	char line[1024];
	bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
	if (terminal) {
		quiet = before;
		quiet.c_lflag &= ~ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	bool got = fgets(line, sizeof(line), stdin) != NULL;
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		shell_print("\n");
	}
	if (!got)
		return NULL;
	line[strcspn(line, "\n")] = '\0';
	return g_strdup(line);
}

bool cmd_secret_set_value(struct shell *sh, const struct cmd *cmd)
{
	struct remote_secret_set_value_args args = {.flags = 0};
	const char *base64, *path;
	bool plain = opt_bool(cmd, "plain"), interactive = opt_bool(cmd, "interactive");
	if (!opt_exclusive(sh, cmd, "file", "base64") || !opt_exclusive(sh, cmd, "plain", "base64") ||
	    !opt_exclusive(sh, cmd, "interactive", "base64") ||
	    !opt_exclusive(sh, cmd, "interactive", "plain") ||
	    !opt_exclusive(sh, cmd, "interactive", "file") || !shell_secret(sh, cmd, NULL, &args.secret) ||
	    !opt_string(sh, cmd, "base64", &base64) || !opt_string(sh, cmd, "file", &path))
		return false;
	g_autofree char *value = NULL;
	if (base64) {
		shell_fail(sh, "Passing secret value as command-line argument is insecure!");
		value = g_strdup(base64);
	} else if (path) {
		value = shell_read_file(sh, path);
		if (!value)
			return false;
	} else if (interactive) {
		shell_print("Enter new value for secret:");
		value = ask_secret();
		if (!value)
			return shell_fail(sh, "Failed to read secret");
	} else {
		return shell_fail(sh, "Input secret value is missing");
	}
	size_t size = strlen(value);
	g_autofree uint8_t *bytes = plain || interactive ? (uint8_t *)g_steal_pointer(&value) :
							   g_base64_decode(value, &size);
	args.value.count = size;
	args.value.items = bytes;
	bool good = call_secret_set_value(sh->client, &args, shell_error(sh));
	explicit_bzero(bytes, size);
	if (!good)
		return shell_fail(sh, "Failed to set secret value");
	shell_extra(sh, "Secret value set\n");
	return true;
}

bool cmd_secret_get_value(struct shell *sh, const struct cmd *cmd)
{
	struct remote_secret secret;
	struct remote_secret_get_value_ret ret;
	if (!shell_secret(sh, cmd, NULL, &secret) || !GET(sh, secret_get_value, &ret, secret, 0))
		return false;
	g_autofree char *base64 = g_base64_encode(ret.value.items, ret.value.count);
	bool good = true;
	if (opt_bool(cmd, "plain"))
		good = fwrite(ret.value.items, 1, ret.value.count, stdout) == ret.value.count;
	else
		shell_print("%s", base64);
	explicit_bzero(ret.value.items, ret.value.count);
	return good || shell_fail(sh, "failed to write secret");
}

bool cmd_secret_undefine(struct shell *sh, const struct cmd *cmd)
{
	struct remote_secret secret;
	const char *name;
	if (!shell_secret(sh, cmd, &name, &secret))
		return false;
	if (!CALL(sh, secret_undefine, secret))
		return shell_fail(sh, "Failed to delete secret %s", name);
	shell_extra(sh, "Secret %s deleted\n", name);
	return true;
}

static int compare_secrets(const void *a, const void *b)
{
	return memcmp(((const struct remote_secret *)a)->uuid, ((const struct remote_secret *)b)->uuid, 16);
}

bool cmd_secret_list(struct shell *sh, const struct cmd *cmd)
{
	static const char *const usages[] = {"none", "volume", "ceph", "iscsi", "tls", "vtpm"};
	struct remote_connect_list_all_secrets_ret ret;
	if (!GET(sh, connect_list_all_secrets, &ret, 1, opt_flags(cmd, list_filters)))
		return shell_fail(sh, "Failed to list node secrets");
	qsort(ret.secrets.items, ret.secrets.count, sizeof(*ret.secrets.items), compare_secrets);
	struct table *table = table_new("UUID", "Usage", NULL);
	for (uint32_t i = 0; i < ret.secrets.count; i++) {
		const struct remote_secret *secret = &ret.secrets.items[i];
		char uuid[UUID_TEXT];
		int type = secret->usage_type;
		bool used = type > 0 && (size_t)type < G_N_ELEMENTS(usages);
		g_autofree char *usage = used ? g_strdup_printf("%s %s", usages[type], secret->usage_id) :
						g_strdup("Unused");
		table_row(table, format_uuid(secret->uuid, uuid), usage, NULL);
	}
	table_print(sh, table);
	return true;
}
