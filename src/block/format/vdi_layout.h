/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VirtualBox's VDI, version 1.1, on disk: a header, a map of blocks, blocks of 1 MiB. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VDI_HEADER_SIZE 512
#define VDI_BLOCK_SIZE  (UINT32_C(1) << 20)
#define VDI_ABSENT      UINT32_C(0xffffffff) /* map entry: never written */
#define VDI_ZERO        UINT32_C(0xfffffffe) /* map entry: discarded */
/* 64 TiB of disk; bounds what a map can take of memory (256 MiB). */
#define VDI_MAX_BLOCKS  (UINT32_C(1) << 26)

struct vdi_header {
	bool fixed; /* "static": every block has its place from the start */
	uint32_t map_offset, data_offset;
	uint32_t blocks, allocated;
	uint64_t disk_size;
};

/* `bytes` are the file's first VDI_HEADER_SIZE, `file_size` is its length. */
bool vdi_header_parse(struct vdi_header *header, const uint8_t *bytes, uint64_t file_size,
		      GError **error);
/* A new header with new identifiers. */
void vdi_header_format(const struct vdi_header *header, uint8_t *bytes);
/* Where things go in a new image of `disk_size` bytes; fails where the format's limits are passed. */
bool vdi_header_plan(struct vdi_header *header, uint64_t disk_size, bool fixed, GError **error);
