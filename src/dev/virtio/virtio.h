/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio 1.2 core: device status, feature negotiation, virtqueues (split and packed, indirect,
 * event index, ring reset), configuration space; independent of transport (virtio/pci.c, mmio.c).
 *
 * A device type is a const struct virtio_type; its instance embeds `struct virtio_device` first.
 * The guest is hostile: every descriptor, index and length is checked, and a violation puts the
 * device into DEVICE_NEEDS_RESET (virtio_broken()), never the process into trouble.
 *
 * Threads. Status, features, queue set-up and configuration are under vdev->lock, on whatever vCPU
 * thread accesses the registers. What a live queue does (virtq_pop() to virtq_notify()) belongs to
 * the thread of the queue's loop, without a lock; all queues of a device that share state share a
 * loop. The doorbell eventfd wakes it; a vCPU that comes out of the guest with the doorbell itself
 * (an engine without ioeventfds) borrows the loop if it can, and does the work there and then. So
 * "the loop's thread" means whoever holds the loop (aio/loop.h). Taking a queue down therefore
 * happens on its loop: a reset asks for it through the doorbell, and device status reads as before until the last chain that
 * the device holds has come back (2.4.1: the driver waits for 0). The vCPU is held back for a
 * moment, so that drivers that do not poll find the reset done; it never waits without a bound,
 * because the main loop may at the same time be waiting for that vCPU to leave the guest.
 */
#pragma once

#include "dev/core/device.h"
#include "vm/space.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#define VIRTQUEUE_MAX_SIZE 1024
#define VIRTIO_CONFIG_MAX 256
#define VIRTIO_QUEUES_MAX 256
#define VIRTIO_NO_VECTOR 0xffff

struct virtio_device;
struct virtqueue;
struct aio_loop;

enum {
	VIRTIO_F_INDIRECT_DESC = 28, VIRTIO_F_EVENT_IDX = 29, VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_ACCESS_PLATFORM = 33, VIRTIO_F_RING_PACKED = 34, VIRTIO_F_IN_ORDER = 35,
	VIRTIO_F_RING_RESET = 40,
};

#define VIRTIO_BIT(feature) (UINT64_C(1) << (feature))

enum {
	VIRTIO_STATUS_ACKNOWLEDGE = 1, VIRTIO_STATUS_DRIVER = 2, VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8, VIRTIO_STATUS_NEEDS_RESET = 64, VIRTIO_STATUS_FAILED = 128,
};

/* Where a device-writable segment lies, for dirty tracking. */
struct virtq_place {
	struct ram_block *ram;
	uint64_t offset;
};

/*
 * A chain of descriptors, popped from a queue. `out` is what the driver wrote (device reads), `in`
 * what the device writes. Pointers are into guest RAM, whose bytes may change at any time: copy
 * before checking. Comes from the queue's pool and goes back by virtq_push(), _unpop() or _drop().
 */
struct virtq_chain {
	struct iovec *out, *in;
	struct virtq_place *in_places;
	unsigned out_count, in_count;
	uint64_t out_bytes, in_bytes;
	uint16_t head;            /* the chain's id */
	uint16_t ndescs;          /* ring slots it took: packed as described, split 1 */
	struct virtq_chain *next; /* free for the device's use while it owns the chain */
	struct virtqueue *vq;
	void *device_private;     /* set once by the device if it wants per-chain state */
};

struct virtio_type {
	uint16_t id;              /* virtio 1.2, section 5 */
	const char *name;         /* "virtio-blk" */
	uint32_t pci_class;       /* base << 16 | sub << 8 | interface */
	unsigned config_size;
	const char *pci_rom;      /* what such a card's expansion ROM usually is, or NULL */
	unsigned pci_vectors;     /* MSI-X vectors by default; 0: one per queue and one more */

	/* The device's life, called by the transports' device classes; see dev/core/device.h. */
	bool (*open)(struct virtio_device *vdev, GError **error);   /* may be NULL */
	bool (*create)(struct virtio_device *vdev, GError **error); /* calls virtio_add_queue() */
	void (*start)(struct virtio_device *vdev);                  /* may be NULL */
	void (*stop)(struct virtio_device *vdev);                   /* may be NULL */
	void (*destroy)(struct virtio_device *vdev);                /* may be NULL; before the queues go */
	/* Wait for what is in flight; before a machine reset. May be NULL. */
	void (*drain)(struct virtio_device *vdev);

	/* Under vdev->lock. */
	uint64_t (*features)(struct virtio_device *vdev); /* offered, without the core's own */
	bool (*features_ok)(struct virtio_device *vdev, uint64_t accepted); /* NULL: any subset */
	/* Fill all of `config`. Any thread. */
	void (*read_config)(struct virtio_device *vdev, uint8_t *config);
	/* vdev->config[offset, offset + size) was written. NULL: read-only. */
	void (*write_config)(struct virtio_device *vdev, unsigned offset, unsigned size);
	/* Features are final; the queues go live next, and see what was written here. May be NULL. */
	void (*driver_ok)(struct virtio_device *vdev);
	/* Back to the state before negotiation; all queues are off. May be NULL. */
	void (*reset)(struct virtio_device *vdev);

