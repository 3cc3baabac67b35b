/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network interfaces of domains, from options; their link and bandwidth. */
#include "table.h"

#include "device.h"
#include "shell.h"

#include <inttypes.h>
#include <string.h>

/* --- Rates ------------------------------------------------------------------------------------ */

bool device_parse_rate(struct shell *sh, const char *text, struct rate *rate)
{
	static const char *const names[] = {"average", "peak", "burst", "floor"};
	uint64_t values[4] = {0};
	g_auto(GStrv) fields = g_strsplit(text, ",", 0);
	if (g_strv_length(fields) > G_N_ELEMENTS(names))
		return shell_fail(sh, "Rate string '%s' has too many fields", text);
	for (unsigned i = 0; fields[i]; i++) {
		if (*fields[i] && !parse_uint64(fields[i], &values[i]))
			return shell_fail(sh, "field '%s' is malformed", names[i]);
	}
	*rate = (struct rate){values[0], values[1], values[2], values[3]};
	return true;
}

static void write_rate(struct xml_writer *w, const char *name, const struct rate *rate)
{
	const uint64_t values[] = {rate->average, rate->peak, rate->burst, rate->floor};
	char *texts[4] = {NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(values); i++)
		texts[i] = values[i] ? g_strdup_printf("%" PRIu64, values[i]) : NULL;
	xml_empty(w, name, "average", texts[0], "peak", texts[1], "burst", texts[2], "floor", texts[3], NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(values); i++)
		g_free(texts[i]);
}

struct rates {
	struct rate in, out;
	bool has_in, has_out;
};

static bool opt_rates(struct shell *sh, const struct cmd *cmd, struct rates *rates)
{
	const char *in, *out;
	if (!opt_string(sh, cmd, "inbound", &in) || !opt_string(sh, cmd, "outbound", &out))
		return false;
	*rates = (struct rates){.has_in = in, .has_out = out};
	return (!in || device_parse_rate(sh, in, &rates->in)) &&
	       (!out || device_parse_rate(sh, out, &rates->out));
}

/* --- attach-interface ------------------------------------------------------------------------- */

static bool write_source(struct shell *sh, struct xml_writer *w, const struct cmd *cmd, const char *type,
			 const char *source)
{
	const char *mode = opt_text(cmd, "source-mode");
	if (!strcmp(type, "network") || !strcmp(type, "bridge")) {
		xml_empty(w, "source", type, source, NULL);
	} else if (!strcmp(type, "direct")) {
		xml_empty(w, "source", "dev", source, NULL);
	} else if (!strcmp(type, "hostdev")) {
		g_autofree char *address = g_strdup_printf("pci:%s", source);
		xml_open(w, "source", NULL);
		bool good = device_write_address(w, address, false);
		xml_close(w, "source");
		return good || shell_fail(sh, "cannot parse pci address '%s' for network interface", source);
	} else if (!strcmp(type, "vhostuser")) {
		if (!mode)
			return shell_fail(sh, "source-mode is mandatory");
		xml_empty(w, "source", "type", "unix", "path", source, "mode", mode, NULL);
	} else {
		return shell_fail(sh, "No support for %s in command 'attach-interface'", type);
	}
	return true;
}

static bool check_rates(struct shell *sh, const struct rates *rates)
{
	if (rates->has_in && !rates->in.average && !rates->in.floor)
		return shell_fail(sh, "either inbound average or floor is mandatory");
	if (rates->has_out && !rates->out.average)
		return shell_fail(sh, "outbound average is mandatory");
	if (rates->has_out && rates->out.floor)
		return shell_fail(sh, "outbound floor is unsupported yet");
	return true;
}

static char *interface_xml(struct shell *sh, const struct cmd *cmd)
{
	static const char *const parts[][3] = {
		{"target", "target", "dev"}, {"mac", "mac", "address"}, {"script", "script", "path"},
		{"model", "model", "type"},  {"alias", "alias", "name"},
	};
	const char *type, *source, *mode = opt_text(cmd, "source-mode");
	struct rates rates;
	if (!opt_string(sh, cmd, "type", &type) || !opt_string(sh, cmd, "source", &source))
		return NULL;
	if (mode && strcmp(mode, "server") && strcmp(mode, "client")) {
		shell_fail(sh, "Invalid source mode: %s", mode);
		return NULL;
	}
	if (!opt_rates(sh, cmd, &rates) || !check_rates(sh, &rates))
		return NULL;
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "interface", "type", type, "managed", opt_bool(cmd, "managed") ? "yes" : NULL, NULL);
	bool good = write_source(sh, &w, cmd, type, source);
	for (unsigned i = 0; good && i < G_N_ELEMENTS(parts); i++) {
		const char *text;
		good = opt_string(sh, cmd, parts[i][0], &text);
		if (text)
			xml_empty(&w, parts[i][1], parts[i][2], text, NULL);
	}
	if (rates.has_in || rates.has_out) {
		xml_open(&w, "bandwidth", NULL);
		if (rates.has_in)
			write_rate(&w, "inbound", &rates.in);
		if (rates.has_out)
			write_rate(&w, "outbound", &rates.out);
		xml_close(&w, "bandwidth");
	}
	xml_close(&w, "interface");
	g_autofree char *xml = xml_writer_take(&w);
	return good ? g_steal_pointer(&xml) : NULL;
}

