/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a disk's bytes are if they are in no file of the host that the document names itself, and what
 * opens them: <source> of the types 'volume' and 'network', <auth> and <encryption>.
 */
#pragma once

#include "codec/xml.h"
#include "conf/secret.h"

enum conf_source_kind {
	CONF_SOURCE_FILE, CONF_SOURCE_BLOCK, CONF_SOURCE_VOLUME, CONF_SOURCE_NETWORK,
};

/* A secret that the document names: by its UUID, or by what it is used for. */
struct conf_secret_reference {
	bool given;
	enum conf_secret_usage usage;
	char *usage_id;   /* NULL: by `uuid` */
	uint8_t uuid[16];
};

struct conf_source_host {
	char *name, *port; /* the port may be NULL: the protocol's */
	char *socket;      /* of transport unix; then there is no name */
};

struct conf_disk_source {
	enum conf_source_kind kind;
	char *key; /* of conf_disk_source_key(); NULL: an empty drive */
	char *pool, *volume;
	/* Of the network. All but the protocol may be NULL. */
	char *protocol;             /* nbd, iscsi, rbd, nfs, http, https, ftp, ftps, ssh */
	char *name, *query;
	char *tls_hostname, *initiator, *snapshot, *config;
	char *user, *group;         /* nfs: numbers */
	char *username;             /* of `auth` */
	GPtrArray *hosts;           /* struct conf_source_host; NULL: none */
	bool tls, unverified;       /* nbd: encrypted; https, ftps: any certificate is good */
	struct conf_secret_reference auth;
	struct conf_secret_reference encryption; /* the passphrase of a LUKS image */
};

/*
 * Read what belongs to the disk `node` and refuse what the protocol does not have. *file is the path of a
 * file or block device, or NULL. Free the parts with conf_disk_source_clear().
 */
bool conf_disk_source_read(struct conf_disk_source *source, const xmlNode *node, const char *type,
			   char **file, GError **error);
void conf_disk_source_clear(struct conf_disk_source *source);
/*
 * The same text for the same place: file, volume, or server and name; NULL: an empty drive. Free with
 * g_free().
 */
char *conf_disk_source_key(const xmlNode *disk);
