/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All secrets, and how they come back when the daemon starts. */
#include "daemon/secret/secret.h"

#include "base/error.h"
#include "base/log.h"
#include "conf/domain.h"
#include "daemon/domain/store.h"

#include <string.h>

#define FOLDER "secrets"

/* The memory of a value is overwritten before others get it. */
static void wipe(void *data)
{
	GString *text = data;
	explicit_bzero(text->str, text->allocated_len);
	g_string_free(text, TRUE);
}

GBytes *secret_bytes(const uint8_t *data, size_t length)
{
	GString *copy = g_string_new_len((const char *)data, length);
	return g_bytes_new_with_free_func(copy->str, length, wipe, copy);
}

char *secret_file(const struct secrets *secrets, const uint8_t uuid[16], const char *suffix)
{
	char text[37];
	conf_uuid_format(uuid, text);
	return store_path(secrets->daemon, FOLDER, text, suffix);
}

struct remote_secret secret_wire(const struct conf_secret *conf)
{
	struct remote_secret wire = {.usage_type = conf->usage, .usage_id = conf->usage_id};
	memcpy(wire.uuid, conf->uuid, sizeof(wire.uuid));
	return wire;
}

struct secret *secret_put(struct secrets *secrets, struct conf_secret *conf)
{
	struct secret *secret = secret_by_uuid(secrets, conf->uuid, NULL);
	if (!secret) {
		secret = g_new0(struct secret, 1);
		conf_uuid_format(conf->uuid, secret->uuid_text);
		g_hash_table_insert(secrets->by_uuid, secret->uuid_text, secret);
	}
	conf_secret_free(secret->conf);
	secret->conf = conf;
	return secret;
}

static void secret_free(void *opaque)
{
	struct secret *secret = opaque;
	g_clear_pointer(&secret->value, g_bytes_unref);
	conf_secret_free(secret->conf);
	g_free(secret);
}

struct secret *secret_by_uuid(struct secrets *secrets, const uint8_t uuid[16], GError **error)
{
	char text[37];
	conf_uuid_format(uuid, text);
	struct secret *secret = g_hash_table_lookup(secrets->by_uuid, text);
	if (!secret)
		virt_error(error, VIRT_FROM_SECRET, VIRT_NO_SECRET, "no secret with matching uuid '%s'",
			   text);
	return secret;
}

struct secret *secret_by_usage(struct secrets *secrets, int usage, const char *usage_id,
			       GError **error)
{
	GHashTableIter iter;
	void *entry;
	g_hash_table_iter_init(&iter, secrets->by_uuid);
	while (usage != CONF_SECRET_NONE && g_hash_table_iter_next(&iter, NULL, &entry)) {
		const struct secret *secret = entry;
		if ((int)secret->conf->usage == usage && strcmp(secret->conf->usage_id, usage_id) == 0)
			return entry;
	}
	virt_error(error, VIRT_FROM_SECRET, VIRT_NO_SECRET, "no secret with matching usage '%s'",
		   usage_id);
	return NULL;
}

GBytes *secret_value(const struct secret *secret, GError **error)
{
	if (!secret->value)
		virt_error(error, VIRT_FROM_SECRET, VIRT_NO_SECRET, "secret '%s' does not have a value",
			   secret->uuid_text);
	return secret->value;
}

/* --- Start and end of the daemon -------------------------------------------------------------------- */

static void load_value(struct secrets *secrets, struct secret *secret)
{
	g_autofree char *path = secret_file(secrets, secret->conf->uuid, SECRET_VALUE);
	g_autofree char *text = NULL;
	gsize length;
	if (!g_file_get_contents(path, &text, &length, NULL))
		return;
	g_base64_decode_inplace(text, &length);
	secret->value = secret_bytes((const uint8_t *)text, length);
	explicit_bzero(text, length);
}

static void load(struct secrets *secrets, const char *path)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;
	struct conf_secret *conf = NULL;
	if (g_file_get_contents(path, &text, NULL, &error))
		conf = conf_secret_parse(text, &error);
	if (!conf) {
		log_warning("'%s' is left alone: %s", path, error->message);
		return;
	}
	if (secret_by_uuid(secrets, conf->uuid, NULL) ||
	    secret_by_usage(secrets, conf->usage, conf->usage_id, NULL)) {
		log_warning("'%s' is left alone: there is such a secret already", path);
		conf_secret_free(conf);
		return;
	}
	load_value(secrets, secret_put(secrets, conf));
}

struct secrets *secrets_new(struct daemon *daemon, GError **error)
{
	static const char *const folders[] = {FOLDER, NULL};
	if (!store_make_folders(daemon, folders, error))
		return NULL;
	struct secrets *secrets = g_new0(struct secrets, 1);
	secrets->daemon = daemon;
	secrets->by_uuid = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, secret_free);
	g_autoptr(GPtrArray) paths = store_list(daemon, FOLDER, SECRET_XML);
	for (unsigned i = 0; i < paths->len; i++)
		load(secrets, paths->pdata[i]);
	return secrets;
}

void secrets_free(struct secrets *secrets)
{
	if (!secrets)
		return;
	g_hash_table_unref(secrets->by_uuid);
	g_free(secrets);
}
