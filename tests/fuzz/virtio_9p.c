/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 9P file server. What the guest makes is cleared away after each input. */
#include "dev/virtio/devices.h"
#include "virtio_fuzz.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	chmod(path, 0700);
	return remove(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char folder[] = "/tmp/fuzz-9p-XXXXXX";
	if (!mkdtemp(folder))
		return 0;
	const char *const properties[] = {"mount_tag", "fuzz", "path", folder, "security_model",
					  size & 1 ? "none" : "mapped-xattr", NULL};
	const struct fuzz_target target = {
		.class = &virtio_9p_device, .properties = properties, .queues = 1,
		.features = ~UINT64_C(0), .settle_ms = 1,
	};
	struct vd_machine m;
	vd_machine_init(&m);
	fuzz_virtio(&target, &m, data, size);
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
