/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host's own CPUID instruction says. Slow under a hypervisor: start-up only. */
#include "cpu/x86/cpuid_private.h"

#include <cpuid.h>
#include <string.h>

struct regs {
	uint32_t eax, ebx, ecx, edx;
};

static struct regs query(uint32_t leaf, uint32_t subleaf)
{
	struct regs r = { 0 };
	if (leaf <= __get_cpuid_max(leaf & 0x80000000, NULL))
		__cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
	return r;
}

void cpu_features_host(struct cpu_features *features)
{
	struct regs leaf1 = query(1, 0), leaf7 = query(7, 0), ext1 = query(0x80000001, 0);
	struct regs hv = { 0 };

	if (leaf1.ecx & 1u << 31)
		__cpuid(0x40000000, hv.eax, hv.ebx, hv.ecx, hv.edx);
	*features = (struct cpu_features){ .word = {
		[CPU_WORD_1_ECX] = leaf1.ecx & ~(1u << 27), /* OSXSAVE is not a feature */
		[CPU_WORD_1_EDX] = leaf1.edx,
		[CPU_WORD_7_0_EBX] = leaf7.ebx,
		[CPU_WORD_7_0_ECX] = leaf7.ecx & ~(1u << 4), /* nor is OSPKE */
		[CPU_WORD_7_0_EDX] = leaf7.edx,
		[CPU_WORD_7_1_EAX] = leaf7.eax >= 1 ? query(7, 1).eax : 0,
		[CPU_WORD_7_2_EDX] = leaf7.eax >= 2 ? query(7, 2).edx : 0,
		[CPU_WORD_D_1_EAX] = leaf1.ecx & 1 << 26 ? query(0xd, 1).eax : 0,
		[CPU_WORD_80000001_ECX] = ext1.ecx,
		/* AMD repeats leaf 1 here; those bits are set again by cpuid_build(). */
		[CPU_WORD_80000001_EDX] = ext1.edx & ~UINT32_C(0x0183f3ff),
		[CPU_WORD_80000007_EDX] = query(0x80000007, 0).edx,
		[CPU_WORD_80000008_EBX] = query(0x80000008, 0).ebx,
		[CPU_WORD_80000021_EAX] = query(0x80000021, 0).eax,
		[CPU_WORD_80000021_ECX] = query(0x80000021, 0).ecx,
		[CPU_WORD_6_EAX] = query(6, 0).eax,
	} };
	if (hv.eax >= 0x40000001 && hv.ebx == 0x4b4d564b /* "KVMK" */) {
		struct regs kvm;
		__cpuid(0x40000001, kvm.eax, kvm.ebx, kvm.ecx, kvm.edx);
		features->word[CPU_WORD_KVM] = kvm.eax;
	}
}

void cpuid_host_identity(struct cpu_model *model)
{
	struct regs leaf0 = query(0, 0), leaf1 = query(1, 0);

	memcpy(model->vendor, &leaf0.ebx, 4);
	memcpy(model->vendor + 4, &leaf0.edx, 4);
	memcpy(model->vendor + 8, &leaf0.ecx, 4);
	model->vendor[12] = 0;
	model->family = leaf1.eax >> 8 & 0xf;
	model->model = leaf1.eax >> 4 & 0xf;
	model->stepping = leaf1.eax & 0xf;
	if (model->family == 15)
		model->family += leaf1.eax >> 20 & 0xff;
	if (model->family == 6 || model->family >= 15)
		model->model |= leaf1.eax >> 12 & 0xf0;
	for (unsigned i = 0; i < 3; i++) {
		struct regs brand = query(0x80000002 + i, 0);
		memcpy(model->model_id + i * 16, &brand, 16);
	}
	model->model_id[48] = 0;
}

void cpuid_age_identity(struct cpu_model *model, const struct cpu_features *allowed)
{
	const uint32_t avx512f = UINT32_C(1) << 16;
	struct cpu_features host;

	cpu_features_host(&host);
	if (!(host.word[CPU_WORD_7_0_EBX] & ~allowed->word[CPU_WORD_7_0_EBX] & avx512f))
		return;
	if (!strcmp(model->vendor, "GenuineIntel")) {
		model->family = 6;
		model->model = 60;
		model->stepping = 4;
	} else if (!strcmp(model->vendor, "AuthenticAMD")) {
		model->family = 25;
		model->model = 1;
		model->stepping = 1;
	}
}
