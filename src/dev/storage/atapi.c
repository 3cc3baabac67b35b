/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A CD/DVD drive: the ATA commands around PACKET (ACS-3) and the packet commands of MMC-6 and SPC-4
 * that operating systems and firmware use to read data discs. Fields of packets are big-endian.
 */
#include "dev/storage/ata_int.h"

#include <errno.h>

enum { CD_SECTOR = 2048 };
enum { CMD_DIAGNOSTIC = 0x90, CMD_PACKET = 0xa0, CMD_IDENTIFY_PACKET = 0xa1, CMD_STANDBY = 0xe0,
       CMD_IDLE = 0xe1, CMD_CHECK_POWER = 0xe5, CMD_SLEEP = 0xe6, CMD_IDENTIFY = 0xec,
       CMD_SET_FEATURES = 0xef };

enum packet_opcode {
	TEST_UNIT_READY = 0x00, REQUEST_SENSE = 0x03, INQUIRY = 0x12, START_STOP = 0x1b,
	PREVENT_ALLOW = 0x1e, READ_CAPACITY = 0x25, READ_10 = 0x28, SEEK_10 = 0x2b,
	READ_SUBCHANNEL = 0x42, READ_TOC = 0x43, GET_CONFIGURATION = 0x46, GET_EVENT_STATUS = 0x4a,
	READ_DISC_INFORMATION = 0x51, MODE_SENSE_10 = 0x5a, READ_12 = 0xa8, READ_DVD_STRUCTURE = 0xad,
	SET_CD_SPEED = 0xbb, MECHANISM_STATUS = 0xbd, READ_CD = 0xbe,
};

static const struct ata_sense no_medium = {2, 0x3a, 0x01}, tray_open = {2, 0x3a, 0x02},
	medium_changed = {6, 0x28, 0x00}, bad_opcode = {5, 0x20, 0x00}, bad_address = {5, 0x21, 0x00},
	bad_field = {5, 0x24, 0x00}, read_error = {3, 0x11, 0x00}, locked = {5, 0x53, 0x02},
	bad_mode = {5, 0x64, 0x00};

/* --- ends ------------------------------------------------------------------------------------------ */

/* The interrupt reason is in the count register: command done, direction to the host. */
static void packet_end(struct ata_request *r, uint8_t status, uint8_t error)
{
	r->count = 3;
	ata_finish(r, status, error);
}

static void good(struct ata_request *r)
{
	r->unit->sense = (struct ata_sense){0};
	packet_end(r, ATA_GOOD, 0);
}

static void check(struct ata_request *r, struct ata_sense sense)
{
	r->unit->sense = sense;
	packet_end(r, ATA_GOOD | ATA_ERR, (uint8_t)(sense.key << 4 | ATA_ERROR_ABORT));
}

void atapi_error(struct ata_request *r, int result)
{
	check(r, result == -EFAULT ? bad_field : read_error);
}

/* At most `allocation` bytes of an answer. */
static void answer(struct ata_request *r, const void *data, uint64_t length, uint64_t allocation)
{
	ata_reply(r, data, MIN(length, allocation));
	good(r);
}

static uint64_t cd_sectors(const struct ata_unit *unit)
{
	return unit->node && !unit->tray_open ? block_size(unit->node) / CD_SECTOR : 0;
}

/* More than a CD holds makes it a DVD. */
static bool is_dvd(const struct ata_unit *unit)
{
	return cd_sectors(unit) > 80 * 60 * 75;
}

/* --- answers ---------------------------------------------------------------------------------------- */

static void request_sense(struct ata_request *r)
{
	uint8_t data[18] = {0x70};
	data[2] = r->unit->sense.key;
	data[7] = 10;
	data[12] = r->unit->sense.asc;
	data[13] = r->unit->sense.ascq;
	answer(r, data, sizeof(data), r->packet[4]);
}

