/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Access rules applied to calls. A call about a domain, a pool or a network is checked by the room that
 * finds the object (rpc_call_may()): only it knows the object's name, as what a client sends need not be
 * true. What we send is: lists lose what the caller may not read, a single such object makes the answer
 * an error, events are not sent. All other calls need the right for the whole kind.
 */
#include "daemon/rpc/internal.h"

#include "base/log.h"
#include "daemon/rpc/rules.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>

/* Types of the schema that are, or hold, an object with a name. */
struct object_type {
	const struct xdr_type *type;
	enum rpc_kind kind;
	size_t name;        /* offset of its char * */
	bool room_checks;   /* as an argument */
};

static const struct object_type object_types[] = {
	{&remote_domain_type, RPC_DOMAIN, offsetof(struct remote_domain, name), true},
	{&remote_snapshot_type, RPC_DOMAIN, offsetof(struct remote_snapshot, dom.name), true},
	{&remote_domain_checkpoint_type, RPC_DOMAIN,
	 offsetof(struct remote_domain_checkpoint, dom.name), true},
	{&remote_domain_stats_type, RPC_DOMAIN, offsetof(struct remote_domain_stats, dom.name), false},
	{&remote_storage_pool_type, RPC_POOL, offsetof(struct remote_storage_pool, name), true},
	{&remote_storage_vol_type, RPC_POOL, offsetof(struct remote_storage_vol, pool), true},
	{&remote_network_type, RPC_NETWORK, offsetof(struct remote_network, name), true},
	{&remote_network_port_type, RPC_NETWORK, offsetof(struct remote_network_port, net.name), false},
	{&remote_nwfilter_type, RPC_NWFILTER, offsetof(struct remote_nwfilter, name), false},
	{&remote_nwfilter_binding_type, RPC_NWFILTER,
	 offsetof(struct remote_nwfilter_binding, filtername), false},
	{&remote_node_device_type, RPC_NODEDEV, offsetof(struct remote_node_device, name), false},
	{&remote_secret_type, RPC_SECRET, offsetof(struct remote_secret, usage_id), false},
	{&remote_interface_type, RPC_INTERFACE, offsetof(struct remote_interface, name), false},
};

static const struct object_type *object_type(const struct xdr_field *field)
{
	for (unsigned i = 0; field->type && i < G_N_ELEMENTS(object_types); i++) {
		if (object_types[i].type == field->type)
			return &object_types[i];
	}
	return NULL;
}

/* --- Who ------------------------------------------------------------------------------------ */

void access_identify(struct rpc_client *client)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || client->door->remote)
		return;
	client->caller.local = true;
	client->caller.uid = peer.uid;
	gid_t groups[NGROUPS_MAX];
	int count = 1;
	struct passwd entry, *user = NULL;
	char buffer[16384];
	groups[0] = peer.gid;
	if (getpwuid_r(peer.uid, &entry, buffer, sizeof(buffer), &user) == 0 && user) {
		count = NGROUPS_MAX;
		if (getgrouplist(user->pw_name, peer.gid, groups, &count) < 0)
			count = 1;
	}
	client->caller.groups = g_memdup2(groups, count * sizeof(*groups));
	client->caller.group_count = count;
}

static bool may(struct rpc_client *client, bool write, enum rpc_kind kind, const char *name)
{
	client->caller.sasl = client->user;
	client->caller.x509 = client->certificate;
	return rules_allow(client->server->rules, &client->caller, write, kind, name);
}

static bool deny(GError **error, const char *procedure, enum rpc_kind kind, const char *name)
{
	return virt_error(error, VIRT_FROM_NONE, VIRT_ACCESS_DENIED, "%s for the %s %s%s%s", procedure,
			  rules_kind_name(kind), name ? "'" : "as a whole", name ? name : "",
			  name ? "'" : "");
}

/* --- Before a call -------------------------------------------------------------------------- */

bool rpc_call_may(struct rpc_call *call, enum rpc_kind kind, const char *name)
{
	GError *error = NULL;
	call->checked = true;
	if (!call->has_rules || (call->client && may(call->client, call->info->right == RIGHT_WRITE, kind,
						     name)))
		return true;
	deny(&error, call->info->name, kind, name);
	rpc_call_fail(call, error);
	return false;
}

bool rpc_call_sees(struct rpc_call *call, enum rpc_kind kind, const char *name)
{
	return !call->has_rules || (call->client && may(call->client, false, kind, name));
}

/* Does the type hold, itself or in a list, an object; one that a room checks, if `by_room`? */
static bool holds_object(const struct xdr_type *type, bool by_room)
{
	for (unsigned i = 0; type && i < type->field_count; i++) {
		const struct object_type *object = object_type(&type->fields[i]);
		if (object && (!by_room || (object->room_checks && type->fields[i].many == XDR_ONE)))
			return true;
	}
	return false;
}

/* By the name of the procedure, for those that tell by nothing else. */
static enum rpc_kind kind_of(const char *procedure)
{
	static const struct {
		const char *part;
		enum rpc_kind kind;
	} parts[] = {
		{"NWFILTER", RPC_NWFILTER}, {"NODE_DEVICE", RPC_NODEDEV}, {"NETWORK", RPC_NETWORK},
		{"STORAGE", RPC_POOL}, {"SECRET", RPC_SECRET}, {"DOMAIN", RPC_DOMAIN},
		{"INTERFACE", RPC_INTERFACE},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
		if (strstr(procedure, parts[i].part))
			return parts[i].kind;
	}
	return RPC_HOST;
}

