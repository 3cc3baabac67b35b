/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages about devices. Where udevd runs, its own are listened to, which come when it has found out
 * all about a device; elsewhere the kernel's. What they say is not trusted further than to look at
 * sysfs anew.
 */
#include "daemon/nodedev/nodedev.h"

#include "base/error.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Multicast groups of NETLINK_KOBJECT_UEVENT. */
enum { GROUP_KERNEL = 1, GROUP_UDEV = 2, BUFFER = 1 << 20 };

/* What udevd puts before the properties (systemd's sd-device monitor). */
struct udev_header {
	char prefix[8]; /* "libudev" */
	uint32_t magic, header_size, properties_offset, properties_length;
};

int uevent_open(GError **error)
{
	bool udev = access("/run/udev/control", F_OK) == 0;
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	struct sockaddr_nl address = {.nl_family = AF_NETLINK,
				      .nl_groups = udev ? GROUP_UDEV : GROUP_KERNEL};
	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		int size = BUFFER;
		/* Beyond the system's limit only root may go. */
		if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
		return fd;
	}
	error_set_errno(error, errno, "cannot listen to the kernel's messages about devices");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Where "KEY=value" lines, each ended by a zero, begin; `end` if there are none. */
static const char *properties(const char *data, const char *end)
{
	struct udev_header header;
	if ((size_t)(end - data) >= sizeof(header) && memcmp(data, "libudev", 8) == 0) {
		memcpy(&header, data, sizeof(header));
		return header.properties_offset <= (size_t)(end - data)
			       ? data + header.properties_offset : end;
	}
	/* "add@/devices/..." */
	const char *zero = memchr(data, '\0', end - data);
	return zero ? zero + 1 : end;
}

static void parse(const char *data, size_t length, struct uevent *event)
{
	const char *end = data + length;
	for (const char *at = properties(data, end); at < end;) {
		const char *zero = memchr(at, '\0', end - at);
		if (!zero)
			break;
		if (g_str_has_prefix(at, "DEVPATH="))
			g_strlcpy(event->path, at + strlen("DEVPATH="), sizeof(event->path));
		else if (strcmp(at, "ACTION=change") == 0)
			event->changed = true;
		at = zero + 1;
	}
}

bool uevent_next(int fd, struct uevent *event)
{
	char data[8192];
	ssize_t length = recv(fd, data, sizeof(data), 0);
	bool lost = length < 0 && errno == ENOBUFS;
	*event = (struct uevent){.changed = false};
	if (length > 0)
		parse(data, length, event);
	return length >= 0 || lost;
}
