/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of a domain: of its definition, of what runs, or both. A change edits the document; what
 * comes out is read and checked as a new one would be, and only then is the VMM told, by commands that
 * are taken back if one of them fails. Each change is a job.
 */
#pragma once

#include "daemon/domain/steps.h"

/* libvirt's flags; neither: what runs, or else the definition. */
enum { CHANGE_LIVE = 1, CHANGE_CONFIG = 2 };

struct domain_change;
/* Tell by change_add_step() what the VMM must do to come from `old` to `next`. */
typedef bool change_plan_fn(struct domain_change *change, const struct conf_domain *old,
			    const struct conf_domain *next, GError **error);

struct domain_change {
	/* What the caller says. */
	uint32_t flags;
	conf_domain_edit_fn *edit;
	change_plan_fn *plan;       /* NULL: the VMM need not know */
	void (*applied)(struct domain *dom, const struct domain_change *change); /* or NULL */
	void *opaque;               /* of `edit`; freed with `free_opaque` */
	GDestroyNotify free_opaque;
	const void *ret;            /* what the call returns; static */
	GPtrArray *await;           /* aliases of devices that must go before the live document changes */
	/* They have not gone in time. NULL: the call returns, as they may go later. */
	void (*overdue)(struct domain *dom, GError **error);

	/* How far it is. */
	struct domain *dom;
	bool live, config, waiting, planned;
	struct conf_domain *next;   /* the live document to be */
	struct steps *steps, *cleanup;
	GError *error;
};

/* Queue the change, which is taken, and run it. `call` may be NULL. */
void change_submit(struct domain *dom, struct rpc_call *call, struct domain_change *change);
struct domain_change *change_new(uint32_t flags, conf_domain_edit_fn *edit, void *opaque,
				 GDestroyNotify free_opaque);
/* Of one that was not submitted. */
void change_free(void *change);
/* The arguments are taken; `undo` may be NULL. */
void change_add_step(struct domain_change *change, const char *command, json_t *args,
		     const char *undo, json_t *undo_args);
/* getfd: hand the descriptor, which is taken, to the VMM under this name, for the next step. */
void change_add_fd_step(struct domain_change *change, const char *name, int fd);
/* For after a device is gone. */
void change_add_cleanup(struct domain_change *change, const char *command, json_t *args);
/* The VMM says that a device is gone; false: no change waits for that. */
bool change_device_gone(struct domain *dom, const char *alias);
/* The guest keeps a device: the change that waits for it fails. */
void change_device_refused(struct domain *dom, const char *alias);
/*
 * What an edit makes of the live document or of the definition, without a change: what is known of the run is
 * kept. Free with conf_domain_free().
 */
struct conf_domain *change_edit(const struct domain *dom, bool live, conf_domain_edit_fn *edit, void *opaque,
				GError **error);
/* Put it, which is taken, in the place of a running domain's live document. */
void change_live(struct domain *dom, struct conf_domain *next);
/* Which document `flags` (CHANGE_, and libvirt's for strings as parameters) mean; NULL with the call failed. */
const struct conf_domain *change_choose(struct rpc_call *call, const struct remote_domain *wire,
					uint32_t flags);
/* Which parts `flags` mean; fails as libvirt does. */
bool change_resolve(const struct domain *dom, uint32_t flags, bool *live, bool *config, GError **error);
