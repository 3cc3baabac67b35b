/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of CPUID feature bits, in CPUID order, spelled as QEMU's -cpu spells them. "_" and "-" are
 * the same in a name, and a few bits have a second spelling.
 */
#include "cpu/x86/cpuid.h"
#include "cpu/x86/cpuid_private.h"

#include <string.h>

const char *const cpuid_feature_table[CPU_WORD_COUNT][32] = {
	[CPU_WORD_1_EDX] = {
		"fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce",
		"cx8", "apic", NULL, "sep", "mtrr", "pge", "mca", "cmov",
		"pat", "pse36", "pn", "clflush", NULL, "ds", "acpi", "mmx",
		"fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe",
	},
	[CPU_WORD_1_ECX] = {
		"pni", "pclmulqdq", "dtes64", "monitor", "ds-cpl", "vmx", "smx", "est",
		"tm2", "ssse3", "cid", NULL, "fma", "cx16", "xtpr", "pdcm",
		NULL, "pcid", "dca", "sse4.1", "sse4.2", "x2apic", "movbe", "popcnt",
		"tsc-deadline", "aes", "xsave", NULL /* osxsave */, "avx", "f16c", "rdrand",
		"hypervisor",
	},
	[CPU_WORD_7_0_EBX] = {
		"fsgsbase", "tsc-adjust", "sgx", "bmi1", "hle", "avx2", NULL, "smep",
		"bmi2", "erms", "invpcid", "rtm", NULL, NULL, "mpx", NULL,
		"avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma", "pcommit",
		"clflushopt",
		"clwb", "intel-pt", "avx512pf", "avx512er", "avx512cd", "sha-ni", "avx512bw",
		"avx512vl",
	},
	[CPU_WORD_7_0_ECX] = {
		NULL, "avx512vbmi", "umip", "pku", NULL /* ospke */, "waitpkg", "avx512vbmi2", NULL,
		"gfni", "vaes", "vpclmulqdq", "avx512vnni", "avx512bitalg", NULL,
		"avx512-vpopcntdq", NULL,
		"la57", NULL, NULL, NULL, NULL, NULL, "rdpid", NULL,
		"bus-lock-detect", "cldemote", NULL, "movdiri", "movdir64b", NULL, "sgxlc", "pks",
	},
	[CPU_WORD_7_0_EDX] = {
		NULL, NULL, "avx512-4vnniw", "avx512-4fmaps", "fsrm", NULL, NULL, NULL,
		"avx512-vp2intersect", NULL, "md-clear", NULL, NULL, NULL, "serialize", NULL,
		"tsx-ldtrk", NULL, NULL, "arch-lbr", NULL, NULL, "amx-bf16", "avx512-fp16",
		"amx-tile", "amx-int8", "spec-ctrl", "stibp", "flush-l1d", "arch-capabilities",
		"core-capability", "ssbd",
	},
	[CPU_WORD_7_1_EAX] = {
		NULL, NULL, NULL, NULL, "avx-vnni", "avx512-bf16", NULL, "cmpccxadd",
		NULL, NULL, "fzrm", "fsrs", "fsrc", NULL, NULL, NULL,
		NULL, NULL, NULL, NULL, NULL, "amx-fp16", NULL, "avx-ifma",
	},
	[CPU_WORD_7_2_EDX] = { "psfd", "ipred-ctrl", "rrsba-ctrl", "ddpd-u", "bhi-ctrl", "mcdt-no" },
	[CPU_WORD_D_1_EAX] = { "xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd" },
	[CPU_WORD_80000001_EDX] = {
		[11] = "syscall", [19] = "mp", [20] = "nx", [22] = "mmxext", [25] = "fxsr-opt",
		[26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow",
	},
	[CPU_WORD_80000001_ECX] = {
		"lahf-lm", "cmp-legacy", "svm", "extapic", "cr8legacy", "abm", "sse4a",
		"misalignsse",
		"3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt", NULL, "lwp",
		"fma4", "tce", NULL, "nodeid-msr", NULL, "tbm", "topoext", "perfctr-core",
		"perfctr-nb",
	},
	[CPU_WORD_80000007_EDX] = { [8] = "invtsc" },
	[CPU_WORD_80000008_EBX] = {
		[0] = "clzero", [2] = "xsaveerptr", [9] = "wbnoinvd", [12] = "ibpb", [14] = "ibrs",
		[15] = "amd-stibp", [24] = "amd-ssbd", [25] = "virt-ssbd", [26] = "amd-no-ssb",
	},
	[CPU_WORD_80000021_EAX] = {
		[0] = "no-nested-data-bp", [2] = "lfence-always-serializing",
		[6] = "null-sel-clr-base", [8] = "auto-ibrs", [29] = "srso-no",
	},
	[CPU_WORD_80000021_ECX] = { [1] = "tsa-sq-no", [2] = "tsa-l1-no" },
	[CPU_WORD_KVM] = {
		[0] = "kvmclock", [1] = "kvm-nopiodelay", [2] = "kvm-mmu", [3] = "kvmclock2",
		[4] = "kvm-asyncpf", [5] = "kvm-steal-time", [6] = "kvm-pv-eoi",
		[7] = "kvm-pv-unhalt", [9] = "kvm-pv-tlb-flush", [11] = "kvm-pv-ipi",
		[12] = "kvm-poll-control", [13] = "kvm-pv-sched-yield", [14] = "kvm-asyncpf-int",
		[15] = "kvm-msi-ext-dest-id", [24] = "kvmclock-stable-bit",
	},
	[CPU_WORD_6_EAX] = { [2] = "arat" },
};

static const struct {
	const char *name, *canonical;
} feature_aliases[] = {
	{ "sse3", "pni" },      { "sse4-1", "sse4.1" }, { "sse4-2", "sse4.2" },
	{ "xd", "nx" },         { "ffxsr", "fxsr-opt" }, { "i64", "lm" },
	{ "lzcnt", "abm" },     { "sha", "sha-ni" },    { "pclmuldq", "pclmulqdq" },
	{ "svm-lock", NULL },   { "tsc-deadline-timer", "tsc-deadline" },
};

/* As names are compared: in small letters, with '-' for '_'. */
static char *plain_name(const char *name)
{
	char *plain = g_ascii_strdown(name, -1);
	g_strdelimit(plain, "_", '-');
	return plain;
}

/* Name -> 1 + word * 32 + bit; the first place of a name counts. */
static GHashTable *places_make(void)
{
	GHashTable *places = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	for (unsigned w = 0; w < CPU_WORD_COUNT; w++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			const char *known = cpuid_feature_table[w][bit];
			g_autofree char *name = known ? plain_name(known) : NULL;
			if (name && !g_hash_table_contains(places, name))
				g_hash_table_insert(places, g_steal_pointer(&name),
						    GUINT_TO_POINTER(1 + w * 32 + bit));
		}
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(feature_aliases); i++) {
		const char *canonical = feature_aliases[i].canonical;
		void *place = canonical ? g_hash_table_lookup(places, canonical) : NULL;
		/* An alias wins over a name. */
		if (canonical)
			g_hash_table_insert(places, plain_name(feature_aliases[i].name), place);
	}
	return places;
}

