/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rule's matches in nft's language. Fields of Ethernet, ARP and BPDUs are written as raw payload:
 * nft's own words for them ask for the kind of the interface that a packet came in by, which is not
 * known at egress. The kernel puts a VLAN tag that it has taken off back into the link header for
 * these.
 */
#include "daemon/network/filter_int.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Where a field is: bits from the start of the link, network or transport header. */
struct place {
	const char *base;
	unsigned offset, width;
	unsigned mask; /* of the bits of a field that is no whole number of bytes; 0: all */
	enum conf_nwfilter_field other_way; /* what is meant if the packet goes the other way */
};
#define PLACE(field, base, offset, width, mask, other)                                             \
	[CONF_NWFILTER_##field] = {base, offset, width, mask, CONF_NWFILTER_##other}
#define SAME(field, base, offset, width) PLACE(field, base, offset, width, 0, field)

static const struct place places[CONF_NWFILTER_FIELD_COUNT] = {
	/* IEEE 802.3, 3.1.1; 802.1Q, 9.6 */
	PLACE(SOURCE_MAC, "ll", 48, 48, 0, DESTINATION_MAC),
	PLACE(DESTINATION_MAC, "ll", 0, 48, 0, SOURCE_MAC),
	SAME(PROTOCOL_ID, "ll", 96, 16),
	PLACE(VLAN_ID, "ll", 112, 16, 0x0fff, VLAN_ID),
	SAME(VLAN_PROTOCOL, "ll", 128, 16),
	/* IEEE 802.1D-2004, 9.3.1: a BPDU behind 14 bytes of Ethernet and 3 of LLC */
	SAME(STP_TYPE, "ll", 160, 8), SAME(STP_FLAGS, "ll", 168, 8),
	SAME(STP_ROOT_PRIORITY, "ll", 176, 16), SAME(STP_ROOT_ADDRESS, "ll", 192, 48),
	SAME(STP_ROOT_COST, "ll", 240, 32), SAME(STP_SENDER_PRIORITY, "ll", 272, 16),
	SAME(STP_SENDER_ADDRESS, "ll", 288, 48), SAME(STP_PORT, "ll", 336, 16),
	SAME(STP_AGE, "ll", 352, 16), SAME(STP_MAX_AGE, "ll", 368, 16),
	SAME(STP_HELLO_TIME, "ll", 384, 16), SAME(STP_FORWARD_DELAY, "ll", 400, 16),
	/* RFC 826, for Ethernet and IPv4 */
	SAME(ARP_HARDWARE, "nh", 0, 16), SAME(ARP_PROTOCOL, "nh", 16, 16),
	SAME(ARP_OPCODE, "nh", 48, 16),
	PLACE(ARP_SOURCE_MAC, "nh", 64, 48, 0, ARP_DESTINATION_MAC),
	PLACE(ARP_SOURCE_IP, "nh", 112, 32, 0, ARP_DESTINATION_IP),
	PLACE(ARP_DESTINATION_MAC, "nh", 144, 48, 0, ARP_SOURCE_MAC),
	PLACE(ARP_DESTINATION_IP, "nh", 192, 32, 0, ARP_SOURCE_IP),
	/* RFC 792, RFC 4443 */
	SAME(ICMP_TYPE, "th", 0, 8), SAME(ICMP_CODE, "th", 8, 8),
};

const char *filter_text_of(const struct filter_rule *rule, enum conf_nwfilter_field field,
			   enum conf_nwfilter_part part)
{
	for (unsigned i = 0; i < rule->texts->len; i++) {
		const struct conf_nwfilter_value *value = rule->rule->values->pdata[i];
		if (value->attribute->field == field && value->attribute->part == part)
			return rule->texts->pdata[i];
	}
	return NULL;
}

/* --- Raw fields ------------------------------------------------------------------------------- */

/* Texts have been checked: nothing can fail. */
static uint64_t number_of(const struct conf_nwfilter_attribute *attribute, const char *text)
{
	uint64_t number = 0;
	uint32_t address = 0;
	switch (attribute->kind) {
	case CONF_NWFILTER_MAC:
	case CONF_NWFILTER_MAC_MASK:
		for (unsigned i = 0; i < 6; i++)
			number = number << 8 | strtoul(text + i * 3, NULL, 16);
		return number;
	case CONF_NWFILTER_IPV4:
		inet_pton(AF_INET, text, &address);
		return ntohl(address);
	default:
		return conf_nwfilter_value_number(attribute, text);
	}
}

static uint64_t mask_of(enum conf_nwfilter_kind kind, const char *text)
{
	static const struct conf_nwfilter_attribute mac = {"", CONF_NWFILTER_MAC_MASK, 0, 0, 0};
	unsigned bits = kind == CONF_NWFILTER_MAC ? 0 : atoi(text);
	return kind == CONF_NWFILTER_MAC ? number_of(&mac, text)
					 : (UINT64_C(0xffffffff) << (32 - bits)) & 0xffffffff;
}

static bool match_raw(GString *out, const struct filter_rule *rule,
		      const struct conf_nwfilter_value *value, const char *text, bool swap)
{
	const struct place *place = &places[value->attribute->field];
	const char *mask_text = filter_text_of(rule, value->attribute->field, CONF_NWFILTER_MASK);
	const char *end_text = filter_text_of(rule, value->attribute->field, CONF_NWFILTER_END);
	uint64_t number = number_of(value->attribute, text);
	uint64_t mask = mask_text ? mask_of(value->attribute->kind, mask_text) : place->mask;
	uint64_t end = end_text ? number_of(value->attribute, end_text) : number;
	if (swap)
		place = &places[place->other_way];
	/* A mask without bits leaves nothing to compare. */
	if (mask_text && !mask)
		return !value->negated;
	if (end < number)
		return value->negated;
	g_string_append_printf(out, "@%s,%u,%u ", place->base, place->offset, place->width);
	if (mask)
		g_string_append_printf(out, "& 0x%" PRIx64 " ", mask);
	g_string_append_printf(out, "%s 0x%" PRIx64, value->negated ? "!=" : "==",
			       mask ? number & mask : number);
	if (end > number)
		g_string_append_printf(out, "-0x%" PRIx64, end);
	g_string_append_c(out, ' ');
	return true;
}

/* --- Fields that nft has a word for ----------------------------------------------------------- */

/* nft compares with what it is given: bits behind the mask must be zero. False: the mask is empty. */
static bool append_network(GString *out, int family, const char *address, unsigned bits)
{
	uint8_t bytes[16];
	char text[INET6_ADDRSTRLEN];
	unsigned length = family == AF_INET ? 4 : 16;
	if (!bits)
		return false;
	inet_pton(family, address, bytes);
	for (unsigned bit = bits; bit < length * 8; bit++)
		bytes[bit / 8] &= ~(0x80 >> bit % 8);
	inet_ntop(family, bytes, text, sizeof(text));
	g_string_append_printf(out, "%s/%u ", text, bits);
	return true;
}

static bool match_address(GString *out, const struct filter_rule *rule,
			  const struct conf_nwfilter_value *value, const char *text, bool source)
{
	enum conf_nwfilter_field field = value->attribute->field;
	bool is_ipv6 = value->attribute->kind == CONF_NWFILTER_IPV6;
	const char *mask = filter_text_of(rule, field, CONF_NWFILTER_MASK);
	const char *end = filter_text_of(rule, field, CONF_NWFILTER_END);
	gsize before = out->len;
	g_string_append_printf(out, "%s %s %s ", is_ipv6 ? "ip6" : "ip", source ? "saddr" : "daddr",
			       value->negated ? "!=" : "==");
	if (mask && !append_network(out, is_ipv6 ? AF_INET6 : AF_INET, text, atoi(mask))) {
		g_string_truncate(out, before);
		return !value->negated;
	}
	if (end) {
		uint8_t first[16] = {0}, last[16] = {0};
		inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text, first);
		inet_pton(is_ipv6 ? AF_INET6 : AF_INET, end, last);
		if (memcmp(first, last, sizeof(first)) > 0) {
			g_string_truncate(out, before);
			return value->negated;
		}
		g_string_append_printf(out, strcmp(text, end) ? "%s-%s " : "%s ", text, end);
	} else if (!mask) {
		g_string_append_printf(out, "%s ", text);
	}
	return true;
}

