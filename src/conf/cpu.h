/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A <cpu> element by itself, as clients compare it with a host's or want a common one of several. */
#pragma once

#include "codec/xml.h"

struct conf_cpu_feature {
	char *name;
	enum { CONF_CPU_REQUIRE, CONF_CPU_DISABLE, CONF_CPU_FORBID } policy;
};

struct conf_cpu {
	bool guest;        /* it has a mode or a match: a guest's, not a host's */
	bool is_host;      /* mode host-passthrough, host-model or maximum */
	char *arch, *model, *vendor; /* or NULL */
	GArray *features;  /* struct conf_cpu_feature */
};

/* NULL with *error set. Free with conf_cpu_free(). */
struct conf_cpu *conf_cpu_parse(const char *text, GError **error);
void conf_cpu_free(struct conf_cpu *cpu);
