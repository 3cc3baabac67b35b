/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/disk_args.h"

#include "daemon/domain/disk_source.h"
#include "daemon/domain/domain.h"

#include <string.h>

char *disk_node_name(const struct conf_domain_disk *disk)
{
	return g_strdup_printf("drive-%s", disk->dev.alias);
}

static void set(json_t *object, const char *key, const char *value)
{
	if (value)
		json_object_set_new(object, key, json_string(value));
}

/* The id of an object that the disk has, under the option that takes it. */
static void set_object(json_t *options, const char *key, const struct conf_domain_disk *disk,
		       enum disk_object kind)
{
	g_autofree char *id = disk_needs_object(disk, kind) ? disk_object_id(disk, kind) : NULL;
	set(options, key, id);
}

/* --- Servers: docs/man/berth-vmm.1 lists the options of each protocol --------------------------------- */

static const struct conf_source_host *first_host(const struct conf_disk_source *source)
{
	return source->hosts->pdata[0];
}

static void add_nbd(json_t *options, const struct conf_domain_disk *disk)
{
	const struct conf_disk_source *source = &disk->source;
	const struct conf_source_host *host = first_host(source);
	json_object_set_new(options, "server", host->socket
		? json_pack("{s:s, s:s}", "type", "unix", "path", host->socket)
		: json_pack("{s:s, s:s, s:s}", "type", "inet", "host", host->name, "port",
			    host->port ? host->port : "10809"));
	set(options, "export", source->name);
	set_object(options, "tls-creds", disk, DISK_TLS);
	set(options, "tls-hostname", source->tls_hostname);
}

/* HOST[:PORT], an IPv6 address in brackets. */
static char *authority(const struct conf_source_host *host)
{
	bool v6 = strchr(host->name, ':');
	return g_strdup_printf("%s%s%s%s%s", v6 ? "[" : "", host->name, v6 ? "]" : "", host->port ? ":" : "",
			       host->port ? host->port : "");
}

static void add_iscsi(json_t *options, const struct conf_domain_disk *disk)
{
	const struct conf_disk_source *source = &disk->source;
	g_autofree char *portal = authority(first_host(source));
	g_auto(GStrv) parts = g_strsplit(source->name, "/", 2);
	set(options, "transport", "tcp");
	set(options, "portal", portal);
	set(options, "target", parts[0]);
	json_object_set_new(options, "lun", json_integer(parts[1] ? g_ascii_strtoll(parts[1], NULL, 10) : 0));
	set(options, "user", source->username);
	set(options, "initiator-name", source->initiator);
	set_object(options, "password-secret", disk, DISK_PASSWORD);
}

static void add_rbd(json_t *options, const struct conf_domain_disk *disk)
{
	const struct conf_disk_source *source = &disk->source;
	g_auto(GStrv) parts = g_strsplit(source->name, "/", 3);
	json_t *servers = json_array();
	for (unsigned i = 0; i < source->hosts->len; i++) {
		const struct conf_source_host *host = source->hosts->pdata[i];
		json_array_append_new(servers, json_pack("{s:s, s:s}", "host", host->name, "port",
							 host->port ? host->port : "6789"));
	}
	if (json_array_size(servers))
		json_object_set(options, "server", servers);
	json_decref(servers);
	set(options, "pool", parts[0]);
	set(options, "namespace", parts[2] ? parts[1] : NULL);
	set(options, "image", parts[2] ? parts[2] : parts[1]);
	set(options, "snapshot", source->snapshot);
	set(options, "conf", source->config);
	set(options, "user", source->username);
	set_object(options, "key-secret", disk, DISK_PASSWORD);
}

static void add_nfs(json_t *options, const struct conf_domain_disk *disk)
{
	const struct conf_disk_source *source = &disk->source;
	const struct conf_source_host *host = first_host(source);
	json_object_set_new(options, "server", json_pack("{s:s, s:s}", "type", "inet", "host", host->name));
	set(options, "path", source->name);
	if (host->port)
		json_object_set_new(options, "port", json_integer(g_ascii_strtoll(host->port, NULL, 10)));
	if (source->user)
		json_object_set_new(options, "user", json_integer(g_ascii_strtoll(source->user, NULL, 10)));
	if (source->group)
		json_object_set_new(options, "group", json_integer(g_ascii_strtoll(source->group, NULL, 10)));
}

static void add_url(json_t *options, const struct conf_domain_disk *disk)
{
	const struct conf_disk_source *source = &disk->source;
	g_autofree char *place = authority(first_host(source));
	g_autofree char *url = g_strdup_printf("%s://%s%s%s%s%s", source->protocol, place,
					       *source->name == '/' ? "" : "/", source->name,
					       source->query ? "?" : "", source->query ? source->query : "");
	set(options, "url", url);
	set(options, "username", source->username);
	set_object(options, "password-secret", disk, DISK_PASSWORD);
	if (source->unverified)
		json_object_set_new(options, "sslverify", json_false());
}

static void add_ssh(json_t *options, const struct conf_domain_disk *disk)
{
	const struct conf_source_host *host = first_host(&disk->source);
	json_object_set_new(options, "server", json_pack("{s:s, s:s}", "host", host->name, "port",
							 host->port ? host->port : "22"));
	set(options, "path", disk->source.name);
}

