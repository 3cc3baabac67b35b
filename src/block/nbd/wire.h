/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The numbers of the NBD protocol (doc/proto.md of the NetworkBlockDevice project), for both sides.
 * All integers on the wire are big-endian.
 */
#pragma once

#include <errno.h>
#include <stdint.h>

#define NBD_MAGIC            UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC     UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_OLDSTYLE_MAGIC   UINT64_C(0x00420281861253)
#define NBD_OPTION_REPLY_MAGIC UINT64_C(0x3e889045565a9)
#define NBD_REQUEST_MAGIC    UINT32_C(0x25609513)
#define NBD_SIMPLE_MAGIC     UINT32_C(0x67446698)
#define NBD_STRUCTURED_MAGIC UINT32_C(0x668e33ef)

#define NBD_DEFAULT_PORT "10809"
/* What every server takes in one request ("Block size constraints"). */
#define NBD_PAYLOAD_MAX UINT32_C(33554432)
/* Names of exports and contexts (the protocol's own limit). */
#define NBD_STRING_MAX 4096

enum { NBD_HANDSHAKE_FIXED = 1 << 0, NBD_HANDSHAKE_NO_ZEROES = 1 << 1 };

enum nbd_option {
	NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT = 2, NBD_OPT_LIST = 3, NBD_OPT_STARTTLS = 5,
	NBD_OPT_INFO = 6, NBD_OPT_GO = 7, NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9, NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ERROR UINT32_C(0x80000000)
enum nbd_option_reply {
	NBD_REP_ACK = 1, NBD_REP_SERVER = 2, NBD_REP_INFO = 3, NBD_REP_META_CONTEXT = 4,
};
#define NBD_REP_ERR_UNSUPPORTED (NBD_REP_ERROR | 1)
#define NBD_REP_ERR_POLICY      (NBD_REP_ERROR | 2)
#define NBD_REP_ERR_INVALID     (NBD_REP_ERROR | 3)
#define NBD_REP_ERR_TLS_REQUIRED (NBD_REP_ERROR | 5)
#define NBD_REP_ERR_UNKNOWN     (NBD_REP_ERROR | 6)
#define NBD_REP_ERR_TOO_BIG     (NBD_REP_ERROR | 9)

enum nbd_info { NBD_INFO_EXPORT = 0, NBD_INFO_NAME = 1, NBD_INFO_DESCRIPTION = 2, NBD_INFO_BLOCK_SIZE = 3 };

enum nbd_flags {
	NBD_FLAG_HAS_FLAGS = 1 << 0, NBD_FLAG_READ_ONLY = 1 << 1, NBD_FLAG_FLUSH = 1 << 2,
	NBD_FLAG_FUA = 1 << 3, NBD_FLAG_TRIM = 1 << 5, NBD_FLAG_WRITE_ZEROES = 1 << 6,
	NBD_FLAG_DF = 1 << 7, NBD_FLAG_MULTI_CONN = 1 << 8, NBD_FLAG_CACHE = 1 << 10,
};

enum nbd_command {
	NBD_CMD_READ = 0, NBD_CMD_WRITE = 1, NBD_CMD_DISC = 2, NBD_CMD_FLUSH = 3, NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5, NBD_CMD_WRITE_ZEROES = 6, NBD_CMD_BLOCK_STATUS = 7,
};
enum nbd_command_flags {
	NBD_CMD_FLAG_FUA = 1 << 0, NBD_CMD_FLAG_NO_HOLE = 1 << 1, NBD_CMD_FLAG_DF = 1 << 2,
	NBD_CMD_FLAG_REQ_ONE = 1 << 3,
};

enum { NBD_CHUNK_DONE = 1 << 0 };
enum nbd_chunk {
	NBD_CHUNK_NONE = 0, NBD_CHUNK_DATA = 1, NBD_CHUNK_HOLE = 2, NBD_CHUNK_STATUS = 5,
	NBD_CHUNK_ERROR = 0x8001, NBD_CHUNK_ERROR_OFFSET = 0x8002,
};
#define NBD_CHUNK_IS_ERROR 0x8000

enum { NBD_STATE_HOLE = 1 << 0, NBD_STATE_ZERO = 1 << 1 }; /* of base:allocation */

enum { NBD_REQUEST_SIZE = 28, NBD_SIMPLE_SIZE = 16, NBD_STRUCTURED_SIZE = 20 };

/* The protocol has error numbers of its own, which are Linux's for these few. */
static inline int nbd_errno(uint32_t wire)
{
	switch (wire) {
	case 0: return 0;
	case 1: return -EPERM;
	case 12: return -ENOMEM;
	case 22: return -EINVAL;
	case 28: return -ENOSPC;
	case 75: return -EOVERFLOW;
	case 95: return -ENOTSUP;
	case 108: return -ESHUTDOWN;
	default: return -EIO;
	}
}

static inline uint32_t nbd_wire_error(int result)
{
	switch (-result) {
	case 0: return 0;
	case EPERM: case EROFS: return 1;
	case ENOMEM: return 12;
	case EINVAL: return 22;
	case ENOSPC: case EDQUOT: case EFBIG: return 28;
	case EOVERFLOW: return 75;
	case ENOTSUP: return 95;
	case ESHUTDOWN: return 108;
	default: return 5;
	}
}