/* A document names the object, or objects are counted: the room asks when it knows which. */
static bool is_asked_by_room(const char *procedure)
{
	static const char *const names[] = {
		"CONNECT_NUM_OF_DOMAINS", "CONNECT_NUM_OF_DEFINED_DOMAINS", "CONNECT_LIST_DOMAINS",
		"CONNECT_NUM_OF_STORAGE_POOLS", "CONNECT_NUM_OF_DEFINED_STORAGE_POOLS",
		"DOMAIN_CREATE_XML", "DOMAIN_DEFINE_XML", "DOMAIN_DEFINE_XML_FLAGS",
		"STORAGE_POOL_CREATE_XML", "STORAGE_POOL_DEFINE_XML",
		"CONNECT_NUM_OF_NETWORKS", "CONNECT_NUM_OF_DEFINED_NETWORKS", "NETWORK_CREATE_XML",
		"NETWORK_CREATE_XML_FLAGS", "NETWORK_DEFINE_XML", "NETWORK_DEFINE_XML_FLAGS", NULL,
	};
	return g_strv_contains(names, procedure);
}

/* CONNECT_LIST_DEFINED_DOMAINS and its like: names, the first field of the answer. */
static bool lists_names(const struct remote_procedure_info *info)
{
	return g_str_has_prefix(info->name, "CONNECT_LIST_") && info->ret &&
	       info->ret->fields[0].kind == XDR_STRING && info->ret->fields[0].many == XDR_LIST;
}

bool access_check(struct rpc_client *client, const struct remote_procedure_info *info, GError **error)
{
	bool write = info->right == RIGHT_WRITE;
	if (!client->server->rules || info->right == RIGHT_NONE || holds_object(info->args, true) ||
	    is_asked_by_room(info->name) || (!write && holds_object(info->ret, false)) || lists_names(info))
		return true;
	/* What is sent later is checked then. */
	if (strstr(info->name, "EVENT") && strstr(info->name, "REGISTER"))
		return true;
	enum rpc_kind kind = kind_of(info->name);
	return may(client, write, kind, NULL) || deny(error, info->name, kind, NULL);
}

/* --- After it ------------------------------------------------------------------------------- */

static const char *name_at(const struct object_type *object, const void *value)
{
	return *(char *const *)((const char *)value + object->name);
}

struct list {
	uint32_t count;
	char *items;
};

/* A copy of the list without what the caller may not read. */
static void filter(struct rpc_call *call, const struct object_type *object, struct list *list)
{
	size_t size = object->type->size;
	char *kept = arena_alloc(&call->arena, MAX(list->count, 1) * size);
	uint32_t count = 0;
	for (uint32_t i = 0; i < list->count; i++) {
		const char *item = list->items + i * size;
		if (may(call->client, false, object->kind, name_at(object, item)))
			memcpy(kept + count++ * size, item, size);
	}
	*list = (struct list){count, kept};
}

static void filter_names(struct rpc_call *call, struct list *list)
{
	char **names = (char **)list->items;
	char **kept = arena_alloc(&call->arena, MAX(list->count, 1) * sizeof(*kept));
	uint32_t count = 0;
	for (uint32_t i = 0; i < list->count; i++) {
		if (may(call->client, false, kind_of(call->info->name), names[i]))
			kept[count++] = names[i];
	}
	*list = (struct list){count, (char *)kept};
}

/* The number that goes with a list: the only one of the answer. */
static void set_count(const struct xdr_type *type, char *value, uint32_t count)
{
	for (unsigned i = 0; i < type->field_count; i++) {
		if (type->fields[i].kind == XDR_I32 && type->fields[i].many == XDR_ONE)
			memcpy(value + type->fields[i].offset, &count, sizeof(count));
	}
}

const void *access_filter(struct rpc_call *call, const void *ret, GError **error)
{
	const struct xdr_type *type = call->info->ret;
	if (!call->has_rules || !call->client || !ret)
		return ret;
	if (holds_object(call->info->args, true) && !call->checked) {
		log_error("%s was answered without a look at the rules", call->info->name);
		deny(error, call->info->name, kind_of(call->info->name), NULL);
		return NULL;
	}
	char *copy = arena_alloc(&call->arena, type->size);
	memcpy(copy, ret, type->size);
	for (unsigned i = 0; i < type->field_count; i++) {
		const struct xdr_field *field = &type->fields[i];
		const struct object_type *object = object_type(field);
		struct list *list = (struct list *)(copy + field->offset);
		if (object && field->many == XDR_LIST) {
			uint32_t before = list->count;
			/* Only their number was asked for, and not every room counts by the rules. */
			if (!before && !object->room_checks &&
			    !may(call->client, false, object->kind, NULL))
				set_count(type, copy, 0);
			filter(call, object, list);
			if (list->count != before)
				set_count(type, copy, list->count);
		} else if (object && field->many == XDR_ONE &&
			   !may(call->client, false, object->kind, name_at(object, copy + field->offset))) {
			deny(error, call->info->name, object->kind, NULL);
			return NULL;
		} else if (i == 0 && lists_names(call->info)) {
			filter_names(call, list);
		}
	}
	return copy;
}

bool access_hears(struct rpc_client *client, const struct xdr_type *type, const void *body)
{
	for (unsigned i = 0; client->server->rules && type && i < type->field_count; i++) {
		const struct object_type *object = object_type(&type->fields[i]);
		if (object && type->fields[i].many == XDR_ONE &&
		    !may(client, false, object->kind,
			 name_at(object, (const char *)body + type->fields[i].offset)))
			return false;
	}
	return true;
}
