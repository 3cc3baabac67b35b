/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of scattered memory. */
#include "block/core/driver.h"

#include <string.h>

unsigned block_iov_slice(const struct iovec *iov, unsigned iov_count, uint64_t skip,
			 uint64_t length, struct iovec *out)
{
	unsigned used = 0;
	for (unsigned i = 0; i < iov_count && length; i++) {
		size_t have = iov[i].iov_len;
		if (skip >= have) {
			skip -= have;
			continue;
		}
		size_t n = MIN(have - skip, length);
		out[used++] = (struct iovec){(uint8_t *)iov[i].iov_base + skip, n};
		length -= n;
		skip = 0;
	}
	return used;
}

void block_iov_copy(const struct iovec *iov, unsigned iov_count, uint64_t skip, void *bytes,
		    uint64_t length, bool from_iov)
{
	for (unsigned i = 0; i < iov_count && length; i++) {
		size_t have = iov[i].iov_len;
		if (skip >= have) {
			skip -= have;
			continue;
		}
		size_t n = MIN(have - skip, length);
		uint8_t *memory = (uint8_t *)iov[i].iov_base + skip;
		memcpy(from_iov ? bytes : memory, from_iov ? memory : bytes, n);
		bytes = (uint8_t *)bytes + n;
		length -= n;
		skip = 0;
	}
}

void block_iov_zero(const struct iovec *iov, unsigned iov_count, uint64_t skip, uint64_t length)
{
	for (unsigned i = 0; i < iov_count && length; i++) {
		size_t have = iov[i].iov_len;
		if (skip >= have) {
			skip -= have;
			continue;
		}
		size_t n = MIN(have - skip, length);
		memset((uint8_t *)iov[i].iov_base + skip, 0, n);
		length -= n;
		skip = 0;
	}
}
