/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dnsmasq's file of leases: a line "EXPIRY MAC IP NAME CLIENT-ID" for each of IPv4, then "duid ..." and
 * lines "EXPIRY IAID IP NAME DUID" of IPv6; "*" stands for nothing. Names come from guests.
 */
#include "daemon/network/dnsmasq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_LEASES = 65536 };

static void lease_free(void *opaque)
{
	struct dnsmasq_lease *lease = opaque;
	g_free(lease->mac);
	g_free(lease->iaid);
	g_free(lease->hostname);
	g_free(lease->client_id);
	g_free(lease);
}

static char *or_null(const char *word)
{
	return strcmp(word, "*") == 0 ? NULL : g_utf8_make_valid(word, -1);
}

/* Of a DUID that is made of one (RFC 8415, 11.2 and 11.4: types 1 and 3, hardware type 1). */
static char *mac_of_duid(const char *duid)
{
	static const char with_time[] = "00:01:00:01:", without[] = "00:03:00:01:";
	const char *mac = g_str_has_prefix(duid, with_time) && strlen(duid) > 24 ? duid + 24
			  : g_str_has_prefix(duid, without)		     ? duid + 12 : "";
	uint8_t bytes[6];
	return mac_parse(mac, bytes) ? g_strdup(mac) : NULL;
}

static struct dnsmasq_lease *parse_line(char **words)
{
	struct ip_address ip;
	char *end;
	int64_t expiry = g_ascii_strtoll(words[0], &end, 10);
	if (*end || end == words[0] || expiry < 0 || !ip_parse(words[2], &ip))
		return NULL;
	struct dnsmasq_lease *lease = g_new0(struct dnsmasq_lease, 1);
	bool v6 = ip.family == AF_INET6;
	lease->expiry = expiry;
	lease->ip = ip;
	lease->hostname = or_null(words[3]);
	lease->client_id = or_null(words[4]);
	lease->iaid = v6 ? or_null(words[1]) : NULL;
	lease->mac = v6 ? mac_of_duid(words[4]) : or_null(words[1]);
	return lease;
}

GPtrArray *dnsmasq_parse_leases(const char *text)
{
	GPtrArray *leases = g_ptr_array_new_with_free_func(lease_free);
	g_auto(GStrv) lines = g_strsplit(text, "\n", MAX_LEASES);
	for (char **line = lines; *line; line++) {
		g_auto(GStrv) words = g_strsplit(*line, " ", 6);
		struct dnsmasq_lease *lease = g_strv_length(words) == 5 ? parse_line(words) : NULL;
		if (lease)
			g_ptr_array_add(leases, lease);
	}
	return leases;
}

GPtrArray *dnsmasq_leases(const struct conf_network *conf, const char *folder)
{
	g_autofree char *path = g_strdup_printf("%s/%s.leases", folder, conf->bridge), *text = NULL;
	g_file_get_contents(path, &text, NULL, NULL);
	return dnsmasq_parse_leases(text ? text : "");
}
