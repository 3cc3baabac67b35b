/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A byte stream for fibers: read and write whole pieces over a non-blocking socket; while the peer
 * is not ready, the loop goes on. One fiber reads and one writes at a time. Short reads come from a
 * buffer, so that headers do not cost a system call each; long ones go straight to their place.
 */
#pragma once

#include "block/core/fiber.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct aio_loop;
struct nbd_stream;
struct nbd_tls_creds;

/* Takes the socket. */
struct nbd_stream *nbd_stream_new(int fd, struct aio_loop *loop);
/* Nobody may be reading or writing, or be on the stack below. Closes the socket. */
void nbd_stream_free(struct nbd_stream *stream);
/* Who reads or writes, now or later, fails. */
void nbd_stream_shutdown(struct nbd_stream *stream);

/*
 * On a fiber: everything from now on is encrypted. What came in the clear and was not read yet is
 * an attack: that fails. The handshake's failure is in *error.
 */
bool nbd_stream_start_tls(struct nbd_stream *stream, struct nbd_tls_creds *creds,
			  const char *hostname, GError **error);

/* On a fiber. False: the peer is gone, or nbd_stream_shutdown() was called. */
bool nbd_stream_read(struct nbd_stream *stream, void *bytes, size_t length);
bool nbd_stream_readv(struct nbd_stream *stream, const struct iovec *iov, unsigned iov_count,
		      uint64_t skip, uint64_t length);
/* Read and throw away. */
bool nbd_stream_skip(struct nbd_stream *stream, uint64_t length);
bool nbd_stream_write(struct nbd_stream *stream, const void *bytes, size_t length);
/* Changes the entries of `iov`. */
bool nbd_stream_writev(struct nbd_stream *stream, struct iovec *iov, unsigned iov_count);
