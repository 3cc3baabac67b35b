/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/snapshot.h"

#include "base/error.h"
#include "conf/grammar.h"

#include <string.h>

static const char *const rows[] = {
	"domainsnapshot",
	"domainsnapshot/name",
	"domainsnapshot/description",
	"domainsnapshot/state",
	"domainsnapshot/creationTime",
	"domainsnapshot/parent",
	"domainsnapshot/parent/name",
	"domainsnapshot/memory snapshot",
	"domainsnapshot/disks",
	"domainsnapshot/disks/disk name snapshot type",
	"domainsnapshot/disks/disk/driver type",
	"domainsnapshot/disks/disk/source file",
	"domainsnapshot/domain *",
	/* virsh adds these to a document that it edits. */
	"domainsnapshot/active",
};

static const char *const places[] = {
	[CONF_SNAPSHOT_NONE] = "no", [CONF_SNAPSHOT_INTERNAL] = "internal",
	[CONF_SNAPSHOT_EXTERNAL] = "external",
};

/* --- Life ----------------------------------------------------------------------------------- */

static void disk_free(void *opaque)
{
	struct conf_snapshot_disk *disk = opaque;
	g_free(disk->name);
	g_free(disk->file);
	g_free(disk->format);
	g_free(disk);
}

void conf_snapshot_free(struct conf_snapshot *snapshot)
{
	if (!snapshot)
		return;
	conf_moment_clear(&snapshot->moment);
	g_free(snapshot->state);
	g_ptr_array_unref(snapshot->disks);
	g_free(snapshot);
}

/* --- Reading -------------------------------------------------------------------------------- */

static bool read_place(const xmlNode *node, enum conf_snapshot_where *where, GError **error)
{
	g_autofree char *text = node ? xml_attribute(node, "snapshot") : NULL;
	*where = CONF_SNAPSHOT_DEFAULT;
	for (unsigned i = CONF_SNAPSHOT_NONE; text && i < G_N_ELEMENTS(places); i++) {
		if (strcmp(places[i], text) == 0)
			*where = i;
	}
	return !text || *where ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node,
				 "snapshot='%s': there are no, internal and external", text);
}

static bool read_disk(struct conf_snapshot *snapshot, const xmlNode *node, GError **error)
{
	struct conf_snapshot_disk *disk = g_new0(struct conf_snapshot_disk, 1);
	g_ptr_array_add(snapshot->disks, disk);
	g_autofree char *type = xml_attribute(node, "type");
	disk->name = xml_attribute(node, "name");
	disk->file = conf_domain_child_attribute(node, "source", "file");
	disk->format = conf_domain_child_attribute(node, "driver", "type");
	if (!disk->name)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its name is missing");
	if (!CONF_DOMAIN_ONE_OF(node, "type", type, error, "file") || !read_place(node, &disk->where, error))
		return false;
	if (disk->file && disk->where == CONF_SNAPSHOT_DEFAULT)
		disk->where = CONF_SNAPSHOT_EXTERNAL;
	if (disk->file && disk->where != CONF_SNAPSHOT_EXTERNAL)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "file '%s' for disk '%s' requires use of external snapshot mode",
					 disk->file, disk->name);
	return (!disk->file || *disk->file == '/') ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node, "'%s' is no absolute path", disk->file);
}

static bool read_all(struct conf_snapshot *snapshot, const xmlNode *root, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	if (!xml_is(root, "domainsnapshot"))
		return conf_domain_error(error, BERTH_ERR_INVALID, root, "domainsnapshot is expected");
	if (!conf_grammar_check(&grammar, root, error) ||
	    !conf_moment_read(&snapshot->moment, root, "snapshot", error) ||
	    !read_place(xml_child(root, "memory"), &snapshot->memory, error))
		return false;
	snapshot->state = xml_child_text(root, "state");
	xml_for_each(disk, xml_child(root, "disks"), "disk") {
		if (!read_disk(snapshot, disk, error))
			return false;
	}
	return true;
}

struct conf_snapshot *conf_snapshot_parse(const char *text, GError **error)
{
	g_autoptr(xmlDoc) doc = xml_parse(text, "domain_snapshot", error);
	if (!doc)
		return NULL;
	struct conf_snapshot *snapshot = g_new0(struct conf_snapshot, 1);
	snapshot->disks = g_ptr_array_new_with_free_func(disk_free);
	if (read_all(snapshot, xmlDocGetRootElement(doc), error))
		return snapshot;
	conf_snapshot_free(snapshot);
	return NULL;
}

/* --- Writing -------------------------------------------------------------------------------- */

