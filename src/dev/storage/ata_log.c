/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a disk tells about itself: the NCQ error log (ACS-3, A.14) and SMART (ACS-3, 7.48). */
#include "dev/storage/ata_int.h"

#include "aio/loop.h"

static void seal(uint8_t *page)
{
	uint8_t sum = 0;
	for (unsigned i = 0; i < ATA_SECTOR - 1; i++)
		sum += page[i];
	page[ATA_SECTOR - 1] = (uint8_t)-sum;
}

enum { LOG_DIRECTORY = 0x00, LOG_NCQ_ERROR = 0x10 };

static void ncq_error_page(struct ata_unit *unit, uint8_t *page)
{
	/* Without an error bit 7 says that no queued command is meant. */
	if (!unit->ncq_error.valid) {
		page[0] = 0x80;
		seal(page);
		return;
	}
	page[0] = unit->ncq_error.tag;
	page[2] = unit->ncq_error.status;
	page[3] = unit->ncq_error.error;
	page[4] = (uint8_t)unit->ncq_error.lba;
	page[5] = (uint8_t)(unit->ncq_error.lba >> 8);
	page[6] = (uint8_t)(unit->ncq_error.lba >> 16);
	page[7] = unit->ncq_error.device;
	page[8] = (uint8_t)(unit->ncq_error.lba >> 24);
	page[9] = (uint8_t)(unit->ncq_error.lba >> 32);
	page[10] = (uint8_t)(unit->ncq_error.lba >> 40);
	le16_store(page + 12, unit->ncq_error.count);
	seal(page);
	unit->ncq_error.valid = false;
}

void ata_read_log(struct ata_request *r)
{
	enum { READ_LOG_EXT = 0x2f };
	uint8_t page[ATA_SECTOR] = {0};
	unsigned log = r->lba & 0xff;
	/* The page number is in bits 8-15 and 32-39 of the address; both logs have one page. */
	bool first = ((r->lba >> 8) & 0xff) == 0 && ((r->lba >> 32) & 0xff) == 0;
	if (r->count != 1 || !first || (log != LOG_DIRECTORY && log != LOG_NCQ_ERROR)) {
		ata_abort(r);
		return;
	}
	if (log == LOG_DIRECTORY) {
		le16_store(page, 1); /* version */
		le16_store(page + 2 * LOG_NCQ_ERROR, 1);
	} else {
		ncq_error_page(r->unit, page);
	}
	r->pio_in = r->command == READ_LOG_EXT;
	if (ata_reply(r, page, sizeof(page)) == sizeof(page))
		ata_succeed(r);
	else
		ata_abort(r);
}

/* --- SMART ----------------------------------------------------------------------------------------- */

static void attribute(uint8_t *data, unsigned n, uint8_t id, uint64_t raw)
{
	uint8_t *a = data + 2 + 12 * n;
	a[0] = id;
	le16_store(a + 1, 0x0032); /* event count, kept over power cycles */
	a[3] = 100;                /* now and worst: as good as new */
	a[4] = 100;
	for (unsigned i = 0; i < 6; i++)
		a[5 + i] = (uint8_t)(raw >> (8 * i));
}

static void smart_data(const struct ata_unit *unit, uint8_t *data)
{
	enum { REALLOCATED = 5, POWER_ON_HOURS = 9, CRC_ERRORS = 199, LBAS_WRITTEN = 241,
	       LBAS_READ = 242 };
	struct block_stats stats;
	block_get_stats(unit->node, &stats);
	le16_store(data, 0x0010);
	attribute(data, 0, REALLOCATED, 0);
	attribute(data, 1, POWER_ON_HOURS,
		  (uint64_t)(aio_now_ns() - unit->created_ns) / (3600 * UINT64_C(1000000000)));
	attribute(data, 2, CRC_ERRORS, 0);
	attribute(data, 3, LBAS_WRITTEN, stats.bytes[BLOCK_WRITE] / ATA_SECTOR);
	attribute(data, 4, LBAS_READ, stats.bytes[BLOCK_READ] / ATA_SECTOR);
	seal(data);
}

static void smart_thresholds(uint8_t *data)
{
	static const uint8_t ids[] = {5, 9, 199, 241, 242};
	le16_store(data, 0x0010);
	for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++)
		data[2 + 12 * i] = ids[i]; /* threshold 0: never fails */
	seal(data);
}

void ata_smart(struct ata_request *r)
{
	enum { READ_DATA = 0xd0, READ_THRESHOLDS = 0xd1, AUTOSAVE = 0xd2, ENABLE = 0xd8,
	       DISABLE = 0xd9, RETURN_STATUS = 0xda, KEY = 0xc24f };
	struct ata_unit *unit = r->unit;
	uint8_t page[ATA_SECTOR] = {0};
	unsigned what = r->feature & 0xff;
	if (((r->lba >> 8) & 0xffff) != KEY || (!unit->smart && what != ENABLE)) {
		ata_abort(r);
		return;
	}
	switch (what) {
	case READ_DATA:
	case READ_THRESHOLDS:
		if (what == READ_DATA)
			smart_data(unit, page);
		else
			smart_thresholds(page);
		r->pio_in = true;
		if (ata_reply(r, page, sizeof(page)) != sizeof(page)) {
			ata_abort(r);
			return;
		}
		break;
	case ENABLE:
	case DISABLE:
		unit->smart = what == ENABLE;
		break;
	case AUTOSAVE:
	case RETURN_STATUS: /* the key stays in the registers: no threshold exceeded */
		break;
	default:
		ata_abort(r);
		return;
	}
	ata_succeed(r);
}
