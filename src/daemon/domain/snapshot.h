/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots of domains: what is known of them. */
#pragma once

#include "conf/snapshot.h"
#include "daemon/domain/moment.h"

extern const struct moment_kind snapshot_kind;

/* NULL: there is none of that name. */
struct conf_snapshot *snapshot_find(const struct domain *dom, const char *name);
