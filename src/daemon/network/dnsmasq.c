/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What dnsmasq is told, and the life of its process. Option names: dnsmasq(8). */
#include "daemon/network/dnsmasq.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STOP_MS = 2000 };

static char *file(const struct conf_network *conf, const char *folder, const char *suffix)
{
	return g_strdup_printf("%s/%s%s", folder, conf->bridge, suffix);
}

/* --- Configuration: DNS ----------------------------------------------------------------------- */

static void add_zone(GString *text, const struct conf_network_ip *ip)
{
	char address[IP_TEXT_SIZE];
	const struct ip_address first = ip_first(&ip->address, ip->prefix);
	if (ip->local_ptr)
		g_string_append_printf(text, "rev-server=%s/%u\n", ip_format(&first, address), ip->prefix);
}

static void add_forwarders(GString *text, const struct conf_network *conf)
{
	char address[IP_TEXT_SIZE];
	bool plain = false;
	for (unsigned i = 0; i < conf->forwarders->len; i++) {
		const struct conf_dns_forwarder *one = conf->forwarders->pdata[i];
		ip_format(&one->address, address);
		/* "#": as the host does; without an address. */
		if (one->domain)
			g_string_append_printf(text, "server=/%s/%s\n", one->domain, *address ? address : "#");
		else
			g_string_append_printf(text, "server=%s\n", address);
		plain |= !one->domain;
	}
	if (plain)
		g_string_append(text, "no-resolv\n");
}

/* A plain name is known by its whole name, too, as those of DHCP are. */
static void add_name(GString *text, const struct conf_network *conf, const char *name)
{
	if (conf->domain && !strchr(name, '.'))
		g_string_append_printf(text, "%s.%s,", name, conf->domain);
	g_string_append_printf(text, "%s,", name);
}

static void add_records(GString *text, const struct conf_network *conf)
{
	char address[IP_TEXT_SIZE];
	for (unsigned i = 0; i < conf->txts->len; i++) {
		const struct conf_dns_txt *txt = conf->txts->pdata[i];
		/* Inside quotes dnsmasq reads \n and its like as escapes. */
		g_auto(GStrv) parts = g_strsplit(txt->value, "\\", -1);
		g_autofree char *value = g_strjoinv("\\\\", parts);
		g_string_append_printf(text, "txt-record=%s,\"%s\"\n", txt->name, value);
	}
	for (unsigned i = 0; i < conf->srvs->len; i++) {
		const struct conf_dns_srv *srv = conf->srvs->pdata[i];
		g_string_append_printf(text, "srv-host=_%s._%s", srv->service, srv->protocol);
		if (srv->domain)
			g_string_append_printf(text, ".%s", srv->domain);
		if (srv->target && strcmp(srv->target, ".") != 0)
			g_string_append_printf(text, ",%s,%u,%u,%u", srv->target, srv->port ? srv->port : 1,
					       srv->priority, srv->weight);
		g_string_append_c(text, '\n');
	}
	for (unsigned i = 0; i < conf->dns_hosts->len; i++) {
		const struct conf_dns_host *host = conf->dns_hosts->pdata[i];
		g_string_append(text, "host-record=");
		for (unsigned n = 0; n < host->names->len; n++)
			add_name(text, conf, host->names->pdata[n]);
		g_string_append_printf(text, "%s\n", ip_format(&host->ip, address));
	}
}

static void add_dns(GString *text, const struct conf_network *conf)
{
	if (conf->dns_off) {
		g_string_append(text, "port=0\n");
		return;
	}
	g_string_append(text, "strict-order\n");
	if (conf->dns_no_plain)
		g_string_append(text, "domain-needed\nlocal=//\n");
	if (conf->domain) {
		g_string_append_printf(text, "domain=%s\nexpand-hosts\n", conf->domain);
		if (conf->domain_local)
			g_string_append_printf(text, "local=/%s/\n", conf->domain);
	}
	add_forwarders(text, conf);
	add_records(text, conf);
	for (unsigned i = 0; i < conf->ips->len; i++)
		add_zone(text, conf->ips->pdata[i]);
	/* Where nothing goes through, the host must not carry questions out. */
	if (conf->forward == CONF_FORWARD_NONE)
		g_string_append(text, "no-resolv\n");
}

/* --- Configuration: DHCP ---------------------------------------------------------------------- */

static void add_lease_time(GString *text, const struct conf_lease_time *lease)
{
	if (!lease->unit)
		return;
	if (!lease->expiry)
		g_string_append(text, ",infinite");
	else
		g_string_append_printf(text, ",%" G_GUINT64_FORMAT "%c", lease->expiry, *lease->unit);
}

