/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a protocol, format or filter implements. Only for block/.
 *
 * A driver embeds struct block_node first in its own struct; the core allocates `node_size` bytes,
 * fills what the options say, calls open(), and frees after close(). Every operation here except
 * submit, plug and unplug is called on a fiber (block/core/fiber.h) on the node's loop, so it may
 * wait: block_pread() and friends on children, fiber_lock(), fiber_on_pool().
 *
 * Requests come to exactly one of two entries. submit() is asynchronous: it must end in
 * block_complete(). perform() is straight-line: each request has a fiber of its own, and what it
 * returns (0 or -errno) completes the request. Many run at once.
 */
#pragma once

#include "aio/loop.h"
#include "block/core/block.h"
#include "block/core/fiber.h"
#include "block/core/image.h"

#include <stdatomic.h>

enum block_kind { BLOCK_PROTOCOL, BLOCK_FORMAT, BLOCK_FILTER };

/* One line of "-o help", and how a value is checked: str, size, bool, int or a|b|c. */
struct block_option {
	const char *name;
	const char *type;
	const char *help;
};

/* What a driver's create() works on: an open, empty, growable file, and options to take from. */
struct block_create {
	const struct block_driver *driver;
	const char *filename;
	struct block_node *file; /* NULL: the driver makes its files itself (create_bare) */
	uint64_t size;
	json_t *options; /* take what is known; the core refuses what is left */
	struct aio_loop *loop;
	struct block_graph *graph; /* where secrets are; or NULL */
};

/*
 * For create(): make an empty file, or volume of a server, and open it growable. It has the options
 * that are the file's and not the format's.
 */
struct block_node *block_create_file(const struct block_create *create, const char *filename,
				     GError **error);

struct block_driver {
	const char *name;
	enum block_kind kind;
	const void *family; /* what drivers that share their functions differ in; or NULL */
	bool transparent; /* a filter that shows the bytes of its file child, and has its size */
	size_t node_size;
	/* How sure (0 to 100) that a file that begins with `head` has this format. May be NULL. */
	unsigned (*probe)(const uint8_t *head, size_t length, const char *filename);
	/* Protocols: "nbd" claims names that begin with "nbd:" or "nbd+"; turn one into options. */
	const char *prefix;
	bool (*parse_filename)(const char *filename, json_t *dict, GError **error);
	/*
	 * Set node->size and node->limits. Take the keys that the driver knows out of `dict`
	 * (block/core/options.h); what is left is refused by name. Children are opened with
	 * block_open_child(). On failure the core closes children; close() is not called.
	 */
	bool (*open)(struct block_node *node, json_t *dict, GError **error);
	/* Write back and free what open() made, not the node. Children are still open. May be NULL. */
	void (*close)(struct block_node *node);

	void (*submit)(struct block_node *node, struct block_request *request);
	int (*perform)(struct block_node *node, struct block_request *request);
	void (*plug)(struct block_node *node);   /* may be NULL */
	void (*unplug)(struct block_node *node); /* may be NULL */
	/* Somebody waits for requests in flight to end (block_drain()): do not hold them back. */
	void (*hurry)(struct block_node *node, bool on); /* may be NULL */
	/*
	 * The node may be served by another loop from time to time (block/core/move.h): what it keeps between
	 * requests is of no loop, or leave_loop() takes it off the loop, whose thread calls it, and
	 * enter_loop() puts it on the new node->loop, on that one's thread. No requests are in flight.
	 */
	bool moves;
	void (*leave_loop)(struct block_node *node); /* may be NULL */
	void (*enter_loop)(struct block_node *node); /* may be NULL */

	/* All below may be NULL: not supported, and the core says so. */

