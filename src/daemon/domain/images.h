/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The images of running domains, and other files that a VMM opens: who uses which, and whose they are
 * while VMMs run as a user of their own (dynamic_ownership in berthd.conf).
 *
 * What was given to a VMM's user, or allowed by its profile, is in a file of the domain's run folder, so that a
 * later daemon, with other settings perhaps, gives it back. Without that file nothing here does anything. All of it blocks for as
 * long as it takes to read the headers of images.
 */
#pragma once

#include "daemon/domain/domain.h"

#include <jansson.h>

/*
 * Which other running domain uses an image of `dom`'s, which must be about to run, so that the lock of
 * one keeps the other out? A clause that names both, or NULL. Free with g_free().
 */
char *images_other_user(const struct domain *dom);

/*
 * Paths (char *) of the disk's image and those below it, as their headers on this host say: no VMM is asked. Empty if
 * the disk has no file.
 */
GPtrArray *images_chain(const struct conf_domain_disk *disk);

/*
 * The domain's run folder is new: from now on what it may open is written down, if its VMM gets a profile that
 * says so, and files of it are given to `user`, whom its VMM runs as; NULL: they stay whose they are.
 */
bool images_begin(const struct domain *dom, const struct vmm_user *user, GError **error);
/*
 * The VMM is about to open the files of `conf`: give it those that it does not have yet. Those that were
 * given when it fails are left to images_release().
 */
bool images_give(struct domain *dom, const struct conf_domain *conf, GError **error);
/*
 * The same for an image that is in no document yet. `make`: it must not be there, and is made here, empty,
 * because the VMM may not write to the folder. After images_release() it must be in the live document.
 */
bool images_add(struct domain *dom, const char *path, bool make, GError **error);
/* A job is about to write to images below a disk's: `image` is the VMM's ImageInfo of that one. */
bool images_let_write_below(struct domain *dom, const json_t *image, GError **error);
/* What images_add() was called for has ended: images_release() may give it back. */
void images_done(struct domain *dom, const char *path);
/* Nothing has come of images_add(): give it back or, if it was made there and is still empty, remove it. */
void images_drop(struct domain *dom, const char *path, bool made);
/*
 * May the VMM be believed that it has this image open? What it was not given, if things are given to it,
 * must not come into a document by its word: at the next start it would be.
 */
bool images_may_have(const struct domain *dom, const char *path);
/* What was given, as apparmor.h takes it: a new reference. */
json_t *images_allowed(const struct domain *dom);
/* Give back what the live document, if there still is one, does not need; errors are in the log. */
void images_release(struct domain *dom);
