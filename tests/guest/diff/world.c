/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "world.h"

#include "diff.h"

#include <string.h>

/* Page tables, guest-physical. */
enum {
	PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PT_DATA = 0x4000, PT_CODE = 0x5000,
	PT_SYS = 0x6000, PDPT_SYS = 0x7000, PD_SYS = 0x8000,
};

/* In the first system page; the second one is the handlers' stack. */
enum { GDT = 0, IDT = 0x200, TSS = 0x400, HANDLERS = 0x800, STACK_TOP = 0x2000, VECTORS = 32 };
enum {
	TSS_LIMIT = 104 + 32,
	TSS_SELECTOR = 0x38, KERNEL_CS = 0x08, USER_CS = 0x33, USER_SS = 0x2b,
	USER_CS32 = 0x23,
};

/*
 * Linear, in the kernel's half as on the host: whatever a case reaches below it must be absent on
 * both sides, or the P bit of its page fault differs.
 */
#define SYSTEM UINT64_C(0xffff800000000000)

static void put64(uint8_t *ram, uint64_t at, uint64_t value)
{
	memcpy(ram + at, &value, 8);
}

void world_set_code_writable(uint8_t *ram, bool writable)
{
	enum { P = 1, W = 2, U = 4 };
	for (unsigned i = 0; i < DIFF_CODE_PAGES; i++)
		put64(ram, PT_CODE + 8 * i,
		      (WORLD_CODE + 4096 * i) | P | (writable ? W : 0) | U);
}

static void build_tables(uint8_t *ram)
{
	enum { P = 1, W = 2, U = 4 };
	const uint64_t NX = UINT64_C(1) << 63; /* as on the host: a jump into data faults at once */
	put64(ram, PML4, PDPT | P | W | U);
	put64(ram, PDPT, PD | P | W | U);
	put64(ram, PD + 8 * (DIFF_DATA >> 21), PT_DATA | P | W | U);
	put64(ram, PD + 8 * (DIFF_CODE >> 21), PT_CODE | P | W | U);
	put64(ram, PML4 + 8 * (SYSTEM >> 39 & 511), PDPT_SYS | P | W);
	put64(ram, PDPT_SYS, PD_SYS | P | W);
	put64(ram, PD_SYS, PT_SYS | P | W);
	put64(ram, PT_DATA, WORLD_DATA | P | W | U | NX);
	put64(ram, PT_DATA + 8, (WORLD_DATA + 0x1000) | P | W | U | NX);
	put64(ram, PT_DATA + 16, (WORLD_DATA + 0x2000) | P | U | NX);
	world_set_code_writable(ram, false);
	put64(ram, PT_SYS, WORLD_SYSTEM | P | W);
	put64(ram, PT_SYS + 8, (WORLD_SYSTEM + 0x1000) | P | W);
}

static void build_gdt(uint8_t *gdt)
{
	put64(gdt, KERNEL_CS, UINT64_C(0x00af9b000000ffff));
	put64(gdt, 0x10, UINT64_C(0x00cf93000000ffff));
	put64(gdt, USER_CS32 & ~7, UINT64_C(0x00cffb000000ffff));
	put64(gdt, USER_SS & ~7, UINT64_C(0x00cff3000000ffff));
	put64(gdt, USER_CS & ~7, UINT64_C(0x00affb000000ffff));
	uint64_t base = SYSTEM + TSS;
	put64(gdt, TSS_SELECTOR, TSS_LIMIT | (base & 0xffffff) << 16 | UINT64_C(0x8b) << 40 |
				 (base >> 24 & 0xff) << 56);
	put64(gdt, TSS_SELECTOR + 8, base >> 32);
}

static void build_system(uint8_t *page)
{
	uint16_t bitmap = 104;
	build_gdt(page + GDT);
	put64(page, TSS + 4, SYSTEM + STACK_TOP);
	memcpy(page + TSS + 102, &bitmap, 2); /* the bitmap's zeros permit all ports it covers */
	page[TSS + TSS_LIMIT] = 0xff;
	for (unsigned k = 0; k < VECTORS; k++) {
		uint64_t handler = SYSTEM + HANDLERS + 16 * k;
		/* INT3, which fills the code pages, and INTO are open to CPL 3, as Linux has it. */
		uint64_t gate = k == X86_EXC_BP || k == X86_EXC_OF ? 0xee00 : 0x8e00;
		put64(page, IDT + 16 * k, (handler & 0xffff) | KERNEL_CS << 16 | gate << 32 |
					  (handler >> 16 & 0xffff) << 48);
		put64(page, IDT + 16 * k + 8, handler >> 32);
		page[HANDLERS + 16 * k] = 0xe6; /* out PORT, al */
		page[HANDLERS + 16 * k + 1] = WORLD_PORT;
	}
}

