/* SPDX-License-Identifier: GPL-2.0-or-later */
/* passt: the program at the host's end of an <interface type='user'> with <backend type='passt'/>. */
#pragma once

#include "conf/domain.h"

/*
 * Start it. The VMM's end of the socket, close-on-exec, the caller's; when the last copy of it is closed,
 * passt ends by itself. -1 with *error set, with passt's own words. Waits until passt is ready, which
 * takes some 50 ms.
 */
int passt_start(const struct conf_domain_nic *nic, GError **error);
