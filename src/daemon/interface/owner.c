/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of the host's own tools looks after an interface: ifupdown by its files (interfaces(5)),
 * NetworkManager and systemd-networkd by what they keep of their running state.
 */
#include "daemon/interface/interface.h"

#include "base/error.h"

#include <glob.h>
#include <net/if.h>
#include <string.h>

#define IFUPDOWN "/etc/network/interfaces"
enum { MAX_DEPTH = 4 };

/* --- ifupdown --------------------------------------------------------------------------------- */

static bool ifupdown_names(const char *path, unsigned depth, const char *name, char **where);

/* Files that `pattern` stands for, which may be relative to the file that names it. */
static bool ifupdown_names_in(const char *pattern, const char *from, unsigned depth, const char *name,
			      char **where)
{
	g_autofree char *folder = g_path_get_dirname(from);
	g_autofree char *path = *pattern == '/' ? g_strdup(pattern) : g_build_filename(folder, pattern, NULL);
	glob_t found;
	bool named = false;
	if (depth >= MAX_DEPTH || glob(path, 0, NULL, &found) != 0)
		return false;
	for (size_t i = 0; !named && i < found.gl_pathc; i++)
		named = ifupdown_names(found.gl_pathv[i], depth + 1, name, where);
	globfree(&found);
	return named;
}

/* "iface NAME ...", and lists of interfaces that are parts of others. */
static bool line_names(char **words, const char *name)
{
	static const char *const lists[] = {"bridge_ports", "bridge-ports", "bond-slaves", "bond_slaves",
					    "slaves", "vlan-raw-device", "vlan_raw_device", NULL};
	if (!strcmp(words[0], "iface"))
		return !g_strcmp0(words[1], name);
	return g_strv_contains(lists, words[0]) && g_strv_contains((const char *const *)words + 1, name);
}

/* The words of a line without the white space between them. g_strfreev(). */
static char **words_of(const char *line)
{
	g_auto(GStrv) parts = g_strsplit_set(line, " \t", -1);
	GPtrArray *words = g_ptr_array_new();
	for (char **part = parts; *part; part++) {
		if (**part)
			g_ptr_array_add(words, g_strdup(*part));
	}
	g_ptr_array_add(words, NULL);
	return (char **)g_ptr_array_free(words, FALSE);
}

static bool ifupdown_names(const char *path, unsigned depth, const char *name, char **where)
{
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return false;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) words = words_of(*line);
		if (!words[0] || *words[0] == '#')
			continue;
		if (line_names(words, name)) {
			*where = g_strdup(path);
			return true;
		}
		g_autofree char *all = words[1] ? g_build_filename(words[1], "*", NULL) : NULL;
		if (words[1] && ((!strcmp(words[0], "source") &&
				  ifupdown_names_in(words[1], path, depth, name, where)) ||
				 (!strcmp(words[0], "source-directory") &&
				  ifupdown_names_in(all, path, depth, name, where))))
			return true;
	}
	return false;
}

/* --- The others ------------------------------------------------------------------------------- */

static bool networkmanager_has(unsigned index)
{
	g_autofree char *path = g_strdup_printf("/run/NetworkManager/devices/%u", index);
	g_autoptr(GKeyFile) file = g_key_file_new();
	return g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, NULL) &&
	       g_key_file_get_boolean(file, "device", "managed", NULL);
}

static bool networkd_has(unsigned index)
{
	g_autofree char *path = g_strdup_printf("/run/systemd/netif/links/%u", index), *text = NULL;
	const char *state = g_file_get_contents(path, &text, NULL, NULL) ? strstr(text, "ADMIN_STATE=") : NULL;
	return state && !g_str_has_prefix(state, "ADMIN_STATE=unmanaged");
}

bool interface_check_owner(const char *name, GError **error)
{
	unsigned index = if_nametoindex(name);
	g_autofree char *where = NULL;
	if (ifupdown_names(IFUPDOWN, 0, name, &where))
		return error_set(error, BERTH_ERR_BUSY,
				 "interface '%s' belongs to ifupdown, which has it in %s: change it there, or "
				 "take it out of there and define it here", name, where);
	if (index && networkmanager_has(index))
		return error_set(error, BERTH_ERR_BUSY,
				 "interface '%s' belongs to NetworkManager: change it with nmcli(1), or first let "
				 "go of it with 'nmcli device set %s managed no'", name, name);
	if (index && networkd_has(index))
		return error_set(error, BERTH_ERR_BUSY,
				 "interface '%s' belongs to systemd-networkd: change it in /etc/systemd/network, "
				 "or write Unmanaged=yes there and define it here", name);
	return true;
}
