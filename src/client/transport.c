/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/transport.h"

#include "aio/net.h"
#include "base/fd.h"
#include "client/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define SYSTEM_FOLDER "/run/libvirt"

static int fail_errno(GError **error, const char *format, const char *what)
{
	int errnum = errno;
	g_autofree char *text = g_strdup_printf(format, what);
	g_set_error(error, CLIENT_ERROR, CLIENT_SYSTEM, "%s: %s", text, g_strerror(errnum));
	return -1;
}

static int connect_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return fd_steal(&fd);
}

static int connect_unix(const struct client_uri *uri, bool readonly, const char *daemon,
			GError **error)
{
	bool session = strcmp(uri->path, "/session") == 0;
	g_autofree char *path = uri->socket ? g_strdup(uri->socket) :
		session ? session_socket(readonly) :
		g_build_filename(SYSTEM_FOLDER, readonly ? "libvirt-sock-ro" : "libvirt-sock", NULL);
	int fd = connect_socket(path);
	if (fd < 0 && session && !uri->socket && (errno == ENOENT || errno == ECONNREFUSED)) {
		if (!session_start_daemon(daemon, path, error))
			return -1;
		fd = connect_socket(path);
	}
	return fd < 0 ? fail_errno(error, "Failed to connect socket to '%s'", path) : fd;
}

static int connect_tcp(const struct client_uri *uri, const char *port, GError **error)
{
	g_autoptr(GError) why = NULL;
	int fd = net_connect_tcp(uri->host ? uri->host : "", uri->port ? uri->port : port, &why);
	if (fd < 0)
		g_set_error(error, CLIENT_ERROR, CLIENT_SYSTEM, "unable to connect to server at '%s:%s': %s",
			    uri->host ? uri->host : "localhost", uri->port ? uri->port : port, why->message);
	return fd;
}

/* A child whose standard input and output are one socket. */
static int connect_child(char *const *argv, pid_t *child, GError **error)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail_errno(error, "cannot start %s", argv[0]);
	auto_fd ours = pair[0], theirs = pair[1];
	*child = fork();
	if (*child < 0)
		return fail_errno(error, "cannot start %s", argv[0]);
	if (*child == 0) {
		dup2(theirs, STDIN_FILENO);
		dup2(theirs, STDOUT_FILENO);
		execvp(argv[0], argv);
		dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	return fd_steal(&ours);
}

/*
 * What runs on the other host: libvirt's helper if it is there, because it knows where the daemon
 * is, else netcat at the socket. The shell there quotes nothing for us.
 */
static char *remote_command(const struct client_uri *uri, bool readonly)
{
	const char *nc = uri->netcat ? uri->netcat : "nc";
	const char *name = readonly ? "libvirt-sock-ro" : "libvirt-sock";
	g_autofree char *quoted_nc = g_shell_quote(nc);
	g_autofree char *quoted_uri = g_shell_quote(uri->name);
	g_autofree char *path = uri->socket ? g_shell_quote(uri->socket) :
		strcmp(uri->path, "/session") == 0 ?
		g_strdup_printf("\"${XDG_RUNTIME_DIR:-$HOME/.cache}/berth/%s\"", name) :
		g_strdup_printf(SYSTEM_FOLDER "/%s", name);
	g_autofree char *netcat = g_strdup_printf("%s -U %s", quoted_nc, path);
	bool native = g_strcmp0(uri->mode, "native") == 0;
	bool legacy = uri->netcat || uri->socket || g_strcmp0(uri->mode, "legacy") == 0;
	g_autofree char *helper = g_strdup_printf("virt-ssh-helper %s%s", readonly ? "-r " : "",
						  quoted_uri);
	g_autofree char *script =
		native ? g_strdup(helper) :
		legacy ? g_strdup(netcat) :
			 g_strdup_printf("if command -v virt-ssh-helper >/dev/null 2>&1; then exec %s; "
					 "else exec %s; fi", helper, netcat);
	g_autofree char *quoted = g_shell_quote(script);
	return g_strdup_printf("sh -c %s", quoted);
}

static int connect_ssh(const struct client_uri *uri, bool readonly, pid_t *child, GError **error)
{
	if (!uri->host) {
		g_set_error(error, CLIENT_ERROR, CLIENT_INVALID_ARG,
			    "the transport ssh needs a host in the URI");
		return -1;
	}
	g_autofree char *command = remote_command(uri, readonly);
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	const char *const words[] = {
		uri->command ? uri->command : "ssh", "-T", "-e", "none",
		uri->port ? "-p" : NULL, uri->port, uri->user ? "-l" : NULL, uri->user,
		uri->keyfile ? "-i" : NULL, uri->keyfile,
		uri->no_tty ? "-oBatchMode=yes" : NULL,
		uri->no_verify ? "-oStrictHostKeyChecking=no" : NULL,
		"--", uri->host, command,
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
		if (words[i])
			g_ptr_array_add(argv, (char *)words[i]);
	}
	g_ptr_array_add(argv, NULL);
	return connect_child((char *const *)argv->pdata, child, error);
}

static int connect_command(const struct client_uri *uri, pid_t *child, GError **error)
{
	if (!uri->command) {
		g_set_error(error, CLIENT_ERROR, CLIENT_INVALID_ARG,
			    "remote_open: for 'ext' transport, command is required");
		return -1;
	}
	char *argv[] = {uri->command, NULL};
	return connect_child(argv, child, error);
}

struct transport *transport_open(const struct client_uri *uri, bool readonly, const char *daemon,
				 GError **error)
{
	struct transport *transport = g_new0(struct transport, 1);
	const char *kind = uri->transport;
	if (strcmp(kind, "unix") == 0)
		transport->fd = connect_unix(uri, readonly, daemon, error);
	else if (strcmp(kind, "ssh") == 0)
		transport->fd = connect_ssh(uri, readonly, &transport->child, error);
	else if (strcmp(kind, "ext") == 0)
		transport->fd = connect_command(uri, &transport->child, error);
	else
		transport->fd = connect_tcp(uri, strcmp(kind, "tls") == 0 ? "16514" : "16509", error);
	if (transport->fd >= 0 && strcmp(kind, "tls") == 0)
		transport->tls = tls_open(transport->fd, uri, error);
	if (transport->fd < 0 || (strcmp(kind, "tls") == 0 && !transport->tls)) {
		transport_free(transport);
		return NULL;
	}
	return transport;
}

void transport_free(struct transport *transport)
{
	if (!transport)
		return;
	tls_free(transport->tls);
	fd_clear(&transport->fd);
	/* Its input has ended; ssh and netcat leave by themselves then. */
	if (transport->child > 0 && waitpid(transport->child, NULL, WNOHANG) == 0) {
		kill(transport->child, SIGTERM);
		waitpid(transport->child, NULL, 0);
	}
	g_free(transport);
}

ssize_t transport_read(struct transport *transport, void *bytes, size_t size)
{
	return transport->tls ? tls_read(transport->tls, bytes, size) :
				read(transport->fd, bytes, size);
}

bool transport_write(struct transport *transport, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	while (size) {
		ssize_t done = transport->tls ? tls_write(transport->tls, at, size) :
						send(transport->fd, at, size, MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		at += done;
		size -= done;
	}
	return true;
}

bool transport_pending(const struct transport *transport)
{
	return transport->tls && tls_pending(transport->tls);
}
