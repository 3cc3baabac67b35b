#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Open vSwitch: what its database says of guests' ports is what libvirtd would have it say, frames carry
the VLAN tags of their ports, and nothing of a guest stays there."""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

import ether
import libvirt
from private import Daemon
from real_libvirtd import Libvirtd
from vswitch import Switch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

NETWORK = """<network><name>ovs</name><forward mode='bridge'/><bridge name='sw0'/>
<vlan trunk='yes'><tag id='5' nativeMode='untagged'/><tag id='6'/></vlan>
<virtualport type='openvswitch'><parameters profileid='gold'/></virtualport>
<portgroup name='five' default='yes'><vlan><tag id='5'/></vlan><bandwidth>
<inbound average='1000' peak='2000' burst='64'/><outbound average='500' burst='32'/></bandwidth></portgroup>
<portgroup name='six'><vlan><tag id='6'/></vlan></portgroup><portgroup name='trunk'/></network>"""
DOMAIN = """<domain type='qemu'><name>vm</name><memory>{memory}</memory>
<os><type machine='q35'>hvm</type>{boot}</os><features><acpi/></features><devices>{cards}
<serial type='pty'/><console type='pty'/></devices></domain>"""
CARD = """<interface type='{kind}'><mac address='52:54:00:00:00:0{number}'/><source {source}/>{more}
<model type='virtio'/></interface>"""
ID = "09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f"


def card(number, group=None, more="", kind="network"):
    source = "bridge='sw0'" if kind == "bridge" else "network='ovs'"
    return CARD.format(kind=kind, number=number, more=more,
                       source=source + (f" portgroup='{group}'" if group else ""))


CARDS = "".join([
    card(1),
    card(2, "trunk", f"<virtualport><parameters interfaceid='{ID}'/></virtualport>"),
    card(3, "trunk", "<vlan trunk='yes'><tag id='9'/><tag id='10' nativeMode='tagged'/></vlan>"),
    card(4, "six"),
    card(5, more=f"""<virtualport type='openvswitch'><parameters interfaceid='{ID}' profileid='silver'/>
</virtualport><vlan trunk='yes'><tag id='7'/></vlan>""", kind="bridge"),
    card(6, more="<virtualport type='openvswitch'/>", kind="bridge")])


def put(daemon, xml, *command, check=True):
    path = os.path.join(daemon.top, "x.xml")
    with open(path, "w") as file:
        file.write(xml)
    return daemon.virsh(*command, path, check=check)


def settle(text):
    """Without what each daemon makes up, and the device's name, which libvirtd notes of some only."""
    text = re.sub(r'\["ifname", "vnet\d"\],? ?', "", text)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
                  lambda found: ID if found.group() == ID else "ID", text)


def rows(switch, owner):
    """What the database has of the ports, and of their queues."""
    result = []
    for name in sorted(set(switch.ports("sw0")) - {"trunk0"}):
        result.append([switch.row("Port", name, "name", "tag", "trunks", "vlan_mode"),
                       switch.row("Interface", name, "external_ids", "ingress_policing_rate",
                                  "ingress_policing_burst", "type", "options")])
    for table in ("QoS", "Queue"):
        data = json.loads(switch.vsctl("--format=json", "--columns=other_config,external_ids", "find", table,
                                       f"external_ids:vm-id={owner}"))["data"]
        result.append([table, data])
    return settle(json.dumps(result, sort_keys=True))


def started(daemon, switch):
    put(daemon, NETWORK, "net-define")
    daemon.virsh("net-start", "ovs")
    put(daemon, DOMAIN.format(memory=65536, boot="", cards=CARDS), "define")
    daemon.virsh("start", "vm", "--paused")
    return rows(switch, daemon.said("domuuid", "vm"))


def ports_xml(daemon):
    uuids = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", daemon.said("net-port-list", "ovs"))
    xml = sorted(daemon.said("net-port-dumpxml", "ovs", "--port", uuid) for uuid in uuids)
    return settle("\n".join(sorted(xml, key=lambda text: re.search("mac address='(.*?)'", text).group(1))))


def clean(switch):
    return switch.ports("sw0") == ["trunk0"] and \
        not json.loads(switch.vsctl("--format=json", "list", "QoS"))["data"] and \
        not json.loads(switch.vsctl("--format=json", "list", "Queue"))["data"]


def check_rows(daemon, switch):
    """The same as libvirtd's, which leaves its queues behind."""
    with Libvirtd() as real:
        wanted, wanted_ports = started(real, switch), ports_xml(real)
        real.virsh("destroy", "vm")
        for table in ("QoS", "Queue"):
            switch.vsctl("--all", "destroy", table)
    got = started(daemon, switch)
    assert got == wanted, f"{got}\nlibvirt:\n{wanted}"
    got = ports_xml(daemon)
    assert got == wanted_ports, f"{got}\nlibvirt:\n{wanted_ports}"


