/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images on NFS servers, without a mount and without root, by libnfs. Names:
 * nfs://HOST[:PORT]/EXPORT/FILE[?uid=N&gid=N&tcp-syncnt=N&readahead=N&pagecache=N&debug=N&nfsport=N&
 * mountport=N&version=3|4]; options: server.host, path, user, group, tcp-syn-count, readahead-size,
 * page-cache-size, debug, and, ours, port, mount-port and version. With version=4 writes are slow:
 * libnfs 4.0, which Debian 12 has, encodes a request of version 4 into 4096 bytes, data and all.
 */
#include "block/proto/remote/remote.h"

#include "base/error.h"
#include "base/log.h"
#include "block/core/drivers.h"

#include <errno.h>
#include <fcntl.h>
#include <nfsc/libnfs.h>
#include <string.h>

#define TIMEOUT_MS   60000
#define V4_WRITE_MAX 2048 /* what fits in libnfs's buffer beside the longest headers */

#define NFS_FUNCTIONS(F)                                                                           \
	F(nfs_init_context) F(nfs_destroy_context) F(nfs_parse_url_dir) F(nfs_destroy_url)         \
	F(nfs_mount) F(nfs_open) F(nfs_creat) F(nfs_unlink) F(nfs_close) F(nfs_pread) F(nfs_pwrite) F(nfs_fsync) \
	F(nfs_fstat64) F(nfs_ftruncate) F(nfs_get_error) F(nfs_set_uid) F(nfs_set_gid)             \
	F(nfs_set_tcp_syncnt) F(nfs_set_readahead) F(nfs_set_pagecache) F(nfs_set_debug)           \
	F(nfs_set_timeout) F(nfs4_set_client_name)

LIBRARY(nfs, NFS_FUNCTIONS, .package = "libnfs13", .files = {"libnfs.so.13"})

#define UNSET UINT64_MAX

struct nfs_node {
	struct remote_node remote;
	char *host, *folder, *file;
	uint64_t uid, gid, syn_count, readahead, page_cache, debug, port, mount_port, version;
};

struct nfs_link {
	struct nfs_context *context;
	struct nfsfh *file;
	size_t write_max; /* bytes in one request */
};

/* --- connections ------------------------------------------------------------------------------------*/

static void link_disconnect(void *connection)
{
	struct nfs_link *link = connection;
	if (link->file)
		nfs.nfs_close(link->context, link->file);
	nfs.nfs_destroy_context(link->context);
	g_free(link);
}

