/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/netdev.h"

#include "base/error.h"
#include "base/units.h"
#include "conf/grammar.h"

#include <stdio.h>
#include <string.h>

/* --- Small parts ------------------------------------------------------------------------------ */

bool conf_element_error(GError **error, int code, const xmlNode *node, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	conf_grammar_error(error, code, node, format, args);
	va_end(args);
	return false;
}

const char *conf_said_yes_no(bool said, bool value)
{
	return said ? value ? "yes" : "no" : NULL;
}

bool conf_is_device_name(const char *name)
{
	enum { MAX_NAME = 15 };
	size_t length = strlen(name);
	for (const char *c = name; *c; c++) {
		if (!g_ascii_isalnum(*c) && !strchr("-._", *c))
			return false;
	}
	return length && length <= MAX_NAME && g_ascii_isalnum(*name);
}

bool conf_yes_no(const xmlNode *node, const char *attribute, bool *value, GError **error)
{
	g_autofree char *text = xml_attribute(node, attribute);
	if (text && strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "%s='%s' must be 'yes' or 'no'", attribute, text);
	if (text)
		*value = strcmp(text, "yes") == 0;
	return true;
}

bool conf_number(const xmlNode *node, const char *attribute, uint64_t min, uint64_t max,
		 uint64_t *value, GError **error)
{
	g_autofree char *text = xml_attribute(node, attribute);
	if (!text || units_parse_number(text, min, max, value, NULL))
		return true;
	return conf_element_error(error, BERTH_ERR_INVALID, node,
				  "%s='%s' must be a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
				  attribute, text, min, max);
}

/* --- VLAN tags -------------------------------------------------------------------------------- */

static bool read_tag(const xmlNode *node, struct conf_vlan_tag *tag, GError **error)
{
	enum { MAX_ID = 4095 };
	uint64_t id = MAX_ID + 1;
	g_autofree char *mode = xml_attribute(node, "nativeMode");
	if (!conf_number(node, "id", 0, MAX_ID, &id, error))
		return false;
	if (id > MAX_ID)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its id is missing");
	tag->id = id;
	if (mode && strcmp(mode, "tagged") == 0)
		tag->native = CONF_VLAN_NATIVE_TAGGED;
	else if (mode && strcmp(mode, "untagged") == 0)
		tag->native = CONF_VLAN_NATIVE_UNTAGGED;
	else if (mode)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "nativeMode='%s' must be 'tagged' or 'untagged'", mode);
	return true;
}

bool conf_vlan_read(const xmlNode *parent, struct conf_vlan *vlan, GError **error)
{
	const xmlNode *node = xml_child(parent, "vlan");
	memset(vlan, 0, sizeof(*vlan));
	if (!node)
		return true;
	bool has_native = false, trunk = false;
	xml_for_each(tag, node, "tag") {
		if (vlan->count == CONF_MAX_VLAN_TAGS)
			return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
						  "more than %d tags", CONF_MAX_VLAN_TAGS);
		struct conf_vlan_tag *one = &vlan->tags[vlan->count++];
		if (!read_tag(tag, one, error))
			return false;
		if (one->native && has_native)
			return conf_element_error(error, BERTH_ERR_INVALID, tag,
						  "only one tag can be the native one");
		has_native |= one->native != CONF_VLAN_PLAIN;
	}
	if (!vlan->count)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "it has no <tag id=...>");
	if (!conf_yes_no(node, "trunk", &trunk, error))
		return false;
	vlan->trunk = trunk || vlan->count > 1 || has_native;
	g_autofree char *said = xml_attribute(node, "trunk");
	if (said && !trunk && vlan->trunk)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "several tags, or a native one, are a trunk: write trunk='yes'");
	return true;
}

void conf_vlan_write(struct xml_writer *w, const struct conf_vlan *vlan)
{
	static const char *const modes[] = {NULL, "tagged", "untagged"};
	if (!vlan->count)
		return;
	xml_open(w, "vlan", "trunk", vlan->trunk ? "yes" : NULL, NULL);
	for (unsigned i = 0; i < vlan->count; i++) {
		g_autofree char *id = g_strdup_printf("%u", vlan->tags[i].id);
		xml_empty(w, "tag", "id", id, "nativeMode", modes[vlan->tags[i].native], NULL);
	}
	xml_close(w, "vlan");
}

