/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an administrator says in berthd.conf. The keys and the form of the file are those of
 * libvirtd.conf, as far as berthd has what they set; any other key is an error.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct settings {
	/* Sockets. */
	char *unix_sock_dir, *unix_sock_group, *unix_sock_ro_perms, *unix_sock_rw_perms;
	gint64 listen_tcp, listen_tls;
	char *listen_addr, *tcp_port, *tls_port;
	/* Who may come in. */
	char *auth_unix_ro, *auth_unix_rw, *auth_tcp, *auth_tls;
	gint64 tcp_min_ssf;
	char **sasl_allowed_username_list, **tls_allowed_dn_list;
	char *ca_file, *cert_file, *key_file, *crl_file, *tls_priority;
	gint64 tls_no_verify_certificate;
	char *access_rules;
	char *nbd_tls_x509_cert_dir, *ovs_socket;
	/* Whom VMMs run as. */
	char *user, *group;
	gint64 dynamic_ownership, remember_owner;
	/* What AppArmor does for them; NULL: as much as it can here. */
	char *security_driver;
	gint64 security_default_confined, security_require_confined;
	gint64 max_files; /* 0: as many as the daemon */
	/* How much. */
	gint64 max_clients, max_anonymous_clients, max_client_requests, max_client_rate;
	gint64 keepalive_interval, keepalive_count;
	/* Where it is said: "stderr", "journal" or a path; NULL: what is usual. */
	char *log_output;
	/* What is said. 1: each call; 2: the usual; 3: warnings; 4: errors. */
	gint64 log_level;
	/* Of VMMs and consoles: how large each may grow, how many older ones stay, and whether consoles have one. */
	gint64 vm_log_size, vm_log_backups, console_log;
};

void settings_init(struct settings *settings);
void settings_clear(struct settings *settings);
/* Read `path` over what is there. False: *error names file, line and key. */
bool settings_read(struct settings *settings, const char *path, GError **error);
/* The mode that a key's text means. False: *error names the key. */
bool settings_mode(const char *key, const char *text, unsigned *mode, GError **error);
