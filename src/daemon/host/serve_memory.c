/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls about the machine's memory: its nodes, pages, and the sharing of equal pages (KSM). */
#include "daemon/host/host.h"

#include "base/error.h"
#include "daemon/domain/params.h"
#include "daemon/rpc/rpc.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define KSM "/sys/kernel/mm/ksm"

static unsigned node_count(const struct rpc_call *call)
{
	return rpc_call_daemon(call)->host->topology.nodes;
}

/* --- Statistics ----------------------------------------------------------------------------- */

/* A node's, or the whole machine's. */
static uint64_t meminfo_kib(int node, const char *field)
{
	return (node < 0 ? host_meminfo(field) : host_node_meminfo(node, field)) / 1024;
}

void serve_node_get_memory_stats(struct rpc_call *call,
				 const struct remote_node_get_memory_stats_args *args)
{
	enum { ALL_CELLS = -1, FIELDS = 4, NODE_FIELDS = 2 };
	static const char *const fields[FIELDS][2] = {
		{"total", "MemTotal"}, {"free", "MemFree"}, {"buffers", "Buffers"}, {"cached", "Cached"}};
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	if (args->cell < ALL_CELLS || args->cell >= (int)node_count(call)) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_NONE, VIRT_INVALID_ARG,
			   "cellNum in virHostMemGetStats must be less than or equal to %u",
			   node_count(call) - 1);
		rpc_call_fail(call, error);
		return;
	}
	struct remote_node_stat stats[FIELDS];
	int count = args->cell == ALL_CELLS ? FIELDS : NODE_FIELDS;
	for (int i = 0; i < count; i++)
		stats[i] = (struct remote_node_stat){(char *)fields[i][0],
						     meminfo_kib(args->cell, fields[i][1])};
	struct remote_node_get_memory_stats_ret ret = {.count = count};
	if (args->count > 0)
		ret = (struct remote_node_get_memory_stats_ret){.stats = {MIN(count, args->count), stats}};
	rpc_call_reply(call, &ret);
}

void serve_node_get_free_memory(struct rpc_call *call)
{
	rpc_call_reply(call, &(struct remote_node_get_free_memory_ret){host_meminfo("MemFree")});
}

/* Fails the call unless there is a node `first`. */
static bool check_first(struct rpc_call *call, int first)
{
	GError *error = NULL;
	if (first >= 0 && first < (int)node_count(call))
		return true;
	virt_error(&error, VIRT_FROM_NONE, VIRT_INTERNAL, "start cell %d out of range (0-%u)", first,
		   node_count(call) - 1);
	rpc_call_fail(call, error);
	return false;
}

void serve_node_get_cells_free_memory(struct rpc_call *call,
				      const struct remote_node_get_cells_free_memory_args *args)
{
	if (!check_first(call, args->first))
		return;
	unsigned count = MIN(node_count(call) - args->first, (unsigned)MAX(args->max, 0));
	struct remote_node_get_cells_free_memory_ret ret = {.cells.count = count};
	ret.cells.items = arena_alloc(rpc_call_arena(call), count * sizeof(uint64_t));
	for (unsigned i = 0; i < count; i++)
		ret.cells.items[i] = host_node_meminfo(args->first + i, "MemFree");
	rpc_call_reply(call, &ret);
}

/* --- Pages ---------------------------------------------------------------------------------- */

void serve_node_get_free_pages(struct rpc_call *call, const struct remote_node_get_free_pages_args *args)
{
	enum { MAX_COUNTS = 1024 };
	GError *error = NULL;
	if (!rpc_call_check_flags(call, args->flags, 0) || !check_first(call, args->start_cell))
		return;
	unsigned cells = MIN(node_count(call) - args->start_cell, args->cell_count), sizes = args->pages.count;
	struct remote_node_get_free_pages_ret ret = {.counts.count = cells * sizes};
	if (ret.counts.count > MAX_COUNTS)
		virt_error(&error, VIRT_FROM_NONE, VIRT_INVALID_ARG, "too many counts at once: %u",
			   ret.counts.count);
	else
		ret.counts.items = arena_alloc(rpc_call_arena(call), ret.counts.count * sizeof(uint64_t));
	for (unsigned i = 0; !error && i < ret.counts.count; i++) {
		struct host_pages pages;
		if (host_pages(args->start_cell + i / sizes, args->pages.items[i % sizes], &pages, &error))
			ret.counts.items[i] = pages.free;
	}
	if (error)
		rpc_call_fail(call, error);
	else
		rpc_call_reply(call, &ret);
}

/* Finding room for huge pages may take the kernel long: it is done on a thread. */
struct alloc_job {
	struct aio_job job;
	struct rpc_call *call;
	const struct remote_node_alloc_pages_args *args; /* the call's */
	int first; /* -1: the machine as a whole, whose pool has all nodes' pages */
	unsigned cells;
	int done;
	GError *error;
};

static void work_alloc(void *opaque)
{
	enum { ALLOC_SET = 1 };
	struct alloc_job *job = opaque;
	const struct remote_node_alloc_pages_args *args = job->args;
	unsigned sizes = args->page_sizes.count;
	for (unsigned i = 0; !job->error && i < job->cells * sizes; i++) {
		if (host_alloc_pages(job->first + (int)(i / sizes), args->page_sizes.items[i % sizes],
				     args->page_counts.items[i % sizes], !(args->flags & ALLOC_SET),
				     &job->error))
			job->done++;
	}
}

