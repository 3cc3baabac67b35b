/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMMs that AppArmor confines. The profile of one that is made for its domain is in the run folder, where a
 * later daemon finds it. It names the files that images.h has written down: those change before the VMM hears
 * of them, and while the profile is on its way into the kernel, commands to the VMM wait.
 */
#pragma once

#include "daemon/domain/domain.h"

/*
 * What the settings say (berthd.conf: security_driver and so on). False with *error: AppArmor is demanded, and
 * this host has none. Clear with confine_clear().
 */
bool confine_settings(struct confinement *confinement, const char *driver, bool by_default, bool required,
		      GError **error);
void confine_clear(struct confinement *confinement);

/*
 * Before a start: which profile is it to have? One that is made for it is in the live document from now on.
 * False: what the document, or the host's administrator, wants cannot be had.
 */
bool confine_choose(struct domain *dom, GError **error);
/* Is it to have, or has it, a profile of its own? */
bool confine_makes_profile(const struct domain *dom);
/* Write that profile, with what was given to the domain, for the VMM that is about to start. */
bool confine_write(const struct domain *dom, GError **error);
/* The file of the profile to be loaded, or NULL. Free with g_free(). */
char *confine_file(const struct domain *dom);

/* What the running domain was given has changed. Errors come to those whose commands wait; else to the log. */
void confine_update(struct domain *dom);
/*
 * Is the profile on its way? Then `ready` is called, once and later, when a command may go to the VMM: with an
 * error, which it borrows, if it may not. In the order of the calls.
 */
typedef void confine_ready_fn(void *opaque, const GError *error);
bool confine_await(struct domain *dom, confine_ready_fn *ready, void *opaque);
/* The VMM has ended: unload the profile. Before the run folder goes. */
void confine_end(struct domain *dom);
/* Commands to the VMM will not go any more; who waits hears of it. What is on its way to the kernel arrives. */
void confine_release(struct domain *dom);
