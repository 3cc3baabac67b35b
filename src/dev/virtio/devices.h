/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio device classes, for the machine's list, and what the monitor may ask of a device. */
#pragma once

#include "dev/core/device.h"

struct chardev;
struct aio_loop;
struct ram_block;

/* On "PCI": dev->bus is a struct pci_bus. */
extern const struct device_class virtio_blk_pci, virtio_net_pci, virtio_rng_pci, virtio_serial_pci,
	virtio_balloon_pci, virtio_mem_pci, virtio_vsock_pci, virtio_9p_pci;
/* On "virtio-bus": dev->bus is a struct virtio_mmio_bus. */
extern const struct device_class virtio_blk_device, virtio_net_device, virtio_rng_device,
	virtio_serial_device, virtio_balloon_device, virtio_vsock_device, virtio_9p_device;
/* On "virtio-serial-bus": dev->bus is what virtio_serial_bus() gives for the controller. */
extern const struct device_class virtserialport, virtconsole;

/* The image's size changed: tell the guest. False if `dev` is not a virtio block device. */
bool virtio_blk_resized(struct device *dev);
/*
 * May `ram` become guest memory, and the memory be in `more` parts than now? Not if who serves the rings of
 * `dev`, a network card, could not be given it then. True for any other device. Main thread.
 */
bool virtio_net_takes_memory(struct device *dev, const struct ram_block *ram, unsigned more, GError **error);
/* The block node that a virtio block device shows, or NULL. */
struct block_node *virtio_blk_node(struct device *dev);

/*
 * A virtio block device that another loop serves, whose thread runs it. The owner of that loop sends the disk
 * away while the VM runs, if block_can_move() (block/core/move.h), and brings it home before the main thread
 * touches an image below it. A stop, reset or end of the device brings it home by itself.
 */
/* What iothread= says; NULL: nothing, or no such device. Borrowed. */
const char *virtio_blk_iothread(struct device *dev);
bool virtio_blk_is_away(struct device *dev);
/* False: requests are under way, or the device does not run. Holding it back makes it idle in a while. */
bool virtio_blk_send_away(struct device *dev, struct aio_loop *loop);
void virtio_blk_hold_back(struct device *dev, bool on);
/* Waits for the requests that are under way. Other kinds of devices are not touched. */
void virtio_blk_bring_home(struct device *dev);

/*
 * All that follows is for the main thread; devices of another kind are not touched.
 */

/* The bus for ports of a virtio-serial controller, or NULL if `dev` is something else. */
void *virtio_serial_bus(struct device *dev);
/*
 * If `dev` is a virtserialport of that stream, whether a guest's program has it open; otherwise *open is
 * left alone. On the main loop.
 */
void virtio_serial_port_state(const struct device *dev, const struct chardev *chr, bool *open);
/* A guest's program opened or closed a port (QMP: VSERPORT_CHANGE). `id` may be NULL. */
void virtio_serial_set_listener(struct device *dev,
				void (*changed)(void *opaque, const char *id, bool open),
				void *opaque);
/* A virtconsole's size in characters changed. False if `dev` is not one. */
bool virtio_console_resize(struct device *dev, uint16_t cols, uint16_t rows);

/* By tag, virtio 1.2, 5.5.6.4; UINT64_MAX: not reported. */
enum {
	VIRTIO_BALLOON_SWAP_IN, VIRTIO_BALLOON_SWAP_OUT, VIRTIO_BALLOON_MAJOR_FAULTS,
	VIRTIO_BALLOON_MINOR_FAULTS, VIRTIO_BALLOON_FREE_MEMORY, VIRTIO_BALLOON_TOTAL_MEMORY,
	VIRTIO_BALLOON_AVAILABLE_MEMORY, VIRTIO_BALLOON_DISK_CACHES,
	VIRTIO_BALLOON_HTLB_ALLOCATIONS, VIRTIO_BALLOON_HTLB_FAILURES,
	VIRTIO_BALLOON_STATS = 16,
};
struct virtio_balloon_stats {
	uint64_t value[VIRTIO_BALLOON_STATS];
	int64_t last_update; /* seconds since 1970; 0: never */
};
/* How much memory the guest is asked to give up. False if `dev` is not a balloon. */
bool virtio_balloon_set_target(struct device *dev, uint64_t bytes);
/* How much it has given up. */
uint64_t virtio_balloon_actual(struct device *dev);
/* That changed (QMP: BALLOON_CHANGE). */
void virtio_balloon_set_listener(struct device *dev,
				 void (*changed)(void *opaque, uint64_t actual_bytes), void *opaque);
/* Ask the guest for statistics every so many seconds; 0: never. */
void virtio_balloon_set_polling(struct device *dev, unsigned seconds);
bool virtio_balloon_get_stats(struct device *dev, struct virtio_balloon_stats *stats);

/*
 * virtio-9p-*: what -fsdev local,id=ID,path=P,security_model=S,readonly=R says, the device takes as
 * its own properties "path", "security_model" and "readonly". Whoever reads the options puts those
 * in the place of fsdev=ID; -virtfs is the same with mount_tag.
 */
