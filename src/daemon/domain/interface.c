/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/interface.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/vm.h"
#include "daemon/domain/passt.h"
#include "daemon/network/filter.h"
#include "daemon/network/macvtap.h"
#include "daemon/network/netlink.h"
#include "daemon/network/ovs_queue.h"
#include "daemon/network/rate.h"
#include "daemon/network/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* --- Where it is plugged in ------------------------------------------------------------------- */

static bool refuse(const struct conf_domain_nic *nic, const char *what, const char *where, GError **error)
{
	return virt_error(error, VIRT_FROM_DOMAIN, VIRT_CONFIG_UNSUPPORTED,
			  "interface %s - %s is not supported for network interfaces %s", nic->mac, what, where);
}

/* What nothing puts into effect where the card is plugged in is refused, not left out. */
static bool check_plug(const struct conf_domain_nic *nic, const struct network_plug *plug, GError **error)
{
	bool ovs = conf_virtualport_is_ovs(&plug->virtualport);
	if (plug->kind == NETWORK_PLUG_HOSTDEV)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_CONFIG_UNSUPPORTED,
				  "interface %s - network '%s' gives it the host's PCI device %s, and host "
				  "devices (VFIO) are not supported yet", nic->mac, nic->network, plug->link);
	const char *what = nic->filter ? "filterref" : plug->isolated ? "<port isolated='yes'/>" : NULL;
	if (plug->kind == NETWORK_PLUG_DIRECT) {
		if (plug->virtualport.present)
			what = "<virtualport>";
		else if (plug->vlan.count)
			what = "<vlan>";
		return !what || refuse(nic, what, "of type direct", error);
	}
	if (ovs)
		return !what || refuse(nic, what, "with virtualport type='openvswitch'", error);
	if (plug->virtualport.present)
		return refuse(nic, "a virtual port without a type", "of a bridge of the kernel", error);
	return !plug->vlan.count || virt_error(error, VIRT_FROM_DOMAIN, VIRT_CONFIG_UNSUPPORTED,
					       "interface %s - vlan tag not supported for this connection type",
					       nic->mac);
}

/* `lower`: room for the name of an interface, as long as the request is used. */
static void fill_request(const struct domain *dom, const struct conf_domain_nic *nic, char lower[IFNAMSIZ],
			 struct network_port_request *request)
{
	*request = (struct network_port_request){
		.network = nic->network, .group = nic->portgroup, .owner_name = dom->name,
		.owner_uuid = dom->uuid, .vlan = &nic->vlan, .virtualport = &nic->virtualport,
		.bandwidth = &nic->bandwidth};
	mac_parse(nic->mac, request->mac);
	if (nic->port)
		conf_uuid_parse(nic->port, request->uuid, NULL);
	/* A running card has its device of a pool already. */
	if (nic->target && macvtap_lower(nic->target, lower))
		request->device = lower;
}

/*
 * How the card is plugged in: its strings are the card's, or of its port in a network, which is opened, or
 * changed to what the card says. *port NULL: there is none. *plug NULL: it is plugged in nowhere.
 */
static bool find_plug(const struct domain *dom, const struct conf_domain_nic *nic, struct network_plug *own,
		      const struct network_port **port, const struct network_plug **plug, GError **error)
{
	struct network_port_request request;
	char lower[IFNAMSIZ];
	*port = NULL;
	*plug = own;
	*own = (struct network_plug){.kind = NETWORK_PLUG_BRIDGE, .link = nic->source,
				     .isolated = nic->isolated, .vlan = nic->vlan, .virtualport = nic->virtualport,
				     .bandwidth = nic->bandwidth};
	if (strcmp(nic->type, "direct") == 0) {
		own->kind = NETWORK_PLUG_DIRECT;
		own->mode = nic->mode;
	} else if (strcmp(nic->type, "network") == 0) {
		fill_request(dom, nic, lower, &request);
		*port = network_port_open(dom->all->daemon->networks, &request, error);
		if (!*port)
			return false;
		*own = (*port)->plug;
		own->isolated |= nic->isolated;
	} else if (strcmp(nic->type, "bridge") != 0) {
		*plug = NULL;
		return true;
	}
	return check_plug(nic, own, error);
}

/* --- Limits ----------------------------------------------------------------------------------- */

