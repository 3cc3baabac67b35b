/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The container: table headers, pointers and checksums between blobs, and the two ways to resolve
 * them. The script's format is QEMU's linker/loader interface: 128-byte entries, each a 32-bit
 * command and its arguments, with files named by 56 bytes.
 */
#include "machine/acpi/acpi_int.h"

#include "base/error.h"

#include <string.h>

enum { SCRIPT_ALLOCATE = 1, SCRIPT_ADD_POINTER = 2, SCRIPT_ADD_CHECKSUM = 3 };
enum { SCRIPT_ENTRY_SIZE = 128, SCRIPT_NAME_SIZE = 56 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };

static const char *const blob_names[] = {
	[ACPI_BLOB_TABLES] = "etc/acpi/tables",
	[ACPI_BLOB_RSDP] = "etc/acpi/rsdp",
};

static GByteArray *blob_of(const struct acpi_tables *t, enum acpi_blob blob)
{
	return blob == ACPI_BLOB_RSDP ? t->rsdp : t->tables;
}

void acpi_put(GByteArray *bytes, uint64_t value, unsigned size)
{
	uint8_t raw[8];
	le64_store(raw, value);
	g_byte_array_append(bytes, raw, size);
}

void acpi_put_zero(GByteArray *bytes, unsigned count)
{
	guint at = bytes->len;
	g_byte_array_set_size(bytes, at + count);
	if (count)
		memset(bytes->data + at, 0, count);
}

/* DESCRIPTION_HEADER (ACPI 6.4, table 5.4). */
uint32_t acpi_table_begin(struct acpi_tables *t, const char *signature, uint8_t revision)
{
	/* Aligned tables spare the guest unaligned loads and some checkers' remarks. */
	acpi_put_zero(t->tables, -t->tables->len & 7);
	uint32_t table = t->tables->len;
	g_byte_array_append(t->tables, (const uint8_t *)signature, 4);
	acpi_put(t->tables, 0, 4);
	acpi_put(t->tables, revision, 1);
	acpi_put(t->tables, 0, 1);
	g_byte_array_append(t->tables, (const uint8_t *)"BERTH BERTHVMM", 14);
	acpi_put(t->tables, 1, 4);
	g_byte_array_append(t->tables, (const uint8_t *)"BRTH", 4);
	acpi_put(t->tables, 1, 4);
	return table;
}

void acpi_table_end(struct acpi_tables *t, uint32_t table)
{
	uint32_t length = t->tables->len - table;
	le32_store(t->tables->data + table + 4, length);
	acpi_link_checksum(t, ACPI_BLOB_TABLES, table + 9, table, length);
}

void acpi_link_pointer(struct acpi_tables *t, enum acpi_blob blob, uint32_t offset, unsigned size,
		       uint32_t target)
{
	struct acpi_link link = {ACPI_LINK_POINTER, blob, offset, 0, size};
	le_store(blob_of(t, blob)->data + offset, target, size);
	g_array_append_val(t->links, link);
}

void acpi_link_checksum(struct acpi_tables *t, enum acpi_blob blob, uint32_t offset, uint32_t start,
			uint32_t length)
{
	struct acpi_link link = {ACPI_LINK_CHECKSUM, blob, offset, start, length};
	g_array_append_val(t->links, link);
}

/* RSDT or XSDT: an array of pointers of `width` bytes. */
static uint32_t root_table(struct acpi_tables *t, const char *signature, unsigned width,
			   const GArray *list)
{
	uint32_t table = acpi_table_begin(t, signature, 1);
	acpi_put_zero(t->tables, list->len * width);
	for (guint i = 0; i < list->len; i++)
		acpi_link_pointer(t, ACPI_BLOB_TABLES, table + ACPI_HEADER_SIZE + i * width, width,
				  g_array_index(list, uint32_t, i));
	acpi_table_end(t, table);
	return table;
}

/* Revision 2: RSDT for old readers, XSDT for the others (ACPI 6.4, table 5.3). */
static void rsdp(struct acpi_tables *t, uint32_t rsdt, uint32_t xsdt)
{
	g_byte_array_append(t->rsdp, (const uint8_t *)"RSD PTR \0BERTH \2", 16);
	acpi_put(t->rsdp, 0, 4);
	acpi_put(t->rsdp, 36, 4);
	acpi_put(t->rsdp, 0, 8);
	acpi_put(t->rsdp, 0, 4);
	acpi_link_pointer(t, ACPI_BLOB_RSDP, 16, 4, rsdt);
	acpi_link_pointer(t, ACPI_BLOB_RSDP, 24, 8, xsdt);
	acpi_link_checksum(t, ACPI_BLOB_RSDP, 8, 0, 20);
	acpi_link_checksum(t, ACPI_BLOB_RSDP, 32, 0, 36);
}

static uint32_t extra_table(struct acpi_tables *t, const GBytes *bytes)
{
	gsize size;
	const uint8_t *data = g_bytes_get_data((GBytes *)bytes, &size);
	acpi_put_zero(t->tables, -t->tables->len & 7);
	uint32_t table = t->tables->len;
	g_byte_array_append(t->tables, data, size);
	t->tables->data[table + 9] = 0;
	acpi_link_checksum(t, ACPI_BLOB_TABLES, table + 9, table, size);
	return table;
}

struct acpi_tables *acpi_build(const struct acpi_config *c)
{
	struct acpi_tables *t = g_new0(struct acpi_tables, 1);
	t->tables = g_byte_array_new();
	t->rsdp = g_byte_array_new();
	t->links = g_array_new(false, false, sizeof(struct acpi_link));

