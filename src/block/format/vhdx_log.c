/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX's log ([MS-VHDX] 2.3). A change of the block table is written to the log and flushed, then to
 * its place and flushed; then the log's space may be used again. After a crash the entries that are
 * whole are written to their places once more.
 */
#include "block/format/vhdx.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>

static bool guid_is_null(const struct vhdx_guid *guid)
{
	static const struct vhdx_guid null;
	return memcmp(guid, &null, sizeof(null)) == 0;
}

/* `length` bytes of the log from `position`, which may wrap round. */
static int read_log(struct vhdx_image *vhdx, uint32_t position, uint8_t *bytes, uint32_t length)
{
	uint32_t first = MIN(length, vhdx->header.log_length - position);
	struct block_node *file = vhdx->mapped.node.file;
	int rc = block_pread(file, vhdx->header.log_offset + position, bytes, first);
	if (rc == 0 && first < length)
		rc = block_pread(file, vhdx->header.log_offset, bytes + first, length - first);
	return rc;
}

/* The entry at `position` if there is a whole one; its bytes in *bytes (g_free). */
static bool entry_at(struct vhdx_image *vhdx, uint32_t position, struct vhdx_log_entry *entry,
		     uint8_t **bytes)
{
	uint8_t head[VHDX_LOG_SECTOR];
	*bytes = NULL;
	if (read_log(vhdx, position, head, sizeof(head)) < 0 ||
	    !vhdx_log_entry_parse(entry, head, vhdx->header.log_length) ||
	    memcmp(&entry->guid, &vhdx->header.log, 16) != 0)
		return false;
	*bytes = g_try_malloc(entry->length);
	if (*bytes && read_log(vhdx, position, *bytes, entry->length) == 0 &&
	    vhdx_log_entry_valid(entry, *bytes))
		return true;
	g_clear_pointer(bytes, g_free);
	return false;
}

/* The newest run of entries with rising numbers: its head, whose tail says where to begin. */
static bool find_newest(struct vhdx_image *vhdx, struct vhdx_log_entry *newest)
{
	bool found = false;
	for (uint32_t at = 0; at < vhdx->header.log_length;) {
		struct vhdx_log_entry entry;
		uint8_t *bytes;
		if (!entry_at(vhdx, at, &entry, &bytes)) {
			at += VHDX_LOG_SECTOR;
			continue;
		}
		g_free(bytes);
		if (!found || entry.sequence > newest->sequence)
			*newest = entry;
		found = true;
		at += entry.length;
	}
	return found;
}

static bool apply(struct vhdx_image *vhdx, const struct vhdx_log_entry *entry, const uint8_t *bytes,
		  GError **error)
{
	struct block_node *file = vhdx->mapped.node.file;
	unsigned data = 0;
	if (block_size(file) < entry->flushed_size)
		return error_set(error, BERTH_ERR_INVALID, "the VHDX image is cut off: its log names more");
	for (uint32_t i = 0; i < entry->descriptors; i++) {
		struct vhdx_log_descriptor descriptor;
		uint8_t sector[VHDX_LOG_SECTOR];
		vhdx_log_descriptor_parse(&descriptor, bytes + 64 + UINT64_C(32) * i);
		/* Nothing that the log may speak of lies behind the table and the metadata by much. */
		if (!range_fits(descriptor.offset, descriptor.length,
				MAX(entry->last_size, block_size(file))) ||
		    descriptor.offset < VHDX_HEADER1)
			return error_set(error, BERTH_ERR_INVALID, "the VHDX image's log is damaged");
		int rc;
		if (descriptor.zero) {
			rc = block_io(file, BLOCK_WRITE_ZEROES, 0, descriptor.offset, descriptor.length, NULL, 0);
		} else {
			vhdx_log_restore(entry, bytes, data++, &descriptor, sector);
			rc = block_pwrite(file, descriptor.offset, sector, sizeof(sector));
		}
		if (rc < 0)
			return error_set_errno(error, -rc, "cannot replay the VHDX image's log");
	}
	return true;
}

static bool replay_from(struct vhdx_image *vhdx, const struct vhdx_log_entry *newest, GError **error)
{
	uint32_t at = newest->tail, walked = 0;
	for (;;) {
		struct vhdx_log_entry entry;
		uint8_t *bytes;
		if (!entry_at(vhdx, at, &entry, &bytes))
			return error_set(error, BERTH_ERR_INVALID, "the VHDX image's log has a gap");
		bool ok = apply(vhdx, &entry, bytes, error);
		g_free(bytes);
		walked += entry.length;
		if (!ok || entry.sequence == newest->sequence)
			return ok;
		if (walked > vhdx->header.log_length)
			return error_set(error, BERTH_ERR_INVALID, "the VHDX image's log runs in a circle");
		at = (at + entry.length) % vhdx->header.log_length;
	}
}

bool vhdx_log_replay(struct vhdx_image *vhdx, bool writable, GError **error)
{
	struct vhdx_log_entry newest;
	if (guid_is_null(&vhdx->header.log))
		return true;
	if (!find_newest(vhdx, &newest))
		return true; /* the log was opened, nothing was written */
	if (!writable)
		return error_set(error, BERTH_ERR_BUSY,
				 "the VHDX image '%s' was not closed and opened read-only, but its log has to be "
				 "replayed: run berth-img check -r all on it", vhdx->mapped.node.file->filename);
	if (!replay_from(vhdx, &newest, error))
		return false;
	int rc = block_flush(vhdx->mapped.node.file);
	vhdx->header.log = (struct vhdx_guid){0};
	if (rc == 0)
		rc = vhdx_write_header(vhdx);
	return rc == 0 || error_set_errno(error, -rc, "cannot close the VHDX image's log");
}

int vhdx_log_write(struct vhdx_image *vhdx, uint64_t offset, const uint8_t *sector)
{
	struct block_node *file = vhdx->mapped.node.file;
	uint8_t bytes[2 * VHDX_LOG_SECTOR];
	struct vhdx_log_entry entry = {
		.sequence = ++vhdx->log_sequence,
		.flushed_size = block_size(file),
		.last_size = block_size(file),
		.tail = vhdx->log_position, /* all older ones are in their places */
		.guid = vhdx->header.log,
	};
	vhdx_log_entry_format(&entry, offset, sector, bytes);
	int rc = block_pwrite(file, vhdx->header.log_offset + vhdx->log_position, bytes, sizeof(bytes));
	if (rc == 0)
		rc = block_flush(file);
	if (rc == 0)
		rc = block_pwrite(file, offset, sector, VHDX_LOG_SECTOR);
	if (rc == 0)
		rc = block_flush(file);
	/* The log's length is a multiple of a MiB: entries of two sectors never wrap. */
	vhdx->log_position = (vhdx->log_position + sizeof(bytes)) % vhdx->header.log_length;
	return rc;
}
