/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding a kernel's format and starting it. */
#include "machine/loader/loader_int.h"

#include "base/log.h"
#include "cpu/x86/state.h"
#include "vm/ram.h"

#include <inttypes.h>

/* --- opening ------------------------------------------------------------------------------------- */

/* "FILE ARGUMENTS,FILE ARGUMENTS": a doubled comma is one comma. */
static bool open_modules(struct loader *loader, const char *text, GError **error)
{
	while (*text) {
		g_autoptr(GString) item = g_string_new(NULL);
		for (; *text && (*text != ',' || text[1] == ','); text++) {
			text += *text == ',';
			g_string_append_c(item, *text);
		}
		text += *text == ',';
		if (loader->initrd_count == LOADER_MODULES_MAX)
			return error_set(error, BERTH_ERR_INVALID,
					 "-initrd names more than %d modules", LOADER_MODULES_MAX);
		g_autofree char *path = g_strndup(item->str, strcspn(item->str, " "));
		struct loader_source *source = loader_source_open(path, "module", error);
		if (!source)
			return false;
		loader->initrds[loader->initrd_count] = source;
		loader->initrd_texts[loader->initrd_count++] = g_strdup(item->str);
	}
	return true;
}

static bool open_initrd(struct loader *loader, const char *initrd, GError **error)
{
	if (!initrd || !*initrd)
		return true;
	if (loader->kind == LOADER_MULTIBOOT || loader->kind == LOADER_MULTIBOOT2)
		return open_modules(loader, initrd, error);
	loader->initrds[0] = loader_source_open(initrd, "initrd", error);
	loader->initrd_count = loader->initrds[0] ? 1 : 0;
	return loader->initrd_count == 1;
}

/* An unpacked kernel that cannot be used is no misfortune: the packed one works too. */
static void try_unpack(struct loader *loader)
{
	g_autoptr(GError) error = NULL;
	struct loader_source *unpacked = bzimage_unpack(loader->kernel, &loader->bzimage, &error);
	if (unpacked && elf_recognize(unpacked) && elf_parse(unpacked, &loader->elf, &error)) {
		loader->unpacked = unpacked;
		loader->unpackable = true;
		return;
	}
	loader->unpackable = false;
	loader_source_free(unpacked);
	log_debug("the guest unpacks the kernel '%s' itself: %s", loader->kernel->name,
		  error ? error->message : "its payload is no ELF file");
}

static bool recognize(struct loader *loader, bool unpack, GError **error)
{
	const struct loader_source *kernel = loader->kernel;
	if (bzimage_recognize(kernel)) {
		loader->kind = LOADER_BZIMAGE;
		if (!bzimage_parse(kernel, &loader->bzimage, error))
			return false;
		if (unpack)
			try_unpack(loader);
		return true;
	}
	g_autoptr(GError) problem = NULL;
	if (multiboot_parse(kernel, &loader->multiboot, &problem)) {
		loader->kind = loader->multiboot.version == 1 ? LOADER_MULTIBOOT : LOADER_MULTIBOOT2;
		return true;
	}
	if (problem) {
		g_propagate_error(error, g_steal_pointer(&problem));
		return false;
	}
	if (elf_recognize(kernel)) {
		if (!elf_parse(kernel, &loader->elf, error))
			return false;
		loader->kind = loader->elf.has_pvh ? LOADER_ELF_PVH : LOADER_ELF_PLAIN;
		return true;
	}
	return error_set(error, BERTH_ERR_INVALID,
			 "'%s' is not a kernel: it is neither a Linux bzImage nor an ELF or multiboot "
			 "file", kernel->name);
}

struct loader *loader_open(const struct loader_options *options, GError **error)
{
	struct loader *loader = g_new0(struct loader, 1);
	loader->append = g_strdup(options->append ? options->append : "");
	loader->cmdline = g_strdup("");
	loader->kernel_path = g_strdup(options->kernel);
	loader->kernel = loader_source_open(options->kernel, "kernel", error);
	if (!loader->kernel || !recognize(loader, options->unpack, error) ||
	    !open_initrd(loader, options->initrd, error)) {
		loader_free(loader);
		return NULL;
	}
	return loader;
}

