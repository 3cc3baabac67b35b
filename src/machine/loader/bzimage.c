/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux's boot protocol (Documentation/arch/x86/boot.rst and zero-page.rst of the kernel): the setup
 * header of a bzImage, and boot_params, which a boot loader fills from it.
 */
#include "machine/loader/loader_int.h"

#include <inttypes.h>

/* Offsets in the file's first sectors and, equally, in boot_params. */
enum header_field {
	HDR_SETUP_SECTS = 0x1f1, HDR_SYSSIZE = 0x1f4, HDR_VID_MODE = 0x1fa, HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LENGTH = 0x201, HDR_MAGIC = 0x202, HDR_VERSION = 0x206, HDR_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211, HDR_CODE32_START = 0x214, HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c, HDR_CMD_LINE_PTR = 0x228, HDR_INITRD_MAX = 0x22c,
	HDR_ALIGNMENT = 0x230, HDR_RELOCATABLE = 0x234, HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238, HDR_PAYLOAD_OFFSET = 0x248, HDR_PAYLOAD_LENGTH = 0x24c,
	HDR_PREF_ADDRESS = 0x258, HDR_INIT_SIZE = 0x260, HDR_END_OLD = 0x230,
};

/* Only in boot_params. */
enum params_field {
	PARAMS_ACPI_RSDP = 0x070, PARAMS_EXT_RAMDISK_IMAGE = 0x0c0, PARAMS_E820_COUNT = 0x1e8,
	PARAMS_E820 = 0x2d0, PARAMS_E820_MAX = 128, PARAMS_E820_ENTRY = 20, PARAMS_SIZE = 4096,
};

enum { LOADFLAG_HIGH = 1 << 0, XLOADFLAG_64 = 1 << 0, LOADER_UNDEFINED = 0xff };
enum { LOAD_DEFAULT = 0x100000, SECTOR = 512 };

bool bzimage_recognize(const struct loader_source *source)
{
	uint8_t head[HDR_VERSION];
	return source->size >= sizeof(head) &&
	       loader_source_read(source, 0, head, sizeof(head), NULL) &&
	       le16_load(head + HDR_BOOT_FLAG) == 0xaa55 && memcmp(head + HDR_MAGIC, "HdrS", 4) == 0;
}

/* What later protocol versions added, or what it means that it is missing. */
static void parse_optional(struct bzimage *image)
{
	const uint8_t *h = image->head;
	unsigned v = image->protocol;
	uint32_t alignment = v >= 0x0205 ? le32_load(h + HDR_ALIGNMENT) : 0;
	image->relocatable = v >= 0x0205 && h[HDR_RELOCATABLE];
	image->alignment = alignment && !(alignment & (alignment - 1)) ? MAX(alignment, 4096) : MIB;
	image->initrd_max = v >= 0x0203 ? le32_load(h + HDR_INITRD_MAX) : 0x37ffffff;
	image->cmdline_max = v >= 0x0206 ? le32_load(h + HDR_CMDLINE_SIZE) : 255;
	image->entry64 = v >= 0x020c && le16_load(h + HDR_XLOADFLAGS) & XLOADFLAG_64;
	image->load = LOAD_DEFAULT;
	/* Before 2.10 a kernel does not say how much it needs to unpack: assume five times its size. */
	image->init_size = v >= 0x020a ? le32_load(h + HDR_INIT_SIZE) : 5 * image->code_size;
	if (v >= 0x020a && image->relocatable && le64_load(h + HDR_PREF_ADDRESS) >= LOAD_DEFAULT)
		image->load = le64_load(h + HDR_PREF_ADDRESS);
	image->init_size = MAX(image->init_size, image->code_size);
	if (v >= 0x0208) {
		image->payload_offset = image->code_offset + le32_load(h + HDR_PAYLOAD_OFFSET);
		image->payload_size = le32_load(h + HDR_PAYLOAD_LENGTH);
	}
}

