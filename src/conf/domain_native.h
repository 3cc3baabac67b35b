/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A command line of QEMU or berth-vmm as a domain's XML: domxml-from-native. */
#pragma once

#include "conf/vm.h"

/*
 * The document of a domain that is the machine of `vm`, complete as conf_domain_parse() makes it. `vm` is
 * what the options say and nothing more: it is completed here. What only concerns the process (its monitor,
 * log, rights) is left out, since the daemon chooses that; what else the XML has no words for is an error
 * that names it. NULL with *error set; free with g_free().
 */
char *conf_domain_from_vm(struct conf_vm *vm, GError **error);

/* --- For the files of domain_native*.c ----------------------------------------------------------- */

#include "conf/domain.h"

struct native {
	struct conf_vm *vm;
	xmlNode *root, *devices;
	GHashTable *used;    /* drives, back ends and objects that something has taken */
	GHashTable *ports;   /* a root port's id -> its index */
	GHashTable *targets; /* names of disks that are taken */
	uint64_t device_kib; /* memory that is plugged in */
};

/* A device, and what nobody has read of it yet. */
struct native_device {
	const struct conf_item *item;
	struct keyval *props;
	GError **error;
};

/* `...`: names and values of attributes, ended by NULL; a NULL value leaves its attribute out. */
xmlNode *native_add(xmlNode *parent, const char *name, const char *text, ...) G_GNUC_NULL_TERMINATED;
void native_set_number(xmlNode *node, const char *name, uint64_t number);
/* The drive, or the item, of that id, which is taken from then on; NULL with *error set. */
struct conf_drive *native_take_drive(struct native *n, const char *id, GError **error);
struct conf_item *native_take_item(struct native *n, enum conf_item_kind kind, const char *id, GError **error);
/* Fails if a key is left, which has no place in the document. `what`: "-device virtio-blk-pci". */
bool native_all_read(const struct keyval *kv, const char *what, GError **error);
/* Take a switch out; `fallback` if it is not there. Fails on other words than on and off. */
bool native_take_switch(struct keyval *kv, const char *key, bool fallback, bool *on, GError **error);
/* The list host-nodes of a memory backend, as "0,2", or NULL: it has none. Free with g_free(). */
char *native_take_host_nodes(struct keyval *props);
/* domain_native_disk.c: virtio-blk, ide-hd, ide-cd. Attributes of the device go to `node`. */
bool native_disk(struct native *n, struct native_device *dev, xmlNode **node);
/* domain_native_source.c: <source> of a protocol, whose options are taken out of `options`. */
bool native_source(xmlNode *disk, const char *protocol, struct keyval *options, GError **error);
/* domain_native_device.c: all devices, and the streams of -serial. */
bool native_devices(struct native *n, GError **error);
