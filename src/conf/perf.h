/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <perf>: events of a domain that the host's kernel is to count. */
#pragma once

#include "codec/xml.h"

#include <stdint.h>

/* In libvirt's order. */
enum conf_perf_event {
	CONF_PERF_CMT, CONF_PERF_MBMT, CONF_PERF_MBML, CONF_PERF_CPU_CYCLES, CONF_PERF_INSTRUCTIONS,
	CONF_PERF_CACHE_REFERENCES, CONF_PERF_CACHE_MISSES, CONF_PERF_BRANCH_INSTRUCTIONS,
	CONF_PERF_BRANCH_MISSES, CONF_PERF_BUS_CYCLES, CONF_PERF_STALLED_FRONTEND, CONF_PERF_STALLED_BACKEND,
	CONF_PERF_REF_CPU_CYCLES, CONF_PERF_CPU_CLOCK, CONF_PERF_TASK_CLOCK, CONF_PERF_PAGE_FAULTS,
	CONF_PERF_CONTEXT_SWITCHES, CONF_PERF_CPU_MIGRATIONS, CONF_PERF_PAGE_FAULTS_MIN,
	CONF_PERF_PAGE_FAULTS_MAJ, CONF_PERF_ALIGNMENT_FAULTS, CONF_PERF_EMULATION_FAULTS, CONF_PERF_EVENTS,
};
extern const char *const conf_perf_names[CONF_PERF_EVENTS];

struct conf_perf {
	enum conf_perf_state { CONF_PERF_ABSENT, CONF_PERF_YES, CONF_PERF_NO } events[CONF_PERF_EVENTS];
};

/* By its name; CONF_PERF_EVENTS: there is none. */
enum conf_perf_event conf_perf_find(const char *name);
/* Of a domain's root; the elements are put into libvirt's order. */
bool conf_perf_read(struct conf_perf *perf, xmlNode *root, GError **error);
void conf_perf_write(const struct conf_perf *perf, xmlNode *root);
