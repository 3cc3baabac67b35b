/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's memory as a file that debuggers read: an ELF core with a segment for each piece of RAM
 * and two notes for each vCPU (NT_PRSTATUS, and QEMU's with the system registers), or the compressed
 * format of kdump. Registers are those of 64-bit mode whatever mode a vCPU is in.
 *
 * The file is written from its start to its end, never seeking, so that it may be a pipe. kdump's
 * format, whose table of pages comes before the pages, is therefore wrapped in makedumpfile's
 * "flattened" form, which crash(8) reads as it is and `makedumpfile -R` unwraps.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum dump_format { DUMP_ELF, DUMP_KDUMP_ZLIB };

struct dump;
struct space;
struct x86_state;

/*
 * What is mapped in `memory` now, which must neither change nor be written to before dump_free(). Takes
 * `fd`; with O_DIRECT set, all writes but the last are of whole aligned blocks. `length` 0: all from
 * `begin` on; else [begin, begin + length) only. Fails if there is no memory there.
 */
struct dump *dump_new(struct space *memory, int fd, enum dump_format format, uint64_t begin,
		      uint64_t length, GError **error);
/* The registers of one more vCPU; `index` is what debuggers call it. */
void dump_add_cpu(struct dump *dump, unsigned index, const struct x86_state *state);
/* Write it all, on any thread; once. */
bool dump_write(struct dump *dump, GError **error);
/* Any thread: make dump_write() fail soon. */
void dump_cancel(struct dump *dump);
/* Bytes of guest memory: all, and those that are done. Any thread. */
uint64_t dump_total(const struct dump *dump);
uint64_t dump_done(const struct dump *dump);
void dump_free(struct dump *dump);
