/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HTB queues (tc-htb(8)) at the host's end of a link, by rtnetlink. Any thread. */
#pragma once

#include "conf/netdev.h"

/* Classes of a queue: what is in no other goes through the default one. */
enum { HTB_ROOT_CLASS = 1, HTB_DEFAULT_CLASS = 2, HTB_FIRST_SHARE = 3 };

/* One class that all goes through, at most at `limit`. What was there is changed. */
bool htb_limit(const char *device, const struct conf_rate *limit, GError **error);
/* A queue that is shared: the root class at `limit`, and in it the default one, which is sure of `rest`. */
bool htb_share(const char *device, const struct conf_rate *limit, uint64_t rest, GError **error);
/* A class of a shared queue that is sure of `floor` KiB a second. */
bool htb_add_share(const char *device, unsigned class, uint64_t floor, const struct conf_rate *limit,
		   GError **error);
/* That there is none is fine. */
void htb_remove_share(const char *device, unsigned class);
void htb_remove(const char *device);
