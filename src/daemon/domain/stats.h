/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statistics of a domain as typed parameters. */
#pragma once

#include "daemon/domain/domain.h"

/* Reduce libvirt's groups to those that we have (0: all). False: `enforce` does not allow that. */
bool domain_stats_supported(uint32_t *stats, bool enforce);
void domain_fill_stats(struct domain *dom, uint32_t stats, struct arena *arena,
		       struct remote_domain_stats *record);
