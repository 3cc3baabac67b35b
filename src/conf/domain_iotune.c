/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <iotune>: limits of a disk's throughput. */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"

#include <inttypes.h>

const char *const conf_iotune_names[CONF_IOTUNE_NUMBERS] = {
	"total_bytes_sec", "read_bytes_sec", "write_bytes_sec",
	"total_iops_sec", "read_iops_sec", "write_iops_sec",
	"total_bytes_sec_max", "read_bytes_sec_max", "write_bytes_sec_max",
	"total_iops_sec_max", "read_iops_sec_max", "write_iops_sec_max",
	"total_bytes_sec_max_length", "read_bytes_sec_max_length", "write_bytes_sec_max_length",
	"total_iops_sec_max_length", "read_iops_sec_max_length", "write_iops_sec_max_length",
	"size_iops_sec",
};

bool conf_iotune_is_set(const struct conf_iotune *iotune)
{
	for (unsigned i = 0; i < CONF_IOTUNE_NUMBERS; i++) {
		if (iotune->numbers[i])
			return true;
	}
	return iotune->group != NULL;
}

/* What is limited as a whole is not limited in parts. */
static bool check_totals(const struct conf_iotune *iotune, const xmlNode *node, GError **error)
{
	for (unsigned kind = 0; kind < CONF_IOTUNE_BYTES_LENGTH; kind += 3) {
		const uint64_t *three = &iotune->numbers[kind];
		if (three[0] && (three[1] || three[2]))
			return conf_domain_error(error, BERTH_ERR_INVALID, node,
						 "total and read/write of %s cannot be set at the same time",
						 conf_iotune_names[kind] + sizeof("total_") - 1);
	}
	return true;
}

bool conf_domain_read_iotune(struct conf_iotune *iotune, const xmlNode *disk, GError **error)
{
	const xmlNode *node = xml_child(disk, "iotune");
	for (unsigned i = 0; node && i < CONF_IOTUNE_NUMBERS; i++) {
		g_autofree char *text = xml_child_text(node, conf_iotune_names[i]);
		if (text && !units_parse_number(text, 0, INT64_MAX / 1000, &iotune->numbers[i], NULL))
			return conf_domain_error(error, BERTH_ERR_INVALID, node, "%s='%s' is no limit",
						 conf_iotune_names[i], text);
	}
	iotune->group = node ? xml_child_text(node, "group_name") : NULL;
	return !node || check_totals(iotune, node, error);
}

void conf_domain_write_iotune(const struct conf_iotune *iotune, xmlNode *disk)
{
	xmlNode *old = xml_child(disk, "iotune");
	if (old) {
		xmlUnlinkNode(old);
		xmlFreeNode(old);
	}
	if (!conf_iotune_is_set(iotune))
		return;
	xmlNode *node = xmlNewDocNode(disk->doc, NULL, (const xmlChar *)"iotune", NULL);
	for (unsigned i = 0; i < CONF_IOTUNE_NUMBERS; i++) {
		g_autofree char *text = g_strdup_printf("%" PRIu64, iotune->numbers[i]);
		if (iotune->numbers[i])
			xmlNewTextChild(node, NULL, (const xmlChar *)conf_iotune_names[i], (xmlChar *)text);
	}
	if (iotune->group)
		xmlNewTextChild(node, NULL, (const xmlChar *)"group_name", (xmlChar *)iotune->group);
	xmlAddNextSibling(xml_child(disk, "target"), node);
}
