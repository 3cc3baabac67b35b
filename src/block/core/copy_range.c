/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying inside the kernel, which file systems turn into shared extents (reflinks) or a transfer on
 * the server. Only for files; callers do it by reading and writing where this says -ENOTSUP.
 */
#include "block/core/drivers.h"
#include "block/proto/file.h"

#include <errno.h>
#include <unistd.h>

struct copy_call {
	int from, to;
	off_t from_offset, to_offset;
	uint64_t length;
	int result;
};

static void copy_work(void *opaque)
{
	struct copy_call *call = opaque;
	while (call->length && call->result == 0) {
		ssize_t n = copy_file_range(call->from, &call->from_offset, call->to, &call->to_offset,
					    MIN(call->length, UINT64_C(1) << 30), 0);
		if (n < 0 && errno == EINTR)
			continue;
		/* Nothing at all: the source ends here, and the rest is the caller's. */
		call->result = n < 0 ? -errno : n == 0 ? -ENOTSUP : 0;
		call->length -= MAX(n, 0);
	}
}

/* What the kernel cannot do here it may be able to do elsewhere: these are no failures. */
static bool is_refusal(int rc)
{
	return rc == -EXDEV || rc == -EINVAL || rc == -ENOSYS || rc == -EOPNOTSUPP || rc == -EBADF ||
	       rc == -ETXTBSY || rc == -EPERM;
}

int block_copy_range(struct block_node *from, uint64_t from_offset, struct block_node *to,
		     uint64_t to_offset, uint64_t length, struct aio_pool *pool)
{
	to = block_raw_below(to, &to_offset);
	from = block_raw_below(from, &from_offset);
	if (from->driver != &block_file_driver || to->driver != &block_file_driver)
		return -ENOTSUP;
	struct copy_call call = {.from = ((struct file_node *)from)->fd, .to = ((struct file_node *)to)->fd,
				 .from_offset = from_offset, .to_offset = to_offset, .length = length};
	fiber_on_pool(pool, to->loop, copy_work, &call);
	return is_refusal(call.result) ? -ENOTSUP : call.result;
}
