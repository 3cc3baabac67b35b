/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A backup of a domain's disks as libvirt's XML describes it, from a client or from the daemon's own file. */
#pragma once

#include "conf/domain.h"

/* What has become of the job of one disk. */
enum conf_backup_state {
	CONF_BACKUP_NONE, CONF_BACKUP_RUNNING, CONF_BACKUP_COMPLETE, CONF_BACKUP_FAILED, CONF_BACKUP_CANCELLED,
};

struct conf_backup_disk {
	char *name; /* the disk's target */
	char *alias; /* the device's, once it runs: the disk may be unplugged before its backup ends */
	bool excluded, block;
	bool full;  /* said so, although the backup is incremental */
	bool partial; /* said to be incremental */
	char *file, *format;              /* what is written: the backup, or of pull mode the scratch image */
	char *incremental;                /* the checkpoint since which; NULL: all */
	char *export_name, *export_bitmap; /* of pull mode; or NULL */
	enum conf_backup_state state;
};

struct conf_backup {
	bool pull;
	char *incremental;        /* of disks that do not say; or NULL */
	char *socket, *host, *port; /* the NBD server of pull mode; socket, or host and port */
	bool tls, tls_said;
	bool reuse;               /* the images were there before */
	GPtrArray *disks;         /* struct conf_backup_disk */
};

/*
 * Errors name element and line. `internal`: from the daemon's own file, with what only that has. Free with
 * the function below.
 */
struct conf_backup *conf_backup_parse(const char *text, bool internal, GError **error);
void conf_backup_free(struct conf_backup *backup);
/* Free with g_free(). */
char *conf_backup_format(const struct conf_backup *backup, bool internal);
/*
 * Every disk of `domain` gets its place in the list. If none is named, all that can be written to are backed
 * up; an image that is not named is beside the disk's, with `suffix`.
 */
bool conf_backup_align(struct conf_backup *backup, const struct conf_domain *domain, const char *suffix,
		       GError **error);
