/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A kernel file of fuzzed bytes into a small VM's memory: what the three loader targets share. The
 * format is found by looking, as with -kernel; each target's seeds are of its own format.
 */
#pragma once

#include "cpu/x86/state.h"
#include "machine/loader/loader.h"
#include "vm/space.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FUZZ_RAM = 16 << 20 };

static inline int loader_fuzz_one(const uint8_t *data, size_t size, bool unpack)
{
	static struct space *memory;
	static struct ram_block *ram;
	static int file = -1;
	static char path[64];
	if (!memory) {
		memory = space_new("memory", UINT64_C(1) << 36);
		ram = ram_block_new("ram", FUZZ_RAM, NULL, NULL);
		space_add_ram(memory, 0, ram, 0, FUZZ_RAM, false, NULL, 0);
		file = memfd_create("kernel", 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	if (ftruncate(file, 0) || pwrite(file, data, size, 0) != (ssize_t)size)
		abort();
	const struct loader_range map[] = {{0, 0x9fc00, LOADER_RAM},
					   {0x100000, FUZZ_RAM - 0x100000, LOADER_RAM}};
	const struct loader_target target = {.memory = memory, .map = map, .map_count = 2,
					     .low_ram = FUZZ_RAM, .rsdp = 0xe0000};
	const struct loader_options options = {.kernel = path, .append = "quiet",
					       .initrd = size % 2 ? path : NULL, .unpack = unpack};
	g_autoptr(GError) error = NULL;
	struct loader *loader = loader_open(&options, &error);
	if (loader) {
		struct x86_state state = {0};
		if (loader_load(loader, &target, &state, &error) && state.rip >= UINT64_C(1) << 32)
			abort(); /* an entry that nothing was loaded to */
		loader_free(loader);
	}
	return 0;
}
