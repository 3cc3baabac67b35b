/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A storage volume's XML. */
#include "conf/storage.h"

#include "base/error.h"
#include "conf/grammar.h"

#include <string.h>

static const char *const rows[] = {
	"volume type",
	"volume/name",
	"volume/key",
	"volume/source",
	"volume/capacity unit",
	"volume/allocation unit",
	"volume/physical unit",
	"volume/target",
	"volume/target/path",
	"volume/target/format type",
	"volume/target/permissions",
	"volume/target/permissions/mode",
	"volume/target/permissions/owner",
	"volume/target/permissions/group",
	"volume/target/timestamps *",
	"volume/target/compat",
	"volume/target/clusterSize unit",
	"volume/target/nocow",
	"volume/target/features",
	"volume/target/features/lazy_refcounts",
	"volume/target/features/extended_l2",
	"volume/backingStore",
	"volume/backingStore/path",
	"volume/backingStore/format type",
	"volume/backingStore/permissions *",
	"volume/backingStore/timestamps *",
};

/* --- Reading -------------------------------------------------------------------------------- */

static bool read_sizes(struct conf_volume *volume, const xmlNode *root, GError **error)
{
	const xmlNode *capacity = xml_child(root, "capacity"), *allocation = xml_child(root, "allocation");
	volume->has_capacity = capacity;
	volume->has_allocation = allocation;
	/* An overlay may leave its size to what it is over. */
	if ((capacity || !volume->backing.path) &&
	    !conf_size_read(capacity, "capacity", &volume->capacity, error))
		return false;
	volume->allocation = volume->capacity;
	return !allocation || conf_size_read(allocation, "allocation", &volume->allocation, error);
}

static bool read_target(struct conf_volume *volume, const xmlNode *target, GError **error)
{
	const xmlNode *cluster = xml_child(target, "clusterSize");
	const xmlNode *features = xml_child(target, "features");
	volume->format = xml_attribute(xml_child(target, "format"), "type");
	volume->compat = xml_child_text(target, "compat");
	volume->nocow = xml_child(target, "nocow");
	volume->lazy_refcounts = xml_child(features, "lazy_refcounts");
	volume->extended_l2 = xml_child(features, "extended_l2");
	if (cluster && !conf_size_read(cluster, "clusterSize", &volume->cluster_size, error))
		return false;
	if (volume->compat && strcmp(volume->compat, "0.10") != 0 && strcmp(volume->compat, "1.1") != 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "forbidden characters in 'compat' attribute: there are 0.10 and 1.1");
	return conf_permissions_read(target, &volume->permissions, error);
}

/* An empty element says that there is none, as virsh writes for a disk. */
static bool read_backing(struct conf_volume *volume, const xmlNode *backing, GError **error)
{
	volume->backing.path = xml_child_text(backing, "path");
	volume->backing.format = xml_attribute(xml_child(backing, "format"), "type");
	if (volume->backing.path && !conf_text_is_plain(volume->backing.path))
		return error_set(error, BERTH_ERR_INVALID,
				 "the backing store's path is empty or has control characters in it");
	if (!volume->backing.path && volume->backing.format)
		return error_set(error, BERTH_ERR_INVALID, "missing backing store path");
	return true;
}

static bool read_all(struct conf_volume *volume, const xmlNode *root, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	if (!xml_is(root, "volume"))
		return error_set(error, BERTH_ERR_INVALID, "expecting root element of 'volume', not '%s'",
				 root->name);
	if (!conf_grammar_check(&grammar, root, error))
		return false;
	volume->name = xml_child_text(root, "name");
	if (!volume->name || !*volume->name)
		return error_set(error, BERTH_ERR_INVALID, "missing volume name element");
	if (!conf_text_is_plain(volume->name))
		return error_set(error, BERTH_ERR_INVALID, "name has control characters in it");
	return read_backing(volume, xml_child(root, "backingStore"), error) &&
	       read_sizes(volume, root, error) &&
	       read_target(volume, xml_child(root, "target"), error);
}

struct conf_volume *conf_volume_parse(const char *text, GError **error)
{
	g_autoptr(xmlDoc) doc = xml_parse(text, "storage_volume_definition", error);
	if (!doc)
		return NULL;
	auto_conf_volume volume = conf_volume_new(NULL);
	bool good = read_all(volume, xmlDocGetRootElement(doc), error);
	return good ? g_steal_pointer(&volume) : NULL;
}

