/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that come and go in the folder of an active pool become and cease to be volumes by
 * themselves; with libvirt somebody has to say pool-refresh. The kernel tells of changes by inotify;
 * names gather for a while, and then a job looks at them. How long depends on how long the last look
 * took, so that a folder in which much happens (/tmp can be a pool) takes little of a thread's time.
 */
#include "daemon/storage/watch.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* Between looks: at least so long, and so many times as long as the last one took. */
#define PAUSE_NS (INT64_C(200) * 1000 * 1000)
enum { PAUSE_FACTOR = 10, NOBODY = -1 };

struct storage_watcher {
	struct storage *storage;
	int fd;
	struct aio_watch *watch;
	GHashTable *pools;     /* watch descriptor to struct storage_pool */
	_Atomic unsigned lost; /* events that could be told to no pool: see storage_watch_begin() */
};

/* --- Looking ---------------------------------------------------------------------------------- */

struct look_job {
	struct storage_job base;
	GPtrArray *names;
	GPtrArray *found; /* struct conf_volume for each, NULL: there is no such volume */
};

static void volume_free(void *volume)
{
	conf_volume_free(volume);
}

static bool begin_look(struct storage_job *base, GError **error)
{
	struct look_job *job = (struct look_job *)base;
	struct storage_pool *pool = base->pool;
	GHashTableIter iter;
	void *name;
	job->names = g_ptr_array_new_with_free_func(g_free);
	job->found = g_ptr_array_new_with_free_func(volume_free);
	if (!storage_pool_check_active(pool, error))
		return false;
	g_hash_table_iter_init(&iter, pool->changed);
	while (g_hash_table_iter_next(&iter, &name, NULL)) {
		g_ptr_array_add(job->names, name);
		g_hash_table_iter_steal(&iter);
	}
	base->folder = g_strdup(pool->live->path);
	return true;
}

static bool work_look(struct storage_job *base, GError **error)
{
	struct look_job *job = (struct look_job *)base;
	for (unsigned i = 0; i < job->names->len; i++)
		g_ptr_array_add(job->found, storage_look_at(base->folder, job->names->pdata[i]));
	return true;
}

/* True if there is a volume more or less. */
static bool apply(struct storage_job *base, const char *name, struct conf_volume **found)
{
	struct storage_pool *pool = base->pool;
	const struct storage_volume *old = g_hash_table_lookup(pool->volumes, name);
	if (old && storage_volume_is_newer(old, base))
		return false;
	if (*found)
		storage_volume_set(pool, g_steal_pointer(found));
	else
		g_hash_table_remove(pool->volumes, name);
	return !old != !g_hash_table_contains(pool->volumes, name);
}

static void rest(struct storage_pool *pool, int64_t ns)
{
	pool->resting = true;
	aio_timer_arm(&pool->rest, aio_now_ns() + ns);
}

static void done_look(struct storage_job *base)
{
	struct look_job *job = (struct look_job *)base;
	bool news = false;
	for (unsigned i = 0; base->pool->live && i < job->names->len; i++)
		news |= apply(base, job->names->pdata[i], (struct conf_volume **)&job->found->pdata[i]);
	if (news)
		storage_emit_refresh(base->pool);
	if (base->pool->live)
		rest(base->pool, MAX(PAUSE_NS, (aio_now_ns() - base->began_ns) * PAUSE_FACTOR));
}

static void clear_look(struct storage_job *base)
{
	struct look_job *job = (struct look_job *)base;
	g_clear_pointer(&job->names, g_ptr_array_unref);
	g_clear_pointer(&job->found, g_ptr_array_unref);
}

static const struct storage_job_ops look_ops = {
	.size = sizeof(struct look_job), .queued = true, .begin = begin_look, .work = work_look,
	.done = done_look, .clear = clear_look,
};

static void on_rested(void *opaque)
{
	struct storage_pool *pool = opaque;
	pool->resting = false;
	if (pool->live && g_hash_table_size(pool->changed))
		storage_submit(storage_job_new(pool, NULL, &look_ops));
}

/* --- Being told ------------------------------------------------------------------------------- */

static void note(struct storage_pool *pool, const char *name)
{
	g_hash_table_add(pool->changed, g_strdup(name));
	if (!pool->resting)
		rest(pool, PAUSE_NS);
}

