/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -netdev user: addresses, DHCP, DNS, TFTP and port forwards, in QEMU's spelling. */
#include "base/error.h"
#include "base/units.h"
#include "net/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

const char *const user_option_names[] = {
	"hostname",  "restrict",    "ipv4", "ipv6",     "net",         "host",     "dhcpstart",
	"dns",       "domainname",  "tftp", "bootfile", "dnssearch",   "hostfwd",  "guestfwd",
	"ipv6-prefix", "ipv6-prefixlen", "ipv6-host", "ipv6-dns", "tftp-server-name", NULL,
};

static bool parse_ipv4(const struct args *args, const char *key, struct in_addr *address,
		       GError **error)
{
	const char *text = args_string(args, key);
	if (!text || inet_pton(AF_INET, text, address) == 1)
		return true;
	return error_set(error, BERTH_ERR_INVALID, "%s, %s=%s: not an IPv4 address", args->what, key,
			 text);
}

static bool parse_ipv6(const struct args *args, const char *key, struct in6_addr *address,
		       GError **error)
{
	const char *text = args_string(args, key);
	if (!text || inet_pton(AF_INET6, text, address) == 1)
		return true;
	return error_set(error, BERTH_ERR_INVALID, "%s, %s=%s: not an IPv6 address", args->what, key,
			 text);
}

/* net=10.0.2.0/24 or net=10.0.2.0/255.255.255.0 */
static bool parse_network(const struct args *args, struct in_addr *network, struct in_addr *mask,
			  GError **error)
{
	inet_pton(AF_INET, "10.0.2.0", network);
	mask->s_addr = htonl(0xffffff00);
	const char *text = args_string(args, "net");
	if (!text)
		return true;
	g_auto(GStrv) parts = g_strsplit(text, "/", 2);
	bool ok = inet_pton(AF_INET, parts[0], network) == 1;
	uint64_t bits;
	if (ok && parts[1] && units_parse_number(parts[1], 1, 30, &bits, NULL))
		mask->s_addr = htonl(~(uint32_t)((UINT64_C(1) << (32 - bits)) - 1));
	else if (ok && parts[1])
		ok = inet_pton(AF_INET, parts[1], mask) == 1;
	if (!ok)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s, net=%s: write an address and a prefix length, as in 10.0.2.0/24",
				 args->what, text);
	network->s_addr &= mask->s_addr;
	return true;
}

/* The network's n-th address. */
static struct in_addr address_of(const SlirpConfig *config, uint32_t n)
{
	return (struct in_addr){config->vnetwork.s_addr | (htonl(n) & ~config->vnetmask.s_addr)};
}

static bool check_in_network(const SlirpConfig *config, struct in_addr address, const char *key,
			     GError **error)
{
	if ((address.s_addr & config->vnetmask.s_addr) == config->vnetwork.s_addr)
		return true;
	return error_set(error, BERTH_ERR_INVALID,
			 "-netdev user, %s=: the address is outside net=: choose one inside", key);
}

static bool parse_v4_side(SlirpConfig *config, const struct args *args, GError **error)
{
	if (!parse_network(args, &config->vnetwork, &config->vnetmask, error))
		return false;
	config->vhost = address_of(config, 2);
	config->vnameserver = address_of(config, 3);
	config->vdhcp_start = address_of(config, 15);
	return parse_ipv4(args, "host", &config->vhost, error) &&
	       parse_ipv4(args, "dns", &config->vnameserver, error) &&
	       parse_ipv4(args, "dhcpstart", &config->vdhcp_start, error) &&
	       check_in_network(config, config->vhost, "host", error) &&
	       check_in_network(config, config->vnameserver, "dns", error) &&
	       check_in_network(config, config->vdhcp_start, "dhcpstart", error);
}

static bool parse_v6_side(SlirpConfig *config, const struct args *args, GError **error)
{
	uint64_t length = 64;
	inet_pton(AF_INET6, "fec0::", &config->vprefix_addr6);
	if (!parse_ipv6(args, "ipv6-prefix", &config->vprefix_addr6, error) ||
	    !args_number(args, "ipv6-prefixlen", 1, 126, &length, error))
		return false;
	config->vprefix_len = length;
	config->vhost6 = config->vprefix_addr6;
	config->vhost6.s6_addr[15] = 2;
	config->vnameserver6 = config->vprefix_addr6;
	config->vnameserver6.s6_addr[15] = 3;
	return parse_ipv6(args, "ipv6-host", &config->vhost6, error) &&
	       parse_ipv6(args, "ipv6-dns", &config->vnameserver6, error);
}

static char **collect(const struct args *args, const char *key)
{
	GPtrArray *list = g_ptr_array_new();
	for (unsigned i = 0; args->keys && args->keys[i]; i++) {
		if (g_str_equal(args->keys[i], key))
			g_ptr_array_add(list, g_strdup(args->values[i]));
	}
	g_ptr_array_add(list, NULL);
	return (char **)g_ptr_array_free(list, FALSE);
}

