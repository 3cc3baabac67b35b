/* SPDX-License-Identifier: GPL-2.0-or-later */
/* passt: the program at the host's end of an <interface type='user'> with <backend type='passt'/>. */
#pragma once

#include "daemon/domain/domain.h"

/*
 * Start it. The VMM's end of the socket, close-on-exec, the caller's; when the last copy of it is closed,
 * passt ends by itself. -1 with *error set. It may not be ready yet: passt_await() tells.
 */
int passt_start(struct domain *dom, const struct conf_domain_nic *nic, GError **error);
/*
 * `done` is called when all that were started for the domain are ready, perhaps at once; or with an error,
 * which it borrows, in passt's own words, when one of them has failed. One at a time waits.
 */
typedef void passt_done_fn(void *opaque, const GError *error);
void passt_await(struct domain *dom, passt_done_fn *done, void *opaque);
/* Nobody needs those that are not ready any more; who waits for them is told so. */
void passt_give_up(struct domain *dom);
/* At the domain's end in the daemon: they go on, and nobody is told. */
void passt_forget(struct domain *dom);
