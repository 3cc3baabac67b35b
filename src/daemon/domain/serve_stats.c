/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers of what a domain does. What only the VMM knows is asked of it with a short limit: of a VMM
 * that hangs, a query for many domains tells what is known without it.
 */
#include "daemon/domain/domain.h"
#include "daemon/domain/stats.h"

#include "base/log.h"
#include "daemon/domain/disk_source.h"
#include "daemon/domain/params.h"
#include "daemon/domain/perf.h"
#include "daemon/domain/process.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { QUERY_MS = 5000, BULK_QUERY_MS = 700 };

/* --- Disks ---------------------------------------------------------------------------------- */

/* The entry of query-blockstats about a device, or NULL. */
static const json_t *find_entry(const json_t *list, const char *alias)
{
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)list, i, entry) {
		const char *qdev = json_string_value(json_object_get(entry, "qdev"));
		if (g_strcmp0(qdev, alias) == 0)
			return entry;
	}
	return NULL;
}

static int64_t number(const json_t *entry, const char *name)
{
	return json_integer_value(json_object_get(json_object_get(entry, "stats"), name));
}

/* A call about disks, while the VMM is asked. */
struct disk_query {
	struct rpc_call *call;
	char *alias; /* NULL: all disks together */
	bool counts_only, typed;
};

static struct disk_query *disk_query_new(struct rpc_call *call, struct domain *dom, const char *path)
{
	GError *error = NULL;
	const struct conf_domain_disk *disk = *path ? conf_domain_find_disk(domain_conf(dom), path) : NULL;
	if (!dom->vmm)
		virt_error(&error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID, "domain is not running");
	else if (*path && !disk)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "invalid path '%s' not assigned to domain",
			   path);
	if (error) {
		rpc_call_fail(call, error);
		return NULL;
	}
	struct disk_query *query = g_new0(struct disk_query, 1);
	*query = (struct disk_query){.call = call,
				     .alias = disk ? g_strdup(disk->dev.alias) : NULL};
	return query;
}

static const char *const block_names[][2] = {
	{"rd_bytes", "rd_bytes"}, {"rd_operations", "rd_operations"},
	{"rd_total_times", "rd_total_time_ns"}, {"wr_bytes", "wr_bytes"},
	{"wr_operations", "wr_operations"}, {"wr_total_times", "wr_total_time_ns"},
	{"flush_operations", "flush_operations"}, {"flush_total_times", "flush_total_time_ns"},
};

static int64_t sum(const struct disk_query *query, const json_t *list, const char *name)
{
	if (query->alias)
		return number(find_entry(list, query->alias), name);
	uint64_t total = 0; /* unsigned: a VMM's numbers may be any */
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)list, i, entry)
		total += number(entry, name);
	return total;
}

static void reply_plain(const struct disk_query *query, const json_t *list)
{
	struct remote_domain_block_stats_ret ret = {
		.rd_req = sum(query, list, "rd_operations"), .rd_bytes = sum(query, list, "rd_bytes"),
		.wr_req = sum(query, list, "wr_operations"), .wr_bytes = sum(query, list, "wr_bytes"),
		.errs = -1,
	};
	rpc_call_reply(query->call, &ret);
}

static void reply_typed(const struct disk_query *query, const json_t *list)
{
	struct params params = {.arena = rpc_call_arena(query->call)};
	for (unsigned i = 0; i < G_N_ELEMENTS(block_names); i++)
		params_add_llong(&params, block_names[i][0], sum(query, list, block_names[i][1]));
	struct remote_domain_block_stats_flags_ret ret = {.nparams = params.count};
	if (!query->counts_only) {
		ret.params.items = params.items;
		ret.params.count = params.count;
		ret.nparams = 0;
	}
	rpc_call_reply(query->call, &ret);
}

static void on_block_stats(void *opaque, json_t *result, const GError *error)
{
	struct disk_query *query = opaque;
	GError *failure = NULL;
	if (error) {
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "%s", error->message);
		rpc_call_fail(query->call, failure);
	} else if (query->typed) {
		reply_typed(query, result);
	} else {
		reply_plain(query, result);
	}
	g_free(query->alias);
	g_free(query);
}

void serve_domain_block_stats(struct rpc_call *call, const struct remote_domain_block_stats_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	struct disk_query *query = dom ? disk_query_new(call, dom, args->path) : NULL;
	if (query)
		vmm_query(dom, "query-blockstats", NULL, QUERY_MS, on_block_stats, query);
}

