/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The I/O threads of a domain, and which of the host's CPUs they may use. */
#include "daemon/domain/domain.h"

#include "daemon/domain/change.h"
#include "daemon/domain/process.h"
#include "daemon/domain/vmm.h"
#include "daemon/host/host.h"
#include "daemon/rpc/serve.h"

#include <string.h>

/* A hung VMM must not keep a client waiting. */
#define QUERY_MS 800

struct query {
	struct rpc_call *call;
	struct domain *dom;
};

static unsigned host_cpus(const struct domain *dom)
{
	host_read_topology(dom->all->daemon->host);
	return dom->all->daemon->host->topology.cpus;
}

/* The thread that has this number, if it is one of the VMM's; what that says of others is ignored. */
static pid_t thread_of(const struct domain *dom, const json_t *list, unsigned id)
{
	g_autofree char *name = g_strdup_printf("iothread%u", id);
	size_t i;
	const json_t *thread;
	json_array_foreach(list, i, thread) {
		const char *given = json_string_value(json_object_get(thread, "id"));
		pid_t tid = json_integer_value(json_object_get(thread, "thread-id"));
		g_autofree char *path = g_strdup_printf("/proc/%d/task/%d", (int)vmm_pid(dom), (int)tid);
		if (given && strcmp(given, name) == 0)
			return tid > 0 && g_file_test(path, G_FILE_TEST_EXISTS) ? tid : 0;
	}
	return 0;
}

/* `list` is what a running VMM says, or NULL: all of the host's CPUs. */
static void reply(struct rpc_call *call, const struct domain *dom, const struct conf_domain *conf, const json_t *list)
{
	unsigned cpus = host_cpus(dom), length = (cpus + 7) / 8, count = conf->iothreads->len;
	struct arena *arena = rpc_call_arena(call);
	struct remote_domain_get_iothread_info_ret ret = {.ret = count, .info.count = count};
	ret.info.items = arena_alloc(arena, count * sizeof(*ret.info.items));
	for (unsigned i = 0; i < count; i++) {
		unsigned id = g_array_index(conf->iothreads, unsigned, i);
		uint8_t *map = arena_alloc(arena, length);
		pid_t thread = list ? thread_of(dom, list, id) : 0;
		if (!thread || !process_affinity(thread, map, length)) {
			for (unsigned cpu = 0; cpu < cpus; cpu++)
				map[cpu / 8] |= 1 << cpu % 8;
		}
		ret.info.items[i] = (struct remote_domain_iothread_info){id, {length, map}};
	}
	rpc_call_reply(call, &ret);
}

static void on_threads(void *opaque, json_t *result, const GError *error)
{
	struct query *query = opaque;
	if (error)
		rpc_call_fail(query->call, g_error_copy(error));
	else if (domain_runs(query->call, query->dom))
		reply(query->call, query->dom, query->dom->live, result);
	domain_unpin(query->dom);
	g_free(query);
}

void serve_domain_get_iothread_info(struct rpc_call *call,
				    const struct remote_domain_get_iothread_info_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	bool live, config;
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, CHANGE_LIVE | CHANGE_CONFIG))
		return;
	if (!change_resolve(dom, args->flags, &live, &config, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	const struct conf_domain *conf = live ? dom->live : dom->definition;
	if (!live || !conf->iothreads->len) {
		reply(call, dom, conf, NULL);
		return;
	}
	struct query *query = g_new(struct query, 1);
	*query = (struct query){call, domain_pin(dom)};
	vmm_query(dom, "query-iothreads", NULL, QUERY_MS, on_threads, query);
}
