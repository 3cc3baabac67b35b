/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between vsock.c (the device and its packets) and vsock_conn.c (connections and unix sockets). */
#pragma once

#include "dev/virtio/vsock.h"

#define VSOCK_HOST_CID    2
#define VSOCK_TYPE_STREAM 1
/* What a guest may send ahead of the host's reader. */
#define VSOCK_BUFFER (256 * 1024)

enum vsock_op {
	VSOCK_REQUEST = 1, VSOCK_RESPONSE = 2, VSOCK_RST = 3, VSOCK_SHUTDOWN = 4, VSOCK_RW = 5,
	VSOCK_CREDIT_UPDATE = 6, VSOCK_CREDIT_REQUEST = 7,
};
enum { VSOCK_SHUTDOWN_RECEIVE = 1, VSOCK_SHUTDOWN_SEND = 2, VSOCK_SHUTDOWN_BOTH = 3 };

/* struct virtio_vsock_hdr, 5.10.6. */
struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

enum vsock_state {
	VSOCK_GREETING,    /* from the host: reads "CONNECT P\n" */
	VSOCK_CONNECTING,  /* from the host: the guest has been asked */
	VSOCK_OPEN,
	VSOCK_CLOSING,     /* the driver has closed: what is buffered still goes to the host */
};

/* What the driver is to be told, in order of importance. */
enum {
	VSOCK_SAY_REQUEST = 1 << 0, VSOCK_SAY_RESPONSE = 1 << 1, VSOCK_SAY_CREDIT = 1 << 2,
	VSOCK_SAY_DATA = 1 << 3, VSOCK_SAY_SHUTDOWN = 1 << 4,
};

struct vsock_connection {
	struct virtio_vsock *vsock;
	struct vsock_connection *bucket_next, *waiting_next;
	enum vsock_state state;
	int fd;
	struct aio_watch *watch;
	uint32_t guest_port, host_port;
	unsigned say;                /* VSOCK_SAY_* */
	bool waiting;                /* in vsock->waiting */
	unsigned shutdown_flags;     /* told to the driver, or to be told with VSOCK_SAY_SHUTDOWN */
	bool host_eof;               /* nothing more comes from the host */
	bool host_write_done;        /* the guest sends no more: shut the socket when drained */
	/* Credit, 5.10.6.3: counts of bytes, free-running. */
	uint32_t peer_buf_alloc, peer_fwd_cnt, sent;
	uint32_t forwarded, told_forwarded;
	/* From the guest, not yet taken by the socket: a ring of VSOCK_BUFFER bytes. */
	uint8_t *buffer;
	uint32_t head, fill;
	char greeting[32];
	unsigned greeting_length;
};

/* vsock_conn.c */
struct vsock_connection *vsock_find(struct virtio_vsock *vsock, uint32_t guest_port,
				    uint32_t host_port);
/* A connection from the guest. NULL: nobody listens, or there are too many. */
struct vsock_connection *vsock_connect_host(struct virtio_vsock *vsock, uint32_t guest_port,
					    uint32_t host_port);
void vsock_close(struct vsock_connection *conn);
void vsock_close_all(struct virtio_vsock *vsock);
/* Watch for what can be done now. */
void vsock_update_watch(struct vsock_connection *conn);
/* Bytes from the guest, `length` <= free room. */
void vsock_to_host(struct vsock_connection *conn, const struct virtq_chain *chain, uint32_t length);
/* Give the socket what it takes. False: the connection was closed. */
bool vsock_flush(struct vsock_connection *conn);
/* The guest accepted: answer "OK". */
void vsock_greet(struct vsock_connection *conn);
bool vsock_listen(struct virtio_vsock *vsock, GError **error);
void vsock_unlisten(struct virtio_vsock *vsock);
/* Begin to take connections; the loop is there. */
void vsock_accept(struct virtio_vsock *vsock);

/* vsock.c */
void vsock_say(struct vsock_connection *conn, unsigned what);
void vsock_unqueue(struct vsock_connection *conn);
/* Tell the driver that there is no such connection. False: too many such wait already. */
bool vsock_queue_reset(struct virtio_vsock *vsock, uint32_t guest_port, uint32_t host_port);
void vsock_serve_rx(struct virtio_vsock *vsock);
static inline uint32_t vsock_credit(const struct vsock_connection *conn)
{
	uint32_t used = conn->sent - conn->peer_fwd_cnt;
	return used < conn->peer_buf_alloc ? conn->peer_buf_alloc - used : 0;
}
