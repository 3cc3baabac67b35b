#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's virsh changes definitions: names, words, memory, CPUs, devices; nothing of it runs."""
import os
import threading

import libvirt
from private import Daemon

COVERS = """
DOMAIN_SET_METADATA DOMAIN_GET_METADATA DOMAIN_RENAME DOMAIN_SET_MEMORY_FLAGS DOMAIN_SET_MAX_MEMORY
DOMAIN_SET_VCPU DOMAIN_SET_VCPUS_FLAGS DOMAIN_ATTACH_DEVICE_FLAGS DOMAIN_DETACH_DEVICE_FLAGS
DOMAIN_UPDATE_DEVICE_FLAGS CONNECT_DOMAIN_XML_TO_NATIVE CONNECT_DOMAIN_XML_FROM_NATIVE
DOMAIN_SET_MEMORY_STATS_PERIOD
"""

XML = """<domain type='qemu'>
  <name>plain</name>
  <memory unit='MiB'>64</memory>
  <os><type machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>
    <controller type='usb' model='qemu-xhci' ports='15'/>
    <channel type='unix'><target type='virtio' name='org.example.0'/></channel>
  </devices>
</domain>"""


def check_words(daemon, conn):
    daemon.virsh("desc", "plain", "--config", "--title", "A short title")
    daemon.virsh("desc", "plain", "--config", "words", "of", "<all> & sundry")
    assert daemon.said("desc", "plain", "--title") == "A short title"
    assert daemon.said("desc", "plain") == "words of <all> & sundry"
    assert "A short title" in daemon.said("list", "--all", "--title")
    uri = "http://example.org/note/1"
    daemon.virsh("metadata", "plain", uri, "--key", "note", "--set", "<pad page='3'>hi</pad>", "--config")
    assert daemon.said("metadata", "plain", uri) == '<pad page="3">hi</pad>'
    xml = daemon.said("dumpxml", "plain")
    assert f"<note:pad xmlns:note='{uri}' page='3'>hi</note:pad>" in xml, xml
    daemon.virsh("metadata", "plain", uri, "--remove", "--config")
    gone = daemon.virsh("metadata", "plain", uri, check=False).stdout
    assert "Requested metadata element is not present" in gone, gone
    dom = conn.lookupByName("plain")
    for title, words in (("two\nlines", "can't contain newlines"),):
        try:
            dom.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, title, None, None, 2)
            raise AssertionError("a title of two lines")
        except libvirt.libvirtError as error:
            assert words in str(error)


def check_sizes(daemon, conn):
    dom = conn.lookupByName("plain")
    dom.setMaxMemory(128 << 10)
    daemon.virsh("setmem", "plain", "96M", "--config")
    info = daemon.said("dominfo", "plain")
    assert "Max memory:     131072 KiB" in info and "Used memory:    98304 KiB" in info, info
    daemon.virsh("setmaxmem", "plain", "80M", "--config")
    assert "Used memory:    81920 KiB" in daemon.said("dominfo", "plain")
    more = daemon.virsh("setmem", "plain", "1G", "--config", check=False).stdout
    assert "cannot set memory higher than max memory" in more
    daemon.virsh("setvcpus", "plain", "4", "--maximum", "--config")
    assert daemon.said("vcpucount", "plain", "--config", "--maximum") == "4"
    # Of four, two are there: single ones come in order, and go from the last one back.
    daemon.virsh("setvcpus", "plain", "2", "--config")
    for args, words in ((("3", "--enable"), "vCPU 3 cannot be there without vCPU 2"),
                        (("0", "--disable"), "vCPU 1 cannot be there without vCPU 0"),
                        (("0-1", "--disable"), "vCPU 0 cannot be disabled"),
                        (("4000", "--enable"), "vCPU 4000 is not there")):
        said = daemon.virsh("setvcpu", "plain", *args, "--config", check=False).stdout
        assert words in said, said
    daemon.virsh("setvcpu", "plain", "2-3", "--enable", "--config")
    assert daemon.said("vcpucount", "plain", "--config", "--current") == "4"
    daemon.virsh("setvcpu", "plain", "3", "--disable", "--config")
    assert "current='3'" in daemon.said("dumpxml", "plain")
    more = daemon.virsh("setvcpus", "plain", "9", "--config", check=False).stdout
    assert "greater than max allowable vcpus" in more, more
    for call in (lambda: dom.setVcpus(2), lambda: dom.setMemory(4096)):
        try:
            call()
            raise AssertionError("a domain that does not run was changed live")
        except libvirt.libvirtError as error:
            assert "domain is not running" in str(error)
    daemon.virsh("dommemstat", "plain", "--period", "5", "--config")
    long = daemon.virsh("dommemstat", "plain", "--period", "100000", "--config", check=False)
    assert long.returncode and "a period of 100000 s: it is 0 (off) to 86400 s" in long.stdout, long.stdout
    assert "<stats period='5'/>" in daemon.said("dumpxml", "plain")


