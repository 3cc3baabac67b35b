/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doors.h"

#include "aio/net.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/rpc/sasl.h"
#include "daemon/rpc/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* Of sd_listen_fds(3). */
enum { FIRST_GIVEN_FD = 3 };

enum door_kind { DOOR_UNIX_RW, DOOR_UNIX_RO, DOOR_TCP, DOOR_TLS, DOORS };

/* The end of a systemd socket unit's name or its FileDescriptorName=. */
static const char *const given_names[DOORS] = {
	"berthd.socket", "berthd-ro.socket", "berthd-tcp.socket", "berthd-tls.socket",
};

struct doors {
	const struct settings *settings;
	struct tls_server *tls;
	struct rpc_door door[DOORS];
	bool sasl;    /* the library is in use */
	char **given; /* names of systemd's sockets, in their order */
};

static bool wants_sasl(const char *key)
{
	return strcmp(key, "sasl") == 0;
}

/* sd_listen_fds_with_names(3). Children must not believe that the sockets are for them. */
static bool find_given(struct doors *doors, GError **error)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");
	guint64 wanted, sockets = 0;
	bool ours = pid && count && g_ascii_string_to_unsigned(pid, 10, 1, G_MAXINT, &wanted, NULL) &&
		    wanted == (guint64)getpid();
	if (ours && !g_ascii_string_to_unsigned(count, 10, 0, 64, &sockets, error))
		return false;
	doors->given = g_strsplit(ours && names ? names : "", ":", -1);
	if (g_strv_length(doors->given) != sockets)
		return error_set(error, BERTH_ERR_INVALID,
				 "systemd gives %u sockets (LISTEN_FDS) and %u names (LISTEN_FDNAMES)",
				 (unsigned)sockets, g_strv_length(doors->given));
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return true;
}

static bool is_given(const struct doors *doors, enum door_kind kind)
{
	return g_strv_contains((const char *const *)doors->given, given_names[kind]);
}

struct doors *doors_new(const struct settings *settings, GError **error)
{
	struct doors *doors = g_new0(struct doors, 1);
	const char *const *users = (const char *const *)settings->sasl_allowed_username_list;
	doors->settings = settings;
	doors->door[DOOR_UNIX_RW] = (struct rpc_door){
		.name = "unix", .sasl = wants_sasl(settings->auth_unix_rw), .users = users};
	doors->door[DOOR_UNIX_RO] = (struct rpc_door){
		.name = "unix", .readonly = true, .sasl = wants_sasl(settings->auth_unix_ro),
		.users = users};
	doors->door[DOOR_TCP] = (struct rpc_door){
		.name = "tcp", .remote = true, .sasl = wants_sasl(settings->auth_tcp),
		.min_ssf = settings->tcp_min_ssf, .users = users};
	const struct tls_settings tls = {
		.ca = settings->ca_file, .certificate = settings->cert_file, .key = settings->key_file,
		.crl = settings->crl_file, .priority = settings->tls_priority,
		.no_verify = settings->tls_no_verify_certificate,
		.allowed = (const char *const *)settings->tls_allowed_dn_list,
	};
	bool good = find_given(doors, error);
	if (good && (settings->listen_tls || is_given(doors, DOOR_TLS)))
		good = (doors->tls = tls_server_new(&tls, error)) != NULL;
	doors->door[DOOR_TLS] = (struct rpc_door){
		.name = "tls", .remote = true, .sasl = wants_sasl(settings->auth_tls), .tls = doors->tls,
		.users = users};
	if (good)
		return doors;
	doors_free(doors);
	return NULL;
}

void doors_free(struct doors *doors)
{
	if (!doors)
		return;
	tls_server_free(doors->tls);
	g_strfreev(doors->given);
	g_free(doors);
}

static bool find_group(const char *name, gid_t *gid, GError **error)
{
	*gid = -1;
	if (!name)
		return true;
	const struct group *group = getgrnam(name);
	if (!group)
		return error_set(error, BERTH_ERR_NOT_FOUND, "unix_sock_group: there is no group '%s' here",
				 name);
	*gid = group->gr_gid;
	return true;
}

