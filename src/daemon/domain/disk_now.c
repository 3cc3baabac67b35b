/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/disk_now.h"

#include "base/log.h"
#include "daemon/domain/change.h"
#include "daemon/domain/images.h"
#include "daemon/domain/vmm.h"

#include <string.h>

/* --- Asking --------------------------------------------------------------------------------- */

struct query {
	struct domain *dom;
	char *alias;
	disk_now_fn *done;
	void *opaque;
};

bool disk_now_find(const json_t *list, const char *alias, struct disk_now *now)
{
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)list, i, entry)
	{
		const char *qdev = json_string_value(json_object_get(entry, "qdev"));
		const json_t *in = json_object_get(entry, "inserted");
		if (g_strcmp0(qdev, alias) != 0)
			continue;
		const char *device = json_string_value(json_object_get(entry, "device"));
		*now = (struct disk_now){
			.is_node = !device || !*device,
			.file = json_string_value(json_object_get(in, "file")),
			.format = json_string_value(json_object_get(in, "drv")),
			.backing = json_string_value(json_object_get(in, "backing_file")),
			.image = json_object_get(in, "image"),
			.size = json_integer_value(json_object_get(json_object_get(in, "image"),
								   "virtual-size")),
			.bitmaps = json_object_get(in, "dirty-bitmaps")};
		now->node = json_string_value(json_object_get(in, "node-name"));
		now->name = now->is_node ? now->node : device;
		return now->node && now->file && now->format;
	}
	return false;
}

static void on_blocks(void *opaque, json_t *result, const GError *error)
{
	struct query *query = opaque;
	struct disk_now now;
	g_autoptr(GError) missing = NULL;
	if (!error && !disk_now_find(result, query->alias, &now))
		virt_error(&missing, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
			   "domain '%s': its VMM does not know the disk '%s'", query->dom->name, query->alias);
	query->done(query->opaque, error || missing ? NULL : &now, error ? error : missing);
	domain_unpin(query->dom);
	g_free(query->alias);
	g_free(query);
}

void disk_now_query(struct domain *dom, const char *alias, disk_now_fn *done, void *opaque)
{
	struct query *query = g_new(struct query, 1);
	*query = (struct query){domain_pin(dom), g_strdup(alias), done, opaque};
	vmm_execute(dom, "query-block", NULL, on_blocks, query);
}

/* --- Bringing documents up to date ------------------------------------------------------------ */

struct refresh {
	struct domain *dom;
	char *alias, *target, *before, *file, *format;
	struct rpc_call *call;
	void (*done)(void *opaque);
	void *opaque;
};

static void refresh_free(void *opaque)
{
	struct refresh *refresh = opaque;
	if (refresh->done)
		refresh->done(refresh->opaque);
	domain_unpin(refresh->dom);
	char *const texts[] = {refresh->alias, refresh->target, refresh->before, refresh->file,
			       refresh->format};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(refresh);
}

static xmlNode *need_child(xmlNode *parent, const char *name)
{
	xmlNode *child = xml_child(parent, name);
	return child ? child : xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

void disk_now_edit(xmlNode *disk, const char *file, const char *format)
{
	bool block = g_str_has_prefix(file, "/dev/");
	xmlNode *source = need_child(disk, "source"), *driver = need_child(disk, "driver");
	/* A volume's name is not that of the new image's. */
	while (source->properties)
		xmlRemoveProp(source->properties);
	/* Nor are its server and how to log in there. */
	for (xmlNode *child; (child = source->children ? source->children : xml_child(disk, "auth"));) {
		xmlUnlinkNode(child);
		xmlFreeNode(child);
	}
	xmlSetProp(source, (const xmlChar *)(block ? "dev" : "file"), (const xmlChar *)file);
	xmlSetProp(disk, (const xmlChar *)"type", (const xmlChar *)(block ? "block" : "file"));
	xmlSetProp(driver, (const xmlChar *)"type", (const xmlChar *)format);
}

/* A disk of the definition with the same target may have another image: it is left alone. */
static bool edit_image(xmlNode *root, void *opaque, GError **error)
{
	const struct refresh *refresh = opaque;
	xml_for_each(disk, xml_child(root, "devices"), "disk") {
		g_autofree char *target = conf_domain_child_attribute(disk, "target", "dev");
		g_autofree char *source = conf_disk_source_key(disk);
		if (g_strcmp0(target, refresh->target) != 0 || g_strcmp0(source, refresh->before) != 0)
			continue;
		disk_now_edit(disk, refresh->file, refresh->format);
	}
	return true;
}

/* A VMM that a guest has taken over may name any file as its image. */
static void refuse_image(struct refresh *refresh, const char *target, const char *file)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_INTERNAL,
		   "domain '%s': its VMM names '%s' as the image of disk '%s', which it was not given: the "
		   "documents stay what they are", refresh->dom->name, file, target);
	log_error("%s", error->message);
	if (refresh->call)
		rpc_call_fail(refresh->call, error);
	else
		g_error_free(error);
	refresh_free(refresh);
}

/*
 * Jobs and snapshots put files in an image's place, whose names are paths, as those of servers' are not; LUKS
 * below a raw image is a format to the VMM.
 */
static bool is_as_written(const struct conf_domain_disk *disk, const struct disk_now *now)
{
	return (disk->source.kind == CONF_SOURCE_NETWORK &&
		*now->file != '/') || disk->source.encryption.given ||
	       (g_strcmp0(disk->file, now->file) == 0 && strcmp(disk->format, now->format) == 0);
}

static void on_refreshed(void *opaque, const struct disk_now *now, const GError *error)
{
	struct refresh *refresh = opaque;
	struct domain *dom = refresh->dom;
	const struct conf_domain_disk *disk =
		now && dom->live ? conf_domain_disk_of_alias(dom->live, refresh->alias) : NULL;
	if (error)
		log_warning("domain '%s': %s", dom->name, error->message);
	if (!disk || is_as_written(disk, now)) {
		if (refresh->call)
			rpc_call_reply(refresh->call, NULL);
		refresh_free(refresh);
		return;
	}
	if (!images_may_have(dom, now->file)) {
		refuse_image(refresh, disk->target, now->file);
		return;
	}
	refresh->target = g_strdup(disk->target);
	refresh->before = g_strdup(disk->source.key);
	refresh->file = g_strdup(now->file);
	refresh->format = g_strdup(now->format);
	change_submit(dom, refresh->call, change_new(CHANGE_LIVE | (dom->definition ? CHANGE_CONFIG : 0),
						     edit_image, refresh, refresh_free));
}

void disk_now_refresh(struct domain *dom, const char *alias, struct rpc_call *call,
		      void (*done)(void *opaque), void *opaque)
{
	struct refresh *refresh = g_new0(struct refresh, 1);
	refresh->dom = domain_pin(dom);
	refresh->alias = g_strdup(alias);
	refresh->call = call;
	refresh->done = done;
	refresh->opaque = opaque;
	disk_now_query(dom, alias, on_refreshed, refresh);
}

void disk_now_refresh_all(struct domain *dom)
{
	for (unsigned i = 0; i < dom->live->disks->len; i++) {
		const struct conf_domain_disk *disk = dom->live->disks->pdata[i];
		if (!disk->cdrom)
			disk_now_refresh(dom, disk->dev.alias, NULL, NULL, NULL);
	}
}
