/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What berth-img prints, byte for byte as qemu-img does. */
#pragma once

#include <glib.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* `value` with four columns of indentation, keys in the order that QEMU's dictionaries have. */
void output_json(const json_t *value);
/* "1.5 MiB": three significant digits, "0 B" for nothing. Free with g_free(). */
char *output_size(uint64_t bytes);
/* The "Format specific information" block below its title: nested keys, '-' as ' '. */
void output_human(const json_t *value, unsigned indent);

enum output_format { OUTPUT_HUMAN, OUTPUT_JSON };
/* "human" or "json"; NULL is human. Prints a complaint. */
bool output_parse(const char *text, enum output_format *format);

/*
 * The progress bar "    (12.34/100%)\r". A step is shown when it differs by a percent from what is
 * on the screen, and always at the end. SIGUSR1 prints a line where -p was not given.
 */
struct progress {
	bool shown;
	double last;
};
void progress_start(struct progress *progress, bool shown);
void progress_update(struct progress *progress, double percent);
void progress_end(struct progress *progress);
