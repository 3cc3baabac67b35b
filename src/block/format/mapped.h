/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What VMDK, VDI, VHD, VHDX, QED, Parallels, Bochs, cloop and DMG have in common: the disk is cut
 * into units, a table says where in a file each unit lies, and a unit that has no place yet gets one
 * when it is first written. A format gives the table (struct mapped_ops); reading, writing, zeroing
 * and status are done here once.
 *
 * Runs on fibers. The table is looked at and changed under `lock`; bytes that have their place move
 * without it. Results are 0 or -errno.
 */
#pragma once

#include "block/core/driver.h"

enum run_kind {
	RUN_DATA,   /* bytes in run.file at run.host */
	RUN_ZERO,   /* zeroes, said by the format */
	RUN_ABSENT, /* not in this image: the backing image's, or zeroes */
	RUN_CODED,  /* compressed: only the format can read it */
};

struct run {
	enum run_kind kind;
	uint64_t length; /* of what is alike, from the offset asked for */
	struct block_node *file;
	uint64_t host;
	bool flat; /* DATA that was there from the start: the file knows where its holes are */
};

struct mapped;

struct mapped_ops {
	/* What is at `offset`; `length` (> 0) says how much the caller cares for. */
	int (*map)(struct mapped *image, uint64_t offset, uint64_t length, struct run *run);
	/* Read inside one unit that map() called coded. */
	int (*read_coded)(struct mapped *image, uint64_t offset, void *bytes, uint64_t length);
	/* Find room for the unit at `offset`, reading as zeroes until written. NULL: read-only. */
	int (*place)(struct mapped *image, uint64_t offset, struct run *run);
	/* The unit's bytes are written to `run`: enter it into the table. */
	int (*enter)(struct mapped *image, uint64_t offset, const struct run *run);
	/* Make the whole unit read as zeroes. NULL: zeroes are written like other bytes. */
	int (*zero_unit)(struct mapped *image, uint64_t offset);
	/* Before the first change since opening. May be NULL. */
	int (*begin_changes)(struct mapped *image);
	/* Store a whole unit compressed. NULL: cannot. */
	int (*write_coded)(struct mapped *image, uint64_t offset, const void *bytes, uint64_t length);
};

struct mapped {
	struct block_node node;
	const struct mapped_ops *ops;
	uint64_t unit;   /* bytes; the last unit of a disk may be cut short */
	bool changed;    /* begin_changes() was called */
	bool only_coded; /* every write is stored compressed (stream-optimized VMDK) */
	struct fiber_mutex lock;
};

/* Entries of struct block_driver. */
int mapped_perform(struct block_node *node, struct block_request *request);
int mapped_status(struct block_node *node, uint64_t offset, uint64_t length,
		  struct block_extent *extent);

/* For formats that are only read: qemu-img does not say whether they were closed. */
bool mapped_plain_info(struct block_node *node, json_t *info, GError **error);

/* Set what a format's open() has to set; the image's file is node->file. */
void mapped_init(struct mapped *image, const struct mapped_ops *ops, uint64_t size, uint64_t unit);

/* --- for the formats ------------------------------------------------------------------------------ */

/* Reads exactly `length` bytes; a shorter file is an error that says so. */
bool format_read(struct block_node *file, uint64_t offset, void *bytes, uint64_t length,
		 GError **error);
/* As format_read(), into memory that it takes: free with g_free(). NULL on failure. */
void *format_load(struct block_node *file, uint64_t offset, uint64_t length, const char *what,
		  GError **error);
bool format_write(struct block_node *file, uint64_t offset, const void *bytes, uint64_t length,
		  GError **error);
/* Make the file at least `size` bytes long; what is new reads as zeroes. 0 or -errno. */
int format_grow(struct block_node *file, uint64_t size);
/*
 * Room up to `size` that a table may speak of, since it is there after a power cut: the file grows by
 * steps of `step` bytes and is flushed at each. *certain: how long it surely is. 0 or -errno.
 */
int format_reserve(struct block_node *file, uint64_t size, uint64_t step, uint64_t *certain);
bool format_grow_or_fail(struct block_node *file, uint64_t size, GError **error);
/* Count one corruption and say it. */
void format_check_error(struct block_check *check, const char *text, ...) G_GNUC_PRINTF(2, 3);
/* A random UUID, version 4. */
void format_new_uuid(uint8_t bytes[16]);
