/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * berthd: serves libvirt's clients. Everything runs on one loop; this file reads the options, puts
 * the parts together, and ends them in order on SIGTERM or SIGINT. VMs go on without the daemon.
 */
#include "aio/net.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/domain/domain.h"
#include "daemon/host/host.h"
#include "daemon/rpc/rpc.h"
#include "daemon/storage/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

/* Of blocking work: fsync, images. */
enum { POOL_THREADS = 8 };

struct settings {
	char *socket_dir, *state_dir, *vmm;
	gboolean debug, version, session;
};

/* For a user's own daemon: where berth looks for it, and where users' programs keep their state. */
static void choose_folders(struct settings *settings)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	if (!settings->socket_dir)
		settings->socket_dir = g_build_filename(
			runtime && *runtime ? runtime : g_get_user_cache_dir(), "berth", NULL);
	if (!settings->state_dir)
		settings->state_dir = g_build_filename(g_get_user_state_dir(), "berth", NULL);
}

static bool parse_arguments(int argc, char **argv, struct settings *settings, GError **error)
{
	const GOptionEntry entries[] = {
		{"socket-dir", 0, 0, G_OPTION_ARG_FILENAME, &settings->socket_dir,
		 "make libvirt-sock and libvirt-sock-ro here", "DIR"},
		{"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &settings->state_dir,
		 "keep definitions, logs and what belongs to running VMs here", "DIR"},
		{"vmm", 0, 0, G_OPTION_ARG_FILENAME, &settings->vmm,
		 "the berth-vmm to run (default: the one beside berthd)", "PATH"},
		{"session", 0, 0, G_OPTION_ARG_NONE, &settings->session,
		 "serve qemu:///session of this user, in the user's folders", NULL},
		{"debug", 0, 0, G_OPTION_ARG_NONE, &settings->debug, "log each call", NULL},
		{"version", 0, 0, G_OPTION_ARG_NONE, &settings->version, "show the version", NULL},
		{NULL},
	};
	g_autoptr(GOptionContext) context = g_option_context_new("");
	g_option_context_set_summary(context, "Serves libvirt's clients: virsh, virt-install, "
					      "virt-manager and programs that use libvirt.");
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, error))
		return false;
	if (argc > 1)
		return error_set(error, BERTH_ERR_INVALID, "what is '%s'? see berthd --help", argv[1]);
	if (settings->session)
		choose_folders(settings);
	if (!settings->version && (!settings->socket_dir || !settings->state_dir))
		return error_set(error, BERTH_ERR_INVALID,
				 "say where to live: --socket-dir DIR --state-dir DIR, or --session");
	return true;
}

/* berth-vmm beside our own program, or from PATH. */
static char *find_vmm(GError **error)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
	static const char *const places[] = {"berth-vmm", "../vmm/berth-vmm"};
	for (unsigned i = 0; folder && i < G_N_ELEMENTS(places); i++) {
		g_autofree char *path = g_build_filename(folder, places[i], NULL);
		if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE))
			return g_canonicalize_filename(path, NULL);
	}
	char *path = g_find_program_in_path("berth-vmm");
	if (!path)
		error_set(error, BERTH_ERR_NOT_FOUND,
			  "berth-vmm is neither beside berthd nor in PATH: name it with --vmm");
	return path;
}

static bool make_folder(const char *path, mode_t mode, GError **error)
{
	if (g_mkdir_with_parents(path, mode) < 0)
		return error_set_errno(error, errno, "cannot create the folder '%s'", path);
	return true;
}

/* One daemon for a state folder: two would start VMs twice. The lock ends with the process. */
static int lock_state(const char *folder, GError **error)
{
	g_autofree char *path = g_build_filename(folder, "berthd.lock", NULL);
	auto_fd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		error_set_errno(error, errno, "cannot open '%s'", path);
	else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		error_set(error, BERTH_ERR_BUSY,
			  "another berthd uses '%s': end it or choose another --state-dir", folder);
	else
		return fd_steal(&fd);
	return -1;
}

static bool listen_at(struct rpc_server *server, const char *folder, const char *name, bool readonly,
		      GError **error)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	int fd = net_listen_unix(path, error);
	if (fd < 0)
		return false;
	/* Who may connect read-only may look; writing is for the owner and the group. */
	if (chmod(path, readonly ? 0777 : 0770) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		error_set_errno(error, errno, "cannot set up '%s'", path);
		close(fd);
		return false;
	}
	rpc_server_listen(server, fd, readonly);
	return true;
}

static void on_signal(void *opaque, int fd, uint32_t events)
{
	aio_loop_quit(opaque);
}

/* SIGTERM and SIGINT become readable; threads made later inherit the mask. */
static int block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool serve(struct daemon *daemon, const struct settings *settings, GError **error)
{
	if (!listen_at(daemon->server, settings->socket_dir, "libvirt-sock", false, error) ||
	    !listen_at(daemon->server, settings->socket_dir, "libvirt-sock-ro", true, error))
		return false;
	log_info("ready at %s/libvirt-sock", settings->socket_dir);
	aio_loop_run(daemon->loop);
	return true;
}

static bool run(const struct settings *settings, GError **error)
{
	auto_fd signals = block_signals();
	if (!make_folder(settings->socket_dir, 0755, error) ||
	    !make_folder(settings->state_dir, 0700, error))
		return false;
	auto_fd lock = lock_state(settings->state_dir, error);
	if (lock < 0)
		return false;
	struct daemon daemon = {
		.state_dir = settings->state_dir, .vmm = settings->vmm,
		.uri = settings->session ? "qemu:///session" : "qemu:///system",
	};
	daemon.host = host_new(&daemon, error);
	if (!daemon.host)
		return false;
	daemon.loop = aio_loop_new(error);
	if (!daemon.loop) {
		host_free(daemon.host);
		return false;
	}
	daemon.pool = aio_pool_new(POOL_THREADS);
	daemon.server = rpc_server_new(&daemon, &rpc_default_limits);
	aio_watch_add(daemon.loop, signals, POLLIN, on_signal, daemon.loop);
	/* Before the domains: those with autostart may have their disks in pools. */
	daemon.storage = storage_new(&daemon, error);
	daemon.domains = daemon.storage ? domains_new(&daemon, error) : NULL;
	bool good = daemon.domains && serve(&daemon, settings, error);
	rpc_server_free(g_steal_pointer(&daemon.server));
	storage_free(daemon.storage);
	aio_pool_free(daemon.pool);
	/* What was posted to the loop meanwhile frees its memory. */
	aio_loop_iterate(daemon.loop, 0);
	domains_free(daemon.domains);
	aio_loop_iterate(daemon.loop, 0);
	aio_loop_free(daemon.loop);
	host_free(daemon.host);
	return good;
}

int main(int argc, char **argv)
{
	struct settings settings = {NULL};
	g_autoptr(GError) error = NULL;
	bool good = parse_arguments(argc, argv, &settings, &error);
	if (good && settings.version) {
		printf("berthd " BERTH_VERSION "\n");
		return EXIT_SUCCESS;
	}
	log_setup("berthd", settings.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, stderr);
	if (good && !settings.vmm)
		good = (settings.vmm = find_vmm(&error)) != NULL;
	if (good)
		good = run(&settings, &error);
	if (!good)
		fprintf(stderr, "berthd: %s\n", error->message);
	g_free(settings.socket_dir);
	g_free(settings.state_dir);
	g_free(settings.vmm);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
