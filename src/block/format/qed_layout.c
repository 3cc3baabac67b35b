/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QED's header after the format's public specification (docs/interop/qed_spec in QEMU's manual). */
#include "block/format/qed_layout.h"

#include "base/bytes.h"
#include "base/error.h"

#include <inttypes.h>

enum {
	AT_CLUSTER = 4, AT_TABLE = 8, AT_HEADER = 12, AT_FEATURES = 16, AT_COMPATIBLE = 24,
	AT_AUTOCLEAR = 32, AT_L1 = 40, AT_SIZE = 48, AT_BACKING = 56, AT_BACKING_LENGTH = 60,
};
#define KNOWN (QED_BACKING | QED_NEED_CHECK | QED_BACKING_RAW)

static bool is_power_of_two(uint64_t v)
{
	return v && (v & (v - 1)) == 0;
}

bool qed_header_check(const struct qed_header *header, GError **error)
{
	if (header->cluster_size < 4096 || header->cluster_size > (64u << 20) ||
	    !is_power_of_two(header->cluster_size))
		return error_set(error, BERTH_ERR_INVALID,
				 "QED cluster size must be within range [4096, 67108864] and power of 2");
	if (header->table_size < 1 || header->table_size > 16 || !is_power_of_two(header->table_size))
		return error_set(error, BERTH_ERR_INVALID,
				 "QED table size must be within range [1, 16] and power of 2");
	uint64_t entries = qed_table_entries(header);
	/* entries * entries * cluster_size, which may not fit into 64 bits */
	bool unbounded = entries > UINT64_MAX / entries ||
			 entries * entries > (uint64_t)INT64_MAX / header->cluster_size;
	uint64_t max = unbounded ? INT64_MAX : entries * entries * header->cluster_size;
	if (header->disk_size % 512 || header->disk_size > max)
		return error_set(error, BERTH_ERR_INVALID,
				 "QED image size must be a non-zero multiple of cluster size and less "
				 "than %" PRIu64 " bytes", max);
	return true;
}

bool qed_header_parse(struct qed_header *header, const uint8_t *bytes, uint64_t file_size,
		      GError **error)
{
	*header = (struct qed_header){
		.cluster_size = le32_load(bytes + AT_CLUSTER),
		.table_size = le32_load(bytes + AT_TABLE),
		.header_size = le32_load(bytes + AT_HEADER),
		.features = le64_load(bytes + AT_FEATURES),
		.compatible = le64_load(bytes + AT_COMPATIBLE),
		.autoclear = le64_load(bytes + AT_AUTOCLEAR),
		.l1_offset = le64_load(bytes + AT_L1),
		.disk_size = le64_load(bytes + AT_SIZE),
		.backing_offset = le32_load(bytes + AT_BACKING),
		.backing_length = le32_load(bytes + AT_BACKING_LENGTH),
	};
	if (memcmp(bytes, "QED", 4) != 0)
		return error_set(error, BERTH_ERR_INVALID, "Image not in QED format");
	if (header->features & ~(uint64_t)KNOWN)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "Unsupported QED features: %" PRIx64,
				 header->features & ~(uint64_t)KNOWN);
	if (!qed_header_check(header, error))
		return false;
	uint64_t table_bytes = (uint64_t)header->cluster_size * header->table_size;
	if (header->l1_offset % header->cluster_size || header->l1_offset == 0 ||
	    !range_fits(header->l1_offset, table_bytes, file_size))
		return error_set(error, BERTH_ERR_INVALID, "the QED image's L1 table lies outside of the "
							   "file");
	uint64_t header_bytes = (uint64_t)header->cluster_size * header->header_size;
	if (header->features & QED_BACKING &&
	    (!range_fits(header->backing_offset, header->backing_length, header_bytes) ||
	     header->backing_length >= 1024))
		return error_set(error, BERTH_ERR_INVALID,
				 "the QED image's backing file name lies outside of its header");
	return true;
}

void qed_header_format(const struct qed_header *header, uint8_t *bytes)
{
	memcpy(bytes, "QED", 4);
	le32_store(bytes + AT_CLUSTER, header->cluster_size);
	le32_store(bytes + AT_TABLE, header->table_size);
	le32_store(bytes + AT_HEADER, header->header_size);
	le64_store(bytes + AT_FEATURES, header->features);
	le64_store(bytes + AT_COMPATIBLE, header->compatible);
	le64_store(bytes + AT_AUTOCLEAR, header->autoclear);
	le64_store(bytes + AT_L1, header->l1_offset);
	le64_store(bytes + AT_SIZE, header->disk_size);
	le32_store(bytes + AT_BACKING, header->backing_offset);
	le32_store(bytes + AT_BACKING_LENGTH, header->backing_length);
}
