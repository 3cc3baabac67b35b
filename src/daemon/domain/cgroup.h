/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control groups (cgroups(7)) of running domains, for what their documents limit. A domain without limits
 * has none: moving a process into a group costs tens of milliseconds. Version 1 hierarchies and the unified
 * one are taken as they are mounted; the groups are berth/UUID below them.
 */
#pragma once

#include "daemon/domain/change.h"

/* Put the limits of `conf` in force, from none or from others. Fails if the host cannot. */
bool cgroup_apply(struct domain *dom, const struct conf_domain *conf, GError **error);
/* The same as the plan of a change: if the host cannot, what was is put back. The VMM has nothing to do. */
bool cgroup_plan(struct domain_change *change, const struct conf_domain *old, const struct conf_domain *next,
		 GError **error);
/*
 * The host's memory nodes (cgroup_nodes.c): as `conf` says, if the group is to say it; `changed`: it must, as
 * memory is elsewhere. Pins are put in force again.
 */
bool cgroup_apply_nodes(struct domain *dom, const struct conf_domain *conf, bool changed, GError **error);
/* The groups of a domain whose VMM has ended. */
void cgroup_remove(const struct domain *dom);
