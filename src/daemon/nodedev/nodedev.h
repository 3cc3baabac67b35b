/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Node devices: the machine's hardware as libvirt's clients see it. sysfs is the truth: a table of
 * names is kept to tell what came and went (the kernel's uevents say when to look), and a device's
 * XML is read out of sysfs whenever it is asked for. Everything belongs to the loop's thread.
 */
#pragma once

#include "codec/xml.h"
#include "daemon/rpc/rpc.h"

/* libvirt's numbers of capabilities. */
enum nodedev_cap {
	NODEDEV_SYSTEM, NODEDEV_PCI, NODEDEV_USB_DEVICE, NODEDEV_USB, NODEDEV_NET, NODEDEV_SCSI_HOST,
	NODEDEV_SCSI_TARGET, NODEDEV_SCSI, NODEDEV_STORAGE, NODEDEV_FC_HOST, NODEDEV_VPORTS,
	NODEDEV_SCSI_GENERIC, NODEDEV_DRM, NODEDEV_MDEV_TYPES, NODEDEV_MDEV, NODEDEV_CCW, NODEDEV_CSS,
	NODEDEV_VDPA, NODEDEV_AP_CARD, NODEDEV_AP_QUEUE, NODEDEV_AP_MATRIX, NODEDEV_VPD, NODEDEV_CAPS,
};
/* "system", "pci"... */
extern const char *const nodedev_cap_names[NODEDEV_CAPS];

struct nodedev {
	char *name;
	char *path;   /* below sysfs's mount point, without links; NULL: the computer */
	char *parent; /* the name of another one; NULL: the computer */
	const struct nodedev_kind *kind;
};

/* A kind of device: where the kernel lists them, how they are named, and what they have to tell. */
struct nodedev_kind {
	enum nodedev_cap cap;
	const char *folder;    /* below sysfs: "bus/pci/devices"; NULL: the computer */
	const char *subsystem; /* the first word of its name */
	/* Whether the entry `name` at `path` is one; NULL: all are. */
	bool (*is_one)(const char *path, const char *name);
	/* What is added to the name; NULL: nothing. Free with g_free(). */
	char *(*suffix)(const char *path);
	/* Elements of its capability. */
	void (*write)(struct xml_writer *w, const struct nodedev *dev, const struct host *host);
};

struct nodedevs {
	struct daemon *daemon;
	char *sysfs;
	GHashTable *by_name; /* to struct nodedev, which it owns */
	int uevents;         /* -1: the kernel tells nothing */
	struct aio_watch *watch;
	struct aio_pool *worker; /* one thread: gives PCI devices to guests and back */
	GHashTable *claims;      /* a PCI device's address to whose it is (assign.c); NULL: nobody's */
};

/*
 * `sysfs` is where it is mounted: "/sys". Without uevents (in some containers) the table is read anew
 * for each list.
 */
struct nodedevs *nodedevs_new(struct daemon *daemon, const char *sysfs);
/* NULL is fine. */
void nodedevs_free(struct nodedevs *devs);
/* Read the table anew and tell clients of the differences. */
void nodedevs_refresh(struct nodedevs *devs);
/* Devices (borrowed), by name, that have one of the capabilities (bits of 1 << cap). */
GPtrArray *nodedevs_list(struct nodedevs *devs, uint32_t caps);
/* NULL with libvirt's error. */
struct nodedev *nodedev_find(struct nodedevs *devs, const char *name, GError **error);
/* The SCSI host that is the Fibre Channel port of these names, in hexadecimal digits; NULL: there is none. */
struct nodedev *nodedev_find_wwn(struct nodedevs *devs, const char *wwnn, const char *wwpn);
/* What stands for a device where a UUID is wanted: rpc_event_register(). */
void nodedev_key(const char *name, uint8_t key[16]);
/* Free with g_free(). */
char *nodedev_format(const struct nodedev *dev, const struct host *host);

/* --- Domains' devices (assign.c) ------------------------------------------------------------- */

/* `error` is borrowed; NULL: it is done. */
typedef void nodedev_done_fn(void *opaque, const GError *error);
/*
 * The PCI device ("0000:01:00.0") is to be the domain's: from now on nobody else gets it. A managed one is taken
 * from its driver and given to vfio-pci, others must have been. `done` is called when that is over, perhaps at once;
 * after an error the claim, if it was not another's, stands until nodedev_release().
 */
void nodedev_claim(struct nodedevs *devs, const char *address, const char *owner, bool managed,
		   nodedev_done_fn *done, void *opaque);
/* A running domain of a former daemon's has it. */
void nodedev_remember(struct nodedevs *devs, const char *address, const char *owner, bool managed);
/*
 * The domain has no devices but `kept` (NULL-ended addresses) any more: the others are free, and managed ones go back
 * to their drivers. What fails is in the log. `devs` may be NULL.
 */
void nodedev_release(struct nodedevs *devs, const char *owner, const char *const *kept);

/* --- Inside (scan.c, sysfs.c, uevent.c) ------------------------------------------------------- */

/* All devices by name, of a table that owns them. */
GHashTable *nodedev_scan(const char *sysfs);
/* The kernel's or udev's messages about devices, or -1 with an error. */
int uevent_open(GError **error);
struct uevent {
	bool changed;    /* and neither came nor went */
	char path[1024]; /* below sysfs; "": not said */
};
/* The next message, or an empty one for those that were lost; false: there is none. */
bool uevent_next(int fd, struct uevent *event);

/* The file's text without white space at the ends; NULL: there is none. Free with g_free(). */
char *sysfs_text(const char *path, const char *name);
/* The number in the file, of any base; false: there is none. */
bool sysfs_number(const char *path, const char *name, uint64_t *number);
/* The last part of where the link leads; NULL: there is no link. Free with g_free(). */
char *sysfs_link_name(const char *path, const char *name);
/* The value of KEY=value in the device's uevent file. Free with g_free(). */
char *sysfs_uevent(const char *path, const char *key);
/* A property that udev has found out of a block device, if udev runs. Free with g_free(). */
char *udev_property(const char *path, const char *key);

/* <name>text</name> if there is a text. */
void nodedev_leaf(struct xml_writer *w, const char *name, const char *text);
void nodedev_number(struct xml_writer *w, const char *name, uint64_t number);
/* pci.c, net.c, storage.c */
void nodedev_write_pci(struct xml_writer *w, const struct nodedev *dev, const struct host *host);
void nodedev_write_net(struct xml_writer *w, const struct nodedev *dev, const struct host *host);
void nodedev_write_storage(struct xml_writer *w, const struct nodedev *dev, const struct host *host);
bool nodedev_is_storage(const char *path, const char *name);
char *nodedev_storage_serial(const char *path);
