/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/images.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "block/core/options.h"
#include "daemon/domain/confine.h"
#include "daemon/domain/owner.h"
#include "daemon/storage/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One may be a link to the other. */
static bool same_file(const char *a, const char *b)
{
	struct stat first, second;
	return a && b && stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

/* The disk of `conf` that keeps `disk` from being used; two that only read do not hinder each other. */
static const struct conf_domain_disk *find_rival(const struct conf_domain *conf,
						 const struct conf_domain_disk *disk)
{
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_domain_disk *other = conf->disks->pdata[i];
		if (!(disk->readonly && other->readonly) && same_file(disk->file, other->file))
			return other;
	}
	return NULL;
}

char *images_other_user(const struct domain *dom)
{
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, dom->all->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct domain *other = value;
		for (unsigned i = 0; other != dom && other->live && i < dom->live->disks->len; i++) {
			const struct conf_domain_disk *disk = dom->live->disks->pdata[i];
			if (find_rival(other->live, disk))
				return g_strdup_printf("image '%s' of disk '%s' is in use by domain '%s'",
						       disk->file, disk->target, other->name);
		}
	}
	return NULL;
}

/* --- Files of a document ---------------------------------------------------------------------- */

/* What a VMM may do with a file, in AppArmor's letters: it locks images. */
#define READ "rk"
#define WRITE "rwk"

/*
 * Its owner changes as well. Not given back: what others may use as well, which is not counted by those who do
 * not own it.
 */
static void add_file(json_t *files, const char *path, bool back, const char *allow)
{
	if (path && *path == '/')
		json_array_append_new(files, json_pack("{s:s, s:b, s:s}", "path", path, "back", (int)back, "allow",
						       allow));
}

/* The owner stays. `tree`: a folder with all that is in it. */
static void allow_file(json_t *files, const char *path, bool tree, const char *allow)
{
	if (path && *path == '/')
		json_array_append_new(files, json_pack("{s:s, s:b, s:b, s:s}", "path", path, "owned", 0, "tree",
						       (int)tree, "allow", allow));
}

static json_t *find_file(const json_t *files, const char *path)
{
	size_t i;
	json_t *file;
	json_array_foreach(files, i, file) {
		if (g_strcmp0(json_string_value(json_object_get(file, "path")), path) == 0)
			return file;
	}
	return NULL;
}

/*
 * The images below an image. A raw one has none, whatever its guest has written into it; and what a header
 * says counts only if it is of the format that the image is said to have.
 */
static void each_backing(const struct conf_domain_disk *disk, void (*found)(void *opaque, const char *path),
			 void *opaque)
{
	enum { DEEPEST = 200 };
	g_autofree char *path = g_strdup(disk->file), *format = g_strdup(disk->format);
	for (unsigned depth = 0; depth < DEEPEST && path && format && strcmp(format, "raw") != 0; depth++) {
		auto_conf_volume volume = conf_volume_new("");
		if (storage_probe(path, volume, NULL) != STORAGE_PROBED ||
		    g_strcmp0(volume->format, format) != 0 || !volume->backing.path)
			return;
		char *below = block_path_combine(path, volume->backing.path);
		g_free(path);
		g_free(format);
		path = below;
		format = g_strdup(volume->backing.format);
		found(opaque, path);
	}
}

static void add_below(void *opaque, const char *path)
{
	json_t *files = opaque;
	add_file(files, path, false, READ);
	json_object_set_new(find_file(files, path), "below", json_true());
}

static void append_path(void *opaque, const char *path)
{
	g_ptr_array_add(opaque, g_strdup(path));
}

GPtrArray *images_chain(const struct conf_domain_disk *disk)
{
	GPtrArray *chain = g_ptr_array_new_with_free_func(g_free);
	if (disk->file) {
		append_path(chain, disk->file);
		each_backing(disk, append_path, chain);
	}
	return chain;
}