bool cpu_feature_find(const char *name, enum cpu_feature_word *word, uint32_t *mask)
{
	/* Computed from constant tables, once: not state. */
	static gsize places;
	if (g_once_init_enter(&places))
		g_once_init_leave(&places, (gsize)places_make());
	g_autofree char *plain = plain_name(name);
	unsigned place = GPOINTER_TO_UINT(g_hash_table_lookup((GHashTable *)places, plain));
	*mask = 0;
	if (!place)
		return false;
	*word = (place - 1) / 32;
	*mask = UINT32_C(1) << (place - 1) % 32;
	/* "kvmclock" is both generations of the clock's MSRs. */
	if (*word == CPU_WORD_KVM && *mask == 1)
		*mask |= 1 << 3;
	return true;
}

/* CPUID order: by leaf, then EAX, EBX, ECX, EDX, which is not the order of the enum. */
static const enum cpu_feature_word name_order[] = {
	CPU_WORD_1_EDX, CPU_WORD_1_ECX, CPU_WORD_6_EAX, CPU_WORD_7_0_EBX, CPU_WORD_7_0_ECX,
	CPU_WORD_7_0_EDX, CPU_WORD_7_1_EAX, CPU_WORD_7_2_EDX, CPU_WORD_D_1_EAX, CPU_WORD_80000001_ECX,
	CPU_WORD_80000001_EDX, CPU_WORD_80000007_EDX, CPU_WORD_80000008_EBX, CPU_WORD_80000021_EAX,
	CPU_WORD_80000021_ECX, CPU_WORD_KVM,
};
G_STATIC_ASSERT(G_N_ELEMENTS(name_order) == CPU_WORD_COUNT);

static const char **feature_names_make(void)
{
	const char **names = g_new0(const char *, CPU_WORD_COUNT * 32 + 1);
	unsigned count = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(name_order); i++)
		for (unsigned bit = 0; bit < 32; bit++)
			if (cpuid_feature_table[name_order[i]][bit])
				names[count++] = cpuid_feature_table[name_order[i]][bit];
	return names;
}

const char *const *cpu_feature_names(void)
{
	/* Computed from a constant table, once: not state. */
	static gsize names;
	if (g_once_init_enter(&names))
		g_once_init_leave(&names, (gsize)feature_names_make());
	return (const char *const *)names;
}

GPtrArray *cpu_feature_list(const struct cpu_features *set)
{
	GPtrArray *names = g_ptr_array_new();
	for (unsigned i = 0; i < G_N_ELEMENTS(name_order); i++) {
		uint32_t bits = set->word[name_order[i]];
		/* "kvmclock" is both generations of the clock's MSRs. */
		if (name_order[i] == CPU_WORD_KVM && bits & 1 << 3)
			bits |= 1;
		for (unsigned bit = 0; bit < 32; bit++) {
			const char *name = cpuid_feature_table[name_order[i]][bit];
			if (bits >> bit & 1 && name)
				g_ptr_array_add(names, (char *)name);
		}
	}
	return names;
}
