/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Socket device, virtio 1.2 section 5.10: packets from and to the driver. What the driver is to be
 * told of a connection is kept as bits in the connection, and data stays in the host's socket until
 * there is a buffer and credit for it, so a driver that takes nothing costs nothing. Only refusals
 * of connections that do not exist need a list; while it is full the driver is not heard.
 */
#include "dev/virtio/vsock_int.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "vm/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define QUEUE_SIZE 128
#define DATA_SEGMENTS 64

/* ---- Headers ---- */

static void header_load(const struct virtq_chain *chain, struct vsock_header *h)
{
	uint8_t raw[VSOCK_HEADER];
	virtq_read(chain, 0, raw, sizeof(raw));
	*h = (struct vsock_header){
		.src_cid = le64_load(raw), .dst_cid = le64_load(raw + 8),
		.src_port = le32_load(raw + 16), .dst_port = le32_load(raw + 20),
		.len = le32_load(raw + 24), .type = le16_load(raw + 28),
		.op = le16_load(raw + 30), .flags = le32_load(raw + 32),
		.buf_alloc = le32_load(raw + 36), .fwd_cnt = le32_load(raw + 40),
	};
}

static void header_store(struct virtq_chain *chain, const struct virtio_vsock *vsock,
			 uint32_t guest_port, uint32_t host_port, enum vsock_op op, uint32_t len,
			 uint32_t flags, uint32_t forwarded)
{
	uint8_t raw[VSOCK_HEADER];
	le64_store(raw, VSOCK_HOST_CID);
	le64_store(raw + 8, vsock->guest_cid);
	le32_store(raw + 16, host_port);
	le32_store(raw + 20, guest_port);
	le32_store(raw + 24, len);
	le16_store(raw + 28, VSOCK_TYPE_STREAM);
	le16_store(raw + 30, op);
	le32_store(raw + 32, flags);
	le32_store(raw + 36, VSOCK_BUFFER);
	le32_store(raw + 40, forwarded);
	virtq_write(chain, 0, raw, sizeof(raw));
}

/* ---- To the driver ---- */

static void queue_connection(struct vsock_connection *conn)
{
	struct virtio_vsock *vsock = conn->vsock;
	if (conn->waiting)
		return;
	conn->waiting = true;
	conn->waiting_next = NULL;
	*vsock->waiting_tail = conn;
	vsock->waiting_tail = &conn->waiting_next;
	vsock_update_watch(conn);
}

void vsock_say(struct vsock_connection *conn, unsigned what)
{
	struct virtio_vsock *vsock = conn->vsock;
	conn->say |= what;
	queue_connection(conn);
	/* Not at once: a caller may be in the middle of this connection. */
	virtq_kick_later(vsock->rx);
}

void vsock_unqueue(struct vsock_connection *conn)
{
	struct virtio_vsock *vsock = conn->vsock;
	if (!conn->waiting)
		return;
	struct vsock_connection **at = &vsock->waiting;
	while (*at != conn)
		at = &(*at)->waiting_next;
	*at = conn->waiting_next;
	if (vsock->waiting_tail == &conn->waiting_next)
		vsock->waiting_tail = at;
	conn->waiting = false;
}

bool vsock_queue_reset(struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	if (vsock->reset_count == VSOCK_RESETS_MAX)
		return false;
	unsigned at = (vsock->reset_first + vsock->reset_count++) % VSOCK_RESETS_MAX;
	vsock->resets[at] = (struct vsock_reset){guest_port, host_port};
	virtq_kick_later(vsock->rx);
	return true;
}

/* Host data into a buffer. Returns bytes, 0 if there is nothing now, -1 at the end. */
static ssize_t read_data(struct vsock_connection *conn, struct virtq_chain *chain)
{
	struct iovec iov[DATA_SEGMENTS];
	uint64_t room = MIN(chain->in_bytes - VSOCK_HEADER, vsock_credit(conn));
	int count = -1;
	while (room && (count = virtq_iov_slice(chain->in, chain->in_count, VSOCK_HEADER, room, iov,
						DATA_SEGMENTS)) < 0)
		room /= 2; /* a buffer in very many pieces is used in part */
	if (count <= 0)
		return 0;
	ssize_t n;
	do
		n = readv(conn->fd, iov, count);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n ? n : -1;
}

