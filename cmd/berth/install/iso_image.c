/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "location.h"

#include "base/error.h"
#include "base/library.h"

#include <cdio/iso9660.h>
#include <errno.h>

#define ISO_FUNCTIONS(F)                                                                           \
	F(iso9660_open_ext) F(iso9660_close) F(iso9660_ifs_stat_translate) F(iso9660_stat_free)    \
	F(iso9660_iso_seek_read)
LIBRARY(iso, ISO_FUNCTIONS, .package = "libiso9660-11", .files = {"libiso9660.so.11"})

enum { COPY_BLOCKS = 512 };

struct iso_image {
	char *path;
	iso9660_t *iso;
};

struct iso_image *iso_image_open(const char *path, GError **error)
{
	if (!library_load(&library, error))
		return NULL;
	iso9660_t *opened = iso.iso9660_open_ext(path, ISO_EXTENSION_ALL);
	if (!opened) {
		error_set(error, BERTH_ERR_INVALID, "'%s' is neither a folder nor an ISO 9660 image", path);
		return NULL;
	}
	struct iso_image *image = g_new0(struct iso_image, 1);
	*image = (struct iso_image){g_strdup(path), opened};
	return image;
}

void iso_image_close(struct iso_image *image)
{
	if (!image)
		return;
	iso.iso9660_close(image->iso);
	g_free(image->path);
	g_free(image);
}

static bool copy_blocks(struct iso_image *image, const iso9660_stat_t *stat, FILE *out, GError **error)
{
	g_autofree char *buffer = g_malloc(COPY_BLOCKS * ISO_BLOCKSIZE);
	for (uint64_t done = 0; done < stat->size;) {
		uint64_t left = stat->size - done;
		long blocks = MIN((left + ISO_BLOCKSIZE - 1) / ISO_BLOCKSIZE, COPY_BLOCKS);
		long n = iso.iso9660_iso_seek_read(image->iso, buffer,
						   stat->lsn + (lsn_t)(done / ISO_BLOCKSIZE), blocks);
		if (n != blocks * ISO_BLOCKSIZE)
			return error_set(error, BERTH_ERR_IO, "'%s' ends before its files do", image->path);
		size_t bytes = MIN(left, (uint64_t)n);
		if (fwrite(buffer, 1, bytes, out) != bytes)
			return error_set_errno(error, errno, "cannot copy from '%s'", image->path);
		done += bytes;
	}
	return true;
}

bool iso_image_copy(struct iso_image *image, const char *file, FILE *out, GError **error)
{
	iso9660_stat_t *stat = iso.iso9660_ifs_stat_translate(image->iso, file);
	bool is_file = stat && stat->type == _STAT_FILE;
	bool good = is_file ? copy_blocks(image, stat, out, error)
			    : error_set(error, BERTH_ERR_NOT_FOUND, "'%s' has no %s", image->path, file);
	iso.iso9660_stat_free(stat);
	return good;
}
