/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a multiboot kernel is told: command line, modules, memory, ACPI. */
#include "machine/loader/loader_int.h"

#include "vm/space.h"

#include <stdio.h>

static const char loader_name[] = "Berth " BERTH_VERSION;

static void put(GByteArray *b, uint64_t value, unsigned size)
{
	uint8_t raw[8];
	le64_store(raw, value);
	g_byte_array_append(b, raw, size);
}

static void put_text(GByteArray *b, const char *text)
{
	g_byte_array_append(b, (const uint8_t *)text, (guint)strlen(text) + 1);
}

static void put_align(GByteArray *b, unsigned align)
{
	while (b->len % align)
		put(b, 0, 1);
}

/* "KERNEL ARGUMENTS", as multiboot loaders write it. */
static char *full_cmdline(const struct loader *loader)
{
	return *loader->cmdline ? g_strdup_printf("%s %s", loader->kernel_path, loader->cmdline)
				: g_strdup(loader->kernel_path);
}

/* KiB below 640 KiB and above 1 MiB. */
static uint32_t lower_kib(const struct loader_target *target)
{
	return target->map_count && target->map[0].base == 0
		       ? (uint32_t)(MIN(target->map[0].size, 640 * KIB) / KIB) : 0;
}

static uint32_t upper_kib(const struct loader_target *target)
{
	return target->low_ram > MIB ? (uint32_t)((target->low_ram - MIB) / KIB) : 0;
}

/* Multiboot 0.6.96, 3.3. `at` is the block's address, because it points into itself. */
GByteArray *multiboot1_info(const struct loader *loader, const struct loader_target *target,
			    const struct multiboot_module *modules, unsigned count, uint32_t at)
{
	enum { INFO_SIZE = 120, MODULE_SIZE = 16 };
	enum { HAS_MEMORY = 1 << 0, HAS_CMDLINE = 1 << 2, HAS_MODULES = 1 << 3, HAS_MAP = 1 << 6,
	       HAS_NAME = 1 << 9 };
	GByteArray *b = g_byte_array_new();
	g_autofree char *cmdline = full_cmdline(loader);
	g_byte_array_set_size(b, INFO_SIZE + count * MODULE_SIZE);
	memset(b->data, 0, b->len);
	for (unsigned i = 0; i < count; i++) {
		uint32_t module = INFO_SIZE + i * MODULE_SIZE;
		le32_store(b->data + module, (uint32_t)modules[i].address);
		le32_store(b->data + module + 4, (uint32_t)(modules[i].address + modules[i].size));
		le32_store(b->data + module + 8, at + b->len);
		put_text(b, modules[i].text);
	}
	uint32_t cmdline_at = at + b->len;
	put_text(b, cmdline);
	uint32_t name_at = at + b->len;
	put_text(b, loader_name);
	put_align(b, 4);
	uint32_t map_at = b->len;
	for (unsigned i = 0; i < target->map_count; i++) {
		put(b, 20, 4); /* size of what follows */
		put(b, target->map[i].base, 8);
		put(b, target->map[i].size, 8);
		put(b, target->map[i].type, 4);
	}
	le32_store(b->data, HAS_MEMORY | HAS_CMDLINE | HAS_MAP | HAS_NAME |
			    (count ? HAS_MODULES : 0));
	le32_store(b->data + 4, lower_kib(target));
	le32_store(b->data + 8, upper_kib(target));
	le32_store(b->data + 16, cmdline_at);
	le32_store(b->data + 20, count);
	le32_store(b->data + 24, at + INFO_SIZE);
	le32_store(b->data + 44, b->len - map_at);
	le32_store(b->data + 48, at + map_at);
	le32_store(b->data + 64, name_at);
	return b;
}

/* Multiboot 2.0, 3.6: tags of type, size and body, each on 8 bytes. */
enum { TAG_END, TAG_CMDLINE, TAG_NAME, TAG_MODULE, TAG_MEMORY, TAG_MAP = 6, TAG_ACPI_OLD = 14,
       TAG_ACPI_NEW = 15 };

static guint tag_begin(GByteArray *b, uint32_t type)
{
	put_align(b, 8);
	put(b, type, 4);
	put(b, 0, 4);
	return b->len - 8;
}

static void tag_end(GByteArray *b, guint at)
{
	le32_store(b->data + at + 4, b->len - at);
}

/* A copy of the RSDP: the first 20 bytes for readers of version 1. */
static void put_acpi(GByteArray *b, const struct loader_target *target)
{
	uint8_t rsdp[36];
	if (!target->rsdp || !space_dma_read(target->memory, target->rsdp, rsdp, sizeof(rsdp)))
		return;
	guint tag = tag_begin(b, TAG_ACPI_OLD);
	g_byte_array_append(b, rsdp, 20);
	tag_end(b, tag);
	tag = tag_begin(b, TAG_ACPI_NEW);
	g_byte_array_append(b, rsdp, sizeof(rsdp));
	tag_end(b, tag);
}

GByteArray *multiboot2_info(const struct loader *loader, const struct loader_target *target,
			    const struct multiboot_module *modules, unsigned count)
{
	GByteArray *b = g_byte_array_new();
	g_autofree char *cmdline = full_cmdline(loader);
	put(b, 0, 8);
	guint tag = tag_begin(b, TAG_CMDLINE);
	put_text(b, cmdline);
	tag_end(b, tag);
	tag = tag_begin(b, TAG_NAME);
	put_text(b, loader_name);
	tag_end(b, tag);
	for (unsigned i = 0; i < count; i++) {
		tag = tag_begin(b, TAG_MODULE);
		put(b, modules[i].address, 4);
		put(b, modules[i].address + modules[i].size, 4);
		put_text(b, modules[i].text);
		tag_end(b, tag);
	}
	tag = tag_begin(b, TAG_MEMORY);
	put(b, lower_kib(target), 4);
	put(b, upper_kib(target), 4);
	tag_end(b, tag);
	tag = tag_begin(b, TAG_MAP);
	put(b, 24, 4); /* entry size and version */
	put(b, 0, 4);
	for (unsigned i = 0; i < target->map_count; i++) {
		put(b, target->map[i].base, 8);
		put(b, target->map[i].size, 8);
		put(b, target->map[i].type, 4);
		put(b, 0, 4);
	}
	tag_end(b, tag);
	put_acpi(b, target);
	tag_end(b, tag_begin(b, TAG_END));
	le32_store(b->data, b->len);
	return b;
}