static void text(uint8_t *at, const char *value, size_t length)
{
	memset(at, ' ', length);
	memcpy(at, value, MIN(strlen(value), length));
}

static void inquiry(struct ata_request *r)
{
	uint8_t data[36] = {0};
	const struct ata_unit *unit = r->unit;
	if (r->packet[1] & 1 || r->packet[2]) { /* vital product data is not offered */
		check(r, bad_field);
		return;
	}
	data[0] = 5;    /* CD/DVD */
	data[1] = 0x80; /* removable */
	data[2] = 5;    /* SPC-3 */
	data[3] = 2;
	data[4] = sizeof(data) - 5;
	text(data + 8, "BERTH", 8);
	text(data + 16, unit->model ? unit->model : "DVD-ROM", 16);
	text(data + 32, unit->version ? unit->version : BERTH_VERSION, 4);
	answer(r, data, sizeof(data), be16_load(r->packet + 3));
}

static void read_capacity(struct ata_request *r)
{
	uint8_t data[8];
	be32_store(data, (uint32_t)MIN(cd_sectors(r->unit) - 1, UINT32_MAX));
	be32_store(data + 4, CD_SECTOR);
	answer(r, data, sizeof(data), sizeof(data));
}

static void put_address(uint8_t *at, uint64_t sector, bool msf)
{
	if (!msf) {
		be32_store(at, (uint32_t)MIN(sector, UINT32_MAX));
		return;
	}
	sector += 150;
	at[0] = 0;
	at[1] = (uint8_t)MIN(sector / (60 * 75), 255);
	at[2] = (uint8_t)(sector / 75 % 60);
	at[3] = (uint8_t)(sector % 75);
}

/* One data track and the lead-out (MMC-6, 6.25). */
static void read_toc(struct ata_request *r)
{
	uint8_t data[48] = {0};
	bool msf = r->packet[1] & 2;
	unsigned format = r->packet[2] & 15, length = 0;
	/* Older software puts the format into the last byte's top bits. */
	if (format == 0)
		format = r->packet[9] >> 6;
	uint64_t total = cd_sectors(r->unit);
	data[2] = data[3] = 1; /* first and last track or session */
	switch (format) {
	case 0:
		if (r->packet[6] > 1 && r->packet[6] != 0xaa) {
			check(r, bad_field);
			return;
		}
		length = 4;
		if (r->packet[6] <= 1) {
			data[length + 1] = 0x14; /* data track */
			data[length + 2] = 1;
			put_address(data + length + 4, 0, msf);
			length += 8;
		}
		data[length + 1] = 0x16;
		data[length + 2] = 0xaa;
		put_address(data + length + 4, total, msf);
		length += 8;
		break;
	case 1:
		data[5] = 0x14;
		data[6] = 1;
		put_address(data + 8, 0, msf);
		length = 12;
		break;
	case 2:
		length = 4;
		for (unsigned i = 0; i < 4; i++) {
			static const uint8_t points[] = {0xa0, 0xa1, 0xa2, 1};
			uint8_t *entry = data + length;
			entry[0] = 1;
			entry[1] = 0x14;
			entry[3] = points[i];
			if (i < 2)
				entry[8] = 1;
			else
				put_address(entry + 7, i == 2 ? total : 0, true);
			length += 11;
		}
		break;
	default:
		check(r, bad_field);
		return;
	}
	be16_store(data, (uint16_t)(length - 2));
	answer(r, data, length, be16_load(r->packet + 7));
}

