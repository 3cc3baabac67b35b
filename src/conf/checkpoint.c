/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/checkpoint.h"

#include "base/error.h"
#include "conf/grammar.h"

#include <inttypes.h>
#include <string.h>

static const char *const rows[] = {
	"domaincheckpoint",
	"domaincheckpoint/name",
	"domaincheckpoint/description",
	"domaincheckpoint/creationTime",
	"domaincheckpoint/parent",
	"domaincheckpoint/parent/name",
	"domaincheckpoint/disks",
	"domaincheckpoint/disks/disk name checkpoint bitmap size",
	"domaincheckpoint/domain *",
};

/* --- Life ----------------------------------------------------------------------------------- */

static void disk_free(void *opaque)
{
	struct conf_checkpoint_disk *disk = opaque;
	g_free(disk->name);
	g_free(disk->bitmap);
	g_free(disk);
}

void conf_checkpoint_free(struct conf_checkpoint *checkpoint)
{
	if (!checkpoint)
		return;
	conf_moment_clear(&checkpoint->moment);
	g_ptr_array_unref(checkpoint->disks);
	g_free(checkpoint);
}

static struct conf_checkpoint_disk *add_disk(struct conf_checkpoint *checkpoint)
{
	struct conf_checkpoint_disk *disk = g_new0(struct conf_checkpoint_disk, 1);
	disk->size = -1;
	g_ptr_array_add(checkpoint->disks, disk);
	return disk;
}

/* --- Reading -------------------------------------------------------------------------------- */

static bool read_disk(struct conf_checkpoint *checkpoint, const xmlNode *node, GError **error)
{
	struct conf_checkpoint_disk *disk = add_disk(checkpoint);
	g_autofree char *kind = xml_attribute(node, "checkpoint");
	disk->name = xml_attribute(node, "name");
	disk->bitmap = xml_attribute(node, "bitmap");
	disk->excluded = g_strcmp0(kind, "no") == 0;
	if (!disk->name)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its name is missing");
	if (disk->bitmap && (!*disk->bitmap || disk->excluded))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "bitmap='%s': only a disk with "
					 "checkpoint='bitmap' has one, and its name is not empty", disk->bitmap);
	return !kind || disk->excluded || strcmp(kind, "bitmap") == 0 ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node, "checkpoint='%s': there are no and bitmap",
				 kind);
}

static bool read_all(struct conf_checkpoint *checkpoint, const xmlNode *root, bool redefine, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), NULL, 0};
	if (!xml_is(root, "domaincheckpoint"))
		return conf_domain_error(error, BERTH_ERR_INVALID, root, "domaincheckpoint is expected");
	if (!conf_grammar_check(&grammar, root, error))
		return false;
	if (redefine && !xml_child(root, "name"))
		return error_set(error, BERTH_ERR_INVALID, "a redefined checkpoint must have a name");
	if (redefine && !xml_child(root, "creationTime"))
		return error_set(error, BERTH_ERR_INVALID, "missing creationTime from existing checkpoint");
	if (!conf_moment_read(&checkpoint->moment, root, "checkpoint", error))
		return false;
	xml_for_each(disk, xml_child(root, "disks"), "disk") {
		if (!read_disk(checkpoint, disk, error))
			return false;
	}
	return true;
}

struct conf_checkpoint *conf_checkpoint_parse(const char *text, bool redefine, GError **error)
{
	g_autoptr(xmlDoc) doc = xml_parse(text, "domain_checkpoint", error);
	if (!doc)
		return NULL;
	struct conf_checkpoint *checkpoint = g_new0(struct conf_checkpoint, 1);
	checkpoint->disks = g_ptr_array_new_with_free_func(disk_free);
	if (read_all(checkpoint, xmlDocGetRootElement(doc), redefine, error))
		return checkpoint;
	conf_checkpoint_free(checkpoint);
	return NULL;
}

/* --- Writing -------------------------------------------------------------------------------- */

char *conf_checkpoint_format(const struct conf_checkpoint *checkpoint, bool domain)
{
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "domaincheckpoint", NULL);
	conf_moment_format(&checkpoint->moment, NULL, &w);
	if (checkpoint->disks->len)
		xml_open(&w, "disks", NULL);
	for (unsigned i = 0; i < checkpoint->disks->len; i++) {
		const struct conf_checkpoint_disk *disk = checkpoint->disks->pdata[i];
		g_autofree char *size = disk->size < 0 ? NULL : g_strdup_printf("%" PRId64, disk->size);
		xml_empty(&w, "disk", "name", disk->name, "checkpoint", disk->excluded ? "no" : "bitmap",
			  "bitmap", disk->bitmap, "size", size, NULL);
	}
	if (checkpoint->disks->len)
		xml_close(&w, "disks");
	if (domain)
		conf_moment_format_domain(&checkpoint->moment, &w);
	xml_close(&w, "domaincheckpoint");
	return xml_writer_take(&w);
}

/* --- A domain's disks -------------------------------------------------------------------------- */

static bool is_writable(const struct conf_domain_disk *disk)
{
	return !disk->readonly && conf_domain_disk_has_medium(disk);
}

/* What the client said of the disk, taken out of `given`; NULL: nothing. */
static struct conf_checkpoint_disk *take_said(GPtrArray *given, const struct conf_domain *domain,
					      const struct conf_domain_disk *disk)
{
	for (unsigned i = 0; i < given->len; i++) {
		const struct conf_checkpoint_disk *one = given->pdata[i];
		if (conf_domain_find_disk(domain, one->name) == disk)
			return g_ptr_array_steal_index(given, i);
	}
	return NULL;
}

static bool align_disk(struct conf_checkpoint *checkpoint, const struct conf_domain_disk *disk,
		       struct conf_checkpoint_disk *said, bool all, GError **error)
{
	if (!said) {
		said = add_disk(checkpoint);
		said->excluded = !all || !is_writable(disk);
	} else {
		g_ptr_array_add(checkpoint->disks, said);
	}
	g_free(said->name);
	said->name = g_strdup(disk->target);
	if (!said->excluded && !said->bitmap)
		said->bitmap = g_strdup(checkpoint->moment.name);
	return said->excluded || is_writable(disk) ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED, "disk '%s' is empty or readonly", said->name);
}

bool conf_checkpoint_align(struct conf_checkpoint *checkpoint, const struct conf_domain *domain,
			   GError **error)
{
	if (!domain->disks->len)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "domain must have at least one disk to perform checkpoints");
	GPtrArray *given = checkpoint->disks;
	bool good = true, all = given->len == 0;
	checkpoint->disks = g_ptr_array_new_with_free_func(disk_free);
	for (unsigned i = 0; i < domain->disks->len; i++) {
		const struct conf_domain_disk *disk = domain->disks->pdata[i];
		struct conf_checkpoint_disk *said = take_said(given, domain, disk);
		good = align_disk(checkpoint, disk, said, all, good ? error : NULL) && good;
	}
	if (good && given->len) {
		const struct conf_checkpoint_disk *left = given->pdata[0];
		good = conf_domain_find_disk(domain, left->name)
			? error_set(error, BERTH_ERR_NOT_SUPPORTED, "disk '%s' specified twice", left->name)
			: error_set(error, BERTH_ERR_NOT_SUPPORTED, "no disk named '%s'", left->name);
	}
	g_ptr_array_unref(given);
	return good;
}
