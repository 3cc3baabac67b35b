/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/nbd/stream.h"

#include "aio/loop.h"
#include "base/error.h"
#include "block/core/driver.h"
#include "block/nbd/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE 16384

struct nbd_stream {
	int fd;
	struct aio_loop *loop;
	struct aio_watch *watch;
	struct fiber *reader, *writer; /* who waits for the socket */
	bool ended;
	gnutls_session_t tls; /* NULL: in the clear */
	size_t start, end; /* of what is in `buffer` */
	uint8_t buffer[BUFFER_SIZE];
};

static void update_events(struct nbd_stream *stream)
{
	aio_watch_modify(stream->watch,
			 (stream->reader ? POLLIN : 0) | (stream->writer ? POLLOUT : 0));
}

/* Continue who waits. The stream lives until this returns: see nbd_stream_free(). */
static void wake(struct nbd_stream *stream, struct fiber **place)
{
	struct fiber *fiber = *place;
	*place = NULL;
	if (fiber)
		fiber_resume(fiber);
}

static void ready(void *opaque, int fd, uint32_t events)
{
	struct nbd_stream *stream = opaque;
	if (events & (POLLIN | POLLERR | POLLHUP))
		wake(stream, &stream->reader);
	if (events & (POLLOUT | POLLERR | POLLHUP))
		wake(stream, &stream->writer);
	update_events(stream);
}

static bool wait_ready(struct nbd_stream *stream, struct fiber **place)
{
	if (stream->ended)
		return false;
	*place = fiber_self();
	update_events(stream);
	fiber_yield();
	return !stream->ended;
}

struct nbd_stream *nbd_stream_new(int fd, struct aio_loop *loop)
{
	struct nbd_stream *stream = g_new(struct nbd_stream, 1);
	memset(stream, 0, offsetof(struct nbd_stream, buffer));
	stream->fd = fd;
	stream->loop = loop;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	/* Requests are written whole, so waiting to fill packets only costs. Fails on unix sockets. */
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	stream->watch = aio_watch_add(loop, fd, 0, ready, stream);
	return stream;
}

void nbd_stream_free(struct nbd_stream *stream)
{
	if (!stream)
		return;
	g_assert(!stream->reader && !stream->writer);
	aio_watch_remove(stream->watch);
	if (stream->tls)
		gnutls_deinit(stream->tls);
	close(stream->fd);
	g_free(stream);
}

void nbd_stream_shutdown(struct nbd_stream *stream)
{
	if (stream->ended)
		return;
	stream->ended = true;
	shutdown(stream->fd, SHUT_RDWR);
	wake(stream, &stream->reader);
	wake(stream, &stream->writer);
	update_events(stream);
}

bool nbd_stream_start_tls(struct nbd_stream *stream, struct nbd_tls_creds *creds,
			  const char *hostname, GError **error)
{
	if (stream->start != stream->end)
		return error_set(error, BERTH_ERR_IO, "bytes in the clear came after the start of TLS");
	gnutls_session_t session = nbd_tls_session(creds, hostname, error);
	if (!session)
		return false;
	gnutls_transport_set_int(session, stream->fd);
	int rc;
	while ((rc = gnutls_handshake(session)) < 0 && !gnutls_error_is_fatal(rc)) {
		bool writes = gnutls_record_get_direction(session);
		if (rc == GNUTLS_E_AGAIN &&
		    !wait_ready(stream, writes ? &stream->writer : &stream->reader))
			break;
	}
	if (rc < 0) {
		error_set(error, BERTH_ERR_IO, "the TLS handshake failed: %s", gnutls_strerror(rc));
		gnutls_deinit(session);
		return false;
	}
	stream->tls = session;
	return true;
}

static size_t receive_tls(struct nbd_stream *stream, void *bytes, size_t length)
{
	for (;;) {
		if (stream->ended)
			return 0;
		ssize_t n = gnutls_record_recv(stream->tls, bytes, length);
		if (n >= 0)
			return n;
		if (n == GNUTLS_E_AGAIN ? !wait_ready(stream, &stream->reader) : gnutls_error_is_fatal(n))
			return 0;
	}
}

static bool write_tls(struct nbd_stream *stream, const struct iovec *iov, unsigned iov_count)
{
	for (unsigned i = 0; i < iov_count; i++) {
		for (size_t done = 0; done < iov[i].iov_len;) {
			if (stream->ended)
				return false;
			ssize_t n = gnutls_record_send(stream->tls, (char *)iov[i].iov_base + done,
						       iov[i].iov_len - done);
			if (n > 0)
				done += n;
			else if (n == GNUTLS_E_AGAIN ? !wait_ready(stream, &stream->writer)
						     : gnutls_error_is_fatal(n))
				return false;
		}
	}
	return true;
}

/* Some bytes, at least one; 0: the end. */
static size_t receive(struct nbd_stream *stream, void *bytes, size_t length)
{
	if (stream->tls)
		return receive_tls(stream, bytes, length);
	for (;;) {
		if (stream->ended)
			return 0;
		ssize_t n = recv(stream->fd, bytes, length, 0);
		if (n >= 0)
			return n;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !wait_ready(stream, &stream->reader))
			return 0;
	}
}

bool nbd_stream_read(struct nbd_stream *stream, void *bytes, size_t length)
{
	uint8_t *at = bytes;
	while (length) {
		size_t have = MIN(stream->end - stream->start, length);
		if (have) {
			memcpy(at, stream->buffer + stream->start, have);
			stream->start += have;
		} else if (length >= BUFFER_SIZE / 2) {
			have = receive(stream, at, length);
			if (!have)
				return false;
		} else {
			stream->start = 0;
			stream->end = receive(stream, stream->buffer, BUFFER_SIZE);
			if (!stream->end)
				return false;
		}
		at += have;
		length -= have;
	}
	return true;
}

bool nbd_stream_readv(struct nbd_stream *stream, const struct iovec *iov, unsigned iov_count,
		      uint64_t skip, uint64_t length)
{
	for (unsigned i = 0; i < iov_count && length; i++) {
		size_t have = iov[i].iov_len;
		if (skip >= have) {
			skip -= have;
			continue;
		}
		size_t n = MIN(have - skip, length);
		if (!nbd_stream_read(stream, (uint8_t *)iov[i].iov_base + skip, n))
			return false;
		length -= n;
		skip = 0;
	}
	return length == 0;
}

bool nbd_stream_skip(struct nbd_stream *stream, uint64_t length)
{
	uint8_t waste[4096];
	while (length) {
		size_t n = MIN(length, sizeof(waste));
		if (!nbd_stream_read(stream, waste, n))
			return false;
		length -= n;
	}
	return true;
}

bool nbd_stream_writev(struct nbd_stream *stream, struct iovec *iov, unsigned iov_count)
{
	if (stream->tls)
		return write_tls(stream, iov, iov_count);
	while (iov_count) {
		if (stream->ended)
			return false;
		struct msghdr message = {.msg_iov = iov, .msg_iovlen = MIN(iov_count, IOV_MAX)};
		ssize_t n = sendmsg(stream->fd, &message, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno != EAGAIN || !wait_ready(stream, &stream->writer)))
			return false;
		for (; iov_count && n >= (ssize_t)iov->iov_len; iov++, iov_count--)
			n -= iov->iov_len;
		if (n > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + n;
			iov->iov_len -= n;
		}
	}
	return true;
}

bool nbd_stream_write(struct nbd_stream *stream, const void *bytes, size_t length)
{
	struct iovec iov = {(void *)bytes, length};
	return nbd_stream_writev(stream, &iov, 1);
}
