#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""berthd writes a domain's document as Debian's libvirtd does, whatever order a client has chosen."""
import difflib
import os
import re
import xml.etree.ElementTree as tree

import ether
from private import Daemon
from real_libvirtd import Libvirtd

DOCUMENTS = {
    "bare": """<domain type='qemu'><name>bare</name><uuid>6c1f5d1c-7d0b-4a7e-9f8e-0d6d5a0e8a01</uuid>
<memory>65536</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><console type='pty'/></devices></domain>""",
    "backed": """<domain type='qemu'><name>backed</name><uuid>6c1f5d1c-7d0b-4a7e-9f8e-0d6d5a0e8a03</uuid>
<memoryBacking><discard/><allocation mode='immediate' threads='2'/><access mode='shared'/><source type='memfd'/><locked/>
<nosharepages/><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking><memory>65536</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><console type='pty'/></devices></domain>""",
    "mixed": """<domain type='qemu'><name>mixed</name><uuid>6c1f5d1c-7d0b-4a7e-9f8e-0d6d5a0e8a02</uuid>
<description>d</description><title>t</title><memory unit='GiB'>1</memory><vcpu current='1'>4</vcpu>
<os><boot dev='cdrom'/><boot dev='hd'/><type arch='x86_64' machine='q35'>hvm</type><smbios mode='sysinfo'/></os>
<sysinfo type='smbios'><system><entry name='manufacturer'>Me</entry></system></sysinfo>
<cputune><shares>512</shares><vcpupin vcpu='0' cpuset='0-1'/></cputune>
<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/></clock>
<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
<features><acpi/><apic/></features><on_crash>preserve</on_crash><devices>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<interface type='user'><model type='virtio'/><mac address='52:54:00:11:22:33'/></interface>
<interface type='bridge'><mtu size='1400'/><link state='down'/><source bridge='br0'/>
<mac address='52:54:00:11:22:34'/><model type='virtio'/></interface>
<disk type='file' device='disk'><target dev='vda' bus='virtio'/><serial>abc</serial>
<iotune><total_iops_sec>100</total_iops_sec></iotune><source file='/images/a.qcow2'/>
<driver name='qemu' type='qcow2' cache='none' discard='unmap'/></disk>
<disk type='file' device='cdrom'><readonly/><target dev='sdb' bus='sata'/><source file='/images/x.iso'/></disk>
<hostdev mode='subsystem' type='pci' managed='yes'><rom bar='off'/><source><address bus='0x1f' function='2'
domain='0' slot='31'/></source><driver name='vfio'/></hostdev><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<serial type='file'><target port='0'/><source path='/tmp/serial'/></serial><serial type='pty'/>
<panic model='isa'/><filesystem type='mount' accessmode='mapped'><target dir='t'/><source dir='/tmp'/></filesystem>
</devices></domain>""",
}


def comparable(text):
    """Without what Berth has not (USB, sound), what each calls its own, and the choice of PCI slots."""
    root = tree.fromstring(text)
    devices = root.find("devices")
    for node in list(devices):
        own = node.tag in ("emulator", "audio") or \
            (node.tag == "controller" and node.get("type") in ("usb", "pci"))
        if own:
            devices.remove(node)
        else:
            for address in node.findall("address[@type='pci']"):
                node.remove(address)
    for cpu in root.findall("cpu"):
        root.remove(cpu)
    root.find("os/type").attrib.pop("machine")
    tree.indent(root)
    return re.sub(r"\n\s*\n", "\n", tree.tostring(root, encoding="unicode")).splitlines()


def main():
    ether.own_network()
    with Daemon() as daemon, Libvirtd() as libvirtd:
        for name, text in DOCUMENTS.items():
            path = os.path.join(daemon.top, name)
            with open(path, "w") as file:
                file.write(text)
            said = []
            for server in (libvirtd, daemon):
                server.virsh("define", path)
                said.append(comparable(server.said("dumpxml", name, "--inactive")))
            assert said[0] == said[1], "\n".join(difflib.unified_diff(*said, "libvirtd", "berthd", n=1))
            # What was written is read again as the same.
            before = daemon.said("dumpxml", name)
            with open(path, "w") as file:
                file.write(before)
            daemon.virsh("define", path)
            assert daemon.said("dumpxml", name) == before


main()