/* Profiles and features (MMC-6, 5.3): what Linux and Windows ask for to tell CD from DVD. */
static void get_configuration(struct ata_request *r)
{
	enum { PROFILE_CD = 0x08, PROFILE_DVD = 0x10 };
	uint8_t data[64] = {0};
	unsigned wanted = r->packet[1] & 3, first = be16_load(r->packet + 2), length = 8;
	bool medium = cd_sectors(r->unit) != 0, dvd = is_dvd(r->unit);
	static const uint8_t features[][12] = {
		{0x00, 0x00, 0x03, 8, 0, PROFILE_DVD, 0, 0, 0, PROFILE_CD, 0, 0}, /* profile list */
		{0x00, 0x01, 0x0b, 8, 0, 0, 0, 8 /* serial ATAPI */, 1, 0, 0, 0}, /* core */
		{0x00, 0x03, 0x03, 4, 0x29, 0, 0, 0}, /* removable: tray, lock, eject */
	};
	if (wanted > 2) {
		check(r, bad_field);
		return;
	}
	be16_store(data + 6, medium ? (dvd ? PROFILE_DVD : PROFILE_CD) : 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
		unsigned code = be16_load(features[i]), size = 4u + features[i][3];
		if (code < first || (wanted == 2 && code != first))
			continue;
		memcpy(data + length, features[i], size);
		if (code == 0) {
			data[length + 6] = medium && dvd;
			data[length + 10] = medium && !dvd;
		}
		length += size;
	}
	be32_store(data, length - 4);
	answer(r, data, length, be16_load(r->packet + 7));
}

/* MMC-6, 6.6: only polled, and only the media class. */
static void get_event_status(struct ata_request *r)
{
	enum { CLASS_MEDIA = 4, EVENT_EJECT_REQUEST = 1, EVENT_NEW_MEDIA = 2, EVENT_REMOVED = 3 };
	uint8_t data[8] = {0};
	struct ata_unit *unit = r->unit;
	if (!(r->packet[1] & 1)) {
		check(r, bad_field);
		return;
	}
	data[3] = 1 << CLASS_MEDIA;
	if (!(r->packet[4] & 1 << CLASS_MEDIA)) {
		data[1] = 2;
		data[2] = 0x80; /* none of the classes asked for */
		answer(r, data, 4, be16_load(r->packet + 7));
		return;
	}
	data[1] = 6;
	data[2] = CLASS_MEDIA;
	if (unit->eject_requested)
		data[4] = EVENT_EJECT_REQUEST;
	else if (unit->medium_changed)
		data[4] = unit->node ? EVENT_NEW_MEDIA : EVENT_REMOVED;
	unit->eject_requested = false;
	data[5] = (unit->tray_open ? 1 : 0) | (cd_sectors(unit) ? 2 : 0);
	answer(r, data, sizeof(data), be16_load(r->packet + 7));
}

static void read_disc_information(struct ata_request *r)
{
	uint8_t data[34] = {0};
	data[1] = sizeof(data) - 2;
	data[2] = 0x0e; /* finalized, complete last session */
	data[3] = data[4] = data[5] = data[6] = 1;
	data[7] = 0x20;
	answer(r, data, sizeof(data), be16_load(r->packet + 7));
}

/* Pages 01 (read error recovery) and 2a (capabilities) in the 10-byte form. */
static void mode_sense(struct ata_request *r)
{
	uint8_t data[8 + 8 + 22] = {0};
	unsigned page = r->packet[2] & 63, control = r->packet[2] >> 6, length = 8;
	if (control == 3) {
		check(r, (struct ata_sense){5, 0x39, 0x00}); /* no saved values */
		return;
	}
	if (page != 0x01 && page != 0x2a && page != 0x3f) {
		check(r, bad_field);
		return;
	}
	data[2] = r->unit->tray_open ? 0x71 : cd_sectors(r->unit) ? 0x01 : 0x70;
	if (page != 0x2a) {
		data[length] = 0x01;
		data[length + 1] = 6;
		data[length + 3] = control == 1 ? 0 : 5; /* retries; not changeable */
		length += 8;
	}
	if (page != 0x01) {
		uint8_t *p = data + length;
		p[0] = 0x2a;
		p[1] = 20;
		if (control != 1) {
			p[2] = 0x3b; /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
			p[4] = 0x70; /* mode 2 forms, multi-session */
			p[6] = 0x29 | (r->unit->locked ? 2 : 0); /* tray; lock; eject */
			be16_store(p + 8, 50 * 176);  /* speeds in kB/s */
			be16_store(p + 12, 512);      /* buffer in kB */
			be16_store(p + 14, 50 * 176);
		}
		length += 22;
	}
	be16_store(data, (uint16_t)(length - 2));
	answer(r, data, length, be16_load(r->packet + 7));
}

