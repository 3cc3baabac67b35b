/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/rate.h"

#include "base/error.h"
#include "base/ip.h"
#include "base/log.h"
#include "daemon/network/htb.h"
#include "daemon/network/nft.h"
#include "daemon/network/nft_watch.h"

#include <net/if.h>
#include <string.h>

#define TABLE_PREFIX "berth-rate-"

struct limits {
	struct conf_bandwidth bandwidth;
	GArray *shares; /* struct rate_share; NULL: of a port, not of a bridge */
};

struct rates {
	struct daemon *daemon;
	GHashTable *by_device;   /* to struct limits */
	struct nft_watch *watch; /* NULL: nothing has been limited yet */
};

static void limits_free(void *opaque)
{
	struct limits *limits = opaque;
	if (limits->shares)
		g_array_unref(limits->shares);
	g_free(limits);
}

static bool has_table(const struct limits *limits)
{
	return limits->bandwidth.outbound.average || (limits->shares && limits->shares->len);
}

/* --- The table -------------------------------------------------------------------------------- */

/* What comes from the device above its rate is dropped. */
static void write_ingress(GString *text, const char *device, const struct conf_rate *limit)
{
	g_string_append_printf(text,
			       " chain out {\n  type filter hook ingress device \"%s\" priority -10; "
			       "policy accept;\n  limit rate over %" G_GUINT64_FORMAT
			       " kbytes/second burst %" G_GUINT64_FORMAT " kbytes counter drop\n }\n",
			       device, limit->average, limit->burst ? limit->burst : limit->average);
}

/* The queue's class is that of the priority: which one a guest's share is, its MAC address says. */
static void write_egress(GString *text, const char *device, const GArray *shares)
{
	char mac[MAC_TEXT_SIZE];
	g_string_append_printf(text,
			       " chain in {\n  type filter hook egress device \"%s\" priority 0; "
			       "policy accept;\n  meta priority set ether daddr map {", device);
	for (unsigned i = 0; i < shares->len; i++) {
		const struct rate_share *share = &g_array_index(shares, struct rate_share, i);
		g_string_append_printf(text, "%s %s : 1:%x", i ? "," : "", mac_format(share->mac, mac),
				       share->class);
	}
	g_string_append(text, " }\n }\n");
}

/* Exactly what belongs to the limits; without them no table. */
static bool load_table(const char *device, const struct limits *limits, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	g_string_append_printf(text, "add table netdev " TABLE_PREFIX "%s\ndelete table netdev "
				     TABLE_PREFIX "%s\n", device, device);
	if (has_table(limits)) {
		g_string_append_printf(text, "table netdev " TABLE_PREFIX "%s {\n", device);
		if (limits->bandwidth.outbound.average)
			write_ingress(text, device, &limits->bandwidth.outbound);
		if (limits->shares && limits->shares->len)
			write_egress(text, device, limits->shares);
		g_string_append(text, "}\n");
	}
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
		const struct limits *limits = value;
		g_autoptr(GError) error = NULL;
		g_autofree char *table = g_strconcat(TABLE_PREFIX, device, NULL);
		if (has_table(limits) && nft_news_gone(news, table) && !load_table(device, limits, &error))
			log_warning("%s", error->message);
	}
}

/* --- The queue -------------------------------------------------------------------------------- */

static const struct rate_share *find_share(const GArray *shares, unsigned class)
{
	for (unsigned i = 0; i < shares->len; i++) {
		const struct rate_share *share = &g_array_index(shares, struct rate_share, i);
		if (share->class == class)
			return share;
	}
	return NULL;
}

/* Of the average, what the guests' shares leave. */
static uint64_t rest_of(const struct limits *limits)
{
	uint64_t taken = 0, average = limits->bandwidth.inbound.average;
	for (unsigned i = 0; i < limits->shares->len; i++)
		taken += g_array_index(limits->shares, struct rate_share, i).floor;
	return average > taken ? average - taken : 1;
}

