/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory devices of a domain: as the VMM wants to hear of them, and what changes with them. */
#pragma once

#include "daemon/domain/change.h"

/* JSON for command line and QMP alike; the caller owns it. */
json_t *memory_object(const struct conf_domain *conf, const struct conf_domain_memory *memory);
json_t *memory_device(const struct conf_domain *conf, const struct conf_domain_memory *memory);
/* Let a backend object be of these nodes of the host; the mode must not be "restrictive". */
void memory_bind(json_t *object, enum conf_numa_mode mode, const char *nodeset);
/* As <numatune> has it for the guest's node, if at all. */
void memory_bind_cell(json_t *object, const struct conf_domain *conf, unsigned cell);
/* Fails if the host lacks a node that <numatune> names. */
bool memory_check_host_nodes(const struct conf_domain *conf, GError **error);
/* Let a backend object have huge pages; 0: of the VMM's usual size. */
void memory_set_huge(json_t *object, uint64_t page_kib);
/* Let all of it be taken at the start, as <allocation> has it. */
void memory_set_taken(json_t *object, const struct conf_domain_backing *backing);
/* What all the memory at power-on is, for -machine memory-backend=; NULL: the VMM's usual, or by nodes. A file
   is made in `folder`. */
#define MEMORY_BOOT_ID "pc.ram"
json_t *memory_boot_object(const struct conf_domain *conf, const char *folder);
/* "-numa" options, each after its name: the guest's nodes, and their memory if it is of its own. */
void memory_add_nodes(GPtrArray *args, const struct conf_domain *conf, const char *folder);
/* The value of -m. Free with g_free(). */
char *memory_size(const struct conf_domain *conf);

/* The <memory> in `devices` that a client's means: its place if it tells one, else the first alike; NULL: none. */
xmlNode *memory_find(const xmlNode *devices, const xmlNode *wanted);
/* The document gets the device, or loses it: its sums change. */
void memory_count(xmlNode *root, const xmlNode *device, bool added);
void memory_plan_attach(struct domain_change *change, const struct conf_domain *conf,
			const struct conf_domain_memory *memory);
bool memory_plan_update(struct domain_change *change, const struct conf_domain_memory *old,
			const struct conf_domain_memory *next, GError **error);
/* The size of a module; 0: it is a virtio-mem, which the balloon does not count. */
uint64_t memory_module_kib(const struct conf_domain_memory *memory);
/* A module has come or gone: what the balloon leaves the guest is another amount. */
void memory_changed(struct domain *dom, uint64_t module_kib, bool added);
/* The VMM says how much of a virtio-mem device the guest has plugged in. Not trusted. */
void memory_resized(struct domain *dom, const char *alias, uint64_t bytes);
/* Ask a VMM that a former daemon started for what nobody heard meanwhile. */
void memory_recall(struct domain *dom);
