/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/blockjob_delete.h"

#include "aio/pool.h"
#include "base/log.h"
#include "daemon/domain/blockjob.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/images.h"
#include "daemon/domain/store.h"
#include "daemon/domain/vmm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* --- The file ------------------------------------------------------------------------------------- */

static char *file_path(const struct domain *dom, const char *alias)
{
	g_autofree char *folder = store_path(dom->all->daemon, "run", dom->uuid_text, "");
	g_autofree char *name = g_strconcat("delete-", alias, NULL);
	return g_build_filename(folder, name, NULL);
}

static bool find(const GPtrArray *chain, const char *image, guint *at)
{
	return g_ptr_array_find_with_equal_func((GPtrArray *)chain, image, g_str_equal, at);
}

bool block_delete_plan(struct domain *dom, const struct conf_domain_disk *disk, const char *top, const char *base,
		       GError **error)
{
	g_autoptr(GPtrArray) chain = images_chain(disk);
	g_autofree char *path = file_path(dom, disk->dev.alias);
	guint first = 0, end = chain->len ? chain->len - 1 : 0;
	const char *missing = top && !find(chain, top, &first) ? top
		: base && !find(chain, base, &end) ? base : NULL;
	if (missing || first >= end)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "%s is not an image file below '%s' whose commit could make one superfluous",
				  missing ? missing : "the base", disk->target);
	json_t *list = json_array();
	for (guint i = first; i < end; i++)
		json_array_append_new(list, json_string(chain->pdata[i]));
	g_autofree char *text = json_dumps(list, 0);
	json_decref(list);
	return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

void block_delete_forget(const struct domain *dom, const char *alias)
{
	g_autofree char *path = file_path(dom, alias);
	if (unlink(path) < 0 && errno != ENOENT)
		log_warning("domain '%s': cannot remove '%s': %s", dom->name, path, g_strerror(errno));
}

/* --- Removing ------------------------------------------------------------------------------------- */

struct removal {
	struct domain *dom;
	char *alias;
	GPtrArray *images; /* char * */
	GString *trouble;
	struct aio_job work;
};

/* On a thread: a server's file system may take its time. */
static void remove_images(void *opaque)
{
	struct removal *removal = opaque;
	for (guint i = 0; i < removal->images->len; i++) {
		const char *image = removal->images->pdata[i];
		if (unlink(image) < 0 && errno != ENOENT)
			g_string_append_printf(removal->trouble, "%s'%s': %s", i ? "; " : "", image,
					       g_strerror(errno));
	}
}

static void on_removed(void *opaque)
{
	struct removal *removal = opaque;
	if (removal->trouble->len)
		log_warning("domain '%s': committed images could not be removed: %s", removal->dom->name,
			    removal->trouble->str);
	domain_unpin(removal->dom);
	g_ptr_array_unref(removal->images);
	g_string_free(removal->trouble, TRUE);
	g_free(removal->alias);
	g_free(removal);
}

void block_delete_finish(struct domain *dom, const char *alias)
{
	g_autofree char *path = file_path(dom, alias), *text = NULL;
	const struct conf_domain_disk *disk = dom->live ? conf_domain_disk_of_alias(dom->live, alias) : NULL;
	if (!disk || !g_file_get_contents(path, &text, NULL, NULL))
		return;
	g_autoptr(GPtrArray) chain = images_chain(disk);
	struct removal *removal = g_new0(struct removal, 1);
	*removal = (struct removal){.dom = domain_pin(dom), .alias = g_strdup(alias),
				    .images = g_ptr_array_new_with_free_func(g_free), .trouble = g_string_new("")};
	json_t *list = json_loads(text, 0, NULL), *image;
	size_t i;
	json_array_foreach(list, i, image) {
		if (json_is_string(image) && !find(chain, json_string_value(image), NULL))
			g_ptr_array_add(removal->images, g_strdup(json_string_value(image)));
	}
	json_decref(list);
	block_delete_forget(dom, alias);
	removal->work = (struct aio_job){.work = remove_images, .done = on_removed, .opaque = removal,
					 .loop = dom->all->daemon->loop};
	aio_pool_submit(dom->all->daemon->pool, &removal->work);
}

/* --- After a restart ------------------------------------------------------------------------------ */

struct late {
	struct domain *dom;
	char *alias;
};

static void on_refreshed(void *opaque)
{
	struct late *late = opaque;
	block_delete_finish(late->dom, late->alias);
	domain_unpin(late->dom);
	g_free(late->alias);
	g_free(late);
}

static void on_jobs(void *opaque, json_t *result, const GError *error)
{
	struct domain *dom = opaque;
	for (unsigned i = 0; !error && dom->live && i < dom->live->disks->len; i++) {
		const char *alias = ((const struct conf_domain_disk *)dom->live->disks->pdata[i])->dev.alias;
		g_autofree char *path = file_path(dom, alias);
		enum block_job_type type;
		if (access(path, F_OK) < 0 || block_job_find(result, alias, &type))
			continue;
		/* The document may name an image still that is committed. */
		struct late *late = g_new(struct late, 1);
		*late = (struct late){domain_pin(dom), g_strdup(alias)};
		disk_now_refresh(dom, alias, NULL, on_refreshed, late);
	}
	domain_unpin(dom);
}

void block_delete_finish_all(struct domain *dom)
{
	vmm_execute(dom, "query-block-jobs", NULL, on_jobs, domain_pin(dom));
}
