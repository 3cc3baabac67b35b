/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moments of a domain, its snapshots or its checkpoints: a tree of documents, in STATE/FOLDER/UUID, a file
 * each; and the work on images and files, which is done on a thread.
 */
#pragma once

#include "conf/moment.h"
#include "daemon/domain/domain.h"

#include <jansson.h>

/* What the two differ in. */
struct moment_kind {
	const char *folder; /* "snapshots" */
	const char *noun;   /* "snapshot" */
	enum virt_code missing; /* there is none of that name */
	struct conf_moment *(*parse)(const char *text, GError **error);
	char *(*format)(const struct conf_moment *moment);
	void (*free)(void *moment);
};

struct moments {
	const struct moment_kind *kind;
	GPtrArray *list; /* struct conf_moment, each the first member of the kind's own */
	char *current;   /* or NULL */
};

/* Those of a domain that has just been added. */
struct moments *moments_load(const struct domain *dom, const struct moment_kind *kind);
void moments_free(struct moments *moments);
/* NULL: there is none of that name. */
struct conf_moment *moments_find(const struct moments *moments, const char *name);
/* The same with libvirt's error. */
struct conf_moment *moments_need(const struct moments *moments, const char *name, GError **error);
/* Takes it; one of the same name gives way. */
void moments_add(struct moments *moments, struct conf_moment *moment);
/* Its children become its parent's. */
void moments_remove(struct moments *moments, struct conf_moment *moment);
/* NULL: none is the current one. */
void moments_set_current(struct moments *moments, const char *name);
/* All of a domain that is being undefined, and their files. */
void moments_forget(const struct domain *dom, struct moments *moments);
/* For one that a client tells of: its parent is a known one, and not itself, straight or over others. */
bool moments_check_parent(const struct moments *moments, const struct conf_moment *moment, GError **error);

/*
 * May a snapshot of the stopped domain be made or gone back to? Not with checkpoints, whose bitmaps would not
 * know of it.
 */
bool moments_allow_stopped(const struct domain *dom, GError **error);

/*
 * libvirt's flags that both kinds have. The first means the opposite for a domain: only those without a
 * parent.
 */
enum { MOMENTS_ROOTS = 1, MOMENTS_DESCENDANTS = 1, MOMENTS_LEAVES = 4, MOMENTS_NO_LEAVES = 8 };
/*
 * Those (borrowed) of the domain or, with `root`, below that one, parents before their children. The caller
 * frees the array.
 */
GPtrArray *moments_select(const struct moments *moments, const char *root, uint32_t flags);

/* --- Work (moment_work.c) --------------------------------------------------------------------- */

enum moment_action { MOMENT_FILES_ONLY, MOMENT_CREATE, MOMENT_APPLY, MOMENT_DELETE, MOMENT_OVERLAY,
		    MOMENT_RENEW, MOMENT_COMMIT };

struct moment_work;
typedef void moment_done_fn(void *opaque, const GError *error);

/* Of the moment with that name. */
struct moment_work *moment_work_new(struct domain *dom, struct moments *moments, enum moment_action action,
				    const char *name);
/*
 * An image to do it in or, for an overlay, the image that `overlay` lies on; to renew one is to empty it.
 */
void moment_work_add_image(struct moment_work *work, const char *file, const char *format,
			   const char *overlay);
/* The image `file` lies on `overlay`, or is it: what that holds goes into `base`, which takes its place. */
void moment_work_add_commit(struct moment_work *work, const char *file, const char *format,
			    const char *overlay, const char *base);
/* A file to be written after that, durably, or with NULL removed. */
void moment_work_add_file(struct moment_work *work, const char *path, const char *text);
/* Write what is known now of a moment, or that it is gone; and which is current. */
void moment_work_add_metadata(struct moment_work *work, const char *name);
/* Without doing it. */
void moment_work_free(struct moment_work *work);
/* Takes the work. `done` is called on the loop with an error that it borrows. */
void moment_work_run(struct moment_work *work, moment_done_fn *done, void *opaque);

/* --- Of a running domain (moment_take.c) ------------------------------------------------------- */

struct domain_job;
struct moment_taker {
	/* What the VMM shall do with its disks, by what query-block answers. */
	bool (*add_actions)(struct domain_job *job, const json_t *blocks, json_t *actions, GError **error);
	/* It is done or, with an error, which is taken, not. */
	void (*taken)(struct domain_job *job, GError *error);
};
/*
 * All of it at one moment, or nothing; with `quiesce` while the guest's agent holds its file systems still.
 * A guest that cannot do that fails the job.
 */
void moment_take(struct domain_job *job, const struct moment_taker *taker, bool quiesce);
