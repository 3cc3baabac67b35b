/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <source> of a disk on the network, of the options that berth-vmm's protocol drivers take. */
#include "conf/domain_native.h"

#include "base/error.h"

#include <string.h>

static char *take(struct keyval *options, const char *key)
{
	return keyval_take(options, key);
}

/* "host:port", an IPv6 address in brackets. */
static void add_authority(xmlNode *source, const char *text)
{
	bool v6 = *text == '[';
	const char *name = text + v6, *end = v6 ? strchr(name, ']') : NULL;
	size_t length = end ? (size_t)(end - name) : strcspn(name, ":");
	const char *rest = name + length + (end != NULL);
	g_autofree char *host = g_strndup(name, length);
	native_add(source, "host", NULL, "name", host, "port", *rest == ':' ? rest + 1 : NULL, NULL);
}

/* "server.host", "server.port" under `prefix`; false: there is no host. */
static bool add_host(xmlNode *source, struct keyval *options, const char *prefix)
{
	g_autofree char *host_key = g_strconcat(prefix, "host", NULL), *port_key = g_strconcat(prefix, "port", NULL);
	g_autofree char *host = take(options, host_key), *port = take(options, port_key);
	if (host)
		native_add(source, "host", NULL, "name", host, "port", port, NULL);
	return host != NULL;
}

static bool add_nbd(xmlNode *source, struct keyval *options, GError **error)
{
	g_autofree char *path = take(options, "server.path");
	g_autofree char *export = take(options, "export"), *tls = take(options, "tls-creds");
	g_autofree char *hostname = take(options, "tls-hostname");
	/* The other keys say the same. */
	g_free(take(options, "server.type"));
	if (path)
		native_add(source, "host", NULL, "transport", "unix", "socket", path, NULL);
	else
		add_host(source, options, "server.");
	if (export)
		xmlSetProp(source, (const xmlChar *)"name", (const xmlChar *)export);
	if (tls)
		xmlSetProp(source, (const xmlChar *)"tls", (const xmlChar *)"yes");
	if (hostname)
		xmlSetProp(source, (const xmlChar *)"tlsHostname", (const xmlChar *)hostname);
	return true;
}

static bool add_iscsi(xmlNode *source, struct keyval *options, GError **error)
{
	g_autofree char *transport = take(options, "transport"), *portal = take(options, "portal");
	g_autofree char *target = take(options, "target"), *lun = take(options, "lun");
	g_autofree char *initiator = take(options, "initiator-name");
	if (g_strcmp0(transport, "tcp") != 0 || !portal || !target)
		return error_set(error, BERTH_ERR_INVALID,
				 "iscsi: it needs transport=tcp, portal=HOST and target=NAME");
	g_autofree char *name = g_strdup_printf("%s/%s", target, lun ? lun : "0");
	xmlSetProp(source, (const xmlChar *)"name", (const xmlChar *)name);
	add_authority(source, portal);
	if (initiator)
		native_add(native_add(source, "initiator", NULL, NULL), "iqn", NULL, "name", initiator, NULL);
	return true;
}

static bool add_rbd(xmlNode *source, struct keyval *options, GError **error)
{
	g_autofree char *pool = take(options, "pool"), *image = take(options, "image");
	g_autofree char *space = take(options, "namespace"), *snapshot = take(options, "snapshot");
	g_autofree char *config = take(options, "conf");
	if (!pool || !image)
		return error_set(error, BERTH_ERR_INVALID, "rbd: it needs pool=NAME and image=NAME");
	g_autofree char *name = g_strjoin("/", pool, space ? space : image, space ? image : NULL, NULL);
	xmlSetProp(source, (const xmlChar *)"name", (const xmlChar *)name);
	for (unsigned i = 0;; i++) {
		g_autofree char *prefix = g_strdup_printf("server.%u.", i);
		if (!add_host(source, options, prefix))
			break;
	}
	if (snapshot)
		native_add(source, "snapshot", NULL, "name", snapshot, NULL);
	if (config)
		native_add(source, "config", NULL, "file", config, NULL);
	return true;
}

static bool add_nfs(xmlNode *source, struct keyval *options, GError **error)
{
	g_autofree char *host = take(options, "server.host");
	g_autofree char *path = take(options, "path"), *port = take(options, "port");
	g_autofree char *user = take(options, "user"), *group = take(options, "group");
	g_free(take(options, "server.type"));
	xmlSetProp(source, (const xmlChar *)"name", (const xmlChar *)(path ? path : ""));
	native_add(source, "host", NULL, "name", host ? host : "", "port", port, NULL);
	if (user || group)
		native_add(source, "identity", NULL, "user", user, "group", group, NULL);
	return true;
}

static bool add_url(xmlNode *source, struct keyval *options, GError **error)
{
	g_autofree char *url = take(options, "url");
	bool verify;
	if (!native_take_switch(options, "sslverify", true, &verify, error))
		return false;
	const char *place = url ? strstr(url, "://") : NULL;
	if (!place)
		return error_set(error, BERTH_ERR_INVALID, "url '%s' is none", url ? url : "");
	place += strlen("://");
	const char *path = place + strcspn(place, "/?"), *query = strchr(path, '?');
	g_autofree char *authority = g_strndup(place, path - place);
	if (strchr(authority, '@'))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "url: a domain names its secrets, and has no user in a URL: write the disk's <auth> "
				 "by hand");
	path += *path == '/';
	g_autofree char *name = g_strndup(path, query ? (size_t)(query - path) : strlen(path));
	xmlSetProp(source, (const xmlChar *)"name", (const xmlChar *)name);
	if (query)
		xmlSetProp(source, (const xmlChar *)"query", (const xmlChar *)query + 1);
	add_authority(source, authority);
	if (!verify)
		native_add(source, "ssl", NULL, "verify", "no", NULL);
	return true;
}

static bool add_ssh(xmlNode *source, struct keyval *options, GError **error)
{
	g_autofree char *path = take(options, "path");
	xmlSetProp(source, (const xmlChar *)"name", (const xmlChar *)(path ? path : ""));
	add_host(source, options, "server.");
	return true;
}

/* What opens the server or the image is on no command line, and so it cannot be named. */
static bool has_no_secret(const struct keyval *options, GError **error)
{
	static const char *const keys[] = {"password-secret", "key-secret", "user", "username"};
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		/* Of NFS it is a number. */
		bool number = strcmp(keys[i], "user") == 0 && keyval_get(options, "path");
		if (keyval_get(options, keys[i]) && !number)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "'%s': a domain names its secrets, which a command line does not: write the "
					 "disk's <auth> by hand", keys[i]);
	}
	return true;
}

bool native_source(xmlNode *disk, const char *protocol, struct keyval *options, GError **error)
{
	static const struct {
		const char *protocol;
		bool (*add)(xmlNode *source, struct keyval *options, GError **error);
	} protocols[] = {
		{"nbd", add_nbd}, {"iscsi", add_iscsi}, {"rbd", add_rbd}, {"nfs", add_nfs}, {"http", add_url},
		{"https", add_url}, {"ftp", add_url}, {"ftps", add_url}, {"ssh", add_ssh},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(protocols); i++) {
		if (strcmp(protocol, protocols[i].protocol) != 0)
			continue;
		xmlNode *source = native_add(disk, "source", NULL, "protocol", protocol, NULL);
		return has_no_secret(options, error) && protocols[i].add(source, options, error);
	}
	return error_set(error, BERTH_ERR_NOT_SUPPORTED, "driver '%s' has no place in a domain's XML", protocol);
}
