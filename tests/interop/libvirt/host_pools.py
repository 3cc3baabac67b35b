#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks that are pools of virtual functions (SR-IOV), over a sysfs that this test makes up: what is
accepted, and what is refused with which words, is compared with Debian's libvirtd; then who gets which."""
import os
import re
import signal
import tempfile

import ether
import libvirt
import real_libvirtd
from netspace import run
from private import Daemon

PF, FUNCTIONS = "0000:03:00.0", ["0000:03:10.0", "0000:03:10.2", "0000:03:10.4"]
NETWORK = "<network><name>{name}</name><forward mode='{mode}'{more}>{body}</forward>{after}</network>"


def address(text, more=" type='pci'"):
    domain, bus, slot, function = re.split("[:.]", text)
    return f"<address{more} domain='0x{domain}' bus='0x{bus}' slot='0x{slot}' function='0x{function}'/>"


HOSTDEV = [
    ("pf", "hostdev", " managed='yes'", "<pf dev='pf0'/>", ""),
    ("list", "hostdev", "", "<driver name='vfio'/>" + address(FUNCTIONS[0]) + address(FUNCTIONS[2]),
     "<vlan><tag id='42'/></vlan><portgroup name='x'><vlan><tag id='7'/></vlan></portgroup>"),
    ("tap", "passthrough", "", "<pf dev='pf0'/>", ""),
    ("none", "hostdev", " managed='no'", "", ""),
    ("two", "hostdev", "", "<pf dev='pf0'/><pf dev='pf1'/>", ""),
    ("dev", "hostdev", " dev='eth0'", "", ""),
    ("foo", "hostdev", "", "<driver name='foo'/>" + address(FUNCTIONS[0]), ""),
    ("bridge", "hostdev", "", "<pf dev='pf0'/>", "<bridge name='x'/>"),
    ("ip", "hostdev", "", "<pf dev='pf0'/>", "<ip address='10.1.1.1' prefix='24'/>"),
    ("physical", "hostdev", "", address(PF), ""),
]
STARTED = "hostdev network '.*?' lists|is not an SR-IOV|Only one <pf>|Unknown forward <driver"
DOMAIN = """<domain type='qemu'><name>vm</name><memory>65536</memory><os><type machine='q35'>hvm</type></os>
<devices><interface type='network'><source network='{}'/><model type='virtio'/></interface></devices></domain>"""


def make_sysfs(top):
    """One device of three functions, of which the host's driver has two; this process and its children see
    them instead of the host's PCI and network devices."""
    assert ether.LIBC.unshare(ether.CLONE_NEWNS) == 0, "unshare(CLONE_NEWNS): run the tests as root"
    run("mount", "--make-rprivate", "/")
    paths = {name: os.path.join(top, name) for name in [PF, *FUNCTIONS]}
    for folder in ("/sys/bus/pci/devices", "/sys/class/net"):
        run("mount", "-t", "tmpfs", "none", folder)
    for name, path in paths.items():
        os.makedirs(os.path.join(path, "net"))
        os.symlink(path, f"/sys/bus/pci/devices/{name}")
    for number, name in enumerate(FUNCTIONS):
        os.symlink(f"../{name}", os.path.join(paths[PF], f"virtfn{number}"))
        os.symlink(f"../{PF}", os.path.join(paths[name], "physfn"))
    for name, interface in ((PF, "pf0"), (FUNCTIONS[0], "vf0"), (FUNCTIONS[2], "vf2")):
        path = os.path.join(paths[name], "net", interface)
        os.makedirs(path)
        os.symlink("../..", os.path.join(path, "device"))
        os.symlink(path, f"/sys/class/net/{interface}")