	/* What [offset, offset + length) is in this node alone; extent->length is at most `length`. */
	int (*status)(struct block_node *node, uint64_t offset, uint64_t length,
		      struct block_extent *extent);
	bool (*resize)(struct block_node *node, uint64_t size, GError **error);
	/*
	 * Become writable or read-only; what is below has become writable before, or does become
	 * read-only afterwards. node->readonly is the core's to set. No requests are in flight.
	 */
	bool (*set_readonly)(struct block_node *node, bool readonly, GError **error);
	/* Add keys as in qemu-img's ImageInfo: cluster-size, dirty-flag, snapshots, format-specific. */
	bool (*info)(struct block_node *node, json_t *info, GError **error);
	/* The most that is kept in memory of the image's tables; NULL: it cannot say. */
	void (*cache_bound)(const struct block_node *node, struct block_cache_bound *bound);
	bool (*check)(struct block_node *node, struct block_check *check, GError **error);
	bool (*amend)(struct block_node *node, json_t *options, bool force,
		      struct block_progress *progress, GError **error);
	bool (*change_backing)(struct block_node *node, const char *file, const char *format,
			       GError **error);
	/* Make the image empty, so that all reads come from the backing file. */
	bool (*make_empty)(struct block_node *node, GError **error);
	bool (*snapshot_create)(struct block_node *node, const struct block_snapshot *snapshot,
				GError **error);
	bool (*snapshot_apply)(struct block_node *node, const char *name_or_id, GError **error);
	bool (*snapshot_delete)(struct block_node *node, const char *name_or_id, GError **error);
	/* Read-only nodes: show what a snapshot holds (both not NULL: it has that id and that name). */
	bool (*snapshot_view)(struct block_node *node, const char *id, const char *name, GError **error);
	bool (*snapshot_list)(struct block_node *node, GPtrArray *list, GError **error);
	/*
	 * Persistent bitmaps: the driver makes those of the image part of node->dirty in open(), and
	 * writes back in close() and set_readonly() those that are persistent.
	 */
	bool (*can_keep_bitmaps)(struct block_node *node, GError **error);

	bool fresh_is_noise; /* what create() makes does not read as zeroes */
	const struct block_option *create_options, *amend_options; /* end with name == NULL */
	bool create_bare;
	bool (*create)(const struct block_create *create, GError **error);
	/* Protocols: take away what create() has made. `what` has no file, size or options. */
	bool (*remove)(const struct block_create *what, GError **error);
	/* Bytes that an image of `source` (or of `size` if NULL) would need. Fills `measure`. */
	bool (*measure)(struct block_node *source, uint64_t size, json_t *options,
			struct block_measure *measure, GError **error);
};

struct block_node {
	const struct block_driver *driver;
	char *node_name, *filename;
	const char *format_name;
	struct aio_loop *loop;
	_Atomic uint64_t size;
	bool readonly, writethrough, no_flush, discard, detect_zeroes;
	bool probed;   /* the format was guessed */
	bool encrypted; /* what it shows is stored encrypted; set by open() */
	bool growable; /* the parent is a format: writes beyond the end extend the file */
	bool loose_end; /* and it ignores what is at the end: the file may be longer than it was written */
	struct block_open_options options; /* what children inherit; its strings are not kept */
	struct block_limits limits;
	_Atomic unsigned in_flight;
	unsigned plugged;
	struct block_stats stats; /* the loop's thread writes; readers may see a torn moment */

	/* The graph. References; a child may have several parents. */
	unsigned references;
	bool closing; /* the last reference is gone, though who walks over all nodes may hold it for a moment */
	unsigned chain_depth; /* how many format nodes are above it in a backing chain */
	struct block_graph *graph;
	struct block_node *file, *backing, *data_file; /* NULL: none */
	GPtrArray *extra;      /* of further children (extents); NULL: none */
	char *backing_name, *backing_format; /* as the image says; set by open() */
	struct block_forward *free_forwards;

	struct block_dirty *dirty; /* block/core/dirty.h */
	struct block_histograms *histograms; /* block/core/histogram.h; or NULL */
	_Atomic int io_status;     /* enum block_io_status, of a device's root */
	const char *job;           /* the kind of job that has this node, or NULL */
	uint64_t write_threshold;  /* 0: none; else a write that ends behind it is reported, once */
	uint64_t threshold_was;
	void (*threshold_passed)(struct block_node *node, uint64_t excess);
	void *threshold_opaque;
};

