/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See log.h. */
#include "daemon/domain/log.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/domain/log_int.h"
#include "daemon/domain/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* A guest that writes without end costs a look so often, not one for each of its writes. */
#define LOOK_NS (INT64_C(20) * 1000 * 1000)
enum { NOBODY = -1 };

struct domain_logs {
	struct domain *dom;
	GPtrArray *list; /* struct domain_log; the first is the VMM's own */
	struct domain_log *switching; /* whose new file the VMM is being handed; one at a time */
	bool begun;
};

struct log_watcher {
	int fd;
	struct aio_loop *loop;
	struct aio_watch *watch;
	struct aio_timer rest;
	GHashTable *logs; /* watch descriptor to struct domain_log */
};

/* --- Files ------------------------------------------------------------------------------------ */

/* Never waits, as for the reader of a pipe; and what is no file cannot be rotated. */
static int open_file(const char *path, int flags, GError **error)
{
	struct stat st;
	auto_fd fd = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		error_set_errno(error, errno, "cannot write the log '%s'", path);
	else if (!S_ISREG(st.st_mode))
		error_set(error, BERTH_ERR_INVALID, "cannot write the log '%s': it is no file", path);
	else
		return fd_steal(&fd);
	return -1;
}

char *log_backup_path(const struct domain_log *log, unsigned index)
{
	return g_strdup_printf("%s.%u", log->path, index);
}

/* FILE becomes FILE.0 and so on. What cannot be renamed stays, and grows. */
static bool make_room(const struct domain_log *log, GError **error)
{
	unsigned count = log->daemon->log_backups;
	for (unsigned i = count; i-- > 1;) {
		g_autofree char *from = log_backup_path(log, i - 1), *to = log_backup_path(log, i);
		if (rename(from, to) < 0 && errno != ENOENT)
			return error_set_errno(error, errno, "cannot rename the log '%s'", from);
	}
	g_autofree char *first = log_backup_path(log, 0);
	if ((count ? rename(log->path, first) : unlink(log->path)) < 0 && errno != ENOENT)
		return error_set_errno(error, errno, "cannot rename the log '%s'", log->path);
	return true;
}

static off_t size_of(const struct domain_log *log)
{
	struct stat st;
	return stat(log->path, &st) < 0 ? 0 : st.st_size;
}

static bool is_large(const struct domain_log *log)
{
	uint64_t most = log->daemon->log_size;
	return most && (uint64_t)size_of(log) >= most;
}

static struct domain_log *add_log(struct domain_logs *logs, const char *alias, char *path)
{
	struct domain_log *log = g_new0(struct domain_log, 1);
	log->references = 1;
	log->logs = logs;
	log->daemon = logs->dom->all->daemon;
	log->alias = g_strdup(alias);
	log->path = path;
	log->fd = NOBODY;
	log->watch = NOBODY;
	g_ptr_array_add(logs->list, log);
	return log;
}

void log_unref(struct domain_log *log)
{
	if (--log->references)
		return;
	fd_clear(&log->fd);
	g_free(log->alias);
	g_free(log->path);
	g_free(log);
}

static bool has_own_log(const struct daemon *daemon, const struct conf_domain_char *chr)
{
	return daemon->console_log && chr->kind != CONF_DOMAIN_CHANNEL && strcmp(chr->type, "file") != 0;
}

static void add_logs(struct domain *dom)
{
	struct domain_logs *logs = g_new0(struct domain_logs, 1);
	struct daemon *daemon = dom->all->daemon;
	logs->dom = dom;
	logs->list = g_ptr_array_new();
	dom->logs = logs;
	add_log(logs, NULL, store_path(daemon, "log", dom->uuid_text, ".log"));
	for (unsigned i = 0; i < dom->live->chars->len; i++) {
		const struct conf_domain_char *chr = dom->live->chars->pdata[i];
		g_autofree char *suffix = g_strdup_printf(".%s.log", chr->dev.alias);
		if (chr->log || has_own_log(daemon, chr))
			add_log(logs, chr->dev.alias, chr->log ? g_strdup(chr->log)
				: store_path(daemon, "log", dom->uuid_text, suffix));
	}
}

