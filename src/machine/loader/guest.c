/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory and the first state of the boot processor. */
#include "machine/loader/loader_int.h"

#include "cpu/x86/state.h"
#include "vm/space.h"

#include <inttypes.h>

/* Guest RAM at `addr`, as much as is contiguous; an error where there is none. */
static void *map(const struct loader_target *target, uint64_t addr, uint64_t *length,
		 GError **error)
{
	void *host = space_dma_map(target->memory, addr, length, true);
	if (!host || *length == 0) {
		error_set(error, BERTH_ERR_INVALID,
			  "there is no guest memory at 0x%" PRIx64
			  ": give the VM more memory (-m)", addr);
		return NULL;
	}
	return host;
}

bool loader_put(const struct loader_target *target, uint64_t addr, const void *data,
		uint64_t length, GError **error)
{
	const uint8_t *p = data;
	while (length) {
		uint64_t n = length;
		void *host = map(target, addr, &n, error);
		if (!host)
			return false;
		memcpy(host, p, n);
		space_note_write(target->memory, addr, n);
		p += n;
		addr += n;
		length -= n;
	}
	return true;
}

bool loader_put_zero(const struct loader_target *target, uint64_t addr, uint64_t length,
		     GError **error)
{
	while (length) {
		uint64_t n = length;
		void *host = map(target, addr, &n, error);
		if (!host)
			return false;
		memset(host, 0, n);
		space_note_write(target->memory, addr, n);
		addr += n;
		length -= n;
	}
	return true;
}

bool loader_put_source(const struct loader_target *target, uint64_t addr,
		       const struct loader_source *source, uint64_t offset, uint64_t length,
		       GError **error)
{
	while (length) {
		uint64_t n = length;
		void *host = map(target, addr, &n, error);
		if (!host) {
			g_prefix_error(error, "'%s' does not fit: ", source->name);
			return false;
		}
		if (!loader_source_read(source, offset, host, n, error))
			return false;
		space_note_write(target->memory, addr, n);
		addr += n;
		offset += n;
		length -= n;
	}
	return true;
}

bool loader_check_fits(const struct loader_target *target, const char *kernel, uint64_t end,
		       GError **error)
{
	if (end <= target->low_ram)
		return true;
	return error_set(error, BERTH_ERR_INVALID,
			 "the kernel '%s' does not fit into the guest's memory: give the VM at least "
			 "%" PRIu64 " MiB (-m)", kernel, align_up(end, 16 * MIB) / MIB);
}

uint64_t loader_place_high(const struct loader_target *target, uint64_t length, uint64_t floor,
			   uint64_t limit, const char *what, GError **error)
{
	uint64_t end = align_down(MIN(limit, target->low_ram), 4096);
	if (length <= end && align_down(end - length, 4096) >= floor)
		return align_down(end - length, 4096);
	g_autofree char *size = units_format_size(length);
	/* Suggest what would do: the next multiple of 64 MiB. */
	uint64_t needed = align_up(floor + length + 16 * MIB, 64 * MIB);
	error_set(error, BERTH_ERR_INVALID,
		  "'%s' (%s) does not fit into the guest's memory beside the kernel: give the VM at "
		  "least %" PRIu64 " MiB (-m)", what, size, needed / MIB);
	return 0;
}

/*
 * The Linux boot protocol names selectors 0x10 and 0x18; PVH and multiboot want flat segments and
 * do not care about the numbers.
 */
enum { SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18, SELECTOR_TSS = 0x20 };
enum { ATTR_CODE32 = 0xc09b, ATTR_CODE64 = 0xa09b, ATTR_DATA = 0xc093, ATTR_TSS = 0x008b };

static uint64_t descriptor(uint32_t attr, uint32_t limit)
{
	return (uint64_t)(limit & 0xffff) | (uint64_t)(attr & 0xf0ff) << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48;
}

static bool enter(const struct loader_target *target, struct x86_state *state, uint32_t code,
		  uint64_t entry, GError **error)
{
	uint64_t gdt[5] = {0};
	gdt[SELECTOR_CODE / 8] = htole64(descriptor(code, 0xfffff));
	gdt[SELECTOR_DATA / 8] = htole64(descriptor(ATTR_DATA, 0xfffff));
	gdt[SELECTOR_TSS / 8] = htole64(descriptor(ATTR_TSS, 0x67));
	if (!loader_put(target, LOW_GDT, gdt, sizeof(gdt), error))
		return false;

	state->gdtr = (struct x86_table){.base = LOW_GDT, .limit = sizeof(gdt) - 1};
	state->idtr = (struct x86_table){0};
	for (unsigned i = X86_ES; i <= X86_GS; i++)
		state->seg[i] = (struct x86_segment){
			.limit = UINT32_MAX, .selector = i == X86_CS ? SELECTOR_CODE : SELECTOR_DATA,
			.attr = i == X86_CS ? code : ATTR_DATA};
	state->seg[X86_TR] =
		(struct x86_segment){.limit = 0x67, .selector = SELECTOR_TSS, .attr = ATTR_TSS};
	state->seg[X86_LDTR] = (struct x86_segment){.attr = X86_SEG_UNUSABLE};
	memset(state->gpr, 0, sizeof(state->gpr));
	state->rip = entry;
	state->rflags = 2;
	state->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE;
	state->cr3 = 0;
	state->cr4 = 0;
	state->efer = 0;
	state->activity = X86_RUNNING;
	return true;
}

bool loader_enter_32(const struct loader_target *target, struct x86_state *state, uint64_t entry,
		     GError **error)
{
	return enter(target, state, ATTR_CODE32, entry, error);
}

/* 4 GiB in 2 MiB pages, present and writable. */
static bool put_page_tables(const struct loader_target *target, GError **error)
{
	enum { FLAGS = 0x03, LARGE = 0x80 };
	uint64_t page[512] = {0};
	uint64_t pml4 = LOW_PAGE_TABLES, pdpt = pml4 + 4096, directory = pdpt + 4096;
	page[0] = htole64(pdpt | FLAGS);
	if (!loader_put(target, pml4, page, sizeof(page), error))
		return false;
	for (unsigned i = 0; i < 4; i++)
		page[i] = htole64((directory + i * 4096) | FLAGS);
	if (!loader_put(target, pdpt, page, sizeof(page), error))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned k = 0; k < 512; k++)
			page[k] = htole64((uint64_t)(i * 512 + k) << 21 | LARGE | FLAGS);
		if (!loader_put(target, directory + i * 4096, page, sizeof(page), error))
			return false;
	}
	return true;
}

bool loader_enter_64(const struct loader_target *target, struct x86_state *state, uint64_t entry,
		     GError **error)
{
	if (!put_page_tables(target, error) || !enter(target, state, ATTR_CODE64, entry, error))
		return false;
	state->cr3 = LOW_PAGE_TABLES;
	state->cr4 = X86_CR4_PAE;
	state->efer = X86_EFER_LME | X86_EFER_LMA;
	state->cr0 |= X86_CR0_PG;
	return true;
}
