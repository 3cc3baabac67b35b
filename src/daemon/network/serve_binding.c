/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls about filters' bindings to ports. */
#include "daemon/network/filter_int.h"

#include "daemon/rpc/rpc.h"
#include "daemon/rpc/serve.h"

#include <string.h>

static struct remote_nwfilter_binding wire_of(const struct filter_port *port)
{
	return (struct remote_nwfilter_binding){
		.portdev = port->binding->port, .filtername = port->binding->reference->filter};
}

static int compare_ports(const void *a, const void *b)
{
	const struct filter_port *one = *(struct filter_port *const *)a;
	const struct filter_port *other = *(struct filter_port *const *)b;
	return strcmp(one->binding->port, other->binding->port);
}

void serve_connect_list_all_nwfilter_bindings(
	struct rpc_call *call, const struct remote_connect_list_all_nwfilter_bindings_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	g_autoptr(GPtrArray) ports = g_ptr_array_new();
	GHashTableIter iter;
	void *port;
	g_hash_table_iter_init(&iter, rpc_call_daemon(call)->filters->ports);
	while (g_hash_table_iter_next(&iter, NULL, &port)) {
		const struct conf_nwfilter_binding *binding = ((struct filter_port *)port)->binding;
		if (rpc_call_sees(call, RPC_NWFILTER, binding->reference->filter))
			g_ptr_array_add(ports, port);
	}
	g_ptr_array_sort(ports, compare_ports);
	struct remote_connect_list_all_nwfilter_bindings_ret ret = {.ret = ports->len};
	if (args->need) {
		ret.bindings.count = ports->len;
		ret.bindings.items = arena_alloc(rpc_call_arena(call),
						 ports->len * sizeof(*ret.bindings.items));
		for (unsigned i = 0; i < ports->len; i++)
			ret.bindings.items[i] = wire_of(ports->pdata[i]);
	}
	rpc_call_reply(call, &ret);
}

/* Or NULL with the call failed. */
static const struct filter_port *find(struct rpc_call *call, const char *name)
{
	const struct filter_port *port =
		g_hash_table_lookup(rpc_call_daemon(call)->filters->ports, name);
	GError *error = NULL;
	if (port)
		return port;
	virt_error(&error, VIRT_FROM_NWFILTER, VIRT_NO_NWFILTER_BINDING,
		   "no nwfilter binding for port dev '%s'", name);
	rpc_call_fail(call, error);
	return NULL;
}

void serve_nwfilter_binding_lookup_by_port_dev(
	struct rpc_call *call, const struct remote_nwfilter_binding_lookup_by_port_dev_args *args)
{
	const struct filter_port *port = find(call, args->name);
	if (port)
		rpc_call_reply(call, &(struct remote_nwfilter_binding_lookup_by_port_dev_ret){
					     wire_of(port)});
}

void serve_nwfilter_binding_get_xml_desc(struct rpc_call *call,
					 const struct remote_nwfilter_binding_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct filter_port *port = find(call, args->nwfilter.portdev);
	if (!port)
		return;
	g_autofree char *xml = conf_nwfilter_binding_format(port->binding);
	rpc_call_reply(call, &(struct remote_nwfilter_binding_get_xml_desc_ret){xml});
}

void serve_nwfilter_binding_create_xml(struct rpc_call *call,
				       const struct remote_nwfilter_binding_create_xml_args *args)
{
	enum { CREATE_VALIDATE = 1 };
	struct daemon *daemon = rpc_call_daemon(call);
	GError *error = NULL;
	if (!rpc_call_check_flags(call, args->flags, CREATE_VALIDATE))
		return;
	struct conf_nwfilter_binding *binding = conf_nwfilter_binding_parse(args->xml, &error);
	g_autofree char *name = binding ? g_strdup(binding->port) : NULL;
	if (!binding || !filter_instantiate(daemon, binding, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	struct remote_nwfilter_binding_create_xml_ret ret = {
		wire_of(g_hash_table_lookup(daemon->filters->ports, name))};
	rpc_call_reply(call, &ret);
}

void serve_nwfilter_binding_delete(struct rpc_call *call,
				   const struct remote_nwfilter_binding_delete_args *args)
{
	if (!find(call, args->nwfilter.portdev))
		return;
	filter_remove(rpc_call_daemon(call), args->nwfilter.portdev);
	rpc_call_reply(call, NULL);
}
