/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Talking to the guest: its agent, its keyboard, its processes. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <string.h>

/* --- File systems ----------------------------------------------------------------------------- */

bool cmd_domfstrim(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *path;
	uint64_t minimum = 0;
	if (!shell_domain(sh, cmd, NULL, &dom) || opt_ulong(sh, cmd, "minimum", &minimum) < 0 ||
	    !opt_string(sh, cmd, "mountpoint", &path))
		return false;
	return CALL(sh, domain_fstrim, dom, (char *)path, minimum, 0) ||
	       shell_fail(sh, "Unable to invoke fstrim");
}

bool cmd_domfsfreeze(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_fsfreeze_ret ret;
	g_autoptr(GPtrArray) paths = opt_rest(cmd);
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!GET(sh, domain_fsfreeze, &ret, dom, {paths->len, (char **)paths->pdata}, 0))
		return shell_fail(sh, "Unable to freeze filesystems");
	shell_extra(sh, "Froze %d filesystem(s)\n", ret.filesystems);
	return true;
}

bool cmd_domfsthaw(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_fsthaw_ret ret;
	g_autoptr(GPtrArray) paths = opt_rest(cmd);
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!GET(sh, domain_fsthaw, &ret, dom, {paths->len, (char **)paths->pdata}, 0))
		return shell_fail(sh, "Unable to thaw filesystems");
	shell_extra(sh, "Thawed %d filesystem(s)\n", ret.filesystems);
	return true;
}

bool cmd_domfsinfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_fsinfo_ret ret;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!GET(sh, domain_get_fsinfo, &ret, dom, 0))
		return shell_fail(sh, "Unable to get filesystem information");
	if (!ret.info.count) {
		shell_extra(sh, "No filesystems are mounted in the domain");
		return true;
	}
	struct table *table = table_new("Mountpoint", "Name", "Type", "Target", NULL);
	for (uint32_t i = 0; i < ret.info.count; i++) {
		const struct remote_domain_fsinfo *info = &ret.info.items[i];
		g_autoptr(GString) targets = g_string_new(NULL);
		for (uint32_t a = 0; a < info->dev_aliases.count; a++)
			g_string_append_printf(targets, "%s%s", a ? "," : "", info->dev_aliases.items[a]);
		table_row(table, info->mountpoint, info->name, info->fstype, targets->str, NULL);
	}
	table_print(sh, table);
	return true;
}

/* --- The agent -------------------------------------------------------------------------------- */

bool cmd_guest_agent_timeout(struct shell *sh, const struct cmd *cmd)
{
	enum { TIMEOUT_FOREVER = -2 };
	struct remote_domain dom;
	struct remote_domain_agent_set_response_timeout_ret ret;
	int32_t timeout = TIMEOUT_FOREVER;
	return shell_domain(sh, cmd, NULL, &dom) && opt_int(sh, cmd, "timeout", &timeout) >= 0 &&
	       GET(sh, domain_agent_set_response_timeout, &ret, dom, timeout, 0);
}

bool cmd_guestinfo(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {{"user", 1}, {"os", 2}, {"timezone", 4}, {"hostname", 8},
						   {"filesystem", 16}, {"disk", 32}, {"interface", 64}, {NULL}};
	struct remote_domain dom;
	struct remote_domain_get_guest_info_ret ret;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !GET(sh, domain_get_guest_info, &ret, dom, opt_flags(cmd, table), 0))
		return false;
	for (uint32_t i = 0; i < ret.params.count; i++) {
		g_autofree char *text = param_text(&ret.params.items[i]);
		shell_print("%-20s: %s\n", ret.params.items[i].name, text);
	}
	return true;
}

bool cmd_get_user_sshkeys(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_authorized_ssh_keys_get_ret ret;
	const char *user;
	if (!shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "user", &user) ||
	    !GET(sh, domain_authorized_ssh_keys_get, &ret, dom, (char *)user, 0))
		return false;
	for (uint32_t i = 0; i < ret.keys.count; i++)
		shell_print("%s", ret.keys.items[i]);
	return true;
}

