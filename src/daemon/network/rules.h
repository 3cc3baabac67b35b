/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network's rules in the host's firewall: one table of its own, made and removed whole. Any thread. */
#pragma once

#include "conf/network.h"

/* Names of tables begin so; the bridge's follows. */
#define NETWORK_TABLE_PREFIX "berth_"

/* The commands that make the table, for a network whose bridge has a name; NULL: it needs none. g_free(). */
char *network_rules_text(const struct conf_network *conf);
/*
 * Put the table in place of what is there of it. *listing is how nft shows it, for later comparison
 * (NULL: the network needs none); g_free().
 */
bool network_rules_load(const struct conf_network *conf, char **listing, GError **error);
/* How nft shows the table now; NULL: there is none. g_free(). */
char *network_rules_listing(const struct conf_network *conf);
/* None is fine. */
bool network_rules_remove(const struct conf_network *conf, GError **error);
