/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include "base/error.h"

#include <stdlib.h>
#include <unistd.h>

#define SYSTEM_CONFIG  CONFIG_DIR "/berthd.conf"
#define SYSTEM_STATE   "/var/lib/berth"
#define SYSTEM_SOCKETS "/run/berth"
#define LIBVIRT_SOCKETS "/run/libvirt"

/* A folder of the user or the system, unless it was said. Takes `folder`. */
static void choose(char **chosen, char *folder)
{
	if (*chosen)
		g_free(folder);
	else
		*chosen = folder;
}

/* A file that is read if it is there. */
static void choose_config(struct options *options)
{
	g_autofree char *path = options->session
					? g_build_filename(g_get_user_config_dir(), "berth", "berthd.conf", NULL)
					: g_strdup(SYSTEM_CONFIG);
	if (!options->config && access(path, F_OK) == 0)
		options->config = g_steal_pointer(&path);
}

static bool choose_places(struct options *options, GError **error)
{
	options->system |= options->libvirt_sockets;
	if (options->session && options->system)
		return error_set(error, BERTH_ERR_INVALID,
				 "--session is not for --system or --libvirt-sockets: choose one");
	if (options->libvirt_sockets && options->socket_dir)
		return error_set(error, BERTH_ERR_INVALID,
				 "--libvirt-sockets means --socket-dir " LIBVIRT_SOCKETS ": leave one out");
	if (options->libvirt_sockets)
		options->socket_dir = g_strdup(LIBVIRT_SOCKETS);
	if (options->session) {
		choose_config(options);
		choose(&options->state_dir, g_build_filename(g_get_user_state_dir(), "berth", NULL));
	} else if (options->system) {
		choose_config(options);
		choose(&options->state_dir, g_strdup(SYSTEM_STATE));
	}
	return true;
}

void daemon_options_choose_sockets(struct options *options, const char *configured)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	if (configured)
		choose(&options->socket_dir, g_strdup(configured));
	else if (options->session)
		choose(&options->socket_dir,
		       g_build_filename(runtime && *runtime ? runtime : g_get_user_cache_dir(), "berth",
					NULL));
	else if (options->system)
		choose(&options->socket_dir, g_strdup(SYSTEM_SOCKETS));
}

static bool check(const struct options *options, int argc, char **argv, GError **error)
{
	if (argc > 1)
		return error_set(error, BERTH_ERR_INVALID, "what is '%s'? see berthd --help", argv[1]);
	if (options->timeout_s < 0)
		return error_set(error, BERTH_ERR_INVALID, "--timeout is a number of seconds");
	if (options->pidfile && !g_path_is_absolute(options->pidfile))
		return error_set(error, BERTH_ERR_INVALID, "--pidfile must be a whole path, from / on");
	return true;
}

bool daemon_options_parse(int argc, char **argv, struct options *options, GError **error)
{
	const GOptionEntry entries[] = {
		{"system", 0, 0, G_OPTION_ARG_NONE, &options->system,
		 "serve qemu:///system: sockets in " SYSTEM_SOCKETS ", state in " SYSTEM_STATE, NULL},
		{"libvirt-sockets", 0, 0, G_OPTION_ARG_NONE, &options->libvirt_sockets,
		 "as --system, at libvirt's own sockets in " LIBVIRT_SOCKETS, NULL},
		{"session", 0, 0, G_OPTION_ARG_NONE, &options->session,
		 "serve qemu:///session of this user, in the user's folders", NULL},
		{"socket-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->socket_dir,
		 "make libvirt-sock and libvirt-sock-ro here", "DIR"},
		{"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->state_dir,
		 "keep definitions, logs and what belongs to running VMs here", "DIR"},
		{"config", 0, 0, G_OPTION_ARG_FILENAME, &options->config,
		 "read settings from here (default: " SYSTEM_CONFIG " of --system)", "FILE"},
		{"check-config", 0, 0, G_OPTION_ARG_NONE, &options->check_config,
		 "only say whether the settings are good", NULL},
		{"vmm", 0, 0, G_OPTION_ARG_FILENAME, &options->vmm,
		 "the berth-vmm to run (default: the one beside berthd)", "PATH"},
		{"timeout", 0, 0, G_OPTION_ARG_INT, &options->timeout_s,
		 "end after so long without a client or a running VM", "SECONDS"},
		{"daemon", 0, 0, G_OPTION_ARG_NONE, &options->daemon,
		 "go to the background when ready", NULL},
		{"pidfile", 0, 0, G_OPTION_ARG_FILENAME, &options->pidfile,
		 "write the process's number here when ready", "FILE"},
		{"debug", 0, 0, G_OPTION_ARG_NONE, &options->debug, "log each call", NULL},
		{"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "show the version", NULL},
		{NULL},
	};
	g_autoptr(GOptionContext) context = g_option_context_new("");
	g_option_context_set_summary(context, "Serves libvirt's clients: virsh, virt-install, "
					      "virt-manager and programs that use libvirt.");
	g_option_context_add_main_entries(context, entries, NULL);
	return g_option_context_parse(context, &argc, &argv, error) &&
	       check(options, argc, argv, error) && choose_places(options, error);
}

void daemon_options_clear(struct options *options)
{
	g_free(options->socket_dir);
	g_free(options->state_dir);
	g_free(options->vmm);
	g_free(options->config);
	g_free(options->pidfile);
}
