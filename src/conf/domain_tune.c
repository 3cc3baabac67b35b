/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of the host's CPUs a domain's threads may use. */
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

bool conf_domain_check_tune(const struct conf_domain *conf, const xmlNode *root, GError **error)
{
	const xmlNode *tune = xml_child(root, "cputune");
	if (!check_cpuset(xml_child(root, "vcpu"), error))
		return false;
	xml_for_each(node, tune, NULL) {
		g_autofree char *vcpu = xml_attribute(node, "vcpu");
		g_autofree char *cpuset = xml_attribute(node, "cpuset");
		uint64_t number = 0;
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
