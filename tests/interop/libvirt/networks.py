#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual networks with guests in them: two Debian kernels with a card in a NAT, a routed, an isolated
and a bridged network each, and an outside host, all in namespaces of this test."""
import json
import os
import re
import signal
import socket
import sys
import time

import event_loop
import libvirt
import netspace
from private import CLIENT, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

COVERS = """
NETWORK_DEFINE_XML NETWORK_CREATE NETWORK_CREATE_XML NETWORK_DESTROY NETWORK_UNDEFINE NETWORK_UPDATE
NETWORK_GET_XML_DESC NETWORK_GET_DHCP_LEASES NETWORK_SET_AUTOSTART NETWORK_GET_AUTOSTART
NETWORK_GET_BRIDGE_NAME NETWORK_IS_ACTIVE NETWORK_IS_PERSISTENT CONNECT_LIST_ALL_NETWORKS
CONNECT_NETWORK_EVENT_REGISTER_ANY NETWORK_LOOKUP_BY_NAME NETWORK_LOOKUP_BY_UUID
CONNECT_NUM_OF_NETWORKS CONNECT_LIST_NETWORKS CONNECT_NUM_OF_DEFINED_NETWORKS
CONNECT_LIST_DEFINED_NETWORKS DOMAIN_INTERFACE_ADDRESSES
"""

NETWORKS = {
    "nat": """<network><name>nat</name>
  <metadata><b:forwards xmlns:b='urn:berth:network:port-forward:1'>
    <b:forward protocol='tcp' port='8080' to='192.168.100.50' to-port='80'/></b:forwards></metadata>
  <forward mode='nat'/><bridge name='natbr' stp='off'/>
  <domain name='inside' localOnly='yes'/>
  <dns><txt name='motto.inside' value='small and own'/>
    <srv service='www' protocol='tcp' domain='inside' target='alice.inside' port='80'/>
    <host ip='192.168.100.77'><hostname>printer</hostname></host></dns>
  <ip address='192.168.100.1' netmask='255.255.255.0'><dhcp>
    <range start='192.168.100.100' end='192.168.100.120'/>
    <host mac='52:54:00:00:01:00' name='alice' ip='192.168.100.50'/></dhcp></ip></network>""",
    "routed": """<network><name>routed</name><forward mode='route' dev='out0'/>
  <bridge name='routebr' stp='off'/><mtu size='1400'/>
  <ip address='192.168.101.1' prefix='24'><dhcp>
    <range start='192.168.101.10' end='192.168.101.20'/></dhcp></ip>
  <ip family='ipv6' address='fd00:101::1' prefix='64'><dhcp>
    <range start='fd00:101::100' end='fd00:101::1ff'/></dhcp></ip></network>""",
    "alone": """<network><name>alone</name><bridge name='alonebr' stp='off'/>
  <ip address='192.168.102.1' netmask='255.255.255.0'><dhcp>
    <range start='192.168.102.10' end='192.168.102.20'/></dhcp></ip>
  <ip family='ipv6' address='fd00:102::1' prefix='64'/></network>""",
    "segment": """<network><name>segment</name><forward mode='bridge'/>
  <bridge name='segbr'/></network>""",
}

NIC = """<interface type='network'><mac address='52:54:00:00:0{guest}:0{card}'/>
  <source network='{network}'/><model type='virtio'/></interface>"""

GUEST = """<domain type='qemu'><name>g{guest}</name><memory unit='MiB'>160</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 berth.modules=virtio_pci,virtio_net,af_packet,ahci berth.run=while,true;do,setsid,cttyhack,sh;done</cmdline></os>
  <features><acpi/><apic/></features><devices>{nics}<memballoon model='none'/>
    <serial type='pty'/><console type='pty'/></devices></domain>"""

# What udhcpc calls: the address, and the name server of the NAT network's card.
SCRIPT = r"""cat >/tmp/dhcp <<'END'
[ "$1" = bound ] || exit 0
ip address add $ip/$mask dev $interface
[ -z "$router" ] || [ $interface != eth0 ] || ip route add default via $router
[ $interface != eth0 ] || printf 'nameserver %s\nsearch %s\n' "$dns" "$domain" >/etc/resolv.conf
END
chmod +x /tmp/dhcp"""


# A page, and another that tells what the guest sees of the outside.
WEB = r"""mkdir -p /www/cgi-bin; echo hello from g1 >/www/index.html
cat >/www/cgi-bin/look <<'END'
#!/bin/sh
echo
nslookup printer.inside
printf 'GET / HTTP/1.0\r\n\r\n' | timeout 30 nc -w 20 10.9.0.2 7000
END
chmod +x /www/cgi-bin/look; httpd -h /www"""


def nics(number):
    return "".join(NIC.format(guest=number, card=card, network=name)
                   for card, name in enumerate(NETWORKS))


def console(daemon, name):
    return testlib.Guest(["script", "-qfec", f"{CLIENT} -c '{daemon.uri()}' console {name} --force",
                          "/dev/null"])


def traces(daemon):
    """All of a network that may be left on a host."""
    links = sorted(link["ifname"] for link in json.loads(netspace.run("ip", "-j", "link")))
    routes = sorted(netspace.run("ip", "route").split("\n") + netspace.run("ip", "-6", "route").split("\n"))
    files = sorted(os.path.join(folder, name) for top in ("networks-run", "networks-active")
                   for folder, _, names in os.walk(os.path.join(daemon.top, "state", top))
                   for name in names)
    servers = [line for line in netspace.run("ps", "-eo", "stat,args").split("\n")
               if daemon.top in line and "dnsmasq" in line and not line.startswith("Z")]
    return links, routes, netspace.run("nft", "list", "ruleset"), files, servers


class Events:
    """What happens to networks."""

    def __init__(self, daemon):
        self.seen = []
        self.conn = libvirt.open(daemon.uri())
        self.conn.networkEventRegisterAny(
            None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE,
            lambda conn, net, event, detail, opaque: self.seen.append((net.name(), event)), None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.conn.close()


def start_networks(daemon, outside):
    outside.cable("out0", "eth0", "10.9.0.2/24")
    netspace.run("ip", "address", "add", "10.9.0.1/24", "dev", "out0")
    netspace.run("ip", "address", "add", "fd00:9::1/64", "dev", "out0", "nodad")
    outside.run("ip", "address", "add", "fd00:9::2/64", "dev", "eth0", "nodad")
    netspace.run("ip", "link", "add", "segbr", "type", "bridge")
    netspace.run("ip", "link", "set", "segbr", "up")
    outside.cable("seg0", "seg", "10.8.0.2/24")
    netspace.run("ip", "link", "set", "seg0", "master", "segbr")
    # It knows the way to each of them: what does not come through is not let through.
    for number in (100, 101, 102):
        outside.run("ip", "route", "add", f"192.168.{number}.0/24", "via", "10.9.0.1")
    outside.run("ip", "route", "add", "fd00:101::/64", "via", "fd00:9::1")
    outside.answer(7000)
    outside.answer(7006, socket.AF_INET6)
    before = traces(daemon)
    for name, xml in NETWORKS.items():
        path = os.path.join(daemon.top, name + ".xml")
        with open(path, "w") as file:
            file.write(xml)
        daemon.virsh("net-define", path)
        daemon.virsh("net-start", name)
    daemon.virsh("net-autostart", "nat")
    return before


def addresses(guest, count):
    """Leases on the first `count` cards; returns the addresses."""
    guest.run(SCRIPT, 60)
    for card in range(4):
        guest.run(f"ip link set eth{card} up", 60)
    for card in range(count):
        guest.run(f"udhcpc -q -n -t 20 -T 1 -i eth{card} -s /tmp/dhcp >/dev/null 2>&1", 120)
    text = guest.run("ip -4 -o address", 60)
    return [re.search(rf"eth{card} +inet ([0-9.]+)/24", text).group(1) for card in range(count)]


def check_leases(daemon, one, two):
    """What the guests have is what the host says, from every side."""
    assert one[0] == "192.168.100.50", one
    assert 100 <= int(two[0].split(".")[3]) <= 120, two
    listed = daemon.said("net-dhcp-leases", "nat")
    assert f"{one[0]}/24" in listed and f"{two[0]}/24" in listed and "alice" in listed, listed
    only = daemon.said("net-dhcp-leases", "nat", "52:54:00:00:01:00")
    assert one[0] in only and two[0] not in only, only
    known = daemon.said("domifaddr", "g2")
    for address in two:
        assert f"{address}/24" in known, known
    assert daemon.said("domiflist", "g1").count("network") == 4
    assert "connections='2'" in daemon.said("net-dumpxml", "nat")
    seen = daemon.said("domifaddr", "g1", "--source", "arp")
    assert one[0] in seen, seen


def check_names(guest):
    """DNS of the NAT network, by the guest's own resolver."""
    assert "192.168.100.50" in guest.run("nslookup alice.inside", 60)
    assert "192.168.100.77" in guest.run("nslookup printer.inside", 60)
    assert "small and own" in guest.run("nslookup -type=txt motto.inside", 60)
    assert "alice.inside" in guest.run("nslookup -type=srv _www._tcp.inside", 60)


