/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU in words, for error messages. */
#include "cpu/kvm/kvm_int.h"

#include <inttypes.h>

static void dump_registers(GString *t, const struct kvm_regs *r)
{
	const uint64_t v[] = {r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rsp, r->rbp,
			      r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15,
			      r->rip, r->rflags};
	static const char names[][4] = {"RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RSP", "RBP", "R8",
					"R9", "R10", "R11", "R12", "R13", "R14", "R15", "RIP", "RFL"};
	for (unsigned i = 0; i < G_N_ELEMENTS(v); i++)
		g_string_append_printf(t, "%-3s %016" PRIx64 "%c", names[i], v[i],
				       i % 4 == 3 || i == 17 ? '\n' : ' ');
}

static void dump_segment(GString *t, const char *name, const struct kvm_segment *s)
{
	g_string_append_printf(t, "%-3s %04x base %016" PRIx64 " limit %08x%s%s%s dpl %u\n", name,
			       s->selector, (uint64_t)s->base, s->limit, s->l ? " 64-bit" : "",
			       s->db ? " 32-bit" : "", s->unusable ? " unusable" : "", s->dpl);
}

/* The 16 bytes at RIP, through the guest's own page tables. */
static void dump_code(GString *t, struct kvm_vcpu *v, uint64_t linear)
{
	g_string_append(t, "code:");
	for (unsigned i = 0; i < 16; i++) {
		struct kvm_translation at = {.linear_address = linear + i};
		uint8_t byte;
		if (kvm_ioctl(v->fd, KVM_TRANSLATE, &at) < 0 || !at.valid ||
		    !space_dma_read(v->kvm->vm->memory, at.physical_address, &byte, 1)) {
			g_string_append(t, " ??");
			break;
		}
		g_string_append_printf(t, " %02x", byte);
	}
}

char *kvm_dump(struct kvm_vcpu *v)
{
	GString *t = g_string_new(NULL);
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	if (kvm_ioctl(v->fd, KVM_GET_REGS, &regs) < 0 ||
	    kvm_ioctl(v->fd, KVM_GET_SREGS, &sregs) < 0)
		return g_string_free(g_string_assign(t, "(no registers)"), FALSE);
	dump_registers(t, &regs);
	dump_segment(t, "CS", &sregs.cs);
	dump_segment(t, "SS", &sregs.ss);
	dump_segment(t, "DS", &sregs.ds);
	dump_segment(t, "TR", &sregs.tr);
	g_string_append_printf(t, "CR0 %08" PRIx64 " CR2 %016" PRIx64 " CR3 %016" PRIx64
				  " CR4 %08" PRIx64 " EFER %" PRIx64 "\n",
			       (uint64_t)sregs.cr0, (uint64_t)sregs.cr2, (uint64_t)sregs.cr3,
			       (uint64_t)sregs.cr4, (uint64_t)sregs.efer);
	dump_code(t, v, sregs.cs.base + regs.rip);
	return g_string_free(t, FALSE);
}
