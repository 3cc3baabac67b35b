/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <stdatomic.h>

/*
 * The one exception to "no mutable globals outside cmd/": where a process writes its log is a fact
 * about the process. It is written once, before threads exist.
 */
static struct {
	const char *program;
	enum log_level lowest;
	FILE *stream;
	bool timestamps;
} sink = {"berth", LOG_LEVEL_WARNING, NULL};

void log_setup(const char *program, enum log_level lowest, FILE *stream)
{
	sink.program = program;
	sink.lowest = lowest;
	sink.stream = stream;
}

void log_timestamps(bool on)
{
	sink.timestamps = on;
}

void log_line(enum log_level level, const char *format, ...)
{
	static const char *const label[] = {"debug: ", "", "warning: ", "error: "};
	if (level < sink.lowest)
		return;
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *when = NULL;
	if (sink.timestamps) {
		g_autoptr(GDateTime) now = g_date_time_new_now_utc();
		when = g_date_time_format(now, "%FT%T.%fZ ");
	}
	/* One call, so that lines of two threads do not mix. */
	fprintf(sink.stream ? sink.stream : stderr, "%s%s: %s%s\n", when ? when : "", sink.program,
		label[level], text);
}

bool log_limit_allows(struct log_limit *limit, unsigned burst)
{
	static GMutex lock;
	int64_t now = g_get_monotonic_time();
	g_mutex_lock(&lock);
	if (now - limit->window_us > G_USEC_PER_SEC) {
		limit->window_us = now;
		limit->used = 0;
	}
	bool allowed = limit->used++ < burst;
	g_mutex_unlock(&lock);
	return allowed;
}
