/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of Open vSwitch's database (OVSDB, RFC 7047) on a local socket. Each transaction has a
 * connection of its own and is waited for, a few seconds at most; ovs-vswitchd, which acts on it, is not.
 */
#pragma once

#include "codec/json.h"

/* Is there such a database on this host? */
bool ovsdb_is_there(const char *socket);
/*
 * Do all `operations` (RFC 7047, 5.2; an array, which is taken) or none. Their results, to be freed with
 * json_decref(); NULL with *error set if one has failed.
 */
json_t *ovsdb_transact(const char *socket, json_t *operations, GError **error);

/* --- Values (RFC 7047, 5.1) ------------------------------------------------------------------- */

/* A map of texts, of pairs that end with NULL; a pair whose value is NULL is left out. */
json_t *ovsdb_map(const char *key, ...) G_GNUC_NULL_TERMINATED;
json_t *ovsdb_empty(void);
/* Of a row that the same transaction inserts. */
json_t *ovsdb_named(const char *name);

/* --- Operations ------------------------------------------------------------------------------- */

/* `value` is taken. */
json_t *ovsdb_where(const char *column, const char *function, json_t *value);
/* `where` and `row` are taken. */
json_t *ovsdb_select(const char *table, json_t *where, const char *column);
json_t *ovsdb_insert(const char *table, const char *name, json_t *row);
json_t *ovsdb_update(const char *table, json_t *where, json_t *row);
json_t *ovsdb_mutate(const char *table, json_t *where, const char *column, const char *mutator, json_t *value);
json_t *ovsdb_delete(const char *table, json_t *where);
