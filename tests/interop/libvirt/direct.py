#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""type='direct': a guest on the segment of one of the host's interfaces, with a MAC address of its own."""
import os
import re
import signal
import sys

import ether
import netspace
from private import Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

MAC = "52:54:00:00:00:02"
CARD = """<interface type='direct'><mac address='{mac}'/><source dev='{dev}' mode='{mode}'/>
<model type='virtio'/>{more}</interface>"""
GUEST = """<domain type='qemu'><name>{name}</name>
  <uuid>12ac8b8c-4f23-4248-ae42-fdcd50c40002</uuid><memory unit='MiB'>160</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=-1 berth.modules=virtio_pci,virtio_net,af_packet berth.run=while,true;do,setsid,cttyhack,sh;done</cmdline></os>
  <features><acpi/><apic/></features><devices>{card}<memballoon model='none'/>
    <serial type='pty'/><console type='pty'/></devices></domain>"""


def define(daemon, card, name="vm", kernel="/none", initrd="/none", check=True):
    path = os.path.join(daemon.top, "vm.xml")
    with open(path, "w") as file:
        file.write(GUEST.format(name=name, card=card, kernel=kernel, initrd=initrd))
    return daemon.virsh("define", path, check=check)


def devices():
    return re.findall(r"(macvtap\d+|mine)@", ether.ip("link"))


def shaped(device):
    return netspace.run("tc", "-d", "-s", "class", "show", "dev", device)


def policed(device):
    return netspace.run("nft", "list", "table", "netdev", f"berth-rate-{device}", check=False)


def check_refusals(daemon):
    for more, words in (("<filterref filter='clean-traffic'/>", "<filterref>"),
                        ("<vlan><tag id='5'/></vlan>", "vlan tag not supported"),
                        ("<virtualport type='openvswitch'/>", "<virtualport> element unsupported")):
        result = define(daemon, CARD.format(mac=MAC, dev="low0", mode="bridge", more=more), check=False)
        assert result.returncode and words in result.stdout, result.stdout
    define(daemon, CARD.format(mac=MAC, dev="low7", mode="bridge", more=""))
    assert "no interface 'low7'" in daemon.virsh("start", "vm", check=False).stdout
    assert not devices()


def check_modes(daemon, kernel, initrd):
    own = re.search(r"link/ether (\S+)", ether.ip("link", "show", "low0")).group(1)
    for mode, shown in (("vepa", "vepa"), ("private", "private"), ("passthrough", "passthru")):
        define(daemon, CARD.format(mac=MAC, dev="low0", mode=mode, more="<target dev='mine'/>"),
               kernel=kernel, initrd=initrd)
        daemon.virsh("start", "vm", "--paused")
        text = ether.ip("-d", "link", "show", "mine")
        assert f"macvtap mode {shown}" in text and MAC in text, text
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert devices() == ["mine"]
        daemon.virsh("destroy", "vm")
        assert not devices() and own in ether.ip("link", "show", "low0")


POOL = """<network><name>pool</name><forward mode='passthrough'><interface dev='low0'/><interface dev='low1'/>
</forward></network>"""
FROM_POOL = """<domain type='qemu'><name>{name}</name><memory>65536</memory><os><type machine='q35'>hvm</type></os>
<devices><interface type='network'><mac address='52:54:00:00:00:0{name}'/><source network='pool'/>
<model type='virtio'/>{more}</interface></devices></domain>"""


def with_xml(daemon, xml, *command, check=True):
    path = os.path.join(daemon.top, "x.xml")
    with open(path, "w") as file:
        file.write(xml)
    return daemon.virsh(*command, path, check=check)


