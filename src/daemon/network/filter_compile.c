/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A port's table. For what the guest sends ("out") and for what it is sent ("in") there are
 *
 *   out          at the port's hook: jumps to the chains below and rules of chain 'root', by priority
 *   out-arp-mac  one for each other chain of the filters, reached by packets of its protocol
 *   out-ip       rules of <tcp>, <udp>..., which see what the chains before let through
 *
 * as libvirt has ebtables' chains first and iptables' after them: "accept" in the former goes on to
 * the latter, and what no rule speaks of is let through.
 *
 * nftables' connection tracking does not see packets between ports on every kernel, so that a port
 * remembers flows itself: sets of addresses and ports, the guest's first, whose entries time out. A
 * rule that accepts one direction lets the answers through as long as the flow is in the set.
 */
#include "daemon/network/filter_int.h"

#include <netinet/in.h>
#include <string.h>

/* Flows that a port remembers; a guest that makes more gets no answers to those. */
#define FLOWS     "65535"
#define WITH_PORTS "{ tcp, udp, udplite, sctp, dccp }"
#define WITHOUT_FLOWS "{ tcp, udp, udplite, sctp, dccp, icmp, icmpv6 }"

enum side { OUT, IN };
static const char *const side_names[] = {"out", "in"};

struct compiler {
	const GPtrArray *rules; /* sorted */
	bool uses_flows[2];     /* of IPv4, IPv6 */
	bool has_ip[2];         /* a chain out-ip, in-ip */
	GString *chains, *root;
};

/* --- Order ------------------------------------------------------------------------------------ */

static bool is_l3(const struct filter_rule *rule)
{
	return rule->rule->protocol && rule->rule->protocol->layer != CONF_NWFILTER_L2;
}

static bool is_root(const struct filter_rule *rule)
{
	return !strcmp(rule->filter->chain, "root");
}

static int compare(const void *a, const void *b)
{
	const struct filter_rule *one = *(struct filter_rule *const *)a;
	const struct filter_rule *other = *(struct filter_rule *const *)b;
	if (one->rule->priority != other->rule->priority)
		return one->rule->priority < other->rule->priority ? -1 : 1;
	return one->sequence < other->sequence ? -1 : 1;
}

static int compare_chains(const void *a, const void *b)
{
	const struct conf_nwfilter *one = *(struct conf_nwfilter *const *)a;
	const struct conf_nwfilter *other = *(struct conf_nwfilter *const *)b;
	return one->priority != other->priority ? (one->priority < other->priority ? -1 : 1)
						: strcmp(one->chain, other->chain);
}

static bool speaks_of(const struct filter_rule *rule, enum side side)
{
	enum conf_nwfilter_direction direction = rule->rule->direction;
	return direction == CONF_NWFILTER_INOUT ||
	       direction == (side == OUT ? CONF_NWFILTER_OUT : CONF_NWFILTER_IN);
}

/* A rule for both directions is written as the guest is sent packets. */
static bool is_swapped(const struct filter_rule *rule, enum side side)
{
	return rule->rule->direction == CONF_NWFILTER_OUT ? side == IN : side == OUT;
}

/* --- Rules of the link layer ------------------------------------------------------------------ */

static const char *next_stage(const struct compiler *c, enum side side)
{
	return c->has_ip[side] ? side == OUT ? "goto out-ip" : "goto in-ip" : "accept";
}

static void write_l2(const struct compiler *c, GString *out, const struct filter_rule *rule,
		     enum side side)
{
	const char *verdict = NULL;
	switch (rule->rule->action) {
	case CONF_NWFILTER_ACCEPT: verdict = next_stage(c, side); break;
	/* As in libvirt: there is no answer to what is no IP packet. */
	case CONF_NWFILTER_DROP:
	case CONF_NWFILTER_REJECT: verdict = "drop"; break;
	case CONF_NWFILTER_RETURN: verdict = is_root(rule) ? next_stage(c, side) : "return"; break;
	case CONF_NWFILTER_CONTINUE: return;
	}
	gsize before = out->len;
	g_string_append(out, "  ");
	if (filter_match(out, rule, is_swapped(rule, side)))
		g_string_append_printf(out, "counter %s\n", verdict);
	else
		g_string_truncate(out, before);
}

/* --- Rules of IP ------------------------------------------------------------------------------ */

struct flow_key {
	const char *set, *text;
};

