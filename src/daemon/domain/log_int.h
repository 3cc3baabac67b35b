/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A log, for the files of log*.c. */
#pragma once

#include "daemon/domain/log.h"

struct domain_log {
	unsigned references;
	struct domain_logs *logs; /* NULL: the run is over */
	const struct daemon *daemon;
	char *alias; /* of the console; NULL: the VMM's own */
	char *path;
	int fd;      /* the VMM's own, until it is there */
	int watch;   /* of inotify */
	unsigned generation; /* of the file that has the path now: counts renamings */
	unsigned first;      /* of this run, or the first that we have seen of it */
	unsigned written;    /* the one that the VMM writes, as far as it has told */
	bool stuck;          /* the VMM could not be handed the file that is called so now */
	bool warned;         /* the host does not let us rename: said once */
	GSList *readers;     /* struct log_reader */
};

void log_unref(struct domain_log *log);
/* FILE.0 is the youngest. Free with g_free(). */
char *log_backup_path(const struct domain_log *log, unsigned index);
void log_tell_readers(struct domain_log *log);
/* Rotate it if it is time. */
void log_check(struct domain_log *log);
