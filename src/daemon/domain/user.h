/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Users and groups of the host that VMMs can run as. */
#pragma once

#include "daemon/daemon.h"

/*
 * `user` and `group` are names, or numbers with a + before them if there could be such names. NULL: the
 * daemon's own user, the user's own group. Only root's daemon may look for one. Free with user_free().
 */
struct vmm_user *user_find(const char *user, const char *group, GError **error);
struct vmm_user *user_copy(const struct vmm_user *user);
void user_free(struct vmm_user *user);