static bool serve(struct doors *doors, struct rpc_server *server, enum door_kind kind, int fd,
		  GError **error)
{
	/* Not before it is of use: it loads a dozen plugins. */
	if (doors->door[kind].sasl && !doors->sasl && !(doors->sasl = sasl_library_init(error))) {
		close(fd);
		return false;
	}
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		error_set_errno(error, errno, "cannot set up the socket for %s", doors->door[kind].name);
		close(fd);
		return false;
	}
	rpc_server_listen(server, fd, &doors->door[kind]);
	return true;
}

static bool open_unix(struct doors *doors, struct rpc_server *server, enum door_kind kind,
		      const char *folder, GError **error)
{
	bool readonly = doors->door[kind].readonly;
	const struct settings *settings = doors->settings;
	g_autofree char *path =
		g_build_filename(folder, readonly ? "libvirt-sock-ro" : "libvirt-sock", NULL);
	unsigned mode;
	gid_t group;
	if (!settings_mode(readonly ? "unix_sock_ro_perms" : "unix_sock_rw_perms",
			   readonly ? settings->unix_sock_ro_perms : settings->unix_sock_rw_perms, &mode,
			   error) ||
	    !find_group(settings->unix_sock_group, &group, error))
		return false;
	/* Nobody may connect before the mode is what it should be. */
	auto_fd fd = net_listen_unix_closed(path, error);
	if (fd < 0)
		return false;
	if ((group != (gid_t)-1 && chown(path, -1, group) < 0) || chmod(path, mode) < 0)
		return error_set_errno(error, errno, "cannot set group and mode of '%s'", path);
	log_info("ready at %s", path);
	return serve(doors, server, kind, fd_steal(&fd), error);
}

static bool open_network(struct doors *doors, struct rpc_server *server, enum door_kind kind,
			 GError **error)
{
	const struct settings *settings = doors->settings;
	const char *port = kind == DOOR_TLS ? settings->tls_port : settings->tcp_port;
	int fd = net_listen_tcp(settings->listen_addr, port, error);
	if (fd < 0)
		return false;
	log_info("ready at %s port %s for %s%s", *settings->listen_addr ? settings->listen_addr : "any",
		 port, doors->door[kind].name, doors->door[kind].sasl ? " with SASL" : "");
	if (kind == DOOR_TCP && !doors->door[kind].sasl)
		log_warning("auth_tcp is \"none\": whoever reaches port %s may do everything", port);
	return serve(doors, server, kind, fd, error);
}

static bool take_given(struct doors *doors, struct rpc_server *server, GError **error)
{
	for (unsigned i = 0; doors->given[i]; i++) {
		enum door_kind kind = 0;
		while (kind < DOORS && strcmp(given_names[kind], doors->given[i]) != 0)
			kind++;
		if (kind == DOORS)
			return error_set(error, BERTH_ERR_INVALID,
					 "systemd gives a socket named '%s': berthd knows berthd.socket, "
					 "berthd-ro.socket, berthd-tcp.socket and berthd-tls.socket",
					 doors->given[i]);
		if (!serve(doors, server, kind, FIRST_GIVEN_FD + i, error))
			return false;
		log_info("ready at systemd's %s", doors->given[i]);
	}
	return true;
}

bool doors_open(struct doors *doors, struct rpc_server *server, const char *folder, GError **error)
{
	const struct settings *settings = doors->settings;
	bool good = doors->given[0] ? take_given(doors, server, error)
				    : open_unix(doors, server, DOOR_UNIX_RW, folder, error) &&
					      open_unix(doors, server, DOOR_UNIX_RO, folder, error);
	if (good && settings->listen_tcp && !is_given(doors, DOOR_TCP))
		good = open_network(doors, server, DOOR_TCP, error);
	if (good && settings->listen_tls && !is_given(doors, DOOR_TLS))
		good = open_network(doors, server, DOOR_TLS, error);
	return good;
}
