#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Interfaces of the host: berthd and Debian's libvirtd say the same of one network namespace."""
import libvirt
import ether
from private import Daemon
from real_libvirtd import Libvirtd

COVERS = """
CONNECT_NUM_OF_INTERFACES CONNECT_LIST_INTERFACES INTERFACE_LOOKUP_BY_NAME
INTERFACE_LOOKUP_BY_MAC_STRING INTERFACE_GET_XML_DESC CONNECT_NUM_OF_DEFINED_INTERFACES
CONNECT_LIST_DEFINED_INTERFACES INTERFACE_IS_ACTIVE CONNECT_LIST_ALL_INTERFACES
"""


def make_interfaces():
    ether.own_network()
    ether.ip("link", "add", "br0", "type", "bridge", "stp_state", "1", "forward_delay", "400")
    ether.ip("link", "add", "br1", "type", "bridge")
    for port, end in (("v0", "v1"), ("v2", "v3")):
        ether.ip("link", "add", port, "type", "veth", "peer", "name", end)
        ether.ip("link", "set", port, "master", "br0")
    ether.ip("link", "add", "mv0", "link", "v3", "type", "macvlan")
    ether.ip("link", "add", "mv1", "link", "v3", "address", "02:00:00:00:00:11", "mtu", "1400", "type",
            "macvlan")
    ether.ip("link", "set", "br1", "address", "02:00:00:00:00:77")
    ether.ip("link", "set", "mv0", "address", "02:00:00:00:00:77")
    ether.ip("addr", "add", "10.1.2.3/24", "dev", "br0")
    for device in ("br0", "v0", "v1"):
        ether.ip("link", "set", device, "up")


def commands():
    for name in ("br0", "br1", "v0", "v1", "v2", "v3", "lo", "mv0", "mv1", "none"):
        yield "iface-dumpxml", name
        yield "iface-mac", name
    for flags in ([], ["--all"], ["--inactive"]):
        yield "iface-list", *flags
    for mac in ("02:00:00:00:00:11", "02:00:00:00:00:77", "02:00:00:00:00:99", "00:00:00:00:00:00"):
        yield "iface-name", mac


def by_module(uri):
    connection = libvirt.open(uri)
    result = [connection.numOfInterfaces(), sorted(connection.listInterfaces()),
              connection.numOfDefinedInterfaces(), sorted(connection.listDefinedInterfaces())]
    result += [connection.interfaceLookupByName(name).isActive() for name in ("v0", "v1", "v3", "lo")]
    connection.close()
    return result


def main():
    make_interfaces()
    with Daemon() as ours, Libvirtd() as real:
        for command in commands():
            got, wanted = ours.virsh(*command, check=False), real.virsh(*command, check=False)
            assert (got.returncode, got.stdout) == (wanted.returncode, wanted.stdout), \
                f"{command}: {got.stdout}\nlibvirt: {wanted.stdout}"
        got, wanted = by_module(ours.uri()), by_module(real.uri)
        assert got == wanted, (got, wanted)
        missing = set(COVERS.split()) - ours.called()
        assert not missing, missing


main()