void serve_domain_block_stats_flags(struct rpc_call *call,
				    const struct remote_domain_block_stats_flags_args *args)
{
	enum { STRINGS_OKAY = 4 };
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, STRINGS_OKAY))
		return;
	struct disk_query *query = disk_query_new(call, dom, args->path);
	if (!query)
		return;
	query->typed = true;
	query->counts_only = args->nparams == 0;
	vmm_query(dom, "query-blockstats", NULL, QUERY_MS, on_block_stats, query);
}

/* --- Sizes ---------------------------------------------------------------------------------- */

struct size_query {
	struct rpc_call *call;
	char *node, *file; /* `file` is NULL: on a server */
};

/* Of a file as the host's file system has it. */
static bool file_sizes(const char *file, struct remote_domain_get_block_info_ret *ret, GError **error)
{
	struct stat st;
	if (stat(file, &st) < 0)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_SYSTEM_ERROR, "cannot stat file '%s': %s", file,
				  g_strerror(errno));
	ret->allocation = st.st_blocks * UINT64_C(512);
	ret->physical = ret->capacity = st.st_size;
	return true;
}

/* query-named-block-nodes: the guest's size, which the format knows. */
static void on_nodes(void *opaque, json_t *result, const GError *failure)
{
	struct size_query *query = opaque;
	struct remote_domain_get_block_info_ret ret = {0};
	GError *error = NULL;
	size_t i;
	json_t *node;
	if ((!query->file || file_sizes(query->file, &ret, &error)) && !failure) {
		json_array_foreach(result, i, node) {
			const char *name = json_string_value(json_object_get(node, "node-name"));
			const json_t *size = json_object_get(json_object_get(node, "image"), "virtual-size");
			if (g_strcmp0(name, query->node) == 0 && json_is_integer(size))
				ret.capacity = json_integer_value(size);
		}
		/* What a server has allocated it does not say. */
		if (!query->file)
			ret.physical = ret.capacity;
	}
	if (!error && failure)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "%s", failure->message);
	if (error)
		rpc_call_fail(query->call, error);
	else
		rpc_call_reply(query->call, &ret);
	g_free(query->node);
	g_free(query->file);
	g_free(query);
}

/* While no VMM knows the format: the size of a raw image is its file's. */
static bool stopped_sizes(struct domain *dom, const struct conf_domain_disk *disk,
			  struct remote_domain_get_block_info_ret *ret, GError **error)
{
	if (disk->source.kind == CONF_SOURCE_NETWORK || disk->source.encryption.given ||
	    strcmp(disk->format, "raw") != 0)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "the size of %s is known while the domain runs: ask berth-img info",
				  disk->source.kind == CONF_SOURCE_NETWORK ? "a disk on a server"
				  : disk->source.encryption.given ? "an encrypted image"
				  : "an image that is not raw");
	if (disk->source.kind != CONF_SOURCE_VOLUME)
		return file_sizes(disk->file, ret, error);
	g_autofree char *path = disk_volume_path(dom->all->daemon, disk, error);
	return path && file_sizes(path, ret, error);
}

void serve_domain_get_block_info(struct rpc_call *call,
				 const struct remote_domain_get_block_info_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	struct remote_domain_get_block_info_ret ret = {0};
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	const struct conf_domain_disk *disk = conf_domain_find_disk(domain_conf(dom), args->path);
	if (!disk)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "invalid path %s not assigned to domain",
			   args->path);
	else if (!conf_domain_disk_has_medium(disk))
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "disk '%s' does not currently have a "
			   "source assigned", disk->target);
	else if (!dom->vmm && stopped_sizes(dom, disk, &ret, &error)) {
		rpc_call_reply(call, &ret);
		return;
	}
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct size_query *query = g_new(struct size_query, 1);
	*query = (struct size_query){call, g_strdup_printf("drive-%s", disk->dev.alias),
				     g_strdup(disk->file)};
	vmm_query(dom, "query-named-block-nodes", NULL, QUERY_MS, on_nodes, query);
}

/* --- Interfaces ------------------------------------------------------------------------------ */

static int64_t interface_number(const char *device, const char *name)
{
	g_autofree char *path = g_strdup_printf("/sys/class/net/%s/statistics/%s", device, name);
	g_autofree char *text = NULL;
	return g_file_get_contents(path, &text, NULL, NULL) ? g_ascii_strtoll(text, NULL, 10) : -1;
}

