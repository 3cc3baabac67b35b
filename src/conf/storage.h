/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storage pools and volumes as libvirt's XML describes them. Both are read into typed fields, and
 * written from them as libvirt writes them; elements and attributes that are not understood are
 * refused by name. Errors are in libvirt's words.
 */
#pragma once

#include "codec/xml.h"

#include <stdint.h>
#include <time.h>

#define CONF_UNSET UINT32_MAX

/* Each may be left to the system: CONF_UNSET. */
struct conf_permissions {
	uint32_t mode, owner, group;
};
#define CONF_PERMISSIONS_UNSET ((struct conf_permissions){CONF_UNSET, CONF_UNSET, CONF_UNSET})

/* --- Pools (pool.c) ------------------------------------------------------------------------- */

/* Names in the order of libvirt's numbers; ends with NULL. */
extern const char *const conf_pool_types[];
enum { CONF_POOL_DIR = 0 };

/* A folder whose files are the volumes: type 'dir', the only one so far. */
struct conf_pool {
	char *name;
	uint8_t uuid[16];
	char *path; /* absolute, without "//" and a '/' at the end */
	struct conf_permissions permissions;
};

/* What is only known of an active pool: bytes. */
struct conf_pool_usage {
	uint64_t capacity, allocation, available;
};

/* A UUID is made up if there is none. NULL with *error set. */
struct conf_pool *conf_pool_parse(const char *text, GError **error);
struct conf_pool *conf_pool_copy(const struct conf_pool *pool);
void conf_pool_free(struct conf_pool *pool);
static inline void conf_pool_cleanup(struct conf_pool **pool)
{
	conf_pool_free(*pool);
}
/* `auto_conf_pool pool = ...`: freed at the end of the scope, unless stolen. */
#define auto_conf_pool __attribute__((cleanup(conf_pool_cleanup))) struct conf_pool *
/* `usage` and `permissions` may be NULL: none known, and those of the definition. g_free(). */
char *conf_pool_format(const struct conf_pool *pool, const struct conf_pool_usage *usage,
		       const struct conf_permissions *permissions);

/* --- Volumes (volume.c) --------------------------------------------------------------------- */

/* libvirt's numbers. */
enum conf_volume_type { CONF_VOLUME_FILE = 0, CONF_VOLUME_BLOCK = 1, CONF_VOLUME_DIR = 2 };

struct conf_times {
	bool known;
	struct timespec access, change, status;
};

struct conf_backing {
	char *path, *format; /* NULL path: there is none; NULL format: not said */
	struct conf_permissions permissions;
	struct conf_times times;
};

struct conf_volume {
	char *name;
	enum conf_volume_type type;
	char *path;          /* which is the key, too; NULL in what a client sends */
	char *format;        /* raw, qcow2, dir...; NULL: not said */
	bool has_capacity, has_allocation; /* said by the client */
	uint64_t capacity, allocation, physical;
	struct conf_permissions permissions;
	struct conf_times times;
	char *encryption;    /* found in the image: "luks"; or NULL */
	char *compat;        /* qcow2: "0.10", "1.1"; NULL: not said */
	uint64_t cluster_size;
	bool lazy_refcounts, extended_l2, nocow;
	struct conf_backing backing;
};

/* What a client wants to have made. Its target's path and live figures mean nothing. */
struct conf_volume *conf_volume_parse(const char *text, GError **error);
struct conf_volume *conf_volume_new(const char *name);
struct conf_volume *conf_volume_copy(const struct conf_volume *volume);
void conf_volume_free(struct conf_volume *volume);
static inline void conf_volume_cleanup(struct conf_volume **volume)
{
	conf_volume_free(*volume);
}
/* `auto_conf_volume volume = ...`: freed at the end of the scope, unless stolen. */
#define auto_conf_volume __attribute__((cleanup(conf_volume_cleanup))) struct conf_volume *
char *conf_volume_format(const struct conf_volume *volume);

/* --- Common parts (storage.c) --------------------------------------------------------------- */

/* Not empty, and without control characters: those have no place in a path or a list. */
bool conf_text_is_plain(const char *text);
/* "missing <what> element" is an error if `node` is NULL. Suffixes as libvirt's: k, KiB: 1024; KB: 1000. */
bool conf_size_read(const xmlNode *node, const char *what, uint64_t *bytes, GError **error);
void conf_size_write(struct xml_writer *w, const char *name, uint64_t bytes);
/*
 * Those below `target`, which may be NULL. A security label means nothing where files have none, as
 * here: it is accepted, for many programs write one, and not kept.
 */
bool conf_permissions_read(const xmlNode *target, struct conf_permissions *permissions,
			   GError **error);
/* Nothing if nothing is set. */
void conf_permissions_write(struct xml_writer *w, const struct conf_permissions *permissions);
