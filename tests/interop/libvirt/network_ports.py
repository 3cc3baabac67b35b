#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ports that a client makes: berthd and Debian's libvirtd say the same, and they outlive the daemon."""
import os
import re
import signal

import ether
import libvirt
import netspace
from private import Daemon
from real_libvirtd import Libvirtd

COVERS = """NETWORK_PORT_CREATE_XML NETWORK_PORT_DELETE NETWORK_PORT_GET_PARAMETERS
NETWORK_PORT_SET_PARAMETERS NETWORK_PORT_GET_XML_DESC NETWORK_PORT_LOOKUP_BY_UUID NETWORK_LIST_ALL_PORTS"""
NETWORKS = ["""<network><name>net</name><bridge name='netbr'/><ip address='10.77.0.1' prefix='24'/>
<portgroup name='slow'><bandwidth><inbound average='100'/></bandwidth></portgroup></network>""",
            """<network><name>pool</name><forward mode='passthrough'><interface dev='low0'/></forward></network>""",
            """<network><name>seg</name><forward mode='bridge'/><bridge name='segbr'/></network>"""]
DOMAIN = """<domain type='qemu'><name>vm</name><memory>65536</memory><os><type machine='q35'>hvm</type></os>
<devices><interface type='network'><mac address='52:54:00:00:00:77'/><source network='told'/>
<model type='virtio'/></interface></devices></domain>"""
TOLD = "<network><name>told</name><bridge name='toldbr' stp='off' macTableManager='libvirt'/></network>"
ID = "4c5fee07-738d-4c89-bf78-9d32e4d3260{}"
OWNER = "<owner><name>me</name><uuid>190f03e2-cc32-4aad-b5f6-7e351c69b6e5</uuid></owner>"
PORT = "<networkport><uuid>" + ID + "</uuid>" + OWNER + "<mac address='52:54:00:00:00:0{}'/>{}</networkport>"

# A network, a document, flags: made, or refused alike.
CREATED = [
    ("net", PORT.format(1, 1, ""), 0),
    ("net", PORT.format(1, 1, ""), 0),
    ("net", PORT.format(2, 2, "<group>slow</group><port isolated='yes'/>"), 0),
    ("net", PORT.format(3, 3, "<bandwidth><inbound average='5' peak='6' burst='7'/><outbound average='9'/>"
                        "</bandwidth>"), 2),
    ("net", PORT.format(4, 4, "<plug type='network' bridge='netbr'/>"), 0),
    ("net", PORT.format(4, 4, "<plug type='network' bridge='netbr'/>"), 1),
    ("net", PORT.format(5, 5, ""), 1),
    ("net", PORT.format(5, 5, "").replace("<uuid>" + ID.format(5) + "</uuid>", ""), 0),
    ("net", PORT.format(5, 5, "").replace("<mac address='52:54:00:00:00:05'/>", ""), 0),
    ("net", PORT.format(5, 5, "").replace(OWNER, ""), 0),
    ("net", PORT.format(5, 5, "").replace("<name>me</name>", ""), 0),
    ("net", "<port/>", 0),
    ("seg", PORT.format(6, 6, ""), 0),
    ("pool", PORT.format(7, 7, ""), 0),
    ("pool", PORT.format(8, 8, ""), 0),
]




def words(error):
    """Without the kind of error, which is often an internal one in libvirt, and its words twice."""
    return re.sub("^(internal error|XML error): | exists already$", "", str(error))


def outcomes(conn):
    result = []
    for name, xml, flags in CREATED:
        try:
            port = conn.networkLookupByName(name).portCreateXML(xml, flags)
            result.append((port.UUIDString(), port.XMLDesc(), port.parameters()))
        except libvirt.libvirtError as error:
            result.append(words(error) if name == "net" else "")
    return result


