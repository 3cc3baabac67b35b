/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory that a guest boots with: its nodes, and which of the host's nodes it is of. */
#include "daemon/domain/memory.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* --- Of the host ------------------------------------------------------------------------------ */

void memory_bind(json_t *object, enum conf_numa_mode mode, const char *nodeset)
{
	static const char *const policies[CONF_NUMA_MODES] = {
		[CONF_NUMA_STRICT] = "bind",
		[CONF_NUMA_PREFERRED] = "preferred",
		[CONF_NUMA_INTERLEAVE] = "interleave",
	};
	uint8_t map[CONF_NUMA_HOST_NODES / 8];
	json_t *list = json_array();
	conf_cpuset_parse(nodeset, map, sizeof(map));
	for (unsigned node = 0; node < CONF_NUMA_HOST_NODES; node++) {
		if (map[node / 8] >> node % 8 & 1)
			json_array_append_new(list, json_integer(node));
	}
	json_object_set_new(object, "policy", json_string(policies[mode]));
	json_object_set_new(object, "host-nodes", list);
}

void memory_bind_cell(json_t *object, const struct conf_domain *conf, unsigned cell)
{
	const struct conf_numa_policy *policy = conf_numatune_policy(&conf->numatune, cell);
	if (policy && policy->mode != CONF_NUMA_RESTRICTIVE)
		memory_bind(object, policy->mode, policy->nodeset);
}

static bool check_nodes(const struct conf_numa_policy *policy, GError **error)
{
	uint8_t map[CONF_NUMA_HOST_NODES / 8];
	if (!policy->nodeset)
		return true;
	conf_cpuset_parse(policy->nodeset, map, sizeof(map));
	for (unsigned node = 0; node < CONF_NUMA_HOST_NODES; node++) {
		char path[64];
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", node);
		if (map[node / 8] >> node % 8 & 1 && !g_file_test(path, G_FILE_TEST_IS_DIR))
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "NUMA node %u is unavailable: the host has no such node, which <numatune> "
					 "names", node);
	}
	return true;
}

bool memory_check_host_nodes(const struct conf_domain *conf, GError **error)
{
	const struct conf_numatune *tune = &conf->numatune;
	for (unsigned i = 0; tune->cells && i < tune->cell_count; i++) {
		if (!check_nodes(&tune->cells[i], error))
			return false;
	}
	return check_nodes(&tune->memory, error);
}

/* --- As arguments ----------------------------------------------------------------------------- */

void memory_set_huge(json_t *object, uint64_t page_kib)
{
	json_object_set_new(object, "hugetlb", json_true());
	if (page_kib)
		json_object_set_new(object, "hugetlbsize", json_integer((json_int_t)page_kib * 1024));
}

void memory_set_taken(json_t *object, const struct conf_domain_backing *backing)
{
	json_object_set_new(object, "prealloc", json_true());
	if (backing->threads)
		json_object_set_new(object, "prealloc-threads", json_integer(backing->threads));
}

/* The kind of backend. Huge pages come by memfd, which needs no hugetlbfs mount. */
static const char *backend_type(const struct conf_domain_backing *backing)
{
	if (backing->huge || backing->source == CONF_DOMAIN_MEMORY_MEMFD)
		return "memory-backend-memfd";
	return backing->source == CONF_DOMAIN_MEMORY_FILE ? "memory-backend-file" : "memory-backend-ram";
}

static json_t *boot_object(const struct conf_domain *conf, const char *id, uint64_t kib, unsigned cell,
			   const char *folder)
{
	const struct conf_domain_backing *backing = &conf->backing;
	const char *type = backend_type(backing);
	json_t *object = json_pack("{s:s, s:s, s:I, s:b}", "qom-type", type, "id", id, "size",
				   (json_int_t)kib * 1024, "share", backing->shared);
	if (!strcmp(type, "memory-backend-file"))
		json_object_set_new(object, "mem-path", json_string(folder));
	if (backing->huge)
		memory_set_huge(object, backing->page_kib);
	/* A huge page that is not there when the guest touches it ends the VMM: they are taken before. */
	if (backing->huge || backing->immediate)
		memory_set_taken(object, backing);
	if (backing->discard)
		json_object_set_new(object, "discard-data", json_true());
	memory_bind_cell(object, conf, cell);
	return object;
}

/* Each node's memory is a backend of its own if the host's nodes matter. */
static bool is_by_node(const struct conf_domain *conf)
{
	return conf->cells->len && conf_numatune_binds(&conf->numatune);
}

json_t *memory_boot_object(const struct conf_domain *conf, const char *folder)
{
	const struct conf_domain_backing *backing = &conf->backing;
	bool own = backing->huge || backing->immediate || backing->source != CONF_DOMAIN_MEMORY_ANONYMOUS ||
		   conf_numatune_binds(&conf->numatune);
	return own && !is_by_node(conf) ? boot_object(conf, MEMORY_BOOT_ID, conf->boot_kib, 0, folder) : NULL;
}

static void add_node(GPtrArray *args, const struct conf_domain *conf, unsigned node, const char *folder)
{
	const struct conf_domain_cell *cell = &g_array_index(conf->cells, struct conf_domain_cell, node);
	g_autofree char *id = g_strdup_printf("ram-node%u", node);
	GString *text = g_string_new(NULL);
	g_string_printf(text, "node,nodeid=%u", node);
	if (is_by_node(conf)) {
		vmm_add_json(args, "-object", boot_object(conf, id, cell->memory_kib, node, folder));
		g_string_append_printf(text, ",memdev=%s", id);
	} else {
		g_string_append_printf(text, ",mem=%" G_GUINT64_FORMAT "k", cell->memory_kib);
	}
	uint8_t map[32] = {0};
	if (cell->cpus)
		conf_cpuset_parse(cell->cpus, map, sizeof(map));
	for (unsigned cpu = 0; cpu < sizeof(map) * 8; cpu++) {
		if (map[cpu / 8] >> cpu % 8 & 1)
			g_string_append_printf(text, ",cpus=%u", cpu);
	}
	g_ptr_array_add(args, g_strdup("-numa"));
	g_ptr_array_add(args, g_string_free(text, FALSE));
}

void memory_add_nodes(GPtrArray *args, const struct conf_domain *conf, const char *folder)
{
	for (unsigned i = 0; i < conf->cells->len; i++)
		add_node(args, conf, i, folder);
	for (unsigned i = 0; i < conf->distances->len; i++) {
		const struct conf_domain_distance *d =
			&g_array_index(conf->distances, struct conf_domain_distance, i);
		g_ptr_array_add(args, g_strdup("-numa"));
		g_ptr_array_add(args, g_strdup_printf("dist,src=%u,dst=%u,val=%u", d->from, d->to, d->value));
	}
}
