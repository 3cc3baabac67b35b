/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain's XML says. */
#include "table.h"

#include "shell.h"

#include <stdlib.h>
#include <string.h>

enum { XML_SECURE = 1, XML_INACTIVE = 2, DEFINE_VALIDATE = 1, METADATA_ELEMENT = 2 };

static const struct option_flag xml_flags[] = {
	{"security-info", XML_SECURE}, {"inactive", XML_INACTIVE}, {"update-cpu", 4}, {"migratable", 8},
	{NULL},
};

bool cmd_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	const char *xml = shell_domain_xml(sh, dom, opt_flags(cmd, xml_flags));
	return xml && shell_show_xml(sh, cmd, xml);
}

/* --- Editing ---------------------------------------------------------------------------------- */

struct edited {
	struct remote_domain dom;
	uint32_t flags;
	const char *uri, *key; /* of metadata */
};

static const char *fetch_definition(struct shell *sh, void *object)
{
	return shell_domain_xml(sh, ((struct edited *)object)->dom, XML_SECURE | XML_INACTIVE);
}

static bool define(struct shell *sh, void *object, const char *xml)
{
	struct edited *edited = object;
	struct remote_domain_define_xml_flags_ret flagged;
	struct remote_domain_define_xml_ret ret;
	bool good = edited->flags ? GET(sh, domain_define_xml_flags, &flagged, (char *)xml, edited->flags) :
				    GET(sh, domain_define_xml, &ret, (char *)xml);
	if (good)
		edited->dom = edited->flags ? flagged.dom : ret.dom;
	return good;
}

bool cmd_edit(struct shell *sh, const struct cmd *cmd)
{
	struct edited edited = {.flags = opt_bool(cmd, "skip-validate") ? 0 : DEFINE_VALIDATE};
	const struct edit edit = {fetch_definition, define, &edited};
	bool changed;
	if (!shell_domain(sh, cmd, NULL, &edited.dom) || !shell_edit(sh, &edit, &changed))
		return false;
	shell_extra(sh, changed ? "Domain '%s' XML configuration edited.\n" :
				  "Domain '%s' XML configuration not changed.\n", edited.dom.name);
	return true;
}

static const char *fetch_metadata(struct shell *sh, void *object)
{
	struct edited *edited = object;
	struct remote_domain_get_metadata_ret ret;
	if (GET(sh, domain_get_metadata, &ret, edited->dom, METADATA_ELEMENT, (char *)edited->uri,
		edited->flags))
		return ret.metadata;
	/* There is none yet. */
	shell_forget_error(sh);
	return "\n";
}

static bool set_metadata(struct shell *sh, void *object, const char *xml)
{
	struct edited *edited = object;
	return CALL(sh, domain_set_metadata, edited->dom, METADATA_ELEMENT, (char *)xml,
		    (char *)edited->key, (char *)edited->uri, edited->flags);
}

bool cmd_metadata(struct shell *sh, const struct cmd *cmd)
{
	struct edited edited = {.flags = 0};
	struct remote_domain_get_metadata_ret ret;
	const char *set;
	bool remove = opt_bool(cmd, "remove"), changed;
	if (!opt_affect(sh, cmd, &edited.flags, NULL) || !opt_exclusive(sh, cmd, "edit", "set") ||
	    !opt_exclusive(sh, cmd, "remove", "set") || !opt_exclusive(sh, cmd, "remove", "edit") ||
	    !shell_domain(sh, cmd, NULL, &edited.dom) || !opt_string(sh, cmd, "uri", &edited.uri) ||
	    !opt_string(sh, cmd, "key", &edited.key) || !opt_string(sh, cmd, "set", &set))
		return false;
	if ((set || opt_bool(cmd, "edit")) && !edited.key)
		return shell_fail(sh, "namespace key is required when modifying metadata");
	if (set || remove) {
		if (!set_metadata(sh, &edited, set))
			return false;
		shell_extra(sh, remove ? "Metadata removed\n" : "Metadata modified\n");
	} else if (opt_bool(cmd, "edit")) {
		const struct edit edit = {fetch_metadata, set_metadata, &edited};
		if (!shell_edit(sh, &edit, &changed))
			return false;
		shell_extra(sh, changed ? "Metadata modified\n" : "Metadata not changed");
	} else {
		if (!GET(sh, domain_get_metadata, &ret, edited.dom, METADATA_ELEMENT, (char *)edited.uri,
			 edited.flags))
			return false;
		shell_print("%s\n", ret.metadata);
	}
	return true;
}

