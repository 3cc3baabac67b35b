#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The calls that Debian's cockpit-machines 288 makes through libvirt-dbus, as its index.js writes them: each
works against berthd, and what it changed is seen by virsh."""
import os
import re
import subprocess
import sys
import time

import netspace

CONNECT = "/org/libvirt/QEMU"
LIVE, CONFIG = 1, 2
STATS = 1 | 2 | 4 | 8 | 16 | 32  # state, CPU, balloon, vCPUs, interfaces, disks

# As clients.py's: libvirt-dbus knows no sockets but the system's.
SESSION = """
set -e
mkdir -p /run/libvirt
mount -t tmpfs none /run/libvirt
ln -s "$1" /run/libvirt/libvirt-sock
DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS libvirt-dbus --system &
dbus=$!
gdbus wait --session --timeout 30 org.libvirt
code=0
/usr/bin/python3 "$2" --inside "$3" || code=$?
kill $dbus
exit $code
"""
POOL = "<pool type='dir'><name>p</name><target><path>{top}/pool</path></target></pool>"
VOLUME = """<volume type='file'><name>{name}</name><capacity unit='MiB'>{mib}</capacity>
<target><format type='qcow2'/></target></volume>"""
NETWORK = """<network><name>n</name><domain name='n'/><ip address='192.0.2.1' netmask='255.255.255.0'>
<dhcp><range start='192.0.2.10' end='192.0.2.20'/></dhcp></ip></network>"""
CARD = """<interface type='network'><mac address='52:54:00:00:00:01'/><source network='n'/>
<model type='virtio'/><link state='{link}'/></interface>"""
FILE = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{top}/pool/a'/>
<target dev='vda' bus='virtio'/></disk>"""
VOLUME_DISK = """<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>
<source pool='p' volume='b'/><target dev='vdb' bus='virtio'/></disk>"""
DOMAIN = """<domain type='qemu'><name>v</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices>{devices}</devices></domain>"""


class Bus:
    """libvirt-dbus, as a client sees it."""

    def __init__(self):
        from gi.repository import Gio, GLib  # pylint: disable=import-outside-toplevel
        self.glib, self.events = GLib, []
        self.bus = Gio.bus_get_sync(Gio.BusType.SESSION)
        self.bus.signal_subscribe("org.libvirt", None, None, None, None, Gio.DBusSignalFlags.NONE,
                                  lambda *signal: self.events.append(signal[4]))

    def call(self, path, method, types="", *arguments, interface=None):
        """The first value that org.libvirt.`method` of an object returns, if it returns any."""
        interface, _, name = (interface or "org.libvirt." + method).rpartition(".")
        answer = self.bus.call_sync("org.libvirt", path, interface, name,
                                    self.glib.Variant(f"({types})", arguments), None, 0, 60000, None)
        values = answer.unpack()
        return values[0] if values else None

    def fails(self, words, *call):
        try:
            self.call(*call)
        except self.glib.Error as error:
            assert words in error.message, error.message
            return
        raise AssertionError(f"{call} did not fail")

    def get(self, path, kind, name):
        return self.call(path, name, "ss", "org.libvirt." + kind, name,
                         interface="org.freedesktop.DBus.Properties.Get")

    def all(self, path, kind):
        return self.call(path, kind, "s", "org.libvirt." + kind,
                         interface="org.freedesktop.DBus.Properties.GetAll")

    def set(self, path, kind, name, value):
        self.call(path, name, "ssv", "org.libvirt." + kind, name, self.glib.Variant("b", value),
                  interface="org.freedesktop.DBus.Properties.Set")

    def wait_event(self, name):
        deadline = time.monotonic() + 30
        while name not in self.events:
            assert time.monotonic() < deadline, f"no {name} in {self.events}"
            self.glib.MainContext.default().iteration(False)
            time.sleep(0.01)
        self.events.clear()


