/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving up what a running VM does not need. Called once, when everything is open and set up: from
 * then on the kernel refuses the process (all its threads, and any it starts) every system call
 * that is not on the list, and no executable can give it new rights.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct sandbox_policy {
	bool allow_spawn;     /* fork and exec: scripts of tap back ends */
	bool allow_resources; /* scheduling and limits of the process itself */
};

bool sandbox_enter(const struct sandbox_policy *policy, GError **error);

/* Become `user` ("nobody" or "UID:GID") for good. Needs root. */
bool sandbox_drop_user(const char *user, GError **error);
/* Make `folder` the root. Needs root; before sandbox_drop_user(). */
bool sandbox_chroot(const char *folder, GError **error);