bool conf_vlan_equal(const struct conf_vlan *a, const struct conf_vlan *b)
{
	if (a->trunk != b->trunk || a->count != b->count)
		return false;
	for (unsigned i = 0; i < a->count; i++) {
		if (a->tags[i].id != b->tags[i].id || a->tags[i].native != b->tags[i].native)
			return false;
	}
	return true;
}

/* --- Bandwidth -------------------------------------------------------------------------------- */

/* tc(8) counts bytes a second in 32 bits in places: libvirt's limit, too. */
#define MAX_RATE UINT64_C(4294967295)

static bool read_rate(const xmlNode *node, struct conf_rate *rate, GError **error)
{
	if (!conf_number(node, "average", 1, MAX_RATE, &rate->average, error) ||
	    !conf_number(node, "peak", 1, MAX_RATE, &rate->peak, error) ||
	    !conf_number(node, "burst", 1, MAX_RATE, &rate->burst, error) ||
	    !conf_number(node, "floor", 1, MAX_RATE, &rate->floor, error))
		return false;
	if (!rate->average && (!rate->floor || rate->peak || rate->burst))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its average is missing");
	if (rate->peak && rate->peak < rate->average)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "peak is less than average");
	return true;
}

const struct conf_bandwidth_field conf_bandwidth_fields[CONF_BANDWIDTH_FIELDS] = {
#define FIELD(side, what)                                                                          \
	{#side "." #what, #side, #what, offsetof(struct conf_bandwidth, side.what)}
	FIELD(inbound, average), FIELD(inbound, peak), FIELD(inbound, burst), FIELD(inbound, floor),
	FIELD(outbound, average), FIELD(outbound, peak), FIELD(outbound, burst),
#undef FIELD
};

bool conf_bandwidth_read(const xmlNode *parent, struct conf_bandwidth *bandwidth, GError **error)
{
	const xmlNode *node = xml_child(parent, "bandwidth");
	memset(bandwidth, 0, sizeof(*bandwidth));
	const xmlNode *in = node ? xml_child(node, "inbound") : NULL;
	const xmlNode *out = node ? xml_child(node, "outbound") : NULL;
	if (out && xmlHasProp(out, (const xmlChar *)"floor"))
		return conf_element_error(error, BERTH_ERR_INVALID, out,
					  "floor is for what a guest receives: <inbound>");
	bandwidth->has_inbound = in != NULL;
	bandwidth->has_outbound = out != NULL;
	return (!in || read_rate(in, &bandwidth->inbound, error)) &&
	       (!out || read_rate(out, &bandwidth->outbound, error));
}

static void write_rate(struct xml_writer *w, const char *name, const struct conf_rate *rate)
{
	const uint64_t values[] = {rate->average, rate->peak, rate->floor, rate->burst};
	char text[G_N_ELEMENTS(values)][24];
	for (unsigned i = 0; i < G_N_ELEMENTS(values); i++)
		g_snprintf(text[i], sizeof(text[i]), "%" G_GUINT64_FORMAT, values[i]);
	xml_empty(w, name, "average", values[0] ? text[0] : NULL, "peak", values[1] ? text[1] : NULL,
		  "floor", values[2] ? text[2] : NULL, "burst", values[3] ? text[3] : NULL, NULL);
}

void conf_bandwidth_write(struct xml_writer *w, const struct conf_bandwidth *bandwidth, unsigned class)
{
	char text[12];
	if (!bandwidth->has_inbound && !bandwidth->has_outbound)
		return;
	g_snprintf(text, sizeof(text), "%u", class);
	xml_open(w, "bandwidth", "classID", class ? text : NULL, NULL);
	if (bandwidth->has_inbound)
		write_rate(w, "inbound", &bandwidth->inbound);
	if (bandwidth->has_outbound)
		write_rate(w, "outbound", &bandwidth->outbound);
	xml_close(w, "bandwidth");
}

/* --- Virtual ports ---------------------------------------------------------------------------- */

bool conf_virtualport_read(const xmlNode *parent, struct conf_virtualport *port, GError **error)
{
	const xmlNode *node = xml_child(parent, "virtualport");
	const xmlNode *parameters = node ? xml_child(node, "parameters") : NULL;
	memset(port, 0, sizeof(*port));
	if (!node)
		return true;
	port->present = true;
	port->type = xml_attribute(node, "type");
	/* The other types need switches, and daemons, of their makers. */
	if (port->type && strcmp(port->type, "openvswitch") != 0)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					  "Berth does not support type='%s', only 'openvswitch'",
					  port->type);
	if (parameters) {
		port->profileid = xml_attribute(parameters, "profileid");
		port->interfaceid = xml_attribute(parameters, "interfaceid");
	}
	return true;
}