bool user_options_parse(struct user_options *options, const struct args *args, GError **error)
{
	memset(options, 0, sizeof(*options));
	SlirpConfig *config = &options->config;
	bool v4 = true, v6 = true, restricted = false;

	config->version = 4;
	if (!args_bool(args, "ipv4", &v4, error) || !args_bool(args, "ipv6", &v6, error) ||
	    !args_bool(args, "restrict", &restricted, error) || !parse_v4_side(config, args, error) ||
	    !parse_v6_side(config, args, error))
		return false;
	config->in_enabled = v4;
	config->in6_enabled = v6;
	config->restricted = restricted;
	config->vhostname = args_string(args, "hostname");
	config->vdomainname = args_string(args, "domainname");
	config->tftp_path = args_string(args, "tftp");
	config->tftp_server_name = args_string(args, "tftp-server-name");
	config->bootfile = args_string(args, "bootfile");
	options->dns_search = collect(args, "dnssearch");
	if (options->dns_search[0])
		config->vdnssearch = (const char **)options->dns_search;
	return true;
}

/* "HOST:PORT" or ":PORT" or "PORT"; the address stays as it is if none is given. */
static bool parse_endpoint(const char *text, struct in_addr *address, uint64_t *port, GError **error)
{
	const char *colon = strrchr(text, ':');
	g_autofree char *host = colon ? g_strndup(text, colon - text) : g_strdup("");
	if (*host && inet_pton(AF_INET, host, address) != 1)
		return error_set(error, BERTH_ERR_INVALID, "'%s' is not an IPv4 address", host);
	return units_parse_number(colon ? colon + 1 : text, 0, 65535, port, error);
}

/* hostfwd=tcp:[ADDRESS]:PORT-[GUEST]:PORT */
static bool add_host_forward(Slirp *slirp, const SlirpConfig *config, const char *text,
			     GError **error)
{
	bool udp = g_str_has_prefix(text, "udp:");
	const char *rest = udp || g_str_has_prefix(text, "tcp:") ? text + 4
			 : *text == ':'                          ? text
								 : NULL;
	const char *dash = rest ? strchr(rest, '-') : NULL;
	if (!dash)
		return error_set(error, BERTH_ERR_INVALID,
				 "hostfwd=%s: write tcp:[ADDRESS]:PORT-[GUEST]:PORT, as in tcp::2222-:22",
				 text);
	g_autofree char *outer = g_strndup(rest, dash - rest);
	struct in_addr host = {htonl(INADDR_ANY)}, guest = config->vdhcp_start;
	uint64_t host_port, guest_port;
	if (!parse_endpoint(outer, &host, &host_port, error) ||
	    !parse_endpoint(dash + 1, &guest, &guest_port, error)) {
		g_prefix_error(error, "hostfwd=%s: ", text);
		return false;
	}
	errno = 0;
	if (slirp_add_hostfwd(slirp, udp, host, host_port, guest, guest_port) < 0) {
		int why = errno ? errno : EADDRINUSE;
		return error_set_errno(error, why,
				       "hostfwd=%s: cannot listen on the host's %s port %u%s", text,
				       udp ? "UDP" : "TCP", (unsigned)host_port,
				       why == EADDRINUSE ? " (choose another port; ss -ltnp shows who "
							   "has it)" : "");
	}
	return true;
}

/* guestfwd=tcp:SERVER:PORT-unix:PATH or -cmd:COMMAND */
static bool add_guest_forward(Slirp *slirp, const char *text, GError **error)
{
	const char *rest = g_str_has_prefix(text, "tcp:") ? text + 4 : text;
	const char *dash = strchr(rest, '-');
	g_autofree char *outer = dash ? g_strndup(rest, dash - rest) : NULL;
	struct in_addr server = {0};
	uint64_t port;
	if (!dash || !parse_endpoint(outer, &server, &port, error)) {
		g_clear_error(error);
		return error_set(error, BERTH_ERR_INVALID,
				 "guestfwd=%s: write tcp:SERVER:PORT-cmd:COMMAND or -unix:PATH", text);
	}
	int rc = -1;
	if (g_str_has_prefix(dash + 1, "cmd:"))
		rc = slirp_add_exec(slirp, dash + 5, &server, port);
	else if (g_str_has_prefix(dash + 1, "unix:"))
		rc = slirp_add_unix(slirp, dash + 6, &server, port);
	else
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "guestfwd=%s: only cmd: and unix: targets are supported", text);
	if (rc < 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "guestfwd=%s: the address is not one of the network's servers, or is "
				 "in use", text);
	return true;
}

bool user_add_forwards(Slirp *slirp, const SlirpConfig *config, const struct args *args,
		       GError **error)
{
	for (unsigned i = 0; args->keys && args->keys[i]; i++) {
		const char *value = args->values[i];
		if (g_str_equal(args->keys[i], "hostfwd") &&
		    !add_host_forward(slirp, config, value, error))
			return false;
		if (g_str_equal(args->keys[i], "guestfwd") && !add_guest_forward(slirp, value, error))
			return false;
	}
	return true;
}
