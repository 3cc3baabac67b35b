/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Multiboot 1 (0.6.96) and 2 (2.0): finding and reading the header. A header may say where to load
 * the file; otherwise it is an ELF. What a header requires and we do not offer is an error.
 */
#include "machine/loader/loader_int.h"

#include "cpu/x86/state.h"

#include <inttypes.h>

enum { MB1_MAGIC = 0x1badb002, MB1_SEARCH = 8192, MB1_BOOT_MAGIC = 0x2badb002 };
enum { MB2_MAGIC = 0xe85250d6, MB2_SEARCH = 32768, MB2_BOOT_MAGIC = 0x36d76289 };
enum mb1_flags { MB1_ALIGN = 1 << 0, MB1_MEMORY = 1 << 1, MB1_VIDEO = 1 << 2, MB1_ADDRESSES = 1 << 16 };
enum mb2_tag {
	MB2_TAG_END, MB2_TAG_REQUEST, MB2_TAG_ADDRESSES, MB2_TAG_ENTRY, MB2_TAG_CONSOLE,
	MB2_TAG_FRAMEBUFFER, MB2_TAG_ALIGN, MB2_TAG_EFI_SERVICES, MB2_TAG_EFI_ENTRY32,
	MB2_TAG_EFI_ENTRY64, MB2_TAG_RELOCATABLE,
};

static bool bad(const struct loader_source *source, GError **error, const char *why)
{
	return error_set(error, BERTH_ERR_INVALID, "the multiboot kernel '%s' is not usable: %s",
			 source->name, why);
}

/*
 * The address fields of both versions: file offset of the header, its address, the load address,
 * the ends of data and of bss (0: up to the file's end; none).
 */
static bool from_addresses(const struct loader_source *source, struct multiboot_image *m,
			   uint64_t header_offset, const uint8_t *fields, GError **error)
{
	uint64_t header = le32_load(fields), load = le32_load(fields + 4);
	uint64_t load_end = le32_load(fields + 8), bss_end = le32_load(fields + 12);
	struct elf_segment *s = &m->image.segments[0];
	/* A load address of all ones means "from the file's beginning" (multiboot 2 only). */
	if (m->version == 2 && load == UINT32_MAX)
		load = header - header_offset;
	if (load > header || header - load > header_offset)
		return bad(source, error, "its header's addresses contradict each other");
	s->offset = header_offset - (header - load);
	s->file_size = load_end ? load_end - load : source->size - s->offset;
	if ((load_end && load_end < load) || !range_fits(s->offset, s->file_size, source->size))
		return bad(source, error, "it is truncated: its header promises more than the file has");
	s->address = load;
	s->size = s->file_size;
	if (bss_end > load + s->file_size)
		s->size = bss_end - load;
	if (s->size == 0 || load + s->size > UINT64_C(1) << 32)
		return bad(source, error, "its header's addresses are empty or beyond 4 GiB");
	if (load < LOW_END && load + s->size > LOW_BEGIN)
		return bad(source, error, "it wants the memory below 192 KiB that the boot "
					  "information occupies");
	m->image.segment_count = 1;
	m->image.low = load;
	m->image.high = load + s->size;
	m->has_addresses = true;
	return true;
}

static bool finish(const struct loader_source *source, struct multiboot_image *m, GError **error)
{
	if (!m->has_addresses) {
		if (!elf_recognize(source))
			return bad(source, error, "it is no ELF file and its header has no addresses");
		if (!elf_parse(source, &m->image, error))
			return false;
		m->entry = m->entry ? m->entry : m->image.entry;
	}
	if (m->entry < m->image.low || m->entry >= m->image.high)
		return bad(source, error, "its entry point lies outside what it loads");
	return true;
}

static bool parse_1(const struct loader_source *source, struct multiboot_image *m, uint64_t at,
		    const uint8_t *h, uint64_t have, GError **error)
{
	uint32_t flags = le32_load(h + 4);
	m->version = 1;
	m->align_modules = flags & MB1_ALIGN;
	/* Bits 0 to 15 are requirements. */
	if (flags & 0xffff & ~(uint32_t)(MB1_ALIGN | MB1_MEMORY | MB1_VIDEO))
		return bad(source, error, "it requires features of an unknown multiboot version");
	if (flags & MB1_ADDRESSES) {
		if (have < 32)
			return bad(source, error, "its header is truncated");
		if (!from_addresses(source, m, at, h + 12, error))
			return false;
		m->entry = le32_load(h + 28);
	}
	return finish(source, m, error);
}