bool cmd_attach_interface(struct shell *sh, const struct cmd *cmd)
{
	struct device_change change;
	if (!device_options(sh, cmd, &change))
		return false;
	g_autofree char *xml = interface_xml(sh, cmd);
	if (xml && opt_bool(cmd, "print-xml"))
		shell_print("%s", xml);
	if (!xml || opt_bool(cmd, "print-xml"))
		return xml != NULL;
	if (!device_domain(sh, cmd, &change))
		return false;
	if (!device_attach(sh, &change, xml))
		return shell_fail(sh, "Failed to attach interface");
	shell_extra(sh, "Interface attached successfully\n");
	return true;
}

/* --- detach-interface ------------------------------------------------------------------------- */

static xmlNode *find_interface(struct shell *sh, xmlDoc *doc, const char *type, const char *mac)
{
	g_autofree char *path = g_strdup_printf("/domain/devices/interface[@type='%s']", type);
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, path);
	xmlNode *match = NULL;
	if (!nodes || !nodes->len) {
		shell_fail(sh, "No interface found whose type is %s", type);
		return NULL;
	}
	if (!mac && nodes->len > 1) {
		shell_fail(sh, "Domain has %u interfaces. Please specify which one to detach using --mac",
			   nodes->len);
		return NULL;
	}
	for (unsigned i = 0; i < nodes->len; i++) {
		g_autofree char *address = xpath_text(doc, nodes->pdata[i], "./mac/@address");
		if (mac && (!address || g_ascii_strcasecmp(address, mac)))
			continue;
		if (match) {
			shell_fail(sh, "Domain has multiple interfaces matching MAC address %s. You must use "
				   "detach-device and specify the device pci address to remove it.", mac);
			return NULL;
		}
		match = nodes->pdata[i];
	}
	if (!match)
		shell_fail(sh, "No interface with MAC address %s was found", mac);
	return match;
}

static bool detach_from(struct shell *sh, const struct cmd *cmd, struct device_change *change,
			uint32_t xml_flags, const char *type, const char *mac)
{
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, change->dom, xml_flags);
	xmlNode *node = doc ? find_interface(sh, doc, type, mac) : NULL;
	g_autofree char *xml = node ? xml_node_text(doc, node) : NULL;
	if (xml && opt_bool(cmd, "print-xml"))
		shell_print("%s", xml);
	return xml && (opt_bool(cmd, "print-xml") || device_detach(sh, change, xml));
}

bool cmd_detach_interface(struct shell *sh, const struct cmd *cmd)
{
	struct device_change change;
	const char *type, *mac;
	if (!device_options(sh, cmd, &change) || !shell_domain(sh, cmd, NULL, &change.dom) ||
	    !opt_string(sh, cmd, "type", &type) || !opt_string(sh, cmd, "mac", &mac))
		return false;
	bool config = change.flags & AFFECT_CONFIG;
	bool live = change.flags & AFFECT_LIVE ||
		    (opt_bool(cmd, "persistent") && domain_is_active(sh, change.dom));
	bool good = true;
	if (config) {
		change.flags = AFFECT_CONFIG;
		good = detach_from(sh, cmd, &change, XML_INACTIVE, type, mac);
	}
	if (good && (live || !config)) {
		change.flags = live ? AFFECT_LIVE : 0;
		good = detach_from(sh, cmd, &change, 0, type, mac);
	}
	if (opt_bool(cmd, "print-xml"))
		return good;
	if (!good)
		return shell_fail(sh, "Failed to detach interface");
	shell_extra(sh, "Interface detached successfully\n");
	return true;
}

/* --- Link and bandwidth ----------------------------------------------------------------------- */

