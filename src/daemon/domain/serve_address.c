/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The addresses of a domain's cards, as the host knows them. */
#include "daemon/domain/domain.h"

#include "base/ip.h"
#include "daemon/domain/agent_call.h"
#include "daemon/network/netlink.h"
#include "daemon/network/network.h"
#include "daemon/rpc/serve.h"

#include <string.h>
#include <sys/socket.h>

/* libvirt's numbers. */
enum source { SOURCE_LEASE, SOURCE_AGENT, SOURCE_ARP };
enum { TYPE_IPV4 = 0, TYPE_IPV6 = 1, MOST = 64 };

static void add(struct arena *arena, struct remote_domain_interface *iface, const struct ip_address *ip,
		unsigned prefix)
{
	char text[IP_TEXT_SIZE];
	if (iface->addrs.count == MOST)
		return;
	iface->addrs.items[iface->addrs.count++] = (struct remote_domain_ip_addr){
		ip->family == AF_INET6 ? TYPE_IPV6 : TYPE_IPV4, arena_strdup(arena, ip_format(ip, text)),
		prefix};
}

/* Whom the host has seen of late. Prefixes are not known. */
static void add_neighbours(struct arena *arena, struct remote_domain_interface *iface, const uint8_t mac[6],
			   const GArray *neighbours)
{
	for (unsigned i = 0; i < neighbours->len; i++) {
		const struct netlink_neighbour *one = &g_array_index(neighbours, struct netlink_neighbour, i);
		if (memcmp(one->mac, mac, sizeof(one->mac)) == 0)
			add(arena, iface, &one->ip, 0);
	}
}

static void add_leases(struct arena *arena, struct remote_domain_interface *iface,
		       const struct network_lease *leases, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		add(arena, iface, &leases[i].ip, leases[i].prefix);
}

static void fill(struct rpc_call *call, const struct domain *dom, const struct conf_domain_nic *nic,
		 const GArray *neighbours, struct remote_domain_interface *iface)
{
	struct arena *arena = rpc_call_arena(call);
	uint8_t mac[6];
	mac_parse(nic->mac, mac);
	*iface = (struct remote_domain_interface){.name = nic->target ? nic->target : nic->dev.alias,
						  .hwaddr = nic->mac};
	iface->addrs.items = arena_alloc(arena, MOST * sizeof(*iface->addrs.items));
	if (neighbours) {
		add_neighbours(arena, iface, mac, neighbours);
	} else if (nic->network) {
		g_autoptr(GArray) leases =
			network_leases(dom->all->daemon->networks, nic->network, nic->mac);
		add_leases(arena, iface, (const struct network_lease *)(void *)leases->data, leases->len);
	}
}

static bool check(const struct domain *dom, uint32_t source, GError **error)
{
	if (!dom->vmm)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID, "domain is not running");
	return source <= SOURCE_ARP || virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
						  "Unknown IP address data source %u", source);
}

void serve_domain_interface_addresses(struct rpc_call *call,
				      const struct remote_domain_interface_addresses_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	g_autoptr(GArray) neighbours = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0) ||
	    (args->source == SOURCE_AGENT && !rpc_call_needs_write(call)))
		return;
	if (!check(dom, args->source, &error) ||
	    (args->source == SOURCE_ARP && !(neighbours = netlink_neighbours(&error)))) {
		rpc_call_fail(call, error);
		return;
	}
	if (args->source == SOURCE_AGENT) {
		agent_interface_addresses(call, dom);
		return;
	}
	const GPtrArray *nics = dom->live->nics;
	struct remote_domain_interface_addresses_ret ret = {0};
	ret.ifaces.items = arena_alloc(rpc_call_arena(call), nics->len * sizeof(*ret.ifaces.items));
	for (unsigned i = 0; i < nics->len; i++) {
		struct remote_domain_interface *iface = &ret.ifaces.items[ret.ifaces.count];
		fill(call, dom, nics->pdata[i], neighbours, iface);
		ret.ifaces.count += iface->addrs.count > 0;
	}
	rpc_call_reply(call, &ret);
}
