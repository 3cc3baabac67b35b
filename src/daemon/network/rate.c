/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/rate.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/network/netlink.h"
#include "daemon/network/nft.h"
#include "daemon/network/nft_watch.h"

#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define TABLE_PREFIX "berth-rate-"
/* One class that all goes through. */
#define QDISC_HANDLE TC_H_MAKE(1 << 16, 0)
#define CLASS_HANDLE TC_H_MAKE(1 << 16, 1)
enum { KIB = 1024, HTB_VERSION = 3, TICK_NS = 64, LEAST_BURST = 65536 };

struct rates {
	struct daemon *daemon;
	GHashTable *by_device;   /* to struct conf_bandwidth */
	struct nft_watch *watch; /* NULL: nothing has been limited yet */
};

/* --- To the guest ----------------------------------------------------------------------------- */

/* How long `burst` bytes take, in the kernel's ticks. */
static uint32_t ticks(uint64_t burst, uint64_t rate)
{
	double value = (double)burst * 1e9 / rate / TICK_NS;
	return value > UINT32_MAX ? UINT32_MAX : value;
}

static int add_class(unsigned index, const struct conf_rate *limit)
{
	struct netlink_message m;
	uint64_t rate = limit->average * KIB, peak = MAX(limit->peak * KIB, rate);
	/* A packet of the host may have 64 KiB: a smaller burst would hold up every one. */
	uint64_t burst = limit->burst ? limit->burst * KIB : MAX(rate / 100, LEAST_BURST);
	const struct tcmsg body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index,
				   .tcm_handle = CLASS_HANDLE, .tcm_parent = QDISC_HANDLE};
	const struct tc_htb_opt options = {
		.rate = {.rate = MIN(rate, UINT32_MAX), .linklayer = TC_LINKLAYER_ETHERNET},
		.ceil = {.rate = MIN(peak, UINT32_MAX), .linklayer = TC_LINKLAYER_ETHERNET},
		.buffer = ticks(burst, rate), .cbuffer = ticks(LEAST_BURST, peak),
		.quantum = LEAST_BURST,
	};
	netlink_begin(&m, RTM_NEWTCLASS, NLM_F_CREATE, &body, sizeof(body));
	netlink_put_text(&m, TCA_KIND, "htb");
	size_t nest = netlink_nest(&m, TCA_OPTIONS);
	netlink_put(&m, TCA_HTB_PARMS, &options, sizeof(options));
	netlink_put(&m, TCA_HTB_RATE64, &rate, sizeof(rate));
	netlink_put(&m, TCA_HTB_CEIL64, &peak, sizeof(peak));
	netlink_end(&m, nest);
	return netlink_send(&m);
}

static int add_qdisc(unsigned index)
{
	struct netlink_message m;
	const struct tcmsg body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index,
				   .tcm_handle = QDISC_HANDLE, .tcm_parent = TC_H_ROOT};
	const struct tc_htb_glob options = {.version = HTB_VERSION, .rate2quantum = 10,
					    .defcls = TC_H_MIN(CLASS_HANDLE)};
	netlink_begin(&m, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	netlink_put_text(&m, TCA_KIND, "htb");
	size_t nest = netlink_nest(&m, TCA_OPTIONS);
	netlink_put(&m, TCA_HTB_INIT, &options, sizeof(options));
	netlink_end(&m, nest);
	int result = netlink_send(&m);
	return result == EEXIST ? 0 : result;
}

static bool shape(const char *device, unsigned index, const struct conf_rate *limit, GError **error)
{
	int result = add_qdisc(index);
	if (!result)
		result = add_class(index, limit);
	return !result || error_set_errno(error, result, "cannot limit what '%s' is sent", device);
}

/* That there is none is fine. */
static void unshape(unsigned index)
{
	struct netlink_message m;
	const struct tcmsg body = {.tcm_family = AF_UNSPEC, .tcm_ifindex = index,
				   .tcm_handle = QDISC_HANDLE, .tcm_parent = TC_H_ROOT};
	netlink_begin(&m, RTM_DELQDISC, 0, &body, sizeof(body));
	netlink_send(&m);
}

