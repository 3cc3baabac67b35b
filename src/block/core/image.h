/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images as berth-img, the monitor and jobs see them: create, look into, check, snapshot.
 * All of it waits: on a plain stack the node's loop iterates meanwhile. One thread, the node's.
 * Errors name the image and what to do.
 */
#pragma once

#include "block/core/block.h"

#include <jansson.h>

struct block_driver;

/* --- nodes by name ------------------------------------------------------------------------------*/

/* A name space of nodes: one per VM or program. Nodes without a name are not in it. */
struct block_graph *block_graph_new(struct aio_loop *loop);
void block_graph_free(struct block_graph *graph); /* no node may be left in it */
struct block_node *block_graph_find(struct block_graph *graph, const char *node_name);
/* Give a node of a chain that was opened without one a name, so that a person can say which is meant. */
void block_graph_name(struct block_node *node);
/* All named nodes, in order of opening. Borrowed. */
const GPtrArray *block_graph_nodes(struct block_graph *graph);

/* --- moving around --------------------------------------------------------------------------------*/

struct block_node *block_backing(const struct block_node *node); /* NULL: none. Borrowed */
struct block_node *block_file(const struct block_node *node);
/* The backing file as the image names it, and its format; NULL: none. */
const char *block_backing_name(const struct block_node *node);
const char *block_backing_format(const struct block_node *node);
/* The name that opens the backing file from here: relative to the image's folder. g_free(). */
char *block_backing_path(const struct block_node *node);
const struct block_driver *block_node_driver(const struct block_node *node);

/* All of `node` from `offset` on, as a node of its own. NULL with *error set. */
struct block_node *block_raw_window(struct block_node *node, uint64_t offset, GError **error);

/* --- what the bytes are ---------------------------------------------------------------------------*/

enum block_status_flags {
	BLOCK_STATUS_DATA = 1 << 0,       /* holds bytes */
	BLOCK_STATUS_ZERO = 1 << 1,       /* reads as zeroes */
	BLOCK_STATUS_OFFSET = 1 << 2,     /* host_offset in `file` holds the bytes as they are */
	BLOCK_STATUS_ALLOCATED = 1 << 3,  /* decided by this node, not by its backing file */
	BLOCK_STATUS_COMPRESSED = 1 << 4,
	BLOCK_STATUS_RECURSE = 1 << 5,    /* from drivers: holes of `file` there are zeroes here too */
};
struct block_extent {
	unsigned flags;
	uint64_t length, host_offset;
	struct block_node *file; /* borrowed; NULL without BLOCK_STATUS_OFFSET */
};
/* This node alone. 0 or -errno. Merges no neighbours: callers that want that do it. */
int block_status(struct block_node *node, uint64_t offset, uint64_t length,
		 struct block_extent *extent);
/*
 * The chain from `node` down to but not including `base` (NULL: all of it). *depth (may be NULL) is
 * how many nodes below `node` the range was decided; without BLOCK_STATUS_ALLOCATED nobody did.
 */
int block_status_above(struct block_node *node, struct block_node *base, uint64_t offset,
		       uint64_t length, struct block_extent *extent, unsigned *depth);

/* qemu-img's ImageInfo (without the backing chain). Free with json_decref(). */
json_t *block_info(struct block_node *node, GError **error);
/* How many bytes of tables are kept at most, and how much of the disk so many tables describe. */
struct block_cache_bound {
	uint64_t bytes, covers;
};
/* False: the format cannot say. */
bool block_cache_bound(const struct block_node *node, struct block_cache_bound *bound);

struct aio_pool;
/*
 * Let the kernel copy bytes from one file to another, which may share them. For tools: it goes past
 * requests, and nobody else may use the target. On a fiber; waits for a thread of `pool`. -ENOTSUP:
 * not between these nodes, or only in part; read and write it then.
 */
int block_copy_range(struct block_node *from, uint64_t from_offset, struct block_node *to,
		     uint64_t to_offset, uint64_t length, struct aio_pool *pool);

/* --- check, repair, change ------------------------------------------------------------------------*/

enum block_fix { BLOCK_FIX_LEAKS = 1 << 0, BLOCK_FIX_ERRORS = 1 << 1 };
struct block_check {
	unsigned fix;                                    /* in: enum block_fix */
	void (*report)(void *opaque, const char *line);  /* in: a line for each finding; may be NULL */
	void *opaque;
	uint64_t corruptions, leaks, check_errors, corruptions_fixed, leaks_fixed;
	uint64_t image_end_offset;
	uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
};
/* False: the check itself could not be done. Findings are in `check`. */
bool block_check(struct block_node *node, struct block_check *check, GError **error);

