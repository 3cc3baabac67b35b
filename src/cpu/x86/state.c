/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What RESET and INIT leave behind (SDM vol. 3, table 9-1 "IA-32 and Intel 64 Processor States"). */
#include "cpu/x86/state.h"

#include "base/bytes.h"

#include <string.h>

enum {
	RESET_CR0 = X86_CR0_ET | X86_CR0_NW | X86_CR0_CD,
	RESET_FCW = 0x0040,
	RESET_MXCSR = 0x1f80,
	FX_FCW = 0, FX_FTW = 4, FX_MXCSR = 24, /* offsets in the FXSAVE image */
	DATA_ATTR = X86_SEG_P | X86_SEG_S | X86_SEG_WRITE | X86_SEG_ACCESSED,
	CODE_ATTR = DATA_ATTR | X86_SEG_CODE,
	LDT_ATTR = X86_SEG_P | 2, BUSY_TSS_ATTR = X86_SEG_P | 11,
};

/* Register offsets in the xAPIC page whose reset value is not zero (SDM vol. 3, 11.4.7.1). */
static void lapic_page_reset(uint8_t page[0x400])
{
	memset(page, 0, 0x400);
	le32_store(page + 0x30, 0x00050014); /* version 0x14, six LVT entries */
	le32_store(page + 0xe0, 0xffffffff); /* DFR: flat */
	le32_store(page + 0xf0, 0xff);       /* SVR: disabled */
	for (unsigned lvt = 0x320; lvt <= 0x370; lvt += 0x10)
		le32_store(page + lvt, 1 << 16); /* masked */
}

static void registers_init(struct x86_state *s, bool boot_processor)
{
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[X86_RDX] = 0x600; /* a family-6 processor; the engine may put CPUID's value here */
	s->rip = 0xfff0;
	s->rflags = 2;
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = (struct x86_segment){ .limit = 0xffff, .attr = DATA_ATTR };
	s->seg[X86_CS].selector = 0xf000;
	s->seg[X86_CS].base = 0xffff0000;
	s->seg[X86_CS].attr = CODE_ATTR;
	s->seg[X86_LDTR].attr = LDT_ATTR;
	s->seg[X86_TR].attr = BUSY_TSS_ATTR;
	s->gdtr = s->idtr = (struct x86_table){ .limit = 0xffff };
	s->cr2 = s->cr3 = s->cr4 = s->cr8 = 0;
	s->efer = 0;
	memset(s->dr, 0, sizeof(s->dr));
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
	s->activity = boot_processor ? X86_RUNNING : X86_WAIT_SIPI;
	memset(&s->events, 0, sizeof(s->events));
}

static void msrs_reset(struct x86_msrs *m, bool boot_processor)
{
	memset(m, 0, sizeof(*m));
	m->apic_base = 0xfee00000 | 1 << 11 | (boot_processor ? 1 << 8 : 0);
	m->pat = UINT64_C(0x0007040600070406);
	m->misc_enable = 1; /* fast strings */
}

void x86_state_reset(struct x86_state *state, bool boot_processor)
{
	registers_init(state, boot_processor);
	state->cr0 = RESET_CR0;
	state->xcr0 = 1;
	state->tsc = 0;
	msrs_reset(&state->msr, boot_processor);
	memset(&state->fpu, 0, sizeof(state->fpu));
	le16_store(state->fpu.legacy + FX_FCW, RESET_FCW);
	state->fpu.legacy[FX_FTW] = 0xff; /* the registers hold +0.0, they are not empty */
	le32_store(state->fpu.legacy + FX_MXCSR, RESET_MXCSR);
	state->fpu.header[0] = 3; /* XSTATE_BV: x87 and SSE are in the image */
	lapic_page_reset(state->lapic);
}

void x86_state_init(struct x86_state *state, bool boot_processor)
{
	uint64_t cache_bits = state->cr0 & (X86_CR0_CD | X86_CR0_NW);
	uint8_t apic_id[4];

	registers_init(state, boot_processor);
	state->cr0 = X86_CR0_ET | cache_bits;
	memcpy(apic_id, state->lapic + 0x20, sizeof(apic_id));
	lapic_page_reset(state->lapic);
	memcpy(state->lapic + 0x20, apic_id, sizeof(apic_id));
}
