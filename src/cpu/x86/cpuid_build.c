/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a model and a topology to the leaves of CPUID (SDM vol. 2, CPUID; AMD APM vol. 3, appendix
 * E; the hypervisor range as Documentation/virt/kvm/x86/cpuid.rst of Linux describes it).
 *
 * The crystal clock of leaf 0x15 is given as 1 GHz, which is also the local APIC timer's input in
 * all engines: a guest that derives one from the other is right.
 */
#include "cpu/x86/cpuid_private.h"

#include <string.h>

#define FOURCC(a, b, c, d)                                                                         \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

struct builder {
	GArray *leaves;
	const struct cpu_model *model;
	const uint32_t *word;
	const struct cpu_topology *topology;
	uint32_t apic_id;
	bool amd;
};

static void add(struct builder *b, uint32_t leaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	struct cpuid_leaf l = { leaf, 0, false, eax, ebx, ecx, edx };
	g_array_append_val(b->leaves, l);
}

static void add_sub(struct builder *b, uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx,
		    uint32_t ecx, uint32_t edx)
{
	struct cpuid_leaf l = { leaf, subleaf, true, eax, ebx, ecx, edx };
	g_array_append_val(b->leaves, l);
}

/* The number of APIC id bits that count `n` things. */
static unsigned id_bits(unsigned n)
{
	unsigned bits = 0;
	while ((1u << bits) < n)
		bits++;
	return bits;
}

static unsigned package_bits(const struct cpu_topology *t)
{
	return id_bits(t->threads) + id_bits(t->cores) + id_bits(t->dies);
}

static unsigned package_threads(const struct cpu_topology *t)
{
	return t->threads * t->cores * t->dies;
}

static uint32_t signature(const struct cpu_model *m)
{
	uint32_t family = MIN(m->family, 15u), extended = m->family - family;
	return extended << 20 | (m->model >> 4) << 16 | family << 8 | (m->model & 15) << 4 |
	       m->stepping;
}

static void add_identity(struct builder *b, uint32_t top)
{
	const char *v = b->model->vendor;
	const struct cpu_topology *t = b->topology;
	uint32_t edx = b->word[CPU_WORD_1_EDX];
	unsigned logical = package_threads(t);

	add(b, 0, top, FOURCC(v[0], v[1], v[2], v[3]), FOURCC(v[8], v[9], v[10], v[11]),
	    FOURCC(v[4], v[5], v[6], v[7]));
	if (logical > 1)
		edx |= 1 << 28; /* HTT: EBX's count is valid */
	add(b, 1, signature(b->model),
	    (b->apic_id & 0xff) << 24 | (1u << package_bits(t) & 0xff) << 16 | 8 << 8,
	    b->word[CPU_WORD_1_ECX], edx);
	/* "No descriptors here, see leaf 4": 0xff in EAX's second byte. */
	add(b, 2, b->amd ? 0 : 0x00feff01, 0, 0, 0);
}

struct cache {
	unsigned type, level, ways, sets, shared; /* type: 1 data, 2 code, 3 unified */
};

static void add_caches(struct builder *b)
{
	const struct cpu_topology *t = b->topology;
	const struct cache caches[] = {
		{ 1, 1, 8, 64, t->threads },
		{ 2, 1, 8, 64, t->threads },
		{ 3, 2, 16, 2048, t->threads },
		{ 3, 3, 16, 16384, package_threads(t) },
	};

	if (b->amd)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(caches); i++) {
		const struct cache *c = &caches[i];
		unsigned cores = 1u << (id_bits(t->cores) + id_bits(t->dies));
		unsigned shared = c->shared > 1 ? 1u << id_bits(c->shared) : 1;
		if (c->level == 3)
			shared = 1u << package_bits(t);
		add_sub(b, 4, i,
			c->type | c->level << 5 | 1 << 8 | (shared - 1) << 14 |
				(MIN(cores, 64u) - 1) << 26,
			63 | (c->ways - 1) << 22, c->sets - 1, 0);
	}
	add_sub(b, 4, G_N_ELEMENTS(caches), 0, 0, 0, 0);
}

enum topology_level { LEVEL_SMT = 1, LEVEL_CORE = 2, LEVEL_DIE = 5 };

static void add_topology(struct builder *b, uint32_t leaf, bool with_dies)
{
	const struct cpu_topology *t = b->topology;
	unsigned n = 0, smt = id_bits(t->threads), core = smt + id_bits(t->cores);

	add_sub(b, leaf, n, smt, t->threads, LEVEL_SMT << 8 | n, b->apic_id);
	n++;
	if (with_dies) {
		add_sub(b, leaf, n, core, t->threads * t->cores, LEVEL_CORE << 8 | n, b->apic_id);
		n++;
		add_sub(b, leaf, n, package_bits(t), package_threads(t), LEVEL_DIE << 8 | n,
			b->apic_id);
	} else {
		add_sub(b, leaf, n, package_bits(t), package_threads(t), LEVEL_CORE << 8 | n,
			b->apic_id);
	}
	n++;
	add_sub(b, leaf, n, 0, 0, n, b->apic_id);
}

