/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <dns> of a network's XML. */
#include "conf/network.h"

#include "base/error.h"

#include <string.h>
#include <sys/socket.h>

bool conf_is_dns_name(const char *name)
{
	/* RFC 1035, 2.3.4. */
	enum { MAX_NAME = 253 };
	size_t length = strlen(name);
	for (const char *c = name; *c; c++) {
		if (!g_ascii_isalnum(*c) && !strchr("-._", *c))
			return false;
	}
	return length && length <= MAX_NAME && *name != '-' && *name != '.';
}

/* NULL passes if `partial`. */
static bool check_name(const xmlNode *node, const char *what, const char *name, bool partial,
		       GError **error)
{
	if (!name)
		return partial ||
		       conf_element_error(error, BERTH_ERR_INVALID, node, "its %s is missing", what);
	return conf_is_dns_name(name) ||
	       conf_element_error(error, BERTH_ERR_INVALID, node, "%s='%s' is no name for DNS", what, name);
}

/* --- Hosts ------------------------------------------------------------------------------------ */

struct conf_dns_host *conf_dns_host_read(const xmlNode *node, bool partial, GError **error)
{
	struct conf_dns_host *host = g_new0(struct conf_dns_host, 1);
	host->names = g_ptr_array_new_with_free_func(g_free);
	bool good = conf_ip_read(node, "ip", 0, &host->ip, error);
	xml_for_each(child, node, "hostname") {
		if (!good)
			break;
		char *name = xml_text(child);
		g_ptr_array_add(host->names, name);
		good = check_name(child, "hostname", name, false, error);
	}
	if (good && !partial && !(ip_is_set(&host->ip) && host->names->len))
		good = conf_element_error(error, BERTH_ERR_INVALID, node, "it needs an ip and a <hostname>");
	if (good && !ip_is_set(&host->ip) && !host->names->len)
		good = conf_element_error(error, BERTH_ERR_INVALID, node, "nothing says which host");
	if (good)
		return host;
	conf_dns_host_free(host);
	return NULL;
}

void conf_dns_host_free(void *opaque)
{
	struct conf_dns_host *host = opaque;
	g_ptr_array_unref(host->names);
	g_free(host);
}

/* --- Records ---------------------------------------------------------------------------------- */

struct conf_dns_txt *conf_dns_txt_read(const xmlNode *node, bool partial, GError **error)
{
	struct conf_dns_txt *txt = g_new0(struct conf_dns_txt, 1);
	txt->name = xml_attribute(node, "name");
	txt->value = xml_attribute(node, "value");
	bool good = check_name(node, "name", txt->name, false, error);
	if (good && !txt->value && !partial)
		good = conf_element_error(error, BERTH_ERR_INVALID, node, "its value is missing");
	for (const char *c = txt->value; good && c && *c; c++) {
		if (g_ascii_iscntrl(*c) || *c == '"')
			good = conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
						  "quotes and control characters in its value are not "
						  "supported");
	}
	if (good)
		return txt;
	conf_dns_txt_free(txt);
	return NULL;
}

void conf_dns_txt_free(void *opaque)
{
	struct conf_dns_txt *txt = opaque;
	g_free(txt->name);
	g_free(txt->value);
	g_free(txt);
}

static bool read_srv(struct conf_dns_srv *srv, const xmlNode *node, bool partial, GError **error)
{
	uint64_t port = 0, priority = 0, weight = 0;
	srv->service = xml_attribute(node, "service");
	srv->protocol = xml_attribute(node, "protocol");
	srv->domain = xml_attribute(node, "domain");
	srv->target = xml_attribute(node, "target");
	if (!check_name(node, "service", srv->service, false, error) ||
	    !check_name(node, "protocol", srv->protocol, partial, error) ||
	    !check_name(node, "domain", srv->domain, true, error) ||
	    !(g_strcmp0(srv->target, ".") == 0 || check_name(node, "target", srv->target, true, error)))
		return false;
	if (srv->protocol && strcmp(srv->protocol, "tcp") != 0 && strcmp(srv->protocol, "udp") != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "protocol='%s' must be 'tcp' or 'udp'", srv->protocol);
	if (!conf_number(node, "port", 1, 65535, &port, error) ||
	    !conf_number(node, "priority", 0, 65535, &priority, error) ||
	    !conf_number(node, "weight", 0, 65535, &weight, error))
		return false;
	srv->port = port;
	srv->priority = priority;
	srv->weight = weight;
	if (port && !srv->target)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "a port needs a target");
	return true;
}

struct conf_dns_srv *conf_dns_srv_read(const xmlNode *node, bool partial, GError **error)
{
	struct conf_dns_srv *srv = g_new0(struct conf_dns_srv, 1);
	if (read_srv(srv, node, partial, error))
		return srv;
	conf_dns_srv_free(srv);
	return NULL;
}

void conf_dns_srv_free(void *opaque)
{
	struct conf_dns_srv *srv = opaque;
	g_free(srv->service);
	g_free(srv->protocol);
	g_free(srv->domain);
	g_free(srv->target);
	g_free(srv);
}