def check_host(bus):
    assert bus.get(CONNECT, "Connect", "LibVersion") >= 9000000
    assert bus.call(CONNECT, "Connect.NodeGetMemoryStats", "iu", -1, 0)["total"] > 0
    capabilities = bus.call(CONNECT, "Connect.GetDomainCapabilities", "ssssu", "", "x86_64", "q35", "", 0)
    assert "<domainCapabilities>" in capabilities, capabilities
    assert bus.call(CONNECT, "Connect.ListDomains", "u", 0) == []
    for path in bus.call(CONNECT, "Connect.ListInterfaces", "u", 2):
        assert "<interface" in bus.call(path, "Interface.GetXMLDesc", "u", 0)
    devices = bus.call(CONNECT, "Connect.ListNodeDevices", "u", 0)
    assert devices
    for path in devices[:3]:
        assert "<device>" in bus.call(path, "NodeDevice.GetXMLDesc", "u", 0)


def make_pool(bus, top):
    os.mkdir(f"{top}/pool")
    pool = bus.call(CONNECT, "Connect.StoragePoolDefineXML", "su", POOL.format(top=top), 0)
    bus.set(pool, "StoragePool", "Autostart", True)
    bus.call(pool, "StoragePool.Create", "u", 0)
    bus.wait_event("StoragePoolEvent")
    properties = bus.all(pool, "StoragePool")
    assert properties["Active"] and properties["Autostart"] and properties["Persistent"], properties
    for name, mib in (("a", 8), ("b", 4)):
        volume = bus.call(pool, "StoragePool.StorageVolCreateXML", "su", VOLUME.format(name=name, mib=mib), 0)
        assert "<format type='qcow2'/>" in bus.call(volume, "StorageVol.GetXMLDesc", "u", 0)
    bus.call(pool, "StoragePool.Refresh", "u", 0)
    assert len(bus.call(pool, "StoragePool.ListStorageVolumes", "u", 0)) == 2
    assert bus.call(CONNECT, "Connect.StorageVolLookupByPath", "s", f"{top}/pool/b") == volume
    assert bus.call(pool, "StoragePool.StorageVolLookupByName", "s", "b") == volume
    assert bus.call(CONNECT, "Connect.StoragePoolLookupByName", "s", "p") == pool
    assert bus.call(CONNECT, "Connect.ListStoragePools", "u", 0) == [pool]
    assert "<pool type='dir'>" in bus.call(pool, "StoragePool.GetXMLDesc", "u", 0)
    return pool


def make_network(bus):
    network = bus.call(CONNECT, "Connect.NetworkDefineXML", "s", NETWORK)
    bus.set(network, "Network", "Autostart", True)
    bus.call(network, "Network.Create")
    bus.wait_event("NetworkEvent")
    host = "<host mac='52:54:00:00:00:01' ip='192.0.2.10' />"
    bus.call(network, "Network.Update", "uuisu", 3, 4, -1, host, LIVE | CONFIG)
    assert "192.0.2.10" in bus.call(network, "Network.GetXMLDesc", "u", 0)
    properties = bus.all(network, "Network")
    assert properties["Active"] and properties["Autostart"] and properties["Persistent"], properties
    assert bus.call(CONNECT, "Connect.NetworkLookupByName", "s", "n") == network
    assert bus.call(CONNECT, "Connect.ListNetworks", "u", 0) == [network]
    return network


def check_running(bus, domain):
    bus.call(domain, "Domain.Create", "u", 0)
    bus.wait_event("DomainEvent")
    assert bus.call(domain, "Domain.GetState", "u", 0)[0] == 1
    stats = bus.call(domain, "Domain.GetStats", "uu", STATS, 0)
    assert stats["vcpu.current"] == 1 and stats["block.count"] == 1 and "cpu.time" in stats, stats
    for flags in (0, 1, 2, 3):
        assert "<name>v</name>" in bus.call(domain, "Domain.GetXMLDesc", "u", flags)
    bus.call(domain, "Domain.Suspend")
    assert bus.call(domain, "Domain.GetState", "u", 0)[0] == 3
    bus.call(domain, "Domain.Resume")
    bus.call(domain, "Domain.SendKey", "uuauu", 0, 0, [29, 56, 111], 0)
    bus.call(domain, "Domain.InjectNMI", "u", 0)
    bus.call(domain, "Domain.Reboot", "u", 0)
    bus.call(domain, "Domain.Reset", "u", 0)
    bus.call(domain, "Domain.SetMemory", "tu", 48 << 10, CONFIG)
    inactive = bus.call(domain, "Domain.GetXMLDesc", "u", 2)
    assert "<currentMemory unit='KiB'>49152</currentMemory>" in inactive, inactive
    for kind in (0, 2):  # leases, ARP
        assert bus.call(domain, "Domain.InterfaceAddresses", "uu", kind, 0) == []
    bus.fails("agent", domain, "Domain.InterfaceAddresses", "uu", 1, 0)


