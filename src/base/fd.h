/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File descriptors that close themselves at the end of their scope. */
#pragma once

#include <unistd.h>

static inline void fd_cleanup(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* `auto_fd fd = open(...)`: closed when the scope ends, unless stolen. */
#define auto_fd __attribute__((cleanup(fd_cleanup))) int

/* Take the descriptor out of *fd, which becomes -1. */
static inline int fd_steal(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

/* Close *fd if it is open and make it -1. */
static inline void fd_clear(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
