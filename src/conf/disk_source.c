/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/disk_source.h"

#include "base/error.h"
#include "base/units.h"
#include "conf/domain.h"
#include "conf/vm.h"

#include <string.h>

/* What each protocol has besides a name and a host. */
static const struct protocol {
	const char *name, *secret; /* the type of <auth>'s secret; NULL: no <auth>; "": any */
	bool many_hosts, no_host, unnamed, socket, query, tls, verify;
} protocols[] = {
	{.name = "nbd", .unnamed = true, .socket = true, .tls = true},
	{.name = "iscsi", .secret = "iscsi"},
	{.name = "rbd", .secret = "ceph", .many_hosts = true, .no_host = true},
	{.name = "nfs"},
	{.name = "http", .secret = "", .query = true},
	{.name = "https", .secret = "", .query = true, .verify = true},
	{.name = "ftp", .secret = ""},
	{.name = "ftps", .secret = "", .verify = true},
	{.name = "ssh"},
};

/* Elements of <source> that one protocol has. */
static const char *const owned[][2] = {
	{"initiator", "iscsi"}, {"snapshot", "rbd"}, {"config", "rbd"}, {"identity", "nfs"},
};

static bool refuse(GError **error, const xmlNode *node, const char *protocol, const char *what)
{
	return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "protocol '%s' has no %s: leave it out",
				 protocol, what);
}

/* --- Secrets -------------------------------------------------------------------------------- */

static bool read_secret(struct conf_secret_reference *secret, const xmlNode *node, GError **error)
{
	static const struct {
		const char *type;
		enum conf_secret_usage usage;
	} types[] = {{"passphrase", CONF_SECRET_VOLUME}, {"ceph", CONF_SECRET_CEPH},
		     {"iscsi", CONF_SECRET_ISCSI}};
	g_autofree char *type = xml_attribute(node, "type"), *uuid = xml_attribute(node, "uuid");
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		if (g_strcmp0(type, types[i].type) == 0)
			secret->usage = types[i].usage;
	}
	secret->usage_id = xml_attribute(node, "usage");
	secret->given = true;
	if (secret->usage == CONF_SECRET_NONE)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "secret type '%s': there is passphrase, ceph, iscsi", type ? type : "");
	if (!uuid == !secret->usage_id)
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "a secret is named by its uuid or its usage, one of them");
	return !uuid || conf_uuid_parse(uuid, secret->uuid, NULL) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node, "malformed secret uuid '%s'", uuid);
}

/* libvirt takes both below the disk, where they once stood, as well as below its source. */
static const xmlNode *find(const xmlNode *disk, const char *name)
{
	const xmlNode *inner = xml_child(xml_child(disk, "source"), name);
	return inner ? inner : xml_child(disk, name);
}

static bool read_encryption(struct conf_disk_source *source, const xmlNode *disk, GError **error)
{
	const xmlNode *node = find(disk, "encryption"), *secret = xml_child(node, "secret");
	if (!node)
		return true;
	g_autofree char *format = xml_attribute(node, "format"), *engine = xml_attribute(node, "engine");
	g_autofree char *image = conf_domain_child_attribute(disk, "driver", "type");
	g_autofree char *type = xml_attribute(secret, "type");
	if (!CONF_DOMAIN_ONE_OF(node, "encryption format", format ? format : "", error, "luks") ||
	    !CONF_DOMAIN_ONE_OF(node, "engine", engine, error, "qemu") ||
	    !CONF_DOMAIN_ONE_OF(node, "encryption of an image of format", image, error, "raw", "qcow2") ||
	    !CONF_DOMAIN_ONE_OF(node, "secret type", type, error, "passphrase"))
		return false;
	if (!secret || xml_next(secret, "secret"))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "one <secret type='passphrase'> opens the image");
	return read_secret(&source->encryption, secret, error);
}

static bool read_auth(struct conf_disk_source *source, const xmlNode *disk, const char *allowed, GError **error)
{
	const xmlNode *node = find(disk, "auth"), *secret = xml_child(node, "secret");
	if (!node)
		return true;
	if (!allowed)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "%s '%s' has no <auth>: leave it out",
					 source->protocol ? "protocol" : "disk type",
					 source->protocol ? source->protocol
					 : source->kind == CONF_SOURCE_VOLUME ? "volume"
					 : source->kind == CONF_SOURCE_BLOCK ? "block" : "file");
	g_autofree char *type = xml_attribute(secret, "type");
	source->username = xml_attribute(node, "username");
	if (!source->username || !secret)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "a username and a <secret> must be there");
	if (*allowed && !CONF_DOMAIN_ONE_OF(secret, "secret type", type ? type : "", error, allowed))
		return false;
	return read_secret(&source->auth, secret, error);
}

/* --- The network ---------------------------------------------------------------------------- */

static void host_free(void *opaque)
{
	struct conf_source_host *host = opaque;
	g_free(host->name);
	g_free(host->port);
	g_free(host->socket);
	g_free(host);
}