	g_autoptr(GArray) list = g_array_new(false, false, sizeof(uint32_t));
	/* The hardware-reduced form has no FACS: it exists for the global lock and waking vectors. */
	uint32_t facs = c->board == ACPI_BOARD_MICROVM ? UINT32_MAX : acpi_facs(t);
	uint32_t table = acpi_dsdt(t, c);
	table = acpi_fadt(t, c, facs, table);
	g_array_append_val(list, table);
	table = acpi_madt(t, c);
	g_array_append_val(list, table);
	if (c->hpet) {
		table = acpi_hpet(t);
		g_array_append_val(list, table);
	}
	if (c->pci && c->ecam_size) {
		table = acpi_mcfg(t, c);
		g_array_append_val(list, table);
	}
	if (c->numa_nodes) {
		table = acpi_srat(t, c);
		g_array_append_val(list, table);
		table = acpi_slit(t, c);
		g_array_append_val(list, table);
	}
	if (c->board == ACPI_BOARD_Q35) {
		table = acpi_waet(t);
		g_array_append_val(list, table);
	}
	for (unsigned i = 0; i < c->extra_count; i++) {
		table = extra_table(t, c->extra[i]);
		g_array_append_val(list, table);
	}
	uint32_t rsdt = root_table(t, "RSDT", 4, list);
	rsdp(t, rsdt, root_table(t, "XSDT", 8, list));
	return t;
}

void acpi_tables_free(struct acpi_tables *t)
{
	if (!t)
		return;
	g_byte_array_unref(t->tables);
	g_byte_array_unref(t->rsdp);
	g_array_unref(t->links);
	g_free(t);
}

static uint8_t *script_entry(GByteArray *script, uint32_t command)
{
	acpi_put_zero(script, SCRIPT_ENTRY_SIZE);
	uint8_t *entry = script->data + script->len - SCRIPT_ENTRY_SIZE;
	le32_store(entry, command);
	return entry + 4;
}

static void script_name(uint8_t *at, enum acpi_blob blob)
{
	memcpy(at, blob_names[blob], strlen(blob_names[blob]));
}

static void script_allocate(GByteArray *script, enum acpi_blob blob, uint32_t align, uint8_t zone)
{
	uint8_t *p = script_entry(script, SCRIPT_ALLOCATE);
	script_name(p, blob);
	le32_store(p + SCRIPT_NAME_SIZE, align);
	p[SCRIPT_NAME_SIZE + 4] = zone;
}

GByteArray *acpi_loader_script(const struct acpi_tables *t)
{
	GByteArray *script = g_byte_array_new();
	script_allocate(script, ACPI_BLOB_RSDP, 16, ZONE_FSEG);
	script_allocate(script, ACPI_BLOB_TABLES, 64, ZONE_HIGH);
	/* A checksum must come after all pointers inside what it covers: two passes. */
	for (unsigned pass = 0; pass < 2; pass++) {
		for (guint i = 0; i < t->links->len; i++) {
			const struct acpi_link *l = &g_array_index(t->links, struct acpi_link, i);
			if ((l->kind == ACPI_LINK_CHECKSUM) != (pass == 1))
				continue;
			uint8_t *p = script_entry(script, pass ? SCRIPT_ADD_CHECKSUM
							       : SCRIPT_ADD_POINTER);
			script_name(p, l->blob);
			if (pass) {
				le32_store(p + SCRIPT_NAME_SIZE, l->offset);
				le32_store(p + SCRIPT_NAME_SIZE + 4, l->start);
				le32_store(p + SCRIPT_NAME_SIZE + 8, l->length);
			} else {
				script_name(p + SCRIPT_NAME_SIZE, ACPI_BLOB_TABLES);
				le32_store(p + 2 * SCRIPT_NAME_SIZE, l->offset);
				p[2 * SCRIPT_NAME_SIZE + 4] = (uint8_t)l->length;
			}
		}
	}
	return script;
}

void acpi_place(struct acpi_tables *t, uint32_t tables_address, uint32_t rsdp_address)
{
	/* Nothing points to the RSDP, so its address only has to be well aligned. */
	g_assert(rsdp_address % 16 == 0 && tables_address % 64 == 0);
	for (guint i = 0; i < t->links->len; i++) {
		const struct acpi_link *l = &g_array_index(t->links, struct acpi_link, i);
		uint8_t *at = blob_of(t, l->blob)->data + l->offset;
		if (l->kind == ACPI_LINK_POINTER)
			le_store(at, le_load(at, l->length) + tables_address, l->length);
	}
	for (guint i = 0; i < t->links->len; i++) {
		const struct acpi_link *l = &g_array_index(t->links, struct acpi_link, i);
		if (l->kind != ACPI_LINK_CHECKSUM)
			continue;
		uint8_t *data = blob_of(t, l->blob)->data, sum = 0;
		for (uint32_t k = 0; k < l->length; k++)
			sum += data[l->start + k];
		data[l->offset] -= sum;
	}
}

bool acpi_check_extra(const void *data, size_t size, GError **error)
{
	if (size < ACPI_HEADER_SIZE || size > 16u << 20)
		return error_set(error, BERTH_ERR_INVALID,
				 "an ACPI table has 36 bytes to 16 MiB, this one has %zu", size);
	if (le32_load((const uint8_t *)data + 4) != size)
		return error_set(error, BERTH_ERR_INVALID,
				 "the ACPI table's header gives a length of %u bytes but it has %zu",
				 le32_load((const uint8_t *)data + 4), size);
	return true;
}
