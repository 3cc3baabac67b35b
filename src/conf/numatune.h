/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <numatune>: which of the host's memory nodes a domain's memory is of. */
#pragma once

#include "codec/xml.h"

#include <stdint.h>

/* By libvirt's numbers. */
enum conf_numa_mode {
	CONF_NUMA_STRICT, CONF_NUMA_PREFERRED, CONF_NUMA_INTERLEAVE,
	CONF_NUMA_RESTRICTIVE, /* the kernel's control group alone says it, and it may change any time */
	CONF_NUMA_MODES,
};
/* As the document calls them, ended by NULL. */
extern const char *const conf_numa_modes[CONF_NUMA_MODES + 1];

enum { CONF_NUMA_HOST_NODES = 64 };

struct conf_numa_policy {
	enum conf_numa_mode mode;
	char *nodeset; /* "0-1"; NULL: nothing is said */
};
struct conf_numatune {
	struct conf_numa_policy memory;
	struct conf_numa_policy *cells; /* of the guest's nodes; NULL: none is said */
	unsigned cell_count;
};

/*
 * Of a domain's root; the guest has `cell_count` nodes. The element's attributes are put into libvirt's
 * order.
 */
bool conf_numatune_read(struct conf_numatune *tune, xmlNode *root, unsigned cell_count, GError **error);
/* Put <memory>, all that may be changed, into the document. */
void conf_numatune_write_memory(const struct conf_numa_policy *memory, xmlNode *root);
/* What holds for a guest's node, or for all of the memory if there are none; NULL: nothing. */
const struct conf_numa_policy *conf_numatune_policy(const struct conf_numatune *tune, unsigned cell);
/* Is any memory to be bound as it is made? */
bool conf_numatune_binds(const struct conf_numatune *tune);
/* "0,1" as libvirt writes it; NULL: it is no list of nodes. Free with g_free(). */
char *conf_numatune_nodeset(const char *text);
void conf_numatune_clear(struct conf_numatune *tune);