/* A console's log of our own begins anew with each run; one of the document as that says. */
static bool open_log(struct domain_log *log, struct conf_domain_char *chr, GError **error)
{
	bool anew = chr && !chr->log && size_of(log);
	if ((anew || is_large(log)) && !make_room(log, error))
		return false;
	log->fd = open_file(log->path, O_CREAT | (chr && chr->log && !chr->log_append ? O_TRUNC : 0), error);
	return log->fd >= 0;
}

bool logs_open(struct domain *dom, GArray *fds, GError **error)
{
	add_logs(dom);
	for (unsigned i = 0; i < dom->logs->list->len; i++) {
		struct domain_log *log = dom->logs->list->pdata[i];
		struct conf_domain_char *chr =
			log->alias ? conf_domain_char_of_alias(dom->live, log->alias) : NULL;
		if (!open_log(log, chr, error))
			return false;
		if (!chr)
			continue;
		chr->log_fd = fd_steal(&log->fd);
		g_array_append_val(fds, chr->log_fd);
	}
	return true;
}

int logs_own_fd(const struct domain *dom)
{
	return ((const struct domain_log *)dom->logs->list->pdata[0])->fd;
}

struct domain_log *log_of_console(const struct domain *dom, const char *alias)
{
	for (unsigned i = 0; dom->logs && i < dom->logs->list->len; i++) {
		struct domain_log *log = dom->logs->list->pdata[i];
		if (g_strcmp0(log->alias, alias) == 0)
			return log;
	}
	return NULL;
}

/* --- Growing ---------------------------------------------------------------------------------- */

static void stop_watching(struct domain_log *log)
{
	struct log_watcher *watcher = log->logs->dom->all->log_watcher;
	if (log->watch == NOBODY)
		return;
	g_hash_table_remove(watcher->logs, GINT_TO_POINTER(log->watch));
	inotify_rm_watch(watcher->fd, log->watch);
	log->watch = NOBODY;
}

static void watch_file(struct domain_log *log)
{
	struct log_watcher *watcher = log->logs->dom->all->log_watcher;
	stop_watching(log);
	log->watch = inotify_add_watch(watcher->fd, log->path, IN_MODIFY);
	if (log->watch == NOBODY)
		log_warning("the log '%s' is not rotated while domain '%s' runs: %s", log->path,
			    log->logs->dom->name, g_strerror(errno));
	else
		g_hash_table_insert(watcher->logs, GINT_TO_POINTER(log->watch), log);
}

static void hand_out(struct domain_log *log);

/* Somebody who was held up by another log's turn. */
static void next_turn(struct domain_logs *logs)
{
	for (unsigned i = 0; !logs->switching && i < logs->list->len; i++) {
		struct domain_log *log = logs->list->pdata[i];
		if (log->written != log->generation && !log->stuck)
			hand_out(log);
	}
}

static void on_switched(void *opaque, json_t *result, const GError *error)
{
	struct domain_log *log = opaque;
	struct domain_logs *logs = log->logs;
	if (logs) {
		logs->switching = NULL;
		log->stuck = error != NULL;
		/* Not at its end, when nobody listens any more: a VMM that hangs, or an older one. */
		if (error && logs->dom->vmm)
			log_warning("the log '%s' of domain '%s' is not rotated further: %s", log->path,
				    logs->dom->name, error->message);
		if (!error) {
			log->written = log->generation;
			log_tell_readers(log);
			log_check(log);
		}
		next_turn(logs);
	}
	log_unref(log);
}

/* The file that is called so now is what the VMM shall write. */
static void hand_out(struct domain_log *log)
{
	g_autoptr(GError) error = NULL;
	struct domain_logs *logs = log->logs;
	if (logs->switching || !logs->dom->vmm)
		return;
	auto_fd fd = open_file(log->path, O_CREAT, &error);
	if (fd < 0) {
		log->stuck = true;
		log_warning("%s", error->message);
		return;
	}
	g_autofree char *id = log->alias ? g_strdup_printf("char%s", log->alias) : NULL;
	logs->switching = log;
	log->references++;
	vmm_execute_fd(logs->dom, "x-switch-log", id ? json_pack("{s:s}", "chardev", id) : NULL, fd,
		       on_switched, log);
}

static void rotate(struct domain_log *log)
{
	g_autoptr(GError) error = NULL;
	auto_fd fd = make_room(log, &error) ? open_file(log->path, O_CREAT, &error) : -1;
	if (fd < 0) {
		if (!log->warned)
			log_warning("domain '%s': its log is not rotated: %s", log->logs->dom->name, error->message);
		log->warned = true;
		return;
	}
	log->warned = false;
	log->generation++;
	watch_file(log);
	hand_out(log);
}

