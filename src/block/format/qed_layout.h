/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QED on disk: a header and two levels of tables of 64-bit file offsets, all little-endian. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define QED_HEADER_SIZE 64

enum qed_features {
	QED_BACKING = 1 << 0,        /* a backing file is named */
	QED_NEED_CHECK = 1 << 1,     /* was not closed: tables may name clusters twice or leak some */
	QED_BACKING_RAW = 1 << 2,    /* the backing file is raw, whatever its first bytes say */
};

/* Table entries: an offset, or one of these. */
#define QED_ABSENT UINT64_C(0)
#define QED_ZERO   UINT64_C(1)

struct qed_header {
	uint32_t cluster_size, table_size, header_size; /* the latter two in clusters */
	uint64_t features, compatible, autoclear;
	uint64_t l1_offset, disk_size;
	uint32_t backing_offset, backing_length;
};

/* How many entries a table has. */
static inline uint64_t qed_table_entries(const struct qed_header *header)
{
	return (uint64_t)header->cluster_size * header->table_size / 8;
}

bool qed_header_parse(struct qed_header *header, const uint8_t *bytes, uint64_t file_size,
		      GError **error);
void qed_header_format(const struct qed_header *header, uint8_t *bytes);
/* Checks sizes as a creator gives them. */
bool qed_header_check(const struct qed_header *header, GError **error);