static bool read_host(struct conf_disk_source *source, const xmlNode *node, const struct protocol *protocol,
		      GError **error)
{
	struct conf_source_host *host = g_new0(struct conf_source_host, 1);
	g_ptr_array_add(source->hosts, host);
	g_autofree char *transport = xml_attribute(node, "transport");
	uint64_t port;
	host->name = xml_attribute(node, "name");
	host->port = xml_attribute(node, "port");
	host->socket = xml_attribute(node, "socket");
	if (!CONF_DOMAIN_ONE_OF(node, "transport", transport, error, "tcp", "unix"))
		return false;
	bool local = g_strcmp0(transport, "unix") == 0;
	if (local && !protocol->socket)
		return refuse(error, node, protocol->name, "transport 'unix'");
	if (local != (host->socket != NULL) || local == (host->name != NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "transport 'tcp' needs a name, 'unix' a socket, and nothing else");
	if (local && *host->socket != '/')
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "socket '%s' is no absolute path",
					 host->socket);
	if (host->name && (!*host->name || strpbrk(host->name, "/?#@[]%, ")))
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "'%s' is no name of a host", host->name);
	return !host->port || units_parse_number(host->port, 1, 65535, &port, NULL) ||
	       conf_domain_error(error, BERTH_ERR_INVALID, node, "port '%s' must be a number from 1 to 65535",
				 host->port);
}

static bool read_hosts(struct conf_disk_source *source, const xmlNode *node, const struct protocol *protocol,
		       GError **error)
{
	source->hosts = g_ptr_array_new_with_free_func(host_free);
	xml_for_each(host, node, "host") {
		if (!read_host(source, host, protocol, error))
			return false;
	}
	if (!source->hosts->len && !protocol->no_host)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<host> is missing");
	return source->hosts->len < 2 || protocol->many_hosts ||
	       conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node, "protocol '%s' has one <host>",
				 protocol->name);
}

/* A switch that only some protocols have. */
static bool read_switch(const xmlNode *node, const char *name, bool allowed, const char *protocol, bool *on,
			GError **error)
{
	g_autofree char *text = xml_attribute(node, name);
	*on = g_strcmp0(text, "yes") == 0;
	if (!CONF_DOMAIN_ONE_OF(node, name, text, error, "yes", "no"))
		return false;
	return !*on || allowed || refuse(error, node, protocol, name);
}

/* nfs: "+1000" and "1000" are the same number; names would be another host's. */
static bool read_id(const xmlNode *source, const char *name, char **id, GError **error)
{
	g_autofree char *text = conf_domain_child_attribute(source, "identity", name);
	uint64_t number;
	if (text && !units_parse_number(text + (*text == '+'), 0, UINT32_MAX, &number, NULL))
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, xml_child(source, "identity"),
					 "%s '%s': write it as a number", name, text);
	*id = text ? g_strdup(text + (*text == '+')) : NULL;
	return true;
}

static bool read_extras(struct conf_disk_source *source, const xmlNode *node, const struct protocol *protocol,
			GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(owned); i++) {
		const xmlNode *child = xml_child(node, owned[i][0]);
		if (child && strcmp(owned[i][1], protocol->name) != 0)
			return refuse(error, child, protocol->name, owned[i][0]);
	}
	const xmlNode *ssl = xml_child(node, "ssl");
	if (ssl && !protocol->verify)
		return refuse(error, ssl, protocol->name, "ssl");
	bool verify = true;
	if (xmlHasProp(ssl, (const xmlChar *)"verify") &&
	    !read_switch(ssl, "verify", true, protocol->name, &verify, error))
		return false;
	source->unverified = !verify;
	source->initiator = conf_domain_child_attribute(xml_child(node, "initiator"), "iqn", "name");
	source->snapshot = conf_domain_child_attribute(node, "snapshot", "name");
	source->config = conf_domain_child_attribute(node, "config", "file");
	return read_id(node, "user", &source->user, error) && read_id(node, "group", &source->group, error);
}

/* iscsi: TARGET[/LUN]; rbd: POOL/[NAMESPACE/]IMAGE. */
static bool check_name(const struct conf_disk_source *source, const xmlNode *node, GError **error)
{
	const char *name = source->name, *slash = name ? strchr(name, '/') : NULL;
	uint64_t lun;
	if (strcmp(source->protocol, "iscsi") == 0 && slash && !units_parse_number(slash + 1, 0, 255, &lun, NULL))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "'%s': write TARGET/LUN, the LUN from 0 to 255", name);
	if (strcmp(source->protocol, "rbd") == 0 && !slash)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "'%s': write POOL/IMAGE", name);
	return true;
}

