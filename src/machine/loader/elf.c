/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ELF kernels: program headers of ELF32 and ELF64 (System V ABI, chapter 5), and the note by which
 * a kernel offers a PVH entry (Xen's public elfnote.h: name "Xen", type 18).
 */
#include "machine/loader/loader_int.h"

#include <elf.h>
#include <inttypes.h>

enum { NOTE_PVH_ENTRY = 18, NOTES_MAX = 64 * 1024, HEADERS_MAX = 256 };

/* One program header, whatever the class. */
struct header {
	uint32_t type;
	uint64_t offset, vaddr, paddr, file_size, memory_size;
};

bool elf_recognize(const struct loader_source *source)
{
	uint8_t ident[EI_NIDENT];
	return source->size >= sizeof(Elf32_Ehdr) &&
	       loader_source_read(source, 0, ident, sizeof(ident), NULL) &&
	       memcmp(ident, ELFMAG, SELFMAG) == 0;
}

static bool bad(const struct loader_source *source, GError **error, const char *why)
{
	return error_set(error, BERTH_ERR_INVALID, "the kernel '%s' is not usable: %s", source->name,
			 why);
}

struct table {
	uint64_t offset;
	unsigned count, size;
};

static bool parse_header(const struct loader_source *source, struct elf_image *image,
			 struct table *table, GError **error)
{
	union {
		Elf32_Ehdr narrow;
		Elf64_Ehdr wide;
	} e = {0};
	uint64_t have = MIN(source->size, sizeof(e));
	if (!loader_source_read(source, 0, &e, have, error))
		return false;
	image->wide = e.narrow.e_ident[EI_CLASS] == ELFCLASS64;
	if (image->wide ? have < sizeof(e.wide) : e.narrow.e_ident[EI_CLASS] != ELFCLASS32)
		return bad(source, error, "its ELF header is truncated or of an unknown class");
	if (e.narrow.e_ident[EI_DATA] != ELFDATA2LSB)
		return bad(source, error, "it is a big-endian ELF file");
	unsigned machine = e.narrow.e_machine, type = e.narrow.e_type;
	if (machine != EM_386 && machine != EM_X86_64)
		return bad(source, error, "it is an ELF file for another processor than x86");
	if (type != ET_EXEC && type != ET_DYN)
		return bad(source, error, "it is an ELF file, but not an executable one");
	if (image->wide) {
		image->entry = e.wide.e_entry;
		*table = (struct table){e.wide.e_phoff, e.wide.e_phnum, e.wide.e_phentsize};
	} else {
		image->entry = e.narrow.e_entry;
		*table = (struct table){e.narrow.e_phoff, e.narrow.e_phnum, e.narrow.e_phentsize};
	}
	if (table->size != (image->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) ||
	    table->count == 0 || table->count > HEADERS_MAX)
		return bad(source, error, "its ELF program header table is absent or malformed");
	return true;
}

static bool read_program_header(const struct loader_source *source, bool wide,
				const struct table *table, unsigned i, struct header *h,
				GError **error)
{
	uint64_t offset;
	if (__builtin_add_overflow(table->offset, (uint64_t)i * table->size, &offset))
		return bad(source, error, "its ELF program header table is outside the file");
	if (wide) {
		Elf64_Phdr p;
		if (!loader_source_read(source, offset, &p, sizeof(p), error))
			return false;
		*h = (struct header){p.p_type, p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz};
	} else {
		Elf32_Phdr p;
		if (!loader_source_read(source, offset, &p, sizeof(p), error))
			return false;
		*h = (struct header){p.p_type, p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz};
	}
	return true;
}

static bool add_segment(const struct loader_source *source, struct elf_image *image,
			const struct header *h, GError **error)
{
	uint64_t end;
	if (h->memory_size == 0)
		return true;
	if (image->segment_count == ELF_SEGMENTS_MAX)
		return bad(source, error, "it has more than 64 loadable segments");
	if (h->file_size > h->memory_size || !range_fits(h->offset, h->file_size, source->size))
		return bad(source, error, "it is truncated: a segment lies outside the file; "
					  "copy or install it again");
	if (__builtin_add_overflow(h->paddr, h->memory_size, &end) || end > UINT64_C(1) << 32)
		return bad(source, error, "a segment wants to be loaded above 4 GiB");
	if (h->paddr < LOW_END && end > LOW_BEGIN)
		return bad(source, error, "a segment wants the memory below 192 KiB that the boot "
					  "protocol's structures occupy");
	image->segments[image->segment_count++] = (struct elf_segment){
		.offset = h->offset, .file_size = h->file_size, .address = h->paddr,
		.size = h->memory_size};
	image->low = MIN(image->low, h->paddr);
	image->high = MAX(image->high, end);
	return true;
}

/* Notes are name size, descriptor size, type, then both padded to 4 bytes. */
static bool scan_notes(const struct loader_source *source, struct elf_image *image,
		       const struct header *h, GError **error)
{
	uint64_t length = h->file_size;
	if (length > NOTES_MAX)
		return true; /* nobody's notes are that long: ignore them as the kernel may do without */
	g_autofree uint8_t *notes = g_malloc(length + 1);
	if (!loader_source_read(source, h->offset, notes, length, error))
		return false;
	for (uint64_t at = 0; range_fits(at, 12, length);) {
		uint32_t name_size = le32_load(notes + at), size = le32_load(notes + at + 4);
		uint32_t type = le32_load(notes + at + 8);
		uint64_t name = at + 12, value = name + align_up(name_size, 4);
		if (!range_fits(name, name_size, length) || !range_fits(value, size, length))
			return true; /* damaged or of another alignment: there is no entry in it */
		if (type == NOTE_PVH_ENTRY && name_size == 4 && memcmp(notes + name, "Xen", 4) == 0 &&
		    (size == 4 || size == 8)) {
			image->has_pvh = true;
			image->pvh_entry = le_load(notes + value, size);
		}
		at = value + align_up(size, 4);
	}
	return true;
}

static bool inside(const struct elf_image *image, uint64_t address)
{
	for (unsigned i = 0; i < image->segment_count; i++)
		if (address - image->segments[i].address < image->segments[i].size)
			return true;
	return false;
}

bool elf_parse(const struct loader_source *source, struct elf_image *image, GError **error)
{
	struct table table = {0};
	struct header h = {0};
	*image = (struct elf_image){.low = UINT64_MAX};
	if (!parse_header(source, image, &table, error))
		return false;
	/* Entry points of kernels are physical, but some give the linked address. */
	bool translated = false;
	uint64_t physical = image->entry;
	for (unsigned i = 0; i < table.count; i++) {
		if (!read_program_header(source, image->wide, &table, i, &h, error))
			return false;
		if (h.type == PT_LOAD) {
			if (!add_segment(source, image, &h, error))
				return false;
			if (!translated && image->entry - h.vaddr < h.memory_size) {
				physical = image->entry - h.vaddr + h.paddr;
				translated = true;
			}
		} else if (h.type == PT_NOTE && !scan_notes(source, image, &h, error)) {
			return false;
		}
	}
	if (!image->segment_count)
		return bad(source, error, "it has no loadable segment");
	if (!inside(image, image->entry))
		image->entry = physical;
	if (!inside(image, image->entry) && !image->has_pvh)
		return bad(source, error, "its entry point lies outside what it loads");
	if (image->has_pvh && !inside(image, image->pvh_entry))
		return bad(source, error, "its PVH entry point lies outside what it loads");
	return true;
}

bool elf_put(const struct loader_target *target, const struct loader_source *source,
	     const struct elf_image *image, GError **error)
{
	if (!loader_check_fits(target, source->name, image->high, error))
		return false;
	for (unsigned i = 0; i < image->segment_count; i++) {
		const struct elf_segment *s = &image->segments[i];
		if (!loader_put_source(target, s->address, source, s->offset, s->file_size, error) ||
		    !loader_put_zero(target, s->address + s->file_size, s->size - s->file_size,
				     error))
			return false;
	}
	return true;
}
