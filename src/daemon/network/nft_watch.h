/* SPDX-License-Identifier: GPL-2.0-or-later */
/* News of the host's nftables: who flushes or reloads rules takes tables of ours away, too. */
#pragma once

#include "aio/loop.h"

struct nft_watch;

/*
 * A table whose name begins with `prefix` is gone, and was not made again at once. NULL: the kernel
 * had more news than it could keep; any table may be gone.
 */
typedef void nft_lost_fn(void *opaque, const char *table);
/* On the loop's thread. `prefix` is borrowed. */
struct nft_watch *nft_watch_new(struct aio_loop *loop, const char *prefix,
					  nft_lost_fn *lost, void *opaque, GError **error);
/* NULL is fine. */
void nft_watch_free(struct nft_watch *watch);
