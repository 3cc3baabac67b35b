/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network on the host: its bridge with addresses and routes, its rules, its dnsmasq. Everything here
 * waits for the kernel and for dnsmasq: on the room's thread.
 */
#pragma once

#include "conf/network.h"

#include <sys/types.h>

struct network_host {
	char *listing; /* of the rules; NULL: none */
	pid_t dnsmasq; /* 0: none */
};

/* Make it all; what was made is taken back if one part fails. `folder` is for dnsmasq's files. */
bool network_up(const struct conf_network *conf, const char *folder, struct network_host *host,
		GError **error);
/*
 * A network that is up for all we know: make what is missing, load the rules, and start dnsmasq if it
 * does not run.
 */
bool network_repair(const struct conf_network *conf, const char *folder, struct network_host *host,
		    GError **error);
/* Take it all away; what is gone already is fine. The first error, but everything is tried. */
bool network_down(const struct conf_network *conf, const char *folder, GError **error);
/* A file of /proc/sys: `value` into it. Any thread. */
bool network_set_switch(const char *path, const char *value, GError **error);
