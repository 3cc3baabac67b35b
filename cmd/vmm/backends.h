/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host side of the machine by name: disk images, network back ends, streams, objects. Devices
 * find theirs here by the id in their properties.
 */
#pragma once

#include "block/core/block.h"
#include "chardev/chardev.h"
#include "conf/vm.h"
#include "dev/core/device.h"
#include "net/net.h"
#include "vm/ram.h"

#include <jansson.h>

struct backend_disk {
	char *id;
	struct block_node *node;  /* a root: what devices have. NULL: a drive without medium */
	struct block_node *named; /* -blockdev: the node of that name, which may be elsewhere by now */
	struct conf_drive *conf;  /* owned; how it was opened */
	char *tray;              /* without medium: the id of the CD drive that it is for, or NULL */
};

struct iothread;

struct backends {
	struct aio_loop *loop;
	struct block_graph *graph;
	struct block_jobs *jobs;    /* NULL until the monitors are there */
	struct nbd_server *nbd;     /* nbd-server-start; or NULL */
	GPtrArray *throttles;       /* -object throttle-group: struct throttle_group, references */
	unsigned names;             /* made up for nodes without one */
	GPtrArray *disks;    /* struct backend_disk */
	GPtrArray *nets;     /* struct net_backend */
	GPtrArray *chardevs; /* struct chardev */
	GPtrArray *iothreads; /* struct iothread: -object iothread */
	GPtrArray *objects;  /* struct conf_item: checked, without state of their own */
	/* What devices have plugged in: struct ram_block with the object's id as its name, and those
	 * whose object is gone; a guest may have left pointers to them in its queues. */
	GPtrArray *memories, *retired_memories;
};

void backends_init(struct backends *b, struct aio_loop *loop);
/* After the devices are gone, before the VM is. */
void backends_free_memory(struct backends *b);
/* After the devices are gone. */
void backends_clear(struct backends *b);
/* Everything that `conf` names. */
bool backends_open(struct backends *b, const struct conf_vm *conf, GError **error);

/* The device that has `backend` (a node, network, stream or memory) as a property, or NULL. */
struct device *backends_user(const GPtrArray *devices, const void *backend);
/* Another medium, or none (`conf` NULL), for the CD drive `dev`. Takes `conf`. */
bool backends_change_medium(struct backends *b, struct backend_disk *disk, struct device *dev,
			    struct conf_drive *conf, bool force, GError **error);

/* --- disks.c ------------------------------------------------------------------------------------ */
void disks_init(struct backends *b);
void disks_clear(struct backends *b);
/* The disk is out of the list before its images are closed, which takes a while: commands may come meanwhile. */
void disks_remove(struct backends *b, struct backend_disk *disk);
bool disks_add_object(struct backends *b, const struct conf_item *item, GError **error);
bool disks_add_throttle(struct backends *b, const struct conf_item *item, GError **error);
/* False: nodes use it. An id that is of no group is fine. */
bool disks_remove_throttle(struct backends *b, const char *id);
/* The disk's image as it is now, below its root; NULL: no medium. Borrowed. */
struct block_node *disks_image(const struct backend_disk *disk);
/* The VM goes on, and what failed is tried again. */
void disks_forget_errors(struct backends *b);
/* By -drive id, or by node-name. Borrowed; NULL with *error set. */
struct block_node *disks_find_node(struct backends *b, const char *name, GError **error);
/* "#block12". g_free(). */
char *disks_make_name(struct backends *b);
/* How an image of the disk was opened, for another in the same place; graph and nothing else set. */
struct block_open_options disks_options_like(struct backends *b, const struct block_node *node);

/* --- iothreads.c: see vmm.h ---------------------------------------------------------------------- */
void iothreads_init(struct backends *b);
bool iothreads_add(struct backends *b, const struct conf_item *item, GError **error);
/* No device uses it. An id that is of none is fine. */
void iothreads_remove(struct backends *b, const char *id);

/* For struct machine_config; the resolver's opaque is `b`. */
struct device_resolver backends_resolver(struct backends *b);

struct backend_disk *backends_find_disk(struct backends *b, const char *id);
struct net_backend *backends_find_net(struct backends *b, const char *id);
struct chardev *backends_find_chardev(struct backends *b, const char *id);
struct conf_item *backends_find_object(struct backends *b, const char *id);
struct ram_block *backends_find_memory(struct backends *b, const char *id);

/* Takes `conf`; the id must be new. */
bool backends_add_disk(struct backends *b, struct conf_drive *conf, GError **error);
/* As a -blockdev: `dict` is the node's (borrowed). */
bool backends_add_node(struct backends *b, const json_t *dict, GError **error);
bool backends_add_net(struct backends *b, const struct conf_item *item, GError **error);
bool backends_add_chardev(struct backends *b, const struct conf_item *item, GError **error);
bool backends_add_object(struct backends *b, const struct conf_item *item, GError **error);
/* "stdio", "chardev:ID"...; *chr is NULL for "none". A new stream gets `id`. */
bool backends_open_stream(struct backends *b, const char *spec, const char *id,
			  struct chardev **chr, GError **error);

/* NULL-ended list of -object types, with a line of help after each name. */
const char *const *backends_object_help(void);