static json_t *server_options(const struct conf_domain_disk *disk)
{
	static const struct {
		const char *protocol;
		void (*add)(json_t *options, const struct conf_domain_disk *disk);
	} protocols[] = {
		{"nbd", add_nbd}, {"iscsi", add_iscsi}, {"rbd", add_rbd}, {"nfs", add_nfs}, {"http", add_url},
		{"https", add_url}, {"ftp", add_url}, {"ftps", add_url}, {"ssh", add_ssh},
	};
	json_t *options = json_pack("{s:s}", "driver", disk->source.protocol);
	for (unsigned i = 0; i < G_N_ELEMENTS(protocols); i++) {
		if (strcmp(disk->source.protocol, protocols[i].protocol) == 0)
			protocols[i].add(options, disk);
	}
	return options;
}

/* --- Images --------------------------------------------------------------------------------- */

/* QEMU's cache modes: bypass the host's cache, ignore flushes. Write-back is the device's. */
static json_t *cache_options(const struct conf_domain_disk *disk)
{
	const char *cache = disk->cache ? disk->cache : "default";
	bool direct = strcmp(cache, "none") == 0 || strcmp(cache, "directsync") == 0;
	return json_pack("{s:b, s:b}", "direct", direct, "no-flush", strcmp(cache, "unsafe") == 0);
}

static json_t *bytes_options(const struct conf_domain_disk *disk)
{
	if (disk->source.kind == CONF_SOURCE_NETWORK)
		return server_options(disk);
	json_t *options = json_pack("{s:s, s:s}", "driver", disk->block ? "host_device" : "file", "filename",
				    disk->file);
	set(options, "aio", disk->io);
	return options;
}

/* LUKS below a raw image is a format of its own, and a feature of qcow2. */
static void add_encryption(json_t *image, const struct conf_domain_disk *disk)
{
	if (!disk->source.encryption.given)
		return;
	if (strcmp(disk->format, "raw") == 0) {
		set(image, "driver", "luks");
		set_object(image, "key-secret", disk, DISK_PASSPHRASE);
		return;
	}
	json_t *encrypt = json_pack("{s:s}", "format", "luks");
	set_object(encrypt, "key-secret", disk, DISK_PASSPHRASE);
	json_object_set_new(image, "encrypt", encrypt);
}

json_t *disk_blockdev(const struct conf_domain_disk *disk)
{
	g_autofree char *node = disk_node_name(disk);
	json_t *bytes = bytes_options(disk);
	json_object_set_new(bytes, "cache", cache_options(disk));
	json_t *image = json_pack("{s:s, s:s, s:b, s:o, s:o}", "driver", disk->format, "node-name", node,
				  "read-only", (int)disk->readonly, "cache", cache_options(disk), "file",
				  bytes);
	set(image, "discard", disk->discard);
	add_encryption(image, disk);
	return image;
}

/* An option tree as QEMU's dotted keys: ",file.server.host=x". */
static void append(GString *drive, const char *key, json_t *value)
{
	const char *name;
	json_t *child;
	size_t i;
	json_object_foreach(value, name, child) {
		g_autofree char *below = g_strconcat(key, ".", name, NULL);
		append(drive, below, child);
	}
	json_array_foreach(value, i, child) {
		g_autofree char *below = g_strdup_printf("%s.%zu", key, i);
		append(drive, below, child);
	}
	if (json_is_object(value) || json_is_array(value))
		return;
	g_autofree char *text = json_is_string(value) ? vmm_quote(json_string_value(value))
		: json_is_integer(value) ? g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value))
		: g_strdup(json_is_true(value) ? "on" : "off");
	g_string_append_printf(drive, ",%s=%s", key, text);
}

static void append_medium(GString *drive, const struct conf_domain_disk *disk)
{
	json_t *image = json_pack("{s:s}", "driver", disk->format);
	add_encryption(image, disk);
	g_autofree char *format = vmm_quote(json_string_value(json_object_get(image, "driver")));
	g_string_append_printf(drive, ",format=%s", format);
	json_object_del(image, "driver");
	const char *key;
	json_t *value;
	json_object_foreach(image, key, value)
		append(drive, key, value);
	json_decref(image);
	if (disk->source.kind == CONF_SOURCE_NETWORK) {
		json_t *bytes = server_options(disk);
		append(drive, "file", bytes);
		json_decref(bytes);
	} else {
		g_autofree char *file = vmm_quote(disk->file);
		g_string_append_printf(drive, ",file=%s", file);
	}
}

char *disk_drive(const struct conf_domain_disk *disk)
{
	g_autofree char *node = disk_node_name(disk);
	GString *drive = g_string_new(NULL);
	g_string_printf(drive, "if=none,id=%s,media=%s,readonly=%s", node, disk->cdrom ? "cdrom" : "disk",
			disk->readonly ? "on" : "off");
	if (conf_domain_disk_has_medium(disk))
		append_medium(drive, disk);
	if (disk->cache && strcmp(disk->cache, "default") != 0)
		g_string_append_printf(drive, ",cache=%s", disk->cache);
	if (disk->io)
		g_string_append_printf(drive, ",aio=%s", disk->io);
	if (disk->discard)
		g_string_append_printf(drive, ",discard=%s", disk->discard);
	return g_string_free(drive, false);
}
