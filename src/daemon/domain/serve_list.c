/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls about many domains, and who wants to hear of them. */
#include "daemon/domain/moment.h"
#include "daemon/domain/stats.h"

#include "daemon/rpc/serve.h"

#include <string.h>

/* --- Filters -------------------------------------------------------------------------------- */

enum {
	LIST_ACTIVE = 1 << 0, LIST_INACTIVE = 1 << 1, LIST_PERSISTENT = 1 << 2, LIST_TRANSIENT = 1 << 3,
	LIST_RUNNING = 1 << 4, LIST_PAUSED = 1 << 5, LIST_SHUTOFF = 1 << 6, LIST_OTHER = 1 << 7,
	LIST_SAVED = 1 << 8, LIST_NOT_SAVED = 1 << 9, LIST_AUTOSTART = 1 << 10,
	LIST_NO_AUTOSTART = 1 << 11, LIST_SNAPSHOT = 1 << 12, LIST_NO_SNAPSHOT = 1 << 13,
	LIST_CHECKPOINT = 1 << 14, LIST_NO_CHECKPOINT = 1 << 15, LIST_ALL_FLAGS = (1 << 16) - 1,
};

static bool matches(const struct domain *dom, uint32_t flags)
{
	uint32_t states = LIST_RUNNING | LIST_PAUSED | LIST_SHUTOFF | LIST_OTHER;
	uint32_t state = dom->state == DOMAIN_RUNNING ? LIST_RUNNING
		: dom->state == DOMAIN_PAUSED ? LIST_PAUSED
		: dom->state == DOMAIN_SHUTOFF ? LIST_SHUTOFF : LIST_OTHER;
	/* One that is being defined for the first time is not there yet. */
	return domain_conf(dom) && rpc_list_passes(flags, LIST_ACTIVE, LIST_INACTIVE, dom->vmm) &&
	       rpc_list_passes(flags, LIST_PERSISTENT, LIST_TRANSIENT, dom->definition) &&
	       rpc_list_passes(flags, LIST_AUTOSTART, LIST_NO_AUTOSTART, dom->autostart) &&
	       rpc_list_passes(flags, LIST_SAVED, LIST_NOT_SAVED, false) &&
	       rpc_list_passes(flags, LIST_SNAPSHOT, LIST_NO_SNAPSHOT, dom->snapshots->list->len) &&
	       rpc_list_passes(flags, LIST_CHECKPOINT, LIST_NO_CHECKPOINT, dom->checkpoints->list->len) &&
	       (!(flags & states) || flags & state);
}

/* Borrowed domains. */
static GPtrArray *select_domains(struct rpc_call *call, uint32_t flags)
{
	GPtrArray *found = g_ptr_array_new();
	GHashTableIter iter;
	void *dom;
	g_hash_table_iter_init(&iter, rpc_call_daemon(call)->domains->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &dom)) {
		if (matches(dom, flags) &&
		    rpc_call_sees(call, RPC_DOMAIN, ((struct domain *)dom)->name))
			g_ptr_array_add(found, dom);
	}
	return found;
}

/* --- Lists ---------------------------------------------------------------------------------- */

void serve_connect_list_all_domains(struct rpc_call *call,
				    const struct remote_connect_list_all_domains_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, LIST_ALL_FLAGS))
		return;
	g_autoptr(GPtrArray) found = select_domains(call, args->flags);
	struct remote_connect_list_all_domains_ret ret = {.count = found->len};
	if (args->need) {
		ret.domains.count = found->len;
		ret.domains.items = arena_alloc(rpc_call_arena(call),
						found->len * sizeof(*ret.domains.items));
		for (unsigned i = 0; i < found->len; i++)
			ret.domains.items[i] = domain_wire(found->pdata[i]);
	}
	rpc_call_reply(call, &ret);
}

void serve_connect_num_of_domains(struct rpc_call *call)
{
	g_autoptr(GPtrArray) found = select_domains(call, LIST_ACTIVE);
	rpc_call_reply(call, &(struct remote_connect_num_of_domains_ret){found->len});
}

void serve_connect_num_of_defined_domains(struct rpc_call *call)
{
	g_autoptr(GPtrArray) found = select_domains(call, LIST_INACTIVE);
	rpc_call_reply(call, &(struct remote_connect_num_of_defined_domains_ret){found->len});
}

void serve_connect_list_domains(struct rpc_call *call,
				const struct remote_connect_list_domains_args *args)
{
	g_autoptr(GPtrArray) found = select_domains(call, LIST_ACTIVE);
	unsigned count = MIN(found->len, (unsigned)MAX(args->max, 0));
	struct remote_connect_list_domains_ret ret = {.ids.count = count};
	ret.ids.items = arena_alloc(rpc_call_arena(call), count * sizeof(int32_t));
	for (unsigned i = 0; i < count; i++)
		ret.ids.items[i] = ((struct domain *)found->pdata[i])->id;
	rpc_call_reply(call, &ret);
}

