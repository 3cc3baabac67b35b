/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Console device, virtio 1.2 section 5.3 ("virtio-serial"): a controller with ports. A port is a
 * device of its own (virtserialport, virtconsole) on the controller's bus.
 */
#pragma once

#include "dev/virtio/virtio.h"

#define VIRTIO_SERIAL_PORTS_MAX 31

struct chardev;
struct virtio_serial;

/* What the driver still has to be told of a port, in this order. */
enum port_news {
	PORT_NEWS_ADD = 1 << 0, PORT_NEWS_CONSOLE = 1 << 1, PORT_NEWS_NAME = 1 << 2,
	PORT_NEWS_RESIZE = 1 << 3, PORT_NEWS_OPEN = 1 << 4, PORT_NEWS_REMOVE = 1 << 5,
};

struct virtio_serial_port {
	struct device dev;
	/* Properties. */
	struct chardev *chr;
	char *name;
	uint32_t nr; /* UINT32_MAX: the next free one */

	struct virtio_serial *serial; /* NULL: not attached */
	bool console;
	/* On the main loop. */
	bool guest_ready, guest_open, host_open;
	unsigned news;                /* enum port_news */
	uint16_t cols, rows;
	struct virtq_chain *tx;       /* not yet taken by the stream */
	uint64_t tx_offset;
	struct virtq_chain *rx;       /* room for the stream's next bytes */
};

struct virtio_serial {
	struct virtio_device vdev;
	/* Properties. */
	uint32_t max_ports;

	struct virtio_serial_port *ports[VIRTIO_SERIAL_PORTS_MAX];
	bool driver_ready;            /* on the main loop */
	uint32_t removed;             /* ports gone of which the driver must hear, by number */
	void (*port_changed)(void *opaque, const char *id, bool open);
	void *port_changed_opaque;
};

#define VIRTIO_SERIAL_PROPERTIES(struct_, field_)                                                  \
	VIRTIO_PROPERTIES(struct_, field_.vdev),                                                   \
	PROPERTY(struct_, field_.max_ports, "max_ports", PROPERTY_U32, "31", "ports, at most 31")

extern const struct virtio_type virtio_serial_type;
struct virtio_serial *virtio_serial_of(struct device *dev);