def check_devices(daemon):
    image = os.path.join(daemon.top, "i.raw")
    daemon.run("truncate", "-s", "1M", image)
    daemon.virsh("attach-disk", "plain", image, "vda", "--config")
    daemon.virsh("attach-interface", "plain", "bridge", "br7", "--model", "virtio", "--mac",
                 "52:54:00:00:00:07", "--config")
    daemon.virsh("change-media", "plain", "sda", image, "--insert", "--config")
    xml = daemon.said("dumpxml", "plain")
    assert xml.count(f"<source file='{image}'/>") == 2, xml
    assert "<controller type='usb' index='0' model='none'/>" in xml, xml
    ports = xml.count("model='pcie-root-port'")
    assert ports >= 6, xml
    arguments = daemon.said("domxml-to-native", "qemu-argv", "--domain", "plain")
    assert "virtio-blk-pci" in arguments and "br7" in arguments and "-machine pc-q35-7.2" in arguments
    daemon.virsh("detach-interface", "plain", "bridge", "--mac", "52:54:00:00:00:07", "--config")
    daemon.virsh("detach-disk", "plain", "vda", "--config")
    gone = daemon.virsh("detach-disk", "plain", "vda", "--config", check=False).stdout
    assert "vda" in gone
    bad = os.path.join(daemon.top, "bad.xml")
    with open(bad, "w") as file:
        file.write("<tpm model='tpm-crb'/>")
    refused = daemon.virsh("attach-device", "plain", bad, "--config", check=False).stdout
    assert "Berth does not support <tpm>" in refused, refused
    assert daemon.said("dumpxml", "plain").count("model='pcie-root-port'") == ports


def check_core(daemon):
    """A guest's memory stays out of core dumps if the document says so."""
    native = daemon.said("domxml-to-native", "qemu-argv", "--domain", "plain")
    assert "dump-guest-core" not in native
    path = os.path.join(daemon.top, "core.xml")
    with open(path, "w") as file:
        file.write(daemon.said("dumpxml", "plain").replace("<memory unit", "<memory dumpCore='off' unit"))
    assert "dump-guest-core=off" in daemon.said("domxml-to-native", "qemu-argv", path)


def check_native(daemon):
    """A command line as a domain: what was made of a domain comes back, and what nobody can say is named."""
    line, domain = os.path.join(daemon.top, "line"), os.path.join(daemon.top, "domain.xml")
    native = daemon.said("domxml-to-native", "qemu-argv", "--domain", "plain")
    for path, text in ((line, native), (domain, None)):
        with open(path, "w") as file:
            file.write(text or daemon.said("domxml-from-native", "qemu-argv", line))
    assert daemon.said("domxml-to-native", "qemu-argv", domain) == native
    # Where its memory comes from goes both ways, too.
    bound = "<numatune>\n    <memory mode='interleave' nodeset='0'/>\n  </numatune>"
    with open(domain, "w") as file:
        file.write(daemon.said("dumpxml", "plain").replace("<os>", bound + "<os>"))
    with open(line, "w") as file:
        file.write(daemon.said("domxml-to-native", "qemu-argv", domain))
    assert bound in daemon.said("domxml-from-native", "qemu-argv", line)
    policy = "qemu -m 64 -machine q35,memory-backend=m -object memory-backend-ram,id=m,size=64M,policy=bind"
    for text, words in ((policy, "memory-backend-ram: 'policy' has no place in a domain's XML"),
                        ("qemu -nodefaults -smb 2", "there is no option -smb: did you mean -smp"),
                        ("qemu -nodefaults -device vmcoreinfo", "-device vmcoreinfo has no place in a domain's XML"),
                        ("qemu 'x", "Text ended before matching quote"), ("qemu -readconfig /etc/passwd", "-readconfig is not allowed")):
        with open(line, "w") as file:
            file.write(text)
        refused = daemon.virsh("domxml-from-native", "qemu-argv", line, check=False)
        assert refused.returncode and words in refused.stdout, refused.stdout
    other = daemon.virsh("domxml-from-native", "xen-xl", line, check=False).stdout
    assert "unsupported config type xen-xl" in other, other


def check_name(daemon, conn):
    events = []
    libvirt.virEventAddTimeout(50, lambda *a: None, None)
    conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                lambda c, dom, event, detail, _: events.append((event, detail)), None)
    daemon.virsh("domrename", "plain", "fancy")
    daemon.wait(lambda: libvirt.virEventRunDefaultImpl() is not None and len(events) == 2,
                f"events: {events}")
    assert events == [(1, 1), (0, 2)], events
    assert "fancy" in daemon.said("list", "--all", "--name")
    assert "plain" not in daemon.said("list", "--all", "--name")
    taken = daemon.virsh("domrename", "fancy", "fancy", check=False).stdout
    assert "already exists" in taken or "new name" in taken, taken
    daemon.stop()
    daemon.start()
    assert daemon.said("list", "--all", "--name") == "fancy"
    check_race(daemon)
    daemon.virsh("undefine", "fancy")


def check_race(daemon):
    """Of two domains that want one name at the same time, one gets it."""
    def rename(name):
        conn = libvirt.open(daemon.uri())
        dom = conn.lookupByName(name)
        together.wait()
        try:
            dom.rename("both")
        except libvirt.libvirtError as error:
            assert "already exists" in str(error), error
        conn.close()

    together = threading.Barrier(2)
    path = os.path.join(daemon.top, "racer.xml")
    for _ in range(10):
        names = ("one", "two")
        for name in names:
            with open(path, "w") as file:
                file.write(XML.replace("<name>plain", f"<name>{name}"))
            daemon.virsh("define", path)
        racers = [threading.Thread(target=rename, args=(name,)) for name in names]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        conn = libvirt.open(daemon.uri())
        left = {dom.name() for dom in conn.listAllDomains()} - {"fancy"}
        assert len(left) == 2 and "both" in left, left
        for name in left:
            conn.lookupByName(name).undefine()
        conn.close()


def main():
    libvirt.virEventRegisterDefaultImpl()
    with Daemon() as daemon:
        path = os.path.join(daemon.top, "plain.xml")
        with open(path, "w") as file:
            file.write(XML)
        daemon.virsh("define", path)
        conn = libvirt.open(daemon.uri())
        check_words(daemon, conn)
        check_sizes(daemon, conn)
        check_devices(daemon)
        check_core(daemon)
        check_native(daemon)
        conn.domainEventRegister(lambda *a: None, None)
        check_name(daemon, conn)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
