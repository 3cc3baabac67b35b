/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "settings.h"

#include "base/error.h"

#include <string.h>

enum key_kind { KEY_TEXT, KEY_PATH, KEY_AUTH, KEY_LIST, KEY_LOG, KEY_MODE, KEY_PORT, KEY_NUMBER };

struct key {
	const char *name;
	enum key_kind kind;
	size_t offset;
	gint64 min, max, number; /* of KEY_NUMBER; the last is the default */
	const char *text;        /* default of the others */
};

#define AT(field) offsetof(struct settings, field)
#define TEXT(field, kind, value) {#field, kind, AT(field), 0, 0, 0, value}
#define NUMBER(field, min, max, value) {#field, KEY_NUMBER, AT(field), min, max, value, NULL}

static const struct key keys[] = {
	TEXT(unix_sock_dir, KEY_PATH, NULL),
	TEXT(unix_sock_group, KEY_TEXT, NULL),
	TEXT(unix_sock_ro_perms, KEY_MODE, "0777"),
	TEXT(unix_sock_rw_perms, KEY_MODE, "0770"),
	NUMBER(listen_tcp, 0, 1, 0),
	NUMBER(listen_tls, 0, 1, 0),
	TEXT(listen_addr, KEY_TEXT, ""),
	TEXT(tcp_port, KEY_PORT, "16509"),
	TEXT(tls_port, KEY_PORT, "16514"),
	TEXT(auth_unix_ro, KEY_AUTH, "none"),
	TEXT(auth_unix_rw, KEY_AUTH, "none"),
	TEXT(auth_tcp, KEY_AUTH, "sasl"),
	TEXT(auth_tls, KEY_AUTH, "none"),
	NUMBER(tcp_min_ssf, 56, 100000, 112),
	TEXT(sasl_allowed_username_list, KEY_LIST, NULL),
	TEXT(tls_allowed_dn_list, KEY_LIST, NULL),
	TEXT(ca_file, KEY_PATH, "/etc/pki/CA/cacert.pem"),
	TEXT(cert_file, KEY_PATH, "/etc/pki/libvirt/servercert.pem"),
	TEXT(key_file, KEY_PATH, "/etc/pki/libvirt/private/serverkey.pem"),
	TEXT(crl_file, KEY_PATH, NULL),
	TEXT(tls_priority, KEY_TEXT, NULL),
	NUMBER(tls_no_verify_certificate, 0, 1, 0),
	TEXT(access_rules, KEY_PATH, NULL),
	TEXT(user, KEY_TEXT, NULL),
	TEXT(group, KEY_TEXT, NULL),
	NUMBER(dynamic_ownership, 0, 1, 1),
	NUMBER(remember_owner, 0, 1, 1),
	TEXT(security_driver, KEY_TEXT, NULL),
	NUMBER(security_default_confined, 0, 1, 1),
	NUMBER(security_require_confined, 0, 1, 0),
	NUMBER(max_files, 0, G_MAXINT32, 0),
	TEXT(nbd_tls_x509_cert_dir, KEY_PATH, "/etc/pki/qemu"),
	TEXT(ovs_socket, KEY_PATH, "/run/openvswitch/db.sock"),
	NUMBER(max_clients, 1, 100000, 5000),
	NUMBER(max_anonymous_clients, 1, 100000, 20),
	NUMBER(max_client_requests, 1, 100000, 256),
	NUMBER(max_client_rate, 0, 1000000, 0),
	NUMBER(keepalive_interval, 1, 86400, 5),
	NUMBER(keepalive_count, 1, 1000, 5),
	TEXT(log_output, KEY_LOG, NULL),
	NUMBER(log_level, 1, 4, 2),
	/* Those of virtlogd.conf's max_size and max_backups. */
	NUMBER(vm_log_size, 0, G_MAXINT64, 2 * 1024 * 1024),
	NUMBER(vm_log_backups, 0, 1000, 3),
	NUMBER(console_log, 0, 1, 1),
};

static char **text_at(struct settings *settings, const struct key *key)
{
	return (char **)((char *)settings + key->offset);
}

static gint64 *number_at(struct settings *settings, const struct key *key)
{
	return (gint64 *)((char *)settings + key->offset);
}

static char ***list_at(struct settings *settings, const struct key *key)
{
	return (char ***)((char *)settings + key->offset);
}

void settings_init(struct settings *settings)
{
	*settings = (struct settings){NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		if (keys[i].kind == KEY_NUMBER)
			*number_at(settings, &keys[i]) = keys[i].number;
		else if (keys[i].kind != KEY_LIST)
			*text_at(settings, &keys[i]) = g_strdup(keys[i].text);
	}
}

void settings_clear(struct settings *settings)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		if (keys[i].kind == KEY_LIST)
			g_clear_pointer(list_at(settings, &keys[i]), g_strfreev);
		else if (keys[i].kind != KEY_NUMBER)
			g_clear_pointer(text_at(settings, &keys[i]), g_free);
	}
}

bool settings_mode(const char *key, const char *text, unsigned *mode, GError **error)
{
	guint64 value;
	if (!g_ascii_string_to_unsigned(text, 8, 0, 0777, &value, NULL))
		return error_set(error, BERTH_ERR_INVALID,
				 "%s is '%s': write the mode in octal, as \"0770\"", key, text);
	*mode = value;
	return true;
}

/* --- Values --------------------------------------------------------------------------------- */

static bool take_number(GScanner *scanner, const struct key *key, struct settings *settings,
			GError **error)
{
	if (g_scanner_get_next_token(scanner) != G_TOKEN_INT ||
	    scanner->value.v_int64 > (guint64)key->max || (gint64)scanner->value.v_int64 < key->min)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s must be a number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
				 key->name, key->min, key->max);
	*number_at(settings, key) = scanner->value.v_int64;
	return true;
}

