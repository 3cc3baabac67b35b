/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Console device, virtio 1.2 section 5.3. Queues 0 and 1 are port 0's, 2 and 3 are for control
 * messages, then two for each further port. What is to be said over the control queue is kept as
 * bits for each port, so a driver that gives no buffers cannot make us hoard messages.
 *
 * Everything but negotiation happens on the main loop, where the streams live.
 */
#include "dev/virtio/console.h"

#include "base/bytes.h"
#include "base/error.h"
#include "chardev/chardev.h"
#include "dev/virtio/devices.h"
#include "vm/vm.h"

#include <string.h>

enum { F_SIZE = 0, F_MULTIPORT = 1, F_EMERG_WRITE = 2 };
enum { CONFIG_COLS = 0, CONFIG_ROWS = 2, CONFIG_MAX_PORTS = 4, CONFIG_EMERG = 8, CONFIG_SIZE = 12 };
enum {
	DEVICE_READY = 0, DEVICE_ADD = 1, DEVICE_REMOVE = 2, PORT_READY = 3, CONSOLE_PORT = 4,
	RESIZE = 5, PORT_OPEN = 6, PORT_NAME = 7,
};

#define QUEUE_SIZE 128
#define CONTROL_RX 2
#define CONTROL_TX 3
#define NAME_MAX_BYTES 128

