/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is plugged into a network. Ports come and go with the interfaces of domains, or a client makes them. */
#include "base/error.h"
#include "conf/domain.h"
#include "daemon/domain/params.h"
#include "daemon/domain/store.h"
#include "daemon/network/life.h"
#include "daemon/rpc/serve.h"

#include <string.h>

/* Ports are of networks that are active, and unknown otherwise. */
static struct network_port *find(struct rpc_call *call, const struct remote_network *wire,
				 const uint8_t uuid[16])
{
	struct network *network = network_find(call, wire);
	GError *error = NULL;
	char text[37];
	if (!network)
		return NULL;
	conf_uuid_format(uuid, text);
	struct network_port *port = g_hash_table_lookup(network->ports, text);
	if (port)
		return port;
	if (network_check_active(network, &error))
		virt_error(&error, VIRT_FROM_NETWORK, VIRT_NO_NETWORK_PORT,
			   "Network port with UUID %s does not exist", text);
	rpc_call_fail(call, error);
	return NULL;
}

static struct remote_network_port port_wire(const struct remote_network *network,
					    const struct network_port *port)
{
	struct remote_network_port wire = {.net = *network};
	memcpy(wire.uuid, port->uuid, sizeof(wire.uuid));
	return wire;
}

static int compare(const void *a, const void *b)
{
	return strcmp((*(struct network_port *const *)a)->uuid_text,
		      (*(struct network_port *const *)b)->uuid_text);
}

void serve_network_list_all_ports(struct rpc_call *call,
				  const struct remote_network_list_all_ports_args *args)
{
	struct remote_network_list_all_ports_ret ret = {.ret = 0};
	g_autoptr(GPtrArray) ports = g_ptr_array_new();
	GHashTableIter iter;
	void *port;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct network *network = network_find(call, &args->network);
	if (!network)
		return;
	const struct remote_network wire = network_wire(network);
	g_hash_table_iter_init(&iter, network->ports);
	while (g_hash_table_iter_next(&iter, NULL, &port))
		g_ptr_array_add(ports, port);
	g_ptr_array_sort(ports, compare);
	ret.ret = ports->len;
	if (args->need) {
		ret.ports.count = ports->len;
		ret.ports.items = arena_alloc(rpc_call_arena(call), ports->len * sizeof(*ret.ports.items));
		for (unsigned i = 0; i < ports->len; i++)
			ret.ports.items[i] = port_wire(&wire, ports->pdata[i]);
	}
	rpc_call_reply(call, &ret);
}

void serve_network_port_lookup_by_uuid(struct rpc_call *call,
				       const struct remote_network_port_lookup_by_uuid_args *args)
{
	const struct network_port *port = find(call, &args->network, args->uuid);
	if (!port)
		return;
	struct remote_network_port_lookup_by_uuid_ret ret = {port_wire(&args->network, port)};
	rpc_call_reply(call, &ret);
}

void serve_network_port_get_xml_desc(struct rpc_call *call,
				     const struct remote_network_port_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct network_port *port = find(call, &args->port.net, args->port.uuid);
	if (!port)
		return;
	struct xml_writer w = xml_writer_new();
	network_port_write(&w, port);
	g_autofree char *xml = xml_writer_take(&w);
	rpc_call_reply(call, &(struct remote_network_port_get_xml_desc_ret){xml});
}

/* --- Making and removing ---------------------------------------------------------------------- */

enum { RECLAIM = 1, VALIDATE = 2 };

static void take_file(struct network_job *job)
{
	job->path = network_file_ports(job->network);
	job->text = network_ports_text(job->network);
}

/* A port that is reclaimed has been somewhere already, and must be there again. */
static bool check_plug(const struct network *network, const struct conf_network_port *conf, unsigned flags,
		       GError **error)
{
	if (!conf->link != !(flags & RECLAIM))
		return virt_error(error, VIRT_FROM_NETWORK, VIRT_INVALID_ARG,
				  flags & RECLAIM ? "Port reclaim requested but plug type is none"
						  : "Port reclaim not requested but plug type is not none");
	if (conf->link && !network->live->bridge)
		return network_port_check_device(network, conf->link, error);
	return !conf->link || !strcmp(conf->link, network->live->bridge) ||
	       virt_error(error, VIRT_FROM_NETWORK, VIRT_INVALID_ARG,
			  "network '%s' has the bridge '%s', not '%s'", network->name, network->live->bridge,
			  conf->link);
}

static bool begin_create(struct network_job *job, GError **error)
{
	const struct remote_network_port_create_xml_args *args = job->request;
	if (!network_check_active(job->network, error))
		return false;
	struct conf_network_port *conf = conf_network_port_parse(args->xml, error);
	const char *uuid = conf && check_plug(job->network, conf, args->flags, error)
				   ? network_port_make(job->network, conf, error) : NULL;
	conf_network_port_free(conf);
	if (!uuid)
		return false;
	job->port = g_strdup(uuid);
	take_file(job);
	return true;
}

static bool work_file(struct network_job *job, GError **error)
{
	return store_write_now(job->path, job->text, error);
}

static void done_create(struct network_job *job)
{
	const struct network_port *port = g_hash_table_lookup(job->network->ports, job->port);
	const struct remote_network net = network_wire(job->network);
	struct remote_network_port_create_xml_ret ret = {port_wire(&net, port)};
	rpc_call_reply(job->call, &ret);
}

static void undo_create(struct network_job *job)
{
	if (job->port)
		network_port_close(job->network, job->port);
}