/* The guest's address and port come first, so that both directions have the same key. */
static struct flow_key flow_key(bool is_ipv6, bool has_ports, enum side side)
{
	static const struct flow_key keys[2][2][2] = {
		{{{"flows4", "ip saddr . ip daddr . meta l4proto"},
		  {"flows4", "ip daddr . ip saddr . meta l4proto"}},
		 {{"ports4", "ip saddr . ip daddr . meta l4proto . th sport . th dport"},
		  {"ports4", "ip daddr . ip saddr . meta l4proto . th dport . th sport"}}},
		{{{"flows6", "ip6 saddr . ip6 daddr . meta l4proto"},
		  {"flows6", "ip6 daddr . ip6 saddr . meta l4proto"}},
		 {{"ports6", "ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport"},
		  {"ports6", "ip6 daddr . ip6 saddr . meta l4proto . th dport . th sport"}}},
	};
	return keys[is_ipv6][has_ports][side];
}

enum flow_use {
	FLOW_ANY,         /* whatever flow it is of */
	FLOW_ADD,         /* and remember it */
	FLOW_KNOWN,       /* only of a flow that is remembered */
	FLOW_NEW,         /* only of another */
};

static void write_flow(struct compiler *c, GString *out, const struct filter_rule *rule,
		       const char *match, const char *verdict, enum side side, enum flow_use use,
		       bool has_ports)
{
	bool is_ipv6 = rule->rule->protocol->layer == CONF_NWFILTER_L3_IPV6;
	struct flow_key key = flow_key(is_ipv6, has_ports, side);
	bool accepts = !strcmp(verdict, "accept");
	c->uses_flows[is_ipv6] = true;
	g_string_append_printf(out, "  %s", match);
	if (use == FLOW_KNOWN || use == FLOW_NEW)
		g_string_append_printf(out, "%s %s @%s ", key.text, use == FLOW_NEW ? "!=" : "==",
				       key.set);
	if (use == FLOW_ADD || accepts)
		g_string_append_printf(out, "update @%s { %s } ", key.set, key.text);
	g_string_append_printf(out, "counter %s\n", verdict);
}

/* A question is no answer: of ICMP's messages those that ask begin a flow of their own. */
static const char *without_questions(bool is_ipv6, enum flow_use use)
{
	if (use != FLOW_KNOWN)
		return "";
	return is_ipv6 ? "icmpv6 type != { 128, 130, 133, 135, 139 } "
		       : "icmp type != { 8, 13, 15, 17 } ";
}

/*
 * A rule for packets of any protocol needs a line for those with ports, one for ICMP, one for the
 * others, and one for IPv4 fragments behind the first, whose ports are not known.
 */
