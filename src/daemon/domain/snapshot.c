/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/snapshot.h"

static struct conf_moment *parse(const char *text, GError **error)
{
	return (struct conf_moment *)conf_snapshot_parse(text, error);
}

static char *format(const struct conf_moment *moment)
{
	return conf_snapshot_format((const struct conf_snapshot *)moment);
}

static void free_snapshot(void *moment)
{
	conf_snapshot_free(moment);
}

const struct moment_kind snapshot_kind = {"snapshots", "snapshot", VIRT_NO_SNAPSHOT, parse, format,
					  free_snapshot};

struct conf_snapshot *snapshot_find(const struct domain *dom, const char *name)
{
	return (struct conf_snapshot *)moments_find(dom->snapshots, name);
}
