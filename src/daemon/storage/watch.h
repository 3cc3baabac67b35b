/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Noticing what happens in the folders of active pools. On the loop, but for storage_watch_begin(). */
#pragma once

#include "daemon/storage/life.h"

/* Where the kernel cannot watch, or not so much, pools are as they were when last refreshed. */
struct storage_watcher *storage_watcher_new(struct storage *storage);
/* After the pools. */
void storage_watcher_free(struct storage_watcher *watcher);

/* For each pool, with its life. */
void storage_watch_init(struct storage_pool *pool);
void storage_watch_clear(struct storage_pool *pool);

/*
 * Before a folder is read, on the thread that reads it: nothing is missed from here on. Then either
 * storage_watch_start() for the pool, or storage_watch_cancel().
 */
struct storage_watching {
	int descriptor;
	unsigned lost;
};
struct storage_watching storage_watch_begin(struct storage_watcher *watcher, const char *folder);
void storage_watch_start(struct storage_pool *pool, struct storage_watching watching);
void storage_watch_cancel(struct storage_watcher *watcher, struct storage_watching watching);
/* The pool is not active any more. */
void storage_watch_stop(struct storage_pool *pool);
