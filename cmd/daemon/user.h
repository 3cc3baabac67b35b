/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom VMMs run as, by the keys user and group. */
#pragma once

#include "daemon/daemon.h"
#include "settings.h"

/*
 * Find user and group on this host. *user is NULL if the settings name neither; free it with user_free().
 * False: *error names the key.
 */
bool user_find(const struct settings *settings, struct vmm_user **user, GError **error);
void user_free(struct vmm_user *user);
