/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a file is as a volume. A folder has all sorts of files, and guests write some of them: so an
 * image that is broken is a volume all the same, and an image cannot make the daemon open the files
 * that it names (data files, extents). That is why the headers of the common formats are read here;
 * the block layer opens the others, which name no files, or does so without them.
 */
#include "daemon/storage/storage.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "block/core/drivers.h"
#include "block/core/image.h"
#include "block/core/options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As far as the primary volume descriptor of a CD image (ECMA-119 6.2.1: sector 16 of 2,048). */
enum { HEAD_SIZE = 33 * 1024, ISO_MAGIC_AT = 32769 };

struct head {
	uint8_t bytes[HEAD_SIZE];
	size_t length;
};

/* False: errno says why. */
static bool read_head(int fd, struct head *head)
{
	head->length = 0;
	while (head->length < HEAD_SIZE) {
		ssize_t n = pread(fd, head->bytes + head->length, HEAD_SIZE - head->length, head->length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (n == 0)
			break;
		head->length += n;
	}
	return true;
}

static const char *format_of(const struct head *head, const char *path)
{
	const char *format = block_probe(head->bytes, head->length, path);
	if (strcmp(format, "raw") == 0 && head->length >= ISO_MAGIC_AT + 5 &&
	    memcmp(head->bytes + ISO_MAGIC_AT, "CD001", 5) == 0)
		return "iso";
	return format;
}

static void set_permissions(const struct stat *st, struct conf_permissions *permissions,
			    struct conf_times *times)
{
	*permissions = (struct conf_permissions){st->st_mode & 07777, st->st_uid, st->st_gid};
	*times = (struct conf_times){true, st->st_atim, st->st_mtim, st->st_ctim};
}

/* --- Backing files --------------------------------------------------------------------------- */

/* The image says nothing of the format: look. */
static char *guess_format(const char *path)
{
	auto_fd fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	g_autofree struct head *head = g_new(struct head, 1);
	return fd >= 0 && read_head(fd, head) ? g_strdup(format_of(head, path)) : NULL;
}

static bool is_text(const char *text)
{
	return conf_text_is_plain(text) && g_utf8_validate(text, -1, NULL);
}

/* Takes the strings. What can be written in no XML is left out. */
static void set_backing(struct conf_volume *volume, char *path, char *format)
{
	struct stat st;
	struct conf_backing *backing = &volume->backing;
	if (!is_text(path) || (format && !is_text(format))) {
		g_free(path);
		g_free(format);
		return;
	}
	*backing = (struct conf_backing){path, format, CONF_PERMISSIONS_UNSET, {false}};
	if (*path != '/' || stat(path, &st) < 0)
		return;
	set_permissions(&st, &backing->permissions, &backing->times);
	if (!format && S_ISREG(st.st_mode))
		backing->format = guess_format(path);
}

/* --- qcow2 ("Qcow2 image file format" in QEMU's docs/interop) -------------------------------- */

enum { QCOW2_V2_HEADER = 72, QCOW2_V3_HEADER = 104, QCOW2_BACKING_FORMAT = 0xe2792aca };

/* The text of the header extension that names the backing file's format; NULL: there is none. */
static char *qcow2_backing_format(const struct head *head, size_t at)
{
	while (at + 8 <= head->length) {
		uint32_t magic = be32_load(head->bytes + at), length = be32_load(head->bytes + at + 4);
		if (magic == 0 || length > head->length - at - 8)
			break;
		if (magic == QCOW2_BACKING_FORMAT)
			return g_strndup((const char *)head->bytes + at + 8, length);
		at += 8 + align_up(length, 8);
	}
	return NULL;
}

static void read_qcow2(struct conf_volume *volume, const struct head *head, const char *path)
{
	static const char *const ciphers[] = {NULL, "qcow", "luks"};
	const uint8_t *b = head->bytes;
	uint32_t version = head->length >= QCOW2_V2_HEADER ? be32_load(b + 4) : 0;
	uint32_t bits = be32_load(b + 20), cipher = be32_load(b + 32);
	if (version < 2 || (version >= 3 && head->length < QCOW2_V3_HEADER - 4))
		return;
	volume->capacity = be64_load(b + 24);
	volume->cluster_size = bits < 32 ? UINT64_C(1) << bits : 0;
	volume->encryption = g_strdup(cipher < G_N_ELEMENTS(ciphers) ? ciphers[cipher] : NULL);
	size_t extensions = QCOW2_V2_HEADER;
	if (version >= 3) {
		volume->compat = g_strdup("1.1");
		volume->extended_l2 = be64_load(b + 72) & 1 << 4;
		volume->lazy_refcounts = be64_load(b + 80) & 1 << 0;
		extensions = head->length >= QCOW2_V3_HEADER ? be32_load(b + 100) : head->length;
	}
	uint64_t name = be64_load(b + 8);
	uint32_t length = be32_load(b + 16);
	if (!name || !length || name > head->length || length > head->length - name)
		return;
	g_autofree char *text = g_strndup((const char *)b + name, length);
	set_backing(volume, block_path_combine(path, text), qcow2_backing_format(head, extensions));
}

/* --- Other formats --------------------------------------------------------------------------- */

/* LUKS 1, "LUKS On-Disk Format Specification" 1.2.3, figure 1: the payload's sector is at 104. */
static void read_luks(struct conf_volume *volume, const struct head *head)
{
	volume->encryption = g_strdup("luks");
	if (head->length < 108 || be16_load(head->bytes + 6) != 1)
		return;
	uint64_t begin = be32_load(head->bytes + 104) * UINT64_C(512);
	volume->capacity -= MIN(begin, volume->capacity);
}

/* An image that the block layer cannot open keeps the file's size. */
static void read_by_opening(struct conf_volume *volume, const char *path)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	const struct block_open_options options = {
		.filename = path, .format = volume->format, .readonly = true, .no_backing = true,
		.force_share = true, .no_lock = true, .aio = BLOCK_AIO_THREADS,
	};
	struct block_node *node = loop ? block_open(&options, loop, NULL) : NULL;
	if (node) {
		volume->capacity = block_size(node);
		char *backing = block_backing_path(node);
		if (backing)
			set_backing(volume, backing, g_strdup(block_backing_format(node)));
	}
	block_close(node);
	aio_loop_free(loop);
}