/* One packet for this connection into `chain`. False: nothing was to be said after all. */
static bool say_one(struct vsock_connection *conn, struct virtq_chain *chain)
{
	struct virtio_vsock *vsock = conn->vsock;
	enum vsock_op op = VSOCK_CREDIT_UPDATE;
	uint32_t length = 0, flags = 0;
	if (conn->say & VSOCK_SAY_REQUEST) {
		conn->say &= ~VSOCK_SAY_REQUEST;
		op = VSOCK_REQUEST;
	} else if (conn->say & VSOCK_SAY_RESPONSE) {
		conn->say &= ~VSOCK_SAY_RESPONSE;
		op = VSOCK_RESPONSE;
	} else if (conn->say & VSOCK_SAY_CREDIT) {
		conn->say &= ~VSOCK_SAY_CREDIT;
	} else if (conn->say & VSOCK_SAY_DATA) {
		ssize_t n = read_data(conn, chain);
		if (n == 0) {
			conn->say &= ~VSOCK_SAY_DATA;
			return false;
		}
		if (n < 0) {
			conn->say &= ~VSOCK_SAY_DATA;
			conn->host_eof = true;
			conn->shutdown_flags |= VSOCK_SHUTDOWN_SEND;
			op = VSOCK_SHUTDOWN;
			flags = conn->shutdown_flags;
		} else {
			op = VSOCK_RW;
			length = n;
			conn->sent += length;
		}
	} else {
		return false;
	}
	conn->told_forwarded = conn->forwarded;
	header_store(chain, vsock, conn->guest_port, conn->host_port, op, length, flags,
		     conn->forwarded);
	virtq_push(vsock->rx, chain, VSOCK_HEADER + length);
	return true;
}

static struct virtq_chain *next_buffer(struct virtio_vsock *vsock)
{
	struct virtq_chain *chain;
	while (!(chain = virtq_pop(vsock->rx))) {
		if (!virtq_enable_kicks(vsock->rx))
			return NULL;
	}
	if (chain->in_bytes >= VSOCK_HEADER)
		return chain;
	virtio_broken(&vsock->vdev, "receive buffer too small for a header");
	virtq_drop(vsock->rx, chain);
	return NULL;
}

void vsock_serve_rx(struct virtio_vsock *vsock)
{
	unsigned budget = 2 * QUEUE_SIZE;
	while (virtq_ready(vsock->rx) && (vsock->reset_count || vsock->waiting)) {
		struct virtq_chain *chain = next_buffer(vsock);
		if (!chain)
			break;
		if (vsock->reset_count) {
			const struct vsock_reset *r = &vsock->resets[vsock->reset_first];
			header_store(chain, vsock, r->guest_port, r->host_port, VSOCK_RST, 0, 0, 0);
			virtq_push(vsock->rx, chain, VSOCK_HEADER);
			vsock->reset_first = (vsock->reset_first + 1) % VSOCK_RESETS_MAX;
			vsock->reset_count--;
		} else {
			struct vsock_connection *conn = vsock->waiting;
			if (!say_one(conn, chain))
				virtq_unpop(vsock->rx, chain);
			/* To the end of the line if it has more to say. */
			vsock_unqueue(conn);
			if (conn->say)
				queue_connection(conn);
			else
				vsock_update_watch(conn);
		}
		if (!--budget) {
			virtq_kick_later(vsock->rx);
			break;
		}
	}
	virtq_notify(vsock->rx);
	if (vsock->tx_stalled && vsock->reset_count < VSOCK_RESETS_MAX) {
		vsock->tx_stalled = false;
		virtq_kick_later(vsock->tx);
	}
}

/* ---- From the driver ---- */