static bool parse_2_tags(const struct loader_source *source, struct multiboot_image *m,
			 uint64_t header_at, const uint8_t *h, uint64_t length, GError **error)
{
	for (uint64_t at = 16; range_fits(at, 8, length);) {
		unsigned type = le16_load(h + at);
		bool optional = le16_load(h + at + 2) & 1;
		uint32_t size = le32_load(h + at + 4);
		if (size < 8 || !range_fits(at, size, length))
			return bad(source, error, "a tag of its header has a wrong size");
		if (type == MB2_TAG_END)
			return true;
		if (type == MB2_TAG_ADDRESSES && size >= 24) {
			if (!from_addresses(source, m, header_at, h + at + 8, error))
				return false;
		} else if (type == MB2_TAG_ENTRY && size >= 12) {
			m->entry = le32_load(h + at + 8);
		} else if (type == MB2_TAG_ALIGN) {
			m->align_modules = true;
		} else if (type != MB2_TAG_REQUEST && type != MB2_TAG_CONSOLE &&
			   type != MB2_TAG_RELOCATABLE && !optional) {
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "the multiboot kernel '%s' requires header tag %u, which "
					 "Berth does not offer", source->name, type);
		}
		at = align_up(at + size, 8);
	}
	return bad(source, error, "its header has no end tag");
}

static bool parse_2(const struct loader_source *source, struct multiboot_image *m, uint64_t at,
		    const uint8_t *h, uint64_t have, GError **error)
{
	uint32_t length = le32_load(h + 8);
	m->version = 2;
	if (le32_load(h + 4) != 0)
		return bad(source, error, "it is for another architecture than i386");
	if (length < 16 || length > have)
		return bad(source, error, "its header is truncated");
	return parse_2_tags(source, m, at, h, length, error) && finish(source, m, error);
}

bool multiboot_parse(const struct loader_source *source, struct multiboot_image *m, GError **error)
{
	uint64_t have = MIN(source->size, MB2_SEARCH);
	g_autofree uint8_t *head = g_malloc(have + 1);
	*m = (struct multiboot_image){.image = {.low = UINT64_MAX}};
	if (!loader_source_read(source, 0, head, have, error))
		return false;
	for (uint64_t at = 0; range_fits(at, 12, have); at += 4) {
		const uint8_t *h = head + at;
		uint32_t magic = le32_load(h);
		if (magic == MB1_MAGIC && range_fits(at, 12, MB1_SEARCH) &&
		    (uint32_t)(magic + le32_load(h + 4) + le32_load(h + 8)) == 0)
			return parse_1(source, m, at, h, have - at, error);
		if (magic == MB2_MAGIC && at % 8 == 0 && range_fits(at, 16, have) &&
		    (uint32_t)(magic + le32_load(h + 4) + le32_load(h + 8) + le32_load(h + 12)) == 0)
			return parse_2(source, m, at, h, have - at, error);
	}
	return false;
}

/* Modules one after the other above the kernel, each on its own pages. */
static bool put_modules(const struct loader *loader, const struct loader_target *target,
			uint64_t floor, struct multiboot_module *modules, GError **error)
{
	uint64_t at = align_up(MAX(floor, MIB), 4096);
	for (unsigned i = 0; i < loader->initrd_count; i++) {
		const struct loader_source *s = loader->initrds[i];
		if (!range_fits(at, s->size, target->low_ram))
			return error_set(error, BERTH_ERR_INVALID,
					 "the module '%s' does not fit into the guest's memory: give "
					 "the VM at least %" PRIu64 " MiB (-m)", s->name,
					 align_up(at + s->size, 64 * MIB) / MIB);
		if (!loader_put_source(target, at, s, 0, s->size, error))
			return false;
		modules[i] = (struct multiboot_module){at, s->size, loader->initrd_texts[i]};
		at = align_up(at + s->size, 4096);
	}
	return true;
}

bool multiboot_put_info(const struct loader *loader, const struct loader_target *target,
			const struct multiboot_image *m, struct x86_state *state, GError **error)
{
	struct multiboot_module modules[LOADER_MODULES_MAX];
	if (!put_modules(loader, target, m->image.high, modules, error))
		return false;
	g_autoptr(GByteArray) info =
		m->version == 1
			? multiboot1_info(loader, target, modules, loader->initrd_count, LOW_INFO)
			: multiboot2_info(loader, target, modules, loader->initrd_count);
	if (info->len > LOW_END - LOW_INFO)
		return error_set(error, BERTH_ERR_INVALID,
				 "the command lines of '%s' and its modules have %u bytes, at most "
				 "%u fit: shorten -append or -initrd", loader->kernel_path, info->len,
				 LOW_END - LOW_INFO);
	if (!loader_put(target, LOW_INFO, info->data, info->len, error) ||
	    !loader_enter_32(target, state, m->entry, error))
		return false;
	state->gpr[X86_RAX] = m->version == 1 ? MB1_BOOT_MAGIC : MB2_BOOT_MAGIC;
	state->gpr[X86_RBX] = LOW_INFO;
	return true;
}
