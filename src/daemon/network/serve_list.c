/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that ask what networks there are, and who wants to hear of them: answered from memory. */
#include "conf/domain.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/network/life.h"
#include "daemon/rpc/serve.h"

#include <string.h>
#include <sys/socket.h>

enum {
	LIST_INACTIVE = 1 << 0, LIST_ACTIVE = 1 << 1, LIST_PERSISTENT = 1 << 2, LIST_TRANSIENT = 1 << 3,
	LIST_AUTOSTART = 1 << 4, LIST_NO_AUTOSTART = 1 << 5, LIST_ALL_FLAGS = (1 << 6) - 1,
	XML_INACTIVE = 1, EVENT_NUMBERS = 1,
};

/* --- All networks ----------------------------------------------------------------------------- */

static bool matches(const struct network *network, uint32_t flags)
{
	return network_conf(network) && rpc_list_passes(flags, LIST_ACTIVE, LIST_INACTIVE, network->live) &&
	       rpc_list_passes(flags, LIST_PERSISTENT, LIST_TRANSIENT, network->definition) &&
	       rpc_list_passes(flags, LIST_AUTOSTART, LIST_NO_AUTOSTART, network->autostart);
}

static int compare(const void *a, const void *b)
{
	return strcmp((*(struct network *const *)a)->name, (*(struct network *const *)b)->name);
}

/* Borrowed networks, by name. */
static GPtrArray *select_networks(struct rpc_call *call, uint32_t flags)
{
	GPtrArray *found = g_ptr_array_new();
	GHashTableIter iter;
	void *network;
	g_hash_table_iter_init(&iter, rpc_call_daemon(call)->networks->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &network)) {
		if (matches(network, flags) &&
		    rpc_call_sees(call, RPC_NETWORK, ((struct network *)network)->name))
			g_ptr_array_add(found, network);
	}
	g_ptr_array_sort(found, compare);
	return found;
}

static void reply_names(struct rpc_call *call, uint32_t flags, int max)
{
	g_autoptr(GPtrArray) found = select_networks(call, flags);
	struct remote_connect_list_networks_ret ret = {.names.count = MIN(found->len, (unsigned)MAX(max, 0))};
	ret.names.items = arena_alloc(rpc_call_arena(call), ret.names.count * sizeof(char *));
	for (unsigned i = 0; i < ret.names.count; i++)
		ret.names.items[i] = ((struct network *)found->pdata[i])->name;
	rpc_call_reply(call, &ret);
}

static void reply_count(struct rpc_call *call, uint32_t flags)
{
	g_autoptr(GPtrArray) found = select_networks(call, flags);
	rpc_call_reply(call, &(struct remote_connect_num_of_networks_ret){found->len});
}

void serve_connect_num_of_networks(struct rpc_call *call)
{
	reply_count(call, LIST_ACTIVE);
}

void serve_connect_num_of_defined_networks(struct rpc_call *call)
{
	reply_count(call, LIST_INACTIVE);
}

void serve_connect_list_networks(struct rpc_call *call, const struct remote_connect_list_networks_args *args)
{
	reply_names(call, LIST_ACTIVE, args->maxnames);
}

void serve_connect_list_defined_networks(struct rpc_call *call,
					 const struct remote_connect_list_defined_networks_args *args)
{
	reply_names(call, LIST_INACTIVE, args->maxnames);
}

void serve_connect_list_all_networks(struct rpc_call *call,
				     const struct remote_connect_list_all_networks_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, LIST_ALL_FLAGS))
		return;
	g_autoptr(GPtrArray) found = select_networks(call, args->flags);
	struct remote_connect_list_all_networks_ret ret = {.ret = found->len};
	if (args->need) {
		ret.nets.count = found->len;
		ret.nets.items = arena_alloc(rpc_call_arena(call), found->len * sizeof(*ret.nets.items));
		for (unsigned i = 0; i < found->len; i++)
			ret.nets.items[i] = network_wire(found->pdata[i]);
	}
	rpc_call_reply(call, &ret);
}