static void done_alloc(void *opaque)
{
	struct alloc_job *job = opaque;
	if (job->error)
		rpc_call_fail(job->call, job->error);
	else
		rpc_call_reply(job->call, &(struct remote_node_alloc_pages_ret){job->done});
	g_free(job);
}

void serve_node_alloc_pages(struct rpc_call *call, const struct remote_node_alloc_pages_args *args)
{
	enum { ALLOC_SET = 1 };
	struct daemon *daemon = rpc_call_daemon(call);
	bool machine = args->start_cell < 0;
	if (!rpc_call_check_flags(call, args->flags, ALLOC_SET) ||
	    (!machine && !check_first(call, args->start_cell)))
		return;
	if (args->page_sizes.count != args->page_counts.count) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_NONE, VIRT_INVALID_ARG, "%u sizes of pages, but %u counts",
			   args->page_sizes.count, args->page_counts.count);
		rpc_call_fail(call, error);
		return;
	}
	struct alloc_job *job = g_new0(struct alloc_job, 1);
	job->job = (struct aio_job){.work = work_alloc, .done = done_alloc, .opaque = job,
				    .loop = daemon->loop};
	job->call = call;
	job->args = args;
	job->first = machine ? -1 : args->start_cell;
	job->cells = machine ? 1 : MIN(node_count(call) - args->start_cell, args->cell_count);
	aio_pool_submit(daemon->pool, &job->job);
}

/* --- Equal pages ---------------------------------------------------------------------------- */

/* Each has a file of its name, without "shm_"; in virsh's order. */
static const struct ksm_param {
	const char *name;
	bool is_uint, writable;
} ksm_params[] = {
	{"shm_pages_to_scan", true, true},
	{"shm_sleep_millisecs", true, true},
	{"shm_pages_shared", false, false},
	{"shm_pages_sharing", false, false},
	{"shm_pages_unshared", false, false},
	{"shm_pages_volatile", false, false},
	{"shm_full_scans", false, false},
	{"shm_merge_across_nodes", true, true},
};

static char *ksm_file(const struct ksm_param *param)
{
	return g_build_filename(KSM, param->name + strlen("shm_"), NULL);
}

void serve_node_get_memory_parameters(struct rpc_call *call,
				      const struct remote_node_get_memory_parameters_args *args)
{
	enum { STRING_OKAY = 4 };
	if (!rpc_call_check_flags(call, args->flags, STRING_OKAY))
		return;
	struct params list = {.arena = rpc_call_arena(call)};
	for (unsigned i = 0; i < G_N_ELEMENTS(ksm_params); i++) {
		g_autofree char *path = ksm_file(&ksm_params[i]), *text = NULL;
		if (!g_file_get_contents(path, &text, NULL, NULL))
			continue;
		uint64_t value = g_ascii_strtoull(text, NULL, 10);
		if (ksm_params[i].is_uint)
			params_add_uint(&list, ksm_params[i].name, value);
		else
			params_add_ullong(&list, ksm_params[i].name, value);
	}
	struct remote_node_get_memory_parameters_ret ret = {.nparams = list.count};
	if (args->nparams > 0) {
		ret.params.count = MIN(list.count, (unsigned)args->nparams);
		ret.params.items = list.items;
	}
	rpc_call_reply(call, &ret);
}

static const struct ksm_param *find_param(const struct xdr_param *given, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ksm_params); i++) {
		if (strcmp(ksm_params[i].name, given->name) != 0 || !ksm_params[i].writable)
			continue;
		if (given->type == XDR_PARAM_UINT)
			return &ksm_params[i];
		virt_error(error, VIRT_FROM_NONE, VIRT_INVALID_ARG,
			   "invalid type for parameter '%s', expected 'uint'", given->name);
		return NULL;
	}
	virt_error(error, VIRT_FROM_NONE, VIRT_ARGUMENT_UNSUPPORTED, "parameter '%s' not supported",
		   given->name);
	return NULL;
}

static bool set_param(const struct ksm_param *param, unsigned value, GError **error)
{
	g_autofree char *path = ksm_file(param), *text = g_strdup_printf("%u", value);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (!good)
		virt_error(error, VIRT_FROM_NONE, VIRT_SYSTEM_ERROR, "failed to set %s: %s", param->name,
			   g_strerror(errno));
	if (fd >= 0)
		close(fd);
	return good;
}

void serve_node_set_memory_parameters(struct rpc_call *call,
				      const struct remote_node_set_memory_parameters_args *args)
{
	GError *error = NULL;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	/* All are checked before the first is set. */
	for (unsigned i = 0; !error && i < args->params.count; i++)
		find_param(&args->params.items[i], &error);
	for (unsigned i = 0; !error && i < args->params.count; i++)
		set_param(find_param(&args->params.items[i], NULL), args->params.items[i].u, &error);
	if (error)
		rpc_call_fail(call, error);
	else
		rpc_call_reply(call, NULL);
}