/* --- Other forms ------------------------------------------------------------------------------ */

bool cmd_domxml_from_native(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_domain_xml_from_native_ret ret;
	const char *format;
	if (!opt_string(sh, cmd, "format", &format))
		return false;
	g_autofree char *config = shell_option_file(sh, cmd, "config");
	if (!config || !GET(sh, connect_domain_xml_from_native, &ret, (char *)format, config, 0))
		return false;
	shell_print("%s", ret.domain_xml);
	return true;
}

bool cmd_domxml_to_native(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_domain_xml_to_native_ret ret;
	struct remote_domain dom;
	const char *format, *path;
	if (!opt_string(sh, cmd, "format", &format) || !opt_string(sh, cmd, "xml", &path) ||
	    !opt_exclusive(sh, cmd, "domain", "xml"))
		return false;
	bool by_domain = opt_bool(cmd, "domain");
	if (!by_domain && !path)
		return shell_fail(sh, "need either domain or domain XML");
	if (by_domain && !shell_domain(sh, cmd, NULL, &dom))
		return false;
	g_autofree char *xml = by_domain ? g_strdup(shell_domain_xml(sh, dom, 0)) : shell_read_file(sh, path);
	if (!xml)
		return by_domain && shell_fail(sh, "failed to retrieve XML");
	if (!GET(sh, connect_domain_xml_to_native, &ret, (char *)format, xml, 0))
		return false;
	shell_print("%s", ret.native_config);
	return true;
}

/* --- Consoles and displays -------------------------------------------------------------------- */

bool cmd_ttyconsole(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	g_autoptr(xmlDoc) doc = shell_domain(sh, cmd, NULL, &dom) ? shell_domain_doc(sh, dom, 0) : NULL;
	g_autofree char *tty = doc ? xpath_text(doc, NULL, "/domain/devices/console/@tty") : NULL;
	if (tty)
		shell_print("%s\n", tty);
	return tty != NULL;
}

/* The number that an attribute of the display is, or 0. */
static int display_number(xmlDoc *doc, const char *scheme, const char *attribute)
{
	g_autofree char *path = g_strdup_printf("/domain/devices/graphics[@type='%s']/%s", scheme, attribute);
	g_autofree char *text = xpath_text(doc, NULL, path);
	return text ? atoi(text) : 0;
}

static char *display_text(xmlDoc *doc, const char *scheme, const char *attribute)
{
	g_autofree char *path = g_strdup_printf("/domain/devices/graphics[@type='%s']/%s", scheme, attribute);
	return xpath_text(doc, NULL, path);
}

bool cmd_vncdisplay(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!domain_is_active(sh, dom))
		return shell_fail(sh, "Domain is not running");
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, 0);
	if (!doc)
		return false;
	int port = display_number(doc, "vnc", "@port");
	if (port <= 0)
		return shell_fail(sh, "Failed to get VNC port. Is this domain using VNC?");
	g_autofree char *listen = display_text(doc, "vnc", "@listen");
	if (!listen)
		listen = display_text(doc, "vnc", "listen/@address");
	bool any = !listen || strcmp(listen, "0.0.0.0") == 0;
	shell_print("%s:%d\n", any ? "" : listen, port - 5900);
	return true;
}

static char *dbus_uri(struct shell *sh, xmlDoc *doc)
{
	g_autofree char *address = display_text(doc, "dbus", "@address");
	if (!address)
		return NULL;
	if (g_str_has_prefix(address, "unix:path="))
		return g_strdup_printf("dbus+unix://%s", address + strlen("unix:path="));
	shell_fail(sh, "'%s' D-Bus address is not handled", address);
	return NULL;
}

