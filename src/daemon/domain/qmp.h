/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QMP client on the daemon's loop. Nothing blocks: each command has a deadline, after which it
 * fails, however the VMM behaves. What the VMM sends is not trusted.
 */
#pragma once

#include "aio/loop.h"

#include <glib.h>
#include <jansson.h>

struct qmp;

/* `result` is borrowed, NULL with an error. The error is borrowed, too. */
typedef void qmp_done_fn(void *opaque, json_t *result, const GError *error);

struct qmp_ops {
	void (*event)(void *opaque, const char *name, const json_t *data);
	/* The connection has ended; commands that were open have failed before. */
	void (*closed)(void *opaque);
};

/* Connect to the VMM's socket. Commands may be sent at once; they wait for the greeting. */
struct qmp *qmp_connect(struct aio_loop *loop, const char *path, const struct qmp_ops *ops,
			void *opaque, GError **error);
/* Open commands fail; closed() is not called. */
void qmp_free(struct qmp *qmp);
/*
 * The same, and a copy of `fd` goes with it (SCM_RIGHTS); -1: none does. Fails at once if the VMM does not
 * read what was sent before.
 */
void qmp_execute_fd(struct qmp *qmp, const char *command, json_t *arguments, int fd, unsigned timeout_ms,
		    qmp_done_fn *done, void *opaque);
/* `arguments` may be NULL; it is taken. `done` may be NULL. */
void qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, unsigned timeout_ms,
		 qmp_done_fn *done, void *opaque);
