/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making, copying, resizing, wiping and deleting volumes. On a thread of the room. */
#include "daemon/storage/storage.h"

#include "base/error.h"
#include "base/fd.h"
#include "block/core/image.h"
#include "daemon/storage/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VOLUME_MODE = 0600 };
/* Long system calls are cut up, so that the daemon's end does not wait for them. */
#define STEP (UINT64_C(1) << 30)

bool storage_is_cancelled(const _Atomic bool *cancel, GError **error)
{
	return cancel && *cancel && !error_set(error, BERTH_ERR_BUSY, "the daemon is ending");
}

bool storage_format_is_raw(const char *format)
{
	return !format || strcmp(format, "raw") == 0 || strcmp(format, "iso") == 0;
}

static bool is_raw(const struct conf_volume *volume)
{
	return storage_format_is_raw(volume->format);
}

/* --- Room ----------------------------------------------------------------------------------- */

static bool allocate(int fd, const char *path, uint64_t from, uint64_t to, const _Atomic bool *cancel,
		     GError **error)
{
	for (uint64_t n; from < to; from += n) {
		n = MIN(STEP, to - from);
		if (storage_is_cancelled(cancel, error))
			return false;
		int rc = posix_fallocate(fd, from, n);
		if (rc)
			return error_set_errno(error, rc, "cannot allocate %" G_GUINT64_FORMAT
					       " bytes in file '%s'", to, path);
	}
	return true;
}

static bool allocate_file(const char *path, uint64_t from, uint64_t to, const _Atomic bool *cancel,
			  GError **error)
{
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "cannot open file '%s'", path);
	return allocate(fd, path, from, to, cancel, error);
}

static bool set_permissions(const struct conf_volume *volume, GError **error)
{
	const struct conf_permissions *wanted = &volume->permissions;
	mode_t mode = wanted->mode != CONF_UNSET ? wanted->mode : VOLUME_MODE;
	if (chmod(volume->path, mode) < 0)
		return error_set_errno(error, errno, "cannot set mode of '%s' to %04o", volume->path, mode);
	/* CONF_UNSET is chown's own "leave it". */
	if ((wanted->owner != CONF_UNSET || wanted->group != CONF_UNSET) &&
	    chown(volume->path, wanted->owner, wanted->group) < 0)
		return error_set_errno(error, errno, "cannot chown '%s' to (%u, %u)", volume->path,
				       wanted->owner, wanted->group);
	return true;
}

/* --- Images --------------------------------------------------------------------------------- */

/* The backing file as the image will name it must be there. Its size counts if none is asked for. */
static bool check_backing(const struct storage_make *make, struct aio_loop *loop, uint64_t *size,
			  GError **error)
{
	const struct conf_volume *wanted = make->wanted;
	if (!wanted->backing.path)
		return true;
	if (is_raw(wanted))
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_NO_SUPPORT,
				  "backing storage not supported for raw volumes");
	g_autofree char *folder = g_path_get_dirname(wanted->path);
	g_autofree char *path = g_canonicalize_filename(wanted->backing.path, folder);
	if (access(path, R_OK) < 0)
		return error_set_errno(error, errno, "inaccessible backing store volume %s",
				       wanted->backing.path);
	if (wanted->has_capacity || make->source)
		return true;
	const struct block_open_options options = {
		.filename = path, .format = wanted->backing.format ? wanted->backing.format : "raw",
		.readonly = true, .force_share = true,
	};
	struct block_node *node = block_open(&options, loop, error);
	if (node)
		*size = block_size(node);
	block_close(node);
	return node;
}

static void set(json_t *options, const char *name, const char *value)
{
	json_object_set_new(options, name, json_string(value));
}

