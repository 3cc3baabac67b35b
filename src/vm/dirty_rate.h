/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How quickly a guest writes to its memory, in MiB of pages a second: what decides whether it can be
 * migrated while it runs. Measured in two ways: some pages, chosen at random, are compared with themselves
 * after a while (cheap, but a page that is written with what it held counts as clean), or the engine's
 * dirty log counts all pages (exact; stores are slower meanwhile). What other processes write to shared
 * memory (vhost-user) is seen by the first way alone.
 *
 * One measurement per VM at a time: the engine has one dirty log. Main thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;
struct dirty_rate;

enum dirty_rate_mode { DIRTY_RATE_SAMPLING, DIRTY_RATE_BITMAP };

enum {
	DIRTY_RATE_SECONDS_MIN = 1, DIRTY_RATE_SECONDS_MAX = 60,
	DIRTY_RATE_SAMPLES_MIN = 128, DIRTY_RATE_SAMPLES_MAX = 4096, DIRTY_RATE_SAMPLES_DEFAULT = 512,
};

/*
 * Begin to measure for `seconds` (within the limits above, as `samples`, the pages per GiB, is; of no
 * meaning with BITMAP). `done` is called when the figure is there. NULL with an error if the engine has
 * no dirty log.
 */
struct dirty_rate *dirty_rate_start(struct vm *vm, enum dirty_rate_mode mode, unsigned seconds,
				    unsigned samples, void (*done)(void *opaque, uint64_t mib_per_second),
				    void *opaque, GError **error);
/* Ends a measurement that is under way without a figure, too. Before the VM goes. */
void dirty_rate_free(struct dirty_rate *rate);
