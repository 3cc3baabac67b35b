/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bindings: filters in effect on ports. */
#include "daemon/network/filter_int.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/domain/store.h"
#include "daemon/network/nft.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- What is kept for the next daemon --------------------------------------------------------- */

static char *path_of(const struct filters *filters, const char *port, const char *suffix)
{
	return store_path(filters->daemon, FILTER_PORTS_FOLDER, port, suffix);
}

/* Written for a daemon that comes after this one, not for one after a crash of the host: no fsync. */
static bool keep(const struct filters *filters, const char *port, const char *suffix, const char *text,
		 GError **error)
{
	g_autofree char *path = path_of(filters, port, suffix);
	return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_NONE, 0600, error);
}

static void forget(const struct filters *filters, const char *port)
{
	g_autofree char *xml = path_of(filters, port, ".xml"), *address = path_of(filters, port, ".ip");
	unlink(xml);
	unlink(address);
}

static void keep_address(const struct filter_port *port)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = g_strdup_printf("%s %" G_GINT64_FORMAT "\n",
						port->address ? port->address : "-", port->expires_s);
	if (!keep(port->all, port->binding->port, ".ip", text, &error))
		log_warning("the address of '%s' will be learnt anew by the next daemon: %s",
			    port->binding->port, error->message);
}

/* What keep_address() has written; an address is one, or it is ignored. */
static void recall_address(struct filter_port *port)
{
	static const struct conf_nwfilter_attribute ip = {"address", CONF_NWFILTER_IPV4, 0, 0, 0};
	g_autofree char *path = path_of(port->all, port->binding->port, ".ip"), *text = NULL;
	char address[16];
	if (g_file_get_contents(path, &text, NULL, NULL) &&
	    sscanf(text, "%15s %" G_GINT64_FORMAT, address, &port->expires_s) == 2)
		port->address = conf_nwfilter_value_check(&ip, address, NULL);
}

/* --- In effect -------------------------------------------------------------------------------- */

/* Commands for the port; *learning is what is to be learnt with them. NULL with an error. */
static char *commands_of(const struct filter_port *port, enum filter_learning *learning, GError **error)
{
	g_autofree char *missing = NULL;
	bool asks_address;
	if (!filter_learning_of(port->binding, learning, error))
		return NULL;
	g_autoptr(GPtrArray) rules = filter_resolve(port->all, port->binding, port->address, &missing,
						    error);
	if (rules) {
		/* Leases are watched on, as they end or change; other addresses are known for good. */
		if (!port->address || *learning != FILTER_LEARN_DHCP)
			*learning = FILTER_LEARN_NONE;
		return filter_compile(port->binding->port, rules);
	}
	asks_address = missing && !strcmp(missing, "IP") && *learning != FILTER_LEARN_NONE;
	if (asks_address)
		return filter_compile_learning(port->binding, *learning == FILTER_LEARN_DHCP);
	if (missing)
		error_set(error, BERTH_ERR_INVALID,
			  "filter '%s': the variable '%s' has no value; give it with <parameter name='%s' "
			  "value='...'/>", port->binding->reference->filter, missing, missing);
	return NULL;
}

static bool learn(struct filter_port *port, enum filter_learning learning, GError **error)
{
	if (learning == FILTER_LEARN_NONE)
		filter_learn_end(g_steal_pointer(&port->learner));
	else if (!port->learner)
		return (port->learner = filter_learn_begin(port, learning, error)) != NULL;
	return true;
}

static void on_news(void *opaque, const struct nft_news *news)
{
	struct filters *filters = opaque;
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, filters->ports);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct filter_port *port = value;
		g_autoptr(GError) error = NULL;
		g_autofree char *table = g_strconcat(FILTER_TABLE_PREFIX, port->binding->port, NULL);
		if (!nft_news_gone(news, table))
			continue;
		if (filter_port_apply(port, &error))
			log_info("the filter of '%s' was gone from nftables: it is back",
				 port->binding->port);
		else
			log_warning("the filter of '%s' is gone from nftables: %s", port->binding->port,
				    error->message);
	}
}

/* Only a daemon that has bindings needs the right to watch. */
static bool watch(struct filters *filters, GError **error)
{
	if (!filters->watch)
		filters->watch = nft_watch_new(filters->daemon->loop, FILTER_TABLE_PREFIX, on_news,
					       filters, error);
	return filters->watch != NULL;
}

bool filter_port_apply(struct filter_port *port, GError **error)
{
	enum filter_learning learning;
	g_autofree char *commands = commands_of(port, &learning, error);
	if (commands && watch(port->all, error) && learn(port, learning, error) &&
	    nft_run(commands, error))
		return true;
	g_prefix_error(error, "cannot set up the filter of '%s': ", port->binding->port);
	return false;
}

static bool uses(const struct filters *filters, const struct filter_port *port, const char *name)
{
	return filter_refers_to(filters, port->binding->reference->filter, name, NULL);
}

bool filter_in_use(const struct filters *filters, const char *name)
{
	GHashTableIter iter;
	void *port;
	g_hash_table_iter_init(&iter, filters->ports);
	while (g_hash_table_iter_next(&iter, NULL, &port)) {
		if (uses(filters, port, name))
			return true;
	}
	return false;
}

