/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting a kernel without firmware: -kernel, -initrd and -append.
 *
 * loader_open() opens and checks the files; loader_load() puts them, the boot protocol's structures
 * and the boot processor's first state into a VM, and may be called again at each reset. The format
 * is found by looking: Linux bzImage (32- and 64-bit entry), ELF with a PVH note or a plain entry,
 * multiboot 1 and 2.
 *
 * Files are hostile: every length and offset in them is checked before use, and what is wrong gives
 * one line that names the file. They are kept open, not mapped, so that a file that shrinks under us
 * is an error and not a SIGBUS.
 *
 * Threads: the main thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct loader;
struct ram_block;
struct space;
struct x86_state;

enum loader_kind { LOADER_BZIMAGE, LOADER_ELF_PVH, LOADER_ELF_PLAIN, LOADER_MULTIBOOT, LOADER_MULTIBOOT2 };

struct loader_options {
	const char *kernel;
	const char *initrd; /* or NULL. Multiboot: "FILE ARGUMENTS,FILE ARGUMENTS..." are modules */
	const char *append; /* or NULL */
	/*
	 * Unpack a bzImage's kernel here instead of letting the guest do it: much faster where the
	 * guest's instructions are interpreted. The kernel then runs at its link address (no KASLR).
	 */
	bool unpack;
};

/* Types are e820's and PVH's. */
enum loader_range_type { LOADER_RAM = 1, LOADER_RESERVED = 2, LOADER_ACPI = 3, LOADER_NVS = 4 };

struct loader_range {
	uint64_t base, size;
	uint32_t type;
};

enum { LOADER_RANGES_MAX = 128 };

/* What loader_load() must know of the machine. */
struct loader_target {
	struct space *memory;
	const struct loader_range *map; /* sorted, at most LOADER_RANGES_MAX; RAM from 0 and from 1 MiB */
	unsigned map_count;
	uint64_t low_ram;           /* RAM is contiguous from 1 MiB to here, below 4 GiB */
	uint64_t rsdp;              /* or 0 */
	const char *append_machine; /* put before the person's command line, or NULL */
};

struct loader *loader_open(const struct loader_options *options, GError **error);
void loader_free(struct loader *loader);
enum loader_kind loader_kind(const struct loader *loader);
/* "Linux bzImage, 64-bit entry": for the log. */
const char *loader_describe(const struct loader *loader);

/* `state` comes in as after RESET and goes out as the kernel wants it. */
bool loader_load(struct loader *loader, const struct loader_target *target,
		 struct x86_state *state, GError **error);

/*
 * The files in one piece, for firmware that boots them itself (OVMF reads fw_cfg): the setup part
 * and the rest of a bzImage, and the initrd. Fails if the kernel is not a bzImage.
 */
struct loader_parts {
	GBytes *setup, *kernel, *initrd; /* initrd: NULL if there is none */
};
bool loader_read_parts(struct loader *loader, struct loader_parts *parts, GError **error);
void loader_parts_clear(struct loader_parts *parts);

/*
 * A firmware image (-bios): a new RAM block of the file's size, which must be a multiple of 64 KiB
 * up to 16 MiB, with the file in it.
 */
struct ram_block *loader_firmware(const char *path, GError **error);