static void allow_sockets(json_t *files, const struct conf_domain_disk *disk)
{
	for (unsigned i = 0; disk->source.hosts && i < disk->source.hosts->len; i++)
		allow_file(files, ((const struct conf_source_host *)disk->source.hosts->pdata[i])->socket, false,
			   "rw");
}

/* The file by which VFIO gives the device's group to a process: Documentation/driver-api/vfio.rst. */
static void add_group(json_t *files, const struct conf_domain_hostdev *hostdev)
{
	g_autofree char *link = g_strdup_printf("/sys/bus/pci/devices/%s/iommu_group", hostdev->host);
	g_autofree char *target = g_file_read_link(link, NULL);
	g_autofree char *number = target ? g_path_get_basename(target) : NULL;
	g_autofree char *path = number ? g_build_filename("/dev/vfio", number, NULL) : NULL;
	add_file(files, path, true, "rw");
}

/* What is nobody's image, and stays whose it is. */
static void allow_others(json_t *files, const struct conf_domain *conf)
{
	if (conf->loader)
		allow_file(files, conf->loader, false, conf->loader_writable ? WRITE : READ);
	allow_file(files, conf->rng_file, false, "r");
	for (unsigned i = 0; i < conf->nics->len; i++) {
		const struct conf_domain_nic *nic = conf->nics->pdata[i];
		allow_file(files, nic->socket, false, "rw");
		allow_file(files, nic->rom_file, false, "r");
	}
	for (unsigned i = 0; i < conf->chars->len; i++) {
		const struct conf_domain_char *chr = conf->chars->pdata[i];
		allow_file(files, chr->path, false, "rw");
		/* While it is rotated it has another name. */
		g_autofree char *renamed = chr->log ? g_strconcat(chr->log, ".0", NULL) : NULL;
		allow_file(files, chr->log, false, "w");
		allow_file(files, renamed, false, "w");
	}
	for (unsigned i = 0; i < conf->filesystems->len; i++) {
		const struct conf_domain_filesystem *shared = conf->filesystems->pdata[i];
		allow_file(files, shared->path, true, shared->readonly ? "r" : "rwlk");
	}
}

/* As libvirt: a disk that others may share, and what lies below one, is given but not given back. */
static json_t *files_of(const struct conf_domain *conf)
{
	json_t *files = json_array();
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_domain_disk *disk = conf->disks->pdata[i];
		add_file(files, disk->file, !disk->readonly && !disk->shareable, disk->readonly ? READ : WRITE);
		if (disk->file)
			each_backing(disk, add_below, files);
		allow_sockets(files, disk);
	}
	for (unsigned i = 0; i < conf->chars->len; i++) {
		const struct conf_domain_char *chr = conf->chars->pdata[i];
		/* The VMM makes one that is not there. */
		if (strcmp(chr->type, "file") == 0 && chr->path && access(chr->path, F_OK) == 0)
			add_file(files, chr->path, true, "rw");
	}
	for (unsigned i = 0; i < conf->hostdevs->len; i++)
		add_group(files, conf->hostdevs->pdata[i]);
	add_file(files, conf->kernel, true, "r");
	add_file(files, conf->initrd, true, "r");
	if (conf->flash && !conf->loader_writable)
		add_file(files, conf->nvram, true, WRITE);
	allow_others(files, conf);
	return files;
}

static bool has_file(const json_t *files, const char *path)
{
	return find_file(files, path);
}

/* --- What was given --------------------------------------------------------------------------- */

static char *record_path(const struct domain *dom)
{
	g_autofree char *folder = store_path(dom->all->daemon, "run", dom->uuid_text, "");
	return g_build_filename(folder, "images", NULL);
}

/* Not fsynced: after a crash of the host the counts of the files are of another time, too. */
static bool save(const struct domain *dom, const json_t *record, GError **error)
{
	g_autofree char *path = record_path(dom);
	char *text = json_dumps(record, JSON_COMPACT);
	bool good = g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
	free(text);
	return good;
}

