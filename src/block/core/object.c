/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/core/object.h"

#include "base/error.h"
#include "block/core/driver.h"
#include "block/core/options.h"
#include "block/nbd/tls.h"

#include <string.h>

#define SECRET_MAX 65536

struct block_object {
	char *id;
	enum block_object_kind kind;
	void *content; /* GBytes or struct nbd_tls_creds, a reference */
};

static void release(enum block_object_kind kind, void *content)
{
	if (kind == BLOCK_OBJECT_SECRET)
		g_bytes_unref(content);
	else
		nbd_tls_creds_unref(content);
}

void block_object_free(void *opaque)
{
	struct block_object *object = opaque;
	release(object->kind, object->content);
	g_free(object->id);
	g_free(object);
}

/* --- secrets --------------------------------------------------------------------------------------------*/

/* data=TEXT or file=PATH, raw or base64. */
static GBytes *make_secret(json_t *dict, GError **error)
{
	static const char *const formats[] = {"raw", "base64", NULL};
	g_autofree char *data = block_take_string(dict, "data");
	g_autofree char *file = block_take_string(dict, "file");
	gsize length = data ? strlen(data) : 0;
	int format = 0;
	if (!block_take_enum(dict, "format", formats, &format, error) ||
	    !block_refuse_rest(dict, "-object secret", error))
		return NULL;
	if (!data == !file) {
		error_set(error, BERTH_ERR_INVALID, "Either 'file' or 'data' must be provided");
		return NULL;
	}
	if (file && !g_file_get_contents(file, &data, &length, error))
		return NULL;
	if (length > SECRET_MAX) {
		error_set(error, BERTH_ERR_INVALID, "a secret has at most %d bytes", SECRET_MAX);
		return NULL;
	}
	if (format == 0)
		return g_bytes_new_take(g_steal_pointer(&data), length);
	guchar *bytes = g_base64_decode(data, &length);
	return g_bytes_new_take(bytes, length);
}

/* --- objects --------------------------------------------------------------------------------------------*/

bool block_object_type_known(const char *type)
{
	static const char *const types[] = {"secret", "tls-creds-x509", "tls-creds-psk", NULL};
	return g_strv_contains(types, type);
}

static struct block_object *find(struct block_graph *graph, const char *id)
{
	const GPtrArray *objects = block_graph_objects(graph);
	for (unsigned i = 0; i < objects->len; i++) {
		struct block_object *object = objects->pdata[i];
		if (strcmp(object->id, id) == 0)
			return object;
	}
	return NULL;
}

bool block_object_add(struct block_graph *graph, const char *type, const char *id, json_t *dict,
		      GError **error)
{
	bool secret = strcmp(type, "secret") == 0;
	if (find(graph, id))
		return error_set(error, BERTH_ERR_INVALID, "there is an object '%s' already: rename one", id);
	void *content = secret ? (void *)make_secret(dict, error)
			       : (void *)nbd_tls_creds_new(strcmp(type, "tls-creds-psk") == 0, dict, error);
	if (!content) {
		g_prefix_error(error, "-object %s,id=%s: ", type, id);
		return false;
	}
	struct block_object *object = g_new0(struct block_object, 1);
	object->id = g_strdup(id);
	object->kind = secret ? BLOCK_OBJECT_SECRET : BLOCK_OBJECT_TLS;
	object->content = content;
	g_ptr_array_add(block_graph_objects(graph), object);
	return true;
}

bool block_object_remove(struct block_graph *graph, const char *id)
{
	struct block_object *object = find(graph, id);
	return object && g_ptr_array_remove(block_graph_objects(graph), object);
}

void *block_object_take(struct block_graph *graph, const char *id, enum block_object_kind kind,
			GError **error)
{
	struct block_object *object = graph ? find(graph, id) : NULL;
	if (!object || object->kind != kind) {
		error_set(error, BERTH_ERR_NOT_FOUND, "No %s with id '%s'",
			  kind == BLOCK_OBJECT_SECRET ? "secret" : "TLS credentials", id);
		return NULL;
	}
	return kind == BLOCK_OBJECT_SECRET ? (void *)g_bytes_ref(object->content)
					   : (void *)nbd_tls_creds_ref(object->content);
}