bool cmd_set_user_sshkeys(struct shell *sh, const struct cmd *cmd)
{
	enum { KEYS_APPEND = 1, KEYS_REMOVE = 2 };
	struct remote_domain dom;
	const char *user, *path;
	if (!opt_require(sh, cmd, "remove", "file") || !opt_exclusive(sh, cmd, "reset", "remove") ||
	    !shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "user", &user) ||
	    !opt_string(sh, cmd, "file", &path))
		return false;
	uint32_t flags = opt_bool(cmd, "remove") ? KEYS_REMOVE : opt_bool(cmd, "reset") ? 0 : KEYS_APPEND;
	if (flags == KEYS_APPEND && !path)
		return shell_fail(sh, "Option --file is required");
	g_autofree char *text = path ? shell_read_file(sh, path) : NULL;
	if (path && !text)
		return false;
	g_auto(GStrv) keys = g_strsplit(text ? text : "", "\n", -1);
	if (path && !keys[0])
		return shell_fail(sh, "File %s contains no keys", path);
	return CALL(sh, domain_authorized_ssh_keys_set, dom, (char *)user, {g_strv_length(keys), keys}, flags);
}

bool cmd_set_user_password(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name, *user, *password;
	if (!opt_string(sh, cmd, "user", &user) || !opt_string(sh, cmd, "password", &password) ||
	    !shell_domain(sh, cmd, &name, &dom) ||
	    !CALL(sh, domain_set_user_password, dom, (char *)user, (char *)password,
		  opt_bool(cmd, "encrypted") ? 1 : 0))
		return false;
	shell_extra(sh, "Password set successfully for %s in %s", user, name);
	return true;
}

/* --- Measuring and securing ------------------------------------------------------------------- */

bool cmd_domdirtyrate_calc(struct shell *sh, const struct cmd *cmd)
{
	static const char *const modes[] = {"page-sampling", "dirty-bitmap", "dirty-ring"};
	struct remote_domain dom;
	const char *mode;
	int32_t seconds = 1;
	unsigned number = 0;
	if (!shell_domain(sh, cmd, NULL, &dom) || opt_int(sh, cmd, "seconds", &seconds) < 0 ||
	    !opt_string(sh, cmd, "mode", &mode))
		return false;
	while (mode && number < G_N_ELEMENTS(modes) && strcmp(modes[number], mode))
		number++;
	if (number == G_N_ELEMENTS(modes))
		return shell_fail(sh, "Unknown calculation mode '%s'", mode);
	if (!CALL(sh, domain_start_dirty_rate_calc, dom, seconds, number))
		return false;
	shell_extra(sh, "Start to calculate domain's memory dirty rate successfully.\n");
	return true;
}

bool cmd_domlaunchsecinfo(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_get_launch_security_info_ret ret;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!GET(sh, domain_get_launch_security_info, &ret, dom, typed_flags(sh, 0)))
		return shell_fail(sh, "Unable to get launch security parameters");
	print_params(&(struct param_list){ret.params.count, ret.params.items});
	return true;
}

bool cmd_domsetlaunchsecstate(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *header_path, *secret_path;
	uint64_t address;
	if (!shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "secrethdr", &header_path) ||
	    !opt_string(sh, cmd, "secret", &secret_path))
		return false;
	if (!header_path || !secret_path)
		return shell_fail(sh, "Both secret and the secret header are required");
	g_autofree char *header = shell_read_file(sh, header_path);
	g_autofree char *secret = header ? shell_read_file(sh, secret_path) : NULL;
	int given = secret ? opt_ulong(sh, cmd, "set-address", &address) : -1;
	if (given < 0)
		return false;
	struct params params = params_new();
	params_string(&params, "sev-secret-header", header);
	params_string(&params, "sev-secret", secret);
	if (given)
		params_ulong(&params, "sev-secret-set-address", address);
	bool good = CALL(sh, domain_set_launch_security_state, dom, PARAMS(params), 0);
	params_clear(&params);
	return good || shell_fail(sh, "Unable to set launch security state");
}