/* Where to reach a display that listens on every address. */
static bool is_wildcard(const char *address)
{
	return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static char *display_uri(struct shell *sh, xmlDoc *doc, const char *scheme)
{
	if (strcmp(scheme, "dbus") == 0)
		return dbus_uri(sh, doc);
	int port = display_number(doc, scheme, "@port"), tls = display_number(doc, scheme, "@tlsPort");
	g_autofree char *type = display_text(doc, scheme, "listen/@type");
	g_autofree char *path = !g_strcmp0(type, "socket") ? display_text(doc, scheme, "listen/@socket") :
							     NULL;
	if (port <= 0 && tls <= 0 && !path)
		return NULL;
	g_autofree char *host = display_text(doc, scheme, "@listen");
	if (!host)
		host = display_text(doc, scheme, "listen/@address");
	if (host && is_wildcard(host)) {
		g_free(host);
		host = g_strdup(client_host(sh->client));
	}
	g_autofree char *password = display_text(doc, scheme, "@passwd");
	bool vnc = strcmp(scheme, "vnc") == 0, spice = strcmp(scheme, "spice") == 0;
	g_autoptr(GString) uri = g_string_new(NULL);
	g_string_append_printf(uri, path ? "%s+unix://" : "%s://", scheme);
	if (vnc && password)
		g_string_append_printf(uri, ":%s@", password);
	if (path)
		g_string_append(uri, path);
	else if (host && strchr(host, ':'))
		g_string_append_printf(uri, "[%s]", host);
	else
		g_string_append(uri, host ? host : "localhost");
	/* VNC's displays count from port 5900; port 0 needs no mention. */
	if (port > 0 && (!vnc || port != 5900))
		g_string_append_printf(uri, ":%d", vnc ? port - 5900 : port);
	else if (port > 0)
		g_string_append(uri, ":0");
	char mark = '?';
	if (tls > 0) {
		g_string_append_printf(uri, "%ctls-port=%d", mark, tls);
		mark = '&';
	}
	if (spice && password)
		g_string_append_printf(uri, "%cpassword=%s", mark, password);
	return g_string_free(g_steal_pointer(&uri), FALSE);
}

bool cmd_domdisplay(struct shell *sh, const struct cmd *cmd)
{
	static const char *const schemes[] = {"vnc", "spice", "rdp", "dbus"};
	struct remote_domain dom;
	const char *type;
	bool all = opt_bool(cmd, "all"), found = false;
	if (!opt_exclusive(sh, cmd, "all", "type") || !shell_domain(sh, cmd, NULL, &dom))
		return false;
	if (!domain_is_active(sh, dom))
		return shell_fail(sh, "Domain is not running");
	if (!opt_string(sh, cmd, "type", &type))
		return false;
	g_autoptr(xmlDoc) doc = shell_domain_doc(sh, dom, opt_bool(cmd, "include-password") ? XML_SECURE : 0);
	for (unsigned i = 0; doc && i < G_N_ELEMENTS(schemes) && (all || !found); i++) {
		if (!all && type && strcmp(type, schemes[i]))
			continue;
		g_autofree char *uri = display_uri(sh, doc, schemes[i]);
		if (!uri)
			continue;
		shell_print(all ? "%s\n" : "%s", uri);
		found = true;
	}
	if (doc && !found && type)
		shell_fail(sh, "No graphical display with type '%s' found", type);
	else if (doc && !found)
		shell_fail(sh, "No graphical display found");
	return found;
}

bool cmd_domhostname(struct shell *sh, const struct cmd *cmd)
{
	enum { FROM_LEASE = 1, FROM_AGENT = 2 };
	struct remote_domain dom;
	struct remote_domain_get_hostname_ret ret;
	const char *source;
	if (!shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "source", &source))
		return false;
	uint32_t flags = !source			? 0 :
			 !strcmp(source, "agent") ? FROM_AGENT :
			 !strcmp(source, "lease") ? FROM_LEASE : UINT32_MAX;
	if (flags == UINT32_MAX)
		return shell_fail(sh, "Unknown data source '%s'", source);
	if (!GET(sh, domain_get_hostname, &ret, dom, flags))
		return shell_fail(sh, "failed to get hostname");
	shell_print("%s\n", ret.hostname);
	return true;
}