/* --- One network ------------------------------------------------------------------------------ */

static void reply_network(struct rpc_call *call, const struct network *network)
{
	struct remote_network_lookup_by_name_ret ret = {network_wire(network)};
	rpc_call_reply(call, &ret);
}

void serve_network_lookup_by_name(struct rpc_call *call,
				  const struct remote_network_lookup_by_name_args *args)
{
	const struct network *network = network_by_name(rpc_call_daemon(call)->networks, args->name);
	GError *error = NULL;
	if (network && network_conf(network)) {
		reply_network(call, network);
		return;
	}
	virt_error(&error, VIRT_FROM_NETWORK, VIRT_NO_NETWORK, "no network with matching name '%s'", args->name);
	rpc_call_fail(call, error);
}

void serve_network_lookup_by_uuid(struct rpc_call *call,
				  const struct remote_network_lookup_by_uuid_args *args)
{
	const struct network *network = network_by_uuid(rpc_call_daemon(call)->networks, args->uuid);
	GError *error = NULL;
	char text[37];
	if (network && network_conf(network)) {
		reply_network(call, network);
		return;
	}
	conf_uuid_format(args->uuid, text);
	virt_error(&error, VIRT_FROM_NETWORK, VIRT_NO_NETWORK, "no network with matching uuid '%s'", text);
	rpc_call_fail(call, error);
}

void serve_network_get_xml_desc(struct rpc_call *call, const struct remote_network_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, XML_INACTIVE))
		return;
	const struct network *network = network_find(call, &args->net);
	if (!network)
		return;
	bool live = network->live && !(args->flags & XML_INACTIVE && network->definition);
	g_autofree char *xml = conf_network_format(live ? network->live : network->definition,
						   live ? g_hash_table_size(network->ports) : 0);
	rpc_call_reply(call, &(struct remote_network_get_xml_desc_ret){xml});
}

void serve_network_get_autostart(struct rpc_call *call,
				 const struct remote_network_get_autostart_args *args)
{
	const struct network *network = network_find(call, &args->net);
	if (network)
		rpc_call_reply(call, &(struct remote_network_get_autostart_ret){network->autostart});
}

void serve_network_get_bridge_name(struct rpc_call *call,
				   const struct remote_network_get_bridge_name_args *args)
{
	const struct network *network = network_find(call, &args->net);
	GError *error = NULL;
	if (network && network_conf(network)->bridge) {
		rpc_call_reply(call,
			       &(struct remote_network_get_bridge_name_ret){network_conf(network)->bridge});
		return;
	}
	if (!network)
		return;
	virt_error(&error, VIRT_FROM_NETWORK, VIRT_INTERNAL, "network '%s' does not have a bridge name.",
		   network->name);
	rpc_call_fail(call, error);
}

void serve_network_is_active(struct rpc_call *call, const struct remote_network_is_active_args *args)
{
	const struct network *network = network_find(call, &args->net);
	if (network)
		rpc_call_reply(call, &(struct remote_network_is_active_ret){network->live != NULL});
}

void serve_network_is_persistent(struct rpc_call *call,
				 const struct remote_network_is_persistent_args *args)
{
	const struct network *network = network_find(call, &args->net);
	if (network)
		rpc_call_reply(call, &(struct remote_network_is_persistent_ret){network->definition != NULL});
}

/* --- Leases ----------------------------------------------------------------------------------- */

static unsigned prefix_of(const struct conf_network *conf, const struct ip_address *ip)
{
	for (unsigned i = 0; i < conf->ips->len; i++) {
		const struct conf_network_ip *one = conf->ips->pdata[i];
		if (ip_in_network(ip, &one->address, one->prefix))
			return one->prefix;
	}
	return ip_bits(ip);
}