bool cmd_dom_fd_associate(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {{"seclabel-restore", 1}, {"seclabel-writable", 2}, {NULL}};
	struct remote_domain dom;
	const char *name;
	unsigned count;
	return shell_domain(sh, cmd, NULL, &dom) && opt_string(sh, cmd, "name", &name) &&
	       pass_fds(sh, cmd, &count) &&
	       CALL(sh, domain_fd_associate, dom, (char *)name, opt_flags(cmd, table));
}

/* --- Processes and keys ----------------------------------------------------------------------- */

static const char *const signal_names[] = {
	"nop", "hup", "int", "quit", "ill", "trap", "abrt", "bus", "fpe", "kill", "usr1", "segv", "usr2",
	"pipe", "alrm", "term", "stkflt", "chld", "cont", "stop", "tstp", "ttin", "ttou", "urg", "xcpu",
	"xfsz", "vtalrm", "prof", "winch", "poll", "pwr", "sys"};
enum { FIRST_REALTIME = 32, LAST_REALTIME = 64 };

static int signal_number(const char *text)
{
	int64_t number;
	if (parse_int64(text, &number))
		return number;
	g_autofree char *lower = g_ascii_strdown(text, -1);
	const char *name = lower;
	if (g_str_has_prefix(name, "sig_"))
		name += 4;
	else if (g_str_has_prefix(name, "sig"))
		name += 3;
	for (unsigned i = 0; i < G_N_ELEMENTS(signal_names); i++) {
		if (strcmp(signal_names[i], name) == 0)
			return i;
	}
	if (g_str_has_prefix(name, "rt") && parse_int64(name + 2, &number) && number >= 0 &&
	    number <= LAST_REALTIME - FIRST_REALTIME)
		return FIRST_REALTIME + number;
	return -1;
}

bool cmd_send_process_signal(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *name;
	int64_t pid = 0;
	if (!shell_domain(sh, cmd, NULL, &dom) || opt_long(sh, cmd, "pid", &pid) < 0 ||
	    !opt_string(sh, cmd, "signame", &name))
		return false;
	int number = signal_number(name);
	if (number < 0)
		return shell_fail(sh, "malformed signal name: %s", name);
	return CALL(sh, domain_send_process_signal, dom, pid, number, 0);
}

