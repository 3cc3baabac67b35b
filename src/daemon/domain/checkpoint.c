/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/checkpoint.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/domain/vmm.h"

#include <string.h>

static struct conf_moment *parse(const char *text, GError **error)
{
	return (struct conf_moment *)conf_checkpoint_parse(text, false, error);
}

static char *format(const struct conf_moment *moment)
{
	return conf_checkpoint_format((const struct conf_checkpoint *)moment, true);
}

static void free_checkpoint(void *moment)
{
	conf_checkpoint_free(moment);
}

const struct moment_kind checkpoint_kind = {"checkpoints", "checkpoint", VIRT_NO_CHECKPOINT, parse, format,
					    free_checkpoint};

struct conf_checkpoint *checkpoint_find(const struct domain *dom, const char *name)
{
	return (struct conf_checkpoint *)moments_find(dom->checkpoints, name);
}

/* --- Making one ----------------------------------------------------------------------------- */

static bool check_disk(const struct domain *dom, const struct conf_checkpoint *checkpoint,
		       const struct conf_checkpoint_disk *disk, GError **error)
{
	const struct conf_domain_disk *its = conf_domain_find_disk(dom->live, disk->name);
	if (strcmp(disk->bitmap, checkpoint->moment.name) != 0)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				  "bitmap for disk '%s' must match checkpoint name '%s'", disk->name,
				  checkpoint->moment.name);
	return strcmp(its->format, "qcow2") == 0 ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
			  "checkpoint for disk %s unsupported for storage type %s", disk->name, its->format);
}

bool checkpoint_prepare(const struct domain *dom, struct conf_checkpoint *checkpoint, GError **error)
{
	g_autoptr(GError) cause = NULL;
	struct conf_moment *moment = &checkpoint->moment;
	if (checkpoint_find(dom, moment->name))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
				  "domain moment %s already exists", moment->name);
	if (!conf_checkpoint_align(checkpoint, dom->live, &cause))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED, "%s", cause->message);
	for (unsigned i = 0; i < checkpoint->disks->len; i++) {
		const struct conf_checkpoint_disk *disk = checkpoint->disks->pdata[i];
		if (!disk->excluded && !check_disk(dom, checkpoint, disk, error))
			return false;
	}
	moment->created = g_get_real_time() / G_USEC_PER_SEC;
	g_free(moment->parent);
	moment->parent = g_strdup(dom->checkpoints->current);
	g_free(moment->domain);
	moment->domain = conf_domain_format(domain_conf(dom), -1);
	return true;
}

bool checkpoint_add_actions(const struct domain *dom, const struct conf_checkpoint *checkpoint,
			    const json_t *blocks, json_t *actions, GError **error)
{
	for (unsigned i = 0; i < checkpoint->disks->len; i++) {
		const struct conf_checkpoint_disk *disk = checkpoint->disks->pdata[i];
		const struct conf_domain_disk *its = conf_domain_find_disk(dom->live, disk->name);
		struct disk_now now;
		if (disk->excluded)
			continue;
		if (!its || !disk_now_find(blocks, its->dev.alias, &now))
			return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
					  "the VMM does not know the disk '%s'", disk->name);
		json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s, s:b}}", "type",
							 "block-dirty-bitmap-add", "data", "node", now.node,
							 "name", disk->bitmap, "persistent", 1));
	}
	return true;
}

void checkpoint_made(struct domain *dom, struct conf_checkpoint *checkpoint, struct moment_work *work)
{
	g_autofree char *name = g_strdup(checkpoint->moment.name);
	moments_add(dom->checkpoints, &checkpoint->moment);
	moments_set_current(dom->checkpoints, name);
	moment_work_add_metadata(work, name);
}

/* --- Taking one back ------------------------------------------------------------------------ */

void checkpoint_add_removals(const struct domain *dom, const struct conf_checkpoint *checkpoint,
			     const json_t *blocks, json_t *actions)
{
	for (unsigned i = 0; i < checkpoint->disks->len; i++) {
		const struct conf_checkpoint_disk *disk = checkpoint->disks->pdata[i];
		/* It may have been unplugged, or have an image that knows nothing of the checkpoint. */
		const struct conf_domain_disk *its = conf_domain_find_disk(dom->live, disk->name);
		struct disk_now now;
		if (disk->bitmap && its && disk_now_find(blocks, its->dev.alias, &now) &&
		    checkpoint_find_bitmap(now.bitmaps, disk->bitmap))
			json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s}}", "type",
								 "block-dirty-bitmap-remove", "data", "node",
								 now.node, "name", disk->bitmap));
	}
}