/* libvirt's numbers: 0 is IPv4, 1 is IPv6. */
static void fill_lease(struct arena *arena, const struct conf_network *conf, const struct dnsmasq_lease *lease,
		       struct remote_network_dhcp_lease *wire)
{
	char ip[IP_TEXT_SIZE];
	*wire = (struct remote_network_dhcp_lease){
		.iface = arena_strdup(arena, conf->bridge),
		.expirytime = lease->expiry,
		.type = lease->ip.family == AF_INET6,
		.ipaddr = arena_strdup(arena, ip_format(&lease->ip, ip)),
		.prefix = prefix_of(conf, &lease->ip),
		.mac = lease->mac ? arena_strdup(arena, lease->mac) : NULL,
		.iaid = lease->iaid ? arena_strdup(arena, lease->iaid) : NULL,
		.hostname = lease->hostname ? arena_strdup(arena, lease->hostname) : NULL,
		.clientid = lease->client_id ? arena_strdup(arena, lease->client_id) : NULL,
	};
}

static bool is_of(const struct dnsmasq_lease *lease, const char *mac)
{
	return !mac || (lease->mac && g_ascii_strcasecmp(lease->mac, mac) == 0);
}

GArray *network_leases(struct networks *networks, const char *name, const char *mac)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct network_lease));
	const struct network *network = network_by_name(networks, name);
	if (!network || !network->live)
		return list;
	g_autofree char *folder = network_run_folder(networks);
	g_autoptr(GPtrArray) leases = dnsmasq_leases(network->live, folder);
	for (unsigned i = 0; i < leases->len; i++) {
		const struct dnsmasq_lease *lease = leases->pdata[i];
		const struct network_lease one = {lease->ip, prefix_of(network->live, &lease->ip)};
		if (is_of(lease, mac))
			g_array_append_val(list, one);
	}
	return list;
}

void serve_network_get_dhcp_leases(struct rpc_call *call,
				   const struct remote_network_get_dhcp_leases_args *args)
{
	struct remote_network_get_dhcp_leases_ret ret = {.ret = 0};
	GError *error = NULL;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct network *network = network_find(call, &args->net);
	if (!network)
		return;
	if (!network_check_active(network, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	g_autofree char *folder = network_run_folder(network->all);
	g_autoptr(GPtrArray) leases = dnsmasq_leases(network->live, folder);
	ret.leases.items = arena_alloc(rpc_call_arena(call), leases->len * sizeof(*ret.leases.items));
	for (unsigned i = 0; i < leases->len; i++) {
		const struct dnsmasq_lease *lease = leases->pdata[i];
		if (!is_of(lease, args->mac))
			continue;
		if (args->need)
			fill_lease(rpc_call_arena(call), network->live, lease,
				   &ret.leases.items[ret.leases.count++]);
		ret.ret++;
	}
	rpc_call_reply(call, &ret);
}

/* --- Events ----------------------------------------------------------------------------------- */

void serve_connect_network_event_register_any(
	struct rpc_call *call, const struct remote_connect_network_event_register_any_args *args)
{
	GError *error = NULL;
	if (args->event < 0 || args->event >= EVENT_NUMBERS) {
		virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "unsupported network event ID %d",
			   args->event);
		rpc_call_fail(call, error);
		return;
	}
	int id = rpc_event_register(call, RPC_EVENT_NETWORK, args->event, args->net ? args->net->uuid : NULL);
	if (id >= 0)
		rpc_call_reply(call, &(struct remote_connect_network_event_register_any_ret){id});
}

void serve_connect_network_event_deregister_any(
	struct rpc_call *call, const struct remote_connect_network_event_deregister_any_args *args)
{
	GError *error = NULL;
	if (rpc_event_deregister(call, RPC_EVENT_NETWORK, args->callback)) {
		rpc_call_reply(call, NULL);
		return;
	}
	virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "network event callback %d not registered",
		   args->callback);
	rpc_call_fail(call, error);
}
