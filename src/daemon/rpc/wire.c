/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/rpc/wire.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/rpc/sasl.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/* More than a TLS record, so that GnuTLS never keeps the rest of one where poll(2) cannot see it. */
enum { READ_STEP = 65536 };

void wire_init(struct wire *wire, int fd, gnutls_session_t tls)
{
	*wire = (struct wire){.fd = fd, .tls = tls, .sealed = g_byte_array_new()};
	if (tls)
		gnutls_transport_set_int(tls, fd);
}

void wire_clear(struct wire *wire)
{
	if (wire->tls)
		gnutls_deinit(wire->tls);
	fd_clear(&wire->fd);
	g_byte_array_unref(wire->sealed);
}

int wire_handshake(struct wire *wire, GError **error)
{
	int rc = gnutls_handshake(wire->tls);
	if (rc == GNUTLS_E_SUCCESS)
		return 1;
	if (!gnutls_error_is_fatal(rc))
		return 0;
	error_set(error, BERTH_ERR_IO, "the TLS handshake failed: %s", gnutls_strerror(rc));
	return -1;
}

uint32_t wire_handshake_events(const struct wire *wire)
{
	return gnutls_record_get_direction(wire->tls) ? POLLOUT : POLLIN;
}

/* As recv(2); EAGAIN also for what TLS keeps to itself. */
static ssize_t read_raw(struct wire *wire, uint8_t *bytes, size_t size, GError **error)
{
	if (!wire->tls) {
		ssize_t n = recv(wire->fd, bytes, size, 0);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			error_set_errno(error, errno, "cannot read");
		return n;
	}
	ssize_t n = gnutls_record_recv(wire->tls, bytes, size);
	if (n >= 0)
		return n;
	errno = gnutls_error_is_fatal(n) ? EIO : EAGAIN;
	/* Many clients leave without a goodbye. */
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	if (errno == EIO)
		error_set(error, BERTH_ERR_IO, "cannot read: %s", gnutls_strerror(n));
	return -1;
}

enum wire_result wire_read(struct wire *wire, GByteArray *into, GError **error)
{
	uint8_t buffer[READ_STEP];
	ssize_t n = read_raw(wire, buffer, sizeof(buffer), error);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return WIRE_EMPTY;
	if (n <= 0)
		return WIRE_CLOSED;
	if (!wire->layer)
		g_byte_array_append(into, buffer, n);
	else if (!sasl_session_decode(wire->layer, buffer, n, into, error))
		return WIRE_CLOSED;
	return wire->tls || n == sizeof(buffer) ? WIRE_MORE : WIRE_EMPTY;
}

static ssize_t write_raw(struct wire *wire, const uint8_t *bytes, size_t size, GError **error)
{
	ssize_t n;
	if (!wire->tls) {
		do {
			n = send(wire->fd, bytes, size, MSG_NOSIGNAL);
		} while (n < 0 && errno == EINTR);
		if (n >= 0 || errno == EAGAIN)
			return MAX(n, 0);
		error_set_errno(error, errno, "cannot write");
		return -1;
	}
	n = wire->tls_retry ? gnutls_record_send(wire->tls, NULL, 0)
			    : gnutls_record_send(wire->tls, bytes, size);
	wire->tls_retry = n < 0 && !gnutls_error_is_fatal(n);
	if (n >= 0 || wire->tls_retry)
		return MAX(n, 0);
	error_set(error, BERTH_ERR_IO, "cannot write: %s", gnutls_strerror(n));
	return -1;
}

ssize_t wire_write(struct wire *wire, const uint8_t *bytes, size_t size, GError **error)
{
	if (!wire->layer)
		return write_raw(wire, bytes, size, error);
	if (!wire->sealed->len) {
		wire->sealed_plain = MIN(size, sasl_session_max_plain(wire->layer));
		if (!sasl_session_encode(wire->layer, bytes, wire->sealed_plain, wire->sealed, error))
			return -1;
	}
	while (wire->sealed_at < wire->sealed->len) {
		ssize_t n = write_raw(wire, wire->sealed->data + wire->sealed_at,
				      wire->sealed->len - wire->sealed_at, error);
		if (n <= 0)
			return n;
		wire->sealed_at += n;
	}
	g_byte_array_set_size(wire->sealed, 0);
	wire->sealed_at = 0;
	return wire->sealed_plain;
}