/*
 * {"owned": B, "uid": U, "gid": G, "remember": B, "files": [{"path": P, "owned": B, "back": B, "allow": "rwk",
 * "tree": B, "kept": B, "below": B}]}; NULL: nothing is given to it. What is not there is true of "owned", false
 * of others. Kept is what is in no document yet; below are images that another one is on top of.
 */
static json_t *load(const struct domain *dom)
{
	g_autofree char *path = record_path(dom);
	json_error_t error;
	json_t *record = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!record && access(path, F_OK) == 0)
		log_warning("'%s': %s: the owners of the domain's images stay what they are", path, error.text);
	return record;
}

static uint32_t number(const json_t *record, const char *name)
{
	return json_integer_value(json_object_get(record, name));
}

bool images_begin(const struct domain *dom, const struct vmm_user *user, GError **error)
{
	const struct daemon *daemon = dom->all->daemon;
	if (!user && !confine_makes_profile(dom))
		return true;
	json_t *record = json_pack("{s:b, s:I, s:I, s:b, s:[]}", "owned", user != NULL, "uid",
				   (json_int_t)(user ? user->uid : 0), "gid", (json_int_t)(user ? user->gid : 0),
				   "remember", (int)daemon->remember_owner, "files");
	bool good = save(dom, record, error);
	json_decref(record);
	return good;
}

json_t *images_allowed(const struct domain *dom)
{
	json_t *record = load(dom), *files = record ? json_incref(json_object_get(record, "files")) : json_array();
	json_decref(record);
	return files;
}

/* Does its owner change with the domain? */
static bool is_owned(const json_t *record, const json_t *file)
{
	return !json_is_false(json_object_get(record, "owned")) && !json_is_false(json_object_get(file, "owned"));
}

/* It is written down first: what is given, but not written down, would never be given back. */
static bool give(const struct domain *dom, json_t *record, json_t *file, GError **error)
{
	json_t *files = json_object_get(record, "files");
	const char *path = json_string_value(json_object_get(file, "path"));
	bool back = json_is_true(json_object_get(file, "back"));
	bool remember = back && json_is_true(json_object_get(record, "remember"));
	json_array_append(files, file);
	if (!save(dom, record, error))
		return false;
	if (!is_owned(record, file) ||
	    owner_give(path, number(record, "uid"), number(record, "gid"), remember, error))
		return true;
	/* It was not given. */
	json_array_remove(files, json_array_size(files) - 1);
	save(dom, record, NULL);
	return false;
}

/* More than before may be allowed: a medium that was read only, the base of a commit. */
static bool allow_more(const struct domain *dom, json_t *record, json_t *given, const char *allow, GError **error)
{
	const char *now = json_string_value(json_object_get(given, "allow"));
	if (now && strspn(allow, now) == strlen(allow))
		return true;
	json_object_set_new(given, "allow", json_string(allow));
	return save(dom, record, error);
}

static bool give_or_allow(const struct domain *dom, json_t *record, json_t *file, GError **error)
{
	json_t *given = find_file(json_object_get(record, "files"),
				  json_string_value(json_object_get(file, "path")));
	return given ? allow_more(dom, record, given, json_string_value(json_object_get(file, "allow")), error)
		     : give(dom, record, file, error);
}

bool images_give(struct domain *dom, const struct conf_domain *conf, GError **error)
{
	json_t *record = load(dom), *files = record ? files_of(conf) : NULL, *file;
	size_t i;
	bool good = true;
	json_array_foreach(files, i, file)
		good = good && give_or_allow(dom, record, file, error);
	json_decref(files);
	json_decref(record);
	confine_update(dom);
	return good;
}

