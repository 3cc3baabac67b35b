/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All networks, by name and UUID; and how they come back when the daemon starts. */
#include "base/error.h"
#include "base/log.h"
#include "conf/domain.h"
#include "daemon/domain/store.h"
#include "daemon/network/life.h"

#include <string.h>
#include <unistd.h>

/* How long the daemon's start waits for networks: domains with autostart need them. */
#define START_WAIT_NS (INT64_C(20) * 1000 * 1000 * 1000)

/* --- Networks --------------------------------------------------------------------------------- */

static void put_into_tables(struct network *network)
{
	g_hash_table_insert(network->all->by_uuid, network->uuid_text, network);
	g_hash_table_insert(network->all->by_name, network->name, network);
}

struct network *network_add(struct networks *networks, const struct conf_network *conf)
{
	struct network *network = g_new0(struct network, 1);
	network->all = networks;
	network->references = 1;
	memcpy(network->uuid, conf->uuid, sizeof(network->uuid));
	conf_uuid_format(conf->uuid, network->uuid_text);
	network->name = g_strdup(conf->name);
	network->ports = network_ports_new();
	network->dnsmasq = network_dnsmasq_new(network);
	put_into_tables(network);
	return network;
}

bool network_return(struct network *network, GError **error)
{
	const struct network *rival = network_by_name(network->all, network->name);
	if (!rival)
		rival = network_by_uuid(network->all, network->uuid);
	if (rival)
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_FAILED,
				  "network '%s' already exists with uuid %s", rival->name, rival->uuid_text);
	put_into_tables(network_ref(network));
	network->removed = false;
	return true;
}

struct network *network_ref(struct network *network)
{
	network->references++;
	return network;
}

void network_unref(struct network *network)
{
	if (--network->references)
		return;
	network_dnsmasq_free(network->dnsmasq);
	conf_network_free(network->definition);
	conf_network_free(network->live);
	g_hash_table_unref(network->ports);
	g_free(network->listing);
	g_free(network->name);
	g_free(network);
}

void network_remove(struct network *network)
{
	g_hash_table_remove(network->all->by_uuid, network->uuid_text);
	g_hash_table_remove(network->all->by_name, network->name);
	network->removed = true;
	network_unref(network);
}

struct network *network_by_uuid(struct networks *networks, const uint8_t uuid[16])
{
	char text[37];
	conf_uuid_format(uuid, text);
	return g_hash_table_lookup(networks->by_uuid, text);
}

struct network *network_by_name(struct networks *networks, const char *name)
{
	return g_hash_table_lookup(networks->by_name, name);
}

struct network *network_by_bridge(struct networks *networks, const char *bridge,
				  const struct network *except)
{
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, networks->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct network *network = value;
		const struct conf_network *const confs[] = {network->live, network->definition};
		for (unsigned i = 0; network != except && i < G_N_ELEMENTS(confs); i++) {
			if (confs[i] && conf_network_owns_bridge(confs[i]) &&
			    g_strcmp0(confs[i]->bridge, bridge) == 0)
				return network;
		}
	}
	return NULL;
}

bool networks_active(const struct networks *networks)
{
	GHashTableIter iter;
	void *network;
	g_hash_table_iter_init(&iter, networks->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &network)) {
		if (((const struct network *)network)->live)
			return true;
	}
	return false;
}

struct network *network_find(struct rpc_call *call, const struct remote_network *wire)
{
	struct network *network = network_by_uuid(rpc_call_daemon(call)->networks, wire->uuid);
	if (network && network_conf(network))
		return rpc_call_may(call, RPC_NETWORK, network->name) ? network : NULL;
	char text[37];
	conf_uuid_format(wire->uuid, text);
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_NETWORK, VIRT_NO_NETWORK,
		   "no network with matching uuid '%s' (%s)", text, wire->name);
	rpc_call_fail(call, error);
	return NULL;
}

const struct conf_network *network_conf(const struct network *network)
{
	return network->live ? network->live : network->definition;
}

struct remote_network network_wire(const struct network *network)
{
	struct remote_network wire = {.name = network->name};
	memcpy(wire.uuid, network->uuid, sizeof(wire.uuid));
	return wire;
}

bool network_check_active(const struct network *network, GError **error)
{
	return network->live || virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_INVALID,
					   "network '%s' is not active", network->name);
}

void network_emit(struct network *network, enum network_event event)
{
	enum { LIFECYCLE = 0 };
	struct rpc_server *server = network->all->daemon->server;
	struct remote_network_event_lifecycle_args body = {.net = network_wire(network), .event = event};
	if (server)
		rpc_event_emit(server, RPC_EVENT_NETWORK, LIFECYCLE, network->uuid,
			       REMOTE_NETWORK_EVENT_LIFECYCLE, &body, &body.callback);
}

void network_fail(struct rpc_call *call, GError *error)
{
	network_fail_of(call, VIRT_FROM_NETWORK, error);
}

void network_fail_of(struct rpc_call *call, enum virt_from from, GError *error)
{
	static const enum virt_code codes[] = {
		[BERTH_ERR_INVALID] = VIRT_XML_ERROR, [BERTH_ERR_NOT_FOUND] = VIRT_OPERATION_FAILED,
		[BERTH_ERR_NOT_SUPPORTED] = VIRT_CONFIG_UNSUPPORTED, [BERTH_ERR_BUSY] = VIRT_INTERNAL,
		[BERTH_ERR_IO] = VIRT_SYSTEM_ERROR, [BERTH_ERR_INTERNAL] = VIRT_INTERNAL,
	};
	GError *answer = NULL;
	if (error->domain != BERTH_ERROR) {
		rpc_call_fail(call, error);
		return;
	}
	/* libxml2's own words begin with the place. */
	virt_error(&answer, from,
		   *error->message == '(' ? VIRT_XML_DETAIL : codes[error->code], "%s", error->message);
	g_error_free(error);
	rpc_call_fail(call, answer);
}

