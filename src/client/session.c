/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user's own daemon: where its socket is, and how it is started when nobody answers there. */
#include "client/client.h"
#include "client/transport.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of its start: it asks berth-vmm what the host can do before it listens. */
enum { START_LIMIT_MS = 30000, START_STEP_MS = 20 };
/* Nobody else ends it: it leaves after so long without clients, VMs and networks. */
#define IDLE_LIMIT_S "120"

static char *session_folder(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	return g_build_filename(runtime && *runtime ? runtime : g_get_user_cache_dir(), "berth", NULL);
}

char *session_socket(bool readonly)
{
	g_autofree char *folder = session_folder();
	return g_build_filename(folder, readonly ? "libvirt-sock-ro" : "libvirt-sock", NULL);
}

char *client_default_uri(bool readonly)
{
	static const char *const variables[] = {"BERTH_URI", "LIBVIRT_DEFAULT_URI"};
	for (unsigned i = 0; i < G_N_ELEMENTS(variables); i++) {
		const char *value = getenv(variables[i]);
		if (value && *value)
			return g_strdup(value);
	}
	const char *socket = readonly ? "/run/libvirt/libvirt-sock-ro" : "/run/libvirt/libvirt-sock";
	return g_strdup(access(socket, R_OK | W_OK) == 0 ? "qemu:///system" : "qemu:///session");
}

/* berthd beside our own program, where it is installed or built, or from PATH. */
static char *find_daemon(GError **error)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
	static const char *const places[] = {"berthd", "../sbin/berthd", "../daemon/berthd"};
	for (unsigned i = 0; folder && i < G_N_ELEMENTS(places); i++) {
		g_autofree char *path = g_build_filename(folder, places[i], NULL);
		if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE))
			return g_canonicalize_filename(path, NULL);
	}
	char *path = g_find_program_in_path("berthd");
	if (!path)
		g_set_error(error, CLIENT_ERROR, CLIENT_NO_CONNECT,
			    "berthd is neither beside this program nor in PATH");
	return path;
}

/* In the child: a session of its own, its words into the log, and a double fork so that the caller
 * never has to wait for it. */
static void become_daemon(const char *daemon, const char *folder)
{
	g_autofree char *log = g_build_filename(folder, "berthd.log", NULL);
	setsid();
	if (fork() != 0)
		_exit(0);
	int null = open("/dev/null", O_RDONLY);
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (null < 0 || out < 0)
		_exit(127);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	signal(SIGPIPE, SIG_DFL);
	execl(daemon, daemon, "--session", "--timeout", IDLE_LIMIT_S, NULL);
	_exit(127);
}

static bool answers(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

bool session_start_daemon(const char *daemon, const char *socket_path, GError **error)
{
	g_autofree char *found = daemon ? g_strdup(daemon) : find_daemon(error);
	if (!found)
		return false;
	g_autofree char *folder = session_folder();
	if (g_mkdir_with_parents(folder, 0700) < 0) {
		g_set_error(error, CLIENT_ERROR, CLIENT_SYSTEM, "cannot create the folder '%s': %s",
			    folder, g_strerror(errno));
		return false;
	}
	pid_t child = fork();
	if (child == 0)
		become_daemon(found, folder);
	if (child > 0)
		waitpid(child, NULL, 0);
	for (int waited = 0; child > 0 && waited < START_LIMIT_MS; waited += START_STEP_MS) {
		if (answers(socket_path))
			return true;
		g_usleep(START_STEP_MS * 1000);
	}
	g_set_error(error, CLIENT_ERROR, CLIENT_NO_CONNECT,
		    "%s does not start: %s/berthd.log says why", found, folder);
	return false;
}
