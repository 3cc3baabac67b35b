/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/*
 * The one exception to "no mutable globals outside cmd/": where a process writes its log is a fact
 * about the process. It is written once, before threads exist.
 */
static struct {
	const char *program;
	enum log_level lowest;
	FILE *stream;
	bool timestamps;
	int journal; /* -1: none */
} sink = {"berth", LOG_LEVEL_WARNING, NULL, false, -1};

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

bool log_is_on(enum log_level level)
{
	return level >= sink.lowest;
}

/* --- The journal ---------------------------------------------------------------------------- */

bool log_to_journal(const char *path, GError **error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
	if (path && g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >=
			    sizeof(address.sun_path))
		return error_set(error, BERTH_ERR_INVALID, "the path '%s' is too long", path);
	auto_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set_errno(error, errno, "cannot reach the journal at '%s'",
				       address.sun_path);
	fd_clear(&sink.journal);
	sink.journal = fd_steal(&fd);
	return true;
}

/*
 * systemd's JOURNAL_NATIVE_PROTOCOL: NAME=VALUE and a newline; a value that has one itself follows its
 * name's newline as a 64-bit little-endian length and the bytes.
 */
static void add_field(GString *out, const char *name, const char *value)
{
	uint8_t length[8];
	if (!strchr(value, '\n')) {
		g_string_append_printf(out, "%s=%s\n", name, value);
		return;
	}
	le64_store(length, strlen(value));
	g_string_append_printf(out, "%s\n", name);
	g_string_append_len(out, (const char *)length, sizeof(length));
	g_string_append_printf(out, "%s\n", value);
}

/* False: the journal did not take it, as when it is being restarted. */
static bool send_to_journal(enum log_level level, const struct log_field *fields, unsigned count,
			    const char *text)
{
	/* syslog(3)'s numbers. */
	static const char *const priority[] = {"7", "6", "4", "3"};
	g_autoptr(GString) out = g_string_new(NULL);
	add_field(out, "MESSAGE", text);
	add_field(out, "PRIORITY", priority[level]);
	add_field(out, "SYSLOG_IDENTIFIER", sink.program);
	for (unsigned i = 0; i < count; i++)
		add_field(out, fields[i].name, fields[i].value);
	return send(sink.journal, out->str, out->len, MSG_NOSIGNAL) >= 0;
}

/* --- Lines ---------------------------------------------------------------------------------- */

static void write_line(enum log_level level, const struct log_field *fields, unsigned count,
		       const char *format, va_list args)
{
	static const char *const label[] = {"debug: ", "", "warning: ", "error: "};
	g_autofree char *text = g_strdup_vprintf(format, args);
	if (sink.journal >= 0 && send_to_journal(level, fields, count, text))
		return;
	g_autofree char *when = NULL;
	if (sink.timestamps) {
		g_autoptr(GDateTime) now = g_date_time_new_now_utc();
		when = g_date_time_format(now, "%FT%T.%fZ ");
	}
	/* One call, so that lines of two threads do not mix. */
	fprintf(sink.stream ? sink.stream : stderr, "%s%s: %s%s\n", when ? when : "", sink.program,
		label[level], text);
}

void log_fields(enum log_level level, const struct log_field *fields, unsigned count,
		const char *format, ...)
{
	if (!log_is_on(level))
		return;
	va_list args;
	va_start(args, format);
	write_line(level, fields, count, format, args);
	va_end(args);
}

void log_line(enum log_level level, const char *format, ...)
{
	if (!log_is_on(level))
		return;
	va_list args;
	va_start(args, format);
	write_line(level, NULL, 0, format, args);
	va_end(args);
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
