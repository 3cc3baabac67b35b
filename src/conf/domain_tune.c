/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of the host's CPUs a domain's threads may use, and how much of them and of its memory. */
#include "conf/domain.h"

#include "base/error.h"
#include "base/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_bits(uint8_t *map, unsigned length, unsigned first, unsigned last, bool value)
{
	for (unsigned cpu = first; cpu <= last && cpu < length * 8; cpu++) {
		if (value)
			map[cpu / 8] |= 1 << cpu % 8;
		else
			map[cpu / 8] &= ~(1 << cpu % 8);
	}
}

bool conf_cpuset_parse(const char *text, uint8_t *map, unsigned length)
{
	memset(map, 0, length);
	for (const char *at = text;; at++) {
		bool excluded = *at == '^';
		char *end;
		at += excluded;
		if (!g_ascii_isdigit(*at))
			return false;
		unsigned long first = strtoul(at, &end, 10), last = first;
		if (*end == '-' && g_ascii_isdigit(end[1]))
			last = strtoul(end + 1, &end, 10);
		if (last < first || last > 65535 || (excluded && last != first))
			return false;
		set_bits(map, length, first, last, !excluded);
		at = end;
		if (!*at)
			return true;
		if (*at != ',')
			return false;
	}
}

char *conf_cpuset_format(const uint8_t *map, unsigned length, unsigned cpus)
{
	g_autoptr(GString) text = g_string_new(NULL);
	unsigned most = MIN(length * 8, cpus);
	for (unsigned first = 0; first < most; first++) {
		unsigned last = first;
		if (!(map[first / 8] >> first % 8 & 1))
			continue;
		while (last + 1 < most && map[(last + 1) / 8] >> (last + 1) % 8 & 1)
			last++;
		g_string_append_printf(text, "%s%u", text->len ? "," : "", first);
		if (last > first)
			g_string_append_printf(text, "-%u", last);
		first = last;
	}
	return g_strdup(text->str);
}

static const xmlNode *find_pin(const xmlNode *root, int vcpu)
{
	const xmlNode *tune = xml_child(root, "cputune");
	char number[16];
	snprintf(number, sizeof(number), "%d", vcpu);
	if (vcpu < 0)
		return xml_child(tune, "emulatorpin");
	xml_for_each(node, tune, "vcpupin") {
		g_autofree char *its = xml_attribute(node, "vcpu");
		if (g_strcmp0(its, number) == 0)
			return node;
	}
	return NULL;
}

char *conf_domain_cpuset(const struct conf_domain *conf, int vcpu)
{
	g_autoptr(xmlDoc) copy = conf->doc ? NULL : conf_domain_copy_doc(conf);
	const xmlNode *root = xmlDocGetRootElement(copy ? copy : conf->doc);
	const xmlNode *pin = find_pin(root, vcpu);
	return xml_attribute(pin ? pin : xml_child(root, "vcpu"), "cpuset");
}

static bool check_cpuset(const xmlNode *node, GError **error)
{
	g_autofree char *text = xml_attribute(node, "cpuset");
	uint8_t map[64];
	return !text || conf_cpuset_parse(text, map, sizeof(map)) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node,
				 "Invalid value for 'cpuset': '%s' is no list of CPUs like 0-3,^2", text);
}

/* --- Amounts -------------------------------------------------------------------------------- */

/* The kernel's bounds: sched/core.c's of shares, and of bandwidth in microseconds. */
static const struct {
	const char *parent, *element;
	int64_t least, most;
	bool negative; /* too: no limit */
} tunes[CONF_TUNE_NUMBERS] = {
	[CONF_TUNE_SHARES] = {"cputune", "shares", 2, 262144},
	[CONF_TUNE_PERIOD] = {"cputune", "period", 1000, 1000000},
	[CONF_TUNE_QUOTA] = {"cputune", "quota", 1000, INT64_C(17592186044415), true},
	[CONF_TUNE_EMULATOR_PERIOD] = {"cputune", "emulator_period", 1000, 1000000},
	[CONF_TUNE_EMULATOR_QUOTA] = {"cputune", "emulator_quota", 1000, INT64_C(17592186044415), true},
	[CONF_TUNE_GLOBAL_PERIOD] = {"cputune", "global_period", 1000, 1000000},
	[CONF_TUNE_GLOBAL_QUOTA] = {"cputune", "global_quota", 1000, INT64_C(17592186044415), true},
	[CONF_TUNE_HARD_LIMIT] = {"memtune", "hard_limit", 1, INT64_MAX / 1024},
	[CONF_TUNE_SOFT_LIMIT] = {"memtune", "soft_limit", 1, INT64_MAX / 1024},
	[CONF_TUNE_SWAP_HARD_LIMIT] = {"memtune", "swap_hard_limit", 1, INT64_MAX / 1024},
};

