/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by cpuid_*.c only. */
#pragma once

#include "cpu/x86/cpuid.h"

/* [word][bit]: the feature's name or NULL. */
extern const char *const cpuid_feature_table[CPU_WORD_COUNT][32];

struct cpuid_model_definition {
	const char *name, *description, *vendor, *model_id;
	unsigned family, model, stepping;
	bool host;
	const char *based_on; /* a model whose features come first, or NULL */
	const char *features; /* space-separated names; a leading "-" removes one */
};

/* Ended by name == NULL. */
extern const struct cpuid_model_definition cpuid_model_definitions[];

/* The host's vendor, family, model, stepping and brand string into *model. */
void cpuid_host_identity(struct cpu_model *model);
/*
 * Programs built with GCC's target_clones choose code by family and model alone and take AVX-512
 * for granted where the model had it. If the host has AVX-512 and `allowed` has not, name the last
 * widespread model without it (Haswell, Zen 3) instead.
 */
void cpuid_age_identity(struct cpu_model *model, const struct cpu_features *allowed);