/* XSAVE's components in the standard format (SDM vol. 1, 13.5). */
static const struct {
	uint8_t index;
	uint32_t size, offset, flags;
	enum cpu_feature_word word;
	uint32_t mask;
} xsave_components[] = {
	{ 2, 256, 576, 0, CPU_WORD_1_ECX, 1 << 28 },
	{ 5, 64, 1088, 0, CPU_WORD_7_0_EBX, 1 << 16 },
	{ 6, 512, 1152, 0, CPU_WORD_7_0_EBX, 1 << 16 },
	{ 7, 1024, 1664, 0, CPU_WORD_7_0_EBX, 1 << 16 },
	{ 9, 8, 2688, 0, CPU_WORD_7_0_ECX, 1 << 3 },
	{ 17, 64, 2752, 2, CPU_WORD_7_0_EDX, 1 << 24 },
	{ 18, 8192, 2816, 6, CPU_WORD_7_0_EDX, 1 << 24 },
};

static void add_xsave(struct builder *b)
{
	uint32_t supported = 3, size = 576;

	if (!(b->word[CPU_WORD_1_ECX] & 1 << 26)) {
		add_sub(b, 0xd, 0, 0, 0, 0, 0);
		return;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(xsave_components); i++) {
		if (b->word[xsave_components[i].word] & xsave_components[i].mask) {
			supported |= 1u << xsave_components[i].index;
			size = xsave_components[i].offset + xsave_components[i].size;
		}
	}
	/* EBX depends on XCR0: x87 and SSE alone until the guest says more. */
	add_sub(b, 0xd, 0, supported, 576, size, 0);
	add_sub(b, 0xd, 1, b->word[CPU_WORD_D_1_EAX], 576, 0, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(xsave_components); i++)
		if (supported >> xsave_components[i].index & 1)
			add_sub(b, 0xd, xsave_components[i].index, xsave_components[i].size,
				xsave_components[i].offset, xsave_components[i].flags, 0);
}

static void add_basic(struct builder *b)
{
	const struct cpu_topology *t = b->topology;
	uint32_t mhz = t->tsc_khz / 1000;
	uint32_t top = b->amd ? 0xd : t->dies > 1 ? 0x1f : 0x16;

	add_identity(b, top);
	add_caches(b);
	add(b, 5, 0, 0, 0, 0); /* MONITOR is hidden */
	add(b, 6, b->word[CPU_WORD_6_EAX], 0, 0, 0);
	add_sub(b, 7, 0, 2, b->word[CPU_WORD_7_0_EBX], b->word[CPU_WORD_7_0_ECX],
		b->word[CPU_WORD_7_0_EDX]);
	add_sub(b, 7, 1, b->word[CPU_WORD_7_1_EAX], 0, 0, 0);
	add_sub(b, 7, 2, 0, 0, 0, b->word[CPU_WORD_7_2_EDX]);
	add(b, 0xa, 0, 0, 0, 0); /* no performance counters */
	add_topology(b, 0xb, false);
	add_xsave(b);
	if (b->amd)
		return;
	if (t->tsc_khz) {
		/* TSC = crystal * EBX / EAX; see the file head. */
		add(b, 0x15, 1000000, t->tsc_khz, 1000000000, 0);
		add(b, 0x16, mhz, mhz, 100, 0);
	} else {
		add(b, 0x15, 0, 0, 0, 0);
		add(b, 0x16, 0, 0, 0, 0);
	}
	if (t->dies > 1)
		add_topology(b, 0x1f, true);
}

static void add_hypervisor(struct builder *b)
{
	if (!(b->word[CPU_WORD_1_ECX] & 1u << 31) || !b->word[CPU_WORD_KVM])
		return;
	add(b, 0x40000000, 0x40000010, FOURCC('K', 'V', 'M', 'K'), FOURCC('V', 'M', 'K', 'V'),
	    FOURCC('M', 0, 0, 0));
	add(b, 0x40000001, b->word[CPU_WORD_KVM], 0, 0, 0);
	/* VMware's timing leaf, which others took over: TSC and APIC bus frequency in kHz. */
	add(b, 0x40000010, b->topology->tsc_khz, 1000000, 0, 0);
}

