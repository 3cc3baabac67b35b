/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of scattered memory. */
#include "block/core/driver.h"

#include <string.h>

/* What is left of a range: `length` bytes, `skip` bytes after the beginning of `iov`. */
struct range {
	const struct iovec *iov;
	unsigned iov_count;
	uint64_t skip, length;
};

/* The range's next contiguous part into *part; false at its end. */
static inline bool next_part(struct range *range, struct iovec *part)
{
	while (range->iov_count && range->skip >= range->iov->iov_len) {
		range->skip -= range->iov->iov_len;
		range->iov++;
		range->iov_count--;
	}
	if (!range->iov_count || !range->length)
		return false;
	part->iov_base = (uint8_t *)range->iov->iov_base + range->skip;
	part->iov_len = MIN(range->iov->iov_len - range->skip, range->length);
	range->skip += part->iov_len;
	range->length -= part->iov_len;
	return true;
}

unsigned block_iov_slice(const struct iovec *iov, unsigned iov_count, uint64_t skip,
			 uint64_t length, struct iovec *out)
{
	struct range range = {iov, iov_count, skip, length};
	unsigned used = 0;
	while (next_part(&range, &out[used]))
		used++;
	return used;
}

void block_iov_copy(const struct iovec *iov, unsigned iov_count, uint64_t skip, void *bytes,
		    uint64_t length, bool from_iov)
{
	struct range range = {iov, iov_count, skip, length};
	struct iovec part;
	for (; next_part(&range, &part); bytes = (uint8_t *)bytes + part.iov_len)
		memcpy(from_iov ? bytes : part.iov_base, from_iov ? part.iov_base : bytes, part.iov_len);
}

void block_iov_zero(const struct iovec *iov, unsigned iov_count, uint64_t skip, uint64_t length)
{
	struct range range = {iov, iov_count, skip, length};
	struct iovec part;
	while (next_part(&range, &part))
		memset(part.iov_base, 0, part.iov_len);
}