/* Ports and the version have no calls of their own: a URL sets them. */
static bool set_by_url(struct nfs_node *node, struct nfs_link *link, GError **error)
{
	static const char *const keys[] = {"nfsport", "mountport", "version"};
	uint64_t values[] = {node->port, node->mount_port, node->version};
	GString *text = g_string_new(NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		if (values[i] != UNSET)
			g_string_append_printf(text, "%c%s=%" G_GUINT64_FORMAT, text->len ? '&' : '?',
					       keys[i], values[i]);
	g_autofree char *name = g_strdup_printf("nfs://%s/x%s", node->host, text->str);
	bool needed = text->len > 0;
	g_string_free(text, true);
	struct nfs_url *url = needed ? nfs.nfs_parse_url_dir(link->context, name) : NULL;
	if (needed && !url)
		return error_set(error, BERTH_ERR_INVALID, "%s", nfs.nfs_get_error(link->context));
	if (url)
		nfs.nfs_destroy_url(url);
	return true;
}

static bool configure(struct nfs_node *node, struct nfs_link *link, GError **error)
{
	nfs.nfs_set_timeout(link->context, TIMEOUT_MS);
	if (node->uid != UNSET)
		nfs.nfs_set_uid(link->context, node->uid);
	if (node->gid != UNSET)
		nfs.nfs_set_gid(link->context, node->gid);
	if (node->syn_count != UNSET)
		nfs.nfs_set_tcp_syncnt(link->context, node->syn_count);
	if (node->readahead != UNSET)
		nfs.nfs_set_readahead(link->context, node->readahead);
	if (node->page_cache != UNSET)
		nfs.nfs_set_pagecache(link->context, node->page_cache);
	if (node->debug != UNSET)
		nfs.nfs_set_debug(link->context, node->debug);
	return set_by_url(node, link, error);
}

static bool explain(const struct nfs_link *link, GError **error)
{
	return error_set(error, BERTH_ERR_IO, "%s", nfs.nfs_get_error(link->context));
}

/*
 * To a server of version 4, a client of the same name that comes again has lost its state: it closes
 * what the first one has open (RFC 7530, 9.1.1). libnfs makes names of the process and the second, so
 * connections need one each. It does not free the name that it had.
 */
static void name_client(struct nfs_link *link)
{
	g_autofree char *uuid = g_uuid_string_random();
	g_autofree char *name = g_strconcat("berth ", uuid, NULL);
	nfs.nfs4_set_client_name(link->context, name);
}

/* A mounted export, with no file open. */
static struct nfs_link *mount_export(struct nfs_node *node, GError **error)
{
	struct nfs_link *link = g_new0(struct nfs_link, 1);
	link->write_max = node->version == 4 ? V4_WRITE_MAX : SIZE_MAX;
	link->context = nfs.nfs_init_context();
	if (link->context && node->version == 4)
		name_client(link);
	bool good = link->context ? configure(node, link, error) &&
					    (nfs.nfs_mount(link->context, node->host, node->folder) == 0 ||
					     explain(link, error))
				  : error_set(error, BERTH_ERR_INTERNAL, "libnfs gives no context");
	if (good)
		return link;
	if (link->context)
		nfs.nfs_destroy_context(link->context);
	g_free(link);
	return NULL;
}

static void *link_connect(struct remote_node *remote, GError **error)
{
	struct nfs_node *node = (struct nfs_node *)remote;
	struct nfs_link *link = mount_export(node, error);
	int flags = remote->node.readonly ? O_RDONLY : O_RDWR;
	if (!link || nfs.nfs_open(link->context, node->file, flags, &link->file) == 0)
		return link;
	explain(link, error);
	link_disconnect(link);
	return NULL;
}

/*
 * A new file, or what is there emptied. In version 4, nfs_creat() takes no file that is there, and what
 * it opens cannot be resized.
 */
static bool make_empty(struct nfs_link *link, const char *path)
{
	int rc = nfs.nfs_open(link->context, path, O_RDWR, &link->file);
	if (rc == -ENOENT && (rc = nfs.nfs_creat(link->context, path, 0644, &link->file)) == 0) {
		nfs.nfs_close(link->context, g_steal_pointer(&link->file));
		rc = nfs.nfs_open(link->context, path, O_RDWR, &link->file);
	}
	return rc == 0 && nfs.nfs_ftruncate(link->context, link->file, 0) == 0;
}

static bool link_create(struct remote_node *remote, const struct block_create *create, GError **error)
{
	struct nfs_node *node = (struct nfs_node *)remote;
	struct nfs_link *link = mount_export(node, error);
	bool good = link && ((make_empty(link, node->file) &&
			      nfs.nfs_ftruncate(link->context, link->file, create->size) == 0) ||
			     explain(link, error));
	if (link)
		link_disconnect(link);
	return good;
}

static bool link_remove(struct remote_node *remote, GError **error)
{
	struct nfs_node *node = (struct nfs_node *)remote;
	struct nfs_link *link = mount_export(node, error);
	bool good = link && (nfs.nfs_unlink(link->context, node->file) == 0 || explain(link, error));
	if (link)
		link_disconnect(link);
	return good;
}

static bool link_describe(struct remote_node *remote, void *connection, GError **error)
{
	struct nfs_link *link = connection;
	struct nfs_stat_64 stat;
	if (nfs.nfs_fstat64(link->context, link->file, &stat) < 0)
		return explain(link, error);
	remote->node.size = stat.nfs_size;
	return true;
}

/* libnfs connects anew by itself, and what has failed for good is said in words only. */
static int failed(struct nfs_link *link, int result)
{
	log_warning("NFS: %s", nfs.nfs_get_error(link->context));
	return result < -1 ? result : -EIO;
}

static int link_read(void *connection, uint64_t offset, void *bytes, size_t length)
{
	struct nfs_link *link = connection;
	for (size_t at = 0; at < length;) {
		int n = nfs.nfs_pread(link->context, link->file, offset + at, length - at,
				      (char *)bytes + at);
		if (n < 0)
			return failed(link, n);
		if (n == 0) { /* behind the end */
			memset((char *)bytes + at, 0, length - at);
			return 0;
		}
		at += n;
	}
	return 0;
}

static int link_write(void *connection, uint64_t offset, const void *bytes, size_t length)
{
	struct nfs_link *link = connection;
	for (size_t at = 0; at < length;) {
		int n = nfs.nfs_pwrite(link->context, link->file, offset + at,
				       MIN(length - at, link->write_max), (const char *)bytes + at);
		if (n <= 0)
			return failed(link, n);
		at += n;
	}
	return 0;
}

static int link_flush(void *connection)
{
	struct nfs_link *link = connection;
	int rc = nfs.nfs_fsync(link->context, link->file);
	return rc < 0 ? failed(link, rc) : 0;
}

static int link_resize(void *connection, uint64_t size)
{
	struct nfs_link *link = connection;
	int rc = nfs.nfs_ftruncate(link->context, link->file, size);
	return rc < 0 ? failed(link, rc) : 0;
}

/* --- names and options ------------------------------------------------------------------------------*/

static bool nfs_parse_filename(const char *filename, json_t *dict, GError **error)
{
	static const char *const keys[][2] = {
		{"uid", "user"}, {"gid", "group"}, {"tcp-syncnt", "tcp-syn-count"},
		{"readahead", "readahead-size"}, {"pagecache", "page-cache-size"}, {"debug", "debug"},
		{"nfsport", "port"}, {"mountport", "mount-port"}, {"version", "version"}};
	struct remote_url url;
	if (!remote_url_parse(filename, &url, error))
		return false;
	json_object_set_new(dict, "server", json_pack("{s:s, s:s}", "type", "inet", "host", url.host));
	json_object_set_new(dict, "path", json_string(url.path));
	if (url.port > 0)
		json_object_set_new(dict, "port", json_integer(url.port));
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++)
		remote_url_take(&url, keys[i][0], dict, keys[i][1]);
	bool good = remote_url_refuse_rest(&url, error);
	remote_url_clear(&url);
	return good;
}

