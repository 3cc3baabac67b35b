/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The block layer as its users (disk devices, block jobs, berth-img) see it: nodes with
 * asynchronous requests. A node is a format, a protocol or a filter; nodes form a graph through
 * their children. block/ knows nothing of vm/ or dev/.
 *
 * Threads: requests may be submitted from the thread of the loop that the node is attached to, and
 * complete there. Opening, closing and moving between loops happen on the main thread with no
 * requests in flight (block_drain()).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct aio_loop;
struct block_graph;
struct block_node;
struct json_t;

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

enum block_request_flags {
	BLOCK_REQ_FUA = 1 << 0,       /* on stable storage before completion */
	BLOCK_REQ_MAY_UNMAP = 1 << 1, /* WRITE_ZEROES may deallocate */
	BLOCK_REQ_COMPRESSED = 1 << 2, /* WRITE: compress; whole clusters, or the tail of the disk */
};

/*
 * Embedded in the submitter's own request. `iov` must stay valid until `done`, which is called
 * exactly once on the node's loop, possibly before block_submit() returns, with result 0 or -errno.
 */
struct block_request {
	enum block_op op;
	unsigned flags;
	uint64_t offset, length; /* bytes; length == total of iov for reads and writes */
	struct iovec *iov;
	unsigned iov_count;
	void (*done)(struct block_request *request, int result);
	/* The block layer's own, while the request is in flight. */
	struct block_request *next;
	struct block_node *node;
	int64_t started_ns;
};

struct block_open_options {
	const char *filename;   /* path, PROTOCOL:..., or json:{...} (block/core/options.h) */
	const char *format;     /* "raw", "qcow2"..., or NULL to look at the image's first bytes */
	const char *node_name;  /* or NULL */
	bool readonly, auto_readonly;
	bool direct;            /* O_DIRECT: cache=none, directsync */
	bool no_flush;          /* ignore flushes: cache=unsafe */
	bool writethrough;      /* every write FUA: cache=writethrough, directsync */
	bool discard;           /* discard=unmap */
	bool detect_zeroes;
	bool snapshot;          /* -snapshot: writes go to a temporary overlay */
	bool no_lock;           /* file.locking=off */
	bool force_share;       /* read although somebody else may write */
	bool no_backing;        /* do not open the backing file */
	bool check_later;       /* open even if marked corrupt: for check and repair */
	bool locked;            /* encrypted images may lack their key: nothing is read or written */
	bool legacy_aes;        /* qcow2's old encryption is allowed: tools only, as it is weak */
	struct block_graph *graph; /* where node names are looked up and registered, or NULL */
	bool anonymous;         /* in the graph, but names are neither looked up nor registered */
	const struct json_t *dict; /* a node dictionary instead of filename and format, or NULL */
	enum { BLOCK_AIO_URING, BLOCK_AIO_THREADS } aio;
};

struct block_limits {
	uint32_t request_alignment; /* power of two; what O_DIRECT asks for */
	uint32_t logical_block, physical_block;
	uint64_t max_transfer;
	uint64_t discard_alignment;
	bool can_discard, can_write_zeroes;
};

/* Main thread. Errors name the file and what to do. */
struct block_node *block_open(const struct block_open_options *options, struct aio_loop *loop,
			      GError **error);
/* Give up one reference; the last one drains, flushes and closes. Main thread. NULL is fine. */
void block_close(struct block_node *node);
/* One more user of the node; each ends with block_close(). */
struct block_node *block_ref(struct block_node *node);
void block_submit(struct block_node *node, struct block_request *request);
/* Between these, submitted requests may be held back, to go to the kernel together. Nests. */
void block_plug(struct block_node *node);
void block_unplug(struct block_node *node);
/* Wait until no request of the node is in flight, running its loop's completions. */
void block_drain(struct block_node *node);

/* Are no requests under way in `root` nor below? On its loop. */
bool block_is_idle(struct block_node *root);
/*
 * A root and all that is below it change their loop, where block_can_move() (block/core/move.h) says that they
 * may: first leave, on the thread of the loop that serves it, and idle; then enter, on the thread of `loop`. Between
 * the two the caller sees to it that nobody submits a request.
 */
void block_leave_loop(struct block_node *root);
void block_enter_loop(struct block_node *root, struct aio_loop *loop);

uint64_t block_size(const struct block_node *node);
/* Does its format store it encrypted? */
bool block_is_encrypted(const struct block_node *node);
bool block_is_readonly(const struct block_node *node);
/*
 * What became of the requests of a node's device: BLOCK_IO_NONE until that says that it stops the VM
 * over those that fail; then why it did, from the first such failure until somebody sets BLOCK_IO_OK
 * again. Any thread.
 */
enum block_io_status { BLOCK_IO_NONE, BLOCK_IO_OK, BLOCK_IO_FAILED, BLOCK_IO_NO_SPACE };
enum block_io_status block_io_status(const struct block_node *node);
void block_set_io_status(struct block_node *node, enum block_io_status status);
/* The VM stops over a request that failed with `result`, -errno. */
void block_set_io_failed(struct block_node *node, int result);
const struct block_limits *block_limits(const struct block_node *node);
const char *block_node_name(const struct block_node *node);
const char *block_filename(const struct block_node *node);
const char *block_format_name(const struct block_node *node);
/* Change the size (raw files); the device is told by the caller. */
bool block_resize(struct block_node *node, uint64_t size, GError **error);
/*
 * Read, write, flush and wait. On a fiber this waits as fibers do; on a plain stack (set-up code,
 * tests, tools) it iterates the node's loop.
 */
bool block_read_sync(struct block_node *node, uint64_t offset, void *buffer, uint64_t length,
		     GError **error);
bool block_write_sync(struct block_node *node, uint64_t offset, const void *buffer, uint64_t length,
		      GError **error);
bool block_flush_sync(struct block_node *node, GError **error);

struct block_stats {
	uint64_t ops[5], bytes[5], errors[5];
	uint64_t total_ns[5]; /* by enum block_op */
};
void block_get_stats(const struct block_node *node, struct block_stats *stats);