void serve_connect_list_defined_domains(struct rpc_call *call,
					const struct remote_connect_list_defined_domains_args *args)
{
	g_autoptr(GPtrArray) found = select_domains(call, LIST_INACTIVE);
	unsigned count = MIN(found->len, (unsigned)MAX(args->max, 0));
	struct remote_connect_list_defined_domains_ret ret = {.names.count = count};
	ret.names.items = arena_alloc(rpc_call_arena(call), count * sizeof(char *));
	for (unsigned i = 0; i < count; i++)
		ret.names.items[i] = ((struct domain *)found->pdata[i])->name;
	rpc_call_reply(call, &ret);
}

/* --- Statistics ------------------------------------------------------------------------------ */

void serve_connect_get_all_domain_stats(
	struct rpc_call *call, const struct remote_connect_get_all_domain_stats_args *args)
{
	const uint32_t enforce = 1U << 31, nowait = 1U << 29, backing = 1U << 30;
	uint32_t stats = args->stats;
	GError *error = NULL;
	if (!rpc_call_check_flags(call, args->flags, enforce | nowait | backing | 0xff))
		return;
	if (!domain_stats_supported(&stats, args->flags & enforce)) {
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "Stats types bits 0x%x are not supported by this daemon", args->stats);
		rpc_call_fail(call, error);
		return;
	}
	g_autoptr(GPtrArray) found = NULL;
	if (args->doms.count == 0) {
		found = select_domains(call, args->flags & 0xff);
	} else {
		found = g_ptr_array_new();
		for (uint32_t i = 0; i < args->doms.count; i++) {
			struct domain *dom = domain_by_uuid(rpc_call_daemon(call)->domains,
							    args->doms.items[i].uuid);
			if (dom && matches(dom, args->flags & 0xff))
				g_ptr_array_add(found, dom);
		}
	}
	domain_reply_stats(call, found, stats, !(args->flags & nowait));
}

/* --- Events --------------------------------------------------------------------------------- */

enum { EVENT_NUMBERS = 27 };

/* Some events are never sent yet; a client may wait for them all the same. */
static bool check_event(struct rpc_call *call, int event)
{
	GError *error = NULL;
	if (event >= 0 && event < EVENT_NUMBERS)
		return true;
	virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "unsupported event ID %d", event);
	rpc_call_fail(call, error);
	return false;
}

static void no_callback(struct rpc_call *call, int number)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL,
		   "domain event callback %d not registered", number);
	rpc_call_fail(call, error);
}

void serve_connect_domain_event_callback_register_any(
	struct rpc_call *call, const struct remote_connect_domain_event_callback_register_any_args *args)
{
	if (!check_event(call, args->event))
		return;
	int id = rpc_event_register(call, RPC_EVENT_DOMAIN, args->event,
				    args->dom ? args->dom->uuid : NULL);
	if (id >= 0)
		rpc_call_reply(call, &(struct remote_connect_domain_event_callback_register_any_ret){id});
}

void serve_connect_domain_event_callback_deregister_any(
	struct rpc_call *call,
	const struct remote_connect_domain_event_callback_deregister_any_args *args)
{
	if (rpc_event_deregister(call, RPC_EVENT_DOMAIN, args->callback))
		rpc_call_reply(call, NULL);
	else
		no_callback(call, args->callback);
}

/* The oldest form knows lifecycle events only, and says how many callbacks there are then. */
void serve_connect_domain_event_register(struct rpc_call *call)
{
	if (rpc_event_register(call, RPC_EVENT_DOMAIN_LEGACY, 0, NULL) >= 0)
		rpc_call_reply(call, &(struct remote_connect_domain_event_register_ret){1});
}

void serve_connect_domain_event_deregister(struct rpc_call *call)
{
	if (rpc_event_deregister_number(call, RPC_EVENT_DOMAIN_LEGACY, 0))
		rpc_call_reply(call, &(struct remote_connect_domain_event_deregister_ret){0});
	else
		no_callback(call, 0);
}

void serve_connect_domain_event_register_any(
	struct rpc_call *call, const struct remote_connect_domain_event_register_any_args *args)
{
	if (!check_event(call, args->event))
		return;
	if (rpc_event_register(call, RPC_EVENT_DOMAIN_LEGACY, args->event, NULL) >= 0)
		rpc_call_reply(call, NULL);
}

void serve_connect_domain_event_deregister_any(
	struct rpc_call *call, const struct remote_connect_domain_event_deregister_any_args *args)
{
	if (rpc_event_deregister_number(call, RPC_EVENT_DOMAIN_LEGACY, args->event))
		rpc_call_reply(call, NULL);
	else
		no_callback(call, args->event);
}