def changes(conn):
    """Parameters before and after, lists, and what is not there any more."""
    net = conn.networkLookupByName("net")
    port = net.portLookupByUUIDString(ID.format(3))
    result = []
    for values in ({"inbound.average": 10, "inbound.peak": 20, "outbound.average": 7},
                   {"inbound.average": 11, "inbound.burst": 30}):
        port.setParameters(values)
        result.append(port.parameters())
    result.append(port.XMLDesc())
    result.append(sorted(port.UUIDString() for port in net.listAllPorts()))
    port = net.portLookupByUUIDString(ID.format(1))
    port.delete()
    for action in (port.delete, port.XMLDesc, lambda: net.portLookupByUUIDString(ID.format(9))):
        try:
            result.append(action())
        except libvirt.libvirtError as error:
            result.append(words(error))
    result.append(sorted(port.UUIDString() for port in net.listAllPorts()))
    return result


def check_told(daemon):
    """A bridge whose MAC addresses are managed learns nothing from a guest's port, and is told who is there.
    (libvirtd does so only on kernels with VLAN filtering, which it switches on.)"""
    path = os.path.join(daemon.top, "x.xml")
    for xml, command in ((TOLD, "net-create"), (DOMAIN, "define")):
        with open(path, "w") as file:
            file.write(xml)
        daemon.virsh(command, path)
    daemon.virsh("start", "vm", "--paused")
    device = re.search(r"vnet\d+", daemon.said("domiflist", "vm")).group()
    port = netspace.run("bridge", "-d", "link", "show", "dev", device)
    assert " learning off" in port and " flood off" in port and "mcast_flood on" in port, port
    assert "52:54:00:00:00:77 master toldbr" in netspace.run("bridge", "fdb", "show", "dev", device)
    assert "macTableManager='libvirt'" in daemon.said("net-dumpxml", "told")
    uuid = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", daemon.said("net-port-list", "told")).group()
    assert "<plug type='network' bridge='toldbr' macTableManager='libvirt'/>" in \
        daemon.said("net-port-dumpxml", "told", "--port", uuid)
    daemon.virsh("destroy", "vm")
    daemon.virsh("net-destroy", "told")


def run(uri, function):
    conn = libvirt.open(uri)
    if function is outcomes:
        for xml in NETWORKS:
            conn.networkDefineXML(xml).create()
    result = function(conn)
    conn.close()
    return result


def check_kept(daemon):
    """The next daemon knows them; the network's next start does not."""
    before = {name: sorted(daemon.said("net-port-dumpxml", name, "--port", uuid) for uuid in
                           re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", daemon.said("net-port-list", name)))
              for name in ("net", "seg", "pool")}
    assert all(before.values()), before
    daemon.stop(signal.SIGKILL)
    daemon.start()
    for name, ports in before.items():
        uuids = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", daemon.said("net-port-list", name))
        assert ports == sorted(daemon.said("net-port-dumpxml", name, "--port", uuid) for uuid in uuids), name
    daemon.virsh("net-destroy", "net")
    daemon.virsh("net-start", "net")
    daemon.stop()
    daemon.start()
    assert "-7" not in daemon.said("net-port-list", "net")


def main():
    libvirt.registerErrorHandler(lambda *_: None, None)
    ether.own_network()
    ether.ip("link", "add", "low0", "type", "veth", "peer", "name", "low1")
    ether.ip("link", "add", "segbr", "type", "bridge")
    with Daemon() as daemon:
        with Libvirtd() as real:
            wanted = [run(real.uri, outcomes), run(real.uri, changes)]
            for name in ("net", "seg", "pool"):
                real.virsh("net-destroy", name)
        got = [run(daemon.uri(), outcomes), run(daemon.uri(), changes)]
        for ours, theirs in zip(got[0] + got[1], wanted[0] + wanted[1]):
            assert ours == theirs, f"{ours}\nlibvirt: {theirs}"
        check_told(daemon)
        check_kept(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, missing
        for name in ("net", "seg", "pool"):
            daemon.virsh("net-destroy", name)
        assert not os.listdir(os.path.join(daemon.top, "state", "networks-ports"))


main()
