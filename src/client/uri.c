/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/uri.h"

#include "client/client.h"

#include <string.h>

/* Parameters that only the client reads; all others go to the daemon with the name. */
static char **own_parameter(struct client_uri *uri, const char *key)
{
	const struct {
		const char *key;
		char **value;
	} known[] = {
		{"socket", &uri->socket}, {"command", &uri->command}, {"netcat", &uri->netcat},
		{"keyfile", &uri->keyfile}, {"pkipath", &uri->pkipath}, {"proxy", &uri->proxy},
		{"mode", &uri->mode}, {"name", &uri->name},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
		if (strcmp(known[i].key, key) == 0)
			return known[i].value;
	}
	return NULL;
}

static bool own_switch(struct client_uri *uri, const char *key, bool value)
{
	if (strcmp(key, "no_verify") == 0)
		uri->no_verify = value;
	else if (strcmp(key, "no_tty") == 0)
		uri->no_tty = value;
	else
		return false;
	return true;
}

/* Returns the parameters that are left for the daemon, joined; NULL: *error. */
static char *take_parameters(struct client_uri *uri, const char *query, GError **error)
{
	static const char *const refused[] = {"auth", "sshauth", "known_hosts", "known_hosts_verify",
					      "no_sanity", "tls_priority", NULL};
	GString *rest = g_string_new(NULL);
	g_auto(GStrv) pairs = g_strsplit_set(query ? query : "", "&;", 0);
	for (char **pair = pairs; *pair; pair++) {
		char *equals = strchr(*pair, '=');
		g_autofree char *key = equals ? g_strndup(*pair, equals - *pair) : g_strdup(*pair);
		g_autofree char *value = g_uri_unescape_string(equals ? equals + 1 : "", NULL);
		char **own = own_parameter(uri, key);
		if (own) {
			g_free(*own);
			*own = g_steal_pointer(&value);
		} else if (g_strv_contains(refused, key)) {
			g_set_error(error, CLIENT_ERROR, CLIENT_INVALID_ARG,
				    "the URI parameter '%s' is not supported", key);
			g_string_free(rest, TRUE);
			return NULL;
		} else if (**pair && !own_switch(uri, key, value && strcmp(value, "1") == 0)) {
			g_string_append_printf(rest, "%c%s", rest->len ? '&' : '?', *pair);
		}
	}
	return g_string_free(rest, FALSE);
}

static bool set_transport(struct client_uri *uri, GError **error)
{
	static const char *const transports[] = {"unix", "tcp", "tls", "ssh", "ext", NULL};
	char *plus = strchr(uri->driver, '+');
	if (plus) {
		*plus = '\0';
		uri->transport = g_strdup(plus + 1);
	} else {
		/* libvirt's rule: a host without a transport means TLS. */
		uri->transport = g_strdup(uri->host ? "tls" : "unix");
	}
	if (g_strv_contains(transports, uri->transport))
		return true;
	g_set_error(error, CLIENT_ERROR, CLIENT_INVALID_ARG,
		    "remote_open: transport in URL not recognised (should be tls|unix|ssh|ext|tcp)");
	return false;
}

static bool fill(struct client_uri *uri, const char *text, GError **error)
{
	g_autoptr(GUri) parsed = g_uri_parse(text, G_URI_FLAGS_ENCODED_QUERY, NULL);
	if (!parsed) {
		g_set_error(error, CLIENT_ERROR, CLIENT_INTERNAL, "Unable to parse URI %s", text);
		return false;
	}
	const char *host = g_uri_get_host(parsed);
	uri->driver = g_strdup(g_uri_get_scheme(parsed));
	uri->user = g_strdup(g_uri_get_userinfo(parsed));
	uri->host = host && *host ? g_strdup(host) : NULL;
	if (g_uri_get_port(parsed) >= 0)
		uri->port = g_strdup_printf("%d", g_uri_get_port(parsed));
	uri->path = g_strdup(g_uri_get_path(parsed));
	if (!set_transport(uri, error))
		return false;
	g_autofree char *rest = take_parameters(uri, g_uri_get_query(parsed), error);
	if (rest && !uri->name)
		uri->name = g_strdup_printf("%s://%s%s", uri->driver, uri->path, rest);
	return rest != NULL;
}

struct client_uri *client_uri_parse(const char *text, GError **error)
{
	struct client_uri *uri = g_new0(struct client_uri, 1);
	if (fill(uri, text, error))
		return uri;
	client_uri_free(uri);
	return NULL;
}

void client_uri_free(struct client_uri *uri)
{
	if (!uri)
		return;
	char *const texts[] = {uri->driver, uri->transport, uri->user, uri->host, uri->port,
			       uri->path, uri->name, uri->socket, uri->command, uri->netcat,
			       uri->keyfile, uri->pkipath, uri->proxy, uri->mode};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(uri);
}
