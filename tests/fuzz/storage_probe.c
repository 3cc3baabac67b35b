/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file in a pool's folder, looked at as the daemon does: its XML is accepted by our own parser. */
#include "daemon/storage/storage.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	if (fd < 0)
		fd = memfd_create("volume", MFD_CLOEXEC);
	assert(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	g_autoptr(GError) error = NULL;
	auto_conf_volume volume = conf_volume_new("volume");
	if (storage_probe(path, volume, &error) != STORAGE_PROBED)
		return 0;
	/* What is encrypted can be shown, but not be asked for. */
	g_clear_pointer(&volume->encryption, g_free);
	/* Sizes that no disk has are shown as they are. */
	if (volume->capacity > INT64_MAX || volume->cluster_size > INT64_MAX)
		return 0;
	g_autofree char *xml = conf_volume_format(volume);
	auto_conf_volume again = conf_volume_parse(xml, &error);
	assert(again && !error);
	return 0;
}
