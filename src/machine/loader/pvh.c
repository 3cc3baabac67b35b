/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PVH direct boot (Xen's public arch-x86/hvm/start_info.h): EBX points to hvm_start_info, which
 * points to the command line, the modules and the memory map.
 */
#include "machine/loader/loader_int.h"

enum { START_INFO_MAGIC = 0x336ec578, START_INFO_SIZE = 56, MODULE_SIZE = 32, MEMMAP_SIZE = 24 };
enum { MODULES_AT = LOW_INFO + 0x100, MEMMAP_AT = LOW_INFO + 0x1000 };

G_STATIC_ASSERT(MEMMAP_AT + LOADER_RANGES_MAX * MEMMAP_SIZE <= LOW_INFO_END);

bool pvh_put_start_info(const struct loader *loader, const struct loader_target *target,
			uint64_t floor, GError **error)
{
	uint8_t info[START_INFO_SIZE] = {0}, module[MODULE_SIZE] = {0}, entry[MEMMAP_SIZE] = {0};
	size_t length = strlen(loader->cmdline);
	if (length >= LOW_CMDLINE_MAX)
		return error_set(error, BERTH_ERR_INVALID,
				 "the kernel command line has %zu characters, at most %d fit: "
				 "shorten -append", length, LOW_CMDLINE_MAX - 1);
	if (loader->initrd_count) {
		const struct loader_source *initrd = loader->initrds[0];
		uint64_t at = loader_place_high(target, initrd->size, floor, UINT32_MAX,
						initrd->name, error);
		if (!at || !loader_put_source(target, at, initrd, 0, initrd->size, error))
			return false;
		le64_store(module, at);
		le64_store(module + 8, initrd->size);
		if (!loader_put(target, MODULES_AT, module, sizeof(module), error))
			return false;
		le32_store(info + 12, 1);
		le64_store(info + 16, MODULES_AT);
	}
	unsigned count = MIN(target->map_count, LOADER_RANGES_MAX);
	for (unsigned i = 0; i < count; i++) {
		le64_store(entry, target->map[i].base);
		le64_store(entry + 8, target->map[i].size);
		le32_store(entry + 16, target->map[i].type);
		if (!loader_put(target, MEMMAP_AT + i * MEMMAP_SIZE, entry, sizeof(entry), error))
			return false;
	}
	le32_store(info, START_INFO_MAGIC);
	le32_store(info + 4, 1); /* version */
	le64_store(info + 24, LOW_CMDLINE);
	le64_store(info + 32, target->rsdp);
	le64_store(info + 40, MEMMAP_AT);
	le32_store(info + 48, count);
	return loader_put(target, LOW_CMDLINE, loader->cmdline, length + 1, error) &&
	       loader_put(target, LOW_INFO, info, sizeof(info), error);
}
