/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XML of networks: what is accepted is written so that it is accepted again, unchanged; what dnsmasq and
 * nftables are told of it has no line or word more than it should. And dnsmasq's file of leases, in which
 * guests choose names.
 */
#include "conf/network.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/network/rules.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Nothing that a name of DNS or a path could have brought: no control characters but line ends. */
static void check_text(const char *text)
{
	for (; text && *text; text++)
		assert(!g_ascii_iscntrl(*text) || *text == '\n');
}

static void try_network(const char *text)
{
	g_autoptr(GError) error = NULL;
	auto_conf_network network = conf_network_parse(text, &error);
	assert(!network == !!error);
	if (!network)
		return;
	g_autofree char *written = conf_network_format(network, 0);
	auto_conf_network again = conf_network_parse(written, NULL);
	assert(again);
	g_autofree char *rewritten = conf_network_format(again, 0);
	assert(strcmp(again->name, network->name) == 0 && strcmp(written, rewritten) == 0);
	if (!again->bridge)
		again->bridge = g_strdup("virbr0");
	if (again->dnsmasq_options->len)
		return;
	g_autofree char *config = dnsmasq_config(again, "/run"), *rules = network_rules_text(again);
	check_text(config);
	check_text(rules);
}

static void try_update(const char *text, uint8_t choice)
{
	static const char base[] =
		"<network><name>n</name><forward mode='nat'/><ip address='10.0.0.1' prefix='24'><dhcp>"
		"<range start='10.0.0.2' end='10.0.0.9'/><host mac='52:54:00:00:00:01' ip='10.0.0.3'/></dhcp></ip>"
		"<dns><txt name='a' value='b'/><host ip='10.0.0.5'><hostname>h</hostname></host></dns></network>";
	auto_conf_network network = conf_network_parse(base, NULL);
	g_autoptr(GError) error = NULL;
	assert(network);
	if (!conf_network_update(network, choice % 5, choice / 5 % 13, -1, text, &error))
		return;
	g_autofree char *written = conf_network_format(network, 0);
	auto_conf_network again = conf_network_parse(written, NULL);
	assert(again);
}

static void try_port(const char *text)
{
	g_autoptr(GError) error = NULL;
	struct conf_network_port *port = conf_network_port_parse(text, &error);
	assert(!port == !!error);
	assert(!port || (port->owner_name && !(port->mac[0] & 1)));
	conf_network_port_free(port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
	if (*data == 0xff) {
		g_autoptr(GPtrArray) leases = dnsmasq_parse_leases(text);
		for (unsigned i = 0; i < leases->len; i++) {
			const struct dnsmasq_lease *lease = leases->pdata[i];
			assert(ip_is_set(&lease->ip) && (!lease->hostname || g_utf8_validate(lease->hostname, -1, NULL)));
		}
	} else if (*data & 0x80) {
		try_update(text, *data & 0x7f);
	} else {
		try_network(text);
		try_port(text);
	}
	return 0;
}