/* Linux's names of keys and their numbers (linux/input-event-codes.h). */
static const struct {
	const char *name;
	unsigned code;
} linux_keys[] = {
	{"ESC", 1}, {"1", 2}, {"2", 3}, {"3", 4}, {"4", 5}, {"5", 6}, {"6", 7}, {"7", 8}, {"8", 9}, {"9", 10},
	{"0", 11}, {"MINUS", 12}, {"EQUAL", 13}, {"BACKSPACE", 14}, {"TAB", 15}, {"Q", 16}, {"W", 17},
	{"E", 18}, {"R", 19}, {"T", 20}, {"Y", 21}, {"U", 22}, {"I", 23}, {"O", 24}, {"P", 25},
	{"LEFTBRACE", 26}, {"RIGHTBRACE", 27}, {"ENTER", 28}, {"LEFTCTRL", 29}, {"A", 30}, {"S", 31},
	{"D", 32}, {"F", 33}, {"G", 34}, {"H", 35}, {"J", 36}, {"K", 37}, {"L", 38}, {"SEMICOLON", 39},
	{"APOSTROPHE", 40}, {"GRAVE", 41}, {"LEFTSHIFT", 42}, {"BACKSLASH", 43}, {"Z", 44}, {"X", 45},
	{"C", 46}, {"V", 47}, {"B", 48}, {"N", 49}, {"M", 50}, {"COMMA", 51}, {"DOT", 52}, {"SLASH", 53},
	{"RIGHTSHIFT", 54}, {"KPASTERISK", 55}, {"LEFTALT", 56}, {"SPACE", 57}, {"CAPSLOCK", 58},
	{"F1", 59}, {"F2", 60}, {"F3", 61}, {"F4", 62}, {"F5", 63}, {"F6", 64}, {"F7", 65}, {"F8", 66},
	{"F9", 67}, {"F10", 68}, {"NUMLOCK", 69}, {"SCROLLLOCK", 70}, {"KP7", 71}, {"KP8", 72}, {"KP9", 73},
	{"KPMINUS", 74}, {"KP4", 75}, {"KP5", 76}, {"KP6", 77}, {"KPPLUS", 78}, {"KP1", 79}, {"KP2", 80},
	{"KP3", 81}, {"KP0", 82}, {"KPDOT", 83}, {"102ND", 86}, {"F11", 87}, {"F12", 88}, {"KPENTER", 96},
	{"RIGHTCTRL", 97}, {"KPSLASH", 98}, {"SYSRQ", 99}, {"RIGHTALT", 100}, {"HOME", 102}, {"UP", 103},
	{"PAGEUP", 104}, {"LEFT", 105}, {"RIGHT", 106}, {"END", 107}, {"DOWN", 108}, {"PAGEDOWN", 109},
	{"INSERT", 110}, {"DELETE", 111}, {"MUTE", 113}, {"VOLUMEDOWN", 114}, {"VOLUMEUP", 115},
	{"POWER", 116}, {"PAUSE", 119}, {"LEFTMETA", 125}, {"RIGHTMETA", 126}, {"SLEEP", 142}, {"WAKEUP", 143},
};
enum { CODESET_LINUX = 0, MOST_KEYS = 16, MOST_CODE = 0xffff };

static int key_code(unsigned codeset, const char *text)
{
	uint64_t number;
	char *end;
	number = g_ascii_strtoull(text, &end, 0);
	if (end != text && !*end)
		return number <= MOST_CODE ? (int)number : -1;
	if (codeset != CODESET_LINUX || !g_str_has_prefix(text, "KEY_"))
		return -1;
	for (unsigned i = 0; i < G_N_ELEMENTS(linux_keys); i++) {
		if (strcmp(linux_keys[i].name, text + 4) == 0)
			return linux_keys[i].code;
	}
	return -1;
}

bool cmd_send_key(struct shell *sh, const struct cmd *cmd)
{
	static const char *const codesets[] = {"linux", "xt", "atset1", "atset2", "atset3", "os_x", "xt_kbd",
					       "usb", "win32", "qnum"};
	struct remote_domain dom;
	const char *name = opt_text(cmd, "codeset");
	uint32_t hold = 0, codes[MOST_KEYS];
	unsigned codeset = 0;
	if (!name || !*name)
		name = "linux";
	if (strcmp(name, "rfb") == 0)
		name = "qnum";
	if (!shell_domain(sh, cmd, NULL, &dom) || opt_uint(sh, cmd, "holdtime", &hold) < 0)
		return false;
	while (codeset < G_N_ELEMENTS(codesets) && strcmp(codesets[codeset], name))
		codeset++;
	if (codeset == G_N_ELEMENTS(codesets))
		return shell_fail(sh, "unknown codeset: '%s'", name);
	g_autoptr(GPtrArray) keys = opt_rest(cmd);
	if (keys->len > MOST_KEYS)
		return shell_fail(sh, "too many keycodes");
	for (unsigned i = 0; i < keys->len; i++) {
		int code = key_code(codeset, keys->pdata[i]);
		if (code < 0)
			return shell_fail(sh, "invalid keycode: '%s'", (char *)keys->pdata[i]);
		codes[i] = code;
	}
	return CALL(sh, domain_send_key, dom, codeset, hold, {keys->len, codes}, 0);
}
