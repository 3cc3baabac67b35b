#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Network filters: definitions by virsh, and packets, counted one by one, through ports that have them.

A bridge in a network namespace of the test has a guest's port (one end of a veth; the guest is the
other) and a peer's. berthd runs in that namespace, too.
"""
import os
import signal
import struct
import subprocess
import time

import libvirt
import ether
from nwfilter_corpus import documents
from private import Daemon
from real_libvirtd import Libvirtd
from ether import arp, ethernet, ipv4, ipv6, tcp, udp

COVERS = """
CONNECT_NUM_OF_NWFILTERS CONNECT_LIST_NWFILTERS CONNECT_LIST_ALL_NWFILTERS NWFILTER_LOOKUP_BY_NAME
NWFILTER_LOOKUP_BY_UUID NWFILTER_GET_XML_DESC NWFILTER_DEFINE_XML NWFILTER_DEFINE_XML_FLAGS
NWFILTER_UNDEFINE NWFILTER_BINDING_LOOKUP_BY_PORT_DEV NWFILTER_BINDING_GET_XML_DESC
NWFILTER_BINDING_CREATE_XML NWFILTER_BINDING_DELETE CONNECT_LIST_ALL_NWFILTER_BINDINGS
"""

GUEST, PEER, OTHER, ALL = "52:54:00:00:00:02", "52:54:00:00:00:09", "52:54:00:00:00:66", \
    "ff:ff:ff:ff:ff:ff"
GUEST_IP, PEER_IP, OTHER_IP = "10.9.0.2", "10.9.0.9", "10.9.0.66"
N = 5


def make_wires():
    ether.own_network()
    for path in ("all", "default"):
        with open(f"/proc/sys/net/ipv6/conf/{path}/disable_ipv6", "w") as file:
            file.write("1")
    ether.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    for port, end in (("vnet0", "guest"), ("vnet9", "peer")):
        ether.ip("link", "add", port, "type", "veth", "peer", "name", end)
        ether.ip("link", "set", port, "master", "br0")
    for device in ("br0", "vnet0", "guest", "vnet9", "peer"):
        ether.ip("link", "set", device, "up")
    return ether.End("guest"), ether.End("peer")


def binding(filter_name, **parameters):
    values = "".join(f"<parameter name='{name}' value='{value}'/>" for name, given in parameters.items()
                     for value in (given if isinstance(given, list) else [given]))
    return ("<filterbinding><owner><name>vm</name><uuid>12ac8b8c-4f23-4248-ae42-fdcd50c400fd</uuid>"
            f"</owner><portdev name='vnet0'/><mac address='{GUEST}'/>"
            f"<filterref filter='{filter_name}'>{values}</filterref></filterbinding>")


class Filters:
    def __init__(self, daemon):
        self.daemon = daemon
        self.path = os.path.join(daemon.top, "x.xml")

    def with_xml(self, command, xml, *more, check=True):
        with open(self.path, "w") as file:
            file.write(xml)
        return self.daemon.virsh(command, self.path, *more, check=check)

    def define(self, xml, check=True):
        return self.with_xml("nwfilter-define", xml, check=check)

    def bind(self, *args, **parameters):
        self.unbind()
        return self.with_xml("nwfilter-binding-create", binding(*args, **parameters))

    def unbind(self):
        self.daemon.virsh("nwfilter-binding-delete", "vnet0", check=False)

    def refused(self, command, xml, words):
        result = self.with_xml(command, xml, check=False)
        assert result.returncode and words in result.stdout, (xml, result.stdout)


def rules():
    return subprocess.run(["nft", "list", "ruleset"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def to_peer(payload, ethertype=0x800, source=GUEST):
    return ethernet(source, PEER, ethertype, payload)


def to_guest(payload, ethertype=0x800):
    return ethernet(PEER, GUEST, ethertype, payload)


def check(sender, receiver, wanted, frames):
    got = ether.passed(sender, receiver, frames, N)
    wrong = {name: count for name, count in got.items() if count != wanted}
    assert not wrong, f"{wrong} of {N} frames got through, not {wanted}\n{rules()}"


def good_from_guest():
    data = udp(1000, 2000)
    return {"arp request": arp(GUEST, GUEST_IP, PEER_IP),
            "arp reply": arp(GUEST, GUEST_IP, PEER_IP, 2, PEER),
            "udp": to_peer(ipv4(GUEST_IP, PEER_IP, 17, data)),
            "tcp": to_peer(ipv4(GUEST_IP, PEER_IP, 6, tcp(1000, 80))),
            "fragment": to_peer(ipv4(GUEST_IP, PEER_IP, 17, data, fragment=100)),
            "dhcp": ethernet(GUEST, ALL, 0x800, ipv4("0.0.0.0", "255.255.255.255", 17, udp(68, 67)))}


def bad_from_guest():
    data = udp(1000, 2001)
    return {"other MAC": to_peer(ipv4(GUEST_IP, PEER_IP, 17, data), source=OTHER),
            "other MAC in arp": arp(GUEST, GUEST_IP, PEER_IP, source=OTHER),
            "other IP": to_peer(ipv4(OTHER_IP, PEER_IP, 17, data)),
            "other IP in arp": arp(GUEST, OTHER_IP, PEER_IP),
            "gratuitous arp of another": arp(GUEST, OTHER_IP, OTHER_IP, 2),
            "other MAC inside arp": arp(OTHER, GUEST_IP, PEER_IP, source=GUEST),
            "ipv6": to_peer(ipv6("fe80::2", "fe80::9", 17, data), 0x86dd),
            "vlan": to_peer(b"\0\5\x08\0" + ipv4(GUEST_IP, PEER_IP, 17, udp(1000, 2002)), 0x8100),
            "unknown protocol": to_peer(b"\0" * 50, 0x88b5),
            "rarp of another": arp(GUEST, OTHER_IP, OTHER_IP, 3, GUEST, 0x8035)}


def more_from_guest(client):
    """What filters may treat differently from each other; `client` is a port on this side."""
    def ip(protocol, data, destination=PEER_IP, **more):
        return to_peer(ipv4(GUEST_IP, destination, protocol, data, **more))
    frames = {f"tcp to {port}": ip(6, tcp(client, port)) for port in (20, 22, 23, 25, 443)}
    frames.update({f"udp to {port}": ip(17, udp(client, port)) for port in (22, 53, 54)})
    frames.update({f"tcp flags {flags}": ip(6, tcp(client + 1000, 80, flags)) for flags in (0, 0x10, 0x12, 0x3f)})
    frames.update({f"tcp from {port}": ip(6, tcp(port, client, 0x10)) for port in (22, 80, 8080)})
    frames.update({f"protocol {number}": ip(number, b"\0" * 40) for number in (2, 50, 51, 132, 136, 200)})
    frames.update({f"icmp {kind}.{code}": ip(1, struct.pack(">BBHHH", kind, code, 0, client, 0))
                   for kind, code in ((0, 0), (8, 0), (8, 1), (13, 0))})
    frames.update({f"dscp {dscp}": ip(17, udp(1, 2), dscp=dscp) for dscp in (1, 33)})
    frames.update({f"to {address}": ip(17, udp(3, 4), address)
                   for address in ("10.9.0.7", "10.9.1.1", "192.168.1.9", "224.0.0.5")})
    frames.update({f"ipv6 {number} {i}": to_peer(ipv6("2001:db8::2", "2001:db8::9", number, data), 0x86dd)
                   for i, (number, data) in enumerate((
                       (6, tcp(client, 80)), (6, tcp(client, 22)), (17, udp(client, 547)),
                       (58, bytes([135, 0]) + b"\0" * 22), (58, bytes([128, 0]) + b"\0" * 6)))})
    frames["broadcast"] = ethernet(GUEST, ALL, 0x800, ipv4(GUEST_IP, PEER_IP, 17, udp(5, 6)))
    frames["bpdu"] = ethernet(GUEST, "01:80:c2:00:00:0e", 0x88cc, b"\0" * 46)
    frames["arp for another"] = arp(GUEST, GUEST_IP, "10.9.1.7")
    return frames


def more_from_peer(client):
    def ip(protocol, data, source=PEER_IP):
        return to_guest(ipv4(source, GUEST_IP, protocol, data))
    frames = {f"answer of tcp {port}": ip(6, tcp(port, client, 0x12)) for port in (22, 80, 443)}
    frames.update({f"answer of udp {port}": ip(17, udp(port, client)) for port in (53, 54)})
    frames.update({f"tcp to {port}": ip(6, tcp(client + 2000, port)) for port in (22, 80, 8080)})
    frames.update({f"udp to {port}": ip(17, udp(client + 2000, port)) for port in (53, 68)})
    frames.update({f"icmp {kind}": ip(1, struct.pack(">BBHHH", kind, 0, 0, client, 0)) for kind in (0, 8)})
    frames.update({f"from {address}": ip(17, udp(9, 9), address) for address in (OTHER_IP, "192.168.1.1")})
    frames["dhcp"] = ip(17, udp(67, 68))
    frames["arp"] = arp(PEER, PEER_IP, GUEST_IP)
    frames["arp of another"] = arp(OTHER, OTHER_IP, GUEST_IP)
    frames["ipv6"] = to_guest(ipv6("2001:db8::9", "2001:db8::2", 6, tcp(80, client, 0x12)), 0x86dd)
    frames["icmpv6"] = to_guest(ipv6("2001:db8::9", "2001:db8::2", 58, bytes([136, 0]) + b"\0" * 22),
                                0x86dd)
    frames["unknown protocol"] = to_guest(b"\1" * 50, 0x88b5)
    return frames


def battery(guest, peer, client):
    """How many of each frame got through: first from the guest, then to it."""
    sent = ether.passed(guest, peer, {**good_from_guest(), **bad_from_guest(), **more_from_guest(client)}, 2)
    return {"from guest": sent, "to guest": ether.passed(peer, guest, more_from_peer(client), 2)}


# What belongs to no connection, says the kernel; ours knows only flows, which these are of.
INVALID = {"fragment", "tcp flags 0", "tcp flags 18", "tcp flags 63", "protocol 132", "protocol 136",
           "icmp 0.0", "icmp 8.1"}


def rule(action, direction, match, priority=500, more=""):
    return f"<rule action='{action}' direction='{direction}' priority='{priority}' {more}>{match}</rule>"


DROP_ALL_IP = rule("drop", "inout", "<all/>", 1000)
CUSTOM = {
    "server": rule("accept", "in", "<tcp dstportstart='80'/>") +
    rule("accept", "out", "<udp dstportstart='53'/>") +
    rule("accept", "out", "<icmp type='8'/>") + DROP_ALL_IP,
    "states": rule("accept", "in", "<tcp dstportstart='22' state='NEW,ESTABLISHED'/>") +
    rule("accept", "out", "<all state='ESTABLISHED'/>") +
    rule("accept", "out", "<tcp dstportstart='443' state='NEW'/>") +
    rule("accept", "in", "<all state='ESTABLISHED'/>") + DROP_ALL_IP,
    "client": rule("accept", "out", "<all/>") + DROP_ALL_IP,
    "lists": rule("drop", "out", "<tcp dstipaddr='$PEERS' dstportstart='$PORTS[@1]' dstportend='$ENDS[@1]'/>")
    + rule("drop", "out", "<udp dstportstart='$PORTS[1]'/>"),
    "negated": rule("drop", "out", "<ip match='no' dstipaddr='10.9.0.0' dstipmask='24'/>") +
    rule("drop", "out", "<udp match='no' srcportstart='$CLIENT' srcportend='$CLIENT' dstportstart='50' "
         "dstportend='53'/>") + rule("drop", "out", "<arp match='no' arpdstipaddr='10.9.0.0' "
                                     "arpdstipmask='255.255.255.0'/>"),
    "fields": rule("drop", "out", "<tcp flags='SYN,ACK/SYN'/>") + rule("drop", "out", "<udp dscp='33'/>") +
    rule("drop", "out", "<all dstipfrom='10.9.0.5' dstipto='10.9.0.8'/>") +
    rule("drop", "out", "<igmp/>") + rule("drop", "out", "<esp/>") + rule("drop", "out", "<icmp type='13'/>") +
    rule("drop", "inout", "<mac protocolid='0x88b5'/>") + rule("drop", "in", "<sctp/>") +
    rule("drop", "out", "<mac dstmacaddr='01:80:c2:00:00:00' dstmacmask='ff:ff:ff:ff:ff:00'/>", -950),
    "ipv6": rule("accept", "out", "<tcp-ipv6 dstportstart='80'/>") +
    rule("accept", "out", "<icmpv6 type='135'/>", more="statematch='false'") +
    rule("drop", "inout", "<all-ipv6/>", 1000),
    "order": rule("accept", "out", "<mac protocolid='ipv4'/>", -900) +
    rule("drop", "out", "<ip/>") + rule("continue", "out", "<mac/>", -999) +
    rule("return", "out", "<arp opcode='Reply'/>", 10) + rule("drop", "out", "<arp/>", 20) +
    "<filterref filter='no-ip-multicast'/>",
}
# A filter, and the parameters of its binding.
CASES = [("clean-traffic", {"IP": [GUEST_IP, "10.9.0.3"]}),
         ("clean-traffic-gateway", {"IP": GUEST_IP, "GATEWAY_MAC": PEER}),
         ("allow-dhcp", {}), ("no-mac-broadcast", {}), ("no-ipv6-spoofing", {"IPV6": "2001:db8::3"}),
         ("c-lists", {"PEERS": [PEER_IP, "10.9.0.7"], "PORTS": ["20", "25"], "ENDS": ["22", "25"]})] + \
    [(f"c-{name}", {}) for name in CUSTOM if name != "lists"]


def check_as_libvirt(filters, guest, peer):
    """Every frame fares with our rules as with those of libvirt."""
    with Libvirtd() as real:
        theirs = Filters(real)
        for name, document in documents():
            for side in (filters, theirs):
                side.define(document)
            assert filters.daemon.said("nwfilter-dumpxml", name) == real.said("nwfilter-dumpxml", name)
        for name, body in CUSTOM.items():
            for side in (filters, theirs):
                side.define(f"<filter name='c-{name}'>{body}</filter>")
        for number, (name, parameters) in enumerate(CASES):
            # Ports of its own: the kernel remembers connections of the cases before.
            client = 10000 + number
            theirs.bind(name, CLIENT=str(client), **parameters)
            wanted = battery(guest, peer, client)
            theirs.unbind()
            filters.bind(name, CLIENT=str(client), **parameters)
            got = battery(guest, peer, client)
            skip = INVALID if name in ("c-server", "c-states", "c-client") else ()
            differ = {f"{side}: {frame}": (count, wanted[side][frame]) for side in got
                      for frame, count in got[side].items()
                      if count != wanted[side][frame] and frame not in skip}
            text = rules()
            filters.unbind()
            assert not differ, f"{name}: ours and libvirt's differ: {differ}\n{text}"


def check_clean_traffic(filters, guest, peer):
    filters.bind("clean-traffic", IP=GUEST_IP)
    check(guest, peer, N, good_from_guest())
    check(guest, peer, 0, bad_from_guest())
    check(guest, peer, N, {"announcement": arp(GUEST, "0.0.0.0", "0.0.0.0", 3, GUEST, 0x8035)})
    check(peer, guest, N, {"ipv4": to_guest(ipv4(PEER_IP, GUEST_IP, 17, udp(1, 2))),
                           "arp": arp(PEER, PEER_IP, GUEST_IP)})
    check(peer, guest, 0, {"ipv6": to_guest(ipv6("fe80::9", "fe80::2", 17, udp(1, 2)), 0x86dd)})
    filters.unbind()
    assert "berth" not in rules()
    check(guest, peer, N, {**good_from_guest(), **bad_from_guest()})


def check_definitions(filters):
    daemon = filters.daemon
    names = {line.split()[1] for line in daemon.said("nwfilter-list").splitlines()[2:]}
    stock = {name[:-4] for name in os.listdir("/usr/share/libvirt/nwfilter")}
    assert names >= stock, stock - names
    uuid = daemon.said("nwfilter-dumpxml", "allow-arp").split("<uuid>")[1].split("<")[0]
    assert daemon.said("nwfilter-dumpxml", uuid) == daemon.said("nwfilter-dumpxml", "allow-arp")
    filters.with_xml("nwfilter-define", f"<filter name='allow-arp' chain='arp'><uuid>{uuid}</uuid>"
                     "</filter>", "--validate")
    assert "<rule" not in daemon.said("nwfilter-dumpxml", "allow-arp")
    connection = libvirt.open(daemon.uri())
    assert connection.numOfNWFilters() == len(names) == len(connection.listNWFilters())
    connection.close()


def dhcp_ack(address, lease):
    """RFC 2131: from a server to the guest."""
    message = struct.pack(">BBBBIHH4s4s4s4s16s192s4s", 2, 1, 6, 0, 7, 0, 0, bytes(4), ether.v4(address),
                          bytes(4), bytes(4), ether.mac(GUEST), bytes(192), bytes((99, 130, 83, 99))) + \
        bytes((53, 1, 5, 51, 4)) + struct.pack(">I", lease) + b"\xff"
    return ethernet(PEER, GUEST, 0x800, ipv4(PEER_IP, address, 17, udp(67, 68, message)))


def learnt(filters, guest, peer, address):
    """The guest may use this address and no other."""
    data = udp(7, 7)
    good = {"its address": to_peer(ipv4(address, PEER_IP, 17, data)), "arp": arp(GUEST, address, PEER_IP)}
    bad = {"another": to_peer(ipv4("10.9.0.77", PEER_IP, 17, data)), "arp": arp(GUEST, "10.9.0.77", PEER_IP)}
    filters.daemon.wait(lambda: address in rules(), f"the guest's address is {address}")
    check(guest, peer, N, good)
    check(guest, peer, 0, bad)


def check_busy_guest(daemon, guest):
    """Packets that no lease can be in cost the daemon nothing, how many they are."""
    def ticks():
        with open(f"/proc/{daemon.process.pid}/stat") as file:
            return sum(int(word) for word in file.read().rsplit(")", 1)[1].split()[11:13])
    before = ticks()
    guest.send(to_peer(ipv4("10.9.0.5", PEER_IP, 17, udp(67, 68, b"x" * 900))), 50000)
    assert ticks() - before < 5, f"{ticks() - before} hundredths of a second for the guest's packets"


def check_learning(filters, guest, peer):
    filters.bind("clean-traffic")
    check(guest, peer, 0, {"ipv6": bad_from_guest()["ipv6"], "other MAC": bad_from_guest()["other MAC"]})
    check(guest, peer, N, {"dhcp": good_from_guest()["dhcp"]})
    guest.send(arp(GUEST, "10.9.0.4", PEER_IP))
    learnt(filters, guest, peer, "10.9.0.4")
    # The next daemon knows it, too: the guest cannot choose again.
    filters.daemon.stop(signal.SIGKILL)
    guest.send(arp(GUEST, "10.9.0.77", PEER_IP), 3)
    filters.daemon.start()
    learnt(filters, guest, peer, "10.9.0.4")
    filters.bind("clean-traffic", CTRL_IP_LEARNING="dhcp", DHCPSERVER=PEER_IP)
    check(guest, peer, 0, {"arp": arp(GUEST, "10.9.0.5", PEER_IP),
                           "udp": to_peer(ipv4("10.9.0.5", PEER_IP, 17, udp(7, 7)))})
    check(guest, peer, N, {"dhcp": good_from_guest()["dhcp"]})
    peer.send(dhcp_ack("10.9.0.6", 600).replace(ether.v4(PEER_IP), ether.v4(OTHER_IP)))
    peer.send(dhcp_ack("10.9.0.5", 600))
    learnt(filters, guest, peer, "10.9.0.5")
    check_busy_guest(filters.daemon, guest)
    peer.send(dhcp_ack("10.9.0.5", 2))
    filters.daemon.wait(lambda: "10.9.0.5" not in rules(), "the lease is over")
    check(guest, peer, 0, {"arp": arp(GUEST, "10.9.0.5", PEER_IP)})
    filters.unbind()
    filters.refused("nwfilter-binding-create", binding("clean-traffic", CTRL_IP_LEARNING="none"),
                    "variable 'IP' has no value")
    filters.refused("nwfilter-binding-create", binding("clean-traffic", CTRL_IP_LEARNING="x"), "'x'")


def check_refused_while_learning(filters, guest):
    """A definition that suits one port, which then had nothing to learn, but not the other."""
    daemon, own = filters.daemon, rule("drop", "out", "<ip match='no' srcipaddr='$IP'/>")
    filters.define(f"<filter name='two'>{own}</filter>")
    filters.bind("two", X="10.9.0.1")
    other = binding("two", IP=PEER_IP).replace("vnet0", "vnet9").replace(GUEST, PEER)
    filters.with_xml("nwfilter-binding-create", other)
    filters.refused("nwfilter-define", f"<filter name='two'>{own.replace('$IP', '$X')}</filter>", "'X' has no value")
    guest.send(arp(GUEST, "10.9.0.8", PEER_IP))
    daemon.wait(lambda: "10.9.0.8" in rules(), "the guest's address is still learnt")
    for port in ("vnet0", "vnet9"):
        daemon.virsh("nwfilter-binding-delete", port)
    daemon.virsh("nwfilter-undefine", "two")


def check_changes(filters, guest, peer):
    """In use, flushed, and over the end of the daemon."""
    daemon = filters.daemon
    to = {port: to_peer(ipv4(GUEST_IP, PEER_IP, 17, udp(1, port))) for port in (1, 2, 3)}

    def block(*ports):
        filters.define("<filter name='mine'>" + "".join(
            rule("drop", "out", f"<udp dstportstart='{port}'/>") for port in ports) + "</filter>")

    def blocked(*ports):
        got = ether.passed(guest, peer, to, N)
        assert got == {port: 0 if port in ports else N for port in to}, (got, rules())

    block(1)
    filters.define("<filter name='outer'><filterref filter='mine'/></filter>")
    filters.bind("outer")
    blocked(1)
    block(2, 3)
    blocked(2, 3)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    daemon.wait(lambda: "berth-port-vnet0" in rules(), "the rules are back")
    blocked(2, 3)
    lines = rules().count("\n")
    subprocess.run(["nft", "flush", "table", "netdev", "berth-port-vnet0"], check=True)
    daemon.wait(lambda: rules().count("\n") == lines, "single rules are back")
    blocked(2, 3)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        daemon.stop(sign)
        blocked(2, 3)
        daemon.start()
        blocked(2, 3)
    assert "vnet0" in daemon.said("nwfilter-binding-list")
    result = daemon.virsh("nwfilter-undefine", "mine", check=False)
    assert "nwfilter is in use" in result.stdout, result.stdout
    filters.refused("nwfilter-define", "<filter name='mine'><filterref filter='outer'/></filter>", "loop")
    filters.refused("nwfilter-define", "<filter name='mine'><filterref filter='none'/></filter>",
                    "'none' is missing")
    filters.refused("nwfilter-define", "<filter name='mine'>" + rule(
        "drop", "out", "<ip srcipaddr='$NOT_GIVEN'/>") + "</filter>", "NOT_GIVEN")
    blocked(2, 3)
    filters.refused("nwfilter-binding-create", binding("outer"), "already exists")
    filters.unbind()
    filters.refused("nwfilter-binding-create", binding("outer").replace("vnet0", "vnet7"), "'vnet7'")
    filters.refused("nwfilter-binding-create", binding("none"), "'none' is missing")
    for name in ("outer", "mine"):
        daemon.virsh("nwfilter-undefine", name)
    assert "mine" not in daemon.said("nwfilter-list") and "berth-port" not in rules()


def check_many(filters):
    """More rules than the kernel can tell of at once: they are made once, and again if they are gone."""
    daemon = filters.daemon
    filters.define("<filter name='many'>" + rule("drop", "out", "<udp dstportstart='$PORTS'/>") + "</filter>")
    filters.bind("many", PORTS=[str(port) for port in range(2000, 5000)])

    def back():
        with open(daemon.log) as log:
            return log.read().count("the filter of 'vnet0' was gone")

    before = back()
    time.sleep(1)
    assert back() == before, "rules that are there are made again and again"
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    daemon.wait(lambda: back() == before + 1 and "4999" in rules(), "the rules are back")
    filters.unbind()
    daemon.virsh("nwfilter-undefine", "many")


def check_reject(filters, guest, peer):
    """The guest is told so; nothing goes out."""
    filters.define("<filter name='no'>" + rule("reject", "out", "<udp dstportstart='9'/>") + "</filter>")
    filters.bind("no")
    guest.read(0)
    check(guest, peer, 0, {"udp": to_peer(ipv4(GUEST_IP, PEER_IP, 17, udp(8, 9)))})
    answers = guest.read()
    assert len(answers) == N and all(a[23] == 1 and a[34:36] == bytes((3, 3)) for a in answers), answers
    filters.unbind()


DOMAIN = """<domain type='qemu'><name>vm</name><uuid>12ac8b8c-4f23-4248-ae42-fdcd50c40001</uuid>
<memory>65536</memory><os><type machine='q35'>hvm</type></os><features><acpi/></features><devices>{}</devices></domain>"""
CARD = """<interface type='bridge'><mac address='{}'/><source bridge='br0'/><model type='virtio'/>{}
</interface>"""


def reference(name, address):
    return f"<filterref filter='{name}'><parameter name='IP' value='{address}'/></filterref>"


def check_domain(filters):
    """A guest has its filter from its start to its end, and may get another."""
    daemon = filters.daemon
    before = rules()
    filters.with_xml("define", DOMAIN.format(CARD.format(GUEST, reference("clean-traffic", GUEST_IP))))
    for name in ("a;b", "x%d", "a" * 16, "-x"):
        card = CARD.format(GUEST, f"<target dev='{name}'/>")
        filters.refused("define", DOMAIN.format(card), "is no name of a network device")
    daemon.virsh("start", "vm", "--paused")
    port = daemon.said("domiflist", "vm").splitlines()[2].split()[0]
    assert f"<portdev name='{port}'/>" in daemon.said("nwfilter-binding-dumpxml", port)
    assert GUEST_IP in rules() and f'device "{port}"' in rules()
    with open(filters.path, "w") as file:
        file.write(CARD.format(GUEST, reference("clean-traffic", OTHER_IP)))
    daemon.virsh("update-device", "vm", filters.path, "--live")
    assert OTHER_IP in rules() and GUEST_IP not in rules()
    made = subprocess.run(["nft", "-a", "list", "ruleset"], check=True, stdout=subprocess.PIPE)
    daemon.virsh("domif-setlink", "vm", port, "down")
    again = subprocess.run(["nft", "-a", "list", "ruleset"], check=True, stdout=subprocess.PIPE)
    assert again.stdout == made.stdout, "a filter that stays the same is made anew, and forgets its flows"
    with open(filters.path, "w") as file:
        file.write(CARD.format(PEER, reference("no-mac-spoofing", OTHER_IP)))
    daemon.virsh("attach-device", "vm", filters.path, "--live")
    assert len(daemon.said("nwfilter-binding-list").splitlines()) == 4
    with open(filters.path, "w") as file:
        file.write(CARD.format(OTHER, reference("none", OTHER_IP)))
    assert "'none' is missing" in daemon.virsh("attach-device", "vm", filters.path, check=False).stdout
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert len(daemon.said("nwfilter-binding-list").splitlines()) == 4
    daemon.virsh("destroy", "vm")
    assert len(daemon.said("nwfilter-binding-list").splitlines()) == 2 and rules() == before
    daemon.virsh("undefine", "vm")


def check_old_binding(filters):
    """A binding by hand to a device that has gone is not in the way of the next one of its name."""
    daemon = filters.daemon
    for filtered in (False, True):
        more = reference("clean-traffic", GUEST_IP) if filtered else ""
        filters.with_xml("define", DOMAIN.format(CARD.format(GUEST, more)))
        daemon.virsh("start", "vm", "--paused")
        port = daemon.said("domiflist", "vm").splitlines()[2].split()[0]
        if not filtered:
            filters.with_xml("nwfilter-binding-create", binding("allow-arp").replace("vnet0", port))
        else:
            assert "clean-traffic" in daemon.said("nwfilter-binding-dumpxml", port)
        daemon.virsh("destroy", "vm")
    assert "berth-port" not in rules()
    daemon.virsh("undefine", "vm")


def main():
    guest, peer = make_wires()
    with Daemon() as daemon:
        filters = Filters(daemon)
        check_definitions(filters)
        check_clean_traffic(filters, guest, peer)
        check_reject(filters, guest, peer)
        check_learning(filters, guest, peer)
        check_refused_while_learning(filters, guest)
        check_changes(filters, guest, peer)
        check_many(filters)
        check_domain(filters)
        check_old_binding(filters)
        check_as_libvirt(filters, guest, peer)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, missing


main()
