/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The socket device with a host that connects, listens, talks and hangs up. */
#include "dev/virtio/devices.h"
#include "virtio_fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOSTS 4

struct host {
	char path[64];
	int server, fds[HOSTS];
};

static int unix_socket(const char *path, bool server)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result;
	if (server) {
		unlink(path);
		result = bind(fd, (struct sockaddr *)&address, sizeof(address));
		if (!result)
			result = listen(fd, HOSTS);
	} else {
		result = connect(fd, (struct sockaddr *)&address, sizeof(address));
	}
	if (result) {
		close(fd);
		return -1;
	}
	return fd;
}

static void event(void *opaque, struct vd *vd, struct fuzz_in *in)
{
	struct host *host = opaque;
	uint8_t what = fuzz_u8(in);
	int *fd = &host->fds[what % HOSTS];
	char buffer[256];
	switch (what >> 2 & 7) {
	case 0:
		if (*fd < 0)
			*fd = unix_socket(host->path, false);
		break;
	case 1:
		if (*fd < 0)
			*fd = accept4(host->server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		break;
	case 2:
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		break;
	case 3:
		if (*fd >= 0)
			shutdown(*fd, what >> 5 & 1);
		break;
	case 4:
		if (*fd >= 0 && recv(*fd, buffer, sizeof(buffer), MSG_DONTWAIT) < 0)
			return;
		break;
	case 5:
		if (*fd >= 0 && send(*fd, "CONNECT 80\n", 11, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		break;
	default:
		for (unsigned i = 0; i < sizeof(buffer); i++)
			buffer[i] = fuzz_u8(in);
		if (*fd >= 0 && send(*fd, buffer, what, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct host host = {.fds = {-1, -1, -1, -1}};
	char listener[80];
	snprintf(host.path, sizeof(host.path), "/tmp/fuzz-vsock-%d", (int)getpid());
	snprintf(listener, sizeof(listener), "%s_80", host.path);
	unlink(host.path);
	host.server = unix_socket(listener, true);
	const char *const properties[] = {"uds-path", host.path, "guest-cid", "3", NULL};
	const struct fuzz_target target = {
		.class = &virtio_vsock_device, .properties = properties, .queues = 3,
		.features = ~UINT64_C(0), .event = event, .opaque = &host,
	};
	struct vd_machine m;
	vd_machine_init(&m);
	fuzz_virtio(&target, &m, data, size);
	for (unsigned i = 0; i < HOSTS; i++) {
		if (host.fds[i] >= 0)
			close(host.fds[i]);
	}
	if (host.server >= 0)
		close(host.server);
	unlink(listener);
	return 0;
}