static unsigned rx_index(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

static struct virtqueue *rx_queue(const struct virtio_serial_port *port)
{
	return port->serial->vdev.queues[rx_index(port->nr)];
}

static struct virtqueue *tx_queue(const struct virtio_serial_port *port)
{
	return port->serial->vdev.queues[rx_index(port->nr) + 1];
}

/* ---- Control messages to the driver ---- */

static bool send_control(struct virtio_serial *serial, uint32_t port, uint16_t event,
			 uint16_t value, const void *payload, size_t bytes)
{
	struct virtqueue *vq = serial->vdev.queues[CONTROL_RX];
	struct virtq_chain *chain = virtq_pop(vq);
	uint8_t message[8 + NAME_MAX_BYTES];
	if (!chain)
		return false;
	le32_store(message, port);
	le16_store(message + 4, event);
	le16_store(message + 6, value);
	bytes = MIN(bytes, NAME_MAX_BYTES);
	if (bytes)
		memcpy(message + 8, payload, bytes);
	virtq_push(vq, chain, virtq_write(chain, 0, message, 8 + bytes));
	return true;
}

static bool send_news(struct virtio_serial *serial, struct virtio_serial_port *port, unsigned bit)
{
	uint8_t size[4];
	switch (bit) {
	case PORT_NEWS_ADD:
		return send_control(serial, port->nr, DEVICE_ADD, 1, NULL, 0);
	case PORT_NEWS_CONSOLE:
		return send_control(serial, port->nr, CONSOLE_PORT, 1, NULL, 0);
	case PORT_NEWS_NAME:
		return send_control(serial, port->nr, PORT_NAME, 1, port->name, strlen(port->name));
	case PORT_NEWS_RESIZE:
		le16_store(size, port->cols);
		le16_store(size + 2, port->rows);
		return send_control(serial, port->nr, RESIZE, 1, size, sizeof(size));
	default:
		return send_control(serial, port->nr, PORT_OPEN, port->host_open, NULL, 0);
	}
}

/* False: the driver has given too few buffers. */
static bool send_port_news(struct virtio_serial *serial, unsigned nr)
{
	struct virtio_serial_port *port = serial->ports[nr];
	if (serial->removed >> nr & 1) {
		if (!send_control(serial, nr, DEVICE_REMOVE, 1, NULL, 0))
			return false;
		serial->removed &= ~(1u << nr);
	}
	for (unsigned bit = PORT_NEWS_ADD; port && bit <= PORT_NEWS_OPEN; bit <<= 1) {
		/* After its existence, the rest is for a port that the driver has set up. */
		if (!(port->news & bit) || (bit != PORT_NEWS_ADD && !port->guest_ready))
			continue;
		if (!send_news(serial, port, bit))
			return false;
		port->news &= ~bit;
	}
	return true;
}

static void flush_news(struct virtio_serial *serial)
{
	struct virtqueue *vq = serial->vdev.queues[CONTROL_RX];
	if (!serial->driver_ready || !virtio_has(&serial->vdev, F_MULTIPORT) || !virtq_ready(vq))
		return;
	unsigned nr = 0;
	while (nr < serial->max_ports) {
		if (send_port_news(serial, nr))
			nr++;
		else if (!virtq_enable_kicks(vq))
			break;
	}
	virtq_notify(vq);
}

/* ---- Data ---- */

/* The stream has a byte: where to? */
static size_t port_can_read(void *opaque)
{
	struct virtio_serial_port *port = opaque;
	struct virtqueue *vq = rx_queue(port);
	if (!port->guest_open || !virtq_ready(vq))
		return 0;
	while (!port->rx) {
		port->rx = virtq_pop(vq);
		if (!port->rx && !virtq_enable_kicks(vq))
			return 0;
		if (port->rx && !port->rx->in_bytes) {
			virtio_broken(&port->serial->vdev, "input buffer without room");
			virtq_drop(vq, port->rx);
			port->rx = NULL;
			return 0;
		}
	}
	return port->rx->in_bytes;
}

static void port_read(void *opaque, const uint8_t *data, size_t length)
{
	struct virtio_serial_port *port = opaque;
	/* The queue may have gone down since can_read: bytes for a guest that reboots are lost. */
	while (length && port_can_read(port)) {
		struct virtq_chain *chain = port->rx;
		size_t taken = virtq_write(chain, 0, data, length);
		port->rx = NULL;
		virtq_push(rx_queue(port), chain, taken);
		virtq_notify(rx_queue(port));
		data += taken;
		length -= taken;
	}
}

/* Give port->tx to the stream. False: it is full, writable() follows. */
static bool write_chain(struct virtio_serial_port *port)
{
	struct virtq_chain *chain = port->tx;
	uint64_t skip = port->tx_offset;
	/* With nobody at the other end the stream lets the bytes vanish, as on a serial line; its log has them. */
	if (!port->chr)
		return true;
	for (unsigned i = 0; i < chain->out_count; i++) {
		const struct iovec *iov = &chain->out[i];
		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		size_t wanted = iov->iov_len - skip;
		size_t taken = chardev_write(port->chr, (uint8_t *)iov->iov_base + skip, wanted);
		port->tx_offset += taken;
		if (taken < wanted)
			return false;
		skip = 0;
	}
	return true;
}

static void tx_process(struct virtio_serial_port *port)
{
	struct virtqueue *vq = tx_queue(port);
	unsigned budget = 2 * virtq_size(vq);
	do {
		while (budget && virtq_ready(vq) && (port->tx || (port->tx = virtq_pop(vq)))) {
			if (!write_chain(port)) {
				virtq_notify(vq);
				return;
			}
			virtq_push(vq, port->tx, 0);
			port->tx = NULL;
			port->tx_offset = 0;
			budget--;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}

static void port_writable(void *opaque)
{
	tx_process(opaque);
}

static void set_host_open(struct virtio_serial_port *port, bool open)
{
	/* Output to a console is welcome whether or not somebody looks at it. */
	open = open || port->console;
	if (port->host_open == open)
		return;
	port->host_open = open;
	port->news |= PORT_NEWS_OPEN;
	flush_news(port->serial);
}

static void port_event(void *opaque, enum chardev_event event)
{
	struct virtio_serial_port *port = opaque;
	if (event == CHARDEV_OPENED)
		set_host_open(port, true);
	if (event != CHARDEV_CLOSED)
		return;
	set_host_open(port, false);
	/* What waits for the stream would wait for ever. */
	if (port->tx)
		tx_process(port);
}

/* ---- Control messages from the driver ---- */

static void set_guest_open(struct virtio_serial_port *port, bool open)
{
	struct virtio_serial *serial = port->serial;
	if (port->guest_open == open)
		return;
	port->guest_open = open;
	if (serial->port_changed && !port->console)
		serial->port_changed(serial->port_changed_opaque, port->dev.id, open);
	if (open && port->chr)
		chardev_accept_input(port->chr);
}

static void set_guest_ready(struct virtio_serial_port *port)
{
	port->guest_ready = true;
	/* Of a device that it has known before a sleep, Linux says only this when it is back. */
	port->serial->driver_ready = true;
	if (port->console)
		port->news |= PORT_NEWS_CONSOLE;
	if (port->name)
		port->news |= PORT_NEWS_NAME;
	if (port->cols)
		port->news |= PORT_NEWS_RESIZE;
	if (port->host_open)
		port->news |= PORT_NEWS_OPEN;
}

static void control_message(struct virtio_serial *serial, const uint8_t message[8])
{
	uint32_t nr = le32_load(message);
	uint16_t event = le16_load(message + 4), value = le16_load(message + 6);
	if (event == DEVICE_READY) {
		serial->driver_ready = value;
		for (unsigned i = 0; i < serial->max_ports && value; i++) {
			if (serial->ports[i])
				serial->ports[i]->news |= PORT_NEWS_ADD;
		}
		return;
	}
	struct virtio_serial_port *port = nr < serial->max_ports ? serial->ports[nr] : NULL;
	if (!port)
		return; /* gone, while the driver wrote this */
	if (event == PORT_READY && value)
		set_guest_ready(port);
	else if (event == PORT_OPEN)
		set_guest_open(port, value);
}

static void control_tx_kick(struct virtio_serial *serial, struct virtqueue *vq)
{
	unsigned budget = 2 * virtq_size(vq);
	do {
		struct virtq_chain *chain;
		while (budget && (chain = virtq_pop(vq))) {
			uint8_t message[8];
			if (virtq_read(chain, 0, message, 8) == 8)
				control_message(serial, message);
			virtq_push(vq, chain, 0);
			budget--;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
	flush_news(serial);
}

/* ---- The controller ---- */

/* Output to a port that does not exist is swallowed, so that the driver gets its buffers back. */
static void swallow(struct virtqueue *vq)
{
	unsigned budget = 2 * virtq_size(vq);
	struct virtq_chain *chain;
	while (budget-- && (chain = virtq_pop(vq)))
		virtq_push(vq, chain, 0);
	if (virtq_enable_kicks(vq))
		virtq_kick_later(vq);
	virtq_notify(vq);
}

static void serial_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_serial *serial = (struct virtio_serial *)vdev;
	unsigned n = virtq_index(vq);
	if (n == CONTROL_RX) {
		flush_news(serial);
		return;
	}
	if (n == CONTROL_TX) {
		control_tx_kick(serial, vq);
		return;
	}
	unsigned nr = n < 2 ? 0 : (n - 2) / 2;
	struct virtio_serial_port *port = serial->ports[nr];
	if (n & 1) {
		if (port)
			tx_process(port);
		else
			swallow(vq);
	} else if (port && port->chr) {
		chardev_accept_input(port->chr);
	}
}

/* The driver goes away: ports are as before it came. */
static void serial_drop(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_serial *serial = (struct virtio_serial *)vdev;
	serial->driver_ready = false;
	serial->removed = 0;
	for (unsigned i = 0; i < serial->max_ports; i++) {
		struct virtio_serial_port *port = serial->ports[i];
		if (!port)
			continue;
		set_guest_open(port, false);
		port->guest_ready = false;
		port->news = 0;
		if (port->tx && tx_queue(port) == vq) {
			virtq_drop(vq, port->tx);
			port->tx = NULL;
			port->tx_offset = 0;
		}
		if (port->rx && rx_queue(port) == vq) {
			virtq_drop(vq, port->rx);
			port->rx = NULL;
		}
	}
}

static uint64_t serial_features(struct virtio_device *vdev)
{
	return VIRTIO_BIT(F_MULTIPORT) | VIRTIO_BIT(F_EMERG_WRITE);
}

static void serial_read_config(struct virtio_device *vdev, uint8_t *config)
{
	struct virtio_serial *serial = (struct virtio_serial *)vdev;
	memset(config, 0, CONFIG_SIZE);
	le32_store(config + CONFIG_MAX_PORTS, serial->max_ports);
}

static void serial_write_config(struct virtio_device *vdev, unsigned offset, unsigned size)
{
	struct virtio_serial *serial = (struct virtio_serial *)vdev;
	/* 5.3.4: a character for the console, from before there are queues. Any thread may write. */
	if (offset == CONFIG_EMERG && serial->ports[0] && serial->ports[0]->chr)
		chardev_write(serial->ports[0]->chr, vdev->config + CONFIG_EMERG, 1);
}

static void serial_driver_ok(struct virtio_device *vdev)
{
	struct virtio_serial *serial = (struct virtio_serial *)vdev;
	/* Without control messages there is port 0, open; the loop sees this with the queues. */
	if (!virtio_has(vdev, F_MULTIPORT) && serial->ports[0])
		serial->ports[0]->guest_ready = serial->ports[0]->guest_open = true;
}

static bool serial_create(struct virtio_device *vdev, GError **error)
{
	struct virtio_serial *serial = (struct virtio_serial *)vdev;
	if (!serial->max_ports || serial->max_ports > VIRTIO_SERIAL_PORTS_MAX)
		return error_set(error, BERTH_ERR_INVALID, "max_ports=%u is not from 1 to %u",
				 serial->max_ports, VIRTIO_SERIAL_PORTS_MAX);
	/* Port 0's, control, and the others': 5.3.2. */
	for (unsigned i = 0; i < 2 * (serial->max_ports + 1); i++) {
		if (!virtio_add_queue(vdev, QUEUE_SIZE, NULL, error))
			return false;
	}
	return true;
}

const struct virtio_type virtio_serial_type = {
	.id = 3,
	.name = "virtio-serial",
	.pci_class = 0x078000,
	.config_size = CONFIG_SIZE,
	/* There are 64 queues, few of them in use: all share one. */
	.pci_vectors = 2,
	.create = serial_create,
	.features = serial_features,
	.read_config = serial_read_config,
	.write_config = serial_write_config,
	.driver_ok = serial_driver_ok,
	.kick = serial_kick,
	.drop = serial_drop,
};

void virtio_serial_set_listener(struct device *dev,
				void (*changed)(void *opaque, const char *id, bool open),
				void *opaque)
{
	struct virtio_serial *serial = virtio_serial_of(dev);
	if (!serial)
		return;
	serial->port_changed = changed;
	serial->port_changed_opaque = opaque;
}

/* ---- Ports ---- */

void virtio_serial_port_state(const struct device *dev, const struct chardev *chr, bool *open)
{
	const struct virtio_serial_port *port = (const struct virtio_serial_port *)dev;
	if (dev->class == &virtserialport && port->chr == chr)
		*open = port->guest_open;
}

static bool choose_number(struct virtio_serial_port *port, GError **error)
{
	struct virtio_serial *serial = port->serial;
	if (port->nr != UINT32_MAX) {
		if (port->nr >= serial->max_ports)
			return error_set(error, BERTH_ERR_INVALID, "nr=%u: there are ports 0 to %u",
					 port->nr, serial->max_ports - 1);
		if (serial->ports[port->nr])
			return error_set(error, BERTH_ERR_INVALID, "port %u is taken", port->nr);
		return true;
	}
	/* Port 0 is a console to drivers without MULTIPORT: it is kept for one. */
	for (unsigned i = port->console ? 0 : 1; i < serial->max_ports; i++) {
		if (!serial->ports[i]) {
			port->nr = i;
			return true;
		}
	}
	return error_set(error, BERTH_ERR_INVALID, "all %u ports are taken", serial->max_ports);
}

static bool port_create(struct device *dev, GError **error)
{
	struct virtio_serial_port *port = (struct virtio_serial_port *)dev;
	struct virtio_serial *serial = dev->bus;
	port->console = g_str_equal(dev->class->name, virtconsole.name);
	if (!serial)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s needs a controller: put -device virtio-serial-pci before it",
				 dev->class->name);
	port->serial = serial;
	if (!choose_number(port, error)) {
		port->serial = NULL;
		return false;
	}
	port->host_open = port->console;
	if (port->chr) {
		const struct chardev_user user = {
			.can_read = port_can_read, .read = port_read, .event = port_event,
			.writable = port_writable, .opaque = port,
		};
		if (!chardev_attach(port->chr, &user, error)) {
			port->serial = NULL;
			return false;
		}
		port->host_open = port->console || chardev_is_open(port->chr);
	}
	serial->ports[port->nr] = port;
	if (serial->driver_ready) {
		port->news = PORT_NEWS_ADD;
		flush_news(serial);
	}
	return true;
}

static void port_destroy(struct device *dev)
{
	struct virtio_serial_port *port = (struct virtio_serial_port *)dev;
	struct virtio_serial *serial = port->serial;
	if (!serial)
		return;
	if (port->chr)
		chardev_detach(port->chr, port);
	if (port->tx)
		virtq_push(tx_queue(port), port->tx, 0);
	if (port->rx)
		virtq_unpop(rx_queue(port), port->rx);
	serial->ports[port->nr] = NULL;
	if (serial->driver_ready) {
		serial->removed |= 1u << port->nr;
		flush_news(serial);
	}
	port->serial = NULL;
}

bool virtio_console_resize(struct device *dev, uint16_t cols, uint16_t rows)
{
	if (dev->class != &virtconsole || !((struct virtio_serial_port *)dev)->serial)
		return false;
	struct virtio_serial_port *port = (struct virtio_serial_port *)dev;
	port->cols = cols;
	port->rows = rows;
	port->news |= PORT_NEWS_RESIZE;
	flush_news(port->serial);
	return true;
}

static const struct property port_properties[] = {
	PROPERTY(struct virtio_serial_port, chr, "chardev", PROPERTY_CHARDEV, NULL,
		 "stream at the other end"),
	PROPERTY(struct virtio_serial_port, name, "name", PROPERTY_STRING, NULL,
		 "shown to the guest: /dev/virtio-ports/NAME"),
	PROPERTY(struct virtio_serial_port, nr, "nr", PROPERTY_U32, "4294967295", "port number"),
	{.name = NULL},
};

const struct device_class virtserialport = {
	.name = "virtserialport", .description = "port of a virtio-serial controller",
	.bus = "virtio-serial-bus", .category = "input", .properties = port_properties,
	.size = sizeof(struct virtio_serial_port), .create = port_create, .destroy = port_destroy,
};

const struct device_class virtconsole = {
	.name = "virtconsole", .description = "console on a virtio-serial controller",
	.bus = "virtio-serial-bus", .category = "input", .properties = port_properties,
	.size = sizeof(struct virtio_serial_port), .create = port_create, .destroy = port_destroy,
};
