/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A storage pool's XML. */
#include "conf/storage.h"

#include "base/error.h"
#include "conf/domain.h"
#include "conf/grammar.h"
#include "conf/vm.h"

#include <string.h>

static const char *const rows[] = {
	"pool type",
	"pool/name",
	"pool/uuid",
	"pool/capacity unit",
	"pool/allocation unit",
	"pool/available unit",
	"pool/source",
	"pool/target",
	"pool/target/path",
	"pool/target/permissions",
	"pool/target/permissions/mode",
	"pool/target/permissions/owner",
	"pool/target/permissions/group",
};

const char *const conf_pool_types[] = {
	"dir", "fs", "netfs", "logical", "disk", "iscsi", "iscsi-direct", "scsi", "mpath", "rbd",
	"sheepdog", "gluster", "zfs", "vstorage", NULL,
};

static bool check_type(const xmlNode *root, GError **error)
{
	g_autofree char *type = xml_attribute(root, "type");
	unsigned number = 0;
	if (!type)
		return error_set(error, BERTH_ERR_INVALID,
				 "Missing required attribute 'type' in element 'pool'");
	while (conf_pool_types[number] && strcmp(conf_pool_types[number], type) != 0)
		number++;
	if (!conf_pool_types[number])
		return error_set(error, BERTH_ERR_INVALID,
				 "Invalid value for attribute 'type' in element 'pool': '%s'.", type);
	if (number != CONF_POOL_DIR)
		return error_set(error, BERTH_ERR_INTERNAL,
				 "missing backend for pool type %u (%s): Berth has dir", number, type);
	return true;
}

static bool read_name(struct conf_pool *pool, const xmlNode *root, GError **error)
{
	pool->name = xml_child_text(root, "name");
	if (!pool->name || !*pool->name)
		return error_set(error, BERTH_ERR_INVALID, "missing pool source name element");
	if (strchr(pool->name, '/'))
		return error_set(error, BERTH_ERR_INVALID, "name %s cannot contain '/'", pool->name);
	if (!conf_text_is_plain(pool->name))
		return error_set(error, BERTH_ERR_INVALID, "name has control characters in it");
	g_autofree char *uuid = xml_child_text(root, "uuid");
	if (!uuid)
		uuid = g_uuid_string_random();
	if (conf_uuid_parse(uuid, pool->uuid, NULL))
		return true;
	return error_set(error, BERTH_ERR_INVALID, "malformed uuid element");
}

/* "/a//b/" to "/a/b": a volume's path is the pool's, a slash and a name. */
static char *clean_path(const char *path)
{
	GString *clean = g_string_new(NULL);
	for (; *path; path++) {
		if (*path != '/' || (path[1] && path[1] != '/'))
			g_string_append_c(clean, *path);
	}
	if (!clean->len)
		g_string_append_c(clean, '/');
	return g_string_free(clean, FALSE);
}

static bool read_target(struct conf_pool *pool, const xmlNode *target, GError **error)
{
	g_autofree char *path = xml_child_text(target, "path");
	if (!path || !*path)
		return error_set(error, BERTH_ERR_INVALID, "missing storage pool target path");
	if (*path != '/' || !conf_text_is_plain(path))
		return error_set(error, BERTH_ERR_INVALID,
				 "storage pool target path '%s' must be absolute, without control "
				 "characters", path);
	pool->path = clean_path(path);
	return conf_permissions_read(target, &pool->permissions, error);
}

struct conf_pool *conf_pool_parse(const char *text, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	g_autoptr(xmlDoc) doc = xml_parse(text, "storage_pool_definition", error);
	if (!doc)
		return NULL;
	const xmlNode *root = xmlDocGetRootElement(doc);
	auto_conf_pool pool = g_new0(struct conf_pool, 1);
	pool->permissions = CONF_PERMISSIONS_UNSET;
	if (!xml_is(root, "pool"))
		error_set(error, BERTH_ERR_INVALID, "expecting root element of 'pool', not '%s'",
			  root->name);
	else if (check_type(root, error) && conf_grammar_check(&grammar, root, error) &&
		 read_name(pool, root, error) && read_target(pool, xml_child(root, "target"), error))
		return g_steal_pointer(&pool);
	return NULL;
}

struct conf_pool *conf_pool_copy(const struct conf_pool *pool)
{
	struct conf_pool *copy = g_memdup2(pool, sizeof(*pool));
	copy->name = g_strdup(pool->name);
	copy->path = g_strdup(pool->path);
	return copy;
}

void conf_pool_free(struct conf_pool *pool)
{
	if (!pool)
		return;
	g_free(pool->name);
	g_free(pool->path);
	g_free(pool);
}

char *conf_pool_format(const struct conf_pool *pool, const struct conf_pool_usage *usage,
		       const struct conf_permissions *permissions)
{
	static const struct conf_pool_usage unknown;
	struct xml_writer w = xml_writer_new();
	char uuid[37];
	conf_uuid_format(pool->uuid, uuid);
	if (!usage)
		usage = &unknown;
	xml_open(&w, "pool", "type", "dir", NULL);
	xml_leaf(&w, "name", pool->name, NULL);
	xml_leaf(&w, "uuid", uuid, NULL);
	conf_size_write(&w, "capacity", usage->capacity);
	conf_size_write(&w, "allocation", usage->allocation);
	conf_size_write(&w, "available", usage->available);
	xml_open(&w, "source", NULL);
	xml_close(&w, "source");
	xml_open(&w, "target", NULL);
	xml_leaf(&w, "path", pool->path, NULL);
	conf_permissions_write(&w, permissions ? permissions : &pool->permissions);
	xml_close(&w, "target");
	xml_close(&w, "pool");
	return xml_writer_take(&w);
}
