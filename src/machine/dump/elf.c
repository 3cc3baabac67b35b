/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An ELF core file. Spec: System V gABI 4.1, chapters 4 and 5. */
#include "machine/dump/dump_int.h"

#include "base/units.h"

#include <elf.h>

static bool put_headers(struct dump *dump, uint64_t notes_at, GError **error)
{
	Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
		.e_phoff = sizeof(header), .e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = dump->ranges->len + 1,
	};
	Elf64_Phdr notes = {.p_type = PT_NOTE, .p_offset = notes_at, .p_filesz = dump->notes->len,
			    .p_memsz = dump->notes->len};
	return dump_put(dump, &header, sizeof(header), error) && dump_put(dump, &notes, sizeof(notes), error);
}

/* Addresses are physical: without paging=on, a segment's virtual address means nothing. */
static bool put_segments(struct dump *dump, uint64_t at, GError **error)
{
	for (unsigned i = 0; i < dump->ranges->len; i++) {
		const struct dump_range *range = &g_array_index(dump->ranges, struct dump_range, i);
		Elf64_Phdr segment = {.p_type = PT_LOAD, .p_offset = at, .p_paddr = range->base,
				      .p_vaddr = range->base, .p_filesz = range->size,
				      .p_memsz = range->size};
		if (!dump_put(dump, &segment, sizeof(segment), error))
			return false;
		at += range->size;
	}
	return true;
}

bool dump_write_elf(struct dump *dump, GError **error)
{
	uint64_t notes_at = sizeof(Elf64_Ehdr) + (dump->ranges->len + 1) * sizeof(Elf64_Phdr);
	if (!put_headers(dump, notes_at, error) ||
	    !put_segments(dump, notes_at + dump->notes->len, error) ||
	    !dump_put(dump, dump->notes->data, dump->notes->len, error))
		return false;
	for (unsigned i = 0; i < dump->ranges->len; i++) {
		const struct dump_range *range = &g_array_index(dump->ranges, struct dump_range, i);
		for (uint64_t at = 0; at < range->size;) {
			uint64_t piece = MIN(range->size - at, MIB);
			if (!dump_put(dump, range->host + at, piece, error) ||
			    !dump_progress(dump, piece, error))
				return false;
			at += piece;
		}
	}
	return true;
}