def check_pool(daemon):
    """Each guest has an interface of the pool to itself; the next daemon knows which."""
    with_xml(daemon, POOL, "net-define")
    daemon.virsh("net-start", "pool")
    for name in ("1", "2"):
        with_xml(daemon, FROM_POOL.format(name=name, more=""), "define")
        daemon.virsh("start", name, "--paused")
    assert sorted(re.findall(r"macvtap\d@(\w+)", ether.ip("link"))) == ["low0", "low1"]
    daemon.virsh("destroy", "1")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    for more, words in (("<filterref filter='clean-traffic'/>", "filterref"),
                        ("<bandwidth><inbound average='2' floor='1'/></bandwidth>", "floor"),
                        ("<vlan><tag id='5'/></vlan>", "<vlan>"),
                        ("<port isolated='yes'/>", "isolated")):
        with_xml(daemon, FROM_POOL.format(name="3", more=more), "define")
        result = daemon.virsh("start", "3", check=False)
        daemon.virsh("undefine", "3")
        assert result.returncode and words in result.stdout, result.stdout
        card = re.search("<interface.*</interface>", FROM_POOL.format(name="2", more=more), re.DOTALL).group(0)
        result = with_xml(daemon, card, "update-device", "2", "--live", check=False)
        assert result.returncode and (words in result.stdout or "can be changed" in result.stdout), result.stdout
    assert len(devices()) == 1
    # What the guest sends is shaped, what it receives dropped: the device is the guest's, not the host's.
    device = devices()[0]
    daemon.virsh("domiftune", "2", device, "--inbound", "5", "--outbound", "1000", "--live")
    assert "rate 8192Kbit" in shaped(device) and "5 kbytes/second" in policed(device), policed(device)
    daemon.virsh("start", "1", "--paused")
    for name in ("1", "2"):
        daemon.virsh("destroy", name)
    daemon.virsh("net-destroy", "pool")
    assert not devices()


def check_packets(daemon, outside, kernel, initrd):
    define(daemon, CARD.format(mac=MAC, dev="low0", mode="bridge", more=""), kernel=kernel, initrd=initrd)
    daemon.virsh("start", "vm")
    daemon.virsh("domiftune", "vm", MAC, "--inbound", "1,1,1", "--outbound", "1000", "--live")
    assert devices() == ["macvtap0"] and "macvtap0" in daemon.said("dumpxml", "vm")
    console = ["script", "-qfec", f"virsh -c '{daemon.uri()}' console vm --force", "/dev/null"]
    with testlib.Guest(console) as guest:
        guest.expect("guest# ", 300)
        guest.send("stty -echo\n")
        guest.run("ip link set eth0 up; ip address add 10.9.0.2/24 dev eth0", 60)
        outside.read(0)
        assert "5 packets received" in guest.run("ping -c 5 10.9.0.1", 60)
        sources = {frame[6:12] for frame in outside.read()}
        assert ether.mac(MAC) in sources, sources
        # Its frames have been in the queue, and what is too much for it does not arrive.
        assert not re.search(r"Sent 0 bytes", shaped("macvtap0")), shaped("macvtap0")
        outside.send(ether.ethernet("02:00:00:00:00:01", MAC, 0x88b5, b"x" * 1400), 20)
        daemon.wait(lambda: re.search(r"counter packets [1-9]\d* bytes", policed("macvtap0")), "frames dropped")
    daemon.virsh("destroy", "vm")
    assert not devices() and "macvtap" not in daemon.said("dumpxml", "vm")


def main():
    ether.own_network()
    ether.own_sysfs()
    ether.ip("link", "add", "low0", "type", "veth", "peer", "name", "seg0")
    ether.ip("link", "add", "low1", "type", "veth", "peer", "name", "seg1")
    for name in ("low0", "seg0", "low1", "seg1"):
        ether.ip("link", "set", name, "up")
    ether.ip("addr", "add", "10.9.0.1/24", "dev", "seg0")
    kernel, initrd = testlib.kernel("cloud")
    with Daemon() as daemon:
        check_refusals(daemon)
        check_modes(daemon, kernel, initrd)
        check_pool(daemon)
        check_packets(daemon, ether.End("seg0"), kernel, initrd)


main()