static xmlNode *interface_by_name(xmlDoc *doc, const char *name)
{
	g_autoptr(GPtrArray) nodes = xpath_nodes(doc, NULL, "/domain/devices/interface");
	for (unsigned i = 0; nodes && i < nodes->len; i++) {
		g_autofree char *mac = xpath_text(doc, nodes->pdata[i], "./mac/@address");
		g_autofree char *target = xpath_text(doc, nodes->pdata[i], "./target/@dev");
		if ((mac && !g_ascii_strcasecmp(mac, name)) || (target && !g_ascii_strcasecmp(target, name)))
			return nodes->pdata[i];
	}
	return NULL;
}

bool cmd_domif_setlink(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_is_active_ret active;
	const char *name, *state;
	bool config = opt_bool(cmd, "config");
	if (!shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "interface", &name) ||
	    !opt_string(sh, cmd, "state", &state))
		return false;
	if (strcmp(state, "up") && strcmp(state, "down"))
		return shell_fail(sh, "invalid link state '%s'", state);
	uint32_t flags = config ? AFFECT_CONFIG : AFFECT_LIVE;
	if (GET(sh, domain_is_active, &active, dom) && !active.active)
		flags = AFFECT_CONFIG;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, config ? XML_INACTIVE : 0);
	if (!doc)
		return false;
	g_autoptr(GPtrArray) all = xpath_nodes(doc, NULL, "/domain/devices/interface");
	if (!all || !all->len)
		return shell_fail(sh, "Failed to extract interface information or no interfaces found");
	xmlNode *node = interface_by_name(doc, name);
	if (!node)
		return shell_fail(sh, "interface '%s' not found", name);
	xmlNode *link = xml_child(node, "link");
	if (!link)
		link = xmlNewChild(node, NULL, (const xmlChar *)"link", NULL);
	xmlSetProp(link, (const xmlChar *)"state", (const xmlChar *)state);
	g_autofree char *xml = xml_node_text(doc, node);
	if (opt_bool(cmd, "print-xml")) {
		shell_print("%s", xml);
		return true;
	}
	if (!CALL(sh, domain_update_device_flags, dom, xml, flags))
		return shell_fail(sh, "Failed to update interface link state");
	shell_extra(sh, "Device updated successfully\n");
	return true;
}

static void add_rate(struct params *params, const char *prefix, const struct rate *rate)
{
	const struct {
		const char *name;
		uint64_t value;
	} fields[] = {{"average", rate->average}, {"peak", rate->peak}, {"burst", rate->burst},
		      {"floor", rate->floor}};
	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
		g_autofree char *name = g_strdup_printf("%s.%s", prefix, fields[i].name);
		if (i == 0 || fields[i].value)
			params_uint(params, name, fields[i].value);
	}
}

static bool check_tune(struct shell *sh, const struct rates *rates)
{
	const struct rate *in = &rates->in, *out = &rates->out;
	if (in->average > UINT32_MAX || in->peak > UINT32_MAX || in->burst > UINT32_MAX)
		return shell_fail(sh, "inbound rate larger than maximum %u", UINT32_MAX);
	if (!in->average && (in->burst || in->peak) && !in->floor)
		return shell_fail(sh, "either inbound average or floor is mandatory");
	if (out->average > UINT32_MAX || out->peak > UINT32_MAX || out->burst > UINT32_MAX)
		return shell_fail(sh, "outbound rate larger than maximum %u", UINT32_MAX);
	if (!out->average && (out->burst || out->peak))
		return shell_fail(sh, "outbound average is mandatory");
	return !out->floor || shell_fail(sh, "outbound floor is unsupported yet");
}

bool cmd_domiftune(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct rates rates;
	const char *device;
	uint32_t flags = 0;
	if (!opt_affect(sh, cmd, &flags, NULL) || !shell_domain(sh, cmd, NULL, &dom) ||
	    !opt_string(sh, cmd, "interface", &device) || !opt_rates(sh, cmd, &rates) ||
	    !check_tune(sh, &rates))
		return false;
	if (!rates.has_in && !rates.has_out) {
		struct param_list list;
		enum fetch_step step = FETCH_PARAMS(sh, domain_get_interface_parameters, &list, .dom = dom,
						    .device = (char *)device, .flags = typed_flags(sh, flags));
		if (step == FETCH_COUNT)
			return shell_fail(sh, "Unable to get number of interface parameters");
		if (step == FETCH_DATA)
			return shell_fail(sh, "Unable to get interface parameters");
		print_params(&list);
		return true;
	}
	struct params params = params_new();
	if (rates.has_in)
		add_rate(&params, "inbound", &rates.in);
	if (rates.has_out)
		add_rate(&params, "outbound", &rates.out);
	bool good = CALL(sh, domain_set_interface_parameters, dom, (char *)device, PARAMS(params), flags);
	params_clear(&params);
	return good || shell_fail(sh, "Unable to set interface parameters");
}
