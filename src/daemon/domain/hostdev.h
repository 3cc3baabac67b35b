/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's PCI devices of a domain: taken before its VMM opens them, given back when it has done with them. */
#pragma once

#include "daemon/domain/domain.h"

/* `error` is borrowed; NULL: they are the domain's. */
typedef void hostdevs_done_fn(void *opaque, const GError *error);
/*
 * Take all that `conf` has, one after the other; `done` is called when that is over, perhaps at once. What was taken,
 * also if it fails, is given back by hostdevs_settle().
 */
void hostdevs_claim(struct domain *dom, const struct conf_domain *conf, hostdevs_done_fn *done, void *opaque);
/* The one that is about to be plugged in. */
void hostdev_claim(struct domain *dom, const struct conf_domain_hostdev *hostdev, hostdevs_done_fn *done,
		   void *opaque);
/* Is this element one? */
bool hostdev_is_one(const xmlNode *node);
/* The same device in a document's <devices>; NULL: there is none. */
xmlNode *hostdev_find(const xmlNode *devices, const xmlNode *wanted);
/*
 * The domain has those of its live document, or none; others are given back. While one is being plugged in
 * (dom->claiming) nothing happens, as it is in no document yet.
 */
void hostdevs_settle(struct domain *dom);
/* A VMM of a former daemon's has those of the live document. */
void hostdevs_recall(const struct domain *dom);
