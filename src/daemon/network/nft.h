/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's nftables, by libnftables: each call is a conversation of its own. Any thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Run commands in nft's language, all of them or none. What it complains of goes into *error. */
bool nft_run(const char *commands, GError **error);
/* How nft shows a table ("inet", "berth_virbr0"), without counters; NULL: there is none. g_free(). */
char *nft_list_table(const char *family, const char *name);
/* Names of all tables, of whichever family, as a set; NULL with *error set. g_hash_table_unref(). */
GHashTable *nft_tables(GError **error);
