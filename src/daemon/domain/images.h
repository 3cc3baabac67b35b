/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The images of running domains: who uses which. */
#pragma once

#include "daemon/domain/domain.h"

/*
 * Which other running domain uses an image of `dom`'s, which must be about to run, so that the lock of
 * one keeps the other out? A clause that names both, or NULL. Free with g_free().
 */
char *images_other_user(const struct domain *dom);