static void read_image(struct conf_volume *volume, const struct head *head, const char *path)
{
	const char *format = format_of(head, path);
	bool luks = strcmp(format, "luks") == 0;
	/* A descriptor in text names its extents. */
	bool names_files = strcmp(format, "vmdk") == 0 && head->bytes[0] == '#';
	volume->format = g_strdup(luks ? "raw" : format);
	if (luks)
		read_luks(volume, head);
	else if (strcmp(format, "qcow2") == 0)
		read_qcow2(volume, head, path);
	else if (strcmp(format, "raw") != 0 && strcmp(format, "iso") != 0 && !names_files)
		read_by_opening(volume, path);
}

/* --- Any file -------------------------------------------------------------------------------- */

static void forget(struct conf_volume *volume)
{
	g_clear_pointer(&volume->format, g_free);
	g_clear_pointer(&volume->compat, g_free);
	g_clear_pointer(&volume->encryption, g_free);
	g_clear_pointer(&volume->backing.path, g_free);
	g_clear_pointer(&volume->backing.format, g_free);
	volume->capacity = volume->allocation = volume->physical = volume->cluster_size = 0;
	volume->lazy_refcounts = volume->extended_l2 = volume->nocow = false;
}

static bool read_content(struct conf_volume *volume, const char *path, const struct stat *st)
{
	auto_fd fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	g_autofree struct head *head = g_new(struct head, 1);
	if (fd < 0 || !read_head(fd, head))
		return false;
	if (S_ISREG(st->st_mode)) {
		volume->type = CONF_VOLUME_FILE;
		volume->allocation = st->st_blocks * UINT64_C(512);
		volume->physical = volume->capacity = st->st_size;
	} else {
		off_t end = lseek(fd, 0, SEEK_END);
		volume->type = CONF_VOLUME_BLOCK;
		volume->capacity = volume->allocation = volume->physical = MAX(end, 0);
	}
	read_image(volume, head, path);
	return true;
}

enum storage_probe_result storage_probe(const char *path, struct conf_volume *volume, GError **error)
{
	struct stat st;
	if (stat(path, &st) < 0) {
		if (errno == ENOENT || errno == ELOOP)
			return STORAGE_NO_VOLUME;
		error_set_errno(error, errno, "cannot stat file '%s'", path);
		return STORAGE_PROBE_FAILED;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISDIR(st.st_mode))
		return STORAGE_NO_VOLUME;
	forget(volume);
	if (path != volume->path) {
		g_free(volume->path);
		volume->path = g_strdup(path);
	}
	set_permissions(&st, &volume->permissions, &volume->times);
	if (S_ISDIR(st.st_mode)) {
		volume->type = CONF_VOLUME_DIR;
		volume->format = g_strdup("dir");
	} else if (!read_content(volume, path, &st)) {
		error_set_errno(error, errno, "cannot open volume '%s'", path);
		return STORAGE_PROBE_FAILED;
	}
	return STORAGE_PROBED;
}

bool storage_look(const char *path, struct conf_volume *volume, GError **error)
{
	switch (storage_probe(path, volume, error)) {
	case STORAGE_PROBED:
		return true;
	case STORAGE_NO_VOLUME:
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_VOL,
				  "no storage vol with matching path '%s'", path);
	case STORAGE_PROBE_FAILED:
		break;
	}
	return false;
}
