/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disk's command set (ACS-3). Sectors have 512 bytes. */
#include "dev/storage/ata_int.h"

#include <errno.h>

enum ata_opcode {
	DATA_SET_MANAGEMENT = 0x06, RECALIBRATE = 0x10, READ_SECTORS = 0x20, READ_SECTORS_OLD = 0x21,
	READ_SECTORS_EXT = 0x24, READ_DMA_EXT = 0x25, READ_NATIVE_MAX_EXT = 0x27,
	READ_MULTIPLE_EXT = 0x29, READ_LOG_EXT = 0x2f, WRITE_SECTORS = 0x30, WRITE_SECTORS_OLD = 0x31,
	WRITE_SECTORS_EXT = 0x34, WRITE_DMA_EXT = 0x35, WRITE_MULTIPLE_EXT = 0x39,
	WRITE_DMA_FUA_EXT = 0x3d, READ_VERIFY = 0x40, READ_VERIFY_OLD = 0x41, READ_VERIFY_EXT = 0x42,
	READ_LOG_DMA_EXT = 0x47, READ_FPDMA = 0x60, WRITE_FPDMA = 0x61, SEEK = 0x70, DIAGNOSTIC = 0x90,
	SET_PARAMETERS = 0x91, SMART = 0xb0, READ_MULTIPLE = 0xc4, WRITE_MULTIPLE = 0xc5,
	SET_MULTIPLE = 0xc6, READ_DMA = 0xc8, READ_DMA_OLD = 0xc9, WRITE_DMA = 0xca,
	WRITE_DMA_OLD = 0xcb, WRITE_MULTIPLE_FUA_EXT = 0xce, STANDBY_IMMEDIATE = 0xe0,
	IDLE_IMMEDIATE = 0xe1, STANDBY = 0xe2, IDLE = 0xe3, CHECK_POWER = 0xe5, SLEEP = 0xe6,
	FLUSH = 0xe7, FLUSH_EXT = 0xea, IDENTIFY = 0xec, SET_FEATURES = 0xef, READ_NATIVE_MAX = 0xf8,
};

enum { DEVICE_LBA = 0x40, DEVICE_FUA = 0x80 };

/* How a data command transfers. */
enum flags {
	DATA = 1 << 0, WIDE = 1 << 1, WRITE = 1 << 2, PIO = 1 << 3, FUA = 1 << 4, QUEUED = 1 << 5,
};

uint64_t ata_disk_sectors(const struct ata_unit *unit)
{
	return block_size(unit->node) / ATA_SECTOR;
}

void ata_disk_geometry(const struct ata_unit *unit, unsigned *cylinders, unsigned *heads,
		       unsigned *sectors)
{
	*heads = 16;
	*sectors = 63;
	*cylinders = (unsigned)MIN(ata_disk_sectors(unit) / (16 * 63), 16383);
	*cylinders = MAX(*cylinders, 2);
}

/* ACS-3, 6.2: what failed. The adapter keeps the address in the registers. */
void ata_disk_error(struct ata_request *r, int result)
{
	uint8_t error = ATA_ERROR_ABORT;
	if (result == -ERANGE)
		error = ATA_ERROR_NOT_FOUND;
	else if (result != -EFAULT && r->op == BLOCK_READ)
		error = ATA_ERROR_UNCORRECTABLE;
	if (r->queued) {
		r->unit->ncq_error.valid = true;
		r->unit->ncq_error.tag = (uint8_t)r->tag;
		r->unit->ncq_error.status = ATA_GOOD | ATA_ERR;
		r->unit->ncq_error.error = error;
		r->unit->ncq_error.device = r->device;
		r->unit->ncq_error.lba = r->lba;
		r->unit->ncq_error.count = r->count;
	}
	ata_finish(r, ATA_GOOD | ATA_ERR, error);
}

/* The first sector that the registers name; UINT64_MAX if they name none. */
static uint64_t first_sector(const struct ata_request *r, bool wide)
{
	if (wide)
		return r->lba;
	uint64_t low = (r->lba & 0xffffff) | (uint64_t)(r->device & 15) << 24;
	if (r->device & DEVICE_LBA)
		return low;
	/* Cylinder in bits 8-23, head in the device register, sectors from 1. */
	unsigned cylinders, heads, sectors;
	ata_disk_geometry(r->unit, &cylinders, &heads, &sectors);
	unsigned sector = r->lba & 0xff, head = r->device & 15;
	unsigned cylinder = (unsigned)(r->lba >> 8) & 0xffff;
	if (sector == 0 || sector > sectors || head >= heads)
		return UINT64_MAX;
	return ((uint64_t)cylinder * heads + head) * sectors + sector - 1;
}