	/* On the thread of the queue's loop (or a vCPU that has borrowed it), without vdev->lock. */
	void (*kick)(struct virtio_device *vdev, struct virtqueue *vq);
	/* The queue goes down: give back (virtq_drop()) chains that wait for something. May be NULL. */
	void (*drop)(struct virtio_device *vdev, struct virtqueue *vq);
};

/* What a transport provides. */
struct virtio_transport_ops {
	void (*notify)(struct virtio_device *vdev, unsigned queue); /* queue interrupt; any thread */
	void (*notify_config)(struct virtio_device *vdev);          /* any thread */
	void (*reset)(struct virtio_device *vdev); /* vectors, ISR, selectors; under vdev->lock */
};

struct virtio_device {
	struct device *owner;              /* the device on its bus: for id and vm */
	const struct virtio_type *type;
	const struct virtio_transport_ops *transport;
	void *transport_opaque;
	struct vm *vm;
	pthread_mutex_t lock;
	pthread_cond_t settled;            /* a queue went off, or a reset was completed */
	_Atomic uint8_t status;
	uint64_t offered, accepted;
	uint64_t withheld;                 /* never offered: set by the type's create */
	_Atomic uint32_t generation;       /* of the configuration space */
	uint8_t config[VIRTIO_CONFIG_MAX];
	unsigned queue_count;
	struct virtqueue **queues;
	_Atomic bool running;              /* the VM runs: queues may be processed */
	_Atomic bool dma;                  /* the transport lets it master the bus */
	_Atomic bool broken;
	bool resetting;
	/* Properties of every virtio device. */
	bool allow_indirect, allow_event_idx, allow_packed, allow_queue_reset;
};

#define VIRTIO_PROPERTIES(struct_, field_)                                                         \
	PROPERTY(struct_, field_.allow_indirect, "indirect_desc", PROPERTY_BOOL, "on",             \
		 "offer indirect descriptors"),                                                    \
	PROPERTY(struct_, field_.allow_event_idx, "event_idx", PROPERTY_BOOL, "on",                \
		 "offer the event index"),                                                         \
	PROPERTY(struct_, field_.allow_packed, "packed", PROPERTY_BOOL, "off",                     \
		 "offer packed virtqueues"),                                                       \
	PROPERTY(struct_, field_.allow_queue_reset, "queue_reset", PROPERTY_BOOL, "on",            \
		 "offer the reset of single queues")

/* ---- For device types ---- */

/*
 * `loop` NULL: the VM's main loop. `size` is a power of two up to VIRTQUEUE_MAX_SIZE; the driver
 * may choose less. Main thread, in `create`.
 */
struct virtqueue *virtio_add_queue(struct virtio_device *vdev, unsigned size, struct aio_loop *loop,
				   GError **error);
