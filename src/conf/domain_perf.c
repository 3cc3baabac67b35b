/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/perf.h"

#include "base/error.h"
#include "conf/domain.h"

#include <string.h>

const char *const conf_perf_names[CONF_PERF_EVENTS] = {
	"cmt", "mbmt", "mbml", "cpu_cycles", "instructions", "cache_references", "cache_misses",
	"branch_instructions", "branch_misses", "bus_cycles", "stalled_cycles_frontend",
	"stalled_cycles_backend", "ref_cpu_cycles", "cpu_clock", "task_clock", "page_faults",
	"context_switches", "cpu_migrations", "page_faults_min", "page_faults_maj", "alignment_faults",
	"emulation_faults",
};

enum conf_perf_event conf_perf_find(const char *name)
{
	unsigned i = 0;
	while (i < CONF_PERF_EVENTS && strcmp(conf_perf_names[i], name) != 0)
		i++;
	return i;
}

bool conf_perf_read(struct conf_perf *perf, xmlNode *root, GError **error)
{
	const xmlNode *parent = xml_child(root, "perf");
	if (!parent)
		return true;
	xml_for_each(node, parent, "event") {
		g_autofree char *name = xml_attribute(node, "name"), *enabled = xml_attribute(node, "enabled");
		enum conf_perf_event event = name ? conf_perf_find(name) : CONF_PERF_EVENTS;
		if (event == CONF_PERF_EVENTS)
			return conf_domain_error(error, BERTH_ERR_INVALID, node, "there is no event '%s' to count",
						 name ? name : "");
		if (!enabled || !CONF_DOMAIN_ONE_OF(node, "enabled", enabled, NULL, "yes", "no"))
			return conf_domain_error(error, BERTH_ERR_INVALID, node, "enabled must be yes or no");
		if (perf->events[event])
			return conf_domain_error(error, BERTH_ERR_INVALID, node, "there are two of '%s'", name);
		perf->events[event] = strcmp(enabled, "yes") == 0 ? CONF_PERF_YES : CONF_PERF_NO;
	}
	conf_perf_write(perf, root);
	return true;
}

void conf_perf_write(const struct conf_perf *perf, xmlNode *root)
{
	xmlNode *old = xml_child(root, "perf");
	if (old) {
		xmlUnlinkNode(old);
		xmlFreeNode(old);
	}
	xmlNode *parent = xmlNewDocNode(root->doc, NULL, (const xmlChar *)"perf", NULL);
	for (unsigned i = 0; i < CONF_PERF_EVENTS; i++) {
		if (!perf->events[i])
			continue;
		xmlNode *node = xmlNewChild(parent, NULL, (const xmlChar *)"event", NULL);
		xmlSetProp(node, (const xmlChar *)"name", (const xmlChar *)conf_perf_names[i]);
		xmlSetProp(node, (const xmlChar *)"enabled",
			   (const xmlChar *)(perf->events[i] == CONF_PERF_YES ? "yes" : "no"));
	}
	if (xml_child(parent, NULL))
		xmlAddChild(root, parent);
	else
		xmlFreeNode(parent);
}
