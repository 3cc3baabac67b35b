# SPDX-License-Identifier: GPL-2.0-or-later
"""Definitions of filters with everything that libvirt and we both understand."""

L3 = ("srcmacaddr='1:2:3:4:5:6' srcipaddr='10.1.2.3' srcipmask='255.255.255.0' dstipaddr='$DST' "
      "dstipmask='$MASK' dscp='0x10'")
L3_IPV6 = ("srcipaddr='2001:DB8:0:0::1' srcipmask='ffff:ffff::' dstipaddr='::ffff:10.1.2.3' "
           "dstipmask='128' dscp='33'")
RANGE = "srcipfrom='10.0.0.1' srcipto='10.0.0.9' dstipfrom='$A[@1]' dstipto='$B[@1]'"
PORTS = "srcportstart='20' srcportend='0x16' dstportstart='$PORTS[3]' dstportend='65535'"
STP = " ".join(f"{name}='{value}' {name}-hi='{value + 7}'" for name, value in (
    ("root-priority", 100), ("root-cost", 70000), ("sender-priority", 3), ("port", 9), ("age", 11),
    ("max-age", 5000), ("hello-time", 8), ("forward-delay", 1)))

# name, chain, priority, body
FILTERS = [
    ("empty", None, None, ""),
    ("mac", "mac", None, "<rule action='drop' direction='out' priority='-10'><mac match='no' "
     "srcmacaddr='$MAC' srcmacmask='ff:FF:ff:f0:00:0' dstmacaddr='$ MAC[ @ 2 ]'/></rule>"
     .replace("$ MAC[ @ 2 ]", "$MAC[@2]") +
     "".join(f"<rule action='accept' direction='in'><mac protocolid='{p}'/></rule>" for p in (
         "arp", "ipv4", "0x0806", "2048", "0x88b5", "34997"))),
    ("vlan", "vlan-x.1", "-333", "<rule action='reject' direction='inout'><vlan vlanid='0xfff' "
     "encap-protocol='ipv6' comment='a &lt;b&gt; &amp; c'/></rule>"
     "<rule action='continue' direction='in'><vlan vlanid='7'/></rule>"),
    ("stp", "stp", "-1", f"<rule action='return' direction='in' priority='1000'><stp type='0x80' "
     f"flags='1' srcmacaddr='$X' srcmacmask='ff:ff:ff:ff:ff:ff' root-address='6:5:4:3:2:1' "
     f"root-address-mask='ff:ff:ff:ff:ff:ff' sender-address='$S' {STP}/></rule>"),
    ("arp", "arp-a", None, "".join(
        f"<rule action='accept' direction='out'><arp opcode='{op}' hwtype='12' protocoltype='0x800' "
        "arpsrcmacaddr='$MAC' arpdstmacaddr='1:2:3:4:5:6' arpsrcipaddr='$IP' arpdstipaddr='10.0.0.0' "
        "arpdstipmask='8'/></rule>" for op in ("Request", "reply", "11", "9", "0x3", "$OP"))),
    ("rarp", "rarp", None, "<rule action='drop' direction='inout'><rarp/></rule>"),
    ("ip", "ipv4", None, "<rule action='accept' direction='in'><ip srcmacaddr='$MAC' srcipaddr='$IP' "
     f"protocol='udp' {PORTS} dscp='63'/></rule><rule action='drop' direction='in'>"
     "<ip protocol='0x11' match='no'/></rule><rule action='drop' direction='in'>"
     "<ip protocol='200' dstipaddr='224.0.0.0' dstipmask='240.0.0.0'/></rule>"),
    ("ipv6", "ipv6-yy", "12", f"<rule action='accept' direction='out'><ipv6 protocol='6' {PORTS} "
     "srcipaddr='fe80::1' srcipmask='10'/></rule><rule action='accept' direction='out'>"
     "<ipv6 protocol='icmpv6' type='133' typeend='0x88' code='0' codeend='4'/></rule>"),
    ("l3", None, None, "".join(
        f"<rule action='accept' direction='out' priority='{i}'><{name} {L3} {RANGE} {more}/></rule>"
        for i, (name, more) in enumerate((
            ("tcp", PORTS + " flags='SYN,ACK/syn' option='0x1e'"), ("tcp", "flags='ALL/NONE'"),
            ("udp", PORTS), ("sctp", PORTS), ("icmp", "type='8' code='0xff'"), ("igmp", ""),
            ("esp", "comment='x'"), ("ah", ""), ("udplite", ""), ("all", "state='ESTABLISHED,NEW'"),
            ("all", "state='none'"))))),
    ("l3-ipv6", "root", "-5", "".join(
        f"<rule action='drop' direction='in' statematch='{flag}'><{name} {L3_IPV6} {more}/></rule>"
        for name, more, flag in (
            ("tcp-ipv6", PORTS, "0"), ("udp-ipv6", PORTS, "false"), ("sctp-ipv6", PORTS, "1"),
            ("icmpv6", "type='1'", "FALSE"), ("esp-ipv6", "", "0"), ("ah-ipv6", "", "true"),
            ("udplite-ipv6", "", "0"), ("all-ipv6", "", "0")))),
    ("twice", None, None, "<rule action='drop' direction='in'><tcp srcipaddr='10.0.0.1' "
     "dstportstart='5'/><tcp match='no' dstipaddr='10.0.0.2'/></rule>"),
    ("references", None, None, "<filterref filter='empty'/><rule action='drop' direction='inout'/>"
     "<filterref filter='ip'><parameter name='IP' value='10.0.0.1'/><parameter name='A' value='::1'/>"
     "<parameter name='IP' value='10.0.0.2'/></filterref>"),
]


def documents():
    for number, (name, chain, priority, body) in enumerate(FILTERS):
        head = f"<filter name='t-{name}'" + (f" chain='{chain}'" if chain else "") + \
            (f" priority='{priority}'" if priority else "") + ">"
        yield f"t-{name}", head + f"<uuid>5e7d0c1a-0000-4000-8000-{number:012d}</uuid>" + \
            body.replace("filter='empty'", "filter='t-empty'").replace("filter='ip'", "filter='t-ip'") + \
            "</filter>"