/* The host's device of the card with that name or MAC address; NULL: there is none. */
static const char *find_interface(const struct domain *dom, const char *device)
{
	for (unsigned i = 0; i < dom->live->nics->len; i++) {
		const struct conf_domain_nic *nic = dom->live->nics->pdata[i];
		if (nic->target && (strcmp(nic->target, device) == 0 ||
				    g_ascii_strcasecmp(nic->mac, device) == 0))
			return nic->target;
	}
	return NULL;
}

/* A tap's receiving side is what the guest sends. */
void serve_domain_interface_stats(struct rpc_call *call,
				  const struct remote_domain_interface_stats_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !domain_runs(call, dom))
		return;
	const char *dev = find_interface(dom, args->device);
	if (!dev)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "invalid path, '%s' is not a known interface", args->device);
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct remote_domain_interface_stats_ret ret = {
		.rx_bytes = interface_number(dev, "tx_bytes"),
		.rx_packets = interface_number(dev, "tx_packets"),
		.rx_errs = interface_number(dev, "tx_errors"),
		.rx_drop = interface_number(dev, "tx_dropped"),
		.tx_bytes = interface_number(dev, "rx_bytes"),
		.tx_packets = interface_number(dev, "rx_packets"),
		.tx_errs = interface_number(dev, "rx_errors"),
		.tx_drop = interface_number(dev, "rx_dropped"),
	};
	rpc_call_reply(call, &ret);
}

/* --- Memory --------------------------------------------------------------------------------- */

/* The balloon driver's figures and libvirt's tags; those of ours are bytes, except for counts. */
static const struct {
	const char *name;
	int tag;
	bool is_count;
} memory_names[] = {
	{"stat-swap-in", 0}, {"stat-swap-out", 1}, {"stat-major-faults", 2, true},
	{"stat-minor-faults", 3, true}, {"stat-free-memory", 4}, {"stat-total-memory", 5},
	{"stat-available-memory", 8}, {"stat-disk-caches", 10}, {"stat-htlb-pgalloc", 11, true},
	{"stat-htlb-pgfail", 12, true},
};
enum { TAG_ACTUAL = 6, TAG_RSS = 7, TAG_LAST_UPDATE = 9 };

struct memory_query {
	struct rpc_call *call;
	struct domain *dom;
	unsigned most;
};

static void on_memory_stats(void *opaque, json_t *result, const GError *error)
{
	struct memory_query *query = opaque;
	struct domain *dom = query->dom;
	struct remote_memory_stat list[16];
	unsigned count = 0;
	json_int_t updated = json_integer_value(json_object_get(result, "last-update"));
	const json_t *stats = json_object_get(result, "stats");
	list[count++] = (struct remote_memory_stat){TAG_ACTUAL, domain_memory_kib(dom)};
	for (unsigned i = 0; updated && i < G_N_ELEMENTS(memory_names); i++) {
		json_int_t value = json_integer_value(json_object_get(stats, memory_names[i].name));
		if (value >= 0)
			list[count++] = (struct remote_memory_stat){
				memory_names[i].tag, memory_names[i].is_count ? value : value / 1024};
	}
	if (updated)
		list[count++] = (struct remote_memory_stat){TAG_LAST_UPDATE, updated};
	list[count++] = (struct remote_memory_stat){TAG_RSS, process_rss_kib(vmm_pid(dom))};
	struct remote_domain_memory_stats_ret ret = {.stats = {MIN(count, query->most), list}};
	rpc_call_reply(query->call, &ret);
	domain_unpin(dom);
	g_free(query);
}

void serve_domain_memory_stats(struct rpc_call *call,
			       const struct remote_domain_memory_stats_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	if (!dom || !rpc_call_check_flags(call, args->flags, 0) || !domain_runs(call, dom))
		return;
	struct memory_query *query = g_new(struct memory_query, 1);
	*query = (struct memory_query){call, domain_pin(dom), args->max_stats};
	if (!dom->live->balloon) {
		on_memory_stats(query, NULL, NULL);
		return;
	}
	g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", dom->live->balloon->alias);
	vmm_query(dom, "qom-get", json_pack("{s:s, s:s}", "path", path, "property", "guest-stats"),
		  QUERY_MS, on_memory_stats, query);
}

/* --- Statistics in bulk ---------------------------------------------------------------------- */

