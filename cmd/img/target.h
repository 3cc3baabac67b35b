/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making a target, and removing it if the command does not finish. One target a process; `name` must
 * live as long as it is watched.
 */
#pragma once

#include "image.h"

/* Make the image, and watch it: an error or a signal from here on takes it away. */
bool target_create(const struct image_env *env, const char *name, const char *format, uint64_t size,
		   const json_t *options, GError **error);
/* It is open: watch the further files that it consists of, too. */
void target_opened(const struct block_node *node);
/* A signal has come, and the target is one that the command must remove itself: stop. */
bool target_interrupted(void);
/* The target is complete. */
void target_keep(void);
/* Something failed, or a signal came, of which the process then dies: remove what was begun. It is closed. */
void target_remove(const struct image_env *env);
