/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers of what a domain does: its disks, interfaces and memory. */
#include "daemon/domain/domain.h"
#include "daemon/domain/stats_int.h"

#include "daemon/domain/disk_source.h"
#include "daemon/domain/params.h"
#include "daemon/domain/process.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { QUERY_MS = 5000 };

/* --- Disks ---------------------------------------------------------------------------------- */

const json_t *stats_of_disk(const json_t *list, const char *alias)
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

int64_t stats_number(const json_t *entry, const char *name)
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
		return stats_number(stats_of_disk(list, query->alias), name);
	uint64_t total = 0; /* unsigned: a VMM's numbers may be any */
	size_t i;
	json_t *entry;
	json_array_foreach((json_t *)list, i, entry)
		total += stats_number(entry, name);
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
bool stats_file_sizes(const char *file, struct remote_domain_get_block_info_ret *ret, GError **error)
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
	if ((!query->file || stats_file_sizes(query->file, &ret, &error)) && !failure) {
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
		return stats_file_sizes(disk->file, ret, error);
	g_autofree char *path = disk_volume_path(dom->all->daemon, disk, error);
	return path && stats_file_sizes(path, ret, error);
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

int64_t stats_of_interface(const char *device, const char *name)
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
		.rx_bytes = stats_of_interface(dev, "tx_bytes"),
		.rx_packets = stats_of_interface(dev, "tx_packets"),
		.rx_errs = stats_of_interface(dev, "tx_errors"),
		.rx_drop = stats_of_interface(dev, "tx_dropped"),
		.tx_bytes = stats_of_interface(dev, "rx_bytes"),
		.tx_packets = stats_of_interface(dev, "rx_packets"),
		.tx_errs = stats_of_interface(dev, "rx_errors"),
		.tx_drop = stats_of_interface(dev, "rx_dropped"),
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