def outcomes(uri):
    """What becomes of each document when it is defined."""
    conn, result = libvirt.open(uri), []
    for name, mode, more, body, after in HOSTDEV:
        try:
            net = conn.networkDefineXML(NETWORK.format(name=name, mode=mode, more=more, body=body,
                                                       after=after))
            text = net.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
            result.append(re.sub("<uuid>.*?</uuid>", "", text))
        except libvirt.libvirtError as error:
            found = re.search(STARTED, str(error))
            result.append(found.group() if found else "refused")
    conn.close()
    return result


def take(daemon, network, number):
    """A port by the API: the device that it gets, or the error."""
    path = os.path.join(daemon.top, "port.xml")
    with open(path, "w") as file:
        file.write(f"""<networkport><uuid>4c5fee07-738d-4c89-bf78-9d32e4d3260{number}</uuid>
<owner><name>me</name><uuid>190f03e2-cc32-4aad-b5f6-7e351c69b6e5</uuid></owner>
<mac address='52:54:00:00:00:0{number}'/></networkport>""")
    result = daemon.virsh("net-port-create", network, path, check=False)
    if result.returncode:
        return result.stdout
    text = daemon.said("net-port-dumpxml", network, "--port", f"4c5fee07-738d-4c89-bf78-9d32e4d3260{number}")
    return re.search("<plug.*", text, re.DOTALL).group()


def check_ports(daemon):
    for name in ("pf", "list", "tap"):
        daemon.virsh("net-start", name)
    for number, function in enumerate(FUNCTIONS):
        text = take(daemon, "pf", number)
        assert "type='hostdev-pci' managed='yes'" in text and address(function, "") in text, text
    assert "none are available" in take(daemon, "pf", 8)
    assert "<driver name='vfio'/>" in take(daemon, "list", 5)
    assert address(FUNCTIONS[2], "") in take(daemon, "list", 6)
    assert "dev='vf0' mode='passthrough'" in take(daemon, "tap", 3) and "dev='vf2'" in take(daemon, "tap", 4)
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert "none are available" in take(daemon, "pf", 8)
    daemon.virsh("net-port-delete", "pf", "--port", "4c5fee07-738d-4c89-bf78-9d32e4d32601")
    assert address(FUNCTIONS[1], "") in take(daemon, "pf", 9)


def check_refusals(daemon):
    """A guest gets no device of the host, and keeps none back."""
    path = os.path.join(daemon.top, "vm.xml")
    with open(path, "w") as file:
        file.write(DOMAIN.format("pf"))
    daemon.virsh("net-port-delete", "pf", "--port", "4c5fee07-738d-4c89-bf78-9d32e4d32600")
    daemon.virsh("define", path)
    for _ in range(2):
        result = daemon.virsh("start", "vm", check=False)
        assert result.returncode and FUNCTIONS[0] in result.stdout and "VFIO" in result.stdout, result.stdout
    path = os.path.join(daemon.top, "net.xml")
    for body, command, words in (
            ("<pf dev='pf9'/>", ("net-create", path), "No usable Vf's present on SRIOV PF pf9"),
            # Of which libvirtd forgets the first.
            ("<pf dev='pf0'/>" + address(FUNCTIONS[0]), ("net-define", path), "mutually exclusive")):
        with open(path, "w") as file:
            file.write(NETWORK.format(name="gone", mode="hostdev", more="", body=body, after=""))
        result = daemon.virsh(*command, check=False)
        assert result.returncode and words in result.stdout, result.stdout


def check():
    real_libvirtd.SETUP = real_libvirtd.SETUP.replace("mount -t sysfs none /sys\n", "")
    with real_libvirtd.Libvirtd() as real:
        wanted = outcomes(real.uri)
    with Daemon() as daemon:
        got = outcomes(daemon.uri())
        for ours, theirs in zip(got, wanted):
            assert ours == theirs, f"{ours}\nlibvirt: {theirs}"
        check_ports(daemon)
        check_refusals(daemon)


def main():
    libvirt.registerErrorHandler(lambda *_: None, None)
    ether.own_network()
    with tempfile.TemporaryDirectory(prefix="sysfs-") as top:
        make_sysfs(top)
        check()


main()
