/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pool's folder: making it, and finding the volumes in it. On a thread of the room. */
#include "daemon/storage/storage.h"

#include "base/error.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* What libvirt gives a pool's folder if nothing is asked for. */
enum { POOL_MODE = 0711 };

bool storage_measure(const char *folder, struct conf_pool_usage *usage, GError **error)
{
	struct statvfs fs;
	if (statvfs(folder, &fs) < 0)
		return error_set_errno(error, errno, "cannot statvfs path '%s'", folder);
	usage->capacity = (uint64_t)fs.f_blocks * fs.f_frsize;
	usage->available = (uint64_t)fs.f_bfree * fs.f_frsize;
	usage->allocation = usage->capacity - MIN(usage->capacity, usage->available);
	return true;
}

struct conf_volume *storage_look_at(const char *folder, const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_build_filename(folder, name, NULL);
	/* Such a name can be written in no XML. */
	if (!conf_text_is_plain(name) || !g_utf8_validate(name, -1, NULL)) {
		g_autofree char *shown = g_strescape(path, NULL);
		log_warning("'%s' is left out of its storage pool: its name is no text", shown);
		return NULL;
	}
	auto_conf_volume volume = conf_volume_new(name);
	enum storage_probe_result result = storage_probe(path, volume, &error);
	if (result == STORAGE_PROBE_FAILED)
		log_warning("'%s' is left out of its storage pool: %s", path, error->message);
	return result == STORAGE_PROBED ? g_steal_pointer(&volume) : NULL;
}

static void volume_free(void *volume)
{
	conf_volume_free(volume);
}

bool storage_scan(const char *folder, struct storage_scan *scan, GError **error)
{
	struct stat st;
	DIR *dir = opendir(folder);
	if (!dir || fstat(dirfd(dir), &st) < 0) {
		error_set_errno(error, errno, "cannot open directory '%s'", folder);
		if (dir)
			closedir(dir);
		return false;
	}
	scan->permissions = (struct conf_permissions){st.st_mode & 07777, st.st_uid, st.st_gid};
	scan->volumes = g_ptr_array_new_with_free_func(volume_free);
	const struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		struct conf_volume *volume = storage_look_at(folder, entry->d_name);
		if (volume)
			g_ptr_array_add(scan->volumes, volume);
	}
	closedir(dir);
	return true;
}

bool storage_build(const struct conf_pool *conf, GError **error)
{
	const struct conf_permissions *wanted = &conf->permissions;
	g_autofree char *parent = g_path_get_dirname(conf->path);
	bool existed = g_file_test(conf->path, G_FILE_TEST_IS_DIR);
	if (g_mkdir_with_parents(parent, 0755) < 0 ||
	    (!existed && mkdir(conf->path, POOL_MODE) < 0 && errno != EEXIST))
		return error_set_errno(error, errno, "failed to create directory '%s'", conf->path);
	mode_t mode = wanted->mode != CONF_UNSET ? wanted->mode : POOL_MODE;
	if ((!existed || wanted->mode != CONF_UNSET) && chmod(conf->path, mode) < 0)
		return error_set_errno(error, errno, "cannot set mode of '%s' to %04o", conf->path, mode);
	/* CONF_UNSET is chown's own "leave it". */
	if ((wanted->owner != CONF_UNSET || wanted->group != CONF_UNSET) &&
	    chown(conf->path, wanted->owner, wanted->group) < 0)
		return error_set_errno(error, errno, "cannot chown '%s' to (%u, %u)", conf->path,
				       wanted->owner, wanted->group);
	return true;
}
