/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS structures (DSP0134 3.6, chapter 7). A structure is a formatted part, in which strings are
 * numbers from 1, followed by the strings themselves and an empty one. An absent string is 0.
 */
#include "machine/smbios/options.h"

#include "base/bytes.h"
#include "base/units.h"

#include <string.h>

/* Handles: by type, so that they say what they are; QEMU numbers them alike. */
enum smbios_handle {
	HANDLE_BIOS = 0x0000, HANDLE_SYSTEM = 0x0100, HANDLE_BOARD = 0x0200, HANDLE_CHASSIS = 0x0300,
	HANDLE_CPU = 0x0400, HANDLE_OEM = 0x0e00, HANDLE_MEMORY_ARRAY = 0x1000,
	HANDLE_DIMM = 0x1100, HANDLE_RANGE = 0x1300, HANDLE_BOOT = 0x2000, HANDLE_END = 0x7f00,
	HANDLE_NONE = 0xffff, HANDLE_NO_ERROR_INFO = 0xfffe,
};

static const uint64_t dimm_size = 16 * GIB;

struct structure {
	struct smbios_tables *t;
	guint start;
	uint8_t strings;
	GByteArray *text;
};

static void put(struct structure *s, uint64_t value, unsigned size)
{
	uint8_t raw[8];
	le64_store(raw, value);
	g_byte_array_append(s->t->tables, raw, size);
}

static struct structure begin(struct smbios_tables *t, uint8_t type, uint16_t handle)
{
	struct structure s = {.t = t, .start = t->tables->len, .text = g_byte_array_new()};
	put(&s, type, 1);
	put(&s, 0, 1);
	put(&s, handle, 2);
	return s;
}

/* A byte that refers to `text`, or to `assumed` if that is NULL; 0 if both are absent. */
static void put_text(struct structure *s, const char *text, const char *assumed)
{
	text = text ? text : assumed;
	if (!text || !*text) {
		put(s, 0, 1);
		return;
	}
	g_byte_array_append(s->text, (const uint8_t *)text, (guint)strlen(text) + 1);
	put(s, ++s->strings, 1);
}

static void end(struct structure *s)
{
	static const uint8_t zeros[2];
	s->t->tables->data[s->start + 1] = (uint8_t)(s->t->tables->len - s->start);
	g_byte_array_append(s->t->tables, s->text->data, s->text->len);
	g_byte_array_append(s->t->tables, zeros, s->strings ? 1 : 2);
	s->t->count++;
	s->t->largest = (uint16_t)MAX(s->t->largest, s->t->tables->len - s->start);
	g_byte_array_unref(s->text);
}

static void bios(struct smbios_tables *t, const struct smbios_options *o)
{
	struct structure s = begin(t, 0, HANDLE_BIOS);
	put_text(&s, o->type0.vendor, "Berth");
	put_text(&s, o->type0.version, BERTH_VERSION);
	put(&s, 0xe800, 2); /* segment: 96 KiB below 1 MiB */
	put_text(&s, o->type0.date, "01/01/2025");
	put(&s, 0, 1);      /* ROM of 64 KiB */
	put(&s, 0x08, 8);   /* "characteristics are not supported" */
	put(&s, 0, 1);
	/* Virtual machine; UEFI if asked for; targeted content distribution. */
	put(&s, 0x14 | (o->type0.uefi ? 0x08 : 0), 1);
	bool release = o->type0.release != NULL;
	put(&s, release ? o->release_major : 0, 1);
	put(&s, release ? o->release_minor : 0, 1);
	put(&s, 0xffff, 2); /* embedded controller's release: none */
	end(&s);
}