static void add_hosts(GString *text, const struct conf_network_ip *ip)
{
	char address[IP_TEXT_SIZE];
	for (unsigned i = 0; i < ip->hosts->len; i++) {
		const struct conf_dhcp_host *host = ip->hosts->pdata[i];
		bool v6 = host->ip.family == AF_INET6;
		g_autoptr(GString) line = g_string_new(NULL);
		if (host->mac)
			g_string_append_printf(line, ",%s", host->mac);
		if (host->id)
			g_string_append_printf(line, ",id:%s", host->id);
		if (host->name)
			g_string_append_printf(line, ",%s", host->name);
		if (ip_is_set(&host->ip))
			g_string_append_printf(line, ",%s%s%s", v6 ? "[" : "", ip_format(&host->ip, address),
					       v6 ? "]" : "");
		g_string_append_printf(text, "dhcp-host=%s", line->str + 1);
		add_lease_time(text, &host->lease);
		g_string_append_c(text, '\n');
	}
}

/* Returns how many leases there can be. */
static uint64_t add_ranges(GString *text, const struct conf_network_ip *ip)
{
	char start[IP_TEXT_SIZE], end[IP_TEXT_SIZE], mask[IP_TEXT_SIZE];
	uint64_t count = 0;
	bool v6 = ip->address.family == AF_INET6;
	const struct ip_address netmask = ip_mask(v6 ? 0 : ip->prefix);
	g_snprintf(mask, sizeof(mask), "%u", ip->prefix);
	if (!v6)
		ip_format(&netmask, mask);
	for (unsigned i = 0; i < ip->ranges->len; i++) {
		const struct conf_dhcp_range *range = &g_array_index(ip->ranges, struct conf_dhcp_range, i);
		uint64_t size = ip_range_size(&range->start, &range->end);
		g_string_append_printf(text, "dhcp-range=%s,%s,%s", ip_format(&range->start, start),
				       ip_format(&range->end, end), mask);
		add_lease_time(text, &range->lease);
		g_string_append_c(text, '\n');
		count = MIN(count + MIN(size, UINT32_MAX), UINT32_MAX);
	}
	if (ip->hosts->len && !ip->ranges->len) {
		const struct ip_address first = ip_first(&ip->address, ip->prefix);
		g_string_append_printf(text, "dhcp-range=%s,static%s%s\n", ip_format(&first, start),
				       v6 ? "," : "", v6 ? mask : "");
	}
	return MIN(count + ip->hosts->len, UINT32_MAX);
}

/* Without a router there is none to be told of, or guests would send everything to the host. */
static void add_isolation(GString *text, const struct conf_network *conf)
{
	if (conf->forward == CONF_FORWARD_NONE)
		g_string_append(text, "dhcp-option=option:router\n");
	if (conf->mtu)
		g_string_append_printf(text, "dhcp-option=option:mtu,%u\n", conf->mtu);
	if (conf->dns_off)
		g_string_append(text, "dhcp-option=option:dns-server\n");
}

static void add_v4(GString *text, const struct conf_network *conf, const struct conf_network_ip *ip)
{
	uint64_t count = add_ranges(text, ip);
	g_string_append_printf(text, "dhcp-no-override\ndhcp-authoritative\ndhcp-lease-max=%" G_GUINT64_FORMAT "\n",
			       MAX(count, 1));
	add_hosts(text, ip);
	add_isolation(text, conf);
	if (ip->bootp_file && ip->bootp_server)
		g_string_append_printf(text, "dhcp-boot=%s,,%s\n", ip->bootp_file, ip->bootp_server);
	else if (ip->bootp_file)
		g_string_append_printf(text, "dhcp-boot=%s\n", ip->bootp_file);
}

static void add_v6(GString *text, const struct conf_network_ip *ip)
{
	char first_text[IP_TEXT_SIZE];
	const struct ip_address first = ip_first(&ip->address, ip->prefix);
	if (ip->ranges->len || ip->hosts->len) {
		add_ranges(text, ip);
		add_hosts(text, ip);
		return;
	}
	/* SLAAC needs 64 bits for the host (RFC 4862, 5.5.3): others are not told. */
	if (ip->prefix == 64)
		g_string_append_printf(text, "dhcp-range=%s,ra-only\n", ip_format(&first, first_text));
}

static bool has_dhcp(const struct conf_network_ip *ip)
{
	return ip->ranges->len || ip->hosts->len;
}

static void add_addresses(GString *text, const struct conf_network *conf, const char *folder)
{
	bool v6 = false, dhcp = false;
	for (unsigned i = 0; i < conf->ips->len; i++) {
		const struct conf_network_ip *ip = conf->ips->pdata[i];
		dhcp |= has_dhcp(ip);
		if (ip->tftp_root)
			g_string_append_printf(text, "enable-tftp\ntftp-root=%s\n", ip->tftp_root);
		if (ip->address.family == AF_INET6) {
			add_v6(text, ip);
			v6 = true;
		} else if (has_dhcp(ip) || ip->bootp_file) {
			add_v4(text, conf, ip);
		}
	}
	if (v6)
		g_string_append(text, "enable-ra\n");
	/* A router that is none has a lifetime of 0 (RFC 4861, 4.2). */
	if (v6 && conf->forward == CONF_FORWARD_NONE)
		g_string_append(text, "ra-param=*,0,0\n");
	if (dhcp) {
		g_autofree char *leases = file(conf, folder, ".leases");
		g_string_append_printf(text, "dhcp-leasefile=%s\n", leases);
	}
}

