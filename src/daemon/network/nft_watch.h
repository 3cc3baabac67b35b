/* SPDX-License-Identifier: GPL-2.0-or-later */
/* News of the host's nftables: who flushes or reloads rules takes tables of ours away, too. */
#pragma once

#include "aio/loop.h"

struct nft_watch;
struct nft_news;

/* Something about tables whose names begin with the prefix has changed; also if that was ourselves. */
typedef void nft_news_fn(void *opaque, const struct nft_news *news);
/* The table is gone or has lost rules, and was not made again at once. */
bool nft_news_gone(const struct nft_news *news, const char *table);

/* On the loop's thread. `prefix` is borrowed. */
struct nft_watch *nft_watch_new(struct aio_loop *loop, const char *prefix, nft_news_fn *news,
				void *opaque, GError **error);
/* NULL is fine. */
void nft_watch_free(struct nft_watch *watch);
