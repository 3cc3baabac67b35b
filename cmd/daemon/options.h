/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berthd's command line. */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct options {
	char *socket_dir, *state_dir, *vmm, *config, *pidfile;
	gboolean debug, version, session, system, libvirt_sockets, daemon, check_config;
	int timeout_s; /* 0: never end for want of clients */
};

/* Fills in what was not said but follows, but for the sockets' folder. False: *error. */
bool daemon_options_parse(int argc, char **argv, struct options *options, GError **error);
/* The sockets' folder, if it was not said: `configured`, or that of the session or the system. */
void daemon_options_choose_sockets(struct options *options, const char *configured);
void daemon_options_clear(struct options *options);
