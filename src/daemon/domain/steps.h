/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands that are run one after the other, and taken back, the last one first, if one of them fails. */
#pragma once

#include "daemon/domain/domain.h"

#include <jansson.h>

struct steps;

/* Free with steps_free(), not before they are done. */
struct steps *steps_new(void);
/* An error of one is only logged, and the next one follows: for what is to go. */
struct steps *steps_new_lenient(void);
void steps_free(struct steps *steps);
/* The arguments are taken; `undo` may be NULL. The commands' names are static. */
void steps_add(struct steps *steps, const char *command, json_t *args, const char *undo, json_t *undo_args);
typedef bool steps_check_fn(const void *opaque, const json_t *result, GError **error);
/* One that asks: the rest is not done if `check` does not like the answer. */
void steps_add_query(struct steps *steps, const char *command, steps_check_fn *check, const void *opaque);
/* getfd: hand the descriptor, which is taken, to the VMM under this name, for the next step. */
void steps_add_fd(struct steps *steps, const char *name, int fd);
/* `error`, in libvirt's words, is borrowed. */
typedef void steps_done_fn(void *opaque, const GError *error);
/* Run them, once. `done` is always called, perhaps at once, when all is done or taken back. */
void steps_run(struct steps *steps, struct domain *dom, steps_done_fn *done, void *opaque);
