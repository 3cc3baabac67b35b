/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What moments do to images that no VMM has open, and their files. On a thread of the pool. */
#include "daemon/domain/moment.h"

#include "base/error.h"
#include "block/core/graph.h"
#include "block/core/image.h"
#include "block/job/job.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct image {
	char *file, *format, *overlay, *base;
	bool done;
};

struct file {
	char *path, *text;
};

struct moment_work {
	struct aio_job job;
	struct domain *dom;
	struct moments *moments;
	enum moment_action action;
	char *name, *folder;
	GPtrArray *images, *files;
	GError *error;
	moment_done_fn *done;
	void *opaque;
};

/* --- Life ----------------------------------------------------------------------------------- */

static void image_free(void *opaque)
{
	struct image *image = opaque;
	g_free(image->file);
	g_free(image->format);
	g_free(image->overlay);
	g_free(image->base);
	g_free(image);
}

static void file_free(void *opaque)
{
	struct file *file = opaque;
	g_free(file->path);
	g_free(file->text);
	g_free(file);
}

struct moment_work *moment_work_new(struct domain *dom, struct moments *moments, enum moment_action action,
				    const char *name)
{
	struct moment_work *work = g_new0(struct moment_work, 1);
	work->dom = domain_pin(dom);
	work->moments = moments;
	work->action = action;
	work->name = g_strdup(name);
	work->folder = g_strdup_printf("%s/%s/%s", dom->all->daemon->state_dir, moments->kind->folder,
				       dom->uuid_text);
	work->images = g_ptr_array_new_with_free_func(image_free);
	work->files = g_ptr_array_new_with_free_func(file_free);
	return work;
}

void moment_work_add_image(struct moment_work *work, const char *file, const char *format,
			     const char *overlay)
{
	struct image *image = g_new0(struct image, 1);
	*image = (struct image){g_strdup(file), g_strdup(format), g_strdup(overlay)};
	g_ptr_array_add(work->images, image);
}

void moment_work_add_commit(struct moment_work *work, const char *file, const char *format,
			    const char *overlay, const char *base)
{
	moment_work_add_image(work, file, format, overlay);
	((struct image *)work->images->pdata[work->images->len - 1])->base = g_strdup(base);
}

void moment_work_add_file(struct moment_work *work, const char *path, const char *text)
{
	struct file *file = g_new(struct file, 1);
	*file = (struct file){g_strdup(path), g_strdup(text)};
	g_ptr_array_add(work->files, file);
}

void moment_work_add_metadata(struct moment_work *work, const char *name)
{
	const struct conf_moment *moment = moments_find(work->moments, name);
	g_autofree char *path = g_strdup_printf("%s/%s.xml", work->folder, name);
	g_autofree char *current = g_strdup_printf("%s/.current", work->folder);
	g_autofree char *text = moment ? work->moments->kind->format(moment) : NULL;
	moment_work_add_file(work, path, text);
	moment_work_add_file(work, current, work->moments->current);
}

/* --- Images --------------------------------------------------------------------------------- */

static bool make_overlay(const struct image *image, const char *path, struct aio_loop *loop, GError **error)
{
	const struct block_open_options options = {.filename = image->file, .format = image->format,
						   .readonly = true, .aio = BLOCK_AIO_THREADS};
	struct block_node *below = block_open(&options, loop, error);
	if (!below)
		return false;
	uint64_t size = block_size(below);
	block_close(below);
	json_t *create = json_pack("{s:s, s:s}", "backing_file", image->file, "backing_fmt", image->format);
	bool good = block_create(path, "qcow2", size, create, loop, error);
	json_decref(create);
	return good;
}

/* All of the old one, or nothing of it. */
static bool renew_overlay(const struct image *image, struct aio_loop *loop, GError **error)
{
	g_autofree char *temporary = g_strconcat(image->overlay, ".new", NULL);
	bool good = make_overlay(image, temporary, loop, error) &&
		    (rename(temporary, image->overlay) == 0 ||
		     error_set_errno(error, errno, "cannot replace '%s'", image->overlay));
	if (!good)
		unlink(temporary);
	return good;
}

struct commit {
	GError *error;
	bool ended;
};

static void on_job(void *opaque, const struct block_job *job, enum block_job_event event,
		   const char *operation, const char *action)
{
	struct commit *commit = opaque;
	if (event == JOB_EVENT_READY)
		block_job_complete((struct block_job *)job, &commit->error);
	if (event != JOB_EVENT_COMPLETED && event != JOB_EVENT_CANCELLED)
		return;
	json_t *data = block_job_event_data(job);
	const char *why = json_string_value(json_object_get(data, "error"));
	commit->ended = true;
	if (!commit->error && (why || event == JOB_EVENT_CANCELLED))
		error_set(&commit->error, BERTH_ERR_IO, "%s", why ? why : "the commit was given up");
	json_decref(data);
}

static struct block_node *find_below(struct block_node *node, const char *file, GError **error)
{
	g_autofree char *wanted = g_canonicalize_filename(file, NULL);
	for (; node; node = block_below_filters(block_backing(node))) {
		g_autofree char *its = g_canonicalize_filename(block_filename(node), NULL);
		if (strcmp(its, wanted) == 0)
			return node;
	}
	return (void *)error_set(error, BERTH_ERR_NOT_FOUND, "'%s' is not in its chain", file);
}

