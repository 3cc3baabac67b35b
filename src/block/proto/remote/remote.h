/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What protocols have in common whose library blocks: HTTP, SSH, iSCSI, NFS and RBD. A node has a
 * few connections, each used by one thread at a time; the first is made by open(), more when that
 * many requests are under way. A connection that breaks is replaced, and its request tried once
 * more: all requests may be repeated.
 *
 * Everything in remote_ops but the options' functions runs on threads of the node's pool. Options that
 * it reads are set before and do not change. Results are 0 or -errno; -ENOTCONN: the connection is of no
 * use any more.
 */
#pragma once

#include "block/core/driver.h"
#include "block/core/options.h"
#include "base/library.h"

#define REMOTE_CONNECTIONS 4

struct remote_node;

struct remote_ops {
	struct library *library;
	/* Take the keys out of `dict` and set what the functions below read. */
	bool (*take_options)(struct remote_node *remote, json_t *dict, GError **error);
	char *(*name)(const struct remote_node *remote); /* for people; g_free() */
	/* Free what take_options() has made, even if it failed half-way. */
	void (*clear)(struct remote_node *remote);
	/* Make what the options name, empty, of create->size bytes. NULL: it must be there. */
	bool (*create)(struct remote_node *remote, const struct block_create *create, GError **error);
	/* Take that away; set where create() is. */
	bool (*remove)(struct remote_node *remote, GError **error);
	bool shared; /* one connection serves all threads */
	bool grows;  /* a write behind the end makes the file longer */
	void *(*connect)(struct remote_node *remote, GError **error);
	void (*disconnect)(void *connection);
	/* The first connection: set node.size, and node.limits where they differ from bytes. */
	bool (*describe)(struct remote_node *remote, void *connection, GError **error);
	int (*read)(void *connection, uint64_t offset, void *bytes, size_t length);
	/* NULL: nothing can be written. */
	int (*write)(void *connection, uint64_t offset, const void *bytes, size_t length);
	int (*flush)(void *connection); /* NULL: what is written is stable */
	/* NULL: zeroes are written, and nothing is given back. -ENOTSUP: the same, this time. */
	int (*zero)(void *connection, uint64_t offset, uint64_t length, bool unmap);
	int (*discard)(void *connection, uint64_t offset, uint64_t length);
	int (*resize)(void *connection, uint64_t size); /* NULL: it cannot be done */
};

/* What each protocol that can be written to has, under these names in its file. */
#define REMOTE_LINK_OPS                                                                            \
	.library = &library, .connect = link_connect, .disconnect = link_disconnect,               \
	.describe = link_describe, .read = link_read, .write = link_write, .flush = link_flush

struct remote_node {
	struct block_node node;
	const struct remote_ops *ops;
	struct aio_pool *pool;
	GMutex lock;            /* guards what is below */
	void *idle[REMOTE_CONNECTIONS];
	unsigned idle_count;
};

/* Operations of the drivers. Their nodes begin with struct remote_node, their .family is remote_ops. */
bool remote_open(struct block_node *node, json_t *dict, GError **error);
void remote_close(struct block_node *node);
int remote_perform(struct block_node *node, struct block_request *request);
bool remote_resize(struct block_node *node, uint64_t size, GError **error);
bool remote_create(const struct block_create *create, GError **error);
bool remote_remove(const struct block_create *what, GError **error);

/* What all such drivers have; those that can say more do so behind it. */
#define REMOTE_DRIVER(scheme, node_type, ops)                                                      \
	.name = scheme, .kind = BLOCK_PROTOCOL, .node_size = sizeof(struct node_type),             \
	.prefix = scheme, .family = ops, .open = remote_open, .close = remote_close,               \
	.perform = remote_perform
/* Those whose servers make, resize and remove files. */
#define REMOTE_FILES                                                                               \
	.resize = remote_resize, .create_bare = true, .create = remote_create, .remove = remote_remove

/* Text of the secret that `key` names, or NULL if there is no such key. */
bool remote_take_secret(struct block_node *node, json_t *dict, const char *key, char **secret,
			GError **error);

/* The same as it is; unref it. */
bool remote_take_secret_bytes(struct block_node *node, json_t *dict, const char *key, GBytes **secret,
			      GError **error);

/* A name of the form SCHEME://[USER[:PASSWORD]@]HOST[:PORT]/PATH[?KEY=VALUE&...]. */
struct remote_url {
	char *scheme, *user, *password, *host, *path; /* decoded; NULL: none */
	int port;                                     /* -1: none */
	GHashTable *query;                            /* of strings */
};
bool remote_url_parse(const char *name, struct remote_url *url, GError **error);
void remote_url_clear(struct remote_url *url);
/* Take a key out of url->query into `dict`, under the name of the option. */
void remote_url_take(struct remote_url *url, const char *key, json_t *dict, const char *option);
/* An error if something is left in the query. */
bool remote_url_refuse_rest(const struct remote_url *url, GError **error);