/* `plug` NULL: none. Where a guest sends and receives by a macvtap device, it is the host's end, too. */
static bool set_limits(const struct domain *dom, const struct conf_domain_nic *nic, const char *device,
		       const struct network_plug *plug, GError **error)
{
	const struct conf_bandwidth *limits = plug ? &plug->bandwidth : &nic->bandwidth;
	struct daemon *daemon = dom->all->daemon;
	if (limits->inbound.floor && (!plug || !plug->own))
		return refuse(nic, "floor", "outside of networks with a bridge of their own", error);
	if (plug && conf_virtualport_is_ovs(&plug->virtualport)) {
		ovs_queue_bandwidth(daemon->ovs, dom->uuid_text, device, limits);
		return true;
	}
	if (!plug || plug->kind != NETWORK_PLUG_DIRECT)
		return rates_set(daemon, device, limits, error);
	const struct conf_bandwidth turned = {
		.has_inbound = limits->has_outbound, .inbound = limits->outbound,
		.has_outbound = limits->has_inbound, .outbound = limits->inbound};
	return rates_set(daemon, device, &turned, error);
}

static bool has_limits(const struct network_plug *plug)
{
	return plug->bandwidth.has_inbound || plug->bandwidth.has_outbound;
}

/* --- Filters ---------------------------------------------------------------------------------- */

struct filter_request {
	const struct domain *dom;
	const struct conf_domain_nic *nic;
};

static struct conf_nwfilter_binding *binding_of(const struct domain *dom,
						 const struct conf_domain_nic *nic, const char *port)
{
	struct conf_nwfilter_binding *binding = g_new0(struct conf_nwfilter_binding, 1);
	binding->owner_name = g_strdup(dom->name);
	binding->owner_uuid = g_strdup(dom->uuid_text);
	binding->port = g_strdup(port);
	binding->mac = g_strdup(nic->mac);
	binding->reference = conf_nwfilter_reference_copy(nic->filter);
	return binding;
}

/*
 * The guest's filter is on its tap device before that is switched on. A device that was made just now has
 * no binding of its own: one of that name is of a device before it.
 */
static bool put_filter(void *opaque, const char *port, GError **error)
{
	const struct filter_request *request = opaque;
	struct daemon *daemon = request->dom->all->daemon;
	if (!request->nic->unmanaged)
		filter_remove(daemon, port);
	return filter_instantiate(daemon, binding_of(request->dom, request->nic, port), error);
}

static char *filter_text(const struct conf_nwfilter_reference *reference)
{
	struct xml_writer w = xml_writer_new();
	if (reference)
		conf_nwfilter_reference_write(&w, reference);
	return xml_writer_take(&w);
}

/* The same filter is not put there again: what it remembers of flows would be gone. */
static bool update_filter(struct domain *dom, const struct conf_domain_nic *old,
			  const struct conf_domain_nic *next, GError **error)
{
	g_autofree char *before = filter_text(old->filter), *after = filter_text(next->filter);
	if (strcmp(before, after) == 0)
		return true;
	if (next->filter)
		return filter_replace(dom->all->daemon, binding_of(dom, next, old->target), error);
	filter_remove(dom->all->daemon, old->target);
	return true;
}

/* --- Changes ---------------------------------------------------------------------------------- */

/* From one way to be plugged in to another in the same place. */
static bool update_plug(const struct domain *dom, const struct conf_domain_nic *nic,
			const struct network_plug *old, const struct network_plug *next, GError **error)
{
	if (!conf_vlan_equal(&old->vlan, &next->vlan))
		ovs_queue_vlan(dom->all->daemon->ovs, dom->uuid_text, nic->target, &next->vlan);
	return memcmp(&old->bandwidth, &next->bandwidth, sizeof(old->bandwidth)) == 0 ||
	       set_limits(dom, nic, nic->target, next, error);
}

/* What of it no running card can change. g_free(). */
static char *place_of(const struct network_plug *plug)
{
	const struct conf_virtualport *port = &plug->virtualport;
	const char *id = port->interfaceid ? port->interfaceid : "";
	const char *profile = port->profileid ? port->profileid : "";
	return g_strdup_printf("%d %s %s %s", conf_virtualport_is_ovs(port), plug->link, id, profile);
}

