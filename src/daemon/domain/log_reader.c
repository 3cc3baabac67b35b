/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who reads a log while it is written: each at his own pace, from the files, so that nobody waits for him. */
#include "daemon/domain/log_int.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A terminal of 80 x 24 with room for colours. */
enum { SCREEN = 4096 };

/* The file of a generation that is still there, or of the next one; -1 with errno. */
static int open_generation(const struct domain_log *log, unsigned *generation)
{
	for (;; (*generation)++) {
		unsigned age = log->generation - *generation;
		g_autofree char *path = age ? log_backup_path(log, age - 1) : g_strdup(log->path);
		if (age > log->daemon->log_backups)
			continue;
		int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd >= 0 || errno != ENOENT || !age)
			return fd;
	}
}

static off_t size_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) < 0 ? 0 : st.st_size;
}

/* Not into the middle of a line, if there is an end of one in reach. */
static void seek_line(int fd, off_t at)
{
	char piece[SCREEN / 2];
	ssize_t n = at > 0 ? pread(fd, piece, sizeof(piece), at) : 0;
	const char *end = n > 0 ? memchr(piece, '\n', n) : NULL;
	lseek(fd, MAX(at, 0) + (end ? end + 1 - piece : 0), SEEK_SET);
}

bool log_reader_open(struct log_reader *reader, struct domain_log *log, GError **error)
{
	unsigned generation = log->written;
	auto_fd fd = open_generation(log, &generation);
	if (fd < 0)
		return error_set_errno(error, errno, "cannot read the log '%s'", log->path);
	off_t missing = SCREEN - size_of(fd);
	/* One that was renamed a moment ago has the rest of the screen, if it is of this run. */
	unsigned older = generation - 1;
	auto_fd before = missing > 0 && generation > log->first ? open_generation(log, &older) : -1;
	if (before >= 0 && older == generation - 1) {
		fd_clear(&fd);
		fd = fd_steal(&before);
		generation = older;
		seek_line(fd, size_of(fd) - missing);
	} else {
		seek_line(fd, -missing);
	}
	reader->fd = fd_steal(&fd);
	reader->generation = generation;
	reader->log = log;
	log->references++;
	log->readers = g_slist_prepend(log->readers, reader);
	return true;
}

void log_reader_close(struct log_reader *reader)
{
	reader->log->readers = g_slist_remove(reader->log->readers, reader);
	log_unref(reader->log);
	fd_clear(&reader->fd);
}

ssize_t log_reader_read(struct log_reader *reader, void *buffer, size_t size, bool *lost, bool *ended,
			GError **error)
{
	const struct domain_log *log = reader->log;
	*lost = *ended = false;
	for (;;) {
		ssize_t n = read(reader->fd, buffer, size);
		if (n < 0)
			error_set_errno(error, errno, "cannot read the log '%s'", log->path);
		if (n)
			return n;
		*ended = reader->generation == log->written && !log->logs;
		if (reader->generation == log->written)
			return 0;
		unsigned next = reader->generation + 1, wanted = next;
		int fd = open_generation(log, &next);
		if (fd < 0) {
			error_set_errno(error, errno, "cannot read the log '%s'", log->path);
			return -1;
		}
		fd_clear(&reader->fd);
		reader->fd = fd;
		reader->generation = next;
		*lost |= next != wanted;
	}
}

void log_tell_readers(struct domain_log *log)
{
	/* A client that is found gone takes all its readers with it. */
	g_autoptr(GSList) all = g_slist_copy(log->readers);
	for (GSList *link = all; link; link = link->next) {
		struct log_reader *reader = link->data;
		if (g_slist_find(log->readers, reader))
			reader->grown(reader);
	}
}
