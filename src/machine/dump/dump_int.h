/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of a dump. */
#pragma once

#include "machine/dump/dump.h"

#include <stdatomic.h>
#include <sys/types.h>

/* A piece of guest-physical memory that is contiguous on the host, too. */
struct dump_range {
	uint64_t base, size;
	const uint8_t *host;
};

/* Bytes on their way into the file, in blocks. */
struct dump_output {
	int fd;
	uint8_t *block;
	size_t used;
};

struct dump {
	enum dump_format format;
	GArray *ranges; /* struct dump_range, lowest first */
	GByteArray *notes;
	unsigned cpus;
	struct dump_output out;
	uint64_t total;
	_Atomic uint64_t done;
	_Atomic bool cancelled;
};

bool dump_put(struct dump *dump, const void *bytes, size_t length, GError **error);
/* What dump_put() has kept back. */
bool dump_flush(struct dump *dump, GError **error);
/* So many bytes of memory are done. Fails if the dump is cancelled. */
bool dump_progress(struct dump *dump, uint64_t bytes, GError **error);

bool dump_write_elf(struct dump *dump, GError **error);
bool dump_write_kdump(struct dump *dump, GError **error);
