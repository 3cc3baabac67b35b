/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages about devices, as any program of the machine may send them. */
#include "daemon/nodedev/nodedev.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];
	struct uevent event;
	assert(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds) == 0);
	if (send(fds[1], data, size, 0) == (ssize_t)size) {
		assert(uevent_next(fds[0], &event));
		assert(memchr(event.path, '\0', sizeof(event.path)));
	}
	assert(!uevent_next(fds[0], &event));
	close(fds[0]);
	close(fds[1]);
	return 0;
}