static bool add_forwarder(struct conf_network *network, const xmlNode *node, GError **error)
{
	struct conf_dns_forwarder *forwarder = g_new0(struct conf_dns_forwarder, 1);
	g_ptr_array_add(network->forwarders, forwarder);
	forwarder->domain = xml_attribute(node, "domain");
	if (!conf_ip_read(node, "addr", 0, &forwarder->address, error) ||
	    !check_name(node, "domain", forwarder->domain, true, error))
		return false;
	return forwarder->domain || ip_is_set(&forwarder->address) ||
	       conf_element_error(error, BERTH_ERR_INVALID, node, "it has neither addr nor domain");
}

void conf_dns_forwarder_free(void *opaque)
{
	struct conf_dns_forwarder *forwarder = opaque;
	g_free(forwarder->domain);
	g_free(forwarder);
}

/* --- <dns> ------------------------------------------------------------------------------------ */

/* A child of <dns> goes to its list; NULL: it failed. */
static bool read_child(struct conf_network *network, const xmlNode *node, GError **error)
{
	GPtrArray *list = NULL;
	void *item = NULL;
	if (xml_is(node, "forwarder"))
		return add_forwarder(network, node, error);
	if (xml_is(node, "txt")) {
		list = network->txts;
		item = conf_dns_txt_read(node, false, error);
	} else if (xml_is(node, "srv")) {
		list = network->srvs;
		item = conf_dns_srv_read(node, false, error);
	} else {
		list = network->dns_hosts;
		item = conf_dns_host_read(node, false, error);
	}
	if (item)
		g_ptr_array_add(list, item);
	return item != NULL;
}

bool conf_network_dns_read(struct conf_network *network, const xmlNode *root, GError **error)
{
	const xmlNode *dns = xml_child(root, "dns");
	bool enable = true, plain = true;
	if (!dns)
		return true;
	network->says_dns = xmlHasProp(dns, (const xmlChar *)"enable") != NULL;
	network->says_dns_plain = xmlHasProp(dns, (const xmlChar *)"forwardPlainNames") != NULL;
	if (!conf_yes_no(dns, "enable", &enable, error) ||
	    !conf_yes_no(dns, "forwardPlainNames", &plain, error))
		return false;
	network->dns_off = !enable;
	network->dns_no_plain = !plain;
	xml_for_each(node, dns, NULL) {
		if (!read_child(network, node, error))
			return false;
	}
	if (network->dns_off && (network->forwarders->len || network->txts->len || network->srvs->len ||
				 network->dns_hosts->len))
		return conf_element_error(error, BERTH_ERR_INVALID, dns,
					  "what is in it is of no use without DNS: leave out enable='no'");
	return true;
}

static void write_srv(struct xml_writer *w, const struct conf_dns_srv *srv)
{
	const unsigned numbers[] = {srv->port, srv->priority, srv->weight};
	char text[G_N_ELEMENTS(numbers)][12];
	for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++)
		g_snprintf(text[i], sizeof(text[i]), "%u", numbers[i]);
	xml_empty(w, "srv", "service", srv->service, "protocol", srv->protocol, "domain", srv->domain,
		  "target", srv->target, "port", numbers[0] ? text[0] : NULL, "priority",
		  numbers[1] ? text[1] : NULL, "weight", numbers[2] ? text[2] : NULL, NULL);
}

static void write_records(struct xml_writer *w, const struct conf_network *network)
{
	char ip[IP_TEXT_SIZE];
	for (unsigned i = 0; i < network->forwarders->len; i++) {
		const struct conf_dns_forwarder *one = network->forwarders->pdata[i];
		ip_format(&one->address, ip);
		xml_empty(w, "forwarder", "domain", one->domain, "addr", *ip ? ip : NULL, NULL);
	}
	for (unsigned i = 0; i < network->txts->len; i++) {
		const struct conf_dns_txt *txt = network->txts->pdata[i];
		xml_empty(w, "txt", "name", txt->name, "value", txt->value, NULL);
	}
	for (unsigned i = 0; i < network->srvs->len; i++)
		write_srv(w, network->srvs->pdata[i]);
	for (unsigned i = 0; i < network->dns_hosts->len; i++) {
		const struct conf_dns_host *host = network->dns_hosts->pdata[i];
		xml_open(w, "host", "ip", ip_format(&host->ip, ip), NULL);
		for (unsigned n = 0; n < host->names->len; n++)
			xml_leaf(w, "hostname", host->names->pdata[n], NULL);
		xml_close(w, "host");
	}
}

void conf_network_dns_write(struct xml_writer *w, const struct conf_network *network)
{
	const char *enable = conf_said_yes_no(network->says_dns, !network->dns_off);
	const char *plain = conf_said_yes_no(network->says_dns_plain, !network->dns_no_plain);
	bool records = network->forwarders->len || network->txts->len || network->srvs->len ||
		       network->dns_hosts->len;
	if (!enable && !plain && !records)
		return;
	if (!records) {
		xml_empty(w, "dns", "enable", enable, "forwardPlainNames", plain, NULL);
		return;
	}
	xml_open(w, "dns", "enable", enable, "forwardPlainNames", plain, NULL);
	write_records(w, network);
	xml_close(w, "dns");
}