/* The card's port is as `nic` says, or, if that fails, as it can be: that is what a log is for. */
static void go_back(const struct domain *dom, const struct conf_domain_nic *nic,
		    const struct network_plug *now)
{
	struct network_plug own;
	const struct network_port *port;
	const struct network_plug *plug;
	g_autoptr(GError) error = NULL;
	if (!find_plug(dom, nic, &own, &port, &plug, &error) ||
	    (plug && !update_plug(dom, nic, now, plug, &error)))
		log_warning("domain '%s': %s", dom->name, error->message);
}

/* What the cards themselves say of their ports; a filter is not possible on all of them. */
static bool same_settings(const struct conf_domain_nic *a, const struct conf_domain_nic *b)
{
	const struct conf_virtualport *x = &a->virtualport, *y = &b->virtualport;
	return memcmp(&a->bandwidth, &b->bandwidth, sizeof(a->bandwidth)) == 0 &&
	       !a->filter == !b->filter && conf_vlan_equal(&a->vlan, &b->vlan) &&
	       g_strcmp0(a->portgroup, b->portgroup) == 0 &&
	       x->present == y->present && g_strcmp0(x->type, y->type) == 0 &&
	       g_strcmp0(x->profileid, y->profileid) == 0 && g_strcmp0(x->interfaceid, y->interfaceid) == 0;
}

static bool update_settings(const struct domain *dom, const struct conf_domain_nic *old,
			    const struct conf_domain_nic *next, GError **error)
{
	struct network_plug before, after;
	const struct network_port *port;
	const struct network_plug *plug;
	/* Also if the network is not active now. */
	if (same_settings(old, next))
		return true;
	if (!find_plug(dom, old, &before, &port, &plug, error))
		return false;
	if (!plug)
		return set_limits(dom, next, old->target, NULL, error);
	/* The port's strings end when it is opened anew. */
	g_autofree char *here = place_of(&before);
	if (!find_plug(dom, next, &after, &port, &plug, error)) {
		go_back(dom, old, &before);
		return false;
	}
	g_autofree char *there = place_of(&after);
	bool good = (strcmp(here, there) == 0 ||
		     virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				"a running domain's interface keeps its bridge and its virtual port")) &&
		    update_plug(dom, next, &before, &after, error);
	if (!good)
		go_back(dom, old, &before);
	return good;
}

bool interface_update(struct domain *dom, const struct conf_domain_nic *old,
		      const struct conf_domain_nic *next, GError **error)
{
	g_autoptr(GError) undo = NULL;
	if (!update_settings(dom, old, next, error))
		return false;
	if (update_filter(dom, old, next, error))
		return true;
	if (!update_settings(dom, next, old, &undo))
		log_warning("domain '%s': %s", dom->name, undo->message);
	return false;
}

bool interface_take_back(struct domain *dom, const struct conf_domain *next)
{
	bool begun = false;
	for (unsigned i = 0; i < dom->live->nics->len; i++) {
		const struct conf_domain_nic *now = dom->live->nics->pdata[i], *other = NULL;
		g_autoptr(GError) error = NULL;
		for (unsigned n = 0; n < next->nics->len; n++) {
			const struct conf_domain_nic *one = next->nics->pdata[n];
			if (g_strcmp0(one->dev.alias, now->dev.alias) == 0)
				other = one;
		}
		if (!other || same_settings(other, now))
			continue;
		begun = true;
		if (!interface_update(dom, other, now, &error))
			log_warning("domain '%s': a change cannot be taken back: %s", dom->name, error->message);
	}
	return begun;
}

/* --- Opening ---------------------------------------------------------------------------------- */

static int open_direct(const struct domain *dom, const struct tap_request *tap, char name[IFNAMSIZ],
		       GError **error)
{
	struct macvtap_request request = {.name = tap->name, .lower = tap->plug->link,
					  .mode = tap->plug->mode, .owner_uuid = dom->uuid_text,
					  .mtu = tap->mtu};
	memcpy(request.mac, tap->guest_mac, sizeof(request.mac));
	return macvtap_open(&request, name, error);
}

static struct tap_request tap_of(const struct domain *dom, const struct conf_domain_nic *nic,
				 const struct network_plug *plug)
{
	struct tap_request request = {.name = nic->target, .existing = nic->unmanaged, .plug = plug,
				      .multi_queue = nic->queues > 1,
				      .ovs = dom->all->daemon->ovs, .owner = dom->uuid_text,
				      .mtu = nic->mtu ? nic->mtu : plug ? plug->mtu : 0};
	mac_parse(nic->mac, request.guest_mac);
	return request;
}

