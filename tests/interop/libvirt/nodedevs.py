#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A private berthd describes this machine's devices as Debian's libvirtd does, and tells of new ones."""
import os
import re
import subprocess
import sys

import libvirt
from private import Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "client"))
from oracle import Libvirtd  # noqa: E402

COVERS = """
CONNECT_LIST_ALL_NODE_DEVICES NODE_NUM_OF_DEVICES NODE_LIST_DEVICES NODE_DEVICE_LOOKUP_BY_NAME
NODE_DEVICE_GET_XML_DESC NODE_DEVICE_GET_PARENT NODE_DEVICE_NUM_OF_CAPS NODE_DEVICE_LIST_CAPS
NODE_DEVICE_IS_ACTIVE NODE_DEVICE_IS_PERSISTENT NODE_DEVICE_GET_AUTOSTART
CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY
"""
# libvirtd's without udev has no serial numbers (nor names with them), and prints a speed of -1; what
# it says of the board comes from udev or not at all; a dying interface may go at any time.
MASKS = [(re.compile(r"\n *<serial>.*</serial>"), ""), (re.compile(r" speed='\d+'"), ""),
         (re.compile(r"<hardware>.*</firmware>", re.S), "")]


def of_hardware(conn):
    """The device to its XML; a virtual network interface may be another test's, so it is left out."""
    found = {}
    for dev in conn.listAllDevices():
        xml = dev.XMLDesc()
        if "/devices/virtual/net/" in xml and "<interface>lo<" not in xml:
            continue
        for mask, word in MASKS:
            xml = mask.sub(word, xml)
        name = re.sub(r"^(block_[a-z]+)_.*", r"\1", dev.name())
        found[name] = (xml.replace(dev.name(), name), dev.isActive(), dev.isPersistent(),
                       dev.autostart(), dev.parent(), dev.listCaps())
    return found


def check_same(daemon):
    with Libvirtd("nodedev") as peer:
        theirs = of_hardware(libvirt.open(peer.driver_uri("nodedev")))
    conn = libvirt.open(daemon.uri())
    ours = of_hardware(conn)
    assert sorted(ours) == sorted(theirs), (sorted(ours), sorted(theirs))
    for name, wanted in theirs.items():
        assert ours[name] == wanted, (wanted, ours[name])
    assert {"computer", "net_lo_00_00_00_00_00_00"} <= set(ours)
    assert conn.numOfDevices("net") == len(conn.listDevices("net")) >= 1
    assert conn.numOfDevices("pci", 0) == len(conn.listAllDevices(1 << 1))
    assert not conn.listDevices("mdev")
    conn.close()


def check_errors(daemon):
    missing = daemon.virsh("nodedev-dumpxml", "nope", check=False).stdout
    assert "Node device not found: no node device with matching name 'nope'" in missing, missing
    for command, words in (("detach", "device computer is not a PCI device"),
                           ("detach --driver vfio", "device computer is not a PCI device"),
                           ("detach --driver kvm", "KVM device assignment is no longer supported"),
                           ("detach --driver toaster", "argument unsupported: unknown driver name 'toaster'"),
                           ("reattach", "device computer is not a PCI device"),
                           ("reset", "device computer is not a PCI device")):
        verb, *options = command.split()
        refused = daemon.virsh("nodedev-" + verb, "computer", *options, check=False)
        assert refused.returncode and words in refused.stdout, (command, refused.stdout)
    conn = libvirt.open(daemon.uri())
    try:
        conn.nodeDeviceLookupSCSIHostByWWN("20000024ff3be5c8", "21000024ff3be5c8")
        raise AssertionError("a Fibre Channel port that is not there")
    except libvirt.libvirtError as error:
        assert error.get_error_code() == libvirt.VIR_ERR_NO_NODE_DEVICE
    conn.close()
    assert daemon.said("nodedev-list", "--inactive") == ""


def check_events():
    """In a network of its own, whose interfaces the kernel tells nobody else of."""
    script = "mount -t sysfs none /sys && { [ ! -d /run/udev ] || mount -t tmpfs none /run/udev; } && " \
             'exec "$0" "$@"'
    with Daemon(prefix=("unshare", "-n", "-m", "sh", "-c", script)) as daemon:
        conn = libvirt.open(daemon.uri())
        events = []

        def happened(c, dev, event, detail, _):
            events.append((dev.name(), event))

        ids = [conn.nodeDeviceEventRegisterAny(None, libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE,
                                               happened, None)]

        def ip(*args):
            subprocess.run(["nsenter", "-n", "-t", str(daemon.process.pid), "ip", "link", *args],
                           check=True)

        def expect(*wanted):
            daemon.wait(lambda: libvirt.virEventRunDefaultImpl() is not None and
                        set(wanted) <= set(events), f"{wanted} in {events}")
            events.clear()

        one, two = "net_one_02_00_00_00_00_01", "net_two_02_00_00_00_00_02"
        ip("add", "one", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "two",
           "address", "02:00:00:00:00:02")
        expect((one, 0), (two, 0))
        assert daemon.said("nodedev-list", "--cap", "net").split() == \
            ["net_lo_00_00_00_00_00_00", one, two]
        assert "<link state='down'/>" in daemon.said("nodedev-dumpxml", one)
        device = conn.nodeDeviceLookupByName(one)
        ids.append(conn.nodeDeviceEventRegisterAny(device, libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE,
                                                   happened, None))
        ip("set", "two", "name", "three")
        expect((two, 1), (two.replace("two", "three"), 0))
        ip("del", "one")
        expect((one, 1))
        for number in ids:
            conn.nodeDeviceEventDeregisterAny(number)
        conn.close()
        return daemon.called()


def main():
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(50, lambda *a: None, None)
    with Daemon() as daemon:
        check_same(daemon)
        check_errors(daemon)
        called = daemon.called()
    missing = set(COVERS.split()) - called - check_events()
    assert not missing, f"not called: {missing}"


main()