struct block_progress {
	void (*report)(void *opaque, uint64_t done, uint64_t total); /* may be NULL */
	void *opaque;
};
/* `progress` may be NULL. */
void block_progress_report(const struct block_progress *progress, uint64_t done, uint64_t total);
/* `options` as for -o: strings or typed values. `force`: even if it may lose the last key. */
bool block_amend(struct block_node *node, const json_t *options, bool force,
		 struct block_progress *progress, GError **error);
/* Rewrite only the image's own note (qemu-img rebase -u). NULL: no backing file. */
bool block_change_backing(struct block_node *node, const char *file, const char *format,
			  GError **error);
bool block_make_empty(struct block_node *node, GError **error);
/* Open it, and the files it lies on, in the other way. Its backing file stays as it is. */
bool block_set_readonly(struct block_node *node, bool readonly, GError **error);

struct block_snapshot {
	char *id, *name;
	uint64_t vm_state_size, date_sec, date_nsec, vm_clock_ns, icount, disk_size;
};
void block_snapshot_free(struct block_snapshot *snapshot);
/* Of struct block_snapshot, which the array frees. NULL with *error set. */
GPtrArray *block_snapshot_list(struct block_node *node, GError **error);
/*
 * A node that is open read-only shows from now on what a snapshot holds: the one of that id, name, or
 * both (NULL: any). The disk's size is the larger of the two.
 */
bool block_snapshot_view(struct block_node *node, const char *id, const char *name, GError **error);
bool block_snapshot_create(struct block_node *node, const struct block_snapshot *snapshot,
			   GError **error);
bool block_snapshot_apply(struct block_node *node, const char *name_or_id, GError **error);
bool block_snapshot_delete(struct block_node *node, const char *name_or_id, GError **error);

struct block_bitmap_op {
	enum { BLOCK_BITMAP_ADD, BLOCK_BITMAP_REMOVE, BLOCK_BITMAP_CLEAR, BLOCK_BITMAP_ENABLE,
	       BLOCK_BITMAP_DISABLE, BLOCK_BITMAP_MERGE } action;
	const char *name;
	uint32_t granularity;        /* ADD: bytes, 0: the format's choice */
	struct block_node *source;   /* MERGE */
	const char *source_name;
};
bool block_bitmap(struct block_node *node, const struct block_bitmap_op *op, GError **error);
/* Can the image keep bitmaps when it is closed? */
bool block_can_keep_bitmaps(struct block_node *node, GError **error);

/* Names of further files that the image consists of (a VMDK image's extents), the node's; free the array. */
GPtrArray *block_extent_files(const struct block_node *node);

/* --- create ----------------------------------------------------------------------------------------*/

/*
 * Make an image: the file, then the format in it. `options` as for -o ("size" too, which wins over
 * `size` if that is UINT64_MAX). What was made is removed again on failure.
 */
bool block_create(const char *filename, const char *format, uint64_t size, const json_t *options,
		  struct aio_loop *loop, GError **error);
/* The same, with secrets out of `graph`. */
bool block_create_in(struct block_graph *graph, const char *filename, const char *format,
		     uint64_t size, const json_t *options, struct aio_loop *loop, GError **error);
/*
 * Take away what block_create() has made under this name: of the file system, or of a server that can be
 * asked to. Not a volume that was there before (NBD, iSCSI): that is an error.
 */
bool block_remove(struct block_graph *graph, const char *filename, struct aio_loop *loop, GError **error);
/* The path in the file system that block_create() would make this under; NULL: on a server, or none. */
char *block_local_path(const char *filename);
/* Make an image in `file`, which is open, may be written and is not in use; it is emptied. */
bool block_create_on(struct block_node *file, const char *format, uint64_t size, const json_t *options,
		     GError **error);
/* Does an image read as zeroes when block_create() has just made it? */
bool block_fresh_is_zero(const struct block_node *node);
struct block_measure {
	uint64_t required, fully_allocated, bitmaps;
	bool has_bitmaps;
};
bool block_measure(const char *format, struct block_node *source, uint64_t size,
		   const json_t *options, struct aio_loop *loop, struct block_measure *measure,
		   GError **error);
/* "-o help" as qemu-img prints it. NULL with *error set if the format cannot be made. g_free(). */
char *block_create_help(const char *format, GError **error);
char *block_amend_help(const char *format, GError **error);
/* Names of formats and protocols, sorted, for --help. Free the array, not the names. */
const char **block_format_names(void);
