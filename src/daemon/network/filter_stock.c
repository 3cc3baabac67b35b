/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filters that every host has, under libvirt's names and with its meaning. They are made once, at
 * the first start; a person may change or remove them afterwards.
 */
#include "daemon/network/filter_int.h"

#define RULE(action, direction, priority, match)                                                   \
	"<rule action='" action "' direction='" direction "' priority='" priority "'>" match "</rule>"
#define ALL(action, direction, priority)                                                           \
	"<rule action='" action "' direction='" direction "' priority='" priority "'/>"
#define FILTER(name, chain, body) "<filter name='" name "' chain='" chain "'>" body "</filter>"
#define FILTER_AT(name, chain, priority, body)                                                     \
	"<filter name='" name "' chain='" chain "' priority='" priority "'>" body "</filter>"
#define REFERENCE(name) "<filterref filter='" name "'/>"

/* RFC 2131, 4.1, and RFC 8415, 7.2 and 14: where clients and servers send from and to. */
#define DHCP_REQUEST                                                                               \
	RULE("accept", "out", "100", "<ip srcipaddr='0.0.0.0' dstipaddr='255.255.255.255' "       \
	     "protocol='udp' srcportstart='68' dstportstart='67'/>")
#define DHCPV6_REQUEST                                                                             \
	RULE("accept", "out", "100", "<ipv6 srcipaddr='fe80::' srcipmask='10' "                   \
	     "dstipaddr='ff02::1:2' protocol='udp' srcportstart='546' dstportstart='547'/>")

/* RARP that a hypervisor sends when a guest has moved, so that switches learn the new place. */
#define ANNOUNCEMENT                                                                               \
	RULE("accept", "out", "500", "<rarp srcmacaddr='$MAC' dstmacaddr='ff:ff:ff:ff:ff:ff' "    \
	     "opcode='Request_Reverse' arpsrcmacaddr='$MAC' arpdstmacaddr='$MAC' "                \
	     "arpsrcipaddr='0.0.0.0' arpdstipaddr='0.0.0.0'/>")                                   \
	RULE("accept", "in", "500", "<rarp dstmacaddr='ff:ff:ff:ff:ff:ff' "                       \
	     "opcode='Request_Reverse' arpsrcmacaddr='$MAC' arpdstmacaddr='$MAC' "                \
	     "arpsrcipaddr='0.0.0.0' arpdstipaddr='0.0.0.0'/>")

const char *const filter_stock[] = {
	FILTER("allow-arp", "arp", ALL("accept", "inout", "500")),
	FILTER("allow-ipv4", "ipv4", ALL("accept", "inout", "500")),
	FILTER("allow-ipv6", "ipv6", ALL("accept", "inout", "500")),
	FILTER("allow-incoming-ipv4", "ipv4", ALL("accept", "in", "500")),
	FILTER("allow-incoming-ipv6", "ipv6", ALL("accept", "in", "500")),
	FILTER("allow-dhcp", "ipv4", DHCP_REQUEST
	       RULE("accept", "in", "100", "<ip protocol='udp' srcportstart='67' dstportstart='68'/>")),
	FILTER("allow-dhcp-server", "ipv4", DHCP_REQUEST
	       RULE("accept", "in", "100", "<ip srcipaddr='$DHCPSERVER' protocol='udp' "
		    "srcportstart='67' dstportstart='68'/>")),
	FILTER("allow-dhcpv6", "ipv6", DHCPV6_REQUEST
	       RULE("accept", "in", "100",
		    "<ipv6 protocol='udp' srcportstart='547' dstportstart='546'/>")),
	FILTER("allow-dhcpv6-server", "ipv6", DHCPV6_REQUEST
	       RULE("accept", "in", "100", "<ipv6 srcipaddr='$DHCPSERVER' protocol='udp' "
		    "srcportstart='547' dstportstart='546'/>")),
	FILTER_AT("no-mac-spoofing", "mac", "-800",
		  RULE("return", "out", "500", "<mac srcmacaddr='$MAC'/>")
		  RULE("drop", "out", "500", "<mac/>")),
	FILTER("no-mac-broadcast", "ipv4",
	       RULE("drop", "out", "500", "<mac dstmacaddr='ff:ff:ff:ff:ff:ff'/>")),
	/* A guest that has no address yet asks for one from 0.0.0.0, or from its link-local address. */
	FILTER_AT("no-ip-spoofing", "ipv4-ip", "-710",
		  RULE("return", "out", "100", "<ip srcipaddr='0.0.0.0' protocol='udp'/>")
		  RULE("return", "out", "500", "<ip srcipaddr='$IP'/>")
		  ALL("drop", "out", "1000")),
	FILTER_AT("no-ipv6-spoofing", "ipv6-ip", "-610",
		  RULE("return", "out", "100", "<ipv6 srcipaddr='fe80::' srcipmask='10' "
		       "protocol='udp'/>")
		  RULE("return", "out", "500", "<ipv6 srcipaddr='$IPV6'/>")
		  ALL("drop", "out", "1000")),
	FILTER("no-ip-multicast", "ipv4",
	       RULE("drop", "out", "500", "<ip dstipaddr='224.0.0.0' dstipmask='4'/>")),
	FILTER("no-ipv6-multicast", "ipv6",
	       RULE("drop", "out", "500", "<ipv6 dstipaddr='ff00::' dstipmask='8'/>")),
	FILTER_AT("no-arp-mac-spoofing", "arp-mac", "-520",
		  RULE("return", "out", "350", "<arp arpsrcmacaddr='$MAC'/>")
		  ALL("drop", "out", "1000")),
	FILTER_AT("no-arp-ip-spoofing", "arp-ip", "-510",
		  RULE("return", "out", "400", "<arp arpsrcipaddr='$IP'/>")
		  ALL("drop", "out", "1000")),
	FILTER("no-arp-spoofing", "root",
	       REFERENCE("no-arp-mac-spoofing") REFERENCE("no-arp-ip-spoofing")),
	FILTER("no-other-l2-traffic", "root", ALL("drop", "inout", "1000")),
	FILTER("no-other-rarp-traffic", "rarp", ALL("drop", "inout", "1000")),
	FILTER("qemu-announce-self-rarp", "rarp", ANNOUNCEMENT),
	FILTER("qemu-announce-self", "root",
	       RULE("accept", "out", "500", "<mac protocolid='0x835'/>")
	       REFERENCE("qemu-announce-self-rarp") REFERENCE("no-other-rarp-traffic")),
	FILTER("clean-traffic", "root",
	       REFERENCE("no-mac-spoofing") REFERENCE("no-ip-spoofing")
	       RULE("accept", "out", "-650", "<mac protocolid='ipv4'/>")
	       REFERENCE("allow-incoming-ipv4") REFERENCE("no-arp-spoofing")
	       RULE("accept", "inout", "-500", "<mac protocolid='arp'/>")
	       REFERENCE("no-other-l2-traffic") REFERENCE("qemu-announce-self")),
	FILTER("clean-traffic-gateway", "root",
	       REFERENCE("no-mac-spoofing") REFERENCE("no-ip-spoofing") REFERENCE("no-arp-spoofing")
	       RULE("accept", "inout", "-500", "<mac protocolid='arp'/>")
	       RULE("accept", "in", "500", "<mac srcmacaddr='$GATEWAY_MAC'/>")
	       RULE("accept", "out", "500", "<mac dstmacaddr='$GATEWAY_MAC'/>")
	       REFERENCE("no-other-l2-traffic") REFERENCE("qemu-announce-self")),
	NULL,
};
