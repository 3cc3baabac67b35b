/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDENTIFY DEVICE and IDENTIFY PACKET DEVICE (ACS-3, 7.12 and 7.13): 256 little-endian words. */
#include "dev/storage/ata_int.h"

static void word(uint8_t *data, unsigned index, unsigned value)
{
	le16_store(data + 2 * index, (uint16_t)value);
}

/* Strings are padded with spaces and have the bytes of each word swapped. */
static void text(uint8_t *data, unsigned first_word, unsigned length, const char *value)
{
	size_t have = strlen(value);
	for (unsigned i = 0; i < length; i++)
		data[2 * first_word + (i ^ 1)] = i < have ? (uint8_t)value[i] : ' ';
}

/* Word 255: a signature and the sum that makes all 512 bytes zero. */
static void seal(uint8_t *data)
{
	uint8_t sum = 0;
	data[510] = 0xa5;
	for (unsigned i = 0; i < 511; i++)
		sum += data[i];
	data[511] = (uint8_t)-sum;
}

static void names(const struct ata_unit *unit, uint8_t *data, const char *model)
{
	text(data, 10, 20, unit->serial ? unit->serial : "");
	text(data, 23, 8, unit->version ? unit->version : BERTH_VERSION);
	text(data, 27, 40, unit->model ? unit->model : model);
}

/* Words 62 to 68 and 88: all modes, the chosen one marked; cycle times of 120 ns. */
static void modes(const struct ata_unit *unit, uint8_t *data)
{
	uint8_t chosen = unit->transfer_mode;
	unsigned multiword = 0x07, ultra = 0x3f;
	if ((chosen & 0xf8) == 0x20)
		multiword |= 0x100u << (chosen & 7);
	else if ((chosen & 0xf8) == 0x40)
		ultra |= 0x100u << (chosen & 7);
	word(data, 53, 6);
	word(data, 63, multiword);
	word(data, 64, 3);
	for (unsigned i = 65; i <= 68; i++)
		word(data, i, 120);
	word(data, 88, ultra);
}

static void sector_sizes(const struct ata_unit *unit, uint8_t *data)
{
	uint32_t physical = unit->physical_block;
	unsigned exponent = 0;
	while ((uint32_t)ATA_SECTOR << exponent < physical)
		exponent++;
	word(data, 106, 0x4000 | (exponent ? 0x2000 | exponent : 0));
	word(data, 209, 0x4000); /* sector 0 is aligned */
}

void ata_identify_disk(const struct ata_unit *unit, uint8_t data[ATA_SECTOR])
{
	unsigned cylinders, heads, sectors;
	uint64_t total = ata_disk_sectors(unit);
	memset(data, 0, ATA_SECTOR);
	ata_disk_geometry(unit, &cylinders, &heads, &sectors);
	word(data, 0, 0x0040);
	word(data, 1, cylinders);
	word(data, 3, heads);
	word(data, 6, sectors);
	names(unit, data, "BERTH HARDDISK");
	word(data, 47, 0x8010);      /* READ MULTIPLE: up to 16 sectors */
	word(data, 49, 0x0b00);      /* LBA, DMA, IORDY */
	word(data, 50, 0x4000);
	modes(unit, data);
	word(data, 53, 7);
	word(data, 54, cylinders);
	word(data, 55, heads);
	word(data, 56, sectors);
	le32_store(data + 114, cylinders * heads * sectors);
	word(data, 59, unit->multiple ? 0x100 | unit->multiple : 0);
	le32_store(data + 120, (uint32_t)MIN(total, 0x0fffffff));
	word(data, 75, ATA_TAGS - 1);
	word(data, 76, 0x010e);      /* NCQ; 1.5, 3 and 6 Gb/s */
	word(data, 80, 0x03f0);      /* ATA/ATAPI-4 to ACS-2 */

	/* Supported in words 82 to 84, enabled in 85 to 87; bit 14 set and 15 clear mark validity. */
	bool writable = !block_is_readonly(unit->node);
	word(data, 82, 0x4061);      /* NOP, look-ahead, write cache, SMART */
	word(data, 83, 0x7400);      /* FLUSH CACHE (EXT), 48-bit addresses */
	unsigned word84 = 0x4060 | (unit->wwn ? 0x100 : 0); /* FUA, general purpose logging */
	word(data, 84, word84);
	word(data, 85, 0x4000 | (unit->read_ahead ? 0x40 : 0) | (unit->write_cache ? 0x20 : 0) |
			       (unit->smart ? 1 : 0));
	word(data, 86, 0x3400);
	word(data, 87, word84);
	le64_store(data + 200, total);
	sector_sizes(unit, data);
	if (unit->wwn) {
		for (unsigned i = 0; i < 4; i++)
			word(data, 108 + i, (unsigned)(unit->wwn >> (48 - 16 * i)) & 0xffff);
	}
	if (writable && block_limits(unit->node)->can_discard) {
		word(data, 105, sizeof(unit->buffer) / ATA_SECTOR);
		word(data, 169, 1); /* TRIM */
	}
	word(data, 217, unit->rotation_rate);
	word(data, 222, 0x10ff);    /* transport: serial, up to SATA 3.x */
	seal(data);
}

void ata_identify_cd(const struct ata_unit *unit, uint8_t data[ATA_SECTOR])
{
	memset(data, 0, ATA_SECTOR);
	word(data, 0, 0x85c0);      /* CD drive, removable, packets of 12 bytes */
	names(unit, data, "BERTH DVD-ROM");
	word(data, 49, 0x0b00);
	modes(unit, data);
	word(data, 71, 30);
	word(data, 72, 30);
	word(data, 76, 0x000e);
	word(data, 80, 0x03f0);
	word(data, 82, 0x4210);     /* NOP, DEVICE RESET, PACKET */
	word(data, 83, 0x4000);
	word(data, 84, 0x4000 | (unit->wwn ? 0x100 : 0));
	word(data, 85, 0x4210);
	word(data, 87, 0x4000 | (unit->wwn ? 0x100 : 0));
	if (unit->wwn) {
		for (unsigned i = 0; i < 4; i++)
			word(data, 108 + i, (unsigned)(unit->wwn >> (48 - 16 * i)) & 0xffff);
	}
	word(data, 222, 0x10ff);
	seal(data);
}
