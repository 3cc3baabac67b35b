/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images in a Ceph cluster, by librbd. Names: rbd:POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:KEY=VALUE...], where
 * '\' protects a character; id= is the user, conf= the configuration file, other keys go into Ceph's
 * configuration. Options: pool, namespace, image, snapshot, conf, user, key-secret,
 * auth-client-required, server.N.host and .port.
 */
#include "block/proto/remote/remote.h"

#include "base/error.h"
#include "block/core/drivers.h"

#include <errno.h>
#include <rbd/librbd.h>
#include <string.h>

#define RBD_FUNCTIONS(F)                                                                           \
	F(rados_create) F(rados_conf_read_file) F(rados_conf_set) F(rados_connect)                 \
	F(rados_shutdown) F(rados_ioctx_create) F(rados_ioctx_set_namespace)                       \
	F(rados_ioctx_destroy) F(rbd_open) F(rbd_open_read_only) F(rbd_close) F(rbd_get_size)      \
	F(rbd_read) F(rbd_write) F(rbd_flush) F(rbd_discard) F(rbd_write_zeroes) F(rbd_resize) F(rbd_create) \
	F(rbd_remove)

LIBRARY(rbd, RBD_FUNCTIONS, .package = "librbd1", .files = {"librbd.so.1"})

struct rbd_node {
	struct remote_node remote;
	char *pool, *namespace, *image, *snapshot, *conf, *user, *key, *auth, *monitors;
	json_t *settings; /* further keys of Ceph's configuration; or NULL */
};

struct rbd_link {
	rados_t cluster;
	rados_ioctx_t pool;
	rbd_image_t image;
	GMutex growing; /* one thread makes the image longer at a time */
};

/* --- the connection ---------------------------------------------------------------------------------*/

static void link_disconnect(void *connection)
{
	struct rbd_link *link = connection;
	if (link->image)
		rbd.rbd_close(link->image);
	if (link->pool)
		rbd.rados_ioctx_destroy(link->pool);
	if (link->cluster)
		rbd.rados_shutdown(link->cluster);
	g_mutex_clear(&link->growing);
	g_free(link);
}

static bool set_conf(struct rbd_link *link, const char *key, const char *value, GError **error)
{
	int rc = value ? rbd.rados_conf_set(link->cluster, key, value) : 0;
	return rc == 0 || error_set_errno(error, -rc, "Ceph's option %s", key);
}

static bool configure(struct rbd_node *n, struct rbd_link *link, GError **error)
{
	int rc = rbd.rados_create(&link->cluster, n->user);
	if (rc < 0)
		return error_set_errno(error, -rc, "librados gives no handle");
	/* Without a name, the usual places are tried, and there may be none if `server` is given. */
	rc = rbd.rados_conf_read_file(link->cluster, n->conf);
	if (rc < 0 && n->conf)
		return error_set_errno(error, -rc, "cannot read '%s'", n->conf);
	const char *key;
	json_t *value;
	json_object_foreach(n->settings, key, value)
		if (!set_conf(link, key, json_string_value(value), error))
			return false;
	return set_conf(link, "key", n->key, error) &&
	       set_conf(link, "auth_client_required", n->auth, error) &&
	       set_conf(link, "mon_host", n->monitors, error);
}

static bool open_pool(struct rbd_node *n, struct rbd_link *link, GError **error)
{
	int rc = rbd.rados_connect(link->cluster);
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot connect to the cluster");
	rc = rbd.rados_ioctx_create(link->cluster, n->pool, &link->pool);
	if (rc < 0)
		return error_set_errno(error, -rc, "pool '%s'", n->pool);
	if (n->namespace)
		rbd.rados_ioctx_set_namespace(link->pool, n->namespace);
	return true;
}

static bool open_image(struct rbd_node *n, struct rbd_link *link, GError **error)
{
	int rc = (n->remote.node.readonly ? rbd.rbd_open_read_only : rbd.rbd_open)(link->pool, n->image,
									       &link->image, n->snapshot);
	return rc == 0 || error_set_errno(error, -rc, "image '%s'", n->image);
}

/* A pool of the cluster, with no image open. */
static struct rbd_link *connect_to_pool(struct rbd_node *n, GError **error)
{
	struct rbd_link *link = g_new0(struct rbd_link, 1);
	g_mutex_init(&link->growing);
	if (configure(n, link, error) && open_pool(n, link, error))
		return link;
	link_disconnect(link);
	return NULL;
}

static void *link_connect(struct remote_node *remote, GError **error)
{
	struct rbd_node *n = (struct rbd_node *)remote;
	struct rbd_link *link = connect_to_pool(n, error);
	if (!link || open_image(n, link, error))
		return link;
	link_disconnect(link);
	return NULL;
}