def fetch(guest, address, port):
    """What a server tells the guest, or nothing."""
    return guest.run(f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 30 nc -w 20 {address} {port}; true", 60)


def check_nat(outside, one, two, mine, theirs):
    one.run(f"ping -c 1 -W 10 {theirs[0]}", 60)
    # Under the host's address, and never by its own.
    assert "from 10.9.0.1" in fetch(one, "10.9.0.2", 7000)
    assert "hello from" not in outside.get(mine[0], 80)
    assert "hello from g1" in outside.get("10.9.0.1", 8080)
    # Also for a neighbour, who goes out to the host and comes back in.
    assert "hello from g1" in fetch(two, "10.9.0.1", 8080)


def check_routed(outside, one, mine, theirs):
    one.run("ip route del default; ip route add default via 192.168.101.1", 60)
    one.run(f"ping -c 1 -W 10 {theirs[1]}", 60)
    assert f"from {mine[1]}" in fetch(one, "10.9.0.2", 7000)
    assert "hello from g1" in outside.get(mine[1], 80)
    # The network's MTU is the tap's, and the guest has been told.
    assert "1400" in one.run("cat /sys/class/net/eth1/mtu", 60)


def check_ipv6(daemon, one):
    """Addresses by a router's advertisement in one network, by DHCPv6 in another, which is routed."""
    one.run("n=0; until ip -6 address show dev eth2 | grep -q fd00:102:: || [ $n = 60 ]; do "
            "n=$((n + 1)); sleep 1; done; ping -6 -c 1 -W 10 fd00:102::1", 120)
    mac = "52:54:00:00:00:66"
    with netspace.Host() as neighbour:
        neighbour.cable("nb0", "eth0", "192.168.101.66/24", mac=mac)
        netspace.run("ip", "link", "set", "nb0", "master", "routebr")
        given = neighbour.lease_ipv6("eth0", mac)
        assert re.fullmatch("fd00:101::1[0-9a-f]{2}", given), given
        assert f"{given}/64" in daemon.said("net-dhcp-leases", "routed", mac)
        neighbour.run("ip", "address", "add", given + "/64", "dev", "eth0", "nodad")
        daemon.wait(lambda: "default" in neighbour.run("ip", "-6", "route"), "the router is known")
        assert f"from {given}" in neighbour.get("[fd00:9::2]", 7006)


def check_alone(outside, one, mine, theirs):
    one.run("ip route del default; ip route add default via 192.168.102.1 dev eth2", 60)
    one.run(f"ping -c 1 -W 10 {theirs[2]}", 60)
    assert "from" not in fetch(one, "10.9.0.2", 7000)
    assert "hello from" not in outside.get(mine[2], 80)
    one.run("ip route del default; ip route add default via 192.168.100.1", 60)


def check_segment(outside, one):
    """On the outer segment with its own MAC address."""
    one.run("ip address add 10.8.0.11/24 dev eth3", 60)
    one.run("ping -c 1 -W 10 10.8.0.2", 60)
    assert "52:54:00:00:01:03" in outside.run("ip", "neighbour", "show", "10.8.0.11")


def check_updates(daemon, two):
    """Sections of a running network, in both documents, and seen by the guests."""
    add = ["net-update", "nat", "add"]
    daemon.virsh(*add, "dns-host", "<host ip='192.168.100.99'><hostname>scanner</hostname></host>",
                 "--live", "--config")
    daemon.virsh(*add, "ip-dhcp-host", "<host mac='52:54:00:00:00:99' name='carol' ip='192.168.100.60'/>",
                 "--live", "--config")
    two.run("n=0; until nslookup scanner.inside | grep -q 192.168.100.99 || [ $n = 20 ]; do n=$((n + 1)); "
            "sleep 1; done; [ $n != 20 ]", 120)
    for flag in ([], ["--inactive"]):
        assert "carol" in daemon.said("net-dumpxml", "nat", *flag)
    again = daemon.virsh(*add, "ip-dhcp-host", "<host mac='52:54:00:00:00:99' ip='192.168.100.61'/>",
                         check=False).stdout
    assert "existing" in again, again
    daemon.virsh("net-update", "nat", "modify", "ip-dhcp-host",
                 "<host mac='52:54:00:00:00:99' name='dora' ip='192.168.100.62'/>", "--live")
    assert "dora" in daemon.said("net-dumpxml", "nat")
    daemon.virsh("net-update", "nat", "delete", "ip-dhcp-host", "<host name='carol'/>", "--config")
    assert "carol" not in daemon.said("net-dumpxml", "nat", "--inactive")
    refused = daemon.virsh(*add, "ip-dhcp-range", "<range start='10.0.0.1' end='10.0.0.5'/>", check=False)
    assert refused.returncode == 1 and "nat" in refused.stdout, refused.stdout


def check_hotplug(daemon, two):
    path = os.path.join(daemon.top, "nic.xml")
    with open(path, "w") as file:
        file.write(NIC.format(guest=2, card=9, network="nat"))
    daemon.virsh("attach-device", "g2", path, "--live")
    two.run("n=0; until [ -e /sys/class/net/eth4 ] || [ $n = 60 ]; do n=$((n + 1)); sleep 1; done; "
            "ip link set eth4 up; ip route del 192.168.100.0/24; "
            "ip address add 192.168.100.200/24 dev eth4; ping -I eth4 -c 1 -W 10 192.168.100.50", 120)
    assert "connections='3'" in daemon.said("net-dumpxml", "nat")
    taps = re.findall(r"vnet\d+", daemon.said("domiflist", "g2"))
    assert len(taps) == 5 and "<target dev" not in daemon.said("dumpxml", "g2", "--inactive"), taps
    daemon.virsh("domif-setlink", "g2", taps[-1], "down")
    two.run("sleep 1; [ $(cat /sys/class/net/eth4/carrier) = 0 ]", 60)
    daemon.virsh("detach-interface", "g2", "network", "--mac", "52:54:00:00:02:09", "--live")
    daemon.wait(lambda: "connections='2'" in daemon.said("net-dumpxml", "nat"), "the port is free")
    assert taps[-1] not in netspace.run("ip", "link")
    two.run("ip route add 192.168.100.0/24 dev eth0; ping -c 1 -W 10 192.168.100.50", 60)


def listed_rules():
    """In an order of their own: tables stand in that in which they were made."""
    return sorted(netspace.run("nft", "-s", "list", "ruleset").split("table "))


def check_kinds(daemon, outside, two):
    """Cards on a bridge without a network, and on a tap device that somebody else has made."""
    netspace.run("ip", "tuntap", "add", "mine", "mode", "tap", "vnet_hdr")
    netspace.run("ip", "link", "set", "mine", "master", "segbr", "up")
    kinds = {"bridge": "<source bridge='segbr'/><target dev='seg2'/><mtu size='1300'/>",
             "ethernet": "<target dev='mine' managed='no'/>"}
    for number, (kind, where) in enumerate(kinds.items()):
        path, mac = os.path.join(daemon.top, "kind.xml"), f"52:54:00:00:02:3{number}"
        with open(path, "w") as file:
            file.write(f"<interface type='{kind}'><mac address='{mac}'/>{where}<model type='virtio'/></interface>")
        daemon.virsh("attach-device", "g2", path, "--live")
        two.run("n=0; until [ -e /sys/class/net/eth4 ] || [ $n = 60 ]; do n=$((n + 1)); sleep 1; done; "
                f"ip link set eth4 up; ip address add 10.8.0.2{number}/24 dev eth4; "
                "ping -I eth4 -c 1 -W 20 10.8.0.2", 120)
        assert mac in outside.run("ip", "neighbour", "show", f"10.8.0.2{number}")
        assert ("1300" if kind == "bridge" else "1500") in two.run("cat /sys/class/net/eth4/mtu", 60)
        daemon.virsh("detach-device", "g2", path, "--live")
        daemon.wait(lambda: mac not in daemon.said("domiflist", "g2"), "the card is gone")
    links = netspace.run("ip", "link")
    assert "seg2" not in links and "mine" in links, links
    netspace.run("ip", "link", "delete", "mine")


def kill_dnsmasq(daemon):
    with open(os.path.join(daemon.top, "state", "networks-run", "natbr.pid")) as file:
        os.kill(int(file.read()), signal.SIGKILL)


def check_recovery(daemon, outside):
    """Killed and flushed, everything comes back by itself, and guests notice little."""
    rules = listed_rules()
    netspace.run("nft", "-f", "-", data="table ip other { }")
    netspace.run("nft", "flush", "ruleset")
    daemon.wait(lambda: listed_rules() == rules, "the rules are there again")
    daemon.stop(signal.SIGKILL)
    assert "hello from g1" in outside.get("10.9.0.1", 8080)
    kill_dnsmasq(daemon)
    netspace.run("nft", "flush", "ruleset")
    assert "hello from g1" not in outside.get("10.9.0.1", 8080)
    daemon.start()
    assert listed_rules() == rules
    assert "hello from g1" in outside.get("10.9.0.1", 8080)
    kill_dnsmasq(daemon)
    # What the guest itself sees: it looks when it is asked to.
    daemon.wait(lambda: "192.168.100.77" in outside.get("10.9.0.1", 8080, "/cgi-bin/look"), "names resolve")
    assert "from 10.9.0.1" in outside.get("10.9.0.1", 8080, "/cgi-bin/look")
    assert "192.168.100.50/24" in daemon.said("net-dhcp-leases", "nat")
    assert "192.168.100.50/24" in daemon.said("domifaddr", "g1")
    assert "connections='2'" in daemon.said("net-dumpxml", "nat")


def check_lists(daemon):
    conn = libvirt.open(daemon.uri())
    assert sorted(conn.listNetworks()) == sorted(NETWORKS) and conn.numOfNetworks() == 4
    idle = conn.networkDefineXML("<network><name>idle</name></network>")
    assert conn.listDefinedNetworks() == ["idle"] and conn.numOfDefinedNetworks() == 1
    assert "idle   " in daemon.said("net-list", "--inactive") and "nat" in daemon.said("net-list")
    idle.undefine()
    net = conn.networkLookupByName("nat")
    assert net.bridgeName() == "natbr" and net.autostart() == 1 and net.isActive() and net.isPersistent()
    assert conn.networkLookupByUUID(net.UUID()).name() == "nat"
    brief = conn.networkCreateXML("<network><name>brief</name></network>")
    assert not brief.isPersistent() and brief.bridgeName() == "virbr0"
    brief.destroy()
    assert "brief" not in conn.listNetworks()
    taken = "<network><name>taken</name><ip address='10.9.0.77' prefix='24'/></network>"
    try:
        conn.networkCreateXML(taken)
        raise AssertionError("a network may have the addresses of an interface")
    except libvirt.libvirtError as error:
        assert "in use already by interface out0" in str(error), error
    conn.close()


def check_clients(daemon):
    """virsh and berth print the same of what there is."""
    with open(os.path.join(daemon.top, "bad.xml"), "w") as file:
        file.write("<network><name>bad</name><forward mode='sideways'/></network>")
    daemon.compare(
        ["net-list"], ["net-list", "--all"], ["net-list", "--uuid"], ["net-list", "--name", "--autostart"],
        ["net-list", "--transient"], ["net-list", "--inactive", "--persistent"], ["net-info", "nat"],
        ["net-info", "segment"], ["net-dumpxml", "nat"], ["net-dumpxml", "routed", "--inactive"],
        ["net-dhcp-leases", "nat"], ["net-dhcp-leases", "nat", "--mac", "52:54:00:00:01:00"],
        ["net-dhcp-leases", "routed"], ["net-uuid", "alone"], ["net-port-list", "nat"], ["domiflist", "g1"],
        ["domifaddr", "g1"], ["domif-getlink", "g1", "52:54:00:00:01:00"], ["net-list", "--table", "--all"],
        ["net-metadata", "nat", "urn:berth:network:port-forward:1"], ["net-desc", "nat"],
        ["net-info", "nobody"], ["net-start", "nat"], ["net-define", os.path.join(daemon.top, "bad.xml")],
        ["net-update", "nat", "add", "ip-dhcp-range", "<range start='10.0.0.1' end='10.0.0.5'/>"],
        ["net-destroy", "nobody"], ["iface-list"], ["iface-list", "--all"], ["iface-dumpxml", "segbr"],
        ["iface-mac", "out0"], ["nwfilter-list"], ["nwfilter-dumpxml", "clean-traffic"],
        ["nwfilter-binding-list"], ["nwfilter-dumpxml", "nothing"])


def main():
    netspace.enter()
    event_loop.begin()
    kernel, initrd = testlib.kernel("cloud")
    with netspace.Host() as outside, Daemon() as daemon, Events(daemon) as events:
        before = start_networks(daemon, outside)
        for number in (1, 2):
            path = os.path.join(daemon.top, f"g{number}.xml")
            with open(path, "w") as file:
                file.write(GUEST.format(guest=number, kernel=kernel, initrd=initrd, nics=nics(number)))
            daemon.virsh("define", path)
            daemon.virsh("start", f"g{number}")
        with console(daemon, "g1") as one, console(daemon, "g2") as two:
            for guest in (one, two):
                guest.wake(300)
            one.run(WEB, 60)
            mine, theirs = addresses(one, 3), addresses(two, 3)
            check_leases(daemon, mine, theirs)
            check_names(two)
            check_nat(outside, one, two, mine, theirs)
            check_routed(outside, one, mine, theirs)
            check_ipv6(daemon, one)
            check_alone(outside, one, mine, theirs)
            check_segment(outside, one)
            check_updates(daemon, two)
            check_hotplug(daemon, two)
            check_kinds(daemon, outside, two)
            check_lists(daemon)
            check_clients(daemon)
            daemon.wait(lambda: ("nat", libvirt.VIR_NETWORK_EVENT_STARTED) in events.seen, "events")
        check_recovery(daemon, outside)
        for number in (1, 2):
            daemon.virsh("destroy", f"g{number}")
        for name in NETWORKS:
            daemon.virsh("net-destroy", name)
            daemon.virsh("net-undefine", name)
        time.sleep(0.2)
        after = traces(daemon)
        assert before == after, f"left behind:\n{before}\n{after}"
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
