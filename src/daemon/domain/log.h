/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Logs that a running VMM writes: its own (the command line and what it says) and those of its consoles.
 *
 * The VMM writes into plain files that the daemon has opened for it, so that it needs no daemon to go on.
 * The kernel tells us by inotify that one has grown. One that is too large is renamed, FILE to FILE.0, FILE.0
 * to FILE.1 and so on, the oldest makes room, and the VMM is handed the new file; until it has answered it
 * writes into the renamed one, which is not renamed again before. So every byte is in the files once, in
 * order, whoever is killed when; a daemon that was away begins with handing out the file once more.
 */
#pragma once

#include "daemon/domain/domain.h"

struct domain_log;
struct domain_logs;
struct log_watcher;

/* What hears of files that grow, for all domains; NULL with an error. */
struct log_watcher *log_watcher_new(struct domains *domains, GError **error);
void log_watcher_free(struct log_watcher *watcher);

/*
 * For a domain that is about to start: open its logs (dom->logs). The number of a console's goes into the
 * live document's `log_fd`, and all of them to `fds` (int), whose end closes them.
 */
bool logs_open(struct domain *dom, GArray *fds, GError **error);
/* The VMM runs, or was found: look after them. */
void logs_begin(struct domain *dom);
/* The same for one that a former daemon has started. */
void logs_recall(struct domain *dom);
/* Its VMM can be spoken with again: hand out what it has not taken. */
void logs_retry(struct domain *dom);
/* It does not run any more. Watchers still get what is left. */
void logs_end(struct domain_logs *logs);
/* The descriptor of the VMM's own log, until logs_begin(). */
int logs_own_fd(const struct domain *dom);

/* --- Readers ---------------------------------------------------------------------------------- */

/* Of a console by its alias; NULL: it has none. */
struct domain_log *log_of_console(const struct domain *dom, const char *alias);

/* Reads a log from its last lines on, and goes on with what is written, whatever it is called meanwhile. */
struct log_reader {
	struct domain_log *log;
	int fd;
	unsigned generation;
	/* There may be more to read now. */
	void (*grown)(struct log_reader *reader);
};
bool log_reader_open(struct log_reader *reader, struct domain_log *log, GError **error);
void log_reader_close(struct log_reader *reader);
/*
 * Returns how many bytes there were; 0: no more now, and *ended says if there will be none. *lost: what
 * comes next is not what came last, as it was read too late. -1 with an error.
 */
ssize_t log_reader_read(struct log_reader *reader, void *buffer, size_t size, bool *lost, bool *ended, GError **error);