bool filter_reapply(struct filters *filters, const char *name, GError **error)
{
	g_autoptr(GString) all = g_string_new(NULL);
	GHashTableIter iter;
	void *value;
	enum filter_learning learning;
	g_hash_table_iter_init(&iter, filters->ports);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		if (!uses(filters, value, name))
			continue;
		g_autofree char *commands = commands_of(value, &learning, error);
		if (!commands || !learn(value, learning, error))
			return false;
		g_string_append(all, commands);
	}
	return !all->len || nft_run(all->str, error);
}

void filter_port_learnt(struct filter_port *port, const char *address, int64_t expires_s)
{
	g_autoptr(GError) error = NULL;
	bool same = !g_strcmp0(port->address, address);
	port->expires_s = expires_s;
	if (!same) {
		g_free(port->address);
		port->address = g_strdup(address);
	}
	keep_address(port);
	if (same)
		return;
	log_info("the guest at '%s' has the address %s", port->binding->port,
		 address ? address : "no more: its lease is over");
	if (!filter_port_apply(port, &error))
		log_warning("%s", error->message);
}

/* --- Life ------------------------------------------------------------------------------------- */

void filter_port_free(void *opaque)
{
	struct filter_port *port = opaque;
	filter_learn_end(port->learner);
	conf_nwfilter_binding_free(port->binding);
	g_free(port->address);
	g_free(port);
}

static struct filter_port *port_new(struct filters *filters, struct conf_nwfilter_binding *binding)
{
	struct filter_port *port = g_new0(struct filter_port, 1);
	port->all = filters;
	port->binding = binding;
	return port;
}

static void remove_table(const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *commands = filter_compile_removal(name);
	if (!nft_run(commands, &error))
		log_warning("cannot remove the filter of '%s': %s", name, error->message);
}

bool filter_replace(struct daemon *daemon, struct conf_nwfilter_binding *binding, GError **error)
{
	struct filters *filters = daemon->filters;
	struct filter_port *port = port_new(filters, binding);
	struct filter_port *old = g_hash_table_lookup(filters->ports, binding->port);
	g_autofree char *xml = conf_nwfilter_binding_format(binding);
	bool applied = false;
	if (old && !strcmp(old->binding->mac, binding->mac)) {
		port->address = g_strdup(old->address);
		port->expires_s = old->expires_s;
	}
	if (!if_nametoindex(binding->port))
		error_set(error, BERTH_ERR_NOT_FOUND, "there is no network device '%s' to filter",
			  binding->port);
	else
		applied = filter_port_apply(port, error);
	if (applied && keep(filters, binding->port, ".xml", xml, error)) {
		g_hash_table_replace(filters->ports, binding->port, port);
		return true;
	}
	if (applied && !old)
		remove_table(binding->port);
	else if (applied && !filter_port_apply(old, NULL))
		log_warning("the filter of '%s' is another than its binding says", binding->port);
	filter_port_free(port);
	return false;
}

bool filter_instantiate(struct daemon *daemon, struct conf_nwfilter_binding *binding, GError **error)
{
	if (!g_hash_table_contains(daemon->filters->ports, binding->port))
		return filter_replace(daemon, binding, error);
	error_set(error, BERTH_ERR_BUSY, "Binding '%s' already exists: delete it first", binding->port);
	conf_nwfilter_binding_free(binding);
	return false;
}

void filter_remove(struct daemon *daemon, const char *name)
{
	struct filters *filters = daemon->filters;
	if (!g_hash_table_contains(filters->ports, name))
		return;
	g_autofree char *port = g_strdup(name);
	g_hash_table_remove(filters->ports, port);
	forget(filters, port);
	remove_table(port);
}

void filter_keep(struct daemon *daemon, const char *owner_uuid, const char *const *ports)
{
	GHashTableIter iter;
	void *value;
	g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
	g_hash_table_iter_init(&iter, daemon->filters->ports);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct conf_nwfilter_binding *binding = ((struct filter_port *)value)->binding;
		if (!strcmp(binding->owner_uuid, owner_uuid) && !g_strv_contains(ports, binding->port))
			g_ptr_array_add(gone, g_strdup(binding->port));
	}
	for (unsigned i = 0; i < gone->len; i++)
		filter_remove(daemon, gone->pdata[i]);
}

static void load(struct filters *filters, const char *path)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL, *name = g_path_get_basename(path);
	struct conf_nwfilter_binding *binding = NULL;
	*strrchr(name, '.') = 0;
	if (g_file_get_contents(path, &text, NULL, &error))
		binding = conf_nwfilter_binding_parse(text, &error);
	if (!binding || strcmp(binding->port, name) != 0) {
		log_warning("'%s' is left alone: %s", path, error ? error->message : "it names another port");
		conf_nwfilter_binding_free(binding);
		return;
	}
	struct filter_port *port = port_new(filters, binding);
	if (!if_nametoindex(binding->port)) {
		/* Its guest has ended, or the host has begun anew. */
		forget(filters, binding->port);
		remove_table(binding->port);
		filter_port_free(port);
		return;
	}
	recall_address(port);
	g_hash_table_insert(filters->ports, binding->port, port);
	if (!filter_port_apply(port, &error))
		log_warning("%s: rules of the last daemon stay", error->message);
}

void filter_ports_load(struct filters *filters)
{
	g_autoptr(GPtrArray) paths = store_list(filters->daemon, FILTER_PORTS_FOLDER, ".xml");
	for (unsigned i = 0; i < paths->len; i++)
		load(filters, paths->pdata[i]);
}