static void on_request(struct virtio_vsock *vsock, const struct vsock_header *h)
{
	struct vsock_connection *old = vsock_find(vsock, h->src_port, h->dst_port);
	struct vsock_connection *conn = NULL;
	if (old && old->state != VSOCK_GREETING)
		vsock_close(old); /* the driver has lost track of it: neither is good */
	else if (!old)
		conn = vsock_connect_host(vsock, h->src_port, h->dst_port);
	if (!conn) {
		vsock_queue_reset(vsock, h->src_port, h->dst_port);
		return;
	}
	conn->peer_buf_alloc = h->buf_alloc;
	conn->peer_fwd_cnt = h->fwd_cnt;
	vsock_say(conn, VSOCK_SAY_RESPONSE);
}

static void on_data(struct vsock_connection *conn, const struct vsock_header *h,
		    const struct virtq_chain *chain)
{
	struct virtio_vsock *vsock = conn->vsock;
	uint32_t guest_port = conn->guest_port, host_port = conn->host_port;
	/* 5.10.6.3.1: a driver sends no more than there is credit for. */
	if (conn->state != VSOCK_OPEN || conn->host_write_done ||
	    h->len > VSOCK_BUFFER - conn->fill) {
		vsock_close(conn);
		vsock_queue_reset(vsock, guest_port, host_port);
		return;
	}
	vsock_to_host(conn, chain, h->len);
	vsock_flush(conn);
}

static void on_shutdown(struct vsock_connection *conn, const struct vsock_header *h)
{
	struct virtio_vsock *vsock = conn->vsock;
	if (h->flags & VSOCK_SHUTDOWN_SEND)
		conn->host_write_done = true;
	if (h->flags & VSOCK_SHUTDOWN_RECEIVE) {
		shutdown(conn->fd, SHUT_RD);
		conn->host_eof = true;
		conn->say &= ~VSOCK_SAY_DATA;
	}
	if (conn->host_write_done && h->flags & VSOCK_SHUTDOWN_RECEIVE) {
		/* 5.10.6.6: both ways are closed, and a reset confirms it. */
		vsock_queue_reset(vsock, conn->guest_port, conn->host_port);
		conn->state = VSOCK_CLOSING;
		vsock_unqueue(conn);
		conn->say = 0;
	}
	vsock_flush(conn);
}

static void on_packet(struct virtio_vsock *vsock, const struct virtq_chain *chain)
{
	struct vsock_header h;
	header_load(chain, &h);
	if (h.len > chain->out_bytes - VSOCK_HEADER) {
		virtio_broken(&vsock->vdev, "packet of %u bytes in a smaller buffer", h.len);
		return;
	}
	/* There is nobody but the host to talk to; others' packets are dropped (5.10.6.4.1). */
	if (h.src_cid != vsock->guest_cid || h.dst_cid != VSOCK_HOST_CID)
		return;
	if (h.op == VSOCK_REQUEST && h.type == VSOCK_TYPE_STREAM) {
		on_request(vsock, &h);
		return;
	}
	struct vsock_connection *conn = vsock_find(vsock, h.src_port, h.dst_port);
	if (!conn || conn->state == VSOCK_GREETING || conn->state == VSOCK_CLOSING ||
	    h.type != VSOCK_TYPE_STREAM) {
		if (h.op != VSOCK_RST && !(conn && conn->state == VSOCK_CLOSING))
			vsock_queue_reset(vsock, h.src_port, h.dst_port);
		return;
	}
	conn->peer_buf_alloc = h.buf_alloc;
	conn->peer_fwd_cnt = h.fwd_cnt;
	if (conn->state == VSOCK_CONNECTING && h.op != VSOCK_RESPONSE && h.op != VSOCK_RST)
		return;
	switch (h.op) {
	case VSOCK_RESPONSE:
		if (conn->state == VSOCK_CONNECTING)
			vsock_greet(conn);
		break;
	case VSOCK_RST:
		conn->state = VSOCK_CLOSING;
		vsock_unqueue(conn);
		conn->say = 0;
		vsock_flush(conn);
		break;
	case VSOCK_SHUTDOWN:
		on_shutdown(conn, &h);
		break;
	case VSOCK_RW:
		on_data(conn, &h, chain);
		break;
	case VSOCK_CREDIT_REQUEST:
		vsock_say(conn, VSOCK_SAY_CREDIT);
		break;
	case VSOCK_CREDIT_UPDATE:
		if (!conn->waiting)
			vsock_update_watch(conn);
		break;
	default:
		vsock_close(conn);
		vsock_queue_reset(vsock, h.src_port, h.dst_port);
		break;
	}
}

