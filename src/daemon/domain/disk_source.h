/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a disk needs before its image can be opened: the path of its volume, and objects in the VMM that
 * hold its secrets and TLS credentials. Secrets are on no command line, in no document, file or log.
 */
#pragma once

#include "conf/domain.h"
#include "daemon/daemon.h"

#include <jansson.h>

enum disk_object {
	DISK_PASSPHRASE, /* of the encrypted image */
	DISK_PASSWORD,   /* of the server's user */
	DISK_TLS, DISK_OBJECTS,
};

/* Where a disk of type volume is now. NULL with *error set, in libvirt's words; free with g_free(). */
char *disk_volume_path(const struct daemon *daemon, const struct conf_domain_disk *disk, GError **error);
/*
 * Look up the paths of all volumes. `known`, which may be NULL, is the document of the domain as it runs: a
 * volume that is in it is where it was. Fails in libvirt's words.
 */
bool disk_sources_resolve(const struct daemon *daemon, struct conf_domain *conf,
			  const struct conf_domain *known, GError **error);
/* The same as far as it goes, for a domain of a former daemon. */
void disk_sources_restore(const struct daemon *daemon, struct conf_domain *conf);
bool disk_needs_object(const struct conf_domain_disk *disk, enum disk_object kind);
/* Its id in the VMM. Free with g_free(). */
char *disk_object_id(const struct conf_domain_disk *disk, enum disk_object kind);
/*
 * What object-add takes, and, without its "qom-type", -object. A secret has its value in it; with `file`,
 * that the value is read from there. NULL with *error set: there is no such secret. The caller owns it.
 */
json_t *disk_object(const struct daemon *daemon, const struct conf_domain_disk *disk, enum disk_object kind,
		    const char *file, GError **error);
/*
 * For a VMM that starts: append a pipe to `fds` (int) for each secret of each disk, in the order of enum
 * disk_object, which has the value in base64 and then ends, and which `user`, if not NULL, can open.
 */
struct vmm_user;
bool disk_secrets_open_all(const struct daemon *daemon, const struct conf_domain *conf,
			   const struct vmm_user *user, GArray *fds, GError **error);