/* RBD calls the size of its objects an order: the exponent of 2. 0: the cluster's own. */
static bool take_order(json_t *options, int *order, GError **error)
{
	uint64_t size = 0;
	if (!block_take_size(options, "cluster_size", &size, error))
		return false;
	if (size && (size < 4096 || size > 32 << 20 || (size & (size - 1))))
		return error_set(error, BERTH_ERR_INVALID,
				 "cluster_size is a power of two, 4096 to 32M");
	*order = size ? g_bit_storage(size) - 1 : 0;
	return block_refuse_rest(options, "rbd", error); /* now, not when the image is made */
}

/* An image that is there is an error to Ceph, as it is to qemu-img: it may have snapshots and users. */
static bool link_create(struct remote_node *remote, const struct block_create *create, GError **error)
{
	struct rbd_node *n = (struct rbd_node *)remote;
	int order, rc = 0;
	if (!take_order(create->options, &order, error))
		return false;
	struct rbd_link *link = connect_to_pool(n, error);
	if (link)
		rc = rbd.rbd_create(link->pool, n->image, create->size, &order);
	if (link)
		link_disconnect(link);
	return link && (rc == 0 || error_set_errno(error, -rc, "image '%s'%s", n->image,
						   rc == -EEXIST ? " (convert -n writes into one that is "
								   "there, 'rbd rm' removes it)" : ""));
}

static bool link_remove(struct remote_node *remote, GError **error)
{
	struct rbd_node *n = (struct rbd_node *)remote;
	struct rbd_link *link = connect_to_pool(n, error);
	int rc = link ? rbd.rbd_remove(link->pool, n->image) : 0;
	if (link)
		link_disconnect(link);
	return link && (rc == 0 || error_set_errno(error, -rc, "image '%s'", n->image));
}

static bool link_describe(struct remote_node *remote, void *connection, GError **error)
{
	uint64_t size;
	int rc = rbd.rbd_get_size(((struct rbd_link *)connection)->image, &size);
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot ask for the size");
	remote->node.size = size;
	return true;
}

/* --- requests ---------------------------------------------------------------------------------------*/

static int link_read(void *connection, uint64_t offset, void *bytes, size_t length)
{
	struct rbd_link *link = connection;
	ssize_t n = rbd.rbd_read(link->image, offset, length, bytes);
	if (n >= 0 && (size_t)n < length) /* behind the end */
		memset((char *)bytes + n, 0, length - n);
	return n < 0 ? (int)n : 0;
}

/* An image does not grow by itself as a file does. */
static int grow(struct rbd_link *link, uint64_t end)
{
	uint64_t size;
	g_mutex_lock(&link->growing);
	int rc = rbd.rbd_get_size(link->image, &size);
	if (rc == 0 && size < end)
		rc = rbd.rbd_resize(link->image, end);
	g_mutex_unlock(&link->growing);
	return rc;
}

static int link_write(void *connection, uint64_t offset, const void *bytes, size_t length)
{
	struct rbd_link *link = connection;
	int rc = grow(link, offset + length);
	ssize_t n = rc == 0 ? rbd.rbd_write(link->image, offset, length, bytes) : rc;
	return n < 0 ? (int)n : 0;
}

static int link_flush(void *connection)
{
	return rbd.rbd_flush(((struct rbd_link *)connection)->image);
}

static int link_zero(void *connection, uint64_t offset, uint64_t length, bool unmap)
{
	struct rbd_link *link = connection;
	int rc = grow(link, offset + length);
	ssize_t n = rc == 0 ? rbd.rbd_write_zeroes(link->image, offset, length,
						   unmap ? 0 : RBD_WRITE_ZEROES_FLAG_THICK_PROVISION, 0)
			    : rc;
	return n < 0 ? (int)n : 0;
}

static int link_discard(void *connection, uint64_t offset, uint64_t length)
{
	return rbd.rbd_discard(((struct rbd_link *)connection)->image, offset, length);
}

static int link_resize(void *connection, uint64_t size)
{
	return rbd.rbd_resize(((struct rbd_link *)connection)->image, size);
}

/* --- names and options ------------------------------------------------------------------------------*/

/* Up to one of `ends`, without the backslashes; *text is set behind it, *end to which it was. */
static char *next_part(const char **text, const char *ends, char *end)
{
	GString *part = g_string_new(NULL);
	const char *at = *text;
	for (; *at && !strchr(ends, *at); at++) {
		if (*at == '\\' && at[1])
			at++;
		g_string_append_c(part, *at);
	}
	*end = *at;
	*text = *at ? at + 1 : at;
	return g_string_free(part, false);
}

static void set_part(json_t *dict, const char *key, char *part)
{
	json_object_set_new(dict, key, json_string(part));
	g_free(part);
}

static bool parse_settings(const char *text, json_t *dict, GError **error)
{
	char end = ':';
	json_t *settings = json_object();
	while (end == ':') {
		g_autofree char *key = next_part(&text, "=", &end);
		if (end != '=') {
			json_decref(settings);
			return error_set(error, BERTH_ERR_INVALID, "'%s' is no KEY=VALUE", key);
		}
		bool ours = strcmp(key, "id") == 0 || strcmp(key, "conf") == 0;
		set_part(ours ? dict : settings, strcmp(key, "id") == 0 ? "user" : key,
			 next_part(&text, ":", &end));
	}
	if (json_object_size(settings))
		json_object_set(dict, "=settings", settings);
	json_decref(settings);
	return true;
}