static void mechanism_status(struct ata_request *r)
{
	uint8_t data[8] = {0};
	data[1] = r->unit->tray_open ? 0x10 : 0;
	answer(r, data, sizeof(data), be16_load(r->packet + 8));
}

static void read_subchannel(struct ata_request *r)
{
	uint8_t data[4] = {0, 0x15}; /* no audio is playing */
	answer(r, data, sizeof(data), be16_load(r->packet + 7));
}

/* Layer descriptor and copyright (MMC-6, 6.23), enough for a read-only DVD. */
static void read_dvd_structure(struct ata_request *r)
{
	uint8_t data[4 + 2048] = {0};
	unsigned format = r->packet[7], length;
	if (!is_dvd(r->unit)) {
		check(r, (struct ata_sense){5, 0x30, 0x02}); /* incompatible medium */
		return;
	}
	if (r->packet[1] & 15 || r->packet[6] || (format != 0 && format != 1)) {
		check(r, bad_field);
		return;
	}
	length = format == 0 ? sizeof(data) : 8;
	if (format == 0) {
		uint64_t end = cd_sectors(r->unit) - 1 + 0x30000;
		data[4] = 0x01; /* DVD-ROM, version 1 */
		data[5] = 0x0f; /* 120 mm, rate not told */
		data[6] = 0x01; /* one layer */
		be32_store(data + 8, 0x30000);
		be32_store(data + 12, (uint32_t)MIN(end, 0xffffff));
	}
	be16_store(data, (uint16_t)(length - 2));
	answer(r, data, length, be16_load(r->packet + 8));
}

/* --- actions ------------------------------------------------------------------------------------------ */

static void start_stop(struct ata_request *r)
{
	struct ata_unit *unit = r->unit;
	bool start = r->packet[4] & 1, load_eject = r->packet[4] & 2;
	if (r->packet[4] >> 4) { /* a power condition: accepted, means nothing here */
		good(r);
		return;
	}
	if (load_eject && !start && unit->locked) {
		check(r, locked);
		return;
	}
	if (load_eject && unit->tray_open == start) {
		unit->tray_open = !start;
		ata_unit_tell_tray(unit);
		unit->medium_changed = unit->node != NULL && start;
	}
	good(r);
}

static void read_sectors(struct ata_request *r, uint64_t first, uint64_t count)
{
	if (!range_fits(first, count, cd_sectors(r->unit))) {
		check(r, bad_address);
		return;
	}
	if (count == 0) {
		good(r);
		return;
	}
	r->unit->sense = (struct ata_sense){0};
	r->count = 3;
	ata_transfer(r, BLOCK_READ, 0, first * CD_SECTOR, count * CD_SECTOR);
}

/* Only user data of data sectors can be had from an image of them. */
static void read_cd(struct ata_request *r)
{
	unsigned type = r->packet[1] >> 2 & 7, parts = r->packet[9];
	uint64_t count = be32_load(r->packet + 5) & 0xffffff;
	if (type == 1) {
		check(r, bad_mode);
		return;
	}
	if (parts != 0x10 && (parts != 0 || r->packet[10])) {
		check(r, bad_field);
		return;
	}
	read_sectors(r, be32_load(r->packet + 2), parts ? count : 0);
}

