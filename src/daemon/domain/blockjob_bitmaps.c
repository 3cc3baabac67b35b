/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoints' bitmaps, when a job puts another image in the place of a disk's. */
#include "daemon/domain/blockjob.h"
#include "daemon/domain/checkpoint.h"
#include "daemon/domain/vmm.h"

#include <inttypes.h>
#include <string.h>

struct carrying {
	struct domain *dom;
	char *alias, *base;
	enum block_job_type type;
	json_t *nodes; /* of query-named-block-nodes */
	block_job_done_fn *done;
	void *opaque;
};

char *block_job_copy_node(const char *alias)
{
	return g_strdup_printf("copy-%s-%016" PRIx64, alias, g_get_real_time());
}

static void finish(struct carrying *carrying, const GError *error)
{
	carrying->done(carrying->opaque, error);
	domain_unpin(carrying->dom);
	json_decref(carrying->nodes);
	g_free(carrying->alias);
	g_free(carrying->base);
	g_free(carrying);
}

static void on_carried(void *opaque, json_t *result, const GError *error)
{
	g_autoptr(GError) failure = NULL;
	if (error)
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
			   "the checkpoints' bitmaps cannot go on in the new image: %s", error->message);
	finish(opaque, failure);
}

/* The target of the disk's newest copy: images of former ones may be in its chain. */
static const json_t *find_copy(const struct carrying *carrying)
{
	g_autofree char *prefix = g_strdup_printf("copy-%s-", carrying->alias);
	const json_t *found = NULL;
	const char *newest = "";
	size_t i;
	json_t *node;
	json_array_foreach(carrying->nodes, i, node) {
		const char *name = json_string_value(json_object_get(node, "node-name"));
		if (!name || !g_str_has_prefix(name, prefix) || strcmp(name, newest) <= 0)
			continue;
		found = node;
		newest = name;
	}
	return found;
}

/* `file` NULL: the lowest image below the disk's. */
static const json_t *find_image(const struct carrying *carrying, const struct disk_now *now, const char *file)
{
	const json_t *lowest = now->image;
	for (const json_t *below = lowest; below; below = json_object_get(below, "backing-image"))
		lowest = below;
	if (!file)
		file = json_string_value(json_object_get(lowest, "filename"));
	size_t i;
	json_t *node;
	json_array_foreach(carrying->nodes, i, node) {
		if (g_strcmp0(json_string_value(json_object_get(node, "file")), file) == 0 &&
		    json_object_get(node, "node-name"))
			return node;
	}
	return NULL;
}

static void on_disk(void *opaque, const struct disk_now *now, const GError *error)
{
	struct carrying *carrying = opaque;
	if (error) {
		finish(carrying, error);
		return;
	}
	const json_t *target = carrying->type == BLOCK_JOB_COPY
		? find_copy(carrying) : find_image(carrying, now, carrying->base);
	const char *node = json_string_value(json_object_get(target, "node-name"));
	g_autoptr(GError) failure = NULL;
	if (!node) {
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
			   "the VMM does not name the image in which the checkpoints' bitmaps are to go on");
		finish(carrying, failure);
		return;
	}
	json_t *actions = json_array();
	checkpoint_carry_over(now, node, json_object_get(target, "dirty-bitmaps"), actions);
	vmm_execute(carrying->dom, "transaction", json_pack("{s:o}", "actions", actions), on_carried, carrying);
}

static void on_nodes(void *opaque, json_t *result, const GError *error)
{
	struct carrying *carrying = opaque;
	carrying->nodes = json_incref(result);
	if (error)
		finish(carrying, error);
	else
		disk_now_query(carrying->dom, carrying->alias, on_disk, carrying);
}

void block_job_carry_bitmaps(struct domain *dom, const char *alias, enum block_job_type type, const char *base,
			     block_job_done_fn *done, void *opaque)
{
	if (!dom->checkpoints->list->len) {
		done(opaque, NULL);
		return;
	}
	struct carrying *carrying = g_new0(struct carrying, 1);
	*carrying = (struct carrying){.dom = domain_pin(dom), .alias = g_strdup(alias), .base = g_strdup(base),
				      .type = type, .done = done, .opaque = opaque};
	vmm_execute(dom, "query-named-block-nodes", NULL, on_nodes, carrying);
}