/* More happened than the kernel could keep: anything may have changed. */
static void note_everything(struct storage_watcher *watcher)
{
	GHashTableIter iter;
	void *pool;
	g_hash_table_iter_init(&iter, watcher->pools);
	while (g_hash_table_iter_next(&iter, NULL, &pool))
		storage_refresh(pool, NULL);
}

static void take_event(struct storage_watcher *watcher, const struct inotify_event *event)
{
	void *key = GINT_TO_POINTER(event->wd);
	struct storage_pool *pool = g_hash_table_lookup(watcher->pools, key);
	if (event->mask & IN_Q_OVERFLOW) {
		note_everything(watcher);
	} else if (pool && event->mask & IN_IGNORED) {
		/* The folder itself is gone. */
		g_hash_table_remove(watcher->pools, key);
		pool->watch = NOBODY;
	} else if (pool && event->len) {
		note(pool, event->name);
	} else if (!pool && !(event->mask & IN_IGNORED)) {
		watcher->lost++;
	}
}

static void on_events(void *opaque, int fd, uint32_t events)
{
	struct storage_watcher *watcher = opaque;
	_Alignas(struct inotify_event) char buffer[16384];
	ssize_t length = read(fd, buffer, sizeof(buffer));
	for (ssize_t at = 0; at < length;) {
		const struct inotify_event *event = (const void *)(buffer + at);
		take_event(watcher, event);
		at += sizeof(*event) + event->len;
	}
}

/* --- Pools ------------------------------------------------------------------------------------ */

void storage_watch_init(struct storage_pool *pool)
{
	pool->watch = NOBODY;
	pool->changed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	aio_timer_init(&pool->rest, pool->all->daemon->loop, on_rested, pool);
}

void storage_watch_clear(struct storage_pool *pool)
{
	storage_watch_stop(pool);
	g_hash_table_unref(pool->changed);
}

struct storage_watching storage_watch_begin(struct storage_watcher *watcher, const char *folder)
{
	const uint32_t mask = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE |
			      IN_ONLYDIR;
	struct storage_watching watching = {.lost = watcher->lost, .descriptor = NOBODY};
	if (watcher->fd < 0)
		return watching;
	watching.descriptor = inotify_add_watch(watcher->fd, folder, mask);
	if (watching.descriptor < 0)
		log_info("changes in '%s' are not noticed by themselves: %s", folder, g_strerror(errno));
	return watching;
}

void storage_watch_start(struct storage_pool *pool, struct storage_watching watching)
{
	struct storage_watcher *watcher = pool->all->watcher;
	if (watching.descriptor == NOBODY)
		return;
	pool->watch = watching.descriptor;
	g_hash_table_insert(watcher->pools, GINT_TO_POINTER(pool->watch), pool);
	/* Something happened while the folder was read, and nobody knew yet where. */
	if (watcher->lost != watching.lost)
		storage_refresh(pool, NULL);
}

void storage_watch_cancel(struct storage_watcher *watcher, struct storage_watching watching)
{
	if (watching.descriptor != NOBODY)
		inotify_rm_watch(watcher->fd, watching.descriptor);
}

void storage_watch_stop(struct storage_pool *pool)
{
	struct storage_watcher *watcher = pool->all->watcher;
	aio_timer_cancel(&pool->rest);
	pool->resting = false;
	g_hash_table_remove_all(pool->changed);
	if (pool->watch == NOBODY)
		return;
	inotify_rm_watch(watcher->fd, pool->watch);
	g_hash_table_remove(watcher->pools, GINT_TO_POINTER(pool->watch));
	pool->watch = NOBODY;
}

/* --- All -------------------------------------------------------------------------------------- */

struct storage_watcher *storage_watcher_new(struct storage *storage)
{
	struct storage_watcher *watcher = g_new0(struct storage_watcher, 1);
	watcher->storage = storage;
	watcher->pools = g_hash_table_new(NULL, NULL);
	watcher->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watcher->fd < 0)
		log_warning("changes in storage pools are not noticed by themselves: %s",
			    g_strerror(errno));
	else
		watcher->watch = aio_watch_add(storage->daemon->loop, watcher->fd, POLLIN, on_events,
					       watcher);
	return watcher;
}

void storage_watcher_free(struct storage_watcher *watcher)
{
	if (watcher->watch)
		aio_watch_remove(watcher->watch);
	if (watcher->fd >= 0)
		close(watcher->fd);
	g_hash_table_unref(watcher->pools);
	g_free(watcher);
}
