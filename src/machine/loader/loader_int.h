/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of loader/. */
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "base/units.h"
#include "machine/loader/loader.h"

/* --- source.c: where bytes come from ------------------------------------------------------------ */

/* A file, or bytes in memory that were unpacked from one. */
struct loader_source {
	char *name; /* for errors */
	int fd;     /* -1: in memory */
	uint8_t *bytes;
	uint64_t size;
};

struct loader_source *loader_source_open(const char *path, const char *what, GError **error);
/* Takes `bytes`, to be freed with g_free(). */
struct loader_source *loader_source_memory(const char *name, uint8_t *bytes, uint64_t size);
void loader_source_free(struct loader_source *source);
/* An error if any of it lies outside the source. */
bool loader_source_read(const struct loader_source *source, uint64_t offset, void *buffer,
			uint64_t length, GError **error);
GBytes *loader_source_bytes(const struct loader_source *source, uint64_t offset, uint64_t length,
			    GError **error);

/* --- guest.c: where they go -------------------------------------------------------------------- */

/*
 * Low memory while a kernel starts. Nothing of a kernel may be loaded over it; the kernel may reuse
 * it once it has read what it needs.
 */
enum loader_low {
	LOW_BEGIN = 0x1000,
	LOW_GDT = 0x1000,
	LOW_PAGE_TABLES = 0x2000, /* PML4, PDPT, 4 page directories */
	LOW_BOOT_PARAMS = 0x8000,
	LOW_INFO = 0x9000,        /* PVH or multiboot information */
	LOW_INFO_END = 0x20000,
	LOW_CMDLINE = 0x20000,
	LOW_END = 0x30000,
	LOW_CMDLINE_MAX = LOW_END - LOW_CMDLINE, /* with its zero */
};

bool loader_put(const struct loader_target *target, uint64_t addr, const void *data,
		uint64_t length, GError **error);
bool loader_put_zero(const struct loader_target *target, uint64_t addr, uint64_t length,
		     GError **error);
/* [offset, offset + length) of `source` to `addr`, read straight into guest RAM. */
bool loader_put_source(const struct loader_target *target, uint64_t addr,
		       const struct loader_source *source, uint64_t offset, uint64_t length,
		       GError **error);
/* Does what `kernel` occupies up to `end` lie in low RAM? */
bool loader_check_fits(const struct loader_target *target, const char *kernel, uint64_t end,
		       GError **error);
/*
 * The highest page-aligned place for `length` bytes that ends at or below `limit` and low RAM's end
 * and begins at or above `floor`; 0 with an error that names `what` if there is none.
 */
uint64_t loader_place_high(const struct loader_target *target, uint64_t length, uint64_t floor,
			   uint64_t limit, const char *what, GError **error);

/* Flat segments and, for 64 bits, identity page tables of 4 GiB; then `entry`. */
bool loader_enter_32(const struct loader_target *target, struct x86_state *state, uint64_t entry,
		     GError **error);
bool loader_enter_64(const struct loader_target *target, struct x86_state *state, uint64_t entry,
		     GError **error);

/* --- bzimage.c --------------------------------------------------------------------------------- */

enum { BZIMAGE_HEADER_AT = 0x1f1, BZIMAGE_HEADER_MAX = 0x290 };

struct bzimage {
	uint8_t head[BZIMAGE_HEADER_MAX]; /* the file's first bytes: what goes into boot_params */
	unsigned head_end;                /* where its setup header ends */
	unsigned protocol;                /* 0x020f is 2.15 */
	uint64_t code_offset, code_size;  /* the protected-mode part, in the file */
	uint64_t load;                    /* preferred address */
	uint64_t alignment;
	uint64_t init_size;               /* bytes needed from the load address on */
	bool relocatable, entry64;
	uint64_t initrd_max;              /* highest address of its last byte */
	unsigned cmdline_max;             /* without the zero */
	uint64_t payload_offset, payload_size; /* in the file; 0: not said */
};

/* Is it a bzImage at all? */
bool bzimage_recognize(const struct loader_source *source);
bool bzimage_parse(const struct loader_source *source, struct bzimage *image, GError **error);
/*
 * Write boot_params, command line and initrd, whose place must be at or above `floor`. Used for
 * unpacked kernels and plain ELF kernels too: then `image` may be NULL.
 */
bool bzimage_put_boot_params(const struct loader *loader, const struct loader_target *target,
			     const struct bzimage *image, uint64_t floor, GError **error);

/* --- unpack.c ---------------------------------------------------------------------------------- */

/* The ELF kernel in a bzImage's payload; NULL if it cannot be had (unknown packing, damage). */
struct loader_source *bzimage_unpack(const struct loader_source *source,
				     const struct bzimage *image, GError **error);

/* --- elf.c ------------------------------------------------------------------------------------- */

enum { ELF_SEGMENTS_MAX = 64 };

struct elf_segment {
	uint64_t offset, file_size, address, size; /* address: physical */
};

struct elf_image {
	bool wide; /* ELF64 */
	uint64_t entry; /* physical */
	bool has_pvh;
	uint64_t pvh_entry;
	struct elf_segment segments[ELF_SEGMENTS_MAX];
	unsigned segment_count;
	uint64_t low, high; /* the lowest byte and the end of what it occupies */
};

bool elf_recognize(const struct loader_source *source);
bool elf_parse(const struct loader_source *source, struct elf_image *image, GError **error);
bool elf_put(const struct loader_target *target, const struct loader_source *source,
	     const struct elf_image *image, GError **error);

/* --- pvh.c ------------------------------------------------------------------------------------- */
bool pvh_put_start_info(const struct loader *loader, const struct loader_target *target,
			uint64_t floor, GError **error);

/* --- multiboot.c ------------------------------------------------------------------------------- */

struct multiboot_image {
	unsigned version; /* 1 or 2 */
	bool has_addresses; /* the header says where to load; else it is an ELF */
	struct elf_image image;
	uint64_t entry;
	bool align_modules;
};

/* False without an error if there is no multiboot header; false with one if it is broken. */
bool multiboot_parse(const struct loader_source *source, struct multiboot_image *image,
		     GError **error);
bool multiboot_put_info(const struct loader *loader, const struct loader_target *target,
			const struct multiboot_image *image, struct x86_state *state,
			GError **error);
/* multiboot_info.c: the two versions' information blocks. */
struct multiboot_module {
	uint64_t address, size;
	const char *text;
};
GByteArray *multiboot1_info(const struct loader *loader, const struct loader_target *target,
			    const struct multiboot_module *modules, unsigned count, uint32_t at);
GByteArray *multiboot2_info(const struct loader *loader, const struct loader_target *target,
			    const struct multiboot_module *modules, unsigned count);

/* --- loader.c ---------------------------------------------------------------------------------- */

enum { LOADER_MODULES_MAX = 64 };

struct loader {
	enum loader_kind kind;
	struct loader_source *kernel;
	struct loader_source *unpacked; /* between opening and the first load, else NULL */
	bool unpackable;                /* `elf` describes what bzimage_unpack() gives */
	char *kernel_path, *append;
	char *cmdline; /* the machine's and the person's, put together by loader_load() */
	struct loader_source *initrds[LOADER_MODULES_MAX];
	char *initrd_texts[LOADER_MODULES_MAX]; /* multiboot: FILE ARGUMENTS */
	unsigned initrd_count;
	struct bzimage bzimage;
	struct elf_image elf;
	struct multiboot_image multiboot;
};