def tag_of(switch, number):
    device = next(name for name in switch.ports("sw0") if name != "trunk0" and
                  f"00:0{number}" in json.dumps(switch.row("Interface", name, "external_ids")))
    return switch.row("Port", device, "tag")["tag"], device


def policing(switch, device):
    return switch.row("Interface", device, "ingress_policing_rate")["ingress_policing_rate"]


def check_changes(daemon, switch):
    """A running card's tags, portgroup and limits; what cannot change is refused, and nothing has changed."""
    put(daemon, card(4, "six", "<vlan><tag id='77'/></vlan>"), "update-device", "vm", "--live")
    assert tag_of(switch, 4)[0] == 77
    put(daemon, card(4, "five"), "update-device", "vm", "--live")
    tag, device = tag_of(switch, 4)
    assert tag == 5 and policing(switch, device) == 4000
    result = put(daemon, card(4, "five", "<virtualport><parameters profileid='tin'/></virtualport>"),
                 "update-device", "vm", "--live", check=False)
    assert result.returncode and "two values of profileid" in result.stdout, result.stdout
    assert tag_of(switch, 4)[0] == 5
    put(daemon, card(4, "six"), "update-device", "vm", "--live")
    assert policing(switch, device) == 0
    daemon.virsh("domiftune", "vm", device, "--inbound", "100", "--live")
    assert switch.row("Port", device, "qos")["qos"][0] == "uuid"
    daemon.virsh("domiftune", "vm", device, "--inbound", "0", "--live")
    assert switch.row("Port", device, "qos")["qos"] == ["set", []]
    put(daemon, card(6, more="<virtualport type='openvswitch'/><vlan><tag id='8'/></vlan>", kind="bridge"),
        "update-device", "vm", "--live")
    assert tag_of(switch, 6)[0] == 8
    put(daemon, card(7, "six"), "attach-device", "vm", "--live")
    assert tag_of(switch, 7)[0] == 6


def check_kept(daemon, switch):
    """A port that somebody has removed is there again with the next daemon; and a guest that ended without
    one leaves nothing."""
    before = rows(switch, daemon.said("domuuid", "vm"))
    daemon.stop(signal.SIGKILL)
    switch.vsctl("del-port", tag_of(switch, 3)[1])
    daemon.start()
    assert rows(switch, daemon.said("domuuid", "vm")) == before
    daemon.virsh("destroy", "vm")
    assert clean(switch), switch.vsctl("show")


REFUSED = [
    (card(1, more="<filterref filter='clean-traffic'/>"), "filterref is not supported"),
    (card(1, more="<port isolated='yes'/>"), "<port isolated='yes'/> is not supported"),
    (card(1, more="<vlan><tag id='5'/></vlan>", kind="bridge"), "vlan tag not supported"),
    (card(1, more="<virtualport/>", kind="bridge"), "missing required virtualport type"),
    (card(1, more="<virtualport type='802.1Qbh'/>"), "802.1Qbh"),
    (card(1, more="<bandwidth><inbound average='9' floor='5'/></bandwidth>"), "floor"),
    (card(1, kind="bridge").replace("sw0", "sw1").replace("<model", "<virtualport type='openvswitch'/><model"),
     "sw1"),
]


def check_refusals(daemon, switch):
    for xml, words in REFUSED:
        text = DOMAIN.format(memory=65536, boot="", cards=xml).replace("<name>vm", "<name>no")
        result = put(daemon, text, "define", check=False)
        if not result.returncode:
            result = daemon.virsh("start", "no", "--paused", check=False)
            daemon.virsh("undefine", "no")
        assert result.returncode and words in result.stdout, f"{xml}: {result.stdout}"
        assert clean(switch)


class Trunk:
    """The far end of a port that carries all VLANs."""

    def __init__(self, device):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((device, 0))
        self.socket.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
        self.socket.settimeout(60)

    def next(self, mac):
        """The next frame from that address, and its tag, which the kernel puts aside (tpacket_auxdata)."""
        while True:
            frame, extra, _, _ = self.socket.recvmsg(65536, 256)
            if frame[6:12] == ether.mac(mac):
                return frame, struct.unpack("IIIHHHH", extra[0][2])[5] & 0xfff

    def send(self, tag, frame):
        self.socket.send(frame[:12] + struct.pack(">HH", 0x8100, tag) + frame[12:])