/* --- Start of the daemon ---------------------------------------------------------------------- */

static struct conf_network *load(const char *path, const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *content = NULL;
	struct conf_network *conf = NULL;
	if (!text && g_file_get_contents(path, &content, NULL, &error))
		text = content;
	if (text)
		conf = conf_network_parse(text, &error);
	if (!conf)
		log_warning("'%s' is left alone: %s", path, error->message);
	return conf;
}

static void load_definition(struct networks *networks, const char *path)
{
	struct conf_network *conf = load(path, NULL);
	if (!conf)
		return;
	if (network_by_name(networks, conf->name) || network_by_uuid(networks, conf->uuid)) {
		log_warning("'%s' is left alone: there is a network '%s' already", path, conf->name);
		conf_network_free(conf);
		return;
	}
	struct network *network = network_add(networks, conf);
	network->definition = conf;
	g_autofree char *mark = network_file_autostart(network);
	network->autostart = g_file_test(mark, G_FILE_TEST_EXISTS);
}

/* A network that was active when the last daemon ended. */
static void load_active(struct networks *networks, const char *path)
{
	g_autofree char *text = NULL, *mark = store_boot_mark();
	if (!g_file_get_contents(path, &text, NULL, NULL) || !g_str_has_prefix(text, mark)) {
		unlink(path);
		return;
	}
	struct conf_network *conf = load(path, text);
	if (!conf)
		return;
	struct network *network = network_by_uuid(networks, conf->uuid);
	if (!network && !network_by_name(networks, conf->name))
		network = network_add(networks, conf);
	if (network) {
		network_resume(network, conf);
		return;
	}
	log_warning("'%s' is left alone: there is a network '%s' already", path, conf->name);
	conf_network_free(conf);
}

/* What the package brings; a person who undefines it will not see it again. */
static void load_first(struct networks *networks)
{
	const char *top = networks->daemon->first_networks;
	GDir *folder = top ? g_dir_open(top, 0, NULL) : NULL;
	const char *name;
	while (folder && (name = g_dir_read_name(folder))) {
		g_autofree char *path = g_build_filename(top, name, NULL);
		g_autoptr(GError) error = NULL;
		struct conf_network *conf = g_str_has_suffix(name, ".xml") ? load(path, NULL) : NULL;
		if (!conf)
			continue;
		struct network *network = network_add(networks, conf);
		g_autofree char *ours = network_file_definition(network), *xml = NULL;
		network->definition = conf;
		if (network_complete(network, conf, &error) && (xml = conf_network_format(conf, 0)) &&
		    store_write_now(ours, xml, &error))
			continue;
		log_warning("the network of '%s' is not taken over: %s", path, error->message);
		network_remove(network);
	}
	if (folder)
		g_dir_close(folder);
}

static void start_all(struct networks *networks)
{
	g_autoptr(GPtrArray) active = store_list(networks->daemon, NETWORK_ACTIVE, ".xml");
	for (unsigned i = 0; i < active->len; i++)
		load_active(networks, active->pdata[i]);
	int64_t deadline = aio_now_ns() + START_WAIT_NS, left;
	/* First those that run: what they have must not be given away. */
	while (networks->jobs.length && (left = deadline - aio_now_ns()) > 0)
		aio_loop_iterate(networks->daemon->loop, left);
	g_autoptr(GList) all = g_hash_table_get_values(networks->by_uuid);
	for (GList *link = all; link; link = link->next) {
		struct network *network = link->data;
		if (network->autostart && !network->live)
			network_start(network, NULL, NULL);
	}
	while (networks->jobs.length && (left = deadline - aio_now_ns()) > 0)
		aio_loop_iterate(networks->daemon->loop, left);
}

struct networks *networks_new(struct daemon *daemon, GError **error)
{
	static const char *const folders[] = {NETWORK_DEFINED_FOLDER, NETWORK_AUTOSTART, NETWORK_ACTIVE,
					      NETWORK_RUN, NETWORK_PORTS, NULL};
	g_autofree char *defined = store_path(daemon, NETWORK_DEFINED_FOLDER, "", "");
	bool first = !g_file_test(defined, G_FILE_TEST_EXISTS);
	if (!store_make_folders(daemon, folders, error))
		return NULL;
	struct networks *networks = g_new0(struct networks, 1);
	networks->daemon = daemon;
	networks->worker = aio_pool_new(1);
	networks->by_uuid = g_hash_table_new(g_str_hash, g_str_equal);
	networks->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	g_queue_init(&networks->jobs);
	g_autoptr(GPtrArray) definitions = store_list(daemon, NETWORK_DEFINED_FOLDER, ".xml");
	for (unsigned i = 0; i < definitions->len; i++)
		load_definition(networks, definitions->pdata[i]);
	if (first)
		load_first(networks);
	start_all(networks);
	networks->watch = network_watch_new(networks);
	return networks;
}

void networks_free(struct networks *networks)
{
	if (!networks)
		return;
	network_watch_free(networks->watch);
	while (networks->jobs.length)
		aio_loop_iterate(networks->daemon->loop, -1);
	aio_pool_free(networks->worker);
	GHashTableIter iter;
	void *network;
	g_hash_table_iter_init(&iter, networks->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &network))
		network_unref(network);
	g_hash_table_unref(networks->by_uuid);
	g_hash_table_unref(networks->by_name);
	g_free(networks);
}
