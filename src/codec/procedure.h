/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of procedures of libvirt's remote program, made from schema/remote.rpc. */
#pragma once

#include "codec/remote.h"

#define REMOTE_PROGRAM    0x20008086U
#define QEMU_PROGRAM      0x20008087U
#define KEEPALIVE_PROGRAM 0x6b656570U
#define REMOTE_VERSION    1U
/* Limits of libvirt's peers: the length of a message without its own word. */
#define REMOTE_MAX_MESSAGE 33554432U
#define REMOTE_HEADER_SIZE 28U /* with the length */

enum remote_right { RIGHT_NONE, RIGHT_READ, RIGHT_WRITE, RIGHT_EVENT };
enum remote_type {
	REMOTE_CALL, REMOTE_REPLY, REMOTE_EVENT, REMOTE_STREAM, REMOTE_CALL_FDS, REMOTE_REPLY_FDS,
	REMOTE_HOLE,
};
enum remote_status { REMOTE_OK, REMOTE_FAILED, REMOTE_CONTINUE };

struct remote_procedure_info {
	const char *name; /* NULL: there is no such number */
	uint8_t right;    /* enum remote_right */
	bool served;
	const struct xdr_type *args, *ret; /* NULL: nothing */
};
extern const struct remote_procedure_info remote_procedures[];
extern const unsigned remote_procedure_count;

/* The six words after the length of a message. */
struct remote_header {
	uint32_t program, version, procedure, type, serial, status;
};
/* From and to REMOTE_HEADER_SIZE bytes; the length includes itself. */
void remote_header_read(const uint8_t *bytes, uint32_t *length, struct remote_header *header);
void remote_header_write(uint8_t *bytes, uint32_t length, const struct remote_header *header);
