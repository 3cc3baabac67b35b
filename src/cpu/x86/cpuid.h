/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPU models: what a guest's CPUID says. A model is a named set of feature words; an engine
 * contributes a mask of what it can execute, `-cpu NAME,+feat,-feat` edits it, and the result is a
 * table of leaves computed once per VM.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum cpu_feature_word {
	CPU_WORD_1_ECX, CPU_WORD_1_EDX, CPU_WORD_7_0_EBX, CPU_WORD_7_0_ECX, CPU_WORD_7_0_EDX,
	CPU_WORD_7_1_EAX, CPU_WORD_D_1_EAX, CPU_WORD_80000001_ECX, CPU_WORD_80000001_EDX,
	CPU_WORD_80000007_EDX, CPU_WORD_80000008_EBX, CPU_WORD_KVM, CPU_WORD_6_EAX,
	CPU_WORD_7_2_EDX, CPU_WORD_80000021_EAX, CPU_WORD_80000021_ECX, CPU_WORD_COUNT,
};

struct cpu_features {
	uint32_t word[CPU_WORD_COUNT];
};

struct cpu_model {
	char *name;
	char vendor[13];
	unsigned family, model, stepping;
	char model_id[49];
	bool host; /* host or max: take all that engine and host CPU offer */
	struct cpu_features features;
};

struct cpuid_leaf {
	uint32_t leaf, subleaf;
	bool has_subleaf;
	uint32_t eax, ebx, ecx, edx;
};

struct cpu_topology {
	unsigned sockets, dies, cores, threads;
	unsigned phys_bits;
	uint32_t tsc_khz;
};

/*
 * Parse "-cpu" syntax: NAME[,+feature][,-feature][,feature=on|off]... `allowed` is what the engine
 * executes on this host. A named model that asks for more gives an error naming the features,
 * unless `enforce` is false: then they are dropped with one warning line (QEMU's behaviour).
 * Free with cpu_model_free().
 */
struct cpu_model *cpu_model_parse(const char *text, const struct cpu_features *allowed,
				  GError **error);
void cpu_model_free(struct cpu_model *model);

/* NULL-terminated list of model names with a description each, for -cpu help. */
struct cpu_model_entry { const char *name, *description; };
const struct cpu_model_entry *cpu_model_list(void);
/* NULL-terminated names of all features, in CPUID order. */
const char *const *cpu_feature_names(void);
/* The names of those in the set, in the same order. Free with g_ptr_array_unref(). */
GPtrArray *cpu_feature_list(const struct cpu_features *set);
bool cpu_feature_find(const char *name, enum cpu_feature_word *word, uint32_t *mask);

/* What the host's own CPUID offers. Executes CPUID: once per process, not per guest exit. */
void cpu_features_host(struct cpu_features *features);

/*
 * The leaves that vCPU `apic_id` sees, in a GArray of struct cpuid_leaf sorted by leaf, subleaf.
 * Dynamic bits (OSXSAVE, APIC id, leaf 0xD sizes by XCR0) are the engine's to fill on each CPUID.
 */
GArray *cpuid_build(const struct cpu_model *model, const struct cpu_topology *topology,
		    uint32_t apic_id);
/* SDM rules for unknown leaves: beyond the maximum basic leaf, the highest basic leaf's data. */
void cpuid_lookup(const GArray *leaves, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
