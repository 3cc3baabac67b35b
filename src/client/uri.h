/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libvirt's connection URIs, taken apart (https://libvirt.org/uri.html describes the form). */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct client_uri {
	char *driver;    /* "qemu", "test" */
	char *transport; /* "unix", "ssh", "tcp", "tls", "ext" */
	char *user, *host, *port, *path;
	char *name;      /* what the daemon is asked to open */
	/* Parameters that are for us; NULL if not given. */
	char *socket, *command, *netcat, *keyfile, *pkipath, *proxy, *mode;
	bool no_verify, no_tty;
};
/* NULL: *error says what is wrong with the text. Free with client_uri_free(). */
struct client_uri *client_uri_parse(const char *text, GError **error);
void client_uri_free(struct client_uri *uri);