def check_devices(bus, domain):
    bus.call(domain, "Domain.AttachDevice", "su", VOLUME_DISK, LIVE | CONFIG)
    assert "volume='b'" in bus.call(domain, "Domain.GetXMLDesc", "u", 2)
    bus.call(domain, "Domain.UpdateDevice", "su", CARD.format(link="down"), LIVE | CONFIG)
    assert "<link state='down'/>" in bus.call(domain, "Domain.GetXMLDesc", "u", 0)
    bus.call(domain, "Domain.DetachDevice", "su", VOLUME_DISK, CONFIG)
    assert "volume='b'" not in bus.call(domain, "Domain.GetXMLDesc", "u", 2)


def check_snapshots(bus, domain):
    text = "<domainsnapshot><name>s</name><description>d</description></domainsnapshot>"
    made = bus.call(domain, "Domain.SnapshotCreateXML", "su", text, 0)
    assert bus.call(domain, "Domain.ListDomainSnapshots", "u", 0) == [made]
    assert bus.call(domain, "Domain.SnapshotLookupByName", "su", "s", 0) == made
    assert bus.call(made, "DomainSnapshot.IsCurrent", "u", 0)
    assert "<description>d</description>" in bus.call(made, "DomainSnapshot.GetXMLDesc", "u", 0)
    bus.call(made, "DomainSnapshot.Revert", "u", 0)
    bus.call(made, "DomainSnapshot.Delete", "u", 0)
    assert bus.call(domain, "Domain.ListDomainSnapshots", "u", 0) == []


def check_stopped(bus, domain):
    bus.call(domain, "Domain.Shutdown", "u", 0)  # nobody in the guest listens
    bus.call(domain, "Domain.Destroy", "u", 0)
    assert bus.call(domain, "Domain.GetState", "u", 0)[0] == 5
    check_snapshots(bus, domain)
    bus.set(domain, "Domain", "Autostart", True)
    bus.call(domain, "Domain.Rename", "su", "w", 0)
    domain = bus.call(CONNECT, "Connect.DomainLookupByName", "s", "w")
    properties = bus.all(domain, "Domain")
    assert properties["Autostart"] and properties["Name"] == "w" and not properties["Active"], properties
    bus.call(domain, "Domain.Undefine", "u", 1 | 2 | 4)
    assert bus.call(CONNECT, "Connect.ListDomains", "u", 0) == []


def inside(top):
    bus = Bus()
    check_host(bus)
    pool, network = make_pool(bus, top), make_network(bus)
    devices = FILE.format(top=top) + CARD.format(link="up")
    domain = bus.call(CONNECT, "Connect.DomainDefineXML", "s", DOMAIN.format(devices=devices))
    check_running(bus, domain)
    check_devices(bus, domain)
    check_stopped(bus, domain)
    bus.call(network, "Network.Destroy")
    bus.call(network, "Network.Undefine")
    for volume in bus.call(pool, "StoragePool.ListStorageVolumes", "u", 0):
        bus.call(volume, "StorageVol.Delete", "u", 0)
    bus.call(pool, "StoragePool.Destroy")
    bus.call(pool, "StoragePool.Undefine")
    print("all done")


def main():
    from private import Daemon  # pylint: disable=import-outside-toplevel
    netspace.enter()
    with Daemon() as daemon:
        said = subprocess.run(["unshare", "-m", "dbus-run-session", "--", "sh", "-c", SESSION, "sh",
                               daemon.socket, os.path.abspath(__file__), daemon.top], timeout=300, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert said.returncode == 0 and "all done" in said.stdout, said.stdout
        for words in (("list", "--all", "--name"), ("net-list", "--all", "--name"),
                      ("pool-list", "--all", "--name")):
            assert not daemon.said(*words).strip(), words
        # And the one command that it runs itself.
        assert re.search(r"<pool type='dir' supported='yes'>", daemon.said("pool-capabilities"))


if sys.argv[1:2] == ["--inside"]:
    inside(sys.argv[2])
else:
    main()
