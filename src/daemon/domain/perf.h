/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters of a VMM's process by the kernel (perf_event_open(2)), one for each of its threads and event; the
 * threads that they start are counted with them. Owned by the daemon's loop.
 */
#pragma once

#include "conf/perf.h"

#include <sys/types.h>

struct perf;

struct perf *perf_new(pid_t pid);
void perf_free(struct perf *perf);
/* Begin to count; fails by name where the host has no such counter. */
bool perf_enable(struct perf *perf, enum conf_perf_event event, GError **error);
void perf_disable(struct perf *perf, enum conf_perf_event event);
bool perf_is_enabled(const struct perf *perf, enum conf_perf_event event);
/* What has been counted. False: it is not enabled, or the kernel does not tell. */
bool perf_read(const struct perf *perf, enum conf_perf_event event, uint64_t *value);
