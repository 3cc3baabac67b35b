/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Core dumps, for those who tell of a domain's jobs. */
#pragma once

#include "daemon/domain/domain.h"

/* A former daemon has stopped the guest for a dump, perhaps: it will go on. */
void dump_recall(struct domain *dom);

struct dump_progress {
	uint64_t elapsed_ms;
	uint64_t total, done; /* bytes of memory; 0 as long as the VMM has not said */
};

/* Of the dump that is under way: dom->dump must not be NULL. */
void dump_progress(const struct domain *dom, struct dump_progress *progress);