void conf_virtualport_write(struct xml_writer *w, const struct conf_virtualport *port)
{
	if (!port->present)
		return;
	if (!port->profileid && !port->interfaceid) {
		xml_empty(w, "virtualport", "type", port->type, NULL);
		return;
	}
	xml_open(w, "virtualport", "type", port->type, NULL);
	xml_empty(w, "parameters", "interfaceid", port->interfaceid, "profileid", port->profileid, NULL);
	xml_close(w, "virtualport");
}

bool conf_virtualport_is_ovs(const struct conf_virtualport *port)
{
	return port->present && g_strcmp0(port->type, "openvswitch") == 0;
}

bool conf_virtualport_merge(struct conf_virtualport *to, const struct conf_virtualport *from, GError **error)
{
	const struct {
		char **to;
		const char *from, *what;
	} parts[] = {
		{&to->type, from->type, "type"}, {&to->profileid, from->profileid, "profileid"},
		{&to->interfaceid, from->interfaceid, "interfaceid"},
	};
	to->present |= from->present;
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
		char **own = parts[i].to;
		const char *other = parts[i].from;
		if (*own && other && strcmp(*own, other) != 0)
			return error_set(error, BERTH_ERR_INVALID,
					 "its virtual port has two values of %s: '%s' and '%s'",
					 parts[i].what, *own, other);
		if (!*own)
			*own = g_strdup(other);
	}
	return true;
}

void conf_virtualport_clear(struct conf_virtualport *port)
{
	g_free(port->type);
	g_free(port->profileid);
	g_free(port->interfaceid);
	memset(port, 0, sizeof(*port));
}

/* --- PCI addresses ---------------------------------------------------------------------------- */

static bool read_part(const xmlNode *node, const char *name, unsigned max, unsigned *value, GError **error)
{
	g_autofree char *text = xml_attribute(node, name);
	char *end = NULL;
	guint64 number = text && g_ascii_isxdigit(*text) ? g_ascii_strtoull(text, &end, 0) : 0;
	*value = number;
	if (!text || (end && end != text && !*end && number <= max))
		return true;
	return conf_element_error(error, BERTH_ERR_INVALID, node, "%s='%s' must be a number from 0 to 0x%x",
				  name, text, max);
}

char *conf_pci_address_read(const xmlNode *node, GError **error)
{
	unsigned domain, bus, slot, function;
	if (!read_part(node, "domain", 0xffff, &domain, error) || !read_part(node, "bus", 0xff, &bus, error) ||
	    !read_part(node, "slot", 0x1f, &slot, error) || !read_part(node, "function", 7, &function, error))
		return NULL;
	return g_strdup_printf("%04x:%02x:%02x.%x", domain, bus, slot, function);
}

void conf_pci_address_write(struct xml_writer *w, const char *address, const char *type)
{
	unsigned domain, bus, slot, function;
	char text[4][12];
	if (sscanf(address, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return;
	g_snprintf(text[0], sizeof(text[0]), "0x%04x", domain);
	g_snprintf(text[1], sizeof(text[1]), "0x%02x", bus);
	g_snprintf(text[2], sizeof(text[2]), "0x%02x", slot);
	g_snprintf(text[3], sizeof(text[3]), "0x%x", function);
	if (type)
		xml_empty(w, "address", "type", type, "domain", text[0], "bus", text[1], "slot", text[2],
			  "function", text[3], NULL);
	else
		xml_empty(w, "address", "domain", text[0], "bus", text[1], "slot", text[2], "function", text[3],
			  NULL);
}