static void add_extended(struct builder *b)
{
	const struct cpu_topology *t = b->topology;
	uint32_t edx = b->word[CPU_WORD_80000001_EDX], ecx = b->word[CPU_WORD_80000001_ECX];
	const char *v = b->model->vendor;
	unsigned logical = package_threads(t);
	char brand[48] = { 0 };

	if (b->amd) {
		edx |= b->word[CPU_WORD_1_EDX] & UINT32_C(0x0183f3ff);
		if (logical > 1)
			ecx |= 1 << 1; /* CmpLegacy: the threads counted are cores */
	}
	memcpy(brand, b->model->model_id, strnlen(b->model->model_id, sizeof(brand)));
	uint32_t more_eax = b->word[CPU_WORD_80000021_EAX], more_ecx = b->word[CPU_WORD_80000021_ECX];
	bool more = b->amd && (more_eax | more_ecx);
	if (b->amd)
		add(b, 0x80000000, more ? 0x80000021 : 0x80000008, FOURCC(v[0], v[1], v[2], v[3]),
		    FOURCC(v[8], v[9], v[10], v[11]), FOURCC(v[4], v[5], v[6], v[7]));
	else
		add(b, 0x80000000, 0x80000008, 0, 0, 0);
	add(b, 0x80000001, b->amd ? signature(b->model) : 0, 0, ecx, edx);
	for (unsigned i = 0; i < 3; i++) {
		uint32_t r[4];
		memcpy(r, brand + i * 16, 16);
		add(b, 0x80000002 + i, r[0], r[1], r[2], r[3]);
	}
	/* AMD's cache leaves; Intel only uses the second one, for L2. */
	add(b, 0x80000005, 0, b->amd ? 0xff40ff40 : 0, b->amd ? 0x20080140 : 0,
	    b->amd ? 0x20080140 : 0);
	add(b, 0x80000006, 0, b->amd ? 0x42004200 : 0,
	    b->amd ? 512u << 16 | 6 << 12 | 1 << 8 | 64 : 2048u << 16 | 8 << 12 | 64,
	    b->amd ? 32u << 18 | 9 << 12 | 1 << 8 | 64 : 0);
	add(b, 0x80000007, 0, 0, 0, b->word[CPU_WORD_80000007_EDX]);
	/* Linux checks kernel addresses against this, and uses five levels when LA57 is there. */
	unsigned linear_bits = b->word[CPU_WORD_7_0_ECX] & 1 << 16 ? 57 : 48;
	add(b, 0x80000008, t->phys_bits | linear_bits << 8, b->word[CPU_WORD_80000008_EBX],
	    b->amd ? package_bits(t) << 12 | (logical - 1) : 0, 0);
	if (more)
		add(b, 0x80000021, more_eax, 0, more_ecx, 0);
}

GArray *cpuid_build(const struct cpu_model *model, const struct cpu_topology *topology,
		    uint32_t apic_id)
{
	struct builder b = {
		.leaves = g_array_new(false, false, sizeof(struct cpuid_leaf)),
		.model = model,
		.word = model->features.word,
		.topology = topology,
		.apic_id = apic_id,
		.amd = !strcmp(model->vendor, "AuthenticAMD") ||
		       !strcmp(model->vendor, "HygonGenuine"),
	};

	/* In ascending order: cpuid_lookup() searches. */
	add_basic(&b);
	add_hypervisor(&b);
	add_extended(&b);
	return b.leaves;
}

static const struct cpuid_leaf *leaf_find(const GArray *leaves, uint32_t leaf, uint32_t subleaf)
{
	const struct cpuid_leaf *l = (const struct cpuid_leaf *)(const void *)leaves->data;
	unsigned low = 0, high = leaves->len;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct cpuid_leaf *m = &l[middle];
		if (m->leaf < leaf || (m->leaf == leaf && m->has_subleaf && m->subleaf < subleaf))
			low = middle + 1;
		else if (m->leaf == leaf && (!m->has_subleaf || m->subleaf == subleaf))
			return m;
		else
			high = middle;
	}
	return NULL;
}

void cpuid_lookup(const GArray *leaves, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct cpuid_leaf *first = (const struct cpuid_leaf *)(const void *)leaves->data;
	const struct cpuid_leaf *l = leaf_find(leaves, leaf, subleaf);
	uint32_t range = leaf & 0xf0000000;

	memset(out, 0, 4 * sizeof(out[0]));
	if (!l && leaves->len) {
		/* The two topology leaves answer any sub-leaf with its own number and the id. */
		if (leaf == 0xb || leaf == 0x1f) {
			l = leaf_find(leaves, leaf, 0);
			if (l) {
				out[2] = subleaf & 0xff;
				out[3] = l->edx;
			}
			return;
		}
		const struct cpuid_leaf *top = range == 0x80000000 ?
						       leaf_find(leaves, 0x80000000, 0) : first;
		bool intel = first->ebx == FOURCC('G', 'e', 'n', 'u');
		if (intel && (!top || leaf > top->eax) && range != 0x40000000)
			l = leaf_find(leaves, first->eax, subleaf);
	}
	if (l) {
		out[0] = l->eax;
		out[1] = l->ebx;
		out[2] = l->ecx;
		out[3] = l->edx;
	}
}
