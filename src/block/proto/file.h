/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file driver's parts: operations (file.c), io_uring (file_uring.c), threads (file_pool.c), growth
 * (file_ahead.c).
 */
#pragma once

#include "block/core/driver.h"

struct aio_pool;
struct file_job;
struct file_uring;

struct file_node {
	struct block_node node;
	int fd;
	bool direct, is_device, locked;
	bool hold; /* plugged: submissions wait for unplug */
	bool reads_now, writes_now; /* may be tried on the caller's thread: see transfer_now() */
	int64_t writes_slow_until;
	struct file_uring *uring; /* NULL: threads */
	struct aio_pool *pool;    /* made when first needed */
	struct file_job *free_jobs;
	GMutex widen_lock;        /* writes that O_DIRECT wants widened: read, change, write */
	_Atomic uint64_t ahead;   /* the size the file was given in advance; 0: none */
	_Atomic bool stays_behind; /* that is not possible here */
	GMutex ahead_lock;
};

/* Do the whole request on this thread: 0 or -errno. */
int file_perform(struct file_node *file, struct block_request *request);
int file_transfer_rest(struct file_node *file, const struct block_request *request, uint64_t done);
int file_allocate_mode(const struct block_request *request);
int file_allocate_result(struct file_node *file, const struct block_request *request, int result);

/* Leaves file->uring NULL if the kernel or a sandbox refuses. */
void file_uring_create(struct file_node *file);
void file_uring_destroy(struct file_node *file);
/* Take the ring off its loop, and put it on node.loop. With nothing in it. */
void file_uring_leave(struct file_node *file);
void file_uring_enter(struct file_node *file);
void file_uring_submit(struct file_node *file, struct block_request *request);
void file_uring_flush(struct file_node *file);

void file_pool_submit(struct file_node *file, struct block_request *request);
void file_pool_destroy(struct file_node *file);

/* Must the request go through file_ahead_go(), which may wait for the disk, before it is made? */
bool file_ahead_due(const struct file_node *file, const struct block_request *request);
/* Make the file longer than the request needs. Any thread. */
void file_ahead_go(struct file_node *file, const struct block_request *request);
/* Give the file the size that it is known by. No requests are in flight. */
void file_ahead_end(struct file_node *file);