/* As the VMM would do it, by the same jobs. `root` is over the chain. */
static bool commit_in_graph(const struct image *image, struct block_graph *graph, struct block_node *root,
			    GError **error)
{
	struct block_commit_options options = {.job.id = "commit"};
	struct commit commit = {0};
	const struct block_jobs_owner owner = {on_job, &commit};
	options.top = find_below(block_below_filters(root), image->overlay, error);
	options.base = options.top ? find_below(block_backing(options.top), image->base, error) : NULL;
	if (!options.base)
		return false;
	struct block_jobs *jobs = block_jobs_new(graph, &owner);
	bool good = block_commit_start(jobs, &options, error);
	while (good && !commit.ended)
		aio_loop_iterate(block_graph_loop(graph), -1);
	block_jobs_free(jobs);
	if (commit.error)
		g_propagate_error(error, commit.error);
	return good && !commit.error;
}

static bool commit_overlay(const struct image *image, struct aio_loop *loop, GError **error)
{
	struct block_graph *graph = block_graph_new(loop);
	const struct block_open_options options = {
		.filename = image->file, .format = image->format, .graph = graph, .anonymous = true,
		.aio = BLOCK_AIO_THREADS};
	struct block_node *node = block_open(&options, loop, error);
	struct block_node *root = node ? block_root_new(graph, node) : NULL;
	bool good = root && commit_in_graph(image, graph, root, error);
	block_close(root);
	block_graph_free(graph);
	return good;
}

static bool change_image(const struct moment_work *work, enum moment_action action,
			 const struct image *image, struct aio_loop *loop, GError **error)
{
	if (action == MOMENT_OVERLAY)
		return make_overlay(image, image->overlay, loop, error);
	if (action == MOMENT_RENEW)
		return renew_overlay(image, loop, error);
	if (action == MOMENT_COMMIT)
		return commit_overlay(image, loop, error);
	const struct block_open_options options = {.filename = image->file, .format = image->format,
						   .aio = BLOCK_AIO_THREADS};
	struct block_node *node = block_open(&options, loop, error);
	if (!node)
		return false;
	int64_t now = g_get_real_time();
	const struct block_snapshot snapshot = {
		.name = work->name, .date_sec = now / G_USEC_PER_SEC,
		.date_nsec = now % G_USEC_PER_SEC * 1000, .disk_size = block_size(node)};
	bool good = action == MOMENT_CREATE ? block_snapshot_create(node, &snapshot, error)
		: action == MOMENT_APPLY ? block_snapshot_apply(node, work->name, error)
					   : block_snapshot_delete(node, work->name, error);
	block_close(node);
	return good;
}

/* What was made in some images, before another one failed, is taken back. */
static void take_back(struct moment_work *work, struct aio_loop *loop)
{
	for (unsigned i = 0; i < work->images->len; i++) {
		const struct image *image = work->images->pdata[i];
		if (image->done && work->action == MOMENT_OVERLAY)
			unlink(image->overlay);
		else if (image->done && work->action == MOMENT_CREATE)
			change_image(work, MOMENT_DELETE, image, loop, NULL);
	}
}

static bool change_images(struct moment_work *work, GError **error)
{
	if (!work->images->len)
		return true;
	struct aio_loop *loop = aio_loop_new(error);
	bool good = loop != NULL;
	for (unsigned i = 0; good && i < work->images->len; i++) {
		struct image *image = work->images->pdata[i];
		good = image->done = change_image(work, work->action, image, loop, error);
		if (!good)
			g_prefix_error(error, "'%s': ", image->overlay ? image->overlay : image->file);
	}
	if (loop && !good)
		take_back(work, loop);
	aio_loop_free(loop);
	return good;
}

/* --- Both ----------------------------------------------------------------------------------- */

static void work_on_thread(void *opaque)
{
	struct moment_work *work = opaque;
	if (g_mkdir_with_parents(work->folder, 0700) < 0) {
		error_set(&work->error, BERTH_ERR_IO, "cannot create the folder '%s'", work->folder);
		return;
	}
	if (!change_images(work, &work->error))
		return;
	for (unsigned i = 0; i < work->files->len; i++) {
		const struct file *file = work->files->pdata[i];
		if (!store_write_now(file->path, file->text, &work->error))
			return;
	}
}

void moment_work_free(struct moment_work *work)
{
	domain_unpin(work->dom);
	g_clear_error(&work->error);
	g_ptr_array_unref(work->images);
	g_ptr_array_unref(work->files);
	g_free(work->name);
	g_free(work->folder);
	g_free(work);
}

static void finished(void *opaque)
{
	struct moment_work *work = opaque;
	work->done(work->opaque, work->error);
	moment_work_free(work);
}

void moment_work_run(struct moment_work *work, moment_done_fn *done, void *opaque)
{
	struct daemon *daemon = work->dom->all->daemon;
	work->done = done;
	work->opaque = opaque;
	work->job = (struct aio_job){.work = work_on_thread, .done = finished, .opaque = work,
				     .loop = daemon->loop};
	aio_pool_submit(daemon->pool, &work->job);
}