static inline bool virtio_has(const struct virtio_device *vdev, unsigned feature)
{
	return vdev->accepted >> feature & 1;
}
/* The guest broke the protocol: log, set NEEDS_RESET, tell the driver, stop the queues. Any thread. */
void virtio_broken(struct virtio_device *vdev, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The device changed its configuration: bump the generation and interrupt. Any thread. */
void virtio_config_changed(struct virtio_device *vdev);
/* DRIVER_OK and not broken. Any thread. */
bool virtio_is_up(const struct virtio_device *vdev);

unsigned virtq_index(const struct virtqueue *vq);
/* The size that the driver chose. */
unsigned virtq_size(const struct virtqueue *vq);
struct aio_loop *virtq_loop(const struct virtqueue *vq);
/*
 * A live queue moves to another loop: leave on the thread of the loop that serves it, while the device holds no
 * chain that could come back, then enter on the thread of `loop`. Doorbells between the two are kept.
 */
void virtq_leave_loop(struct virtqueue *vq);
void virtq_enter_loop(struct virtqueue *vq, struct aio_loop *loop);
/* May chains be popped now? False while the VM is paused. */
bool virtq_ready(const struct virtqueue *vq);
/* Has the driver made a chain available? */
bool virtq_available(struct virtqueue *vq);
/* The next available chain, or NULL if there is none, the queue is not ready, or the guest broke it. */
struct virtq_chain *virtq_pop(struct virtqueue *vq);
/* Put back the last popped chain, unused. */
void virtq_unpop(struct virtqueue *vq, struct virtq_chain *chain);
/* Return a chain with `written` bytes of `in` filled; marks them dirty. Then virtq_notify(). */
void virtq_push(struct virtqueue *vq, struct virtq_chain *chain, uint32_t written);
/* The same for several at once: the driver sees all of them or none. `count` is at least 1. */
void virtq_push_batch(struct virtqueue *vq, struct virtq_chain *const *chains,
		      const uint32_t *written, unsigned count);
/* Give a chain back to the pool without telling the driver: the queue goes down or is broken. */
void virtq_drop(struct virtqueue *vq, struct virtq_chain *chain);
/* Interrupt the driver if it asked for it. */
void virtq_notify(struct virtqueue *vq);
/* Ask for (or suppress) doorbells; enabling returns true if chains are available: look again. */
bool virtq_enable_kicks(struct virtqueue *vq);
void virtq_disable_kicks(struct virtqueue *vq);
/* Have `kick` called again soon, as if the driver had rung. Any thread. */
void virtq_kick_later(struct virtqueue *vq);

/* ---- Queues that somebody else serves (vhost) ---- */

/*
 * From create on, the driver's doorbells go to an eventfd for the server, and no chain is ever popped
 * here. The type's kick is then called whenever virtq_ready() may have changed, and drop when the
 * queue goes down: it has the server begin or end. What the server writes to the call eventfd
 * interrupts the driver.
 */
bool virtq_serve_elsewhere(struct virtqueue *vq, GError **error);
/* The ring of a queue that is enabled and was activated; rings are split. */
struct virtq_layout {
	unsigned size;
	void *host[3];     /* by enum virtq_address */
	int kick, call;    /* eventfds; they stay the queue's */
};
struct virtq_layout virtq_layout(const struct virtqueue *vq);
/* How many chains have been used, by the ring itself. */
uint16_t virtq_used_index(const struct virtqueue *vq);

/* Copy between chain memory and a buffer, at an offset; short counts at the end. */
size_t virtq_read(const struct virtq_chain *chain, uint64_t offset, void *buffer, size_t length);
size_t virtq_write(const struct virtq_chain *chain, uint64_t offset, const void *buffer,
		   size_t length);
/*
 * The part [offset, offset + length) of `iov` as another vector of at most `max` entries. Returns
 * its count, or -1 if it does not fit or `iov` is too short.
 */
int virtq_iov_slice(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t length,
		    struct iovec *slice, unsigned max);

/* ---- For transports ---- */

void virtio_init(struct virtio_device *vdev, struct device *owner, const struct virtio_type *type);
/* After the type's create: the offered features are fixed. False if the property set is wrong. */
bool virtio_attach_transport(struct virtio_device *vdev, const struct virtio_transport_ops *ops,
			     void *opaque, GError **error);
void virtio_cleanup(struct virtio_device *vdev);
/* Machine reset: main thread, no vCPU runs; returns with the device idle. */
void virtio_reset(struct virtio_device *vdev);
/* VM starts or pauses. Main thread. */
void virtio_start(struct virtio_device *vdev);
void virtio_stop(struct virtio_device *vdev);
/* Bus mastering was switched. */
void virtio_set_dma(struct virtio_device *vdev, bool on);

/* Registers. All take vdev->lock. `n` beyond the queues reads 0 and ignores writes. */
uint8_t virtio_get_status(struct virtio_device *vdev);
void virtio_set_status(struct virtio_device *vdev, uint8_t value);
uint32_t virtio_get_features(struct virtio_device *vdev, unsigned word, bool accepted);
void virtio_set_features(struct virtio_device *vdev, unsigned word, uint32_t value);
uint64_t virtio_config_read(struct virtio_device *vdev, uint64_t offset, unsigned size);
void virtio_config_write(struct virtio_device *vdev, uint64_t offset, uint64_t value, unsigned size);

enum virtq_address { VIRTQ_DESC, VIRTQ_DRIVER, VIRTQ_DEVICE };
unsigned virtio_queue_max_size(struct virtio_device *vdev, unsigned n);
unsigned virtio_queue_size(struct virtio_device *vdev, unsigned n);
void virtio_queue_set_size(struct virtio_device *vdev, unsigned n, unsigned size);
uint32_t virtio_queue_get_address(struct virtio_device *vdev, unsigned n, enum virtq_address which,
				  bool high);
void virtio_queue_set_address(struct virtio_device *vdev, unsigned n, enum virtq_address which,
			      bool high, uint32_t value);
bool virtio_queue_enabled(struct virtio_device *vdev, unsigned n);
void virtio_queue_enable(struct virtio_device *vdev, unsigned n);
/* Ring reset (2.6.1); waits for a moment. virtio_queue_resetting() tells if it is still going on. */
void virtio_queue_reset(struct virtio_device *vdev, unsigned n);
bool virtio_queue_resetting(struct virtio_device *vdev, unsigned n);
/* Fill in what a doorbell of queue n does. */
void virtio_queue_doorbell(struct virtio_device *vdev, unsigned n, struct space_doorbell *doorbell);
/* Wake the thread of queue n's loop. Any thread, under any lock. */
void virtio_queue_ring(struct virtio_device *vdev, unsigned n);