static void system_information(struct smbios_tables *t, const struct smbios_options *o,
			       const struct smbios_machine *m)
{
	static const uint8_t place[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	uint8_t uuid[16] = {0};
	if (!smbios_options_uuid(o, uuid) && m->uuid_set)
		memcpy(uuid, m->uuid, 16);
	struct structure s = begin(t, 1, HANDLE_SYSTEM);
	put_text(&s, o->type1.manufacturer, "Berth");
	put_text(&s, o->type1.product, m->product);
	put_text(&s, o->type1.version, BERTH_VERSION);
	put_text(&s, o->type1.serial, NULL);
	for (unsigned i = 0; i < 16; i++) /* the first three groups are little-endian: 7.2.1 */
		put(&s, uuid[place[i]], 1);
	put(&s, 6, 1); /* woken by the power switch */
	put_text(&s, o->type1.sku, NULL);
	put_text(&s, o->type1.family, NULL);
	end(&s);
}

static void base_board(struct smbios_tables *t, const struct smbios_options *o)
{
	struct structure s = begin(t, 2, HANDLE_BOARD);
	put_text(&s, o->type2.manufacturer, "Berth");
	put_text(&s, o->type2.product, NULL);
	put_text(&s, o->type2.version, NULL);
	put_text(&s, o->type2.serial, NULL);
	put_text(&s, o->type2.asset, NULL);
	put(&s, 1, 1); /* hosting board */
	put_text(&s, o->type2.location, NULL);
	put(&s, HANDLE_CHASSIS, 2);
	put(&s, 10, 1); /* motherboard */
	put(&s, 0, 1);
	end(&s);
}

static void chassis(struct smbios_tables *t, const struct smbios_options *o)
{
	struct structure s = begin(t, 3, HANDLE_CHASSIS);
	put_text(&s, o->type3.manufacturer, "Berth");
	put(&s, 1, 1); /* other */
	put_text(&s, o->type3.version, BERTH_VERSION);
	put_text(&s, o->type3.serial, NULL);
	put_text(&s, o->type3.asset, NULL);
	put(&s, 3, 1); /* boot-up, power supply, thermal state: safe */
	put(&s, 3, 1);
	put(&s, 3, 1);
	put(&s, 2, 1); /* security: unknown */
	put(&s, 0, 4);
	put(&s, 0, 1); /* height */
	put(&s, 0, 1); /* power cords */
	put(&s, 0, 1); /* contained elements, and their size */
	put(&s, 0, 1);
	put_text(&s, o->type3.sku, NULL);
	end(&s);
}

static void processor(struct smbios_tables *t, const struct smbios_options *o,
		      const struct smbios_machine *m, unsigned socket)
{
	g_autofree char *place = g_strdup_printf(
		"%s %u", o->type4.sock_pfx ? o->type4.sock_pfx : "CPU", socket);
	unsigned threads = m->cores * m->threads;
	struct structure s = begin(t, 4, (uint16_t)(HANDLE_CPU + socket));
	put_text(&s, place, NULL);
	put(&s, 3, 1); /* central processor */
	put(&s, 1, 1); /* family: other */
	put_text(&s, o->type4.manufacturer, "Berth");
	put(&s, m->cpuid_1_eax, 4);
	put(&s, m->cpuid_1_edx, 4);
	put_text(&s, o->type4.version, m->cpu_name);
	put(&s, 0, 1); /* voltage */
	put(&s, 0, 2); /* external clock: unknown */
	put(&s, o->type4.max_speed ? o->type4.max_speed : 2000, 2);
	put(&s, o->type4.current_speed ? o->type4.current_speed : 2000, 2);
	put(&s, 0x41, 1); /* populated, enabled */
	put(&s, 1, 1);    /* upgrade: other */
	put(&s, HANDLE_NONE, 2); /* caches */
	put(&s, HANDLE_NONE, 2);
	put(&s, HANDLE_NONE, 2);
	put_text(&s, o->type4.serial, NULL);
	put_text(&s, o->type4.asset, NULL);
	put_text(&s, o->type4.part, NULL);
	/* One byte each; 255 means "see the 16-bit counts below" (7.5.6 to 7.5.8). */
	put(&s, MIN(m->cores, 255), 1);
	put(&s, MIN(m->cores, 255), 1);
	put(&s, MIN(threads, 255), 1);
	put(&s, 1 << 2 | (m->threads > 1 ? 1 << 4 : 0) | (m->cores > 1 ? 1 << 3 : 0), 2);
	put(&s, 1, 2); /* family 2: other */
	put(&s, m->cores, 2);
	put(&s, m->cores, 2);
	put(&s, threads, 2);
	end(&s);
}

static void oem_strings(struct smbios_tables *t, const struct smbios_options *o)
{
	struct structure s = begin(t, 11, HANDLE_OEM);
	put(&s, o->oem_strings->len, 1);
	for (guint i = 0; i < o->oem_strings->len; i++) {
		const char *text = o->oem_strings->pdata[i];
		g_byte_array_append(s.text, (const uint8_t *)text, (guint)strlen(text) + 1);
		s.strings++;
	}
	end(&s);
}

static void memory_array(struct smbios_tables *t, uint64_t bytes, unsigned dimms)
{
	struct structure s = begin(t, 16, HANDLE_MEMORY_ARRAY);
	put(&s, 1, 1); /* location: other */
	put(&s, 3, 1); /* system memory */
	put(&s, 6, 1); /* multi-bit ECC */
	bool wide = bytes / KIB >= 0x80000000;
	put(&s, wide ? 0x80000000 : bytes / KIB, 4);
	put(&s, HANDLE_NO_ERROR_INFO, 2);
	put(&s, dimms, 2);
	put(&s, wide ? bytes : 0, 8);
	end(&s);
}

static void dimm(struct smbios_tables *t, const struct smbios_options *o, unsigned n, uint64_t bytes)
{
	g_autofree char *place =
		g_strdup_printf("%s %u", o->type17.loc_pfx ? o->type17.loc_pfx : "DIMM", n);
	struct structure s = begin(t, 17, (uint16_t)(HANDLE_DIMM + n));
	put(&s, HANDLE_MEMORY_ARRAY, 2);
	put(&s, HANDLE_NO_ERROR_INFO, 2);
	put(&s, 0xffff, 2); /* widths: unknown */
	put(&s, 0xffff, 2);
	put(&s, bytes / MIB, 2); /* at most 16 GiB, so never the extended form */
	put(&s, 9, 1);           /* DIMM */
	put(&s, 0, 1);           /* no set */
	put_text(&s, place, NULL);
	put_text(&s, o->type17.bank, NULL);
	put(&s, 7, 1);      /* RAM */
	put(&s, 1 << 1, 2); /* detail: other */
	put(&s, o->type17.speed, 2);
	put_text(&s, o->type17.manufacturer, "Berth");
	put_text(&s, o->type17.serial, NULL);
	put_text(&s, o->type17.asset, NULL);
	put_text(&s, o->type17.part, NULL);
	put(&s, 0, 1); /* rank unknown */
	put(&s, 0, 4);
	put(&s, o->type17.speed, 2);
	put(&s, 0, 2); /* voltages unknown */
	put(&s, 0, 2);
	put(&s, 0, 2);
	end(&s);
}

static void memory_range(struct smbios_tables *t, unsigned n, const struct smbios_range *range)
{
	uint64_t first = range->base / KIB, last = (range->base + range->size) / KIB - 1;
	bool wide = last >= UINT32_MAX;
	struct structure s = begin(t, 19, (uint16_t)(HANDLE_RANGE + n));
	put(&s, wide ? UINT32_MAX : first, 4);
	put(&s, wide ? UINT32_MAX : last, 4);
	put(&s, HANDLE_MEMORY_ARRAY, 2);
	put(&s, 1, 1); /* partition width */
	put(&s, wide ? range->base : 0, 8);
	put(&s, wide ? range->base + range->size - 1 : 0, 8);
	end(&s);
}

static void boot_and_end(struct smbios_tables *t)
{
	struct structure s = begin(t, 32, HANDLE_BOOT);
	put(&s, 0, 6);
	put(&s, 0, 1); /* no errors detected */
	end(&s);
	s = begin(t, 127, HANDLE_END);
	end(&s);
}

static void memory(struct smbios_tables *t, const struct smbios_options *o,
		   const struct smbios_machine *m)
{
	uint64_t bytes = 0;
	for (unsigned i = 0; i < m->ram_count; i++)
		bytes += m->ram[i].size;
	/* Handles must not run into the next type's: 512 modules are 8 TiB in the usual size. */
	unsigned dimms = (unsigned)MIN((bytes + dimm_size - 1) / dimm_size, 512);
	memory_array(t, bytes, dimms);
	for (unsigned i = 0; i < dimms; i++)
		dimm(t, o, i, MIN(dimm_size, bytes - i * dimm_size));
	for (unsigned i = 0; i < m->ram_count; i++)
		memory_range(t, i, &m->ram[i]);
}

struct smbios_tables *smbios_build(const struct smbios_options *options,
				   const struct smbios_machine *m)
{
	static const struct smbios_options none;
	const struct smbios_options *o = options ? options : &none;
	struct smbios_tables *t = g_new0(struct smbios_tables, 1);
	t->tables = g_byte_array_new();
	if (!m->firmware || o->given[0])
		bios(t, o);
	system_information(t, o, m);
	if (o->given[2])
		base_board(t, o);
	chassis(t, o);
	for (unsigned i = 0; i < m->sockets; i++)
		processor(t, o, m, i);
	if (o->oem_strings && o->oem_strings->len)
		oem_strings(t, o);
	memory(t, o, m);
	boot_and_end(t);
	return t;
}

void smbios_tables_free(struct smbios_tables *t)
{
	if (!t)
		return;
	g_byte_array_unref(t->tables);
	g_free(t);
}

static uint8_t checksum(const uint8_t *p, unsigned length)
{
	uint8_t sum = 0;
	while (length--)
		sum += *p++;
	return (uint8_t)-sum;
}

/* 5.2.1: the 32-bit entry point, in two parts with a checksum each. */
void smbios_anchor_28(const struct smbios_tables *t, uint32_t address,
		      uint8_t anchor[SMBIOS_ANCHOR_28_SIZE])
{
	memset(anchor, 0, SMBIOS_ANCHOR_28_SIZE);
	memcpy(anchor, "_SM_", 4);
	anchor[5] = SMBIOS_ANCHOR_28_SIZE;
	anchor[6] = 2;
	anchor[7] = 8;
	le16_store(anchor + 8, t->largest);
	memcpy(anchor + 16, "_DMI_", 5);
	le16_store(anchor + 22, (uint16_t)MIN(t->tables->len, UINT16_MAX));
	le32_store(anchor + 24, address);
	le16_store(anchor + 28, t->count);
	anchor[30] = 0x28;
	anchor[21] = checksum(anchor + 16, 15);
	anchor[4] = checksum(anchor, SMBIOS_ANCHOR_28_SIZE);
}

/* 5.2.2: the 64-bit entry point. */
void smbios_anchor_30(const struct smbios_tables *t, uint64_t address,
		      uint8_t anchor[SMBIOS_ANCHOR_30_SIZE])
{
	memset(anchor, 0, SMBIOS_ANCHOR_30_SIZE);
	memcpy(anchor, "_SM3_", 5);
	anchor[6] = SMBIOS_ANCHOR_30_SIZE;
	anchor[7] = 3;
	anchor[10] = 1; /* entry point revision */
	le32_store(anchor + 12, t->tables->len);
	le64_store(anchor + 16, address);
	anchor[5] = checksum(anchor, SMBIOS_ANCHOR_30_SIZE);
}
