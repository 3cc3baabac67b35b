/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options of virt-install that each stand for an element of the domain's XML. A table (keys.c) says where
 * the keys of an option go, so that "--rng /dev/urandom,rate.bytes=1024" needs no code of its own.
 */
#pragma once

#include "codec/keyval.h"

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

enum key_kind {
	KEY_TEXT,  /* as it is */
	KEY_ONOFF, /* yes, no, on, off in: on or off */
	KEY_YESNO, /* likewise: yes or no */
	KEY_FLAG,  /* an empty element that is there or not */
	KEY_MIB,   /* a number of MiB; the XML has KiB */
	KEY_ADDRESS, /* HOST:PORT; the path has two attributes with a space between */
};

/*
 * A # in the name is a number or nothing, and # in the path the sibling of that number: "cell#.id" and
 * "numa/cell#/@id". Names without a dot are often short forms.
 */
struct element_key {
	const char *name, *path;
	enum key_kind kind;
};

struct element_option {
	const char *name;    /* without -- */
	const char *alias;   /* another name, or NULL */
	const char *path;    /* of its element in the domain: "devices/rng"; "." is the domain */
	const char *implied; /* the key of a first word without = */
	const char *second;  /* the key of a second one, or NULL */
	bool many;           /* each use makes one more element, "none" makes none */
	const char *standard; /* what "default" means */
	const char *before;  /* keys and values that hold unless others are given */
	const struct element_key *const *keys; /* tables, ended by NULL; a table is ended by a NULL name */
	const char *argument, *help;
};
/* Ended by a NULL name. */
extern const struct element_option element_options[];
#define ELEMENT_OPTIONS 36 /* no more than that */

/* Tables that options with code of their own share. */
extern const struct element_key element_boot_keys[], element_cpu_keys[], element_disk_keys[],
	element_graphics_keys[], element_memory_keys[], element_network_keys[], element_vcpus_keys[],
	element_device_keys[], element_char_keys[];

/* The element at a path below `root`, made if it is not there. */
xmlNode *element_at(xmlNode *root, const char *path);
/* Set what "a/b", "a/@c" or "." means below `root`. */
void element_set(xmlNode *root, const char *path, const char *value);
/* Take the elements of this name out of `parent`. */
void element_remove(xmlNode *parent, const char *name);
/* Set what `key` means by one of the tables; an unknown key is an error that names `option`. */
bool element_apply(xmlNode *element, const struct element_key *const *tables, const char *option,
		   const char *key, const char *value, GError **error);
/* keyval_parse() where a word of digits goes on with the list before it: "cpuset=1-4,6". */
struct keyval *element_parse(const char *text, const char *implied, GError **error);
/* One use of an option; option->path is below `domain`. */
bool element_option_apply(xmlNode *domain, const struct element_option *option, const char *text,
			  GError **error);