static void submit(struct rpc_call *call, const struct remote_network *net, const void *args,
		   const struct network_job_ops *ops)
{
	struct network *network = network_find(call, net);
	if (!network)
		return;
	struct network_job *job = network_job_new(network, call, ops);
	job->request = args;
	network_submit(job);
}

void serve_network_port_create_xml(struct rpc_call *call,
				   const struct remote_network_port_create_xml_args *args)
{
	static const struct network_job_ops ops = {begin_create, work_file, done_create, undo_create};
	if (rpc_call_check_flags(call, args->flags, RECLAIM | VALIDATE))
		submit(call, &args->network, args, &ops);
}

/* A domain's port is as its interface says. */
static struct network_port *find_external(struct network *network, const uint8_t uuid[16], GError **error)
{
	char text[37];
	conf_uuid_format(uuid, text);
	struct network_port *port = g_hash_table_lookup(network->ports, text);
	if (!network_check_active(network, error))
		return NULL;
	if (!port)
		virt_error(error, VIRT_FROM_NETWORK, VIRT_NO_NETWORK_PORT,
			   "Network port with UUID %s does not exist", text);
	else if (!port->external)
		virt_error(error, VIRT_FROM_NETWORK, VIRT_OPERATION_INVALID,
			   "Network port with UUID %s is that of an interface of domain '%s': change that one",
			   text, port->owner_name);
	return port && port->external ? port : NULL;
}

static bool begin_delete(struct network_job *job, GError **error)
{
	const struct remote_network_port_delete_args *args = job->request;
	const struct network_port *port = find_external(job->network, args->port.uuid, error);
	if (!port)
		return false;
	g_autofree char *uuid = g_strdup(port->uuid_text);
	network_port_close(job->network, uuid);
	take_file(job);
	return true;
}

static void done_plain(struct network_job *job)
{
	rpc_call_reply(job->call, NULL);
}

void serve_network_port_delete(struct rpc_call *call, const struct remote_network_port_delete_args *args)
{
	static const struct network_job_ops ops = {begin_delete, work_file, done_plain, NULL};
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &args->port.net, args, &ops);
}

/* --- Limits ----------------------------------------------------------------------------------- */

static uint64_t *value_of(struct conf_bandwidth *bandwidth, unsigned i)
{
	return (uint64_t *)((char *)bandwidth + conf_bandwidth_fields[i].offset);
}

/* As in libvirt, what is not said is not limited any more. */
static bool read_limits(const struct remote_network_port_set_parameters_args *args,
			struct conf_bandwidth *bandwidth, GError **error)
{
	for (unsigned n = 0; n < args->params.count; n++) {
		const struct xdr_param *param = &args->params.items[n];
		unsigned i = 0;
		while (i < CONF_BANDWIDTH_FIELDS && strcmp(conf_bandwidth_fields[i].name, param->name) != 0)
			i++;
		if (i == CONF_BANDWIDTH_FIELDS || param->type != XDR_PARAM_UINT)
			return virt_error(error, VIRT_FROM_NONE, VIRT_INVALID_ARG,
					  "parameter '%s' of a port is not supported, or no number",
					  param->name);
		*value_of(bandwidth, i) = param->u;
	}
	struct conf_rate *const sides[] = {&bandwidth->inbound, &bandwidth->outbound};
	for (unsigned i = 0; i < G_N_ELEMENTS(sides); i++) {
		if (!sides[i]->average && !sides[i]->floor)
			*sides[i] = (struct conf_rate){0};
		if (!sides[i]->average && (sides[i]->peak || sides[i]->burst))
			return virt_error(error, VIRT_FROM_NETWORK, VIRT_INVALID_ARG,
					  "'peak' and 'burst' require 'average' attribute");
	}
	bandwidth->has_inbound = bandwidth->inbound.average || bandwidth->inbound.floor;
	bandwidth->has_outbound = bandwidth->outbound.average;
	return true;
}

static bool begin_set(struct network_job *job, GError **error)
{
	const struct remote_network_port_set_parameters_args *args = job->request;
	struct network_port *port = find_external(job->network, args->port.uuid, error);
	struct conf_bandwidth bandwidth = {0};
	if (!port)
		return false;
	if (!read_limits(args, &bandwidth, error) || !network_port_limit(job->network, port, &bandwidth, error))
		return false;
	take_file(job);
	return true;
}

void serve_network_port_set_parameters(struct rpc_call *call,
				       const struct remote_network_port_set_parameters_args *args)
{
	static const struct network_job_ops ops = {begin_set, work_file, done_plain, NULL};
	if (rpc_call_check_flags(call, args->flags, 0))
		submit(call, &args->port.net, args, &ops);
}

void serve_network_port_get_parameters(struct rpc_call *call,
				       const struct remote_network_port_get_parameters_args *args)
{
	struct params list = {.arena = rpc_call_arena(call)};
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct network_port *port = find(call, &args->port.net, args->port.uuid);
	if (!port)
		return;
	for (unsigned i = 0; i < CONF_BANDWIDTH_FIELDS; i++) {
		bool inbound = strcmp(conf_bandwidth_fields[i].element, "inbound") == 0;
		if (inbound ? port->plug.bandwidth.has_inbound : port->plug.bandwidth.has_outbound)
			params_add_uint(&list, conf_bandwidth_fields[i].name,
					*value_of(&port->plug.bandwidth, i));
	}
	struct remote_network_port_get_parameters_ret ret = {.nparams = list.count};
	ret.params.count = list.count;
	ret.params.items = list.items;
	rpc_call_reply(call, &ret);
}