char *dnsmasq_config(const struct conf_network *conf, const char *folder)
{
	bool needed = !conf->dns_off;
	for (unsigned i = 0; i < conf->ips->len; i++) {
		const struct conf_network_ip *ip = conf->ips->pdata[i];
		needed |= has_dhcp(ip) || ip->tftp_root || ip->address.family == AF_INET6;
	}
	if (!conf_network_owns_bridge(conf) || !conf->ips->len || !needed)
		return NULL;
	g_autofree char *pid = file(conf, folder, ".pid");
	GString *text = g_string_new("# Written by berthd: changes are lost.\n");
	/* bind-dynamic: only the bridge's addresses, whatever other servers of the host do. */
	g_string_append_printf(text, "pid-file=%s\nexcept-interface=lo\nbind-dynamic\ninterface=%s\n", pid,
			       conf->bridge);
	add_dns(text, conf);
	add_addresses(text, conf, folder);
	for (unsigned i = 0; i < conf->dnsmasq_options->len; i++)
		g_string_append_printf(text, "%s\n", (char *)conf->dnsmasq_options->pdata[i]);
	return g_string_free(text, FALSE);
}

/* --- The process ------------------------------------------------------------------------------ */

pid_t dnsmasq_find(const struct conf_network *conf, const char *folder)
{
	g_autofree char *path = file(conf, folder, ".pid"), *text = NULL;
	g_autofree char *config = file(conf, folder, ".conf");
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	long pid = strtol(text, NULL, 10);
	if (pid <= 1 || pid > INT32_MAX)
		return 0;
	/* Numbers of processes are used again: it is ours if its command line names our file. */
	g_autofree char *line_path = g_strdup_printf("/proc/%ld/cmdline", pid), *line = NULL;
	size_t length;
	if (!g_file_get_contents(line_path, &line, &length, NULL))
		return 0;
	return memmem(line, length, config, strlen(config)) ? pid : 0;
}

/* By a descriptor, and looked at again with it: numbers of processes are used again. */
static void end_process(const struct conf_network *conf, const char *folder)
{
	pid_t pid = dnsmasq_find(conf, folder);
	auto_fd fd = pid ? syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd poller = {fd, POLLIN, 0};
	if (fd < 0 || dnsmasq_find(conf, folder) != pid ||
	    syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0)
		return;
	if (poll(&poller, 1, STOP_MS) == 1)
		return;
	syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	poll(&poller, 1, STOP_MS);
}

bool dnsmasq_is_current(const struct conf_network *conf, const char *folder)
{
	g_autofree char *path = file(conf, folder, ".conf"), *text = NULL;
	g_autofree char *wanted = dnsmasq_config(conf, folder);
	return g_file_get_contents(path, &text, NULL, NULL) && g_strcmp0(text, wanted) == 0;
}

static bool run(const char *config, GError **error)
{
	char *argv[] = {"dnsmasq", NULL, NULL};
	g_autofree char *option = g_strdup_printf("--conf-file=%s", config), *said = NULL;
	int status = 0;
	argv[1] = option;
	/* It goes into the background when it serves, and its first process ends. */
	if (!g_spawn_sync("/", argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
			  &said, &status, error)) {
		g_prefix_error(error, "cannot run dnsmasq (package dnsmasq-base): ");
		return false;
	}
	if (g_spawn_check_wait_status(status, NULL))
		return true;
	g_strstrip(said);
	g_strdelimit(said, "\n", ' ');
	return error_set(error, BERTH_ERR_IO, "dnsmasq did not start: %s", *said ? said : "it said nothing");
}

bool dnsmasq_start(const struct conf_network *conf, const char *folder, pid_t *pid, GError **error)
{
	g_autofree char *text = dnsmasq_config(conf, folder), *config = file(conf, folder, ".conf");
	dnsmasq_stop(conf, folder, false);
	*pid = 0;
	if (!text)
		return true;
	if (!g_file_set_contents(config, text, -1, error) || !run(config, error))
		return false;
	*pid = dnsmasq_find(conf, folder);
	return *pid || error_set(error, BERTH_ERR_IO, "dnsmasq ended at once");
}

void dnsmasq_stop(const struct conf_network *conf, const char *folder, bool forget_leases)
{
	static const char *const suffixes[] = {".conf", ".pid", ".leases"};
	end_process(conf, folder);
	for (unsigned i = 0; i < (forget_leases ? 3 : 2); i++) {
		g_autofree char *path = file(conf, folder, suffixes[i]);
		unlink(path);
	}
}
