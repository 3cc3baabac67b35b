/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Things with an id that nodes refer to: secrets, TLS credentials. -object and --object make them in
 * a graph; whoever uses one holds a reference, so it may be deleted at any time.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

struct block_graph;
struct block_object;

enum block_object_kind { BLOCK_OBJECT_SECRET, BLOCK_OBJECT_TLS };

/* "secret", "tls-creds-x509" or "tls-creds-psk"; `dict` has the properties, and is used up. */
bool block_object_add(struct block_graph *graph, const char *type, const char *id, json_t *dict,
		      GError **error);
/* Is the type one of them? */
bool block_object_type_known(const char *type);
/* False: there is none of that id. */
bool block_object_remove(struct block_graph *graph, const char *id);

/* What it holds, for the drivers: a GBytes or a struct nbd_tls_creds, with a reference for the
 * caller. NULL with *error set. */
void *block_object_take(struct block_graph *graph, const char *id, enum block_object_kind kind,
			GError **error);

/* For block_graph_free(). */
void block_object_free(void *object);
