/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connectix/Microsoft VHD ("vpc") on disk: footer, dynamic header, block allocation table. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VPC_FOOTER_SIZE 512
#define VPC_HEADER_SIZE 1024
#define VPC_ABSENT      UINT32_C(0xffffffff)
#define VPC_MAX_ENTRIES (UINT32_C(1) << 26) /* bounds what a table can take of memory: 256 MiB */
/* 2 TiB and a bit: what 32-bit sector numbers allow. */
#define VPC_MAX_SECTORS UINT64_C(0xff000000)
/* What 16:8:8-bit geometry can say. */
#define VPC_CHS_MAX     (UINT64_C(65535) * 16 * 255)

struct vpc_geometry {
	uint16_t cylinders;
	uint8_t heads, sectors;
};

enum vpc_type { VPC_FIXED = 2, VPC_DYNAMIC = 3, VPC_DIFFERENCING = 4 };

struct vpc_footer {
	enum vpc_type type;
	uint64_t header_offset; /* of the dynamic header; all ones for fixed */
	uint64_t current_size;
	struct vpc_geometry geometry;
	char creator[4];
};

struct vpc_header {
	uint64_t table_offset;
	uint32_t entries, block_size;
};

/* The geometry of the specification's appendix. `sectors` above VPC_CHS_MAX give the largest. */
struct vpc_geometry vpc_geometry_of(uint64_t sectors);
uint64_t vpc_geometry_sectors(struct vpc_geometry geometry);
/* What a guest sees: some creators mean the size field, others the geometry. In bytes. */
uint64_t vpc_footer_disk_size(const struct vpc_footer *footer);

bool vpc_footer_parse(struct vpc_footer *footer, const uint8_t *bytes, GError **error);
void vpc_footer_format(const struct vpc_footer *footer, uint8_t *bytes);
/* `file_size` bounds the table. */
bool vpc_header_parse(struct vpc_header *header, const uint8_t *bytes, uint64_t disk_size,
		      uint64_t file_size, GError **error);
void vpc_header_format(const struct vpc_header *header, uint8_t *bytes);