static bool match_port(GString *out, const struct filter_rule *rule,
		       const struct conf_nwfilter_value *value, const char *text, bool source)
{
	const char *end_text = filter_text_of(rule, value->attribute->field, CONF_NWFILTER_END);
	uint32_t first = conf_nwfilter_value_number(value->attribute, text);
	uint32_t last = end_text ? conf_nwfilter_value_number(value->attribute, end_text) : first;
	if (last < first)
		return value->negated;
	g_string_append_printf(out, "th %s %s %u", source ? "sport" : "dport",
			       value->negated ? "!=" : "==", first);
	if (last > first)
		g_string_append_printf(out, "-%u", last);
	g_string_append_c(out, ' ');
	return true;
}

static uint8_t tcp_flag_bits(const char *words)
{
	static const char *const names[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG"};
	uint8_t bits = strcmp(words, "ALL") ? 0 : 0x3f;
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		bits |= strstr(words, names[i]) ? 1 << i : 0;
	return bits;
}

/* RFC 9293, 3.1: the flags are the 14th byte. */
static void match_tcp_flags(GString *out, const struct conf_nwfilter_value *value, const char *text)
{
	g_auto(GStrv) halves = g_strsplit(text, "/", 2);
	g_string_append_printf(out, "@th,104,8 & 0x%x %s 0x%x ", tcp_flag_bits(halves[0]),
			       value->negated ? "!=" : "==", tcp_flag_bits(halves[1]));
}

/* --- A value ---------------------------------------------------------------------------------- */

static bool match_value(GString *out, const struct filter_rule *rule,
			const struct conf_nwfilter_value *value, const char *text, bool swap)
{
	const char *op = value->negated ? "!=" : "==";
	bool is_ipv6 = rule->rule->protocol->ethertype == 0x86dd;
	switch (value->attribute->field) {
	case CONF_NWFILTER_SOURCE_IP:
	case CONF_NWFILTER_SOURCE_RANGE:
		return match_address(out, rule, value, text, !swap);
	case CONF_NWFILTER_DESTINATION_IP:
	case CONF_NWFILTER_DESTINATION_RANGE:
		return match_address(out, rule, value, text, swap);
	case CONF_NWFILTER_SOURCE_PORT:
		return match_port(out, rule, value, text, !swap);
	case CONF_NWFILTER_DESTINATION_PORT:
		return match_port(out, rule, value, text, swap);
	case CONF_NWFILTER_IP_PROTOCOL_NUMBER:
		g_string_append_printf(out, "meta l4proto %s %u ", op,
				       conf_nwfilter_value_number(value->attribute, text));
		return true;
	case CONF_NWFILTER_DSCP:
		g_string_append_printf(out, "%s dscp %s %u ", is_ipv6 ? "ip6" : "ip", op,
				       conf_nwfilter_value_number(value->attribute, text));
		return true;
	case CONF_NWFILTER_TCP_OPTION:
		g_string_append_printf(out, "tcp option %u %s ",
				       conf_nwfilter_value_number(value->attribute, text),
				       value->negated ? "missing" : "exists");
		return true;
	case CONF_NWFILTER_FLAGS_OF_TCP:
		match_tcp_flags(out, value, text);
		return true;
	case CONF_NWFILTER_FLOW_STATE:
	case CONF_NWFILTER_COMMENT:
		return true;
	default:
		return match_raw(out, rule, value, text, swap);
	}
}

static bool has_arp_address(const struct filter_rule *rule)
{
	for (int field = CONF_NWFILTER_ARP_SOURCE_MAC; field <= CONF_NWFILTER_ARP_DESTINATION_IP; field++) {
		if (filter_text_of(rule, field, CONF_NWFILTER_WHOLE))
			return true;
	}
	return false;
}

/* Which packets the rule's element speaks of. */
static void match_protocol(GString *out, const struct filter_rule *rule)
{
	const struct conf_nwfilter_protocol *protocol = rule->rule->protocol;
	if (protocol->ethertype)
		g_string_append_printf(out, "@ll,96,16 == 0x%04x ", protocol->ethertype);
	if (!strcmp(protocol->name, "stp"))
		g_string_append(out, "@ll,0,48 == 0x0180c2000000 ");
	if (protocol->ip_protocol >= 0)
		g_string_append_printf(out, "meta l4proto %d ", protocol->ip_protocol);
	/* ARP's addresses have their places only if they have these lengths: 6 and 4 bytes. */
	if (has_arp_address(rule))
		g_string_append(out, "@nh,32,16 == 0x0604 ");
	if (protocol->layer == CONF_NWFILTER_L2 &&
	    filter_text_of(rule, CONF_NWFILTER_ICMP_TYPE, CONF_NWFILTER_WHOLE) &&
	    !filter_text_of(rule, CONF_NWFILTER_IP_PROTOCOL_NUMBER, CONF_NWFILTER_WHOLE))
		g_string_append_printf(out, "meta l4proto %d ", IPPROTO_ICMPV6);
}

bool filter_match(GString *out, const struct filter_rule *rule, bool swap)
{
	if (!rule->rule->protocol)
		return true;
	match_protocol(out, rule);
	for (unsigned i = 0; i < rule->texts->len; i++) {
		const struct conf_nwfilter_value *value = rule->rule->values->pdata[i];
		if (value->attribute->part == CONF_NWFILTER_WHOLE &&
		    !match_value(out, rule, value, rule->texts->pdata[i], swap))
			return false;
	}
	return true;
}
