/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a rule can compare: a table per element, with the attributes in the order in which libvirt
 * writes them. `connlimit-above`, `ipset` and `gratuitous` are not there: nftables has nothing of
 * the kind for packets between ports, and so they are refused.
 */
#include "conf/nwfilter.h"

#include <netinet/in.h>
#include <string.h>

/* Shorter rows below. */
#define MAC(name, field) {name, CONF_NWFILTER_MAC, CONF_NWFILTER_##field, CONF_NWFILTER_WHOLE, 0}
#define MAC_MASK(name, field)                                                                      \
	{name, CONF_NWFILTER_MAC_MASK, CONF_NWFILTER_##field, CONF_NWFILTER_MASK, 0}
#define NUMBER(name, field, max)                                                                   \
	{name, CONF_NWFILTER_NUMBER, CONF_NWFILTER_##field, CONF_NWFILTER_WHOLE, max}
#define NUMBER_END(name, field, max)                                                               \
	{name, CONF_NWFILTER_NUMBER, CONF_NWFILTER_##field, CONF_NWFILTER_END, max}
#define OF_KIND(name, kind, field)                                                                 \
	{name, CONF_NWFILTER_##kind, CONF_NWFILTER_##field, CONF_NWFILTER_WHOLE, UINT16_MAX}
#define PART(name, kind, field, part)                                                              \
	{name, CONF_NWFILTER_##kind, CONF_NWFILTER_##field, CONF_NWFILTER_##part, 0}

#define SOURCE_MAC MAC("srcmacaddr", SOURCE_MAC)
#define BOTH_MACS                                                                                  \
	SOURCE_MAC, MAC_MASK("srcmacmask", SOURCE_MAC), MAC("dstmacaddr", DESTINATION_MAC),       \
		MAC_MASK("dstmacmask", DESTINATION_MAC)
#define ADDRESSES(version)                                                                         \
	OF_KIND("srcipaddr", version, SOURCE_IP),                                                 \
		PART("srcipmask", version##_MASK, SOURCE_IP, MASK),                               \
		OF_KIND("dstipaddr", version, DESTINATION_IP),                                    \
		PART("dstipmask", version##_MASK, DESTINATION_IP, MASK)
#define RANGES(version)                                                                            \
	OF_KIND("srcipfrom", version, SOURCE_RANGE), PART("srcipto", version, SOURCE_RANGE, END), \
		OF_KIND("dstipfrom", version, DESTINATION_RANGE),                                 \
		PART("dstipto", version, DESTINATION_RANGE, END)
#define PORTS                                                                                      \
	NUMBER("srcportstart", SOURCE_PORT, UINT16_MAX),                                          \
		NUMBER_END("srcportend", SOURCE_PORT, UINT16_MAX),                                \
		NUMBER("dstportstart", DESTINATION_PORT, UINT16_MAX),                             \
		NUMBER_END("dstportend", DESTINATION_PORT, UINT16_MAX)
#define DSCP NUMBER("dscp", DSCP, 63)
#define COMMENT OF_KIND("comment", TEXT, COMMENT)
#define END {NULL, 0, 0, 0, 0}
#define COMMON_L3(version)                                                                         \
	SOURCE_MAC, ADDRESSES(version), RANGES(version), DSCP, OF_KIND("state", STATE, FLOW_STATE)
#define TCP_PARTS                                                                                  \
	NUMBER("option", TCP_OPTION, UINT8_MAX), OF_KIND("flags", TCP_FLAGS, FLAGS_OF_TCP)
#define ICMP_PARTS                                                                                 \
	NUMBER("type", ICMP_TYPE, UINT8_MAX), NUMBER("code", ICMP_CODE, UINT8_MAX)
#define STP_RANGE(name, field, max)                                                                \
	NUMBER(name, field, max), NUMBER_END(name "-hi", field, max)

static const struct conf_nwfilter_attribute mac[] = {
	BOTH_MACS, OF_KIND("protocolid", ETHERTYPE, PROTOCOL_ID), COMMENT, END};
static const struct conf_nwfilter_attribute vlan[] = {
	BOTH_MACS, NUMBER("vlanid", VLAN_ID, 4095),
	OF_KIND("encap-protocol", ETHERTYPE, VLAN_PROTOCOL), COMMENT, END};
static const struct conf_nwfilter_attribute stp[] = {
	SOURCE_MAC, MAC_MASK("srcmacmask", SOURCE_MAC), NUMBER("type", STP_TYPE, UINT8_MAX),
	NUMBER("flags", STP_FLAGS, UINT8_MAX),
	STP_RANGE("root-priority", STP_ROOT_PRIORITY, UINT16_MAX),
	MAC("root-address", STP_ROOT_ADDRESS), MAC_MASK("root-address-mask", STP_ROOT_ADDRESS),
	STP_RANGE("root-cost", STP_ROOT_COST, UINT32_MAX),
	STP_RANGE("sender-priority", STP_SENDER_PRIORITY, UINT16_MAX),
	MAC("sender-address", STP_SENDER_ADDRESS),
	MAC_MASK("sender-address-mask", STP_SENDER_ADDRESS),
	STP_RANGE("port", STP_PORT, UINT16_MAX), STP_RANGE("age", STP_AGE, UINT16_MAX),
	STP_RANGE("max-age", STP_MAX_AGE, UINT16_MAX),
	STP_RANGE("hello-time", STP_HELLO_TIME, UINT16_MAX),
	STP_RANGE("forward-delay", STP_FORWARD_DELAY, UINT16_MAX), COMMENT, END};
static const struct conf_nwfilter_attribute arp[] = {
	BOTH_MACS, NUMBER("hwtype", ARP_HARDWARE, UINT16_MAX),
	NUMBER("protocoltype", ARP_PROTOCOL, UINT16_MAX), OF_KIND("opcode", OPCODE, ARP_OPCODE),
	MAC("arpsrcmacaddr", ARP_SOURCE_MAC), MAC("arpdstmacaddr", ARP_DESTINATION_MAC),
	OF_KIND("arpsrcipaddr", IPV4, ARP_SOURCE_IP),
	PART("arpsrcipmask", IPV4_MASK, ARP_SOURCE_IP, MASK),
	OF_KIND("arpdstipaddr", IPV4, ARP_DESTINATION_IP),
	PART("arpdstipmask", IPV4_MASK, ARP_DESTINATION_IP, MASK), COMMENT, END};
static const struct conf_nwfilter_attribute ip[] = {
	BOTH_MACS, ADDRESSES(IPV4), OF_KIND("protocol", IP_PROTOCOL, IP_PROTOCOL_NUMBER), PORTS, DSCP,
	COMMENT, END};
static const struct conf_nwfilter_attribute ipv6[] = {
	BOTH_MACS, ADDRESSES(IPV6), OF_KIND("protocol", IP_PROTOCOL, IP_PROTOCOL_NUMBER), PORTS,
	NUMBER("type", ICMP_TYPE, UINT8_MAX), NUMBER_END("typeend", ICMP_TYPE, UINT8_MAX),
	NUMBER("code", ICMP_CODE, UINT8_MAX), NUMBER_END("codeend", ICMP_CODE, UINT8_MAX), COMMENT,
	END};
static const struct conf_nwfilter_attribute tcp[] = {COMMON_L3(IPV4), PORTS, TCP_PARTS, COMMENT, END};
static const struct conf_nwfilter_attribute tcp6[] = {COMMON_L3(IPV6), PORTS, TCP_PARTS, COMMENT,
						      END};
static const struct conf_nwfilter_attribute ports[] = {COMMON_L3(IPV4), PORTS, COMMENT, END};
static const struct conf_nwfilter_attribute ports6[] = {COMMON_L3(IPV6), PORTS, COMMENT, END};
static const struct conf_nwfilter_attribute icmp[] = {COMMON_L3(IPV4), ICMP_PARTS, COMMENT, END};
static const struct conf_nwfilter_attribute icmp6[] = {COMMON_L3(IPV6), ICMP_PARTS, COMMENT, END};
static const struct conf_nwfilter_attribute plain[] = {COMMON_L3(IPV4), COMMENT, END};
static const struct conf_nwfilter_attribute plain6[] = {COMMON_L3(IPV6), COMMENT, END};

#define L2(name, ethertype, attributes)                                                            \
	{name, CONF_NWFILTER_L2, ethertype, -1, false, attributes}
#define L3(name, number, has_ports, attributes)                                                    \
	{name, CONF_NWFILTER_L3_IPV4, 0x0800, number, has_ports, attributes}
#define L3_IPV6(name, number, has_ports, attributes)                                               \
	{name, CONF_NWFILTER_L3_IPV6, 0x86dd, number, has_ports, attributes}
static const struct conf_nwfilter_protocol protocols[] = {
	L2("mac", 0, mac), L2("vlan", 0x8100, vlan), L2("stp", 0, stp), L2("arp", 0x0806, arp),
	L2("rarp", 0x8035, arp), L2("ip", 0x0800, ip), L2("ipv6", 0x86dd, ipv6),
	L3("tcp", IPPROTO_TCP, true, tcp), L3("udp", IPPROTO_UDP, true, ports),
	L3("sctp", IPPROTO_SCTP, true, ports), L3("udplite", IPPROTO_UDPLITE, true, plain),
	L3("esp", IPPROTO_ESP, false, plain), L3("ah", IPPROTO_AH, false, plain),
	L3("icmp", IPPROTO_ICMP, false, icmp), L3("igmp", IPPROTO_IGMP, false, plain),
	L3("all", -1, false, plain),
	L3_IPV6("tcp-ipv6", IPPROTO_TCP, true, tcp6), L3_IPV6("udp-ipv6", IPPROTO_UDP, true, ports6),
	L3_IPV6("sctp-ipv6", IPPROTO_SCTP, true, ports6),
	L3_IPV6("udplite-ipv6", IPPROTO_UDPLITE, true, plain6),
	L3_IPV6("esp-ipv6", IPPROTO_ESP, false, plain6), L3_IPV6("ah-ipv6", IPPROTO_AH, false, plain6),
	L3_IPV6("icmpv6", IPPROTO_ICMPV6, false, icmp6), L3_IPV6("all-ipv6", -1, false, plain6),
};

const struct conf_nwfilter_protocol *conf_nwfilter_protocol_find(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(protocols); i++) {
		if (!strcmp(protocols[i].name, name))
			return &protocols[i];
	}
	return NULL;
}

const struct conf_nwfilter_attribute *
conf_nwfilter_attribute_find(const struct conf_nwfilter_protocol *protocol, const char *name)
{
	for (const struct conf_nwfilter_attribute *row = protocol->attributes; row->name; row++) {
		if (!strcmp(row->name, name))
			return row;
	}
	return NULL;
}
