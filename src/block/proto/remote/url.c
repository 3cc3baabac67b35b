/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image names that are URLs. */
#include "block/proto/remote/remote.h"

#include "base/error.h"

bool remote_url_parse(const char *name, struct remote_url *url, GError **error)
{
	g_autoptr(GUri) uri = g_uri_parse(name, G_URI_FLAGS_HAS_PASSWORD, error);
	if (!uri) {
		g_prefix_error(error, "'%s': ", name);
		return false;
	}
	if (g_uri_get_fragment(uri))
		return error_set(error, BERTH_ERR_INVALID, "'%s': write %%23 for '#'", name);
	const char *query = g_uri_get_query(uri);
	GHashTable *parameters =
		query ? g_uri_parse_params(query, -1, "&;", G_URI_PARAMS_NONE, error)
		      : g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	if (!parameters) {
		g_prefix_error(error, "'%s': ", name);
		return false;
	}
	*url = (struct remote_url){
		.scheme = g_strdup(g_uri_get_scheme(uri)), .user = g_strdup(g_uri_get_user(uri)),
		.password = g_strdup(g_uri_get_password(uri)), .host = g_strdup(g_uri_get_host(uri)),
		.path = g_strdup(g_uri_get_path(uri)), .port = g_uri_get_port(uri), .query = parameters};
	if (url->host && *url->host)
		return true;
	remote_url_clear(url);
	return error_set(error, BERTH_ERR_INVALID, "'%s' names no host", name);
}

void remote_url_clear(struct remote_url *url)
{
	char **texts[] = {&url->scheme, &url->user, &url->password, &url->host, &url->path};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_clear_pointer(texts[i], g_free);
	g_clear_pointer(&url->query, g_hash_table_unref);
}

void remote_url_take(struct remote_url *url, const char *key, json_t *dict, const char *option)
{
	const char *value = g_hash_table_lookup(url->query, key);
	if (!value)
		return;
	json_object_set_new(dict, option, json_string(value));
	g_hash_table_remove(url->query, key);
}

bool remote_url_refuse_rest(const struct remote_url *url, GError **error)
{
	GHashTableIter iter;
	gpointer key;
	g_hash_table_iter_init(&iter, url->query);
	return !g_hash_table_iter_next(&iter, &key, NULL) ||
	       error_set(error, BERTH_ERR_INVALID, "%s:// has no parameter '%s'", url->scheme,
			 (const char *)key);
}