void loader_free(struct loader *loader)
{
	if (!loader)
		return;
	loader_source_free(loader->kernel);
	loader_source_free(loader->unpacked);
	for (unsigned i = 0; i < loader->initrd_count; i++) {
		loader_source_free(loader->initrds[i]);
		g_free(loader->initrd_texts[i]);
	}
	g_free(loader->kernel_path);
	g_free(loader->append);
	g_free(loader->cmdline);
	g_free(loader);
}

enum loader_kind loader_kind(const struct loader *loader)
{
	return loader->kind;
}

const char *loader_describe(const struct loader *loader)
{
	switch (loader->kind) {
	case LOADER_BZIMAGE:
		if (loader->unpackable)
			return loader->elf.wide ? "Linux bzImage, unpacked, 64-bit entry"
						: "Linux bzImage, unpacked, 32-bit entry";
		return loader->bzimage.entry64 ? "Linux bzImage, 64-bit entry"
					       : "Linux bzImage, 32-bit entry";
	case LOADER_ELF_PVH:
		return "ELF kernel, PVH entry";
	case LOADER_ELF_PLAIN:
		return loader->elf.wide ? "ELF kernel, 64-bit entry" : "ELF kernel, 32-bit entry";
	case LOADER_MULTIBOOT:
		return "multiboot kernel";
	case LOADER_MULTIBOOT2:
		return "multiboot 2 kernel";
	}
	g_assert_not_reached();
}

/* --- starting ------------------------------------------------------------------------------------ */

/* Linux's entry: boot_params in RSI or ESI; EBP, EDI and EBX are zero. */
static bool enter_linux(const struct loader_target *target, struct x86_state *state, bool wide,
			uint64_t entry, GError **error)
{
	if (!(wide ? loader_enter_64 : loader_enter_32)(target, state, entry, error))
		return false;
	state->gpr[X86_RSI] = LOW_BOOT_PARAMS;
	return true;
}

/* Where the packed kernel goes: its wish, or lower if the guest is small and it can be moved. */
static bool place_bzimage(const struct loader_target *target, struct bzimage *image,
			  const char *name, GError **error)
{
	if (range_fits(image->load, image->init_size, target->low_ram))
		return true;
	uint64_t lowest = align_up(MIB, image->alignment);
	if (image->relocatable && range_fits(lowest, image->init_size, target->low_ram)) {
		image->load = lowest;
		return true;
	}
	return loader_check_fits(target, name, image->load + image->init_size, error);
}

/*
 * The unpacked kernel to its place. It is some 50 MiB that nobody needs before the next reset, so it
 * is not kept: then it is unpacked again.
 */
static bool put_unpacked(struct loader *loader, const struct loader_target *target)
{
	g_autoptr(GError) error = NULL;
	if (!loader->unpacked)
		try_unpack(loader);
	bool good = loader->unpacked && elf_put(target, loader->unpacked, &loader->elf, &error);
	if (error)
		log_debug("the guest unpacks the kernel itself: %s", error->message);
	loader_source_free(g_steal_pointer(&loader->unpacked));
	return good;
}

static bool load_bzimage(struct loader *loader, const struct loader_target *target,
			 struct x86_state *state, GError **error)
{
	struct bzimage image = loader->bzimage;
	if (loader->unpackable && loader->elf.high <= target->low_ram && put_unpacked(loader, target))
		return bzimage_put_boot_params(loader, target, &image, loader->elf.high, error) &&
		       enter_linux(target, state, loader->elf.wide, loader->elf.entry, error);
	if (!place_bzimage(target, &image, loader->kernel->name, error))
		return false;
	uint64_t entry = image.entry64 ? image.load + 0x200 : image.load;
	return loader_put_source(target, image.load, loader->kernel, image.code_offset,
				 image.code_size, error) &&
	       bzimage_put_boot_params(loader, target, &image, image.load + image.init_size,
				       error) &&
	       enter_linux(target, state, image.entry64, entry, error);
}