/* Sockets and programs of others: no device of the host's is made. */
static bool open_user_space(struct domain *dom, struct conf_domain_nic *nic, GArray *fds,
			    GError **error)
{
	if (nic->socket && !dom->live->backing.shared)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				  "domain '%s': type='vhostuser' needs <memoryBacking><source type='memfd'/>"
				  "<access mode='shared'/></memoryBacking>", dom->name);
	int fd = nic->passt ? passt_start(dom, nic, error) : -1;
	if (fd >= 0) {
		g_array_append_val(fds, fd);
		nic->fds = 1;
	} else if (nic->passt) {
		g_prefix_error(error, "domain '%s': ", dom->name);
		return false;
	}
	return true;
}

/* One of /dev/vhost-net for each queue: where it is asked for, or where it is of use. */
static bool open_vhost(const struct domain *dom, struct conf_domain_nic *nic, GArray *fds, GError **error)
{
	bool asked = nic->driver == CONF_NIC_DRIVER_VHOST;
	if (!asked && (nic->driver == CONF_NIC_DRIVER_VMM || !dom->live->kvm ||
		       !conf_domain_nic_is_virtio(nic)))
		return true;
	while (nic->vhost_fds < nic->queues) {
		int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
		if (fd < 0 && (asked || nic->vhost_fds))
			return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
					  "domain '%s': vhost-net was requested for an interface, but is "
					  "unavailable: cannot open /dev/vhost-net: %s", dom->name,
					  g_strerror(errno));
		if (fd < 0)
			return true;
		g_array_append_val(fds, fd);
		nic->vhost_fds++;
	}
	return true;
}

/* The first queue is open: the others. */
static bool open_queues(struct conf_domain_nic *nic, const char *name, GArray *fds, GError **error)
{
	for (nic->fds = 1; nic->fds < nic->queues; nic->fds++) {
		int fd = tap_open_queue(name, error);
		if (fd < 0)
			return false;
		g_array_append_val(fds, fd);
	}
	return true;
}

bool interface_open(struct domain *dom, struct conf_domain_nic *nic, GArray *fds, GError **error)
{
	struct network_plug own;
	const struct network_port *port;
	const struct network_plug *plug;
	char name[IFNAMSIZ];
	nic->fds = nic->vhost_fds = 0;
	if (nic->socket || nic->cable || strcmp(nic->type, "user") == 0)
		return open_user_space(dom, nic, fds, error);
	if (!find_plug(dom, nic, &own, &port, &plug, error))
		return false;
	bool direct = plug && plug->kind == NETWORK_PLUG_DIRECT;
	struct tap_request request = tap_of(dom, nic, plug);
	struct filter_request filter = {dom, nic};
	if (direct && nic->queues > 1)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				  "domain '%s': Berth does not support several queues on a macvtap device, "
				  "which its network gives it", dom->name);
	if (nic->filter) {
		request.prepare = put_filter;
		request.opaque = &filter;
	}
	int fd = direct ? open_direct(dom, &request, name, error) : tap_open(&request, name, error);
	if (fd < 0) {
		g_prefix_error(error, "domain '%s': ", dom->name);
		return false;
	}
	g_array_append_val(fds, fd);
	bool limited = plug ? has_limits(plug) : nic->bandwidth.has_inbound || nic->bandwidth.has_outbound;
	if ((limited && !set_limits(dom, nic, name, plug, error)) || !open_queues(nic, name, fds, error) ||
	    !open_vhost(dom, nic, fds, error))
		return false;
	conf_domain_nic_plugged(nic, name, port && !direct ? port->plug.link : NULL,
				port ? port->uuid_text : NULL, port ? port->plug.mtu : 0);
	return true;
}

static void close_fd(void *opaque)
{
	fd_clear(opaque);
}

GArray *interface_fds_new(void)
{
	GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
	g_array_set_clear_func(fds, close_fd);
	return fds;
}

/* --- Waiting ---------------------------------------------------------------------------------- */

static void on_ovs(void *opaque, const GError *error)
{
	struct domain *dom = opaque;
	dom->links_done(dom->links_opaque, error);
}

static void on_passt(void *opaque, const GError *error)
{
	struct domain *dom = opaque;
	if (error)
		dom->links_done(dom->links_opaque, error);
	else
		ovs_queue_await(dom->all->daemon->ovs, dom->uuid_text, on_ovs, dom);
}

