/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is plugged into the machine: devices, disks, networks, byte streams, objects. Each has a
 * struct, a parser of its option's text and a way back to text. Properties whose meaning belongs to
 * a device class or a back end stay a list (`props`); the owner of the class checks them.
 */
#pragma once

#include "codec/keyval.h"

/* TYPE[,id=ID][,k=v...]: -device, -netdev, -chardev, -object, -fsdev. */
struct conf_item {
	char *type;           /* driver, backend, qom-type... */
	char *id;             /* or NULL */
	char *bus;            /* -device only */
	struct keyval *props; /* the rest, in order */
};
enum conf_item_kind {
	CONF_DEVICE, CONF_NETDEV, CONF_CHARDEV, CONF_OBJECT, CONF_FSDEV, CONF_ITEM_KINDS,
};
struct conf_item *conf_item_new(const char *type, const char *id);
struct conf_item *conf_item_parse(enum conf_item_kind kind, const char *text, GError **error);
/* From a list that has the type under the kind's own key; takes `kv`. */
struct conf_item *conf_item_from_keyval(enum conf_item_kind kind, struct keyval *kv, GError **error);
char *conf_item_format(enum conf_item_kind kind, const struct conf_item *item);
void conf_item_free(struct conf_item *item);
/* "-device" */
const char *conf_item_option(enum conf_item_kind kind);
/* QEMU's rule: letters, digits, '-', '.', '_', beginning with a letter. */
bool conf_id_is_valid(const char *id);

/* -drive, -hda, -cdrom, -blockdev: a disk image and how to treat it. */
enum conf_drive_if {
	CONF_IF_DEFAULT, CONF_IF_NONE, CONF_IF_IDE, CONF_IF_VIRTIO, CONF_IF_PFLASH,
};
enum conf_media { CONF_MEDIA_DISK, CONF_MEDIA_CDROM };
enum conf_cache {
	CONF_CACHE_DEFAULT, CONF_CACHE_WRITEBACK, CONF_CACHE_NONE, CONF_CACHE_WRITETHROUGH,
	CONF_CACHE_DIRECTSYNC, CONF_CACHE_UNSAFE,
};
enum conf_aio { CONF_AIO_DEFAULT, CONF_AIO_THREADS, CONF_AIO_NATIVE, CONF_AIO_URING };
enum conf_discard { CONF_DISCARD_DEFAULT, CONF_DISCARD_UNMAP, CONF_DISCARD_IGNORE };
enum conf_on_error { CONF_ON_ERROR_DEFAULT, CONF_ON_ERROR_REPORT, CONF_ON_ERROR_IGNORE,
		     CONF_ON_ERROR_STOP, CONF_ON_ERROR_ENOSPC };

struct conf_drive {
	char *id, *file, *format;
	int interface, media, cache, aio, discard, detect_zeroes, werror, rerror;
	enum conf_switch readonly, snapshot, locking;
	char *index, *bus, *unit; /* numbers, or NULL: the first free place */

	/* -blockdev */
	bool is_blockdev;         /* `id` is the node's name, `format` its driver */
	struct keyval *node_options; /* what only drivers know: all of the rest, or -drive's backing.* */
	bool direct, no_flush;    /* -drive */
	enum conf_switch auto_readonly;
};
struct conf_drive *conf_drive_new(void);
struct conf_drive *conf_drive_parse(const char *text, GError **error);
struct conf_drive *conf_blockdev_parse(const char *text, GError **error);
/* As above, from a list; takes `kv`. */
struct conf_drive *conf_blockdev_from_keyval(struct keyval *kv, GError **error);
struct conf_drive *conf_drive_copy(const struct conf_drive *drive);
char *conf_drive_format(const struct conf_drive *drive);
void conf_drive_free(struct conf_drive *drive);

/* -nic TYPE,... and -net TYPE,...: a device together with its back end. */
struct conf_nic {
	char *type;            /* user, tap, bridge..., none; NULL: -net nic */
	char *id, *model, *mac, *netdev;
	bool legacy;           /* -net: one device and one back end meet */
	struct keyval *netdev_props;
};
struct conf_nic *conf_nic_parse(const char *text, GError **error);
struct conf_nic *conf_net_parse(const char *text, GError **error);
void conf_nic_free(struct conf_nic *nic);

/* -monitor, -qmp, -qmp-pretty, -mon. */
struct conf_monitor {
	char *spec;    /* as for -serial, or NULL if `chardev` is set */
	char *chardev; /* id */
	bool control;  /* QMP, else the human monitor */
	bool pretty;
};
struct conf_monitor *conf_monitor_new(const char *spec, bool control, bool pretty);
/* -mon chardev=ID,mode=readline|control,pretty=on */
struct conf_monitor *conf_mon_parse(const char *text, GError **error);
void conf_monitor_free(struct conf_monitor *monitor);

/* -global DRIVER.PROPERTY=VALUE or driver=,property=,value= */
struct conf_global {
	char *driver, *property, *value;
};
struct conf_global *conf_global_parse(const char *text, GError **error);
void conf_global_free(struct conf_global *global);

/* -fw_cfg name=,file= or string=; -acpitable file= */
struct conf_blob {
	char *name, *file, *string;
};
struct conf_blob *conf_fw_cfg_parse(const char *text, GError **error);
struct conf_blob *conf_acpitable_parse(const char *text, GError **error);
void conf_blob_free(struct conf_blob *blob);
