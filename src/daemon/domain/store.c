/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that survive a crash of the host whole: the old content or the new, never a part. */
#include "daemon/domain/store.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The end of a file's name until it is whole. */
#define UNFINISHED ".new"

char *store_path(const struct daemon *daemon, const char *folder, const char *name,
		 const char *suffix)
{
	return g_strdup_printf("%s/%s/%s%s", daemon->state_dir, folder, name, suffix);
}

static bool sync_folder(const char *path, GError **error)
{
	g_autofree char *folder = g_path_get_dirname(path);
	auto_fd fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return error_set_errno(error, errno, "cannot sync '%s'", folder);
	return true;
}

static bool write_all(int fd, const char *text)
{
	for (size_t left = strlen(text); left > 0;) {
		ssize_t n = write(fd, text, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		text += n;
		left -= n;
	}
	return true;
}

static bool replace(const char *path, const char *text, GError **error)
{
	g_autofree char *temporary = g_strconcat(path, UNFINISHED, NULL);
	auto_fd fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || !write_all(fd, text) || fsync(fd) < 0 || rename(temporary, path) < 0) {
		error_set_errno(error, errno, "cannot write '%s'", path);
		unlink(temporary);
		return false;
	}
	return sync_folder(path, error);
}

bool store_write_now(const char *path, const char *text, GError **error)
{
	if (text)
		return replace(path, text, error);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set_errno(error, errno, "cannot remove '%s'", path);
	return sync_folder(path, error);
}

struct write_job {
	struct aio_job job;
	char *path, *text;
	GError *error;
	store_done_fn *done;
	void *opaque;
};

static void work(void *opaque)
{
	struct write_job *job = opaque;
	store_write_now(job->path, job->text, &job->error);
}

static void finished(void *opaque)
{
	struct write_job *job = opaque;
	job->done(job->opaque, job->error);
	g_clear_error(&job->error);
	g_free(job->path);
	g_free(job->text);
	g_free(job);
}

void store_write(struct daemon *daemon, const char *path, const char *text, store_done_fn *done,
		 void *opaque)
{
	struct write_job *job = g_new0(struct write_job, 1);
	job->job = (struct aio_job){.work = work, .done = finished, .opaque = job, .loop = daemon->loop};
	job->path = g_strdup(path);
	job->text = g_strdup(text);
	job->done = done;
	job->opaque = opaque;
	aio_pool_submit(daemon->pool, &job->job);
}

/* What a daemon that was killed had begun to write: nobody was told that it is there. */
static void remove_unfinished(const char *folder)
{
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *entry;
	while (dir && (entry = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(folder, entry, NULL);
		if (g_str_has_suffix(entry, UNFINISHED) && unlink(path) < 0)
			log_warning("cannot remove '%s': %s", path, g_strerror(errno));
	}
}

bool store_make_folders(const struct daemon *daemon, const char *const *names, GError **error)
{
	for (; *names; names++) {
		g_autofree char *path = g_build_filename(daemon->state_dir, *names, NULL);
		if (g_mkdir_with_parents(path, 0700) < 0)
			return error_set_errno(error, errno, "cannot create the folder '%s'", path);
		remove_unfinished(path);
	}
	return true;
}

void store_remove_folder(const char *path)
{
	g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
	const char *name;
	while (folder && (name = g_dir_read_name(folder))) {
		g_autofree char *file = g_build_filename(path, name, NULL);
		if (unlink(file) < 0)
			log_warning("cannot remove '%s': %s", file, g_strerror(errno));
	}
	if (rmdir(path) < 0 && errno != ENOENT)
		log_warning("cannot remove the folder '%s': %s", path, g_strerror(errno));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *store_list(const struct daemon *daemon, const char *name, const char *suffix)
{
	g_autofree char *folder = g_build_filename(daemon->state_dir, name, NULL);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
	const char *entry;
	while (dir && (entry = g_dir_read_name(dir))) {
		if (g_str_has_suffix(entry, suffix))
			g_ptr_array_add(paths, g_build_filename(folder, entry, NULL));
	}
	g_ptr_array_sort(paths, compare_names);
	return paths;
}

char *store_boot_mark(void)
{
	g_autofree char *id = NULL;
	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &id, NULL, NULL))
		return g_strdup("<!-- active -->\n");
	return g_strdup_printf("<!-- active in boot %s -->\n", g_strchomp(id));
}
