/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/interface.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "conf/vm.h"
#include "daemon/network/filter.h"
#include "daemon/network/macvtap.h"
#include "daemon/network/netlink.h"
#include "daemon/network/rate.h"
#include "daemon/network/tap.h"

#include <string.h>

/* What of a network's settings nothing here puts into effect is refused, not left out. */
static bool check_plug(const struct domain *dom, const struct network_plug *plug, GError **error)
{
	bool direct = plug->kind == NETWORK_PLUG_DIRECT;
	bool limited = plug->bandwidth.has_inbound || plug->bandwidth.has_outbound;
	const char *what = plug->virtualport.present ? "a virtual port"
			   : plug->vlan.count	     ? "VLAN tags"
			   : direct && limited	     ? "limits of bandwidth on a macvtap device"
			   : direct && plug->isolated ? "isolation on a macvtap device" : NULL;
	return !what || virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				   "domain '%s': its network gives it %s, which Berth does not support",
				   dom->name, what);
}

/* What the document's own check cannot see: that the network is one of the host's interfaces. */
static bool check_direct(const struct domain *dom, const struct conf_domain_nic *nic, bool direct,
			 GError **error)
{
	const char *what = nic->filter ? "<filterref>"
			   : nic->isolated ? "<port isolated='yes'>"
			   : nic->bandwidth.has_inbound || nic->bandwidth.has_outbound ? "<bandwidth>" : NULL;
	return !direct || !what ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
			  "domain '%s': Berth does not support %s on a macvtap device, which its network "
			  "gives it", dom->name, what);
}

static void fill_request(const struct domain *dom, const struct conf_domain_nic *nic,
			 struct network_port_request *request)
{
	*request = (struct network_port_request){
		.network = nic->network, .group = nic->portgroup, .owner_name = dom->name,
		.owner_uuid = dom->uuid};
	mac_parse(nic->mac, request->mac);
	if (nic->port)
		conf_uuid_parse(nic->port, request->uuid, NULL);
}

/* The port of a network, or the bridge that the document names; `own` is for the latter. */
static bool find_plug(struct domain *dom, const struct conf_domain_nic *nic, struct network_plug *own,
		      const struct network_port **port, const struct network_plug **plug, GError **error)
{
	struct network_port_request request;
	*port = NULL;
	*plug = NULL;
	if (strcmp(nic->type, "direct") == 0) {
		*own = (struct network_plug){.kind = NETWORK_PLUG_DIRECT, .link = nic->source,
					     .mode = nic->mode};
		*plug = own;
	} else if (strcmp(nic->type, "bridge") == 0) {
		*own = (struct network_plug){.kind = NETWORK_PLUG_BRIDGE, .link = nic->source,
					     .isolated = nic->isolated};
		*plug = own;
	} else if (strcmp(nic->type, "network") == 0) {
		fill_request(dom, nic, &request);
		*port = network_port_open(dom->all->daemon->networks, &request, error);
		if (!*port || !check_plug(dom, &(*port)->plug, error))
			return false;
		*own = (*port)->plug;
		own->isolated |= nic->isolated;
		*plug = own;
	}
	return true;
}

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

bool interface_update(struct domain *dom, const struct conf_domain_nic *old,
		      const struct conf_domain_nic *next, GError **error)
{
	g_autoptr(GError) undo = NULL;
	bool limits = memcmp(&old->bandwidth, &next->bandwidth, sizeof(old->bandwidth)) != 0;
	/* The bridge of a network is noted in the card; without one the network is direct. */
	if (!check_direct(dom, next, old->network && !old->source, error))
		return false;
	if (limits && !rates_set(dom->all->daemon, old->target, &next->bandwidth, error))
		return false;
	if (update_filter(dom, old, next, error))
		return true;
	if (limits && !rates_set(dom->all->daemon, old->target, &old->bandwidth, &undo))
		log_warning("domain '%s': %s", dom->name, undo->message);
	return false;
}

/* Its own, or that of its network. */
static const struct conf_bandwidth *bandwidth_of(const struct conf_domain_nic *nic,
						 const struct network_plug *plug)
{
	bool own = nic->bandwidth.has_inbound || nic->bandwidth.has_outbound;
	return own || !plug ? &nic->bandwidth : &plug->bandwidth;
}