static void transfer(struct ata_request *r, unsigned flags)
{
	/* NCQ has the count in the features and the tag in the count (ACS-3, 7.22). */
	unsigned count = flags & QUEUED ? r->feature : r->count;
	if (!(flags & WIDE))
		count &= 0xff;
	if (count == 0)
		count = flags & WIDE ? 65536 : 256;
	uint64_t first = first_sector(r, flags & WIDE);
	r->queued = flags & QUEUED;
	r->pio_in = (flags & (PIO | WRITE)) == PIO;
	if (!range_fits(first, count, ata_disk_sectors(r->unit))) {
		ata_disk_error(r, -ERANGE);
		return;
	}
	if (flags & WRITE && block_is_readonly(r->unit->node)) {
		ata_disk_error(r, -EFAULT);
		return;
	}
	bool through = flags & FUA || !r->unit->write_cache ||
		       (flags & QUEUED && r->device & DEVICE_FUA);
	if (flags & WRITE)
		ata_transfer(r, BLOCK_WRITE, through ? BLOCK_REQ_FUA : 0, first * ATA_SECTOR,
			     (uint64_t)count * ATA_SECTOR);
	else
		ata_transfer(r, BLOCK_READ, 0, first * ATA_SECTOR, (uint64_t)count * ATA_SECTOR);
}

/* --- requests without data ------------------------------------------------------------------------ */

static void flush_done(struct block_request *block, int result)
{
	struct ata_request *r = (struct ata_request *)block;
	bool ignored = false;
	if (result < 0 && ata_hold_failed(r, result, &ignored) && !ignored)
		return;
	if (result < 0 && !ignored)
		ata_disk_error(r, result);
	else
		ata_succeed(r);
}

static void flush(struct ata_request *r)
{
	r->op = r->block.op = BLOCK_FLUSH;
	r->block.flags = 0;
	r->block.offset = r->block.length = 0;
	r->block.iov = NULL;
	r->block.iov_count = 0;
	r->block.done = flush_done;
	r->again = flush;
	block_submit(r->unit->node, &r->block);
}

/* --- TRIM (ACS-3, 7.5): pages of 64 ranges, 48 bits of address and 16 of length ------------------- */

static void trim_next(struct ata_request *r);

static void trim_done(struct block_request *block, int result)
{
	struct ata_request *r = (struct ata_request *)block;
	/* It is advice: a medium that cannot take it loses nothing. */
	if (result < 0 && result != -ENOTSUP && result != -EOPNOTSUPP) {
		ata_disk_error(r, result);
		return;
	}
	r->range++;
	if (r->in_submit)
		r->completed = true;
	else
		trim_next(r);
}

static void trim_next(struct ata_request *r)
{
	while (r->range < r->ranges) {
		uint64_t range = le64_load(r->unit->buffer + 8 * r->range);
		uint64_t first = range & 0xffffffffffff, count = range >> 48;
		if (count == 0) {
			r->range++;
			continue;
		}
		if (!range_fits(first, count, ata_disk_sectors(r->unit))) {
			ata_disk_error(r, -ERANGE);
			return;
		}
		r->op = r->block.op = BLOCK_DISCARD;
		r->block.flags = 0;
		r->block.offset = first * ATA_SECTOR;
		r->block.length = count * ATA_SECTOR;
		r->block.iov = NULL;
		r->block.iov_count = 0;
		r->block.done = trim_done;
		r->completed = false;
		r->in_submit = true;
		block_submit(r->unit->node, &r->block);
		r->in_submit = false;
		if (!r->completed)
			return;
	}
	ata_succeed(r);
}

static void trim(struct ata_request *r)
{
	uint64_t bytes = (uint64_t)r->count * ATA_SECTOR;
	if (!(r->feature & 1) || bytes == 0 || bytes > sizeof(r->unit->buffer) ||
	    block_is_readonly(r->unit->node) || !ata_fetch(r, r->unit->buffer, bytes)) {
		ata_abort(r);
		return;
	}
	r->range = 0;
	r->ranges = (unsigned)bytes / 8;
	trim_next(r);
}

/* --- the rest -------------------------------------------------------------------------------------- */

static void identify(struct ata_request *r)
{
	uint8_t data[ATA_SECTOR];
	ata_identify_disk(r->unit, data);
	r->pio_in = true;
	ata_reply(r, data, sizeof(data));
	ata_succeed(r);
}