/* As for berth-img create -o. What the format does not know is refused there, by name. */
static json_t *image_options(const struct storage_make *make)
{
	const struct conf_volume *wanted = make->wanted;
	json_t *options = json_object();
	if (wanted->compat)
		set(options, "compat", wanted->compat);
	if (wanted->cluster_size)
		json_object_set_new(options, "cluster_size", json_integer(wanted->cluster_size));
	if (wanted->lazy_refcounts)
		set(options, "lazy_refcounts", "on");
	if (wanted->extended_l2)
		set(options, "extended_l2", "on");
	if (wanted->nocow)
		set(options, "nocow", "on");
	/* As libvirt: who asks for all of the room besides gets it. */
	if (make->preallocate_metadata)
		set(options, "preallocation",
		    wanted->allocation < wanted->capacity ? "metadata" : "falloc");
	if (wanted->backing.path) {
		set(options, "backing_file", wanted->backing.path);
		set(options, "backing_fmt", wanted->backing.format ? wanted->backing.format : "raw");
	}
	return options;
}

static bool check_format(const char *format, GError **error)
{
	g_autofree char *help = block_create_help(format, NULL);
	if (strcmp(format, "luks") == 0)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_CONFIG_UNSUPPORTED,
				  "volume format type luks needs a secret, and Berth keeps none yet");
	return help || virt_error(error, VIRT_FROM_STORAGE, VIRT_CONFIG_UNSUPPORTED,
				  "unknown volume format type %s", format);
}

static bool make_image(const struct storage_make *make, uint64_t size, struct aio_loop *loop,
		       GError **error)
{
	const struct conf_volume *wanted = make->wanted;
	bool raw = is_raw(wanted);
	if (!raw && !check_format(wanted->format, error))
		return false;
	if (raw && make->preallocate_metadata)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_CONFIG_UNSUPPORTED,
				  "metadata preallocation is not supported for raw volumes");
	json_t *options = image_options(make);
	bool good = block_create(wanted->path, raw ? "raw" : wanted->format, size, options, loop, error);
	json_decref(options);
	/* A copy is allocated after the copying, which leaves out what is zero. */
	uint64_t end = MIN(wanted->allocation, size);
	return good && (!raw || make->source || allocate_file(wanted->path, 0, end, make->cancel, error));
}

/* --- Making --------------------------------------------------------------------------------- */

/* A copy that shares its blocks with the source until one of them is written. */
static bool reflink(const struct storage_make *make, GError **error)
{
	const struct conf_volume *source = make->source, *wanted = make->wanted;
	const char *format = wanted->format ? wanted->format : "raw";
	if (strcmp(format, source->format) != 0 || wanted->capacity != source->capacity)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_CONFIG_UNSUPPORTED,
				  "a reflink copy has the format and the size of its source");
	return storage_share(source->path, wanted->path, O_CREAT | O_EXCL) ||
	       error_set_errno(error, errno, "failed to clone files from '%s'", source->path);
}

static bool make_content(const struct storage_make *make, GError **error)
{
	const struct conf_volume *wanted = make->wanted;
	uint64_t size = wanted->capacity;
	if (make->source && make->reflink)
		return reflink(make, error);
	struct aio_loop *loop = aio_loop_new(error);
	bool good = loop && check_backing(make, loop, &size, error) && make_image(make, size, loop, error) &&
		    (!make->source || storage_copy(make, loop, error));
	aio_loop_free(loop);
	if (good && make->source && is_raw(wanted) && wanted->has_allocation)
		good = allocate_file(wanted->path, 0, MIN(wanted->allocation, size), make->cancel, error);
	return good;
}

bool storage_make(const struct storage_make *make, GError **error)
{
	const struct conf_volume *wanted = make->wanted;
	bool folder = wanted->format && strcmp(wanted->format, "dir") == 0;
	struct stat st;
	if (lstat(wanted->path, &st) == 0)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
				  "volume target path '%s' already exists", wanted->path);
	if (folder && (make->source || wanted->backing.path || make->preallocate_metadata))
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_CONFIG_UNSUPPORTED,
				  "a folder is no copy, and has neither a backing store nor metadata");
	if (folder && mkdir(wanted->path, VOLUME_MODE) < 0)
		return error_set_errno(error, errno, "cannot create path '%s'", wanted->path);
	if ((folder || make_content(make, error)) && set_permissions(wanted, error))
		return true;
	if (folder)
		rmdir(wanted->path);
	else
		unlink(wanted->path);
	return false;
}