enum { STATS_STATE = 1, STATS_CPU = 2, STATS_BALLOON = 4, STATS_VCPU = 8, STATS_INTERFACE = 16,
       STATS_BLOCK = 32, STATS_PERF = 64,
       STATS_SUPPORTED = STATS_STATE | STATS_CPU | STATS_BALLOON | STATS_VCPU | STATS_INTERFACE |
			 STATS_BLOCK | STATS_PERF };

struct bulk {
	struct rpc_call *call;
	uint32_t stats;
	unsigned pending;
	struct remote_connect_get_all_domain_stats_ret ret;
};

struct bulk_one {
	struct bulk *bulk;
	struct domain *dom;
	struct remote_domain_stats *record;
	struct params params;
};

static void fill_vcpus(const struct bulk_one *one, struct params *params)
{
	const struct conf_domain *conf = domain_conf(one->dom);
	params_add_uint(params, "vcpu.current", conf->vcpus);
	params_add_uint(params, "vcpu.maximum", conf->max_vcpus);
	for (unsigned i = 0; one->dom->vmm && i < conf->vcpus; i++) {
		struct process_times times;
		char name[32];
		if (!process_times(vmm_pid(one->dom), vmm_vcpu_thread(one->dom, i), &times))
			continue;
		snprintf(name, sizeof(name), "vcpu.%u.state", i);
		params_add_int(params, name, 1);
		snprintf(name, sizeof(name), "vcpu.%u.time", i);
		params_add_ullong(params, name, times.user_ns + times.system_ns);
	}
}

static void fill_interfaces(const struct bulk_one *one, struct params *params)
{
	static const char *const names[][2] = {
		{"rx.bytes", "tx_bytes"}, {"rx.pkts", "tx_packets"}, {"rx.errs", "tx_errors"},
		{"rx.drop", "tx_dropped"}, {"tx.bytes", "rx_bytes"}, {"tx.pkts", "rx_packets"},
		{"tx.errs", "rx_errors"}, {"tx.drop", "rx_dropped"},
	};
	const GPtrArray *nics = one->dom->live->nics;
	char name[64];
	params_add_uint(params, "net.count", nics->len);
	for (unsigned i = 0; i < nics->len; i++) {
		const struct conf_domain_nic *nic = nics->pdata[i];
		if (!nic->target)
			continue;
		snprintf(name, sizeof(name), "net.%u.name", i);
		params_add_string(params, name, nic->target);
		for (unsigned k = 0; k < G_N_ELEMENTS(names); k++) {
			snprintf(name, sizeof(name), "net.%u.%s", i, names[k][0]);
			int64_t value = interface_number(nic->target, names[k][1]);
			if (value >= 0)
				params_add_ullong(params, name, value);
		}
	}
}

static void fill_disks(const struct bulk_one *one, struct params *params, const json_t *list)
{
	static const char *const names[][2] = {
		{"rd.reqs", "rd_operations"}, {"rd.bytes", "rd_bytes"}, {"rd.times", "rd_total_time_ns"},
		{"wr.reqs", "wr_operations"}, {"wr.bytes", "wr_bytes"}, {"wr.times", "wr_total_time_ns"},
		{"fl.reqs", "flush_operations"}, {"fl.times", "flush_total_time_ns"},
	};
	const GPtrArray *disks = domain_conf(one->dom)->disks;
	char name[64];
	params_add_uint(params, "block.count", disks->len);
	for (unsigned i = 0; i < disks->len; i++) {
		const struct conf_domain_disk *disk = disks->pdata[i];
		const json_t *entry = find_entry(list, disk->dev.alias);
		struct remote_domain_get_block_info_ret sizes;
		snprintf(name, sizeof(name), "block.%u.name", i);
		params_add_string(params, name, disk->target);
		if (!conf_domain_disk_has_medium(disk))
			continue;
		snprintf(name, sizeof(name), "block.%u.path", i);
		if (disk->file)
			params_add_string(params, name, disk->file);
		for (unsigned k = 0; entry && k < G_N_ELEMENTS(names); k++) {
			snprintf(name, sizeof(name), "block.%u.%s", i, names[k][0]);
			params_add_ullong(params, name, number(entry, names[k][1]));
		}
		if (!disk->file || !file_sizes(disk->file, &sizes, NULL))
			continue;
		snprintf(name, sizeof(name), "block.%u.allocation", i);
		params_add_ullong(params, name, sizes.allocation);
		snprintf(name, sizeof(name), "block.%u.physical", i);
		params_add_ullong(params, name, sizes.physical);
	}
}

