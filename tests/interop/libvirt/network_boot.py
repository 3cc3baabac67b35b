#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine without a disk starts from a network of mode open: its card's ROM (Debian's iPXE) finds address,
server and file by the network's DHCP, and takes Linux from its TFTP server. In this mode Berth has no rules:
who knows the way gets through, both ways, and what another table drops is dropped."""
import os
import re
import shutil
import sys
import tempfile

import netspace
from private import CLIENT, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

NETWORK = """<network><name>open</name><forward mode='open'/><bridge name='openbr' stp='off'/>
  <ip address='192.168.105.1' prefix='24'><tftp root='{root}'/><dhcp>
    <range start='192.168.105.10' end='192.168.105.20'/><bootp file='boot.ipxe'/></dhcp></ip></network>"""
GUEST = """<domain type='qemu'><name>pxe</name><memory unit='MiB'>512</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>{boot}</os>
  <features><acpi/><apic/></features><devices>
    <interface type='network'><mac address='52:54:00:00:05:01'/><source network='open'/>{order}
      <model type='virtio'/></interface>
    <memballoon model='none'/><serial type='pty'/><console type='pty'/></devices></domain>"""
# Linux is told where its address came from, and has the rest by DHCP again.
SCRIPT = """#!ipxe
echo berth-pxe: ${net0/ip} from ${next-server}
kernel vmlinuz initrd=initramfs console=ttyS0 quiet panic=-1 """ \
    """berth.modules=virtio_pci,virtio_net,af_packet berth.run=while,true;do,setsid,cttyhack,sh;done
initrd initramfs
boot
"""
# The network as such, or the card's own place in the order.
WAYS = (("<boot dev='network'/>", ""), ("", "<boot order='1'/>"))


def fill(root):
    os.chmod(root, 0o755)
    for path, name in zip(testlib.kernel("cloud"), ("vmlinuz", "initramfs")):
        shutil.copyfile(path, os.path.join(root, name))
    with open(os.path.join(root, "boot.ipxe"), "w") as file:
        file.write(SCRIPT)


def put(daemon, document, command):
    path = os.path.join(daemon.top, "x.xml")
    with open(path, "w") as file:
        file.write(document)
    daemon.virsh(command, path)


def booted(daemon, boot, order):
    """The console of the machine, once Linux has the address that the ROM had, and the address."""
    put(daemon, GUEST.format(boot=boot, order=order), "define")
    daemon.virsh("start", "pxe", "--paused")
    guest = testlib.Guest(["script", "-qfec", f"{CLIENT} -c '{daemon.uri()}' console pxe --force", "/dev/null"])
    guest.expect("Escape character", 60)
    daemon.virsh("resume", "pxe")
    address = guest.expect(r"berth-pxe: ([0-9.]+) from 192\.168\.105\.1", 180).group(1)
    guest.wake(300)
    guest.send("stty -echo\n")
    guest.run(f"ip link set eth0 up; ip address add {address}/24 dev eth0; "
              "ip route add default via 192.168.105.1", 60)
    return guest, address


def check_open(outside, guest, address):
    """No address is another than it is, and no rule is Berth's."""
    guest.run("mkdir -p /www; echo hello from pxe >/www/index.html; httpd -h /www", 60)
    assert "hello from pxe" in outside.get(address, 80)
    said = guest.run("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 30 nc -w 20 10.9.0.2 7000; true", 60)
    assert f"from {address}" in said, said
    assert "openbr" not in netspace.run("nft", "list", "ruleset")
    netspace.run("nft", "-f", "-", data="add table ip other\n"
                 "add chain ip other f { type filter hook forward priority 0; }\n"
                 f"add rule ip other f ip daddr {address} tcp dport 80 drop\n")
    assert "hello from pxe" not in outside.get(address, 80)
    netspace.run("nft", "delete", "table", "ip", "other")


def main():
    netspace.enter()
    with netspace.Host() as outside, Daemon() as daemon, tempfile.TemporaryDirectory(prefix="tftp-") as root:
        fill(root)
        outside.cable("out0", "eth0", "10.9.0.2/24")
        netspace.run("ip", "address", "add", "10.9.0.1/24", "dev", "out0")
        outside.run("ip", "route", "add", "192.168.105.0/24", "via", "10.9.0.1")
        outside.answer(7000)
        put(daemon, NETWORK.format(root=root), "net-define")
        daemon.virsh("net-start", "open")
        for boot, order in WAYS:
            guest, address = booted(daemon, boot, order)
            with guest:
                check_open(outside, guest, address)
                assert re.search(rf"52:54:00:00:05:01 +ipv4 +{address}/24", daemon.said("net-dhcp-leases", "open"))
            daemon.virsh("destroy", "pxe")
            daemon.virsh("undefine", "pxe")
        daemon.virsh("net-destroy", "open")


main()