static bool take_list(GScanner *scanner, const struct key *key, struct settings *settings,
		      GError **error)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
	GTokenType token = g_scanner_get_next_token(scanner);
	if (token != G_TOKEN_LEFT_BRACE)
		return error_set(error, BERTH_ERR_INVALID, "%s must be a list: [\"...\", \"...\"]",
				 key->name);
	while ((token = g_scanner_get_next_token(scanner)) == G_TOKEN_STRING) {
		g_ptr_array_add(words, g_strdup(scanner->value.v_string));
		if (g_scanner_peek_next_token(scanner) == G_TOKEN_COMMA)
			g_scanner_get_next_token(scanner);
	}
	if (token != G_TOKEN_RIGHT_BRACE)
		return error_set(error, BERTH_ERR_INVALID, "%s: a list holds texts in quotes and ends "
							   "with ]", key->name);
	g_ptr_array_add(words, NULL);
	g_strfreev(*list_at(settings, key));
	*list_at(settings, key) = (char **)g_ptr_array_free(g_steal_pointer(&words), FALSE);
	return true;
}

static bool is_good_text(const struct key *key, const char *text, GError **error)
{
	unsigned mode;
	guint64 port;
	switch (key->kind) {
	case KEY_MODE:
		return settings_mode(key->name, text, &mode, error);
	case KEY_PORT:
		return g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL) ||
		       error_set(error, BERTH_ERR_INVALID, "%s must be a port, as \"16509\"", key->name);
	case KEY_LOG:
		return strcmp(text, "stderr") == 0 || strcmp(text, "journal") == 0 ||
		       g_path_is_absolute(text) ||
		       error_set(error, BERTH_ERR_INVALID,
				 "%s must be \"stderr\", \"journal\" or a whole path", key->name);
	case KEY_PATH:
		return g_path_is_absolute(text) ||
		       error_set(error, BERTH_ERR_INVALID, "%s must be a whole path, from / on",
				 key->name);
	case KEY_AUTH:
		if (strcmp(text, "polkit") == 0)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "%s: berthd has no polkit; say who may connect by "
					 "unix_sock_group and unix_sock_rw_perms", key->name);
		return strcmp(text, "none") == 0 || strcmp(text, "sasl") == 0 ||
		       error_set(error, BERTH_ERR_INVALID, "%s must be \"none\" or \"sasl\"", key->name);
	default:
		return true;
	}
}

static bool take_text(GScanner *scanner, const struct key *key, struct settings *settings,
		      GError **error)
{
	if (g_scanner_get_next_token(scanner) != G_TOKEN_STRING)
		return error_set(error, BERTH_ERR_INVALID, "%s must be a text in quotes", key->name);
	if (!is_good_text(key, scanner->value.v_string, error))
		return false;
	g_free(*text_at(settings, key));
	*text_at(settings, key) = g_strdup(scanner->value.v_string);
	return true;
}

/* --- The file ------------------------------------------------------------------------------- */

static const struct key *find_key(const char *name, GError **error)
{
	const char *names[G_N_ELEMENTS(keys) + 1] = {NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
		names[i] = keys[i].name;
	}
	const char *nearest = nearest_name(name, names);
	error_set(error, BERTH_ERR_NOT_SUPPORTED, "berthd has no key '%s'%s%s%s: berthd(8) lists them",
		  name, nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'" : "");
	return NULL;
}

static bool take_line(GScanner *scanner, struct settings *settings, GError **error)
{
	if (g_scanner_get_next_token(scanner) != G_TOKEN_IDENTIFIER)
		return error_set(error, BERTH_ERR_INVALID, "here a key should begin: KEY = VALUE");
	const struct key *key = find_key(scanner->value.v_identifier, error);
	if (!key)
		return false;
	if (g_scanner_get_next_token(scanner) != G_TOKEN_EQUAL_SIGN)
		return error_set(error, BERTH_ERR_INVALID, "'=' should follow %s", key->name);
	return key->kind == KEY_NUMBER ? take_number(scanner, key, settings, error) :
	       key->kind == KEY_LIST   ? take_list(scanner, key, settings, error) :
					 take_text(scanner, key, settings, error);
}

bool settings_read(struct settings *settings, const char *path, GError **error)
{
	/* GScanner's defaults but for words like 077 and 0x: those are in quotes here. */
	static const GScannerConfig config = {
		.cset_skip_characters = (char *)" \t\r\n",
		.cset_identifier_first = (char *)G_CSET_a_2_z G_CSET_A_2_Z "_",
		.cset_identifier_nth = (char *)G_CSET_a_2_z G_CSET_A_2_Z "_0123456789",
		.cpair_comment_single = (char *)"#\n",
		.case_sensitive = TRUE, .skip_comment_single = TRUE, .scan_identifier = TRUE,
		.scan_identifier_1char = TRUE, .scan_string_dq = TRUE, .scan_string_sq = TRUE,
		.char_2_token = TRUE, .store_int64 = TRUE,
	};
	g_autofree char *text = NULL;
	gsize size;
	if (!g_file_get_contents(path, &text, &size, error))
		return false;
	GScanner *scanner = g_scanner_new(&config);
	g_scanner_input_text(scanner, text, size);
	bool good = true;
	while (good && g_scanner_peek_next_token(scanner) != G_TOKEN_EOF)
		good = take_line(scanner, settings, error);
	if (!good)
		g_prefix_error(error, "%s:%u: ", path, g_scanner_cur_line(scanner));
	g_scanner_destroy(scanner);
	return good;
}