static bool rbd_parse_filename(const char *filename, json_t *dict, GError **error)
{
	const char *text = filename + strlen("rbd:");
	char end;
	set_part(dict, "pool", next_part(&text, "/", &end));
	if (end != '/')
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s': write rbd:POOL/[NAMESPACE/]IMAGE[@SNAPSHOT][:KEY=VALUE...]",
				 filename);
	set_part(dict, "image", next_part(&text, "/@:", &end));
	if (end == '/') {
		json_object_set(dict, "namespace", json_object_get(dict, "image"));
		set_part(dict, "image", next_part(&text, "@:", &end));
	}
	if (end == '@')
		set_part(dict, "snapshot", next_part(&text, ":", &end));
	return end != ':' || parse_settings(text, dict, error);
}

/* server.0.host=..., or a list of objects: "HOST:PORT,HOST:PORT" for mon_host. */
static bool take_monitors(struct rbd_node *n, json_t *dict, GError **error)
{
	json_t *servers = json_object_get(dict, "server"), *server;
	GString *text = g_string_new(NULL);
	bool good = true;
	for (unsigned i = 0; good && servers; i++) {
		g_autofree char *index = g_strdup_printf("%u", i);
		server = json_is_array(servers) ? json_array_get(servers, i)
						: json_object_get(servers, index);
		if (!server)
			break;
		const char *host = json_string_value(json_object_get(server, "host"));
		g_autofree char *port = block_take_string(server, "port");
		good = host && port;
		if (good)
			g_string_append_printf(text, "%s%s:%s", i ? "," : "", host, port);
	}
	json_object_del(dict, "server");
	n->monitors = text->len ? g_strdup(text->str) : NULL;
	g_string_free(text, true);
	return good || error_set(error, BERTH_ERR_INVALID, "rbd's servers need host and port");
}

static bool rbd_take_options(struct remote_node *remote, json_t *dict, GError **error)
{
	struct rbd_node *n = (struct rbd_node *)remote;
	struct {
		const char *key;
		char **value;
	} texts[] = {{"pool", &n->pool}, {"namespace", &n->namespace}, {"image", &n->image},
		     {"snapshot", &n->snapshot}, {"conf", &n->conf}, {"user", &n->user}};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		*texts[i].value = block_take_string(dict, texts[i].key);
	n->settings = json_incref(json_object_get(dict, "=settings"));
	json_object_del(dict, "=settings");
	json_t *auth = json_object_get(dict, "auth-client-required");
	GString *methods = g_string_new(NULL);
	for (unsigned i = 0; i < json_array_size(auth); i++)
		g_string_append_printf(methods, "%s%s", i ? ";" : "",
				       json_string_value(json_array_get(auth, i)));
	n->auth = methods->len ? g_strdup(methods->str) : NULL;
	g_string_free(methods, true);
	json_object_del(dict, "auth-client-required");
	/* As QEMU has it, the secret holds the key's bytes, and Ceph wants them in base64. */
	g_autoptr(GBytes) key = NULL;
	if (!take_monitors(n, dict, error) ||
	    !remote_take_secret_bytes(&n->remote.node, dict, "key-secret", &key, error))
		return false;
	if (key)
		n->key = g_base64_encode(g_bytes_get_data(key, NULL), g_bytes_get_size(key));
	if (n->snapshot && !n->remote.node.readonly)
		return error_set(error, BERTH_ERR_INVALID, "a snapshot can only be read: use readonly=on");
	return (n->pool && n->image) || error_set(error, BERTH_ERR_INVALID, "rbd needs pool and image");
}

static char *rbd_name(const struct remote_node *remote)
{
	const struct rbd_node *n = (const struct rbd_node *)remote;
	return g_strdup_printf("rbd:%s/%s", n->pool, n->image);
}

static void rbd_clear(struct remote_node *remote)
{
	struct rbd_node *n = (struct rbd_node *)remote;
	char *texts[] = {n->pool, n->namespace, n->image, n->snapshot, n->conf,
			 n->user, n->key, n->auth, n->monitors};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	json_decref(n->settings);
}

static const struct remote_ops rbd_ops = {
	.take_options = rbd_take_options,
	.name = rbd_name,
	.clear = rbd_clear,
	.create = link_create,
	.remove = link_remove,
	.shared = true,
	.grows = true,
	REMOTE_LINK_OPS,
	.zero = link_zero,
	.discard = link_discard,
	.resize = link_resize,
};

static const struct block_option rbd_options[] = {
	{"cluster_size", "size", "RBD object size"},
	{NULL},
};

const struct block_driver block_rbd_driver = {
	REMOTE_DRIVER("rbd", rbd_node, &rbd_ops),
	.parse_filename = rbd_parse_filename,
	REMOTE_FILES,
	.create_options = rbd_options,
};
