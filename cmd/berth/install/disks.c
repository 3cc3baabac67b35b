/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The media of a new domain. A new image is made by the daemon, in the pool of its folder. */
#include "install.h"

#include "../berth.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

void medium_free(struct medium *medium)
{
	char *const texts[] = {medium->path, medium->format, medium->bus, medium->device, medium->cache,
			       medium->serial};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(medium);
}

/* --- What the options say --------------------------------------------------------------------- */

/* The format of an image: as its pool knows it, or by its first bytes if it is on this host. */
static char *find_format(struct shell *sh, const char *path)
{
	struct remote_storage_vol_lookup_by_path_ret vol;
	struct remote_storage_vol_get_xml_desc_ret xml;
	enum image_kind kind;
	const char *format = NULL;
	char *found = NULL;
	if (GET(sh, storage_vol_lookup_by_path, &vol, (char *)path) &&
	    GET(sh, storage_vol_get_xml_desc, &xml, vol.vol, 0)) {
		g_autoptr(xmlDoc) doc = xml_parse(xml.xml, "volume", NULL);
		found = doc ? xpath_text(doc, NULL, "/volume/target/format/@type") : NULL;
	}
	shell_forget_error(sh);
	if (!found && image_detect(path, &kind, &format, NULL) && format)
		found = g_strdup(format);
	return found ? found : g_strdup("raw");
}

static const char *default_folder(struct shell *sh, char **made)
{
	if (strstr(client_uri(sh->client), "/session"))
		return *made = g_build_filename(g_get_user_data_dir(), "berth", "images", NULL);
	return "/var/lib/libvirt/images";
}

static bool read_size(struct shell *sh, const struct keyval *kv, struct medium *medium)
{
	const char *text = keyval_get(kv, "size");
	g_autoptr(GError) error = NULL;
	/* A number alone counts GiB, as in virt-install. */
	return !text || units_parse_size(text, GIB, &medium->size, &error) ||
	       shell_fail(sh, "--disk size: %s", error->message);
}

static bool read_disk(struct shell *sh, struct install *install, const char *text)
{
	static const char *const allowed[] = {"path", "size", "format", "bus", "cache", "device", "readonly",
					      "serial", NULL};
	g_autoptr(GError) error = NULL;
	auto_keyval kv = keyval_parse(text, "path", &error);
	if (!kv)
		return shell_fail(sh, "--disk: %s", error->message);
	for (unsigned k = 0; k < keyval_count(kv); k++) {
		if (!g_strv_contains(allowed, kv->keys->pdata[k]))
			return shell_fail(sh, "--disk has no '%s'", (char *)kv->keys->pdata[k]);
	}
	struct medium *medium = g_new0(struct medium, 1);
	g_ptr_array_add(install->media, medium);
	const char *path = keyval_get(kv, "path"), *format = keyval_get(kv, "format");
	if (!read_size(sh, kv, medium))
		return false;
	if (!path && !medium->size)
		return shell_fail(sh, "--disk needs a path or a size");
	g_autofree char *made = NULL;
	g_autofree char *file = g_strdup_printf("%s.%s", install->name, format && strcmp(format, "raw") ?
										format : format ? "img" : "qcow2");
	medium->path = path ? g_canonicalize_filename(path, NULL) :
			      g_build_filename(default_folder(sh, &made), file, NULL);
	/* With a size an image that exists is used as it is. */
	if (medium->size && access(medium->path, F_OK) == 0)
		medium->size = 0;
	const char *device = keyval_get(kv, "device"), *readonly = keyval_get(kv, "readonly");
	medium->device = g_strdup(device ? device : "disk");
	medium->format = format ? g_strdup(format) :
			 medium->size ? g_strdup("qcow2") : find_format(sh, medium->path);
	medium->bus = g_strdup(keyval_get(kv, "bus"));
	medium->cache = g_strdup(keyval_get(kv, "cache"));
	medium->serial = g_strdup(keyval_get(kv, "serial"));
	medium->readonly = (readonly && strcmp(readonly, "off")) || !strcmp(medium->device, "cdrom");
	return true;
}

static void add_cdrom(struct install *install, const char *path)
{
	struct medium *medium = g_new0(struct medium, 1);
	*medium = (struct medium){.path = g_canonicalize_filename(path, NULL), .format = g_strdup("raw"),
				  .device = g_strdup("cdrom"), .readonly = true, .first_boot = true};
	g_ptr_array_add(install->media, medium);
}

bool install_read_disks(struct shell *sh, struct install *install)
{
	for (char **disk = install->disks; disk && *disk; disk++) {
		if (strcmp(*disk, "none") != 0 && !read_disk(sh, install, *disk))
			return false;
	}
	if (install->cdrom && !client_host(sh->client) && access(install->cdrom, R_OK) != 0)
		return shell_fail(sh, "cannot read the CD-ROM image '%s'", install->cdrom);
	if (install->cdrom)
		add_cdrom(install, install->cdrom);
	if (install->seed)
		add_cdrom(install, install->seed);
	return true;
}

/* --- New images ------------------------------------------------------------------------------- */

bool install_folder_pool(struct shell *sh, char *folder, struct remote_storage_pool *pool)
{
	struct remote_storage_pool_lookup_by_target_path_ret found;
	struct remote_storage_pool_create_xml_ret made;
	if (GET(sh, storage_pool_lookup_by_target_path, &found, folder)) {
		*pool = found.pool;
		return true;
	}
	/* A pool for the folder, as long as the daemon runs: nothing of it stays. */
	g_autofree char *name = g_path_get_basename(folder);
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "pool", "type", "dir", NULL);
	xml_leaf(&w, "name", name, NULL);
	xml_open(&w, "target", NULL);
	xml_leaf(&w, "path", folder, NULL);
	xml_close(&w, "target");
	xml_close(&w, "pool");
	g_autofree char *xml = xml_writer_take(&w);
	enum { CREATE_WITH_BUILD = 1 };
	if (!GET(sh, storage_pool_create_xml, &made, xml, CREATE_WITH_BUILD))
		return shell_fail(sh, "cannot make a pool of the folder '%s'", folder);
	*pool = made.pool;
	return true;
}

static bool make_image(struct shell *sh, const struct medium *medium)
{
	struct remote_storage_pool pool;
	struct remote_storage_vol_create_xml_ret ret;
	g_autofree char *folder = g_path_get_dirname(medium->path);
	g_autofree char *name = g_path_get_basename(medium->path);
	g_autofree char *size = g_strdup_printf("%" PRIu64, medium->size);
	if (!install_folder_pool(sh, folder, &pool))
		return false;
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "volume", NULL);
	xml_leaf(&w, "name", name, NULL);
	xml_leaf(&w, "capacity", size, NULL);
	xml_leaf(&w, "allocation", "0", NULL);
	xml_open(&w, "target", NULL);
	xml_empty(&w, "format", "type", medium->format, NULL);
	xml_close(&w, "target");
	xml_close(&w, "volume");
	g_autofree char *xml = xml_writer_take(&w);
	if (!GET(sh, storage_vol_create_xml, &ret, pool, xml, 0))
		return shell_fail(sh, "cannot create the image '%s'", medium->path);
	shell_extra(sh, "Allocated '%s'\n", medium->path);
	return true;
}

bool install_make_disks(struct shell *sh, const struct install *install)
{
	for (unsigned i = 0; i < install->media->len; i++) {
		const struct medium *medium = install->media->pdata[i];
		if (medium->size && !make_image(sh, medium))
			return false;
	}
	return true;
}
