/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/numatune.h"

#include "base/error.h"
#include "base/units.h"
#include "conf/domain.h"

#include <stdio.h>
#include <string.h>

const char *const conf_numa_modes[CONF_NUMA_MODES + 1] = {
	[CONF_NUMA_STRICT] = "strict",
	[CONF_NUMA_PREFERRED] = "preferred",
	[CONF_NUMA_INTERLEAVE] = "interleave",
	[CONF_NUMA_RESTRICTIVE] = "restrictive",
};

char *conf_numatune_nodeset(const char *text)
{
	uint8_t map[CONF_NUMA_HOST_NODES / 8], last[CONF_NUMA_HOST_NODES] = {0};
	/* A node beyond the map would be left out without a word. */
	if (!conf_cpuset_parse(text, last, sizeof(last)) || !conf_cpuset_parse(text, map, sizeof(map)) ||
	    memcmp(map, last, sizeof(map)) != 0)
		return NULL;
	for (unsigned i = sizeof(map); i < sizeof(last); i++) {
		if (last[i])
			return NULL;
	}
	g_autofree char *nodeset = conf_cpuset_format(map, sizeof(map), CONF_NUMA_HOST_NODES);
	return *nodeset ? g_steal_pointer(&nodeset) : NULL;
}

void conf_numatune_clear(struct conf_numatune *tune)
{
	for (unsigned i = 0; tune->cells && i < tune->cell_count; i++)
		g_free(tune->cells[i].nodeset);
	g_free(tune->cells);
	g_free(tune->memory.nodeset);
	*tune = (struct conf_numatune){0};
}

const struct conf_numa_policy *conf_numatune_policy(const struct conf_numatune *tune, unsigned cell)
{
	if (tune->cells && cell < tune->cell_count && tune->cells[cell].nodeset)
		return &tune->cells[cell];
	return tune->memory.nodeset ? &tune->memory : NULL;
}

bool conf_numatune_binds(const struct conf_numatune *tune)
{
	return (tune->memory.nodeset && tune->memory.mode != CONF_NUMA_RESTRICTIVE) || tune->cells;
}

/* --- The document ---------------------------------------------------------------------------- */

static void set(xmlNode *node, const char *name, const char *value)
{
	xmlUnsetProp(node, (const xmlChar *)name);
	xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static void write_policy(const struct conf_numa_policy *policy, xmlNode *node)
{
	xmlUnsetProp(node, (const xmlChar *)"placement");
	set(node, "mode", conf_numa_modes[policy->mode]);
	set(node, "nodeset", policy->nodeset);
}

void conf_numatune_write_memory(const struct conf_numa_policy *memory, xmlNode *root)
{
	xmlNode *tune = xml_child(root, "numatune");
	if (!tune) {
		tune = xmlNewDocNode(root->doc, NULL, (const xmlChar *)"numatune", NULL);
		xmlAddNextSibling(xml_child(root, "vcpu"), tune);
	}
	xmlNode *node = xml_child(tune, "memory"), *first = xml_child(tune, NULL);
	if (!node) {
		node = xmlNewDocNode(root->doc, NULL, (const xmlChar *)"memory", NULL);
		if (first)
			xmlAddPrevSibling(first, node);
		else
			xmlAddChild(tune, node);
	}
	write_policy(memory, node);
}

static bool read_policy(struct conf_numa_policy *policy, xmlNode *node, GError **error)
{
	g_autofree char *mode = xml_attribute(node, "mode"), *text = xml_attribute(node, "nodeset");
	if (!conf_domain_is_one_of(node, "mode", mode, conf_numa_modes, error))
		return false;
	for (unsigned i = 0; mode && i < CONF_NUMA_MODES; i++) {
		if (strcmp(conf_numa_modes[i], mode) == 0)
			policy->mode = i;
	}
	if (!text)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "nodeset for NUMA memory tuning must be set if 'placement' is 'static'");
	policy->nodeset = conf_numatune_nodeset(text);
	if (!policy->nodeset)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "nodeset='%s' is no list of the host's nodes 0 to %d, like 0-1,^3", text,
					 CONF_NUMA_HOST_NODES - 1);
	write_policy(policy, node);
	return true;
}

static bool read_memory(struct conf_numatune *tune, xmlNode *node, GError **error)
{
	g_autofree char *placement = xml_attribute(node, "placement");
	if (g_strcmp0(placement, "auto") == 0)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "placement='auto' is numad's work, which is not asked: say which nodes by "
					 "nodeset");
	return CONF_DOMAIN_ONE_OF(node, "placement", placement, error, "static") &&
	       read_policy(&tune->memory, node, error);
}

static bool read_cell(struct conf_numatune *tune, xmlNode *node, GError **error)
{
	g_autofree char *text = xml_attribute(node, "cellid");
	uint64_t cell;
	if (!tune->cell_count || !text || !units_parse_number(text, 0, tune->cell_count - 1, &cell, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "cellid must be the number of a <cell> of the guest's <numa>");
	if (!tune->cells)
		tune->cells = g_new0(struct conf_numa_policy, tune->cell_count);
	if (tune->cells[cell].nodeset)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "there are two of cell %s", text);
	if (!read_policy(&tune->cells[cell], node, error))
		return false;
	/* The control group is the whole domain's. */
	if (tune->cells[cell].mode == CONF_NUMA_RESTRICTIVE)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "'restrictive' is of all memory: put it into <memory>");
	return true;
}

bool conf_numatune_read(struct conf_numatune *tune, xmlNode *root, unsigned cell_count, GError **error)
{
	const xmlNode *parent = xml_child(root, "numatune");
	xmlNode *memory = xml_child(parent, "memory");
	tune->cell_count = cell_count;
	if (memory && !read_memory(tune, memory, error))
		return false;
	xml_for_each(node, parent, "memnode") {
		if (!read_cell(tune, node, error))
			return false;
	}
	if (tune->cells && memory && tune->memory.mode == CONF_NUMA_RESTRICTIVE)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, memory,
					 "'restrictive' leaves no other modes to single cells: leave out <memnode>");
	return true;
}