void ata_set_features(struct ata_request *r)
{
	enum { WRITE_CACHE_ON = 0x02, TRANSFER_MODE = 0x03, APM_ON = 0x05, SATA_ON = 0x10,
	       AHEAD_OFF = 0x55, NO_REVERT = 0x66, WRITE_CACHE_OFF = 0x82, APM_OFF = 0x85,
	       SATA_OFF = 0x90, AHEAD_ON = 0xaa, REVERT = 0xcc };
	struct ata_unit *unit = r->unit;
	uint8_t count = (uint8_t)r->count;
	switch (r->feature & 0xff) {
	case WRITE_CACHE_ON:
		unit->write_cache = true;
		break;
	case WRITE_CACHE_OFF:
		unit->write_cache = false;
		if (unit->node && !unit->cd) {
			flush(r);
			return;
		}
		break;
	case TRANSFER_MODE:
		/* PIO default, PIO 0-4, multiword DMA 0-2, ultra DMA 0-5 (ACS-3, 7.45.8). */
		if (count > 1 && !(count >= 0x08 && count <= 0x0c) &&
		    !(count >= 0x20 && count <= 0x22) && !(count >= 0x40 && count <= 0x45)) {
			ata_abort(r);
			return;
		}
		unit->transfer_mode = count;
		break;
	case AHEAD_ON:
		unit->read_ahead = true;
		break;
	case AHEAD_OFF:
		unit->read_ahead = false;
		break;
	case NO_REVERT:
	case REVERT:
		break;
	default: /* power management and SATA features are not offered in IDENTIFY */
		ata_abort(r);
		return;
	}
	ata_succeed(r);
}

static void set_multiple(struct ata_request *r)
{
	uint8_t count = (uint8_t)r->count;
	if (count > 16 || (count & (count - 1))) {
		ata_abort(r);
		return;
	}
	r->unit->multiple = count;
	ata_succeed(r);
}

static void verify(struct ata_request *r, bool wide)
{
	unsigned count = wide ? r->count : r->count & 0xff;
	if (count == 0)
		count = wide ? 65536 : 256;
	if (range_fits(first_sector(r, wide), count, ata_disk_sectors(r->unit)))
		ata_succeed(r);
	else
		ata_disk_error(r, -ERANGE);
}

static void native_max(struct ata_request *r, bool wide)
{
	uint64_t last = ata_disk_sectors(r->unit) - 1;
	if (wide) {
		r->lba = last;
	} else {
		last = MIN(last, 0x0fffffff);
		r->lba = last & 0xffffff;
		r->device = (uint8_t)((r->device & 0xf0) | last >> 24);
	}
	ata_succeed(r);
}

/* Data commands, or 0. */
static unsigned data_flags(uint8_t command)
{
	switch (command) {
	case READ_SECTORS:
	case READ_SECTORS_OLD:
	case READ_MULTIPLE:
		return DATA | PIO;
	case READ_SECTORS_EXT:
	case READ_MULTIPLE_EXT:
		return DATA | PIO | WIDE;
	case READ_DMA:
	case READ_DMA_OLD:
		return DATA;
	case READ_DMA_EXT:
		return DATA | WIDE;
	case WRITE_SECTORS:
	case WRITE_SECTORS_OLD:
	case WRITE_MULTIPLE:
		return DATA | PIO | WRITE;
	case WRITE_SECTORS_EXT:
	case WRITE_MULTIPLE_EXT:
		return DATA | PIO | WRITE | WIDE;
	case WRITE_DMA:
	case WRITE_DMA_OLD:
		return DATA | WRITE;
	case WRITE_DMA_EXT:
		return DATA | WRITE | WIDE;
	case WRITE_DMA_FUA_EXT:
	case WRITE_MULTIPLE_FUA_EXT:
		return DATA | WRITE | WIDE | FUA;
	case READ_FPDMA:
		return DATA | WIDE | QUEUED;
	case WRITE_FPDMA:
		return DATA | WIDE | QUEUED | WRITE;
	default:
		return 0;
	}
}

void ata_disk_execute(struct ata_request *r)
{
	unsigned flags = data_flags(r->command);
	if (flags) {
		transfer(r, flags);
		return;
	}
	switch (r->command) {
	case IDENTIFY:
		identify(r);
		break;
	case SET_FEATURES:
		ata_set_features(r);
		break;
	case FLUSH:
	case FLUSH_EXT:
		flush(r);
		break;
	case DATA_SET_MANAGEMENT:
		trim(r);
		break;
	case READ_LOG_EXT:
	case READ_LOG_DMA_EXT:
		ata_read_log(r);
		break;
	case SMART:
		ata_smart(r);
		break;
	case SET_MULTIPLE:
		set_multiple(r);
		break;
	case READ_VERIFY:
	case READ_VERIFY_OLD:
		verify(r, false);
		break;
	case READ_VERIFY_EXT:
		verify(r, true);
		break;
	case READ_NATIVE_MAX:
		native_max(r, false);
		break;
	case READ_NATIVE_MAX_EXT:
		native_max(r, true);
		break;
	case CHECK_POWER:
		r->count = 0xff; /* active or idle */
		ata_succeed(r);
		break;
	case DIAGNOSTIC:
		r->lba = ata_signature(r->unit) >> 8;
		r->count = 1;
		ata_finish(r, ATA_GOOD, 1); /* "device 0 passed" is not an error: ERR is clear */
		break;
	case RECALIBRATE:
	case SEEK:
	case SET_PARAMETERS:
	case STANDBY_IMMEDIATE:
	case IDLE_IMMEDIATE:
	case STANDBY:
	case IDLE:
	case SLEEP:
		ata_succeed(r);
		break;
	default:
		ata_abort(r);
		break;
	}
}