struct unmaking {
	struct domain *dom;
	char *name;
	GError *why;
	moment_done_fn *done;
	void *opaque;
};

static void on_files_gone(void *opaque, const GError *error)
{
	struct unmaking *unmaking = opaque;
	if (error)
		log_warning("domain '%s': the file of the checkpoint '%s', which was not made, may be left: %s",
			    unmaking->dom->name, unmaking->name, error->message);
	unmaking->done(unmaking->opaque, unmaking->why);
	domain_unpin(unmaking->dom);
	g_error_free(unmaking->why);
	g_free(unmaking->name);
	g_free(unmaking);
}

static void on_bitmaps_gone(void *opaque, json_t *result, const GError *error)
{
	struct unmaking *unmaking = opaque;
	struct moments *all = unmaking->dom->checkpoints;
	struct conf_moment *moment = moments_find(all, unmaking->name);
	if (error)
		log_warning("domain '%s': bitmaps of the checkpoint '%s', which was not made, may be left in its "
			    "images: %s", unmaking->dom->name, unmaking->name, error->message);
	if (moment)
		moments_remove(all, moment);
	/* A part of its files may have been written before the one that failed. */
	struct moment_work *work = moment_work_new(unmaking->dom, all, MOMENT_FILES_ONLY, NULL);
	moment_work_add_metadata(work, unmaking->name);
	moment_work_run(work, on_files_gone, unmaking);
}

static void on_unmaking_blocks(void *opaque, json_t *result, const GError *error)
{
	struct unmaking *unmaking = opaque;
	struct domain *dom = unmaking->dom;
	const struct conf_checkpoint *checkpoint = checkpoint_find(dom, unmaking->name);
	if (error || !checkpoint || !dom->live) {
		on_bitmaps_gone(unmaking, NULL, error);
		return;
	}
	json_t *actions = json_array();
	checkpoint_add_removals(dom, checkpoint, result, actions);
	vmm_execute(dom, "transaction", json_pack("{s:o}", "actions", actions), on_bitmaps_gone, unmaking);
}

void checkpoint_unmake(struct domain *dom, const char *name, const GError *why, moment_done_fn *done,
		       void *opaque)
{
	struct unmaking *unmaking = g_new(struct unmaking, 1);
	*unmaking = (struct unmaking){domain_pin(dom), g_strdup(name), g_error_copy(why), done, opaque};
	vmm_execute(dom, "query-block", NULL, on_unmaking_blocks, unmaking);
}

/* --- Bitmaps -------------------------------------------------------------------------------- */

const json_t *checkpoint_find_bitmap(const json_t *bitmaps, const char *name)
{
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)bitmaps, i, entry) {
		if (g_strcmp0(json_string_value(json_object_get(entry, "name")), name) == 0)
			return entry;
	}
	return NULL;
}

/* Does it know of every write, and will the next VMM? */
static bool is_whole(const json_t *bitmap)
{
	return bitmap && !json_is_true(json_object_get(bitmap, "inconsistent")) &&
	       json_is_true(json_object_get(bitmap, "recording")) &&
	       json_is_true(json_object_get(bitmap, "persistent"));
}

int64_t checkpoint_bitmap_size(const struct conf_domain_disk *disk, const json_t *blocks, const char *bitmap,
			       GError **error)
{
	struct disk_now now;
	const json_t *found = disk_now_find(blocks, disk->dev.alias, &now)
		? checkpoint_find_bitmap(now.bitmaps, bitmap) : NULL;
	if (is_whole(found))
		return MAX(json_integer_value(json_object_get(found, "count")), 0);
	virt_error(error, VIRT_FROM_QEMU, VIRT_CHECKPOINT_INCONSISTENT,
		   "missing or broken bitmap '%s' for disk '%s'",
		   bitmap, disk->target);
	return -1;
}

void checkpoint_carry_over(const struct disk_now *now, const char *next, const json_t *known, json_t *actions)
{
	size_t i;
	json_t *bitmap;
	json_array_foreach((json_t *)now->bitmaps, i, bitmap) {
		const char *name = json_string_value(json_object_get(bitmap, "name"));
		if (!name || !is_whole(bitmap) || checkpoint_find_bitmap(known, name))
			continue;
		json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s, s:b, s:O}}", "type",
							 "block-dirty-bitmap-add", "data", "node", next,
							 "name", name, "persistent", 1, "granularity",
							 json_object_get(bitmap, "granularity")));
		json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s, s:[{s:s, s:s}]}}", "type",
							 "block-dirty-bitmap-merge", "data", "node", next,
							 "target", name, "bitmaps", "node", now->node, "name",
							 name));
	}
}
