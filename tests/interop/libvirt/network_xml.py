#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents of networks of every kind that libvirt documents: accepted, and shown as libvirt's own test
driver shows them; and what is wrong or not supported is refused by name."""
import glob
import os
import re
import sys
import threading
import xml.etree.ElementTree as etree

import libvirt
from private import Daemon

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "..", "..", "fuzz", "corpus", "network_xml", "*.xml")

IP = "<ip address='10.0.0.1' prefix='24'>{}</ip>"
WRONG = [
    ("<forward mode='hostdev' dev='eth0'/>", "listed by PCI address"),
    ("<forward mode='nat'><pf dev='eth0'/></forward>" + IP.format(""), "is for mode='hostdev'"),
    ("<forward mode='fly'/>", "does not support mode='fly'"),
    ("<bridge zone='public'/>", "does not support the attribute 'zone'"),
    ("<bridge macTableManager='me'/>", "must be 'kernel' or 'libvirt'"),
    ("<bridge name='a name'/>", "'a name' is no name for a bridge"),
    ("<domain name='x' register='yes'/>", "does not support the attribute 'register'"),
    ("<colour/>", "does not support <colour> in <network>"),
    ("<forward mode='nat'/>", "needs an <ip>"),
    ("<forward mode='bridge'/>", "needs <bridge name=...> or <interface dev=...>"),
    ("<forward mode='bridge'/><bridge name='b'/>" + IP.format(""), "<ip> is not possible"),
    ("<vlan><tag id='5'/></vlan>", "whose type doesn't support vlan configuration"),
    ("<forward mode='bridge'/><bridge name='b'/><vlan><tag id='5'/></vlan>",
     "whose type doesn't support vlan configuration"),
    ("<portgroup name='p'><virtualport type='openvswitch'/></portgroup>", "<virtualport> of a portgroup"),
    ("<virtualport type='802.1Qbh'/>", "does not support type='802.1Qbh'"),
    (IP.format("<dhcp><range start='10.0.1.2' end='10.0.1.9'/></dhcp>"), "10.0.1.2 is not in the network"),
    (IP.format("<dhcp><range start='10.0.0.9' end='10.0.0.2'/></dhcp>"), "its end is before its start"),
    (IP.format("<dhcp><host mac='01:00:00:00:00:01' ip='10.0.0.2'/></dhcp>"), "no MAC address of one card"),
    (IP.format("<dhcp><host mac='52:54:00:00:00:01' name='a,b' ip='10.0.0.2'/></dhcp>"),
     "cannot be a host's name"),
    (IP.format("<dhcp><host mac='52:54:00:00:00:01' name='ignore' ip='10.0.0.2'/></dhcp>"),
     "cannot be a host's name"),
    (IP.format("<tftp root='/a #b'/>"), "'#' and control characters are not supported"),
    ("<ip address='10.0.0.1' netmask='255.0.255.0'/>", "its netmask has holes"),
    ("<ip address='10.0.0.256'/>", "no IP address"),
    ("<ip family='ipv6' address='10.0.0.1'/>", "not an IPv6 address"),
    ("<dns><txt name='a' value='b&#10;port=53'/></dns>", "control characters"),
    ("<dns><host ip='10.0.0.2'><hostname>a/b</hostname></host></dns>", "no name for DNS"),
    ("<dns enable='no'><txt name='a' value='b'/></dns>", "of no use without DNS"),
    ("<route address='10.1.0.1' prefix='24' gateway='10.0.0.2'/>", "one host's"),
    ("<portgroup name='a' default='yes'/><portgroup name='b' default='yes'/>", "are the default"),
    ("<metadata><b:forwards xmlns:b='urn:berth:network:port-forward:1'><b:forward port='1' to='10.9.9.9'/>"
     "</b:forwards></metadata><forward mode='nat'/>" + IP.format(""), "which is not in the network"),
]


def canonical(text):
    """Without what each daemon makes up by itself."""
    root = etree.fromstring(text)
    for name in ("uuid", "mac"):
        child = root.find(name)
        if child is not None:
            root.remove(child)
    bridge = root.find("bridge")
    if bridge is not None and re.fullmatch(r"virbr\d+", bridge.get("name", "virbr0")):
        bridge.attrib.pop("name", None)
    return etree.canonicalize(etree.tostring(root), strip_text=True)


def check_corpus(conn, oracle):
    paths = sorted(glob.glob(CORPUS))
    assert len(paths) >= 21, paths
    for path in paths:
        with open(path) as file:
            text = file.read()
        ours, theirs = conn.networkDefineXML(text), oracle.networkDefineXML(text)
        mine = ours.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
        assert canonical(mine) == canonical(theirs.XMLDesc()), f"{path}:\n{mine}\n{theirs.XMLDesc()}"
        ours.undefine()
        again = conn.networkDefineXML(mine)
        assert again.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE) == mine
        again.undefine()
        theirs.undefine()


def check_wrong(conn):
    for body, words in WRONG:
        try:
            conn.networkDefineXML(f"<network><name>wrong</name>{body}</network>")
            raise AssertionError(f"accepted: {body}")
        except libvirt.libvirtError as error:
            assert words in str(error), f"{body}: {error}"
    assert "wrong" not in [net.name() for net in conn.listAllNetworks()]


# Parts that net-update may not bring into a network.
BAD_UPDATES = [
    ("FORWARD_INTERFACE", "<interface dev='x&quot; accept #'/>", "is no name of an interface"),
    ("FORWARD_INTERFACE", "<interface dev='eth1'/>", "only one <interface> is possible"),
    ("IP_DHCP_HOST", "<host mac='52:54:00:00:00:01' ip='10.0.0.9' colour='red'/>", "the attribute 'colour'"),
    ("DNS_TXT", "<txt name='a' value='b'><c/></txt>", "does not support <c> in <txt>"),
    ("PORTGROUP", "<portgroup name='p'><vlan><tag id='1'/></vlan></portgroup>", "support vlan configuration"),
    ("DNS_SRV", "<txt name='a' value='b'/>", "expecting <srv>"),
]


def check_bad_updates(conn):
    net = conn.networkDefineXML("<network><name>route</name><forward mode='route' dev='eth0'/>" +
                                IP.format("") + "</network>")
    before = net.XMLDesc()
    for section, xml, words in BAD_UPDATES:
        try:
            net.update(libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
                       getattr(libvirt, "VIR_NETWORK_SECTION_" + section), 0, xml)
            raise AssertionError(f"accepted: {xml}")
        except libvirt.libvirtError as error:
            assert words in str(error), f"{xml}: {error}"
    assert net.XMLDesc() == before
    net.undefine()


def check_half_defined(conn, uri):
    """Who asks for a network while it is being defined is told that there is none, or all of it."""
    xml = "<network><name>half</name><uuid>12ac8b8c-4f23-4248-ae42-fdcd50c40003</uuid></network>"
    net, over, answers = conn.networkDefineXML(xml), threading.Event(), set()

    def ask():
        reader = libvirt.openReadOnly(uri)
        while not over.is_set():
            try:
                answers.add("half" in reader.networkLookupByUUID(net.UUID()).XMLDesc())
            except libvirt.libvirtError as error:
                answers.add(error.get_error_code())
        reader.close()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(100):
            net.undefine()
            conn.networkDefineXML(xml)
    finally:
        over.set()
        asker.join()
    net.undefine()
    assert answers == {True, libvirt.VIR_ERR_NO_NETWORK}, answers


def check_define_while_undefined(conn, uri):
    """Who defines a network has it afterwards, whatever others do to the one before."""
    xml = "<network><name>again</name><uuid>12ac8b8c-4f23-4248-ae42-fdcd50c40005</uuid></network>"
    net, over = conn.networkDefineXML(xml), threading.Event()

    def undefine():
        other = libvirt.open(uri)
        while not over.is_set():
            try:
                other.networkLookupByUUID(net.UUID()).undefine()
            except libvirt.libvirtError as error:
                assert error.get_error_code() in (libvirt.VIR_ERR_NO_NETWORK,
                                                  libvirt.VIR_ERR_OPERATION_INVALID), error
        other.close()

    undefiner = threading.Thread(target=undefine)
    undefiner.start()
    try:
        for _ in range(100):
            conn.networkDefineXML(xml)
    finally:
        over.set()
        undefiner.join()
    conn.networkDefineXML(xml).undefine()


def main():
    libvirt.registerErrorHandler(lambda *_: None, None)
    with Daemon() as daemon:
        conn, oracle = libvirt.open(daemon.uri()), libvirt.open("test:///default")
        check_corpus(conn, oracle)
        check_wrong(conn)
        check_bad_updates(conn)
        check_half_defined(conn, daemon.uri(readonly=True))
        check_define_while_undefined(conn, daemon.uri())
        # What was defined is there after a restart, word for word.
        name = conn.networkDefineXML("<network><name>kept</name></network>").XMLDesc()
        conn.close()
        daemon.stop()
        daemon.start()
        assert daemon.said("net-dumpxml", "kept") == name.strip()
        oracle.close()


if __name__ == "__main__":
    sys.exit(main())