static void write_flows(struct compiler *c, GString *out, const struct filter_rule *rule,
			const char *match, const char *verdict, enum side side, enum flow_use use)
{
	const struct conf_nwfilter_protocol *protocol = rule->rule->protocol;
	bool is_ipv6 = protocol->layer == CONF_NWFILTER_L3_IPV6;
	const struct {
		const char *match, *more;
		bool has_ports, ipv4_only;
	} lines[] = {
		{"meta l4proto " WITH_PORTS " ", "", true, false},
		{is_ipv6 ? "meta l4proto icmpv6 " : "meta l4proto icmp ",
		 without_questions(is_ipv6, use), false, false},
		{"meta l4proto != " WITHOUT_FLOWS " ", "", false, false},
		{"ip frag-off & 0x1fff != 0 ", "", false, true},
	};
	if (use == FLOW_ANY) {
		g_string_append_printf(out, "  %scounter %s\n", match, verdict);
		return;
	}
	if (protocol->ip_protocol >= 0) {
		bool is_icmp = protocol->ip_protocol == (is_ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
		g_autofree char *whole = g_strconcat(
			match, is_icmp ? without_questions(is_ipv6, use) : "", NULL);
		write_flow(c, out, rule, whole, verdict, side, use, protocol->has_ports);
		return;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_autofree char *whole = g_strconcat(match, lines[i].match, lines[i].more, NULL);
		if (!is_ipv6 || !lines[i].ipv4_only)
			write_flow(c, out, rule, whole, verdict, side, use, lines[i].has_ports);
	}
}

/* What the attribute `state` asks for, or what a rule without it means. */
static enum flow_use flow_use(const struct filter_rule *rule)
{
	const char *state = filter_text_of(rule, CONF_NWFILTER_FLOW_STATE, CONF_NWFILTER_WHOLE);
	bool accepts = rule->rule->action == CONF_NWFILTER_ACCEPT;
	if (!state)
		return accepts && !rule->rule->stateless &&
			       rule->rule->direction != CONF_NWFILTER_INOUT ? FLOW_ADD : FLOW_ANY;
	bool is_new = strstr(state, "NEW") != NULL, is_known = strstr(state, "ESTABLISHED") != NULL;
	if (is_new && is_known)
		return accepts ? FLOW_ADD : FLOW_ANY;
	return is_new ? FLOW_NEW : is_known ? FLOW_KNOWN : FLOW_ANY;
}

/*
 * As in libvirt, a rule of one direction is for the packets of both directions of its flows, with
 * sources and destinations exchanged; but not if it has a state or an ICMP type, which say for
 * themselves which packets are meant.
 */
static void write_l3(struct compiler *c, GString *out, const struct filter_rule *rule, enum side side)
{
	bool forward = speaks_of(rule, side);
	bool one_way = filter_text_of(rule, CONF_NWFILTER_FLOW_STATE, CONF_NWFILTER_WHOLE) ||
		       filter_text_of(rule, CONF_NWFILTER_ICMP_TYPE, CONF_NWFILTER_WHOLE);
	enum conf_nwfilter_action action = rule->rule->action;
	if (action == CONF_NWFILTER_CONTINUE || (!forward && one_way))
		return;
	const char *verdict = action == CONF_NWFILTER_DROP ? "drop" : "accept";
	/* The kernel can answer only where packets come in. */
	if (action == CONF_NWFILTER_REJECT)
		verdict = side == IN ? "drop"
			  : rule->rule->protocol->layer == CONF_NWFILTER_L3_IPV6
				? "reject with icmpv6 type port-unreachable"
				: "reject with icmp type port-unreachable";
	enum flow_use use = flow_use(rule);
	if (!forward && use == FLOW_ADD)
		use = FLOW_KNOWN;
	g_autoptr(GString) match = g_string_new(NULL);
	if (filter_match(match, rule, is_swapped(rule, side)))
		write_flows(c, out, rule, match->str, verdict, side, use);
}

/* --- Chains ----------------------------------------------------------------------------------- */

static void write_l3_chain(struct compiler *c, enum side side)
{
	if (!c->has_ip[side])
		return;
	g_string_append_printf(c->chains, " chain %s-ip {\n", side_names[side]);
	for (unsigned i = 0; i < c->rules->len; i++) {
		if (is_l3(c->rules->pdata[i]))
			write_l3(c, c->chains, c->rules->pdata[i], side);
	}
	g_string_append(c->chains, "  accept\n }\n");
}

/*
 * One filter of each chain but root that has rules for this side, by priority. Of filters that do not
 * agree on a chain's priority the first in order counts.
 */
static GPtrArray *chains_of(const struct compiler *c, enum side side)
{
	GPtrArray *chains = g_ptr_array_new();
	for (unsigned i = 0; i < c->rules->len; i++) {
		const struct filter_rule *rule = c->rules->pdata[i];
		bool known = is_root(rule) || is_l3(rule) || !speaks_of(rule, side);
		for (unsigned k = 0; !known && k < chains->len; k++) {
			const struct conf_nwfilter *other = chains->pdata[k];
			known = !strcmp(other->chain, rule->filter->chain);
			if (known && rule->filter->priority < other->priority)
				chains->pdata[k] = (void *)rule->filter;
		}
		if (!known)
			g_ptr_array_add(chains, (void *)rule->filter);
	}
	g_ptr_array_sort(chains, compare_chains);
	return chains;
}

/* A name that nft takes: ':' is none of its letters. */
static char *chain_name(const char *chain, enum side side)
{
	char *name = g_strconcat(side_names[side], "-", chain, NULL);
	return g_strdelimit(name, ":", '/');
}

static void write_chain(struct compiler *c, const struct conf_nwfilter *filter, enum side side)
{
	const struct conf_nwfilter_chain *kind = conf_nwfilter_chain_find(filter->chain);
	g_autofree char *name = chain_name(filter->chain, side);
	g_string_append_printf(c->chains, " chain %s {\n", name);
	for (unsigned i = 0; i < c->rules->len; i++) {
		const struct filter_rule *rule = c->rules->pdata[i];
		if (!is_l3(rule) && speaks_of(rule, side) && !strcmp(rule->filter->chain, filter->chain))
			write_l2(c, c->chains, rule, side);
	}
	g_string_append(c->chains, " }\n");
	g_string_append(c->root, "  ");
	if (kind->ethertype)
		g_string_append_printf(c->root, "@ll,96,16 == 0x%04x ", kind->ethertype);
	else if (kind->group)
		g_string_append(c->root, "@ll,0,48 == 0x0180c2000000 ");
	g_string_append_printf(c->root, "jump %s\n", name);
}

/* Chains come before rules of the same priority. */
static void write_side(struct compiler *c, enum side side)
{
	g_autoptr(GPtrArray) chains = chains_of(c, side);
	unsigned next = 0;
	g_string_truncate(c->root, 0);
	write_l3_chain(c, side);
	for (unsigned i = 0; i < c->rules->len; i++) {
		const struct filter_rule *rule = c->rules->pdata[i];
		if (!is_root(rule) || is_l3(rule) || !speaks_of(rule, side))
			continue;
		for (; next < chains->len; next++) {
			const struct conf_nwfilter *filter = chains->pdata[next];
			if (filter->priority > rule->rule->priority)
				break;
			write_chain(c, filter, side);
		}
		write_l2(c, c->root, rule, side);
	}
	for (; next < chains->len; next++)
		write_chain(c, chains->pdata[next], side);
	g_string_append_printf(c->root, "  %s\n", next_stage(c, side));
}

/* --- The table -------------------------------------------------------------------------------- */

static void begin_table(GString *text, const char *port)
{
	g_string_append_printf(text,
			       "add table netdev " FILTER_TABLE_PREFIX "%s\n"
			       "delete table netdev " FILTER_TABLE_PREFIX "%s\n"
			       "table netdev " FILTER_TABLE_PREFIX "%s {\n", port, port, port);
}

static void append_hook(GString *text, const char *port, enum side side, const char *rules)
{
	g_string_append_printf(text,
			       " chain %s {\n  type filter hook %s device \"%s\" priority 0; policy accept;\n"
			       "%s }\n", side_names[side], side == OUT ? "ingress" : "egress", port, rules);
}

static void append_sets(GString *text, const struct compiler *c)
{
	static const char *const address[] = {"ipv4_addr", "ipv6_addr"};
	for (unsigned is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
		const char *type = address[is_ipv6];
		unsigned version = is_ipv6 ? 6 : 4;
		if (!c->uses_flows[is_ipv6])
			continue;
		g_string_append_printf(text,
				       " set ports%u {\n  type %s . %s . inet_proto . inet_service . "
				       "inet_service\n  size " FLOWS "\n  flags dynamic,timeout\n  timeout 1h\n"
				       " }\n set flows%u {\n  type %s . %s . inet_proto\n  size " FLOWS "\n"
				       "  flags dynamic,timeout\n  timeout 10m\n }\n", version, type, type,
				       version, type, type);
	}
}

char *filter_compile(const char *port, GPtrArray *rules)
{
	struct compiler c = {.rules = rules};
	g_autoptr(GString) chains = c.chains = g_string_new(NULL);
	g_autoptr(GString) root = c.root = g_string_new(NULL);
	GString *text = g_string_new(NULL);
	g_ptr_array_sort(rules, compare);
	for (unsigned i = 0; i < rules->len; i++)
		c.has_ip[OUT] |= is_l3(rules->pdata[i]);
	c.has_ip[IN] = c.has_ip[OUT];
	write_side(&c, OUT);
	append_hook(chains, port, OUT, root->str);
	write_side(&c, IN);
	append_hook(chains, port, IN, root->str);
	begin_table(text, port);
	append_sets(text, &c);
	g_string_append_printf(text, "%s}\n", chains->str);
	return g_string_free(text, FALSE);
}

char *filter_compile_learning(const struct conf_nwfilter_binding *binding, bool dhcp_only)
{
	static const struct conf_nwfilter_attribute server = {"DHCPSERVER", CONF_NWFILTER_IPV4, 0, 0, 0};
	GString *text = g_string_new(NULL), *out = g_string_new(NULL), *in = g_string_new(NULL);
	g_auto(GStrv) bytes = g_strsplit(binding->mac, ":", 6);
	g_autofree char *mac = g_strjoinv("", bytes);
	const GPtrArray *servers = g_hash_table_lookup(binding->reference->parameters, "DHCPSERVER");
	g_string_append_printf(out, "  @ll,48,48 != 0x%s drop\n", mac);
	/* RFC 2131, 4.1: a client sends from port 68 to 67. */
	g_string_append_printf(out, dhcp_only
		? "  @ll,96,16 == 0x0800 meta l4proto udp th sport == 68 th dport == 67 accept\n"
		: "  @ll,96,16 == 0x0800 accept\n  @ll,96,16 == 0x0806 accept\n");
	g_string_append(out, "  drop\n");
	for (unsigned i = 0; dhcp_only && i < (servers ? servers->len : 1); i++) {
		g_autofree char *address =
			servers ? conf_nwfilter_value_check(&server, servers->pdata[i], NULL) : NULL;
		if (servers && !address)
			continue;
		g_string_append(in, "  @ll,96,16 == 0x0800 ");
		if (address)
			g_string_append_printf(in, "ip saddr %s ", address);
		g_string_append(in, "meta l4proto udp th sport == 67 th dport == 68 accept\n");
	}
	g_string_append(in, dhcp_only ? "  drop\n" : "");
	begin_table(text, binding->port);
	append_hook(text, binding->port, OUT, out->str);
	append_hook(text, binding->port, IN, in->str);
	g_string_append(text, "}\n");
	g_string_free(out, TRUE);
	g_string_free(in, TRUE);
	return g_string_free(text, FALSE);
}

char *filter_compile_removal(const char *port)
{
	return g_strdup_printf("add table netdev " FILTER_TABLE_PREFIX "%s\n"
			       "delete table netdev " FILTER_TABLE_PREFIX "%s\n", port, port);
}