static bool put_shares(const char *device, const struct limits *limits, const GArray *old, GError **error)
{
	const struct conf_rate *limit = &limits->bandwidth.inbound;
	for (unsigned i = 0; old && i < old->len; i++) {
		unsigned class = g_array_index(old, struct rate_share, i).class;
		if (!find_share(limits->shares, class))
			htb_remove_share(device, class);
	}
	for (unsigned i = 0; i < limits->shares->len; i++) {
		const struct rate_share *share = &g_array_index(limits->shares, struct rate_share, i);
		if (!htb_add_share(device, share->class, share->floor, limit, error))
			return false;
	}
	return true;
}

static bool queue(const char *device, const struct limits *limits, const struct limits *old, GError **error)
{
	const struct conf_rate *limit = &limits->bandwidth.inbound;
	if (!limit->average) {
		if (old && old->bandwidth.inbound.average)
			htb_remove(device);
		return true;
	}
	if (!limits->shares)
		return htb_limit(device, limit, error);
	/* Classes of a former daemon are not known. */
	if (!old)
		htb_remove(device);
	return htb_share(device, limit, rest_of(limits), error) &&
	       put_shares(device, limits, old ? old->shares : NULL, error);
}

/* --- Devices ---------------------------------------------------------------------------------- */

struct rates *rates_new(struct daemon *daemon)
{
	struct rates *rates = g_new0(struct rates, 1);
	rates->daemon = daemon;
	rates->by_device = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, limits_free);
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

static bool apply(struct rates *rates, const char *device, const struct limits *limits, GError **error)
{
	const struct limits *old = g_hash_table_lookup(rates->by_device, device);
	if (!if_nametoindex(device))
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no interface '%s' to limit", device);
	if (!queue(device, limits, old, error))
		return false;
	if (has_table(limits))
		return begin_to_watch(rates, error) && load_table(device, limits, error);
	return !old || !has_table(old) || load_table(device, limits, error);
}

/* `shares` is taken. */
static bool set(struct rates *rates, const char *device, const struct conf_bandwidth *bandwidth,
		GArray *shares, GError **error)
{
	struct limits *limits = g_new(struct limits, 1);
	*limits = (struct limits){*bandwidth, shares};
	bool good = apply(rates, device, limits, error);
	if (good && (bandwidth->inbound.average || bandwidth->outbound.average)) {
		g_hash_table_replace(rates->by_device, g_strdup(device), limits);
		return true;
	}
	if (good)
		g_hash_table_remove(rates->by_device, device);
	limits_free(limits);
	return good;
}

bool rates_set(struct daemon *daemon, const char *device, const struct conf_bandwidth *bandwidth,
	       GError **error)
{
	return set(daemon->rates, device, bandwidth, NULL, error);
}

bool rates_set_bridge(struct daemon *daemon, const char *bridge, const struct conf_bandwidth *bandwidth,
		      const GArray *shares, GError **error)
{
	GArray *copy = g_array_new(FALSE, FALSE, sizeof(struct rate_share));
	if (shares)
		g_array_append_vals(copy, shares->data, shares->len);
	return set(daemon->rates, bridge, bandwidth, copy, error);
}

bool rates_begin_bridge(const char *bridge, const struct conf_bandwidth *bandwidth, GError **error)
{
	g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(struct rate_share));
	const struct limits limits = {*bandwidth, none};
	return queue(bridge, &limits, NULL, error) &&
	       (!has_table(&limits) || load_table(bridge, &limits, error));
}

void rates_end_bridge(const char *bridge, const struct conf_bandwidth *bandwidth)
{
	static const struct limits none;
	g_autoptr(GError) error = NULL;
	if (bandwidth->outbound.average && !load_table(bridge, &none, &error))
		log_warning("%s", error->message);
}

void rates_sweep(struct daemon *daemon)
{
	static const struct limits none;
	GHashTableIter iter;
	void *device, *value;
	g_hash_table_iter_init(&iter, daemon->rates->by_device);
	while (g_hash_table_iter_next(&iter, &device, &value)) {
		g_autoptr(GError) error = NULL;
		if (if_nametoindex(device))
			continue;
		if (has_table(value) && !load_table(device, &none, &error))
			log_warning("%s", error->message);
		g_hash_table_iter_remove(&iter);
	}
}
