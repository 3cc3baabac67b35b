/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -numa: which memory and which CPUs are near to each other. */
#pragma once

#include "conf/machine.h"

enum { CONF_NUMA_NODES_MAX = 128, CONF_NUMA_LOCAL = 10, CONF_NUMA_REMOTE = 20 };

struct conf_numa_node {
	bool defined;
	uint64_t size; /* bytes; 0: not given */
	char *memdev;  /* -object memory-backend-* that is the node's memory, or NULL */
};

/* -numa cpu: every CPU with these ids; -1 is any. */
struct conf_numa_place {
	int socket, die, core, thread;
	unsigned node;
};

struct conf_numa_distance {
	unsigned from, to;
	uint8_t value;
};

struct conf_numa {
	unsigned node_count; /* 0: no -numa node was given */
	struct conf_numa_node *nodes; /* CONF_NUMA_NODES_MAX, or NULL */
	GArray *ranges;    /* struct conf_numa_range, private */
	GArray *places;    /* struct conf_numa_place */
	GArray *distances; /* struct conf_numa_distance */
	/* After conf_numa_complete(): */
	uint32_t *cpu_nodes; /* of smp.maxcpus CPUs */
	uint8_t *matrix;     /* node_count squared, or NULL: nobody said */
};

/* One -numa option. */
bool conf_numa_merge(struct conf_numa *numa, const char *text, GError **error);
/*
 * Check that the nodes hold together, and give each CPU its node: what was not said goes round the
 * nodes by socket. `smp` is complete. Sizes are checked by who knows the memory backends.
 */
bool conf_numa_complete(struct conf_numa *numa, const struct conf_smp *smp, GError **error);
/* The arguments that say the same, each after "-numa". Adds owned strings to `args`. */
void conf_numa_format(const struct conf_numa *numa, GPtrArray *args);
void conf_numa_clear(struct conf_numa *numa);
