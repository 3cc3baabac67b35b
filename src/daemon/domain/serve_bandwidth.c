/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bandwidth of a domain's interface: domiftune. */
#include "daemon/domain/change.h"
#include "daemon/domain/interface.h"
#include "daemon/domain/params.h"
#include "daemon/rpc/serve.h"

#include <string.h>

enum { STRING_OKAY = 4, FLAGS = CHANGE_LIVE | CHANGE_CONFIG };

struct wish {
	char *device; /* the tap's name, or the card's MAC address */
	bool said[CONF_BANDWIDTH_FIELDS];
	uint32_t values[CONF_BANDWIDTH_FIELDS];
};

static void wish_free(void *opaque)
{
	struct wish *wish = opaque;
	g_free(wish->device);
	g_free(wish);
}

/* --- The document ----------------------------------------------------------------------------- */

static struct conf_domain_nic *find_nic(const struct conf_domain *conf, const char *device,
					GError **error)
{
	for (unsigned i = 0; i < conf->nics->len; i++) {
		struct conf_domain_nic *nic = conf->nics->pdata[i];
		if (!g_strcmp0(nic->target, device) || !g_ascii_strcasecmp(nic->mac, device))
			return nic;
	}
	virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "cannot find interface '%s'", device);
	return NULL;
}

static xmlNode *find_node(const xmlNode *root, const char *device)
{
	xml_for_each(node, xml_child(root, "devices"), "interface") {
		g_autofree char *mac = conf_domain_child_attribute(node, "mac", "address");
		g_autofree char *target = conf_domain_child_attribute(node, "target", "dev");
		if (!g_strcmp0(target, device) || (mac && !g_ascii_strcasecmp(mac, device)))
			return node;
	}
	return NULL;
}

static xmlNode *child_of(xmlNode *parent, const char *name)
{
	xmlNode *child = xml_child(parent, name);
	return child ? child : xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

static void drop_node(xmlNode *node)
{
	xmlUnlinkNode(node);
	xmlFreeNode(node);
}

/* An average of 0 takes the limit away. */
static bool edit_bandwidth(xmlNode *root, void *opaque, GError **error)
{
	const struct wish *wish = opaque;
	xmlNode *node = find_node(root, wish->device);
	if (!node)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "cannot find interface '%s'",
				  wish->device);
	xmlNode *bandwidth = child_of(node, "bandwidth");
	for (unsigned i = 0; i < CONF_BANDWIDTH_FIELDS; i++) {
		const xmlChar *attribute = (const xmlChar *)conf_bandwidth_fields[i].attribute;
		if (!wish->said[i])
			continue;
		xmlNode *side = child_of(bandwidth, conf_bandwidth_fields[i].element);
		g_autofree char *text = g_strdup_printf("%u", wish->values[i]);
		if (wish->values[i])
			xmlSetProp(side, attribute, (const xmlChar *)text);
		else if (!strcmp(conf_bandwidth_fields[i].attribute, "average"))
			drop_node(side);
		else
			xmlUnsetProp(side, attribute);
	}
	if (!xml_child(bandwidth, NULL))
		drop_node(bandwidth);
	return true;
}

static bool plan_bandwidth(struct domain_change *change, const struct conf_domain *old,
			   const struct conf_domain *next, GError **error)
{
	const struct wish *wish = change->opaque;
	const struct conf_domain_nic *now = find_nic(old, wish->device, error);
	const struct conf_domain_nic *nic = now ? find_nic(next, wish->device, error) : NULL;
	if (!nic)
		return false;
	if (!nic->target)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "interface '%s' has no device on the host that could be limited",
				  wish->device);
	return interface_update(change->dom, now, nic, error);
}

/* --- Calls ------------------------------------------------------------------------------------ */

static bool read_params(struct wish *wish, const struct xdr_param *params, unsigned count, GError **error)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned k = 0;
		while (k < CONF_BANDWIDTH_FIELDS && strcmp(conf_bandwidth_fields[k].name, params[i].name) != 0)
			k++;
		if (k == CONF_BANDWIDTH_FIELDS || params[i].type != XDR_PARAM_UINT)
			return virt_error(error, VIRT_FROM_NONE, VIRT_INVALID_ARG,
					  "parameter '%s' of an interface is not supported, or no number",
					  params[i].name);
		wish->said[k] = true;
		wish->values[k] = params[i].u;
	}
	return true;
}

void serve_domain_set_interface_parameters(
	struct rpc_call *call, const struct remote_domain_set_interface_parameters_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, FLAGS))
		return;
	struct wish *wish = g_new0(struct wish, 1);
	wish->device = g_strdup(args->device);
	if (!read_params(wish, args->params.items, args->params.count, &error)) {
		wish_free(wish);
		rpc_call_fail(call, error);
		return;
	}
	struct domain_change *change = change_new(args->flags, edit_bandwidth, wish, wish_free);
	change->plan = plan_bandwidth;
	change_submit(dom, call, change);
}

void serve_domain_get_interface_parameters(
	struct rpc_call *call, const struct remote_domain_get_interface_parameters_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	struct remote_domain_get_interface_parameters_ret ret = {.nparams = CONF_BANDWIDTH_FIELDS};
	struct params list = {.arena = rpc_call_arena(call)};
	GError *error = NULL;
	bool live, config;
	if (!dom || !rpc_call_check_flags(call, args->flags, FLAGS | STRING_OKAY))
		return;
	const struct conf_domain_nic *nic = NULL;
	if (change_resolve(dom, args->flags, &live, &config, &error))
		nic = find_nic(live ? dom->live : dom->definition, args->device, &error);
	if (!nic) {
		rpc_call_fail(call, error);
		return;
	}
	for (unsigned i = 0; i < CONF_BANDWIDTH_FIELDS && (int)i < args->nparams; i++)
		params_add_uint(&list, conf_bandwidth_fields[i].name,
				*(const uint64_t *)((const char *)&nic->bandwidth + conf_bandwidth_fields[i].offset));
	ret.params.count = list.count;
	ret.params.items = list.items;
	rpc_call_reply(call, &ret);
}