static void fill_events(const struct domain *dom, struct params *params)
{
	for (unsigned i = 0; i < CONF_PERF_EVENTS; i++) {
		char name[64];
		uint64_t value;
		snprintf(name, sizeof(name), "perf.%s", conf_perf_names[i]);
		if (perf_read(vmm_perf(dom), i, &value))
			params_add_ullong(params, name, value);
	}
}

/* What needs no VMM. */
static void fill_known(struct bulk_one *one)
{
	struct params *params = &one->params;
	struct domain *dom = one->dom;
	uint32_t stats = one->bulk->stats;
	if (stats & STATS_STATE) {
		params_add_int(params, "state.state", dom->state);
		params_add_int(params, "state.reason", dom->reason);
	}
	struct process_times times;
	if (stats & STATS_CPU && dom->vmm && process_times(vmm_pid(dom), 0, &times)) {
		params_add_ullong(params, "cpu.time", times.user_ns + times.system_ns);
		params_add_ullong(params, "cpu.user", times.user_ns);
		params_add_ullong(params, "cpu.system", times.system_ns);
	}
	if (stats & STATS_BALLOON) {
		params_add_ullong(params, "balloon.current", domain_memory_kib(dom));
		params_add_ullong(params, "balloon.maximum", domain_conf(dom)->memory_kib);
		if (dom->vmm)
			params_add_ullong(params, "balloon.rss", process_rss_kib(vmm_pid(dom)));
	}
	if (stats & STATS_VCPU)
		fill_vcpus(one, params);
	if (stats & STATS_INTERFACE && dom->live)
		fill_interfaces(one, params);
	if (stats & STATS_PERF && dom->vmm)
		fill_events(dom, params);
}

static void release(struct bulk *bulk)
{
	if (--bulk->pending)
		return;
	rpc_call_reply(bulk->call, &bulk->ret);
	g_free(bulk);
}

/* The other numbers are there; who reads them must not take what is missing for nothing. */
static void tell_silence(struct bulk_one *one, const GError *error)
{
	static struct log_limit limit;
	params_add_int(&one->params, "vmm.responding", 0);
	if (log_limit_allows(&limit, 5))
		log_warning("domain '%s': %s: its block statistics are left out", one->dom->name,
			    error->message);
}

static void on_bulk_blocks(void *opaque, json_t *result, const GError *error)
{
	struct bulk_one *one = opaque;
	struct bulk *bulk = one->bulk;
	if (error && one->dom->vmm)
		tell_silence(one, error);
	if (domain_conf(one->dom))
		fill_disks(one, &one->params, result);
	one->record->params.items = one->params.items;
	one->record->params.count = one->params.count;
	domain_unpin(one->dom);
	g_free(one);
	release(bulk);
}

void domain_reply_stats(struct rpc_call *call, const GPtrArray *doms, uint32_t stats, bool wait)
{
	struct arena *arena = rpc_call_arena(call);
	struct bulk *bulk = g_new0(struct bulk, 1);
	*bulk = (struct bulk){.call = call, .stats = stats, .pending = 1};
	bulk->ret.records.count = doms->len;
	bulk->ret.records.items = arena_alloc(arena, doms->len * sizeof(*bulk->ret.records.items));
	for (unsigned i = 0; i < doms->len; i++) {
		struct bulk_one *one = g_new0(struct bulk_one, 1);
		*one = (struct bulk_one){bulk, domain_pin(doms->pdata[i]), &bulk->ret.records.items[i],
					 {.arena = arena}};
		one->record->dom = domain_wire(one->dom);
		one->record->dom.name = arena_strdup(arena, one->dom->name);
		bulk->pending++;
		fill_known(one);
		if (stats & STATS_BLOCK && one->dom->vmm && wait) {
			vmm_query(one->dom, "query-blockstats", NULL, BULK_QUERY_MS, on_bulk_blocks, one);
		} else if (stats & STATS_BLOCK) {
			on_bulk_blocks(one, NULL, NULL);
		} else {
			one->record->params.items = one->params.items;
			one->record->params.count = one->params.count;
			domain_unpin(one->dom);
			g_free(one);
			release(bulk);
		}
	}
	release(bulk);
}

bool domain_stats_supported(uint32_t *stats, bool enforce)
{
	if (enforce && *stats & ~STATS_SUPPORTED)
		return false;
	*stats = *stats ? *stats & STATS_SUPPORTED : STATS_SUPPORTED;
	return true;
}
