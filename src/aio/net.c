/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aio/net.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static bool fill_address(struct sockaddr_un *address, const char *path, GError **error)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return error_set(error, BERTH_ERR_INVALID,
				 "the socket path '%s' is too long: at most %zu characters", path,
				 sizeof(address->sun_path) - 1);
	memcpy(address->sun_path, path, strlen(path));
	return true;
}

static int connect_unix(const char *path, int flags, GError **error)
{
	struct sockaddr_un address;
	if (!fill_address(&address, path, error))
		return -1;
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		error_set_errno(error, errno, "cannot connect to the socket '%s'", path);
		return -1;
	}
	return fd_steal(&fd);
}

int net_connect_unix(const char *path, GError **error)
{
	return connect_unix(path, 0, error);
}

int net_connect_unix_now(const char *path, GError **error)
{
	return connect_unix(path, SOCK_NONBLOCK, error);
}

/* What a new socket has: sandboxed callers need not change it. */
enum { ANYBODY = 0777 };

/* unix(7): the file gets the mode of the socket that is bound, without the bits of the umask. */
static int listen_unix(const char *path, mode_t mode, GError **error)
{
	struct sockaddr_un address;
	if (!fill_address(&address, path, error))
		return -1;
	int other = net_connect_unix(path, NULL);
	if (other >= 0) {
		close(other);
		error_set(error, BERTH_ERR_BUSY,
			  "the socket '%s' is in use by another program: choose another path", path);
		return -1;
	}
	if (errno == ECONNREFUSED)
		unlink(path);
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || (mode != ANYBODY && fchmod(fd, mode) < 0) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0) {
		error_set_errno(error, errno, "cannot listen on the socket '%s'", path);
		return -1;
	}
	return fd_steal(&fd);
}

int net_listen_unix(const char *path, GError **error)
{
	return listen_unix(path, ANYBODY, error);
}

int net_listen_unix_closed(const char *path, GError **error)
{
	return listen_unix(path, 0, error);
}

static struct addrinfo *look_up_kind(const char *host, const char *port, bool server, int type, int family,
				     GError **error)
{
	struct addrinfo hints = {.ai_socktype = type, .ai_family = family,
				 .ai_flags = server ? AI_PASSIVE : 0};
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(*host ? host : NULL, port, &hints, &list);
	if (rc == 0)
		return list;
	error_set(error, BERTH_ERR_NOT_FOUND, "cannot look up %s:%s: %s", host, port, gai_strerror(rc));
	return NULL;
}

static struct addrinfo *look_up(const char *host, const char *port, bool server, GError **error)
{
	return look_up_kind(host, port, server, SOCK_STREAM, AF_UNSPEC, error);
}

int net_listen_tcp(const char *host, const char *port, GError **error)
{
	struct addrinfo *list = look_up(host, port, true, error);
	if (!list)
		return -1;
	int one = 1, last = EADDRNOTAVAIL;
	auto_fd fd = -1;
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 16) < 0) {
			last = errno;
			fd_clear(&fd);
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		error_set_errno(error, last, "cannot listen on %s:%s%s", host, port,
				last == EADDRINUSE ? " (choose another port, or end the program that "
						     "has it: ss -ltnp shows which)" : "");
	return fd_steal(&fd);
}

int net_connect_tcp(const char *host, const char *port, GError **error)
{
	struct addrinfo *list = look_up(host, port, false, error);
	if (!list)
		return -1;
	int last = EHOSTUNREACH;
	auto_fd fd = -1;
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			last = errno;
			fd_clear(&fd);
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		error_set_errno(error, last, "cannot connect to %s:%s", host, port);
	return fd_steal(&fd);
}

/* --- Datagrams -------------------------------------------------------------------------------- */

bool net_address_unix(const char *path, struct net_address *address, GError **error)
{
	*address = (struct net_address){.length = sizeof(struct sockaddr_un)};
	return fill_address((struct sockaddr_un *)&address->to, path, error);
}

bool net_address_udp(const char *host, const char *port, int family, bool bind, struct net_address *address,
		     GError **error)
{
	struct addrinfo *list = look_up_kind(host, port, bind, SOCK_DGRAM, family, error);
	if (!list)
		return false;
	*address = (struct net_address){.length = list->ai_addrlen};
	memcpy(&address->to, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	return true;
}

/* A socket that a program which was killed has left. */
static void remove_stale(const struct net_address *address)
{
	const struct sockaddr_un *file = (const struct sockaddr_un *)&address->to;
	struct stat status;
	auto_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (lstat(file->sun_path, &status) == 0 && S_ISSOCK(status.st_mode) && fd >= 0 &&
	    connect(fd, (const struct sockaddr *)file, sizeof(*file)) < 0 && errno == ECONNREFUSED)
		unlink(file->sun_path);
}

int net_bind_datagrams(const struct net_address *address, const char *name, bool shared, GError **error)
{
	int one = 1;
	if (address->to.ss_family == AF_UNIX)
		remove_stale(address);
	auto_fd fd = socket(address->to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && (!shared || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0) &&
	    bind(fd, (const struct sockaddr *)&address->to, address->length) == 0)
		return fd_steal(&fd);
	error_set_errno(error, errno, "cannot receive datagrams at %s%s", name,
			errno == EADDRINUSE ? " (choose another address, or end the program that has it)" : "");
	return -1;
}