bool bzimage_parse(const struct loader_source *source, struct bzimage *image, GError **error)
{
	*image = (struct bzimage){0};
	if (source->size < HDR_END_OLD)
		return error_set(error, BERTH_ERR_INVALID,
				 "the kernel '%s' is truncated: it has only %" PRIu64
				 " bytes; copy or install it again", source->name, source->size);
	uint64_t have = MIN(source->size, sizeof(image->head));
	if (!loader_source_read(source, 0, image->head, have, error))
		return false;
	const uint8_t *h = image->head;
	image->protocol = le16_load(h + HDR_VERSION);
	if (image->protocol < 0x0200 || !(h[HDR_LOADFLAGS] & LOADFLAG_HIGH))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the kernel '%s' is a zImage or older than Linux 2.0: use a bzImage",
				 source->name);

	/* The header ends where the jump over it lands (boot.rst, "jump"). */
	image->head_end = HDR_MAGIC + h[HDR_JUMP_LENGTH];
	image->head_end = (unsigned)MIN(MAX(image->head_end, HDR_END_OLD), have);
	uint64_t sectors = h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4;
	image->code_offset = (sectors + 1) * SECTOR;
	/* syssize counts 16-byte units; before 2.04 only its low half is there. */
	uint64_t promised = image->protocol >= 0x0204 ? le32_load(h + HDR_SYSSIZE)
						      : le16_load(h + HDR_SYSSIZE);
	promised *= 16;
	if (image->code_offset >= source->size ||
	    promised > align_up(source->size - image->code_offset, 16))
		return error_set(error, BERTH_ERR_INVALID,
				 "the kernel '%s' is truncated: its header promises %" PRIu64
				 " bytes and it has %" PRIu64 "; copy or install it again",
				 source->name, image->code_offset + promised, source->size);
	image->code_size = source->size - image->code_offset;
	if (image->code_size > GIB)
		return error_set(error, BERTH_ERR_INVALID,
				 "the kernel '%s' is larger than 1 GiB", source->name);
	parse_optional(image);
	return true;
}

/* The initrd to the top of what the kernel can reach. */
static bool put_initrd(const struct loader *loader, const struct loader_target *target,
		       uint64_t initrd_max, uint64_t floor, uint8_t *params, GError **error)
{
	if (!loader->initrd_count)
		return true;
	const struct loader_source *initrd = loader->initrds[0];
	uint64_t at = loader_place_high(target, initrd->size, floor, initrd_max + 1, initrd->name,
					error);
	if (!at || !loader_put_source(target, at, initrd, 0, initrd->size, error))
		return false;
	/* Low RAM ends below 4 GiB, so the upper halves stay zero. */
	le32_store(params + HDR_RAMDISK_IMAGE, (uint32_t)at);
	le32_store(params + HDR_RAMDISK_SIZE, (uint32_t)initrd->size);
	return true;
}

static void put_e820(const struct loader_target *target, uint8_t *params)
{
	unsigned count = MIN(target->map_count, PARAMS_E820_MAX);
	for (unsigned i = 0; i < count; i++) {
		uint8_t *entry = params + PARAMS_E820 + i * PARAMS_E820_ENTRY;
		le64_store(entry, target->map[i].base);
		le64_store(entry + 8, target->map[i].size);
		le32_store(entry + 16, target->map[i].type);
	}
	params[PARAMS_E820_COUNT] = (uint8_t)count;
}

bool bzimage_put_boot_params(const struct loader *loader, const struct loader_target *target,
			     const struct bzimage *image, uint64_t floor, GError **error)
{
	uint8_t params[PARAMS_SIZE] = {0};
	unsigned cmdline_max = image ? image->cmdline_max : 2047;
	size_t length = strlen(loader->cmdline);
	if (length > cmdline_max || length >= LOW_CMDLINE_MAX)
		return error_set(error, BERTH_ERR_INVALID,
				 "the kernel command line has %zu characters but '%s' takes at most "
				 "%u: shorten -append", length, loader->kernel_path,
				 (unsigned)MIN(cmdline_max, LOW_CMDLINE_MAX - 1));
	if (image) {
		memcpy(params + BZIMAGE_HEADER_AT, image->head + BZIMAGE_HEADER_AT,
		       image->head_end - BZIMAGE_HEADER_AT);
	} else {
		/* A kernel without a setup header of its own believes these. */
		le16_store(params + HDR_BOOT_FLAG, 0xaa55);
		memcpy(params + HDR_MAGIC, "HdrS", 4);
		le16_store(params + HDR_VERSION, 0x020f);
		le32_store(params + HDR_ALIGNMENT, 0x200000);
	}
	params[HDR_LOADER] = LOADER_UNDEFINED;
	le16_store(params + HDR_VID_MODE, 0xffff);
	le32_store(params + HDR_CMD_LINE_PTR, LOW_CMDLINE);
	le64_store(params + PARAMS_ACPI_RSDP, target->rsdp);
	if (image)
		le32_store(params + HDR_CODE32_START, (uint32_t)image->load);
	put_e820(target, params);
	return put_initrd(loader, target, image ? image->initrd_max : UINT32_MAX, floor, params,
			  error) &&
	       loader_put(target, LOW_CMDLINE, loader->cmdline, length + 1, error) &&
	       loader_put(target, LOW_BOOT_PARAMS, params, sizeof(params), error);
}