static void serve_tx(struct virtio_vsock *vsock)
{
	struct virtqueue *vq = vsock->tx;
	unsigned budget = 2 * QUEUE_SIZE;
	do {
		struct virtq_chain *chain;
		virtq_disable_kicks(vq);
		/* A packet can cause one reset, and there must be room to remember it. */
		while (budget && vsock->reset_count < VSOCK_RESETS_MAX &&
		       (chain = virtq_pop(vq))) {
			if (chain->out_bytes < VSOCK_HEADER) {
				virtio_broken(&vsock->vdev, "packet without a whole header");
				virtq_drop(vq, chain);
				return;
			}
			on_packet(vsock, chain);
			virtq_push(vq, chain, 0);
			budget--;
		}
		if (vsock->reset_count == VSOCK_RESETS_MAX) {
			vsock->tx_stalled = true;
			break;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}

/* ---- The device ---- */

static void vsock_kick(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_vsock *vsock = (struct virtio_vsock *)vdev;
	if (vq == vsock->rx)
		vsock_serve_rx(vsock);
	else if (vq == vsock->tx)
		serve_tx(vsock);
	/* Events (5.10.6.7) come with migration; their buffers stay where they are. */
}

static void vsock_drop(struct virtio_device *vdev, struct virtqueue *vq)
{
	struct virtio_vsock *vsock = (struct virtio_vsock *)vdev;
	vsock_close_all(vsock);
	vsock->reset_first = vsock->reset_count = 0;
	vsock->tx_stalled = false;
}

static uint64_t vsock_features(struct virtio_device *vdev)
{
	return 0;
}

static void vsock_read_config(struct virtio_device *vdev, uint8_t *config)
{
	le64_store(config, ((struct virtio_vsock *)vdev)->guest_cid);
}

static bool vsock_open_host(struct virtio_device *vdev, GError **error)
{
	struct virtio_vsock *vsock = (struct virtio_vsock *)vdev;
	vsock->listener = -1;
	vsock->waiting_tail = &vsock->waiting;
	if (vsock->guest_cid < 3 || vsock->guest_cid >= UINT32_MAX)
		return error_set(error, BERTH_ERR_INVALID,
				 "guest-cid must be from 3 to 4294967294: lower ones are taken");
	if (!vsock->uds_path)
		return error_set(error, BERTH_ERR_INVALID,
				 "virtio-vsock needs uds-path=PATH, a unix socket to be created");
	return vsock_listen(vsock, error);
}

static bool vsock_create(struct virtio_device *vdev, GError **error)
{
	struct virtio_vsock *vsock = (struct virtio_vsock *)vdev;
	vsock->rx = virtio_add_queue(vdev, QUEUE_SIZE, NULL, error);
	vsock->tx = vsock->rx ? virtio_add_queue(vdev, QUEUE_SIZE, NULL, error) : NULL;
	vsock->events = vsock->tx ? virtio_add_queue(vdev, QUEUE_SIZE, NULL, error) : NULL;
	if (!vsock->events)
		return false;
	vsock_accept(vsock);
	return true;
}

static void vsock_destroy(struct virtio_device *vdev)
{
	struct virtio_vsock *vsock = (struct virtio_vsock *)vdev;
	if (!vsock->waiting_tail)
		return;
	vsock_close_all(vsock);
	vsock_unlisten(vsock);
}

const struct virtio_type virtio_vsock_type = {
	.id = 19,
	.name = "virtio-vsock",
	.pci_class = 0x078000,
	.config_size = 8,
	.open = vsock_open_host,
	.create = vsock_create,
	.destroy = vsock_destroy,
	.features = vsock_features,
	.read_config = vsock_read_config,
	.kick = vsock_kick,
	.drop = vsock_drop,
};
