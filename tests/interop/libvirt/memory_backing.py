#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""<memoryBacking>: the kernel says what a running domain's memory is made of."""
import contextlib
import json
import os
import re

from private import Daemon

XML = """<domain type='qemu'><name>backed</name>
<uuid>{uuid}</uuid><memory unit='MiB'>64</memory><memoryBacking>{backing}</memoryBacking>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features></domain>"""
UUID = f"7dea22b3-1d52-d8f3-2517-{os.getpid():012x}"
HUGE = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
KIB = 64 << 10


def define(daemon, backing, check=True):
    path = os.path.join(daemon.top, "x.xml")
    with open(path, "w") as file:
        file.write(XML.format(uuid=UUID, backing=backing))
    return daemon.virsh("define", path, check=check)


def refused(daemon, words, backing):
    result = define(daemon, backing, check=False)
    assert result.returncode and words in result.stdout, f"{backing}: {result.stdout}"


@contextlib.contextmanager
def running(daemon, backing):
    """The VMM's process id, while it runs."""
    define(daemon, backing)
    daemon.virsh("start", "backed", "--paused")
    try:
        with open(os.path.join(daemon.top, "state", "run", UUID, "pid")) as file:
            yield file.read().strip()
    finally:
        daemon.virsh("destroy", "backed")


def mapping(pid):
    """The guest's memory in the process: smaps' first line, and its fields."""
    with open(f"/proc/{pid}/smaps") as file:
        entries = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", file.read(), flags=re.M)
    found = []
    for entry in entries[1:]:
        head, *lines = entry.splitlines()
        fields = dict(re.split(r":\s*", line, maxsplit=1) for line in lines)
        if fields["Size"] == f"{KIB} kB":
            found.append((head, fields))
    assert len(found) == 1, found
    return found[0]


def kib(fields, name):
    return int(fields[name].split()[0])


def number(path):
    with open(path) as file:
        return int(file.read())


@contextlib.contextmanager
def huge_pages(count):
    """So many free pages of 2 MiB, or False."""
    missing = count - number(HUGE + "free_hugepages")
    before = number(HUGE + "nr_hugepages")
    try:
        if missing > 0 and os.access(HUGE + "nr_hugepages", os.W_OK):
            with open(HUGE + "nr_hugepages", "w") as file:
                file.write(str(before + missing))
        yield number(HUGE + "free_hugepages") >= count
    finally:
        if number(HUGE + "nr_hugepages") != before:
            with open(HUGE + "nr_hugepages", "w") as file:
                file.write(str(before))


def check_refusals(daemon):
    refused(daemon, "not allowed with <source type='anonymous'/>", "<hugepages/><source type='anonymous'/>")
    refused(daemon, "no size of pages", "<hugepages><page size='3' unit='MiB'/></hugepages>")
    refused(daemon, "nodeset", "<hugepages><page size='2' unit='MiB' nodeset='0'/></hugepages>")
    refused(daemon, "one size", "<hugepages><page size='2048'/><page size='1' unit='G'/></hugepages>")
    refused(daemon, "needs <source type='memfd'/>", "<access mode='shared'/>")
    refused(daemon, "immediate, ondemand", "<allocation mode='soon'/>")
    refused(daemon, "from 1 to 64", "<allocation mode='immediate' threads='0'/>")


def check_sources(daemon):
    with running(daemon, "<source type='memfd'/><access mode='shared'/>") as pid:
        head, _ = mapping(pid)
        assert " rw-s " in head and "memfd:" in head, head
    with running(daemon, "<source type='file'/><access mode='shared'/><discard/>") as pid:
        head, _ = mapping(pid)
        assert " rw-s " in head and f"/run/{UUID}/vmm/" in head and "(deleted)" in head, head
        assert "discard-data" in daemon.said("domxml-to-native", "qemu-argv", "--domain", "backed")


def check_times(daemon):
    with running(daemon, "<allocation mode='ondemand'/>") as pid:
        assert kib(mapping(pid)[1], "Rss") < KIB
    with running(daemon, "<allocation mode='immediate' threads='3'/><nosharepages/>") as pid:
        fields = mapping(pid)[1]
        assert kib(fields, "Rss") == KIB and "mg" not in fields["VmFlags"].split(), fields
    with running(daemon, "<locked/>") as pid:
        fields = mapping(pid)[1]
        assert kib(fields, "Locked") == KIB and "lo" in fields["VmFlags"].split(), fields


NODES = """<maxMemory slots='4' unit='MiB'>512</maxMemory>
<cpu><numa><cell id='0' memory='32768'/><cell id='1' memory='32768'/></numa></cpu>
<numatune><memory mode='strict' nodeset='0'/><memnode cellid='1' mode='preferred' nodeset='0'/></numatune>
<devices><memory model='virtio-mem'><target><size unit='MiB'>128</size><node>1</node>
<block unit='MiB'>2</block><requested unit='MiB'>0</requested></target></memory></devices></domain>"""


def check_nodes(daemon):
    """Backing and <numatune> come together in the backend of each node; a virtio-mem is never taken before."""
    path = os.path.join(daemon.top, "nodes.xml")
    backing = "<hugepages/><access mode='shared'/><allocation mode='immediate' threads='2'/>"
    for kind in (backing, "<allocation mode='immediate'/>"):
        with open(path, "w") as file:
            file.write(XML.format(uuid=UUID, backing=kind).replace("</domain>", NODES).replace(">64<", ">192<"))
        native = daemon.said("domxml-to-native", "qemu-argv", path)
        objects = {found["id"]: found for found in map(json.loads, re.findall(r"-object '(.*?)'", native))}
        assert set(objects) == {"ram-node0", "ram-node1", "memvirtiomem0"}, native
        for name, policy in (("ram-node0", "bind"), ("ram-node1", "preferred"), ("memvirtiomem0", "preferred")):
            found = objects[name]
            assert found["policy"] == policy and found["host-nodes"] == [0], found
            assert found.get("hugetlb", False) == found.get("share", False) == (kind == backing), found
            assert found.get("prealloc", False) == name.startswith("ram"), found
        assert native.count(",memdev=ram-node") == 2 and "memory-backend=" not in native, native


def check_huge(daemon):
    with huge_pages(KIB >> 11) as there:
        if not there:
            print("the host has no 64 MiB for huge pages")
            return
        for backing in ("<hugepages/>",
                        "<hugepages><page size='2' unit='M'/></hugepages><access mode='shared'/>"):
            with running(daemon, backing) as pid:
                head, fields = mapping(pid)
                assert kib(fields, "KernelPageSize") == 2048, fields
                assert kib(fields, "Private_Hugetlb") + kib(fields, "Shared_Hugetlb") == KIB, fields
                assert (" rw-s " in head) == ("shared" in backing), head
        assert "<page size='2048' unit='KiB'/>" in daemon.said("dumpxml", "backed")


def check_no_huge(daemon):
    """Too few are free: the start fails, and not the guest later."""
    free = number(HUGE + "free_hugepages")
    path = os.path.join(daemon.top, "x.xml")
    with open(path, "w") as file:
        file.write(XML.format(uuid=UUID, backing="<hugepages/>").replace(">64<", f">{2 * free + 64}<"))
    daemon.virsh("define", path)
    result = daemon.virsh("start", "backed", check=False)
    assert result.returncode and "huge pages" in result.stdout, result.stdout


def main():
    with Daemon() as daemon:
        check_refusals(daemon)
        check_sources(daemon)
        check_times(daemon)
        check_nodes(daemon)
        check_huge(daemon)
        check_no_huge(daemon)


main()