bool storage_delete(const struct conf_volume *volume, GError **error)
{
	if (volume->type == CONF_VOLUME_DIR)
		return rmdir(volume->path) == 0 || errno == ENOENT ||
		       error_set_errno(error, errno, "cannot remove directory '%s'", volume->path);
	return unlink(volume->path) == 0 || errno == ENOENT ||
	       error_set_errno(error, errno, "cannot unlink file '%s'", volume->path);
}

/* --- Changing ------------------------------------------------------------------------------- */

bool storage_check_unused(const char *path, GError **error)
{
	struct aio_loop *loop = aio_loop_new(error);
	const struct block_open_options options = {.filename = path, .format = "raw",
						   .aio = BLOCK_AIO_THREADS};
	struct block_node *node = loop ? block_open(&options, loop, error) : NULL;
	bool good = node;
	block_close(node);
	aio_loop_free(loop);
	return good;
}

static bool resize_raw(const struct conf_volume *volume, uint64_t size, bool fill, GError **error)
{
	if (!storage_check_unused(volume->path, error))
		return false;
	auto_fd fd = open(volume->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "Unable to open '%s'", volume->path);
	if (ftruncate(fd, size) < 0)
		return error_set_errno(error, errno, "Failed to truncate file '%s'", volume->path);
	return !fill || allocate(fd, volume->path, 0, size, NULL, error);
}

bool storage_resize(const struct conf_volume *volume, uint64_t size, bool fill, GError **error)
{
	if (volume->encryption)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_CONFIG_UNSUPPORTED,
				  "an encrypted volume cannot be resized");
	if (is_raw(volume))
		return resize_raw(volume, size, fill, error);
	if (fill)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_UNSUPPORTED,
				  "preallocate is only supported for raw type volume");
	struct aio_loop *loop = aio_loop_new(error);
	const struct block_open_options options = {.filename = volume->path, .format = volume->format,
						   .discard = true};
	struct block_node *node = loop ? block_open(&options, loop, error) : NULL;
	bool good = node && block_resize(node, size, error) && block_flush_sync(node, error);
	block_close(node);
	aio_loop_free(loop);
	return good;
}

static bool write_zeroes(int fd, const char *path, uint64_t size, const _Atomic bool *cancel,
			 GError **error)
{
	enum { CHUNK = 1 << 20 };
	g_autofree uint8_t *zeroes = g_malloc0(CHUNK);
	for (uint64_t at = 0; at < size;) {
		if (storage_is_cancelled(cancel, error))
			return false;
		ssize_t n = pwrite(fd, zeroes, MIN(CHUNK, size - at), at);
		if (n < 0 && errno != EINTR)
			return error_set_errno(error, errno, "Failed to write to storage volume with path '%s'",
					       path);
		at += MAX(n, 0);
	}
	return true;
}

bool storage_wipe(const struct conf_volume *volume, const _Atomic bool *cancel, GError **error)
{
	struct stat st;
	auto_fd fd = open(volume->path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(error, errno, "Failed to open storage volume with path '%s'",
				       volume->path);
	if (!storage_check_unused(volume->path, error))
		return false;
	bool sparse = S_ISREG(st.st_mode) && st.st_blocks < st.st_size / 512;
	uint64_t size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : volume->physical;
	/* Of a file with holes all is given back: writing zeroes would only make it grow. */
	if (sparse && (ftruncate(fd, 0) < 0 || ftruncate(fd, st.st_size) < 0))
		return error_set_errno(error, errno, "Failed to truncate volume with path '%s'",
				       volume->path);
	if (!sparse && !write_zeroes(fd, volume->path, size, cancel, error))
		return false;
	return fdatasync(fd) == 0 || error_set_errno(error, errno, "cannot sync data to volume with path '%s'",
						     volume->path);
}
