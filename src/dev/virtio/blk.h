/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block device, virtio 1.2 section 5.2. */
#pragma once

#include "aio/loop.h"
#include "dev/virtio/virtio.h"

struct block_node;
struct blk_queue;

enum virtio_blk_on_error {
	VIRTIO_BLK_ERROR_AUTO, VIRTIO_BLK_ERROR_REPORT, VIRTIO_BLK_ERROR_IGNORE,
	VIRTIO_BLK_ERROR_ENOSPC, VIRTIO_BLK_ERROR_STOP,
};
extern const char *const virtio_blk_on_error_names[], *const virtio_blk_cache_names[];

struct virtio_blk {
	struct virtio_device vdev;
	/* Properties. */
	struct block_node *node;
	char *iothread; /* the id of the object; who made it moves the disk (devices.h); or NULL */
	char *serial;
	uint16_t num_queues, queue_size; /* num_queues UINT16_MAX: one for each vCPU */
	uint32_t logical_block, physical_block, min_io, opt_io, discard_granularity;
	uint32_t max_discard, max_write_zeroes; /* in sectors */
	bool config_wce, discard, write_zeroes, share_rw;
	int write_cache; /* 0: auto, 1: on, 2: off */
	int rerror, werror;
	uint32_t boot_index;

	_Atomic bool writeback;  /* what the guest sees and may change */
	_Atomic bool write_fua;  /* each write must be on stable storage: decided at DRIVER_OK */
	struct aio_timer pause;
	struct blk_queue *queues;

	/* All queues and the node are on one loop, the VM's or another; the main thread moves them. */
	struct aio_loop *loop;
	unsigned pinned; /* must stay at the VM's loop; main thread */
	bool held_back;  /* takes no more requests, to become idle; on the VM's loop */
};

/*
 * Back to the VM's loop if the disk is elsewhere, after what is under way has ended. Main thread. On that loop
 * it waits for nobody; elsewhere that loop's thread must be there.
 */
void virtio_blk_go_home(struct virtio_blk *blk);

#define VIRTIO_BLK_PROPERTIES(struct_, field_)                                                     \
	VIRTIO_PROPERTIES(struct_, field_.vdev),                                                   \
	PROPERTY(struct_, field_.node, "drive", PROPERTY_DRIVE, NULL, "disk image to show"),       \
	PROPERTY(struct_, field_.iothread, "iothread", PROPERTY_STRING, NULL,                      \
		 "the -object iothread that serves the disk"),                                     \
	PROPERTY(struct_, field_.serial, "serial", PROPERTY_STRING, NULL,                          \
		 "serial number, at most 20 characters"),                                          \
	PROPERTY(struct_, field_.num_queues, "num-queues", PROPERTY_U16, "65535",                  \
		 "request queues; 65535: one for each vCPU"),                                      \
	PROPERTY(struct_, field_.queue_size, "queue-size", PROPERTY_U16, "256",                    \
		 "entries of each queue, a power of two"),                                         \
	PROPERTY(struct_, field_.logical_block, "logical_block_size", PROPERTY_U32, "0",           \
		 "smallest access in bytes; 0: the image's"),                                      \
	PROPERTY(struct_, field_.physical_block, "physical_block_size", PROPERTY_U32, "0",         \
		 "best access in bytes; 0: the image's"),                                          \
	PROPERTY(struct_, field_.min_io, "min_io_size", PROPERTY_U32, "0", "in bytes"),            \
	PROPERTY(struct_, field_.opt_io, "opt_io_size", PROPERTY_U32, "0", "in bytes"),            \
	PROPERTY(struct_, field_.discard_granularity, "discard_granularity", PROPERTY_U32,         \
		 "4294967295", "in bytes; 4294967295: the image's"),                               \
	PROPERTY(struct_, field_.max_discard, "max-discard-sectors", PROPERTY_U32, "4194303",      \
		 "largest discard in sectors of 512 bytes"),                                       \
	PROPERTY(struct_, field_.max_write_zeroes, "max-write-zeroes-sectors", PROPERTY_U32,       \
		 "4194303", "largest write-zeroes in sectors of 512 bytes"),                       \
	PROPERTY(struct_, field_.config_wce, "config-wce", PROPERTY_BOOL, "on",                    \
		 "let the guest switch the write cache"),                                          \
	PROPERTY(struct_, field_.discard, "discard", PROPERTY_BOOL, "on", "offer discard"),        \
	PROPERTY(struct_, field_.write_zeroes, "write-zeroes", PROPERTY_BOOL, "on",                \
		 "offer write-zeroes"),                                                            \
	PROPERTY(struct_, field_.boot_index, "bootindex", PROPERTY_U32, "4294967295",              \
		 "place in the firmware's boot order"),                                            \
	PROPERTY(struct_, field_.share_rw, "share-rw", PROPERTY_BOOL, "off",                       \
		 "others may write to the image too"),                                             \
	{.name = "write-cache", .type = PROPERTY_ENUM,                                             \
	 .offset = offsetof(struct_, field_.write_cache), .initial = "auto",                       \
	 .names = virtio_blk_cache_names, .help = "does the disk have a volatile cache"},          \
	{.name = "rerror", .type = PROPERTY_ENUM, .offset = offsetof(struct_, field_.rerror),      \
	 .initial = "auto", .names = virtio_blk_on_error_names, .help = "when a read fails"},      \
	{.name = "werror", .type = PROPERTY_ENUM, .offset = offsetof(struct_, field_.werror),      \
	 .initial = "auto", .names = virtio_blk_on_error_names, .help = "when a write fails"}

extern const struct virtio_type virtio_blk_type;

/* NULL: another kind of device. */
struct virtio_blk *virtio_blk_of(struct device *dev);