/* --- From the guest --------------------------------------------------------------------------- */

static bool police(const char *device, const struct conf_rate *limit, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_string_append_printf(text, "add table netdev " TABLE_PREFIX "%s\ndelete table netdev "
				     TABLE_PREFIX "%s\n", device, device);
	if (limit)
		g_string_append_printf(text,
				       "table netdev " TABLE_PREFIX "%s {\n chain out {\n"
				       "  type filter hook ingress device \"%s\" priority -10; policy accept;\n"
				       "  limit rate over %" G_GUINT64_FORMAT " kbytes/second burst %"
				       G_GUINT64_FORMAT " kbytes counter drop\n }\n}\n", device, device,
				       limit->average, limit->burst ? limit->burst : limit->average);
	if (nft_run(text->str, error))
		return true;
	g_prefix_error(error, "cannot limit what '%s' sends: ", device);
	return false;
}

static void on_news(void *opaque, const struct nft_news *news)
{
	struct rates *rates = opaque;
	GHashTableIter iter;
	void *device, *value;
	g_hash_table_iter_init(&iter, rates->by_device);
	while (g_hash_table_iter_next(&iter, &device, &value)) {
		const struct conf_bandwidth *bandwidth = value;
		g_autoptr(GError) error = NULL;
		g_autofree char *table = g_strconcat(TABLE_PREFIX, device, NULL);
		if (bandwidth->outbound.average && nft_news_gone(news, table) &&
		    !police(device, &bandwidth->outbound, &error))
			log_warning("%s", error->message);
	}
}

/* --- Devices ---------------------------------------------------------------------------------- */

struct rates *rates_new(struct daemon *daemon)
{
	struct rates *rates = g_new0(struct rates, 1);
	rates->daemon = daemon;
	rates->by_device = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return rates;
}

void rates_free(struct rates *rates)
{
	if (!rates)
		return;
	nft_watch_free(rates->watch);
	g_hash_table_unref(rates->by_device);
	g_free(rates);
}

static bool begin_to_watch(struct rates *rates, GError **error)
{
	if (!rates->watch)
		rates->watch = nft_watch_new(rates->daemon->loop, TABLE_PREFIX, on_news, rates, error);
	return rates->watch != NULL;
}

static bool put(struct rates *rates, const char *device, const struct conf_bandwidth *bandwidth,
		GError **error)
{
	const struct conf_bandwidth *old = g_hash_table_lookup(rates->by_device, device);
	unsigned index = if_nametoindex(device);
	bool in = bandwidth->inbound.average, out = bandwidth->outbound.average;
	if (!index)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no interface '%s' to limit", device);
	if (bandwidth->inbound.floor)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s': Berth does not support a guaranteed bandwidth (floor)", device);
	if (in && !shape(device, index, &bandwidth->inbound, error))
		return false;
	if (!in && old && old->inbound.average)
		unshape(index);
	if (out)
		return begin_to_watch(rates, error) && police(device, &bandwidth->outbound, error);
	return !old || !old->outbound.average || police(device, NULL, error);
}

bool rates_set(struct daemon *daemon, const char *device, const struct conf_bandwidth *bandwidth,
	       GError **error)
{
	struct rates *rates = daemon->rates;
	if (!put(rates, device, bandwidth, error))
		return false;
	if (bandwidth->inbound.average || bandwidth->outbound.average)
		g_hash_table_replace(rates->by_device, g_strdup(device),
				     g_memdup2(bandwidth, sizeof(*bandwidth)));
	else
		g_hash_table_remove(rates->by_device, device);
	return true;
}

void rates_sweep(struct daemon *daemon)
{
	GHashTableIter iter;
	void *device, *value;
	g_hash_table_iter_init(&iter, daemon->rates->by_device);
	while (g_hash_table_iter_next(&iter, &device, &value)) {
		const struct conf_bandwidth *bandwidth = value;
		g_autoptr(GError) error = NULL;
		if (if_nametoindex(device))
			continue;
		if (bandwidth->outbound.average && !police(device, NULL, &error))
			log_warning("%s", error->message);
		g_hash_table_iter_remove(&iter);
	}
}