/* The drivers there are (block/core/drivers.c). Ends with NULL. */
extern const struct block_driver *const block_drivers[];
const struct block_driver *block_driver_find(const char *name);

/* Make the node known by its name in its graph, if it has both. */
bool block_graph_add(struct block_node *node, GError **error);
/* Every node is in its graph from block_node_init() until it is freed. `graph` may be NULL. */
void block_graph_enter(struct block_graph *graph, struct block_node *node);
void block_graph_leave(struct block_graph *graph, struct block_node *node);
/* Every node there is. */
const GPtrArray *block_graph_all(const struct block_graph *graph);

/*
 * Open what `dict` says under `key` (a dictionary, a node's name, or "KEY.filename" given as a
 * string in fallback_name) as a child of `parent`. The caller stores and the core closes it.
 */
struct block_node *block_open_child(struct block_node *parent, json_t *dict, const char *key,
				    const char *fallback_name, GError **error);
/* The driver's last word on a request: `result` is 0 or -errno. On the node's loop. */
void block_complete(struct block_request *request, int result);
/*
 * For submit() of nodes that change nothing but the place: the same request on `child`, `shift`
 * bytes further on; its result becomes the result.
 */
void block_forward(struct block_node *child, struct block_request *request, uint64_t shift);

/* The places where a node keeps its children, one after the other; NULL: no more. */
struct block_node **block_child_place(struct block_node *node, unsigned index);

/* The objects (block/core/object.c) and throttle groups (block/core/throttle.c) of a graph. */
GPtrArray *block_graph_objects(struct block_graph *graph);
GPtrArray *block_graph_throttles(struct block_graph *graph);

/* The next of node->free_forwards, to free them. */
struct block_forward *block_forward_next(struct block_forward *forward);

/* On a fiber: 0 or -errno. With an iov, `flags` are enum block_request_flags. */
int block_pread(struct block_node *node, uint64_t offset, void *buffer, uint64_t length);
int block_pwrite(struct block_node *node, uint64_t offset, const void *buffer, uint64_t length);
int block_io(struct block_node *node, enum block_op op, unsigned flags, uint64_t offset,
	     uint64_t length, struct iovec *iov, unsigned iov_count);
int block_flush(struct block_node *node);

/* Several requests of one fiber at the same time: start them, then wait for all. */
struct block_batch {
	unsigned pending;
	int result; /* the first failure */
	struct fiber *waiter;
};
struct block_batch_item {
	struct block_request request;
	struct block_batch *batch;
};
void block_batch_add(struct block_batch *batch, struct block_batch_item *item,
		     struct block_node *node);
int block_batch_wait(struct block_batch *batch);

/* Part of an iov: fills `out` (as many entries as `iov_count`); returns how many are used. */
unsigned block_iov_slice(const struct iovec *iov, unsigned iov_count, uint64_t skip,
			 uint64_t length, struct iovec *out);
void block_iov_copy(const struct iovec *iov, unsigned iov_count, uint64_t skip, void *bytes,
		    uint64_t length, bool from_iov);
void block_iov_zero(const struct iovec *iov, unsigned iov_count, uint64_t skip, uint64_t length);

/* open() of a filter: its file child, and what it shows of that. */
bool block_filter_open(struct block_node *node, json_t *dict, GError **error);
/* A filter over `child`, whose reference it takes: size, limits and names are the child's. */
struct block_node *block_filter_new(const struct block_driver *driver, struct block_graph *graph,
				    struct block_node *child);

/* block/filter/overlay.c: writes to a temporary file over `base`, which it takes over. */
struct block_node *block_overlay_open(struct block_node *base,
				      const struct block_open_options *options, GError **error);
/* Fill what the options say; `size` and `limits` are the driver's to set. */
void block_node_init(struct block_node *node, const struct block_driver *driver,
		     const struct block_open_options *options, struct aio_loop *loop);
/* Close its children and free it and what every node has; what the driver's open() made is gone before. */
void block_node_free(struct block_node *node);