static bool read_network(struct conf_disk_source *source, const xmlNode *node, const struct protocol **found,
			 GError **error)
{
	source->protocol = xml_attribute(node, "protocol");
	for (unsigned i = 0; i < G_N_ELEMENTS(protocols); i++) {
		if (g_strcmp0(source->protocol, protocols[i].name) == 0)
			*found = &protocols[i];
	}
	if (!*found)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "protocol '%s': there is nbd, iscsi, rbd, nfs, http, https, ftp, ftps, ssh",
					 source->protocol ? source->protocol : "");
	source->name = xml_attribute(node, "name");
	source->query = xml_attribute(node, "query");
	source->tls_hostname = xml_attribute(node, "tlsHostname");
	if ((!source->name || !*source->name) && !(*found)->unnamed)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "its name is missing");
	if (source->query && !(*found)->query)
		return refuse(error, node, source->protocol, "query");
	if (!read_switch(node, "tls", (*found)->tls, source->protocol, &source->tls, error))
		return false;
	if (source->tls_hostname && !source->tls)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "tlsHostname goes with tls='yes'");
	return check_name(source, node, error) && read_hosts(source, node, *found, error) &&
	       read_extras(source, node, *found, error);
}

/* --- All kinds ------------------------------------------------------------------------------ */

/* Attributes of <source>, and the kind that each belongs to: more than one would be a riddle. */
static const struct {
	const char *name;
	enum conf_source_kind kind;
} attributes[] = {
	{"file", CONF_SOURCE_FILE}, {"dev", CONF_SOURCE_BLOCK}, {"pool", CONF_SOURCE_VOLUME},
	{"volume", CONF_SOURCE_VOLUME}, {"protocol", CONF_SOURCE_NETWORK}, {"name", CONF_SOURCE_NETWORK},
	{"query", CONF_SOURCE_NETWORK}, {"tls", CONF_SOURCE_NETWORK}, {"tlsHostname", CONF_SOURCE_NETWORK},
};

static bool check_kind(const xmlNode *node, enum conf_source_kind kind, const char *type, GError **error)
{
	static const char *const children[] = {"host", "initiator", "snapshot", "config", "ssl", "identity"};
	for (unsigned i = 0; node && i < G_N_ELEMENTS(attributes); i++) {
		if (attributes[i].kind != kind && xmlHasProp(node, (const xmlChar *)attributes[i].name))
			return conf_domain_error(error, BERTH_ERR_INVALID, node, "type='%s' has no %s=", type,
						 attributes[i].name);
	}
	for (unsigned i = 0; kind != CONF_SOURCE_NETWORK && i < G_N_ELEMENTS(children); i++) {
		if (xml_child(node, children[i]))
			return conf_domain_error(error, BERTH_ERR_INVALID, xml_child(node, children[i]),
						 "it belongs to type='network'");
	}
	return true;
}

bool conf_disk_source_read(struct conf_disk_source *source, const xmlNode *node, const char *type,
			   char **file, GError **error)
{
	static const char *const types[] = {"file", "block", "volume", "network"};
	const xmlNode *place = xml_child(node, "source");
	const struct protocol *protocol = NULL;
	if (!CONF_DOMAIN_ONE_OF(node, "disk type", type, error, "file", "block", "volume", "network"))
		return false;
	for (unsigned i = 0; type && i < G_N_ELEMENTS(types); i++) {
		if (strcmp(type, types[i]) == 0)
			source->kind = i;
	}
	if (!check_kind(place, source->kind, types[source->kind], error))
		return false;
	if (source->kind == CONF_SOURCE_NETWORK && !place)
		return conf_domain_error(error, BERTH_ERR_INVALID, node, "<source> is missing");
	if (source->kind == CONF_SOURCE_NETWORK && !read_network(source, place, &protocol, error))
		return false;
	*file = source->kind == CONF_SOURCE_FILE ? xml_attribute(place, "file")
		: source->kind == CONF_SOURCE_BLOCK ? xml_attribute(place, "dev") : NULL;
	source->key = conf_disk_source_key(node);
	source->pool = xml_attribute(place, "pool");
	source->volume = xml_attribute(place, "volume");
	if (source->kind == CONF_SOURCE_VOLUME && (!source->pool || !source->volume))
		return conf_domain_error(error, BERTH_ERR_INVALID, node,
					 "<source pool=... volume=...> is missing");
	return read_auth(source, node, protocol ? protocol->secret : NULL, error) &&
	       read_encryption(source, node, error);
}

void conf_disk_source_clear(struct conf_disk_source *source)
{
	char *const texts[] = {source->key, source->pool, source->volume, source->protocol, source->name,
			       source->query, source->tls_hostname, source->initiator, source->snapshot, source->config,
			       source->user, source->group, source->username, source->auth.usage_id,
			       source->encryption.usage_id};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	if (source->hosts)
		g_ptr_array_unref(source->hosts);
}

char *conf_disk_source_key(const xmlNode *disk)
{
	const xmlNode *source = xml_child(disk, "source"), *host = xml_child(source, "host");
	if (!source)
		return NULL;
	g_autoptr(GString) key = g_string_new(NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
		g_autofree char *value = xml_attribute(source, attributes[i].name);
		if (value)
			g_string_append_printf(key, "%s=%s\n", attributes[i].name, value);
	}
	static const char *const parts[] = {"name", "port", "socket"};
	for (unsigned i = 0; host && i < G_N_ELEMENTS(parts); i++) {
		g_autofree char *value = xml_attribute(host, parts[i]);
		if (value)
			g_string_append_printf(key, "host.%s=%s\n", parts[i], value);
	}
	return key->len ? g_string_free(g_steal_pointer(&key), false) : NULL;
}