void interface_await(struct domain *dom, void (*done)(void *opaque, const GError *error), void *opaque)
{
	dom->links_done = done;
	dom->links_opaque = opaque;
	passt_await(dom, on_passt, dom);
}

void interface_forget(struct domain *dom)
{
	passt_forget(dom);
	ovs_queue_forget(dom->all->daemon->ovs, dom->uuid_text);
}

GArray *interface_open_all(struct domain *dom, GError **error)
{
	g_autoptr(GArray) fds = interface_fds_new();
	for (unsigned i = 0; i < dom->live->nics->len; i++) {
		if (!interface_open(dom, dom->live->nics->pdata[i], fds, error))
			return NULL;
	}
	return g_steal_pointer(&fds);
}

void interface_release(struct domain *dom)
{
	g_autoptr(GPtrArray) keep = g_ptr_array_new(), filtered = g_ptr_array_new();
	g_autoptr(GPtrArray) targets = g_ptr_array_new();
	for (unsigned i = 0; dom->live && i < dom->live->nics->len; i++) {
		const struct conf_domain_nic *nic = dom->live->nics->pdata[i];
		if (nic->port)
			g_ptr_array_add(keep, nic->port);
		if (nic->target)
			g_ptr_array_add(targets, nic->target);
		if (nic->filter && nic->target)
			g_ptr_array_add(filtered, nic->target);
	}
	g_ptr_array_add(keep, NULL);
	g_ptr_array_add(filtered, NULL);
	g_ptr_array_add(targets, NULL);
	macvtap_sweep(dom->uuid_text, (const char *const *)targets->pdata);
	ovs_queue_detach(dom->all->daemon->ovs, dom->uuid_text);
	ovs_queue_sweep(dom->all->daemon->ovs, dom->uuid_text, (const char *const *)targets->pdata);
	ovs_queue_detach(dom->all->daemon->ovs, dom->uuid_text);
	rates_sweep(dom->all->daemon);
	filter_keep(dom->all->daemon, dom->uuid_text, (const char *const *)filtered->pdata);
	network_ports_keep(dom->all->daemon->networks, dom->uuid, (const char *const *)keep->pdata);
}

/* --- Found again ------------------------------------------------------------------------------ */

static bool is_plugged(const struct domain *dom, const char *device, const struct network_plug *plug)
{
	struct netlink_link tap, bridge;
	/* Its database is asked later, beside the loop. */
	if (conf_virtualport_is_ovs(&plug->virtualport))
		return false;
	return netlink_link_get(device, &tap, NULL) && netlink_link_get(plug->link, &bridge, NULL) &&
	       tap.master == bridge.index;
}

/* Its bridge may have been made anew while no daemon was there. */
static bool restore(const struct domain *dom, const struct conf_domain_nic *nic, GError **error)
{
	struct network_plug own;
	const struct network_port *port;
	const struct network_plug *plug;
	if (!find_plug(dom, nic, &own, &port, &plug, error))
		return false;
	if (!nic->target)
		return true;
	struct tap_request request = tap_of(dom, nic, plug);
	if (plug && plug->kind == NETWORK_PLUG_BRIDGE && !is_plugged(dom, nic->target, plug) &&
	    !tap_plug_in(&request, nic->target, error))
		return false;
	return set_limits(dom, nic, nic->target, plug, error);
}

/* `network` NULL: all cards. */
static void restore_cards(const struct domain *dom, const char *network)
{
	for (unsigned i = 0; i < dom->live->nics->len; i++) {
		const struct conf_domain_nic *nic = dom->live->nics->pdata[i];
		g_autoptr(GError) error = NULL;
		if ((!network || g_strcmp0(nic->network, network) == 0) && !restore(dom, nic, &error))
			log_warning("domain '%s': %s", dom->name, error->message);
	}
	ovs_queue_leave(dom->all->daemon->ovs, dom->uuid_text);
}

void interface_restore(struct domain *dom)
{
	restore_cards(dom, NULL);
}

void interface_network_is_up(struct daemon *daemon, const char *network)
{
	GHashTableIter iter;
	void *value;
	/* Before there are domains, they are restored themselves. */
	if (!daemon->domains)
		return;
	g_hash_table_iter_init(&iter, daemon->domains->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct domain *dom = value;
		if (dom->live && dom->vmm)
			restore_cards(dom, network);
	}
}
