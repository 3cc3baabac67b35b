/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log lines for people: "berth-vmm: warning: <text>". The program's name, the lowest level shown
 * and the stream are set once by cmd/; everything else only writes lines. Thread-safe.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/* Called by cmd/ before any thread starts. `program` must outlive all logging. */
void log_setup(const char *program, enum log_level lowest, FILE *stream);

/* Put the time before each line. Called by cmd/ as log_setup(). */
void log_timestamps(bool on);

/*
 * From now on lines go to systemd's journal, by its native protocol, instead of the stream. `socket` is
 * NULL for the journal's own. Called by cmd/ as log_setup(). False: nobody listens there.
 */
bool log_to_journal(const char *socket, GError **error);

/* What a line is about, for programs that search: of the journal, where it is a field of its own. */
struct log_field {
	const char *name; /* capitals, digits and _ */
	const char *value;
};
void log_fields(enum log_level level, const struct log_field *fields, unsigned count,
		const char *format, ...) G_GNUC_PRINTF(4, 5);
/* Are lines of this level shown? For those that cost more than a line. */
bool log_is_on(enum log_level level);

void log_line(enum log_level level, const char *format, ...) G_GNUC_PRINTF(2, 3);

#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

/*
 * True at most `burst` times a second for one call site: a guest must not be able to fill the log.
 * Use log_guest_fault() for what a guest did wrong; it carries its own limiter of 5 lines a second.
 */
struct log_limit {
	int64_t window_us;
	unsigned used;
};
bool log_limit_allows(struct log_limit *limit, unsigned burst);

#define log_guest_fault(...)                                                                       \
	do {                                                                                       \
		static struct log_limit limit_;                                                    \
		if (log_limit_allows(&limit_, 5))                                                  \
			log_line(LOG_LEVEL_WARNING, "guest: " __VA_ARGS__);                        \
	} while (0)
