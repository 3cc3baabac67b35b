/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of vCPUs as ELF notes. Layouts: the kernel's elf_prstatus of x86-64, and QEMU's
 * CPU state, version 1 (target/i386/arch_dump.c), from which crash finds where a randomized kernel is.
 */
#include "machine/dump/dump_int.h"

#include "base/bytes.h"
#include "cpu/x86/state.h"

#include <elf.h>

enum {
	PRSTATUS_SIZE = 336, PRSTATUS_PID = 32, PRSTATUS_REGS = 112,
	QEMU_SIZE = 440, QEMU_VERSION = 1,
	R8 = 8, ORIG_RAX = -1,
};

static void put64(uint8_t **at, uint64_t value)
{
	le64_store(*at, value);
	*at += 8;
}

static void put32(uint8_t **at, uint32_t value)
{
	le32_store(*at, value);
	*at += 4;
}

/* Names and contents are padded to 4 bytes (gABI, "Note Section"); all of ours are whole words. */
static void add_note(struct dump *dump, const char *name, uint32_t type, const uint8_t *desc,
		     uint32_t length)
{
	static const uint8_t zeros[4];
	Elf64_Nhdr header = {GUINT32_TO_LE((uint32_t)strlen(name) + 1), GUINT32_TO_LE(length),
			     GUINT32_TO_LE(type)};
	g_byte_array_append(dump->notes, (const uint8_t *)&header, sizeof(header));
	g_byte_array_append(dump->notes, (const uint8_t *)name, strlen(name) + 1);
	g_byte_array_append(dump->notes, zeros, -(strlen(name) + 1) & 3);
	g_byte_array_append(dump->notes, desc, length);
}

/* The kernel's struct user_regs_struct. */
static void add_prstatus(struct dump *dump, unsigned index, const struct x86_state *s)
{
	static const int8_t order[] = {15, 14, 13, 12, X86_RBP, X86_RBX, 11, 10, 9, R8, X86_RAX, X86_RCX,
				       X86_RDX, X86_RSI, X86_RDI, ORIG_RAX};
	uint8_t desc[PRSTATUS_SIZE] = {0}, *at = desc + PRSTATUS_REGS;
	le32_store(desc + PRSTATUS_PID, index + 1);
	for (unsigned i = 0; i < sizeof(order); i++)
		put64(&at, order[i] == ORIG_RAX ? UINT64_MAX : s->gpr[order[i]]);
	put64(&at, s->rip);
	put64(&at, s->seg[X86_CS].selector);
	put64(&at, s->rflags);
	put64(&at, s->gpr[X86_RSP]);
	put64(&at, s->seg[X86_SS].selector);
	put64(&at, s->seg[X86_FS].base);
	put64(&at, s->seg[X86_GS].base);
	put64(&at, s->seg[X86_DS].selector);
	put64(&at, s->seg[X86_ES].selector);
	put64(&at, s->seg[X86_FS].selector);
	put64(&at, s->seg[X86_GS].selector);
	add_note(dump, "CORE", NT_PRSTATUS, desc, sizeof(desc));
}

static void put_segment(uint8_t **at, uint32_t selector, uint32_t limit, uint32_t attr, uint64_t base)
{
	put32(at, selector);
	put32(at, limit);
	put32(at, (attr & 0xf0ff) << 8); /* as in the descriptor's second word */
	put32(at, 0);
	put64(at, base);
}

static void add_system(struct dump *dump, const struct x86_state *s)
{
	static const uint8_t general[] = {X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RSP,
					  X86_RBP, 8, 9, 10, 11, 12, 13, 14, 15};
	static const uint8_t segments[] = {X86_CS, X86_DS, X86_ES, X86_FS, X86_GS, X86_SS, X86_LDTR, X86_TR};
	const uint64_t control[] = {s->cr0, 0, s->cr2, s->cr3, s->cr4};
	uint8_t desc[QEMU_SIZE], *at = desc;
	put32(&at, QEMU_VERSION);
	put32(&at, QEMU_SIZE);
	for (unsigned i = 0; i < sizeof(general); i++)
		put64(&at, s->gpr[general[i]]);
	put64(&at, s->rip);
	put64(&at, s->rflags);
	for (unsigned i = 0; i < sizeof(segments); i++) {
		const struct x86_segment *seg = &s->seg[segments[i]];
		put_segment(&at, seg->selector, seg->limit, seg->attr, seg->base);
	}
	put_segment(&at, 0, s->gdtr.limit, 0, s->gdtr.base);
	put_segment(&at, 0, s->idtr.limit, 0, s->idtr.base);
	for (unsigned i = 0; i < G_N_ELEMENTS(control); i++)
		put64(&at, control[i]);
	put64(&at, s->msr.kernel_gs_base);
	g_assert(at == desc + sizeof(desc));
	add_note(dump, "QEMU", 0, desc, sizeof(desc));
}

void dump_add_cpu(struct dump *dump, unsigned index, const struct x86_state *state)
{
	add_prstatus(dump, index, state);
	add_system(dump, state);
	dump->cpus++;
}