static bool load_pvh(struct loader *loader, const struct loader_target *target,
		     struct x86_state *state, GError **error)
{
	if (!elf_put(target, loader->kernel, &loader->elf, error) ||
	    !pvh_put_start_info(loader, target, loader->elf.high, error) ||
	    !loader_enter_32(target, state, loader->elf.pvh_entry, error))
		return false;
	state->gpr[X86_RBX] = LOW_INFO;
	return true;
}

bool loader_load(struct loader *loader, const struct loader_target *target,
		 struct x86_state *state, GError **error)
{
	const char *first = target->append_machine ? target->append_machine : "";
	g_free(loader->cmdline);
	loader->cmdline = *first && *loader->append
				  ? g_strdup_printf("%s %s", first, loader->append)
				  : g_strdup(*first ? first : loader->append);
	switch (loader->kind) {
	case LOADER_BZIMAGE:
		return load_bzimage(loader, target, state, error);
	case LOADER_ELF_PVH:
		return load_pvh(loader, target, state, error);
	case LOADER_ELF_PLAIN:
		return elf_put(target, loader->kernel, &loader->elf, error) &&
		       bzimage_put_boot_params(loader, target, NULL, loader->elf.high, error) &&
		       enter_linux(target, state, loader->elf.wide, loader->elf.entry, error);
	case LOADER_MULTIBOOT:
	case LOADER_MULTIBOOT2:
		return elf_put(target, loader->kernel, &loader->multiboot.image, error) &&
		       multiboot_put_info(loader, target, &loader->multiboot, state, error);
	}
	g_assert_not_reached();
}

/* --- for firmware -------------------------------------------------------------------------------- */

bool loader_read_parts(struct loader *loader, struct loader_parts *parts, GError **error)
{
	*parts = (struct loader_parts){0};
	if (loader->kind != LOADER_BZIMAGE)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "firmware can start only a Linux bzImage, '%s' is a %s: leave -bios out",
				 loader->kernel->name, loader_describe(loader));
	const struct bzimage *image = &loader->bzimage;
	parts->setup = loader_source_bytes(loader->kernel, 0, image->code_offset, error);
	if (parts->setup)
		parts->kernel = loader_source_bytes(loader->kernel, image->code_offset,
						    image->code_size, error);
	if (parts->kernel && loader->initrd_count)
		parts->initrd = loader_source_bytes(loader->initrds[0], 0, loader->initrds[0]->size,
						    error);
	if (parts->kernel && (parts->initrd || !loader->initrd_count))
		return true;
	loader_parts_clear(parts);
	return false;
}

void loader_parts_clear(struct loader_parts *parts)
{
	g_clear_pointer(&parts->setup, g_bytes_unref);
	g_clear_pointer(&parts->kernel, g_bytes_unref);
	g_clear_pointer(&parts->initrd, g_bytes_unref);
}

struct ram_block *loader_firmware(const char *path, GError **error)
{
	struct loader_source *source = loader_source_open(path, "firmware", error);
	struct ram_block *block = NULL;
	if (!source)
		return NULL;
	if (source->size % (64 * KIB) || source->size > 16 * MIB)
		error_set(error, BERTH_ERR_INVALID,
			  "the firmware '%s' has %" PRIu64 " bytes: it must be a multiple of 64 KiB up "
			  "to 16 MiB", path, source->size);
	else
		block = ram_block_new("firmware", source->size, NULL, error);
	if (block && !loader_source_read(source, 0, block->host, source->size, error))
		g_clear_pointer(&block, ram_block_free);
	loader_source_free(source);
	return block;
}
