/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A checkpoint of a domain as libvirt's XML describes it, from a client or from the daemon's own files. */
#pragma once

#include "conf/domain.h"
#include "conf/moment.h"

struct conf_checkpoint_disk {
	char *name;    /* the disk's target */
	char *bitmap;  /* what its dirty bitmap is called; NULL: the disk has no part in it */
	bool excluded; /* the client said so */
	int64_t size;  /* bytes that changed since; -1: not asked for */
};

struct conf_checkpoint {
	struct conf_moment moment; /* the first member */
	GPtrArray *disks;          /* struct conf_checkpoint_disk */
};

/*
 * Errors name element and line. `redefine`: the client tells of one that was there before, so that name and
 * time must be given. Free with the function below.
 */
struct conf_checkpoint *conf_checkpoint_parse(const char *text, bool redefine, GError **error);
void conf_checkpoint_free(struct conf_checkpoint *checkpoint);
/* `domain`: with the document of then. Free with g_free(). */
char *conf_checkpoint_format(const struct conf_checkpoint *checkpoint, bool domain);
/*
 * Every disk of `domain` gets its place in the list. If none is named, all that can be written to have a
 * bitmap, of the checkpoint's name; else only those that are named.
 */
bool conf_checkpoint_align(struct conf_checkpoint *checkpoint, const struct conf_domain *domain,
			   GError **error);