void logs_retry(struct domain *dom)
{
	for (unsigned i = 0; dom->logs && i < dom->logs->list->len; i++)
		((struct domain_log *)dom->logs->list->pdata[i])->stuck = false;
	if (dom->logs)
		next_turn(dom->logs);
}

void log_check(struct domain_log *log)
{
	if (log->written == log->generation && is_large(log))
		rotate(log);
}

static void on_readable(void *opaque, int fd, uint32_t events)
{
	struct log_watcher *watcher = opaque;
	union {
		char bytes[16384];
		struct inotify_event align;
	} buffer;
	ssize_t n = read(fd, buffer.bytes, sizeof(buffer.bytes));
	const struct inotify_event *event;
	for (ssize_t at = 0; at < n; at += sizeof(*event) + event->len) {
		event = (const struct inotify_event *)(buffer.bytes + at);
		struct domain_log *log = g_hash_table_lookup(watcher->logs, GINT_TO_POINTER(event->wd));
		if (!log)
			continue;
		/* A VMM that was too late to be believed has taken the file after all. */
		if (log->stuck)
			log->written = log->generation;
		log->stuck = false;
		log_tell_readers(log);
		log_check(log);
	}
	aio_watch_modify(watcher->watch, 0);
	aio_timer_arm(&watcher->rest, aio_now_ns() + LOOK_NS);
}

static void on_rested(void *opaque)
{
	aio_watch_modify(((struct log_watcher *)opaque)->watch, POLLIN);
}

struct log_watcher *log_watcher_new(struct domains *domains, GError **error)
{
	auto_fd fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0) {
		error_set_errno(error, errno, "cannot watch logs");
		return NULL;
	}
	struct log_watcher *watcher = g_new0(struct log_watcher, 1);
	watcher->loop = domains->daemon->loop;
	watcher->logs = g_hash_table_new(NULL, NULL);
	aio_timer_init(&watcher->rest, watcher->loop, on_rested, watcher);
	watcher->fd = fd_steal(&fd);
	watcher->watch = aio_watch_add(watcher->loop, watcher->fd, POLLIN, on_readable, watcher);
	return watcher;
}

void log_watcher_free(struct log_watcher *watcher)
{
	if (!watcher)
		return;
	aio_timer_cancel(&watcher->rest);
	aio_watch_remove(watcher->watch);
	close(watcher->fd);
	g_hash_table_unref(watcher->logs);
	g_free(watcher);
}

/* --- A run ------------------------------------------------------------------------------------ */

void logs_begin(struct domain *dom)
{
	for (unsigned i = 0; i < dom->logs->list->len; i++) {
		struct domain_log *log = dom->logs->list->pdata[i];
		struct conf_domain_char *chr =
			log->alias ? conf_domain_char_of_alias(dom->live, log->alias) : NULL;
		/* Its number is closed with the others that the VMM was given. */
		if (chr)
			chr->log_fd = 0;
		fd_clear(&log->fd);
		watch_file(log);
	}
}

void logs_recall(struct domain *dom)
{
	add_logs(dom);
	for (unsigned i = 0; i < dom->logs->list->len; i++) {
		struct domain_log *log = dom->logs->list->pdata[i];
		g_autofree char *backup = log_backup_path(log, 0);
		/* A daemon of before the logs, or one that keeps none, has not begun it. */
		bool kept = access(log->path, F_OK) == 0 || access(backup, F_OK) == 0;
		/* Perhaps it was killed while it rotated: then the VMM still writes what was renamed. */
		log->generation = log->first = kept;
		g_autoptr(GError) error = NULL;
		auto_fd fd = kept ? open_file(log->path, O_CREAT, &error) : -1;
		if (error)
			log_warning("domain '%s': %s", dom->name, error->message);
		if (fd >= 0)
			watch_file(log);
	}
	next_turn(dom->logs);
}

void logs_end(struct domain_logs *logs)
{
	if (!logs)
		return;
	for (unsigned i = 0; i < logs->list->len; i++) {
		struct domain_log *log = logs->list->pdata[i];
		stop_watching(log);
		log->logs = NULL;
		log->written = log->generation;
		log_tell_readers(log);
		log_unref(log);
	}
	g_ptr_array_unref(logs->list);
	g_free(logs);
}
