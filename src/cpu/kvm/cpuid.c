/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID: what KVM can offer to guests, and giving a vCPU its leaves (api 4.20, 4.46). */
#include "base/error.h"
#include "base/fd.h"
#include "cpu/kvm/kvm_int.h"
#include "cpu/x86/cpuid.h"

#include <errno.h>

enum { ENTRIES_MAX = 256 };

struct entries {
	struct kvm_cpuid2 header;
	struct kvm_cpuid_entry2 room[ENTRIES_MAX];
};

static bool get_supported(int fd, struct entries *e, GError **error)
{
	e->header = (struct kvm_cpuid2){.nent = ENTRIES_MAX};
	if (kvm_ioctl(fd, KVM_GET_SUPPORTED_CPUID, e) < 0)
		return error_set_errno(error, errno, "KVM does not tell the supported CPU features");
	return true;
}

static struct kvm_cpuid_entry2 find(const struct entries *e, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < e->header.nent; i++)
		if (e->room[i].function == leaf && e->room[i].index == subleaf)
			return e->room[i];
	return (struct kvm_cpuid_entry2){0};
}

bool kvm_features(struct cpu_features *allowed, GError **error)
{
	g_autofree struct entries *e = g_new0(struct entries, 1);
	auto_fd fd = kvm_open(error);
	if (fd < 0 || !get_supported(fd, e, error))
		return false;
	uint32_t ecx1 = find(e, 1, 0).ecx;
	/*
	 * Not in the list, but emulated by the in-kernel local APIC that we always use: x2APIC and the
	 * TSC deadline timer (api 4.46). OSXSAVE and OSPKE show CR4, they are not features.
	 */
	ecx1 |= 1u << 21 | 1u << 31;
	if (kvm_capability(fd, KVM_CAP_TSC_DEADLINE_TIMER))
		ecx1 |= 1u << 24;
	ecx1 &= ~(1u << 27 | 1u << 3 /* MONITOR */);
	*allowed = (struct cpu_features){.word = {
		[CPU_WORD_1_ECX] = ecx1,
		[CPU_WORD_1_EDX] = find(e, 1, 0).edx,
		[CPU_WORD_7_0_EBX] = find(e, 7, 0).ebx,
		[CPU_WORD_7_0_ECX] = find(e, 7, 0).ecx & ~(1u << 4),
		[CPU_WORD_7_0_EDX] = find(e, 7, 0).edx,
		[CPU_WORD_7_1_EAX] = find(e, 7, 1).eax,
		[CPU_WORD_D_1_EAX] = find(e, 0xd, 1).eax,
		[CPU_WORD_80000001_ECX] = find(e, 0x80000001, 0).ecx,
		[CPU_WORD_80000001_EDX] = find(e, 0x80000001, 0).edx & ~UINT32_C(0x0183f3ff),
		/* Invariant TSC: the guest stays on this host, and KVM keeps the TSC's rate. */
		[CPU_WORD_80000007_EDX] = find(e, 0x80000007, 0).edx | 1u << 8,
		[CPU_WORD_80000008_EBX] = find(e, 0x80000008, 0).ebx,
		[CPU_WORD_80000021_EAX] = find(e, 0x80000021, 0).eax,
		[CPU_WORD_80000021_ECX] = find(e, 0x80000021, 0).ecx,
		[CPU_WORD_KVM] = find(e, 0x40000001, 0).eax,
		[CPU_WORD_6_EAX] = find(e, 6, 0).eax | 1u << 2 /* ARAT: the APIC timer never stops */,
	}};
	return true;
}

static unsigned host_phys_bits(const struct entries *supported)
{
	unsigned bits = find(supported, 0x80000008, 0).eax & 0xff;
	return bits ? bits : 36;
}

/* AMX's tile leaves and XSAVE's sizes are the host CPU's: ours must not differ. */
static void take_host_xsave(const struct entries *supported, struct kvm_cpuid_entry2 *to)
{
	struct kvm_cpuid_entry2 host = find(supported, to->function, to->index);
	if (to->index >= 2 && host.eax) {
		to->eax = host.eax;
		to->ebx = host.ebx;
		to->ecx = host.ecx;
	}
}

bool kvm_vcpu_set_cpuid(struct kvm_vcpu *v, GError **error)
{
	const struct vm_config *c = &v->vcpu->vm->config;
	g_autofree struct entries *supported = g_new0(struct entries, 1);
	g_autofree struct entries *e = g_new0(struct entries, 1);
	if (!c->cpu_model)
		return true; /* tests of the engine alone */
	if (!get_supported(v->kvm->kvm_fd, supported, error))
		return false;
	struct cpu_topology topology = {
		.sockets = MAX(c->sockets, 1),
		.dies = MAX(c->dies, 1),
		.cores = MAX(c->cores, 1),
		.threads = MAX(c->threads, 1),
		.phys_bits = c->phys_bits ? c->phys_bits : host_phys_bits(supported),
		.tsc_khz = v->kvm->tsc_khz,
	};
	g_autoptr(GArray) leaves = cpuid_build(c->cpu_model, &topology, v->vcpu->apic_id);
	g_assert(leaves->len <= ENTRIES_MAX);
	for (unsigned i = 0; i < leaves->len; i++) {
		const struct cpuid_leaf *l = &g_array_index(leaves, struct cpuid_leaf, i);
		e->room[i] = (struct kvm_cpuid_entry2){
			.function = l->leaf,
			.index = l->subleaf,
			.flags = l->has_subleaf ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = l->eax,
			.ebx = l->ebx,
			.ecx = l->ecx,
			.edx = l->edx,
		};
		if (l->leaf == 0xd)
			take_host_xsave(supported, &e->room[i]);
	}
	e->header.nent = leaves->len;
	if (kvm_ioctl(v->fd, KVM_SET_CPUID2, e) < 0)
		return error_set_errno(error, errno, "KVM refuses the CPU model for vCPU %u",
				       v->vcpu->index);
	return true;
}