bool conf_tune_is_valid(enum conf_tune which, int64_t number)
{
	return (number >= tunes[which].least && number <= tunes[which].most) ||
	       (number < 0 && tunes[which].negative);
}

static bool read_amount(xmlNode *node, enum conf_tune which, int64_t *number, GError **error)
{
	uint64_t kib;
	if (which >= CONF_TUNE_MEMORY) {
		if (!conf_domain_read_kib(node, &kib, error))
			return false;
		*number = kib;
		conf_domain_set_kib(node, kib);
	} else {
		g_autofree char *text = xml_text(node);
		if (!g_ascii_string_to_signed(text, 10, INT64_MIN, INT64_MAX, number, NULL))
			*number = 0;
	}
	return conf_tune_is_valid(which, *number) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node,
				 "it must be from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT "%s",
				 tunes[which].least, tunes[which].most,
				 tunes[which].negative ? ", or negative" : "");
}

void conf_domain_set_tune(xmlNode *root, enum conf_tune which, int64_t number)
{
	xmlNode *parent = xml_child(root, tunes[which].parent);
	if (!parent) {
		parent = xmlNewDocNode(root->doc, NULL, (const xmlChar *)tunes[which].parent, NULL);
		xmlAddNextSibling(xml_child(root, which >= CONF_TUNE_MEMORY ? "currentMemory" : "vcpu"),
				  parent);
	}
	xmlNode *node = xml_child(parent, tunes[which].element);
	if (node) {
		xmlUnlinkNode(node);
		xmlFreeNode(node);
	}
	if (number) {
		g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, number);
		node = xmlNewTextChild(parent, NULL, (const xmlChar *)tunes[which].element, (xmlChar *)text);
		if (which >= CONF_TUNE_MEMORY)
			xmlSetProp(node, (const xmlChar *)"unit", (const xmlChar *)"KiB");
	}
	if (!xml_child(parent, NULL)) {
		xmlUnlinkNode(parent);
		xmlFreeNode(parent);
	}
}

static bool read_amounts(struct conf_domain *conf, const xmlNode *root, GError **error)
{
	for (unsigned i = 0; i < CONF_TUNE_NUMBERS; i++) {
		const xmlNode *parent = xml_child(root, tunes[i].parent);
		xmlNode *node = parent ? xml_child(parent, tunes[i].element) : NULL;
		if (node && !read_amount(node, i, &conf->tune[i], error))
			return false;
	}
	const int64_t *hard = &conf->tune[CONF_TUNE_HARD_LIMIT], *swap = &conf->tune[CONF_TUNE_SWAP_HARD_LIMIT];
	if (*hard && *swap && *hard > *swap)
		return conf_domain_error(error, BERTH_ERR_INVALID, xml_child(root, "memtune"),
					 "hard_limit must not be more than swap_hard_limit");
	return true;
}

bool conf_domain_read_tune(struct conf_domain *conf, const xmlNode *root, GError **error)
{
	const xmlNode *tune = xml_child(root, "cputune");
	if (!check_cpuset(xml_child(root, "vcpu"), error) || !read_amounts(conf, root, error))
		return false;
	xml_for_each(node, tune, NULL) {
		g_autofree char *vcpu = xml_attribute(node, "vcpu");
		g_autofree char *cpuset = xml_attribute(node, "cpuset");
		uint64_t number = 0;
		if (!xml_is(node, "vcpupin") && !xml_is(node, "emulatorpin"))
			continue;
		if (!cpuset)
			return conf_domain_error(error, BERTH_ERR_INVALID, node, "its cpuset is missing");
		if (xml_is(node, "vcpupin") &&
		    (!vcpu || !units_parse_number(vcpu, 0, conf->max_vcpus - 1, &number, NULL)))
			return conf_domain_error(error, BERTH_ERR_INVALID, node,
						 "vcpu must be a number from 0 to %u", conf->max_vcpus - 1);
		if (!check_cpuset(node, error))
			return false;
	}
	return true;
}