static int open_direct(const struct domain *dom, const struct tap_request *tap, char name[IFNAMSIZ],
		       GError **error)
{
	struct macvtap_request request = {.name = tap->name, .lower = tap->plug->link,
					  .mode = tap->plug->mode, .owner_uuid = dom->uuid_text,
					  .mtu = tap->mtu};
	memcpy(request.mac, tap->guest_mac, sizeof(request.mac));
	return macvtap_open(&request, name, error);
}

bool interface_open(struct domain *dom, struct conf_domain_nic *nic, int *fd, GError **error)
{
	struct network_plug own;
	const struct network_port *port;
	struct tap_request request = {.name = nic->target, .existing = nic->unmanaged};
	char name[IFNAMSIZ];
	*fd = -1;
	if (strcmp(nic->type, "user") == 0)
		return true;
	if (!find_plug(dom, nic, &own, &port, &request.plug, error))
		return false;
	bool direct = request.plug && request.plug->kind == NETWORK_PLUG_DIRECT;
	if (!check_direct(dom, nic, direct, error))
		return false;
	struct filter_request filter = {dom, nic};
	if (nic->filter) {
		request.prepare = put_filter;
		request.opaque = &filter;
	}
	mac_parse(nic->mac, request.guest_mac);
	request.mtu = nic->mtu ? nic->mtu : request.plug ? request.plug->mtu : 0;
	*fd = direct ? open_direct(dom, &request, name, error) : tap_open(&request, name, error);
	if (*fd < 0) {
		g_prefix_error(error, "domain '%s': ", dom->name);
		return false;
	}
	if (!rates_set(dom->all->daemon, name, bandwidth_of(nic, request.plug), error)) {
		fd_clear(fd);
		return false;
	}
	conf_domain_nic_plugged(nic, name, port && !direct ? port->plug.link : NULL, port ? port->uuid_text : NULL,
				port ? port->plug.mtu : 0);
	return true;
}

static void close_fd(void *opaque)
{
	fd_clear(opaque);
}

GArray *interface_open_all(struct domain *dom, GError **error)
{
	g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
	g_array_set_clear_func(fds, close_fd);
	for (unsigned i = 0; i < dom->live->nics->len; i++) {
		int fd;
		if (!interface_open(dom, dom->live->nics->pdata[i], &fd, error))
			return NULL;
		g_array_append_val(fds, fd);
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
	rates_sweep(dom->all->daemon);
	filter_keep(dom->all->daemon, dom->uuid_text, (const char *const *)filtered->pdata);
	network_ports_keep(dom->all->daemon->networks, dom->uuid, (const char *const *)keep->pdata);
}

/* Its bridge may have been made anew while no daemon was there. */
static void replug(const struct domain *dom, const struct conf_domain_nic *nic,
		   const struct network_plug *plug)
{
	struct netlink_link tap, bridge;
	g_autoptr(GError) error = NULL;
	if (plug->kind != NETWORK_PLUG_BRIDGE || !nic->target ||
	    !netlink_link_get(nic->target, &tap, NULL) ||
	    !netlink_link_get(plug->link, &bridge, NULL) || tap.master == bridge.index)
		return;
	if (!netlink_link_set_master(nic->target, plug->link, &error) ||
	    !netlink_port_set_isolated(nic->target, plug->isolated || nic->isolated, &error))
		log_warning("domain '%s': %s", dom->name, error->message);
}

void interface_restore(struct domain *dom)
{
	for (unsigned i = 0; i < dom->live->nics->len; i++) {
		const struct conf_domain_nic *nic = dom->live->nics->pdata[i];
		struct network_port_request request;
		const struct network_port *port = NULL;
		char lower[IFNAMSIZ];
		g_autoptr(GError) error = NULL;
		if (nic->port) {
			fill_request(dom, nic, &request);
			request.device = nic->target && macvtap_lower(nic->target, lower) ? lower : NULL;
			port = network_port_open(dom->all->daemon->networks, &request, &error);
		}
		if (port)
			replug(dom, nic, &port->plug);
		if (!error && nic->target)
			rates_set(dom->all->daemon, nic->target,
				  bandwidth_of(nic, port ? &port->plug : NULL), &error);
		if (error)
			log_warning("domain '%s': %s", dom->name, error->message);
	}
}
