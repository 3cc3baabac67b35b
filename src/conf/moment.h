/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libvirt's XML says alike of snapshots and checkpoints: a moment of a domain, and its place in a tree.
 */
#pragma once

#include "codec/xml.h"

#include <stdint.h>

struct conf_moment {
	char *name;
	char *description, *parent; /* or NULL */
	int64_t created;            /* seconds since 1970; 0: not said */
	char *domain;               /* its document then, or NULL */
};

/*
 * Read the elements of `root`, which the grammar has passed. `noun` is what a person calls it: "snapshot". A
 * name that is missing is the time.
 */
bool conf_moment_read(struct conf_moment *moment, const xmlNode *root, const char *noun, GError **error);
void conf_moment_clear(struct conf_moment *moment);
/* Name, description, state (or NULL), parent and time. */
void conf_moment_format(const struct conf_moment *moment, const char *state, struct xml_writer *w);
/* The document, the last element of all. */
void conf_moment_format_domain(const struct conf_moment *moment, struct xml_writer *w);
