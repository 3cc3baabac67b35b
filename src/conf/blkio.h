/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <blkiotune>: a domain's share of the host's block devices, which the kernel's control groups give it. */
#pragma once

#include "codec/xml.h"

#include <stdint.h>

enum conf_blkio_limit {
	CONF_BLKIO_WEIGHT, CONF_BLKIO_READ_IOPS, CONF_BLKIO_WRITE_IOPS, CONF_BLKIO_READ_BYTES,
	CONF_BLKIO_WRITE_BYTES, CONF_BLKIO_LIMITS,
};
/* As elements are called. */
extern const char *const conf_blkio_names[CONF_BLKIO_LIMITS];

struct conf_blkio_device {
	char *path; /* of the host's block device */
	uint64_t limits[CONF_BLKIO_LIMITS]; /* 0: none */
};
struct conf_blkio {
	unsigned weight;   /* 0: not said */
	GPtrArray *devices; /* struct conf_blkio_device; NULL: none */
};

/* Of a domain's root. What the document has that limits nothing is taken out of it. */
bool conf_blkio_read(struct conf_blkio *blkio, xmlNode *root, GError **error);
/* Put it into the document, or take it out if there are no limits. */
void conf_blkio_write(const struct conf_blkio *blkio, xmlNode *root);
/* 0 takes a limit away. */
void conf_blkio_set(struct conf_blkio *blkio, const char *path, enum conf_blkio_limit limit, uint64_t value);
/* Does the kernel take it? 0 is valid: no limit. */
bool conf_blkio_is_valid(enum conf_blkio_limit limit, uint64_t value);
bool conf_blkio_is_set(const struct conf_blkio *blkio);
void conf_blkio_clear(struct conf_blkio *blkio);
