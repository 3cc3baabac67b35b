/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statistics of many domains at once. What only the VMM knows is asked of it with a short limit: of a VMM
 * that hangs is told what is known without it.
 */
#include "daemon/domain/stats_int.h"

#include "base/log.h"
#include "daemon/domain/params.h"
#include "daemon/domain/perf.h"
#include "daemon/domain/process.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

#include <stdio.h>

enum { BULK_QUERY_MS = 700 };

enum { STATS_STATE = 1, STATS_CPU = 2, STATS_BALLOON = 4, STATS_VCPU = 8, STATS_INTERFACE = 16,
       STATS_BLOCK = 32, STATS_PERF = 64,
       STATS_IOTHREAD = 128,
       STATS_DIRTY_RATE = 512,
       STATS_SUPPORTED = STATS_STATE | STATS_CPU | STATS_BALLOON | STATS_VCPU | STATS_INTERFACE |
			 STATS_BLOCK | STATS_PERF | STATS_IOTHREAD | STATS_DIRTY_RATE };

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
	unsigned pending;          /* questions to the VMM, which are asked at once */
	json_t *blocks, *dirty_rate; /* its answers; NULL: none */
	GError *error;             /* why one is missing */
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

/* The VMM's I/O threads never poll. */
static void fill_iothreads(const struct bulk_one *one, struct params *params)
{
	static const char *const names[] = {"poll-max-ns", "poll-grow", "poll-shrink"};
	const GArray *threads = one->dom->live->iothreads;
	if (threads->len)
		params_add_uint(params, "iothread.count", threads->len);
	for (unsigned i = 0; i < threads->len; i++) {
		for (unsigned n = 0; n < G_N_ELEMENTS(names); n++) {
			char name[48];
			snprintf(name, sizeof(name), "iothread.%u.%s", g_array_index(threads, unsigned, i), names[n]);
			params_add_ullong(params, name, 0);
		}
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
			int64_t value = stats_of_interface(nic->target, names[k][1]);
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
		const json_t *entry = stats_of_disk(list, disk->dev.alias);
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
			params_add_ullong(params, name, stats_number(entry, names[k][1]));
		}
		if (!disk->file || !stats_file_sizes(disk->file, &sizes, NULL))
			continue;
		snprintf(name, sizeof(name), "block.%u.allocation", i);
		params_add_ullong(params, name, sizes.allocation);
		snprintf(name, sizeof(name), "block.%u.physical", i);
		params_add_ullong(params, name, sizes.physical);
	}
}

static void fill_dirty_rate(struct params *params, const json_t *rate)
{
	static const char *const states[] = {"unstarted", "measuring", "measured"};
	const char *status = json_string_value(json_object_get(rate, "status"));
	const char *mode = json_string_value(json_object_get(rate, "mode"));
	const json_t *figure = json_object_get(rate, "dirty-rate");
	unsigned state = 0;
	while (state < G_N_ELEMENTS(states) && g_strcmp0(status, states[state]) != 0)
		state++;
	if (state == G_N_ELEMENTS(states))
		return;
	params_add_int(params, "dirtyrate.calc_status", state);
	params_add_llong(params, "dirtyrate.calc_start_time",
			 json_integer_value(json_object_get(rate, "start-time")));
	params_add_int(params, "dirtyrate.calc_period",
		       json_integer_value(json_object_get(rate, "calc-time")));
	if (mode)
		params_add_string(params, "dirtyrate.calc_mode", mode);
	if (figure)
		params_add_llong(params, "dirtyrate.megabytes_per_second", json_integer_value(figure));
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
	if (stats & STATS_IOTHREAD && dom->live)
		fill_iothreads(one, params);
}

static void release(struct bulk *bulk)
{
	if (--bulk->pending)
		return;
	rpc_call_reply(bulk->call, &bulk->ret);
	g_free(bulk);
}

/* The other numbers are there; who reads them must not take what is missing for nothing. */
static void tell_silence(struct bulk_one *one)
{
	static struct log_limit limit;
	params_add_int(&one->params, "vmm.responding", 0);
	if (log_limit_allows(&limit, 5))
		log_warning("domain '%s': %s: what only its VMM knows is left out of its statistics",
			    one->dom->name, one->error->message);
}

/* One of the VMM's answers is there, or the domain is complete without any. */
static void release_one(struct bulk_one *one)
{
	struct bulk *bulk = one->bulk;
	if (--one->pending)
		return;
	if (one->error && one->dom->vmm)
		tell_silence(one);
	if (bulk->stats & STATS_BLOCK && domain_conf(one->dom))
		fill_disks(one, &one->params, one->blocks);
	if (one->dirty_rate)
		fill_dirty_rate(&one->params, one->dirty_rate);
	one->record->params.items = one->params.items;
	one->record->params.count = one->params.count;
	domain_unpin(one->dom);
	json_decref(one->blocks);
	json_decref(one->dirty_rate);
	g_clear_error(&one->error);
	g_free(one);
	release(bulk);
}

static void take_answer(struct bulk_one *one, json_t **answer, json_t *result, const GError *error)
{
	if (error && !one->error)
		one->error = g_error_copy(error);
	*answer = error ? NULL : json_incref(result);
	release_one(one);
}

static void on_blocks(void *opaque, json_t *result, const GError *error)
{
	struct bulk_one *one = opaque;
	take_answer(one, &one->blocks, result, error);
}

static void on_dirty_rate(void *opaque, json_t *result, const GError *error)
{
	struct bulk_one *one = opaque;
	take_answer(one, &one->dirty_rate, result, error);
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
					 {.arena = arena}, .pending = 1};
		one->record->dom = domain_wire(one->dom);
		one->record->dom.name = arena_strdup(arena, one->dom->name);
		bulk->pending++;
		fill_known(one);
		bool ask = one->dom->vmm && wait;
		one->pending += ask * (!!(stats & STATS_BLOCK) + !!(stats & STATS_DIRTY_RATE));
		if (ask && stats & STATS_BLOCK)
			vmm_query(one->dom, "query-blockstats", NULL, BULK_QUERY_MS, on_blocks, one);
		if (ask && stats & STATS_DIRTY_RATE)
			vmm_query(one->dom, "query-dirty-rate", NULL, BULK_QUERY_MS, on_dirty_rate, one);
		release_one(one);
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
