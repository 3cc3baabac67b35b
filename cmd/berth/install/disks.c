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
	char *const texts[] = {medium->path, medium->format, medium->bus, medium->device};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	keyval_free(medium->rest);
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

static bool read_size(struct shell *sh, const char *text, struct medium *medium)
{
	g_autoptr(GError) error = NULL;
	/* A number alone counts GiB, as in virt-install. */
	return !text || units_parse_size(text, GIB, &medium->size, &error) ||
	       shell_fail(sh, "--disk size: %s", error->message);
}

/* "pool=NAME" is a new volume there, "vol=POOL/NAME" one that exists. */
static char *volume_path(struct shell *sh, const char *pool, const char *name)
{
	struct remote_storage_pool_lookup_by_name_ret found;
	struct remote_storage_pool_get_xml_desc_ret xml;
	if (!GET(sh, storage_pool_lookup_by_name, &found, (char *)pool) ||
	    !GET(sh, storage_pool_get_xml_desc, &xml, found.pool, 0)) {
		shell_fail(sh, "--disk: there is no pool '%s'", pool);
		return NULL;
	}
	g_autoptr(xmlDoc) doc = xml_parse(xml.xml, "pool", NULL);
	g_autofree char *folder = doc ? xpath_text(doc, NULL, "/pool/target/path") : NULL;
	if (!folder) {
		shell_fail(sh, "--disk: the pool '%s' has no folder", pool);
		return NULL;
	}
	return g_build_filename(folder, name, NULL);
}

static char *disk_path(struct shell *sh, const struct install *install, struct keyval *kv,
		       const char *format)
{
	g_autofree char *path = keyval_take(kv, "path"), *pool = keyval_take(kv, "pool");
	g_autofree char *volume = keyval_take(kv, "vol"), *made = NULL;
	const char *slash = volume ? strchr(volume, '/') : NULL;
	g_autofree char *file = g_strdup_printf("%s.%s", install->name, format && strcmp(format, "raw") ?
										format : format ? "img" : "qcow2");
	if (volume && !slash) {
		shell_fail(sh, "--disk vol=%s: it is POOL/NAME", volume);
		return NULL;
	}
	if (volume) {
		g_autofree char *name = g_strndup(volume, slash - volume);
		return volume_path(sh, name, slash + 1);
	}
	return path ? g_canonicalize_filename(path, NULL) : pool ? volume_path(sh, pool, file) :
	       g_build_filename(default_folder(sh, &made), file, NULL);
}

static bool read_disk(struct shell *sh, struct install *install, const char *text)
{
	g_autoptr(GError) error = NULL;
	struct medium *medium = g_new0(struct medium, 1);
	struct keyval *kv = medium->rest = element_parse(text, "path", &error);
	g_ptr_array_add(install->media, medium);
	if (!kv)
		return shell_fail(sh, "--disk: %s", error->message);
	g_autofree char *size = keyval_take(kv, "size"), *sparse = keyval_take(kv, "sparse");
	g_autofree char *format = keyval_take(kv, "format"), *driver = keyval_take(kv, "driver.type");
	bool somewhere = keyval_get(kv, "path") || keyval_get(kv, "vol");
	medium->device = keyval_take(kv, "device");
	medium->bus = keyval_take(kv, "bus");
	if (!medium->bus)
		medium->bus = keyval_take(kv, "target.bus");
	if (!medium->device)
		medium->device = g_strdup("disk");
	if (!read_size(sh, size, medium))
		return false;
	bool cdrom = !strcmp(medium->device, "cdrom");
	medium->readonly = cdrom;
	if (!somewhere && !medium->size)
		return cdrom || shell_fail(sh, "--disk needs a path or a size");
	const char *wanted = format ? format : driver;
	medium->path = disk_path(sh, install, kv, wanted);
	if (!medium->path)
		return false;
	/* With a size an image that exists is used as it is. */
	if (medium->size && access(medium->path, F_OK) == 0)
		medium->size = 0;
	medium->sparse = !sparse || (strcmp(sparse, "no") && strcmp(sparse, "off"));
	medium->format = wanted ? g_strdup(wanted) :
			 medium->size ? g_strdup("qcow2") : find_format(sh, medium->path);
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
	/* All of a raw image that is not sparse is there at once. */
	const char *allocation = medium->sparse || strcmp(medium->format, "raw") != 0 ? "0" : size;
	if (!install_folder_pool(sh, folder, &pool))
		return false;
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "volume", NULL);
	xml_leaf(&w, "name", name, NULL);
	xml_leaf(&w, "capacity", size, NULL);
	xml_leaf(&w, "allocation", allocation, NULL);
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