static void format_disk(struct xml_writer *w, const struct conf_snapshot_disk *disk)
{
	if (disk->where != CONF_SNAPSHOT_EXTERNAL) {
		xml_empty(w, "disk", "name", disk->name, "snapshot", places[disk->where], NULL);
		return;
	}
	xml_open(w, "disk", "name", disk->name, "snapshot", places[disk->where], "type", "file", NULL);
	xml_empty(w, "driver", "type", disk->format, NULL);
	xml_empty(w, "source", "file", disk->file, NULL);
	xml_close(w, "disk");
}

char *conf_snapshot_format(const struct conf_snapshot *snapshot)
{
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "domainsnapshot", NULL);
	conf_moment_format(&snapshot->moment, snapshot->state, &w);
	if (snapshot->memory)
		xml_empty(&w, "memory", "snapshot", places[snapshot->memory], NULL);
	if (snapshot->disks->len)
		xml_open(&w, "disks", NULL);
	for (unsigned i = 0; i < snapshot->disks->len; i++)
		format_disk(&w, snapshot->disks->pdata[i]);
	if (snapshot->disks->len)
		xml_close(&w, "disks");
	conf_moment_format_domain(&snapshot->moment, &w);
	xml_close(&w, "domainsnapshot");
	return xml_writer_take(&w);
}

/* --- A domain's disks -------------------------------------------------------------------------- */

/* libvirt's: what comes after the last dot of the image's own name gives way to the snapshot's. */
static char *choose_file(const struct conf_domain_disk *disk, const char *snapshot)
{
	g_autofree char *folder = g_path_get_dirname(disk->file), *base = g_path_get_basename(disk->file);
	char *dot = strrchr(base, '.');
	if (dot && dot != base)
		*dot = '\0';
	return g_strdup_printf("%s/%s.%s", folder, base, snapshot);
}

static bool align_disk(struct conf_snapshot *snapshot, const struct conf_domain_disk *disk,
		       struct conf_snapshot_disk *said, enum conf_snapshot_where fallback, GError **error)
{
	if (said->where != CONF_SNAPSHOT_NONE && !disk->file && conf_domain_disk_has_medium(disk) && !disk->readonly)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "a snapshot of disk '%s' is not supported, as %s: exclude it with snapshot='no'",
				 disk->target, disk->source.kind == CONF_SOURCE_NETWORK
				 ? "it is on a server" : "it is a volume and the domain does not run");
	if (said->where == CONF_SNAPSHOT_DEFAULT)
		said->where = disk->cdrom || disk->readonly || !disk->file ? CONF_SNAPSHOT_NONE : fallback;
	if (said->where != CONF_SNAPSHOT_NONE && (disk->readonly || !disk->file))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "disk '%s' is read-only or empty: a snapshot of it is not supported",
				 disk->target);
	if (said->where != CONF_SNAPSHOT_NONE && disk->source.encryption.given)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "disk '%s' is encrypted: a snapshot of it is not supported", disk->target);
	if (said->where == CONF_SNAPSHOT_INTERNAL && strcmp(disk->format, "qcow2") != 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "internal snapshot for disk %s unsupported for storage type %s",
				 disk->target, disk->format);
	if (said->where != CONF_SNAPSHOT_EXTERNAL)
		return true;
	if (disk->block && !said->file)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "cannot generate external snapshot name for disk '%s' on a block device: give "
				 "its <source file=...>", disk->target);
	if (!said->file)
		said->file = choose_file(disk, snapshot->moment.name);
	if (!said->format)
		said->format = g_strdup("qcow2");
	return strcmp(said->format, "qcow2") == 0 ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "external snapshot format for disk %s is unsupported: %s", disk->target,
			 said->format);
}

bool conf_snapshot_align(struct conf_snapshot *snapshot, const struct conf_domain *domain,
			 enum conf_snapshot_where fallback, GError **error)
{
	GPtrArray *given = snapshot->disks;
	snapshot->disks = g_ptr_array_new_with_free_func(disk_free);
	bool good = true;
	for (unsigned i = 0; i < domain->disks->len; i++) {
		const struct conf_domain_disk *disk = domain->disks->pdata[i];
		struct conf_snapshot_disk *said = NULL;
		for (unsigned g = 0; g < given->len && !said; g++) {
			const struct conf_snapshot_disk *one = given->pdata[g];
			if (conf_domain_find_disk(domain, one->name) == disk)
				said = g_ptr_array_steal_index(given, g);
		}
		if (!said)
			said = g_new0(struct conf_snapshot_disk, 1);
		g_free(said->name);
		said->name = g_strdup(disk->target);
		g_ptr_array_add(snapshot->disks, said);
		good = good && align_disk(snapshot, disk, said, fallback, error);
	}
	if (good && given->len) {
		const struct conf_snapshot_disk *left = given->pdata[0];
		good = error_set(error, BERTH_ERR_NOT_SUPPORTED, "no disk named '%s', or it is named twice",
				 left->name);
	}
	g_ptr_array_unref(given);
	return good;
}