/* What the VMM says of its images is believed of those that are below a disk's, by their own headers. */
bool images_let_write_below(struct domain *dom, const json_t *image, GError **error)
{
	json_t *record = load(dom);
	bool good = true;
	for (image = json_object_get(image, "backing-image"); good && record && image;
	     image = json_object_get(image, "backing-image")) {
		json_t *given = find_file(json_object_get(record, "files"),
					  json_string_value(json_object_get(image, "filename")));
		if (json_is_true(json_object_get(given, "below")))
			good = allow_more(dom, record, given, WRITE, error);
	}
	json_decref(record);
	confine_update(dom);
	return good;
}

static bool make_empty(const char *path, GError **error)
{
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd >= 0 || error_set_errno(error, errno, "cannot create '%s'", path);
}

bool images_add(struct domain *dom, const char *path, bool make, GError **error)
{
	json_t *record = load(dom), *file = json_pack("{s:s, s:b, s:s, s:b}", "path", path, "back", 1, "allow", WRITE,
						      "kept", 1);
	bool known = record && has_file(json_object_get(record, "files"), path);
	bool good = !record || known || !make || !is_owned(record, file) || make_empty(path, error);
	good = good && (!record || give_or_allow(dom, record, file, error));
	json_decref(file);
	json_decref(record);
	confine_update(dom);
	return good;
}

static void take_back(const struct domain *dom, const json_t *record, const json_t *file)
{
	g_autoptr(GError) error = NULL;
	if (is_owned(record, file) && json_is_true(json_object_get(file, "back")) &&
	    !owner_take_back(json_string_value(json_object_get(file, "path")), number(record, "uid"),
			     number(record, "gid"), &error))
		log_warning("domain '%s': %s", dom->name, error->message);
}

/* Was it given for a document that is not there yet? From the time on that it is, that counts. */
static bool is_kept(const struct domain *dom, json_t *file, bool needed, bool *changed)
{
	bool kept = dom->live && json_is_true(json_object_get(file, "kept"));
	if (kept && needed) {
		json_object_del(file, "kept");
		*changed = true;
	}
	return kept;
}

void images_release(struct domain *dom)
{
	g_autoptr(GError) error = NULL;
	json_t *record = load(dom), *given = json_object_get(record, "files");
	json_t *needed = record && dom->live ? files_of(dom->live) : json_array();
	bool changed = false;
	for (size_t i = json_array_size(given); i-- > 0;) {
		json_t *file = json_array_get(given, i);
		const char *path = json_string_value(json_object_get(file, "path"));
		bool wanted = path && has_file(needed, path);
		if (!path || is_kept(dom, file, wanted, &changed) || wanted)
			continue;
		take_back(dom, record, file);
		json_array_remove(given, i);
		changed = true;
	}
	if (changed && !save(dom, record, &error))
		log_warning("domain '%s': %s", dom->name, error->message);
	json_decref(needed);
	json_decref(record);
	confine_update(dom);
}

void images_done(struct domain *dom, const char *path)
{
	g_autoptr(GError) error = NULL;
	json_t *record = load(dom), *file = record ? find_file(json_object_get(record, "files"), path) : NULL;
	if (file && json_object_del(file, "kept") == 0 && !save(dom, record, &error))
		log_warning("domain '%s': %s", dom->name, error->message);
	json_decref(record);
}

void images_drop(struct domain *dom, const char *path, bool made)
{
	json_t *record = load(dom), *file = record ? find_file(json_object_get(record, "files"), path) : NULL;
	struct stat st;
	/* A VMM that has not answered in time may have begun to use it. */
	bool unused = made && file && is_owned(record, file) && stat(path, &st) == 0 && st.st_size == 0;
	if (unused && unlink(path) < 0)
		log_warning("domain '%s': cannot remove '%s': %s", dom->name, path, g_strerror(errno));
	json_decref(record);
	images_done(dom, path);
	images_release(dom);
}

bool images_may_have(const struct domain *dom, const char *path)
{
	json_t *record = load(dom), *file = record ? find_file(json_object_get(record, "files"), path) : NULL;
	bool may = !record || (file && !json_is_false(json_object_get(file, "owned")));
	json_decref(record);
	return may;
}