/* --- Life ----------------------------------------------------------------------------------- */

struct conf_volume *conf_volume_new(const char *name)
{
	struct conf_volume *volume = g_new0(struct conf_volume, 1);
	volume->name = g_strdup(name);
	volume->permissions = volume->backing.permissions = CONF_PERMISSIONS_UNSET;
	return volume;
}

struct conf_volume *conf_volume_copy(const struct conf_volume *volume)
{
	struct conf_volume *copy = g_memdup2(volume, sizeof(*volume));
	char **const texts[] = {&copy->name, &copy->path, &copy->format, &copy->encryption, &copy->compat,
				&copy->backing.path, &copy->backing.format};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		*texts[i] = g_strdup(*texts[i]);
	return copy;
}

void conf_volume_free(struct conf_volume *volume)
{
	if (!volume)
		return;
	char *const texts[] = {volume->name, volume->path, volume->format, volume->encryption,
			       volume->compat, volume->backing.path, volume->backing.format};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(volume);
}

/* --- Writing -------------------------------------------------------------------------------- */

static void write_time(struct xml_writer *w, const char *name, const struct timespec *time)
{
	g_autofree char *text = time->tv_nsec ? g_strdup_printf("%lld.%09ld", (long long)time->tv_sec,
								time->tv_nsec)
					      : g_strdup_printf("%lld", (long long)time->tv_sec);
	xml_leaf(w, name, text, NULL);
}

static void write_times(struct xml_writer *w, const struct conf_times *times)
{
	if (!times->known)
		return;
	xml_open(w, "timestamps", NULL);
	write_time(w, "atime", &times->access);
	write_time(w, "mtime", &times->change);
	write_time(w, "ctime", &times->status);
	xml_close(w, "timestamps");
}

static void write_features(struct xml_writer *w, const struct conf_volume *volume)
{
	if (!volume->compat || strcmp(volume->compat, "1.1") != 0)
		return;
	if (!volume->lazy_refcounts && !volume->extended_l2) {
		xml_empty(w, "features", NULL);
		return;
	}
	xml_open(w, "features", NULL);
	if (volume->lazy_refcounts)
		xml_empty(w, "lazy_refcounts", NULL);
	if (volume->extended_l2)
		xml_empty(w, "extended_l2", NULL);
	xml_close(w, "features");
}

static void write_target(struct xml_writer *w, const struct conf_volume *volume)
{
	xml_open(w, "target", NULL);
	if (volume->path)
		xml_leaf(w, "path", volume->path, NULL);
	if (volume->format)
		xml_empty(w, "format", "type", volume->format, NULL);
	conf_permissions_write(w, &volume->permissions);
	write_times(w, &volume->times);
	if (volume->encryption) {
		xml_open(w, "encryption", "format", volume->encryption, NULL);
		xml_close(w, "encryption");
	}
	if (volume->compat)
		xml_leaf(w, "compat", volume->compat, NULL);
	if (volume->cluster_size) {
		g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, volume->cluster_size);
		xml_leaf(w, "clusterSize", text, "unit", "B", NULL);
	}
	write_features(w, volume);
	xml_close(w, "target");
}

static void write_backing(struct xml_writer *w, const struct conf_backing *backing)
{
	if (!backing->path)
		return;
	xml_open(w, "backingStore", NULL);
	xml_leaf(w, "path", backing->path, NULL);
	if (backing->format)
		xml_empty(w, "format", "type", backing->format, NULL);
	conf_permissions_write(w, &backing->permissions);
	write_times(w, &backing->times);
	xml_close(w, "backingStore");
}

char *conf_volume_format(const struct conf_volume *volume)
{
	static const char *const types[] = {
		[CONF_VOLUME_FILE] = "file", [CONF_VOLUME_BLOCK] = "block", [CONF_VOLUME_DIR] = "dir",
	};
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "volume", "type", types[volume->type], NULL);
	xml_leaf(&w, "name", volume->name, NULL);
	if (volume->path)
		xml_leaf(&w, "key", volume->path, NULL);
	conf_size_write(&w, "capacity", volume->capacity);
	conf_size_write(&w, "allocation", volume->allocation);
	if (volume->physical)
		conf_size_write(&w, "physical", volume->physical);
	write_target(&w, volume);
	write_backing(&w, &volume->backing);
	xml_close(&w, "volume");
	return xml_writer_take(&w);
}
