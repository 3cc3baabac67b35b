/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A snapshot of a domain as libvirt's XML describes it, from a client or from the daemon's own files. */
#pragma once

#include "conf/domain.h"
#include "conf/moment.h"

enum conf_snapshot_where {
	CONF_SNAPSHOT_DEFAULT, CONF_SNAPSHOT_NONE, CONF_SNAPSHOT_INTERNAL, CONF_SNAPSHOT_EXTERNAL,
};

struct conf_snapshot_disk {
	char *name;   /* the disk's target */
	enum conf_snapshot_where where;
	char *file;   /* external: the image that is written to from then on */
	char *format; /* of it */
};

struct conf_snapshot {
	struct conf_moment moment; /* the first member */
	char *state;               /* shutoff, disk-snapshot...; NULL: the client did not say */
	enum conf_snapshot_where memory;
	GPtrArray *disks;          /* struct conf_snapshot_disk */
};

/* Errors name element and line. `name` may be missing: it is the time then. Free with the function below. */
struct conf_snapshot *conf_snapshot_parse(const char *text, GError **error);
void conf_snapshot_free(struct conf_snapshot *snapshot);
/* Free with g_free(). */
char *conf_snapshot_format(const struct conf_snapshot *snapshot);
/*
 * Every disk of `domain` gets its place in the list: what is not named as `fallback` says, CD-ROMs and
 * read-only disks not at all, and external images the file name that libvirt would choose.
 */
bool conf_snapshot_align(struct conf_snapshot *snapshot, const struct conf_domain *domain,
			 enum conf_snapshot_where fallback, GError **error);
