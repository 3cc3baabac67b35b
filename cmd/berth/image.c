/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kind of file a person has named, by its content. */
#include "berth.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct magic {
	const char *format; /* for people; NULL: a kernel */
	size_t offset, length;
	const char *bytes;
};

static const struct magic magics[] = {
	{"qcow2", 0, 4, "QFI\xfb"},
	{"vmdk", 0, 4, "KDMV"},
	{"vmdk", 0, 4, "COWD"},
	{"vmdk", 0, 21, "# Disk DescriptorFile"},
	{"vdi", 0x40, 4, "\x7f\x10\xda\xbe"},
	{"vhdx", 0, 8, "vhdxfile"},
	{"vpc", 0, 8, "conectix"},
	{"qed", 0, 4, "QED\0"},
	{"luks", 0, 6, "LUKS\xba\xbe"},
	{"gzip", 0, 2, "\x1f\x8b"},
	{"xz", 0, 6, "\xfd" "7zXZ"},
	{"zstd", 0, 4, "\x28\xb5\x2f\xfd"},
	{NULL, 0x202, 4, "HdrS"},
	{NULL, 0, 4, "\x7f" "ELF"},
};

#define ISO_OFFSET 0x8001 /* ECMA-119: the first volume descriptor is in sector 16 */

bool image_detect(const char *path, enum image_kind *kind, const char **format, GError **error)
{
	char head[0x8006];
	struct stat st;
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno, "run: cannot open '%s'%s", path,
				       errno == ENOENT ? " (check the name)" :
				       errno == EACCES ? " (this user may not read it: chmod or chown it)" :
							 "");
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return error_set(error, BERTH_ERR_INVALID,
				 "run: '%s' is a folder: name a disk image, or share it with --share",
				 path);
	ssize_t length = pread(fd, head, sizeof(head), 0);
	if (length < 0)
		return error_set_errno(error, errno, "run: cannot read '%s'", path);
	if (length == 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "run: '%s' is empty: there is nothing to start in it", path);
	*format = NULL;
	*kind = IMAGE_RAW;
	for (unsigned i = 0; i < G_N_ELEMENTS(magics); i++) {
		const struct magic *magic = &magics[i];
		if ((size_t)length < magic->offset + magic->length ||
		    memcmp(head + magic->offset, magic->bytes, magic->length) != 0)
			continue;
		*kind = magic->format ? IMAGE_OTHER : IMAGE_KERNEL;
		*format = magic->format;
		return true;
	}
	if (length == sizeof(head) && memcmp(head + ISO_OFFSET, "CD001", 5) == 0)
		*kind = IMAGE_ISO;
	return true;
}
