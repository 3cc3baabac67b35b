/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How pools come to life and end, and where they are kept below the daemon's state folder. */
#pragma once

#include "daemon/storage/storage.h"

#define STORAGE_DEFINED_FOLDER "pools"
#define STORAGE_AUTOSTART      "pools-autostart"
#define STORAGE_ACTIVE         "pools-active"

/* Paths; g_free(). */
char *storage_file_definition(const struct storage_pool *pool);
char *storage_file_autostart(const struct storage_pool *pool);
char *storage_file_active(const struct storage_pool *pool);
/* The content of an active pool's file. g_free(). */
char *storage_file_active_text(const struct conf_pool *conf);
bool storage_file_is_of_this_boot(const char *text);
/* The pool was active with `conf` when the last daemon ended; it shall be so again. */
void storage_resume(struct storage_pool *pool, const struct conf_pool *conf);
/* Make the pool active with `conf`, which is taken; the answer is the pool. */
void storage_create(struct storage_pool *pool, struct rpc_call *call, struct conf_pool *conf,
		    bool build);
/* `call` may be NULL. */
void storage_refresh(struct storage_pool *pool, struct rpc_call *call);
/* It is not active any more; a transient pool may be gone when this returns. */
void storage_pool_stop(struct storage_pool *pool);
