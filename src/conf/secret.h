/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A secret as libvirt's XML describes it: who may use it for what. Its value stands elsewhere. */
#pragma once

#include "codec/xml.h"

#include <stdint.h>

/* libvirt's numbers. */
enum conf_secret_usage {
	CONF_SECRET_NONE, CONF_SECRET_VOLUME, CONF_SECRET_CEPH, CONF_SECRET_ISCSI, CONF_SECRET_TLS,
	CONF_SECRET_VTPM, CONF_SECRET_USAGES,
};

struct conf_secret {
	uint8_t uuid[16];
	enum conf_secret_usage usage;
	char *usage_id;    /* a volume's path, a name...; "" for CONF_SECRET_NONE */
	char *description; /* or NULL */
	bool ephemeral;    /* kept in memory only */
	bool is_private;   /* its value is not shown to any client */
};

/* A UUID is made up if there is none. NULL with *error set. Free with conf_secret_free(). */
struct conf_secret *conf_secret_parse(const char *text, GError **error);
void conf_secret_free(struct conf_secret *secret);
/* As libvirt writes it. Free with g_free(). */
char *conf_secret_format(const struct conf_secret *secret);