static bool take_server(struct nfs_node *node, json_t *dict, GError **error)
{
	json_t *server = json_object_get(dict, "server");
	g_autofree char *type = json_is_object(server) ? block_take_string(server, "type") : NULL;
	node->host = json_is_object(server) ? block_take_string(server, "host") : NULL;
	if (!node->host || (type && strcmp(type, "inet") != 0))
		return error_set(error, BERTH_ERR_INVALID, "nfs needs server.type=inet and server.host");
	if (!block_refuse_rest(server, "server", error))
		return false;
	json_object_del(dict, "server");
	return true;
}

static bool nfs_take_options(struct remote_node *remote, json_t *dict, GError **error)
{
	struct nfs_node *node = (struct nfs_node *)remote;
	struct {
		const char *key;
		uint64_t *value, max;
	} numbers[] = {{"user", &node->uid, UINT32_MAX}, {"group", &node->gid, UINT32_MAX},
		       {"tcp-syn-count", &node->syn_count, 255},
		       {"readahead-size", &node->readahead, 1 << 20},
		       {"page-cache-size", &node->page_cache, 8 << 20}, {"debug", &node->debug, 2},
		       {"port", &node->port, 65535}, {"mount-port", &node->mount_port, 65535},
		       {"version", &node->version, 4}};
	if (!take_server(node, dict, error))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
		*numbers[i].value = UNSET;
		if (!block_take_size(dict, numbers[i].key, numbers[i].value, error))
			return false;
		if (*numbers[i].value != UNSET && *numbers[i].value > numbers[i].max)
			return error_set(error, BERTH_ERR_INVALID, "%s is at most %" G_GUINT64_FORMAT,
					 numbers[i].key, numbers[i].max);
	}
	g_autofree char *path = block_take_string(dict, "path");
	char *slash = path ? strrchr(path, '/') : NULL;
	if (!slash || !slash[1] || path[0] != '/')
		return error_set(error, BERTH_ERR_INVALID, "nfs needs path=/EXPORT/FILE");
	node->file = g_strdup(slash);
	slash[slash == path] = '\0';
	node->folder = g_strdup(path);
	return true;
}

static char *nfs_name(const struct remote_node *remote)
{
	const struct nfs_node *node = (const struct nfs_node *)remote;
	bool top = strcmp(node->folder, "/") == 0;
	return g_strdup_printf("nfs://%s%s%s", node->host, top ? "" : node->folder, node->file);
}

static void nfs_clear(struct remote_node *remote)
{
	struct nfs_node *node = (struct nfs_node *)remote;
	g_free(node->host);
	g_free(node->folder);
	g_free(node->file);
}

static const struct remote_ops nfs_ops = {
	.take_options = nfs_take_options,
	.name = nfs_name,
	.clear = nfs_clear,
	.create = link_create,
	.remove = link_remove,
	.grows = true,
	REMOTE_LINK_OPS,
	.resize = link_resize,
};

const struct block_driver block_nfs_driver = {
	REMOTE_DRIVER("nfs", nfs_node, &nfs_ops),
	.parse_filename = nfs_parse_filename,
	REMOTE_FILES,
};
