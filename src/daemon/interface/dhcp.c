/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <dhcp/> of IPv4: udhcpc(8), busybox's client, on the interface. It is no child of ours for long and outlives the
 * daemon, as what it is for does; its process id is in STATE/dhcp/NAME.pid. What it has got, a script gives to the
 * interface, with the lease's lifetime: of a client that dies the kernel forgets the address by itself.
 */
#include "daemon/interface/interface.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/store.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOLDER "dhcp"
/* A release is one packet; who does not end by then is killed. */
enum { STOP_MS = 3000 };

/* The host's list of name servers is not ours to change. */
static const char script[] =
	"#!/bin/sh\n"
	"# Of berthd, for udhcpc: what a DHCP server gives to an interface.\n"
	"clear() {\n"
	"\tip -4 route flush dev \"$interface\" proto dhcp\n"
	"\tip -4 address flush dev \"$interface\" dynamic\n"
	"}\n"
	"case $1 in\n"
	"deconfig) clear ;;\n"
	"bound | renew)\n"
	"\t# Without an end it would look as if somebody had given it by hand.\n"
	"\t[ \"${lease:-0}\" -gt 0 ] && [ \"$lease\" -lt 2147483647 ] || lease=2147483647\n"
	"\tip -4 address show dev \"$interface\" | grep -qF \" $ip/$mask \" || clear\n"
	"\tip -4 address replace \"$ip/$mask\" broadcast + dev \"$interface\" valid_lft \"$lease\" "
	"preferred_lft \"$lease\"\n"
	"\tfor gateway in $router; do\n"
	"\t\t# By its own metric it takes no other interface's place.\n"
	"\t\tread -r index </sys/class/net/\"$interface\"/ifindex\n"
	"\t\tip -4 route replace default via \"$gateway\" dev \"$interface\" proto dhcp "
	"metric $((1000 + index))\n"
	"\t\tbreak\n"
	"\tdone\n"
	"\t;;\n"
	"esac\n"
	"exit 0\n";

static char *pid_path(const struct interfaces *interfaces, const char *name)
{
	return store_path(interfaces->daemon, FOLDER, name, ".pid");
}

static char *script_path(const struct interfaces *interfaces)
{
	return store_path(interfaces->daemon, FOLDER, "script", "");
}

/* Process ids are used again: it is ours if it has our script and is for this interface. */
static bool is_ours(const struct interfaces *interfaces, pid_t pid, const char *name)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid), *text = NULL;
	g_autofree char *program = script_path(interfaces);
	size_t length, found = 0;
	const char *before = "";
	if (!g_file_get_contents(path, &text, &length, NULL))
		return false;
	for (const char *word = text; word < text + length; before = word, word += strlen(word) + 1)
		found += (!strcmp(before, "-i") && !strcmp(word, name)) ||
			 (!strcmp(before, "-s") && !strcmp(word, program));
	return found == 2;
}

/* The client's pidfd, or -1: there is none. */
static int find(const struct interfaces *interfaces, const char *name)
{
	g_autofree char *path = pid_path(interfaces, name), *text = NULL;
	pid_t pid = g_file_get_contents(path, &text, NULL, NULL) ? atoi(text) : 0;
	auto_fd fd = pid > 1 ? syscall(SYS_pidfd_open, pid, 0) : -1;
	return fd >= 0 && is_ours(interfaces, pid, name) ? fd_steal(&fd) : -1;
}

bool interface_dhcp_runs(const struct interfaces *interfaces, const char *name)
{
	auto_fd fd = find(interfaces, name);
	return fd >= 0;
}

void interface_dhcp_stop(const struct interfaces *interfaces, const char *name)
{
	g_autofree char *path = pid_path(interfaces, name);
	auto_fd fd = find(interfaces, name);
	if (fd >= 0) {
		struct pollfd gone = {.fd = fd, .events = POLLIN};
		syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0);
		if (poll(&gone, 1, STOP_MS) == 0) {
			log_warning("the DHCP client of interface '%s' does not end: it is killed", name);
			syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
			poll(&gone, 1, STOP_MS);
		}
	}
	if (unlink(path) < 0 && errno != ENOENT)
		log_warning("cannot remove '%s': %s", path, g_strerror(errno));
}

/* Its program and, of a busybox that has all of its own, which one it is to be. */
static bool add_program(GPtrArray *args, GError **error)
{
	char *client = g_find_program_in_path("udhcpc"), *busybox = client ? NULL : g_find_program_in_path("busybox");
	g_autofree char *ip = g_find_program_in_path("ip");
	if (client) {
		g_ptr_array_add(args, client);
	} else if (busybox) {
		g_ptr_array_add(args, busybox);
		g_ptr_array_add(args, g_strdup("udhcpc"));
	}
	return (args->len && ip) || error_set(error, BERTH_ERR_NOT_FOUND,
					      "DHCP needs the program %s: install the package %s",
					      ip ? "udhcpc" : "ip", ip ? "udhcpc" : "iproute2");
}

static bool write_script(const struct interfaces *interfaces, const char *path, GError **error)
{
	static const char *const folders[] = {FOLDER, NULL};
	return store_make_folders(interfaces->daemon, folders, error) &&
	       g_file_set_contents_full(path, script, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0700, error);
}

static void leave_session(void *opaque)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
}

bool interface_dhcp_start(const struct interfaces *interfaces, const char *name, GError **error)
{
	g_autofree char *program = script_path(interfaces), *path = pid_path(interfaces, name);
	g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
	GPid pid;
	if (interface_dhcp_runs(interfaces, name))
		return true;
	if (!add_program(args, error) || !write_script(interfaces, program, error))
		return false;
	/* -f: in the foreground, -R: released at the end; it tries for ever, three times and then every 20 s. */
	const char *const options[] = {"-f", "-R", "-i", name, "-s", program, "-p", path};
	for (unsigned i = 0; i < G_N_ELEMENTS(options); i++)
		g_ptr_array_add(args, g_strdup(options[i]));
	g_ptr_array_add(args, NULL);
	/* Not to be reaped: GLib leaves it to init. */
	if (!g_spawn_async(NULL, (char **)args->pdata, NULL, G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
			   leave_session, NULL, &pid, error))
		return false;
	/* It writes the same, later. */
	g_autofree char *text = g_strdup_printf("%d\n", (int)pid);
	return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0600, error);
}
