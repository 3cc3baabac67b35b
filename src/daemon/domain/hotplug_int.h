/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What plugging in and out, and changing of what is plugged in, share. */
#pragma once

#include "daemon/domain/change.h"
#include "daemon/domain/hotplug.h"

/* What a client gave, and what it stands for in the documents. */
struct device_edit {
	xmlDoc *doc;  /* the client's element, or NULL: by alias */
	char *alias;  /* of the device that changes, once it is known */
	char *before; /* the medium that was in the drive */
	char *target; /* of a disk that goes */
	uint64_t module_kib; /* of a memory module that goes */
	struct domain *claimer; /* pinned: who has claimed a host device for this; or NULL */
};

/* The node in `devices` that the client means, or NULL. */
xmlNode *hotplug_find(const xmlNode *devices, const xmlNode *wanted);
/* There is no such device: false, with libvirt's error. */
bool hotplug_no_device(GError **error, const struct device_edit *edit);
/* The typed device of a node, by its list; NULL: it is of another kind. */
void *hotplug_in_list(const GPtrArray *list, const struct conf_domain_device *dev);

/* hotplug_update.c: the client's device takes the old one's place, and what it leaves out stays. */
bool hotplug_edit_update(xmlNode *root, void *opaque, GError **error);
bool hotplug_plan_update(struct domain_change *change, const struct conf_domain *old,
			 const struct conf_domain *next, GError **error);
void hotplug_updated(struct domain *dom, const struct domain_change *change);
