/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "event.h"

#include "job.h"

#include <string.h>

int opt_timeout(struct shell *sh, const struct cmd *cmd)
{
	uint32_t seconds;
	int given = opt_uint(sh, cmd, "timeout", &seconds);
	if (given <= 0)
		return given;
	if (seconds >= 1 && seconds <= INT32_MAX / 1000)
		return seconds * 1000;
	shell_fail(sh, "Numeric value '%u' for <%s> option is malformed or out of range", seconds, "timeout");
	return -1;
}

const char *event_word(const char *const *words, unsigned count, int number)
{
	return number >= 0 && (unsigned)number < count ? words[number] : "unknown";
}

void event_print_time(void)
{
	g_autoptr(GDateTime) now = g_date_time_new_now_utc();
	g_autofree char *text = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");
	shell_print("%s.%03d+0000: ", text, g_date_time_get_microsecond(now) / 1000);
}

bool event_list(const struct event_wait *wait)
{
	for (unsigned i = 0; i < wait->count; i++)
		shell_print("%s\n", wait->kinds[i].name);
	return true;
}

struct loop {
	struct shell *sh;
	const struct event_wait *wait;
	int *callbacks; /* one for each kind; -1: not registered */
	bool forever, timestamp;
	gint64 end;     /* 0: no timeout */
	unsigned received;
};

/* All messages of events begin with the callback's number. */
static bool take(struct loop *loop, const struct client_event *event)
{
	for (unsigned i = 0; i < loop->wait->count; i++) {
		const struct event_kind *kind = &loop->wait->kinds[i];
		if (event->program != REMOTE_PROGRAM || kind->procedure != event->procedure ||
		    loop->callbacks[i] != *(const int32_t *)event->args)
			continue;
		g_autoptr(GString) text = g_string_new(NULL);
		kind->format(text, kind, event->args);
		if (loop->timestamp)
			event_print_time();
		shell_print("%s", text->str);
		loop->received++;
		return true;
	}
	return false;
}

static bool receive(struct loop *loop)
{
	struct client_event event;
	while (!loop->received || loop->forever) {
		int left = loop->end ? MAX(0, (loop->end - g_get_monotonic_time() + 999) / 1000) : -1;
		int got = client_next_event(loop->sh->client, left, &event, shell_error(loop->sh));
		if (got < 0)
			return false;
		if (got > 0)
			take(loop, &event);
		else if (interrupted()) {
			shell_print("event loop interrupted\n");
			return true;
		} else if (loop->end && g_get_monotonic_time() >= loop->end) {
			shell_print("event loop timed out\n");
			return true;
		}
	}
	return true;
}

static bool subscribe(struct loop *loop, int only)
{
	bool any = false;
	for (unsigned i = 0; i < loop->wait->count; i++) {
		if (only >= 0 && (int)i != only)
			continue;
		loop->callbacks[i] = loop->wait->subscribe(loop->sh, i, loop->wait->object);
		/* With --all, a daemon may not know the newer ones. */
		if (loop->callbacks[i] < 0 && !any)
			return false;
		any = true;
	}
	shell_forget_error(loop->sh);
	return true;
}

static int find_kind(const struct event_wait *wait, const char *name)
{
	for (unsigned i = 0; name && i < wait->count; i++) {
		if (strcmp(wait->kinds[i].name, name) == 0)
			return i;
	}
	return -1;
}

bool event_run(struct shell *sh, const struct cmd *cmd, const struct event_wait *wait)
{
	const char *name = opt_text(cmd, "event");
	int only = wait->all ? -1 : find_kind(wait, name);
	if (!wait->all && only < 0)
		return shell_fail(sh, "unknown event type %s", name);
	int timeout = opt_timeout(sh, cmd);
	if (timeout < 0)
		return false;
	g_autofree int *callbacks = g_new(int, wait->count);
	for (unsigned i = 0; i < wait->count; i++)
		callbacks[i] = -1;
	struct loop loop = {
		.sh = sh, .wait = wait, .callbacks = callbacks, .forever = opt_bool(cmd, "loop"),
		.timestamp = opt_bool(cmd, "timestamp"),
		.end = timeout ? g_get_monotonic_time() + (gint64)timeout * 1000 : 0,
	};
	interrupts_catch();
	bool good = subscribe(&loop, only) && receive(&loop);
	interrupts_restore();
	if (good)
		shell_print("events received: %u\n", loop.received);
	for (unsigned i = 0; client_is_alive(sh->client) && i < wait->count; i++) {
		if (callbacks[i] >= 0 && !wait->unsubscribe(sh, callbacks[i]))
			good = false;
	}
	return good && loop.received;
}