void world_build(uint8_t *ram)
{
	build_tables(ram);
	build_system(ram + WORLD_SYSTEM);
	for (unsigned i = 0; i < DIFF_DATA_PAGES * 4096; i++)
		ram[WORLD_DATA + i] = i * 7 + (i >> 8);
	memset(ram + WORLD_CODE, 0xcc, DIFF_CODE_PAGES * 4096);
	for (unsigned k = 0; k < DIFF_TARGETS * DIFF_SITES; k++) {
		uint64_t site = DIFF_CODE + DIFF_START + DIFF_SITE * (k / DIFF_TARGETS);
		uint64_t target = diff_target(site, k % DIFF_TARGETS);
		uint8_t *pad = ram + WORLD_CODE + (target - DIFF_CODE);
		pad[0] = 0xe6;
		pad[1] = WORLD_PORT;
	}
}

static struct x86_segment segment(uint16_t selector, uint32_t attr)
{
	return (struct x86_segment){ .selector = selector, .limit = 0xffffffff, .attr = attr };
}

enum {
	USER = X86_SEG_S | X86_SEG_P | X86_SEG_ACCESSED | X86_SEG_G | 3 << X86_SEG_DPL_SHIFT,
	USER_CODE = USER | X86_SEG_CODE | X86_SEG_READ | X86_SEG_L,
	USER_CODE32 = USER | X86_SEG_CODE | X86_SEG_READ | X86_SEG_DB,
	USER_DATA = USER | X86_SEG_WRITE | X86_SEG_DB,
};

void world_enter(struct soft_vcpu *c)
{
	g_autofree struct x86_state *s = g_new0(struct x86_state, 1);
	soft_state_get(c, s);
	s->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_PG;
	s->cr3 = PML4;
	s->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	s->efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NX;
	s->xcr0 = 7;
	s->seg[X86_CS] = segment(USER_CS, USER_CODE);
	static const enum x86_seg_index data[] = { X86_SS, X86_DS, X86_ES, X86_FS, X86_GS };
	for (unsigned i = 0; i < G_N_ELEMENTS(data); i++)
		s->seg[data[i]] = segment(USER_SS, USER_DATA);
	s->seg[X86_TR] = (struct x86_segment){ .selector = TSS_SELECTOR, .base = SYSTEM + TSS,
					       .limit = TSS_LIMIT, .attr = 0x8b };
	s->gdtr = (struct x86_table){ SYSTEM + GDT, 0x7f };
	s->idtr = (struct x86_table){ SYSTEM + IDT, VECTORS * 16 - 1 };
	s->rflags = 0x202;
	s->activity = X86_RUNNING;
	soft_state_set(c, s);
}

void world_return(struct soft_vcpu *c, bool bits32)
{
	c->s.seg[X86_CS] = bits32 ? segment(USER_CS32, USER_CODE32) : segment(USER_CS, USER_CODE);
	c->s.seg[X86_SS] = segment(USER_SS, USER_DATA);
	soft_mode_changed(c);
}

bool world_in_handler(const struct soft_vcpu *c, const uint8_t *ram, struct world_frame *frame)
{
	static const uint32_t has_error = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 |
					  1u << 14 | 1u << 17;
	if (c->s.rip < SYSTEM || c->s.rip >= SYSTEM + 0x1000)
		return false;
	frame->vector = (c->s.rip - SYSTEM - HANDLERS) / 16;
	const uint8_t *at = ram + WORLD_SYSTEM + (c->s.gpr[X86_RSP] - SYSTEM);
	frame->error = 0;
	if (has_error >> frame->vector & 1) {
		memcpy(&frame->error, at, 4);
		at += 8;
	}
	memcpy(&frame->rip, at, 8);
	memcpy(&frame->rflags, at + 16, 8);
	memcpy(&frame->rsp, at + 24, 8);
	return true;
}
