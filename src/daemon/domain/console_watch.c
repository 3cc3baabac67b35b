/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients who watch a console without a part in it. What they see comes from the console's log, where all of
 * it is anyway: the VMM does not know of them, and one who is slow reads later.
 */
#include "daemon/domain/console.h"
#include "daemon/domain/log.h"

#include "daemon/rpc/rpc.h"

#include <string.h>

enum { CHUNK = 65536 };

struct watcher {
	struct log_reader reader;
	struct aio_loop *loop;
	struct rpc_stream *stream; /* NULL: closed */
	bool full;                 /* the client does not keep up */
	bool ended;                /* and was told so */
};

static void fail(struct watcher *watcher, GError *error)
{
	rpc_stream_end(watcher->stream, error);
}

/* False: no more can be sent now, and perhaps the stream is gone. */
static bool send(struct watcher *watcher, const char *data, size_t length)
{
	bool room = rpc_stream_send(watcher->stream, (const uint8_t *)data, length);
	watcher->full = !room;
	return room && watcher->stream;
}

static void pump(struct log_reader *reader)
{
	static const char gap[] = "\r\n[what was said here is not kept any more]\r\n";
	struct watcher *watcher = (struct watcher *)reader;
	char piece[CHUNK];
	bool lost, ended;
	while (!watcher->full && !watcher->ended) {
		GError *error = NULL;
		ssize_t n = log_reader_read(reader, piece, sizeof(piece), &lost, &ended, &error);
		if (n < 0) {
			fail(watcher, error);
			return;
		}
		if (lost && !send(watcher, gap, strlen(gap)) && !watcher->stream)
			return;
		if (n && !send(watcher, piece, n))
			return;
		watcher->ended = ended;
		if (ended)
			rpc_stream_send_eof(watcher->stream);
		if (!n)
			return;
	}
}

static void on_received(void *opaque, const uint8_t *data, size_t length)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
		   "who watches a console cannot type: open it without the flag for watching");
	fail(opaque, error);
}

static void on_drained(void *opaque)
{
	struct watcher *watcher = opaque;
	watcher->full = false;
	pump(&watcher->reader);
}

static void on_closed(void *opaque)
{
	struct watcher *watcher = opaque;
	watcher->stream = NULL;
	log_reader_close(&watcher->reader);
	/* pump() may be on the stack. */
	aio_loop_post(watcher->loop, g_free, watcher);
}

static const struct rpc_stream_ops watch_ops = {
	.received = on_received, .drained = on_drained, .closed = on_closed,
};

void console_watch(struct rpc_call *call, struct domain *dom, const struct conf_domain_char *chr)
{
	struct domain_log *log = log_of_console(dom, chr->dev.alias);
	struct watcher *watcher = g_new0(struct watcher, 1);
	GError *error = NULL;
	watcher->reader.grown = pump;
	watcher->loop = dom->all->daemon->loop;
	if (!log)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
			   "%s has no log that could be watched: give it <log file=.../>, or set console_log = 1",
			   chr->dev.alias);
	if (log && log_reader_open(&watcher->reader, log, &error)) {
		watcher->stream = rpc_stream_open(call, &watch_ops, watcher);
		if (watcher->stream) {
			rpc_call_reply(call, NULL);
			pump(&watcher->reader);
			return;
		}
		log_reader_close(&watcher->reader);
	}
	g_free(watcher);
	if (error)
		rpc_call_fail(call, error);
	else
		rpc_call_reply(call, NULL);
}
