/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 9P transport device, virtio 1.2 section 5.x id 9: a folder of the host for the guest. */
#pragma once

#include "dev/virtio/virtio.h"

struct p9_server;

struct virtio_9p {
	struct virtio_device vdev;
	/* Properties. */
	char *mount_tag, *path;
	int security;    /* enum p9_security */
	bool readonly;
	uint32_t threads;

	struct virtqueue *vq;
	struct p9_server *server;
};

extern const char *const virtio_9p_security_names[];

#define VIRTIO_9P_PROPERTIES(struct_, field_)                                                      \
	VIRTIO_PROPERTIES(struct_, field_.vdev),                                                   \
	PROPERTY(struct_, field_.mount_tag, "mount_tag", PROPERTY_STRING, NULL,                    \
		 "name by which the guest mounts it"),                                             \
	PROPERTY(struct_, field_.path, "path", PROPERTY_STRING, NULL, "folder to share"),          \
	{.name = "security_model", .type = PROPERTY_ENUM,                                          \
	 .offset = offsetof(struct_, field_.security), .initial = "none",                          \
	 .names = virtio_9p_security_names, .help = "whose the guest's files are"},                \
	PROPERTY(struct_, field_.readonly, "readonly", PROPERTY_BOOL, "off",                       \
		 "refuse all changes"),                                                            \
	PROPERTY(struct_, field_.threads, "threads", PROPERTY_U32, "4",                            \
		 "requests that may wait for the disk at once")

extern const struct virtio_type virtio_9p_type;
