#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The event of what may be used has changed: berthd sends what Debian's libvirtd sends."""
import os
import time

import event_loop
event_loop.begin()

import libvirt
import ether
from private import LIMIT, Daemon
from real_libvirtd import Libvirtd

COVERS = """DOMAIN_EVENT_CALLBACK_TUNABLE"""
XML = """<domain type='qemu'><name>tunables</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{image}'/>
<target dev='vda' bus='virtio'/></disk><disk type='file' device='disk'><driver name='qemu' type='raw'/>
<source file='{image}.2'/><target dev='vdb' bus='virtio'/></disk></devices></domain>"""


class Listener:
    """The events of one connection's domain, and what is done to get them."""

    def __init__(self, uri, image):
        self.heard = []
        self.conn = libvirt.open(uri)
        self.conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE,
            lambda conn, dom, params, opaque: self.heard.append(params), None)
        self.dom = self.conn.createXML(XML.format(image=image), 0)

    def close(self):
        self.dom.destroy()
        self.conn.close()

    def hear(self, count):
        deadline = time.monotonic() + LIMIT
        while len(self.heard) < count:
            assert time.monotonic() < deadline, f"heard only {self.heard}"
            time.sleep(0.05)
        return self.heard


def change(dom):
    """What both servers can do without control groups: each is one event."""
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    cpus = len(os.sched_getaffinity(0))
    dom.pinVcpuFlags(1, (True,) + (False,) * (cpus - 1), live)
    dom.pinEmulator((True,) * cpus, live)
    dom.setBlockIoTune("vda", {"total_bytes_sec": 1 << 20, "total_iops_sec": 100}, live)
    dom.setBlockIoTune("vda", {"total_iops_sec": 50, "total_iops_sec_max": 200, "size_iops_sec": 4096,
                               "group_name": "few"}, live)


def change_group(dom):
    """Disks of a group have the limits of the group: what each has after each of three changes."""
    said = []
    for disk, wanted in (("vdb", {"group_name": "few"}), ("vdb", {"total_iops_sec": 70, "total_iops_sec_max": 210}),
                         ("vda", {"read_bytes_sec": 1 << 20})):
        dom.setBlockIoTune(disk, wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        said += [dom.blockIoTune(each, libvirt.VIR_DOMAIN_AFFECT_LIVE) for each in ("vda", "vdb")]
    return said


def refusals(dom):
    """Limits that make no sense, and what is said to each."""
    said = []
    for disk, wanted in (("vda", {"total_iops_sec_max": 100, "total_iops_sec": 0}),
                         ("vda", {"total_iops_sec": 200, "total_iops_sec_max": 100}),
                         ("vdb", {"write_bytes_sec": 1 << 62}), ("vdz", {"total_bytes_sec": 1}),
                         ("vda", {"total_iops_sec": 0, "total_iops_sec_max": 0})):
        try:
            dom.setBlockIoTune(disk, wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            said.append(None)
        except libvirt.libvirtError as error:
            said.append((error.get_error_code(), str(error)))
    return said


def check_shares(daemon, listener):
    """The scheduler's, for which the other libvirtd has no control groups here."""
    before = len(listener.hear(7))
    daemon.virsh("schedinfo", "tunables", "--set", "cpu_shares=512", "--set", "vcpu_quota=20000", "--live")
    said = listener.hear(before + 1)[-1]
    assert said == {"cputune.cpu_shares": 512, "cputune.vcpu_quota": 20000}, said
    # What fails is no event, nor is what is only for later.
    assert daemon.virsh("schedinfo", "tunables", "--set", "cpu_shares=1", "--live", check=False).returncode
    daemon.virsh("memtune", "tunables", "--hard-limit", "4194304", "--live")
    daemon.virsh("vcpupin", "tunables", "0", "0", "--live")
    assert listener.hear(before + 2)[-1] == {"cputune.vcpupin0": "0"}, listener.heard


def main():
    ether.own_network()
    with Daemon() as daemon, Libvirtd() as libvirtd:
        image = os.path.join(daemon.top, "image")
        for path in (image, image + ".2"):
            with open(path, "wb") as file:
                file.truncate(1 << 20)
        said, groups = [], []
        # One after the other: the image is locked by who uses it.
        for uri in (libvirtd.uri, daemon.uri()):
            listener = Listener(uri, image)
            try:
                change(listener.dom)
                listener.hear(4)
                groups.append((change_group(listener.dom), refusals(listener.dom)))
                said.append(list(listener.hear(7)))
                if uri == daemon.uri() and os.path.isdir("/sys/fs/cgroup/cpu"):
                    check_shares(daemon, listener)
            finally:
                listener.close()
        assert groups[0] == groups[1], f"libvirtd: {groups[0]}\nberthd: {groups[1]}"
        assert said[0] == said[1], f"libvirtd: {said[0]}\nberthd: {said[1]}"


main()