/* Commands that need no medium; false: something else. */
static bool execute_always(struct ata_request *r)
{
	switch (r->packet[0]) {
	case REQUEST_SENSE:
		request_sense(r);
		break;
	case INQUIRY:
		inquiry(r);
		break;
	case START_STOP:
		start_stop(r);
		break;
	case PREVENT_ALLOW:
		r->unit->locked = r->packet[4] & 1;
		good(r);
		break;
	case GET_CONFIGURATION:
		get_configuration(r);
		break;
	case GET_EVENT_STATUS:
		get_event_status(r);
		break;
	case MODE_SENSE_10:
		mode_sense(r);
		break;
	case MECHANISM_STATUS:
		mechanism_status(r);
		break;
	case SET_CD_SPEED:
		good(r);
		break;
	default:
		return false;
	}
	return true;
}

static bool execute_on_medium(struct ata_request *r)
{
	switch (r->packet[0]) {
	case TEST_UNIT_READY:
	case SEEK_10:
		good(r);
		break;
	case READ_CAPACITY:
		read_capacity(r);
		break;
	case READ_10:
		read_sectors(r, be32_load(r->packet + 2), be16_load(r->packet + 7));
		break;
	case READ_12:
		read_sectors(r, be32_load(r->packet + 2), be32_load(r->packet + 6));
		break;
	case READ_CD:
		read_cd(r);
		break;
	case READ_TOC:
		read_toc(r);
		break;
	case READ_SUBCHANNEL:
		read_subchannel(r);
		break;
	case READ_DISC_INFORMATION:
		read_disc_information(r);
		break;
	case READ_DVD_STRUCTURE:
		read_dvd_structure(r);
		break;
	default:
		return false;
	}
	return true;
}

static bool needs_medium(uint8_t opcode)
{
	switch (opcode) {
	case TEST_UNIT_READY:
	case SEEK_10:
	case READ_CAPACITY:
	case READ_10:
	case READ_12:
	case READ_CD:
	case READ_TOC:
	case READ_SUBCHANNEL:
	case READ_DISC_INFORMATION:
	case READ_DVD_STRUCTURE:
		return true;
	default:
		return false;
	}
}

static void packet(struct ata_request *r)
{
	struct ata_unit *unit = r->unit;
	if (execute_always(r))
		return;
	if (!needs_medium(r->packet[0])) {
		check(r, bad_opcode);
		return;
	}
	/* A new medium is announced once, on the first command that would use it (SPC-4, 5.14). */
	if (unit->medium_changed && cd_sectors(unit)) {
		unit->medium_changed = false;
		check(r, medium_changed);
		return;
	}
	if (!cd_sectors(unit)) {
		check(r, unit->tray_open ? tray_open : no_medium);
		return;
	}
	bool known = execute_on_medium(r);
	g_assert(known);
}

static void identify(struct ata_request *r)
{
	uint8_t data[ATA_SECTOR];
	ata_identify_cd(r->unit, data);
	r->pio_in = true;
	ata_reply(r, data, sizeof(data));
	ata_succeed(r);
}

/* ACS-3, 7.12.4: a packet device refuses IDENTIFY DEVICE and shows its signature. */
static void refuse_identify(struct ata_request *r)
{
	uint32_t signature = ata_signature(r->unit);
	r->lba = signature >> 8;
	r->count = signature & 0xff;
	ata_abort(r);
}

void atapi_execute(struct ata_request *r)
{
	switch (r->command) {
	case CMD_PACKET:
		packet(r);
		break;
	case CMD_IDENTIFY_PACKET:
		identify(r);
		break;
	case CMD_IDENTIFY:
		refuse_identify(r);
		break;
	case CMD_SET_FEATURES:
		ata_set_features(r);
		break;
	case CMD_CHECK_POWER:
		r->count = 0xff;
		ata_succeed(r);
		break;
	case CMD_DIAGNOSTIC:
		r->lba = ata_signature(r->unit) >> 8;
		r->count = 1;
		ata_finish(r, ATA_GOOD, 1);
		break;
	case CMD_STANDBY:
	case CMD_IDLE:
	case CMD_SLEEP:
		ata_succeed(r);
		break;
	default:
		ata_abort(r);
		break;
	}
}
