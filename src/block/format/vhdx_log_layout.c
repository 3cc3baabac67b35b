/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of VHDX's log after [MS-VHDX] 2.3: header, descriptors, data sectors. */
#include "block/format/vhdx_layout.h"

#include "base/bytes.h"

enum {
	AT_SUM = 4, AT_LENGTH = 8, AT_TAIL = 12, AT_SEQUENCE = 16, AT_DESCRIPTORS = 24, AT_GUID = 32,
	AT_FLUSHED = 48, AT_LAST = 56, HEADER = 64,
	DESCRIPTOR = 32,
};

/* How many log sectors the header and `count` descriptors take. */
static uint64_t descriptor_sectors(uint32_t count)
{
	return (HEADER + (uint64_t)count * DESCRIPTOR + VHDX_LOG_SECTOR - 1) / VHDX_LOG_SECTOR;
}

bool vhdx_log_entry_parse(struct vhdx_log_entry *entry, const uint8_t *bytes, uint32_t log_length)
{
	*entry = (struct vhdx_log_entry){
		.length = le32_load(bytes + AT_LENGTH),
		.tail = le32_load(bytes + AT_TAIL),
		.sequence = le64_load(bytes + AT_SEQUENCE),
		.descriptors = le32_load(bytes + AT_DESCRIPTORS),
		.flushed_size = le64_load(bytes + AT_FLUSHED),
		.last_size = le64_load(bytes + AT_LAST),
	};
	memcpy(&entry->guid, bytes + AT_GUID, 16);
	return memcmp(bytes, "loge", 4) == 0 && entry->sequence && entry->length >= VHDX_LOG_SECTOR &&
	       entry->length % VHDX_LOG_SECTOR == 0 && entry->length <= log_length &&
	       entry->tail % VHDX_LOG_SECTOR == 0 && entry->tail < log_length &&
	       descriptor_sectors(entry->descriptors) * VHDX_LOG_SECTOR <= entry->length;
}

void vhdx_log_descriptor_parse(struct vhdx_log_descriptor *descriptor, const uint8_t *bytes)
{
	descriptor->zero = memcmp(bytes, "zero", 4) == 0;
	descriptor->trailing = le32_load(bytes + 4);
	descriptor->leading = le64_load(bytes + 8);
	descriptor->length = descriptor->zero ? descriptor->leading : VHDX_LOG_SECTOR;
	descriptor->offset = le64_load(bytes + 16);
}

bool vhdx_log_entry_valid(const struct vhdx_log_entry *entry, const uint8_t *bytes)
{
	static const uint8_t zeroes[4];
	uint32_t crc = vhdx_crc(0, bytes, AT_SUM);
	crc = vhdx_crc(crc, zeroes, sizeof(zeroes));
	if (le32_load(bytes + AT_SUM) != vhdx_crc(crc, bytes + 8, entry->length - 8))
		return false;
	uint64_t data = 0, first = descriptor_sectors(entry->descriptors);
	for (uint32_t i = 0; i < entry->descriptors; i++) {
		const uint8_t *descriptor = bytes + HEADER + (uint64_t)i * DESCRIPTOR;
		bool is_data = memcmp(descriptor, "desc", 4) == 0;
		if ((!is_data && memcmp(descriptor, "zero", 4) != 0) ||
		    le64_load(descriptor + 24) != entry->sequence ||
		    le64_load(descriptor + 16) % VHDX_LOG_SECTOR)
			return false;
		data += is_data;
	}
	if ((first + data) * VHDX_LOG_SECTOR != entry->length)
		return false;
	for (uint64_t i = 0; i < data; i++) {
		const uint8_t *sector = bytes + (first + i) * VHDX_LOG_SECTOR;
		if (memcmp(sector, "data", 4) != 0 ||
		    le32_load(sector + 4) != (uint32_t)(entry->sequence >> 32) ||
		    le32_load(sector + VHDX_LOG_SECTOR - 4) != (uint32_t)entry->sequence)
			return false;
	}
	return true;
}

void vhdx_log_restore(const struct vhdx_log_entry *entry, const uint8_t *bytes, unsigned index,
		      const struct vhdx_log_descriptor *descriptor, uint8_t *sector)
{
	uint64_t at = (descriptor_sectors(entry->descriptors) + index) * VHDX_LOG_SECTOR;
	memcpy(sector, bytes + at, VHDX_LOG_SECTOR);
	le64_store(sector, descriptor->leading);
	le32_store(sector + VHDX_LOG_SECTOR - 4, descriptor->trailing);
}

void vhdx_log_entry_format(const struct vhdx_log_entry *entry, uint64_t offset, const uint8_t *sector,
			   uint8_t *bytes)
{
	uint8_t *descriptor = bytes + HEADER, *data = bytes + VHDX_LOG_SECTOR;
	memset(bytes, 0, VHDX_LOG_SECTOR);
	memcpy(bytes, "loge", 4);
	le32_store(bytes + AT_LENGTH, 2 * VHDX_LOG_SECTOR);
	le32_store(bytes + AT_TAIL, entry->tail);
	le64_store(bytes + AT_SEQUENCE, entry->sequence);
	le32_store(bytes + AT_DESCRIPTORS, 1);
	memcpy(bytes + AT_GUID, &entry->guid, 16);
	le64_store(bytes + AT_FLUSHED, entry->flushed_size);
	le64_store(bytes + AT_LAST, entry->last_size);
	memcpy(descriptor, "desc", 4);
	le32_store(descriptor + 4, le32_load(sector + VHDX_LOG_SECTOR - 4));
	le64_store(descriptor + 8, le64_load(sector));
	le64_store(descriptor + 16, offset);
	le64_store(descriptor + 24, entry->sequence);
	memcpy(data, sector, VHDX_LOG_SECTOR);
	memcpy(data, "data", 4);
	le32_store(data + 4, entry->sequence >> 32);
	le32_store(data + VHDX_LOG_SECTOR - 4, entry->sequence);
	le32_store(bytes + AT_SUM, vhdx_crc(0, bytes, 2 * VHDX_LOG_SECTOR));
}