def check_frames(daemon, kernel, initrd):
    boot = f"""<kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>console=ttyS0 quiet panic=-1
berth.modules=virtio_pci,virtio_net,af_packet berth.run=while,true;do,setsid,cttyhack,sh;done</cmdline>"""
    daemon.virsh("undefine", "vm")
    cards = card(1, "five") + card(2, "six")
    put(daemon, DOMAIN.format(memory=163840, boot=boot.replace("\n", " "), cards=cards), "define")
    daemon.virsh("start", "vm")
    trunk = Trunk("trunk1")
    console = f"virsh -c '{daemon.uri()}' console vm --force"
    with testlib.Guest(["script", "-qfec", console, "/dev/null"]) as guest:
        guest.expect("guest# ", 300)
        guest.send("stty -echo\n")
        guest.run("ip link set eth0 up; ip link set eth1 up; ip address add 10.5.0.2/24 dev eth0; "
                  "ip address add 10.6.0.2/24 dev eth1", 60)
        for network, number in ((5, 1), (6, 2)):
            guest.run(f"arping -c 2 -w 2 -I eth{number - 1} 10.{network}.0.1; true", 60)
            assert trunk.next(f"52:54:00:00:00:0{number}")[1] == network
        # The other VLAN's question is not heard, the one after it is answered.
        guest.run("ip link set eth1 down", 60)
        for tag in (6, 5):
            trunk.send(tag, ether.arp("02:00:00:00:00:01", f"10.5.0.{tag}0", "10.5.0.2"))
        reply = b""
        while reply[20:22] != b"\0\2":  # ARP's operation
            reply, tag = trunk.next("52:54:00:00:00:01")
        assert tag == 5 and reply[38:42] == ether.v4("10.5.0.50"), reply.hex()
    daemon.virsh("destroy", "vm")


def check_stopped(daemon, switch):
    """A database that does not answer holds up those who need it, and nobody else."""
    database, limit = switch.processes[0].pid, 2
    conn = libvirt.open(daemon.uri())
    document = DOMAIN.format(memory=65536, boot="", cards=card(1)).replace("<name>vm", "<name>slow")
    put(daemon, document, "define")

    def others_go_on(process):
        """Other calls are answered at once, until the process ends."""
        while process.poll() is None:
            begin = time.monotonic()
            conn.getHostname()
            conn.lookupByName("slow").state()
            took = time.monotonic() - begin
            assert took < limit, f"a call took {took:.1f} s"
            time.sleep(0.02)
        return process.communicate()[0]

    def begin(*command):
        return subprocess.Popen(["virsh", "-c", daemon.uri(), *command], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
    try:
        os.kill(database, signal.SIGSTOP)
        said = others_go_on(begin("start", "slow", "--paused"))
        assert "Open vSwitch's database does not answer" in said, said
        os.kill(database, signal.SIGCONT)
        daemon.virsh("start", "slow", "--paused")
        before = tag_of(switch, 1)[0]
        os.kill(database, signal.SIGSTOP)
        # What was refused is not there, though the database has read it: it is taken back when it answers again.
        path = os.path.join(daemon.top, "late.xml")
        with open(path, "w") as file:
            file.write(card(1, more="<vlan><tag id='99'/></vlan>"))
        late = begin("update-device", "slow", path, "--live")
        said = others_go_on(late)
        assert late.returncode == 1 and "does not answer" in said, said
        os.kill(database, signal.SIGCONT)
        daemon.wait(lambda: tag_of(switch, 1)[0] == before, "the tag is what it was")
        assert "<tag id='99'" not in daemon.said("dumpxml", "slow")
        os.kill(database, signal.SIGSTOP)
        # It answers late, but it does.
        limits = begin("domiftune", "slow", "52:54:00:00:00:01", "--inbound", "900")
        time.sleep(1)
        assert limits.poll() is None
        os.kill(database, signal.SIGCONT)
        others_go_on(limits)
        assert limits.returncode == 0
        os.kill(database, signal.SIGSTOP)
        ended = begin("destroy", "slow")
        others_go_on(ended)
        assert ended.returncode == 0
    finally:
        os.kill(database, signal.SIGCONT)
    conn.close()
    daemon.wait(lambda: clean(switch), "the ports are gone")


def main():
    ether.own_network()
    ether.ip("link", "add", "trunk0", "type", "veth", "peer", "name", "trunk1")
    for name in ("trunk0", "trunk1"):
        ether.ip("link", "set", name, "up")
    kernel, initrd = testlib.kernel("cloud")
    with Switch() as switch:
        os.environ.update(switch.environment)  # libvirtd's ovs-vsctl finds it there
        switch.bridge("sw0")
        switch.vsctl("add-port", "sw0", "trunk0")
        conf = os.path.join(switch.top, "berthd.conf")
        with open(conf, "w") as file:
            file.write(f'ovs_socket = "{switch.socket}"\n')
        with Daemon("--config", conf) as daemon:
            check_rows(daemon, switch)
            check_changes(daemon, switch)
            check_kept(daemon, switch)
            check_refusals(daemon, switch)
            check_stopped(daemon, switch)
            check_frames(daemon, kernel, initrd)
            assert clean(switch)


main()
