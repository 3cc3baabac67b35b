/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device: a const class (name, property table, operations) and an instance that embeds
 * `struct device` as its first field. No inheritance beyond that embedding, no registry by
 * constructor: machine/devices.c lists the classes.
 *
 * A device's life, in order; each step is one operation so that hotplug and sandboxing need no
 * special case:
 *   device_new()      instance with default properties
 *   device_set()      properties from -device, by name
 *   open              take host resources (files, sockets); may fail; before the sandbox closes
 *   create            build the device: regions, rings, IRQs; pure apart from memory
 *   reset             to power-on state; at start and at each machine reset
 *   start / stop      VM runs / is paused: stop returns with nothing of the device in flight
 *   destroy           free everything; no vCPU runs
 *
 * All of these run on the main thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;
struct device;

enum property_type {
	PROPERTY_BOOL,   /* bool */
	PROPERTY_U8, PROPERTY_U16, PROPERTY_U32, PROPERTY_U64,
	PROPERTY_SIZE,   /* uint64_t, written with units */
	PROPERTY_STRING, /* char *, owned, may be NULL */
	PROPERTY_ENUM,   /* int: index into `names` */
	PROPERTY_MAC,    /* uint8_t[6] */
	PROPERTY_PCI_ADDR, /* int: device << 3 | function, -1: automatic. "5" or "5.1" */
	PROPERTY_DRIVE,  /* struct block_node *: by -drive id or -blockdev node-name */
	PROPERTY_NETDEV, /* struct net_backend *: by -netdev id */
	PROPERTY_CHARDEV,/* struct chardev *: by -chardev id */
	PROPERTY_MEMDEV, /* struct ram_block *: by the id of a -object memory-backend-*, its name */
};

struct property {
	const char *name;
	enum property_type type;
	size_t offset;
	const char *initial;       /* as a person would write it; NULL: zero */
	const char *const *names;  /* PROPERTY_ENUM, NULL-terminated */
	const char *help;
};

#define PROPERTY(struct_, field_, name_, type_, initial_, help_)                                   \
	{.name = name_, .type = type_, .offset = offsetof(struct_, field_), .initial = initial_,   \
	 .help = help_}

struct device_class {
	const char *name;          /* QEMU's, as in -device NAME */
	const char *alias;         /* another accepted name, or NULL */
	const char *description;
	const char *bus;           /* "PCI", "virtio", "ISA", "IDE", "System" */
	const char *category;      /* "storage", "network", "input", "display", "misc", "bridge" */
	const struct property *properties; /* ended by name == NULL; may be NULL */
	/* Those that every device of its bus has (PCI's addr...); may be NULL. The offsets too count
	 * from the instance's start. */
	const struct property *bus_properties;
	size_t size;
	bool (*open)(struct device *dev, GError **error);
	bool (*create)(struct device *dev, GError **error);
	void (*reset)(struct device *dev);
	void (*start)(struct device *dev);
	void (*stop)(struct device *dev);
	void (*destroy)(struct device *dev);
};

struct device {
	const struct device_class *class;
	char *id; /* from -device id=..., or NULL */
	struct vm *vm;
	void *bus; /* struct pci_bus *, struct virtio_bus *...; set before `open` */
	bool created;
};

/* Looks up back ends by id for PROPERTY_DRIVE, _NETDEV, _CHARDEV and _MEMDEV. Implemented by machine/. */
struct device_resolver {
	void *(*find)(void *opaque, enum property_type type, const char *id, GError **error);
	void *opaque;
};

/* Never fails: defaults in property tables are ours. `id` is copied and may be NULL. */
struct device *device_new(const struct device_class *class, const char *id, struct vm *vm);
/* Unknown names give an error with the nearest valid one. */
bool device_set(struct device *dev, const char *name, const char *value,
		const struct device_resolver *resolver, GError **error);
/* The value as a person would write it ("on", "0x10", "52:54:00:12:34:56"), or NULL. g_free(). */
char *device_get(const struct device *dev, const char *name);
/* One line per property, for `-device NAME,help`. g_free(). */
char *device_class_help(const struct device_class *class);
/* open, create, reset. On failure the device is still to be freed with device_free(). */
bool device_realize(struct device *dev, GError **error);
void device_reset(struct device *dev);
void device_start(struct device *dev);
void device_stop(struct device *dev);
/* destroy, then the instance and its property strings. NULL is allowed. */
void device_free(struct device *dev);
