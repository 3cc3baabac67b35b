/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <iothreads>, how many threads for disks there are, and <iothreadids>, their numbers where that matters. */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

/* As many as libvirt's protocol can name. */
#define MOST 16384

bool conf_domain_has_iothread(const struct conf_domain *conf, unsigned id)
{
	for (unsigned i = 0; i < conf->iothreads->len; i++) {
		if (g_array_index(conf->iothreads, unsigned, i) == id)
			return true;
	}
	return false;
}

bool conf_domain_parse_iothread(const xmlNode *node, const char *text, unsigned *id, GError **error)
{
	uint64_t number;
	if (!units_parse_number(text, 1, UINT32_MAX, &number, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "the number of an I/O thread must be from 1 on, not '%s'", text);
	*id = number;
	return true;
}

static bool read_ids(struct conf_domain *conf, const xmlNode *ids, GError **error)
{
	xml_for_each(node, ids, "iothread") {
		g_autofree char *text = xml_attribute(node, "id");
		unsigned id;
		if (!conf_domain_parse_iothread(node, text ? text : "", &id, error))
			return false;
		if (conf_domain_has_iothread(conf, id))
			return conf_domain_error(error, BERTH_ERR_INVALID, node, "duplicate iothread id '%u' found",
						 id);
		g_array_append_val(conf->iothreads, id);
	}
	if (conf->iothreads->len > MOST)
		return conf_domain_error(error, BERTH_ERR_INVALID, ids, "there are more than %d I/O threads", MOST);
	return true;
}

bool conf_domain_read_iothreads(struct conf_domain *conf, xmlNode *root, GError **error)
{
	xmlNode *node = xml_child(root, "iothreads");
	uint64_t count = 0;
	if (!read_ids(conf, xml_child(root, "iothreadids"), error))
		return false;
	if (node) {
		g_autofree char *text = xml_text(node);
		if (!units_parse_number(text, 0, MOST, &count, NULL))
			return conf_domain_error(error, BERTH_ERR_INVALID, node,
						 "'%s' must be a number from 0 to %d", text, MOST);
	}
	/* Those that are only counted have the lowest numbers that are free. */
	for (unsigned id = 1; conf->iothreads->len < count; id++) {
		if (!conf_domain_has_iothread(conf, id))
			g_array_append_val(conf->iothreads, id);
	}
	g_autofree char *all = g_strdup_printf("%u", conf->iothreads->len);
	if (node && !conf->iothreads->len) {
		xmlUnlinkNode(node);
		xmlFreeNode(node);
	} else if (node) {
		xmlNodeSetContent(node, (const xmlChar *)all);
	} else if (conf->iothreads->len) {
		xmlNewTextChild(root, NULL, (const xmlChar *)"iothreads", (const xmlChar *)all);
	}
	return true;
}
