#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh's numatune: the document as libvirtd has it; /proc and the control groups say what came of it."""
import os
import re

import ether
from private import Daemon
from real_libvirtd import Libvirtd

XML = """<domain type='qemu'><name>{name}</name>
<memory unit='MiB'>64</memory><vcpu>2</vcpu><cputune><vcpupin vcpu='1' cpuset='0'/></cputune>{tune}
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>{cpu}{backing}</domain>"""
CELLS = """<cpu mode='custom'><model>qemu64</model><numa><cell id='0' cpus='0' memory='32' unit='MiB'/>
<cell id='1' cpus='1' memory='32' unit='MiB'/></numa></cpu>"""
MEMFD = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
COVERS = """DOMAIN_GET_NUMA_PARAMETERS DOMAIN_SET_NUMA_PARAMETERS"""


def define(daemon, server, name, tune="", cpu="", backing=""):
    path = os.path.join(daemon.top, "numa.xml")
    with open(path, "w") as file:
        file.write(XML.format(name=name, tune=tune, cpu=cpu, backing=backing))
    return server.virsh("define", path, check=False)


def fails(daemon, text, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and text in result.stdout, f"{args}: {result.stdout}"


def element(server, name):
    found = re.search("<numatune>.*</numatune>", server.said("dumpxml", name, "--inactive"), re.DOTALL)
    return found and found.group()


def check_documents(daemon, libvirtd):
    tunes = ("", "<numatune><memory nodeset='0,1,2'/></numatune>",
             "<numatune><memory placement='static' nodeset='0-3,^2' mode='interleave'/></numatune>",
             "<numatune><memnode nodeset='0' cellid='1' mode='preferred'/><memory nodeset='0' mode='strict'/></numatune>",
             "<numatune><memory mode='restrictive' nodeset='0'/></numatune>")
    steps = ((), ("--mode", "interleave", "--nodeset", "0"), ("--nodeset", "0,1"), ("--mode", "0"))
    for tune in tunes:
        for server in (libvirtd, daemon):
            result = define(daemon, server, "doc", tune, CELLS)
            assert result.returncode == 0, f"{tune}: {result.stdout}"
        for step in steps:
            said = []
            for server in (libvirtd, daemon):
                if step:
                    server.virsh("numatune", "doc", *step, "--config")
                said.append((element(server, "doc"), server.said("numatune", "doc")))
            assert said[0] == said[1], f"{tune} {step}\nlibvirtd: {said[0]}\nberthd: {said[1]}"
        for server in (libvirtd, daemon):
            server.virsh("undefine", "doc")
    for tune, words in (("<memory mode='strict'/>", "nodeset for NUMA memory tuning must be set"),
                        ("<memory nodeset='0-x'/>", "no list of the host's nodes"),
                        ("<memory nodeset='64'/>", "no list of the host's nodes"),
                        ("<memory placement='auto'/>", "numad"),
                        ("<memnode cellid='2' mode='strict' nodeset='0'/>", "cellid must be"),
                        ("<memory mode='near' nodeset='0'/>", "near")):
        result = define(daemon, daemon, "bad", f"<numatune>{tune}</numatune>", CELLS)
        assert result.returncode and words in result.stdout, result.stdout
    define(daemon, daemon, "doc")
    fails(daemon, "Invalid nodeset", "numatune", "doc", "--nodeset", "64", "--config")


class Running:
    """A domain that runs, and what the kernel says of it."""

    def __init__(self, daemon, name, *document):
        result = define(daemon, daemon, name, *document)
        assert result.returncode == 0, result.stdout
        daemon.virsh("start", name)
        self.daemon, self.name = daemon, name
        self.uuid = daemon.said("domuuid", name)
        with open(os.path.join(daemon.top, "state", "run", self.uuid, "pid")) as file:
            self.pid = int(file.read())

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.daemon.virsh("destroy", self.name)

    def policies(self):
        """How many mappings are bound how: the guest's memory is the only one that is."""
        with open(f"/proc/{self.pid}/numa_maps") as file:
            found = [line.split()[1] for line in file]
        return {policy: found.count(policy) for policy in set(found) if policy != "default"}

    def group(self, file):
        with open(f"/sys/fs/cgroup/cpuset/berth/{self.uuid}/{file}") as text:
            return text.read().strip()

    def has_group(self):
        return os.path.isdir(f"/sys/fs/cgroup/cpuset/berth/{self.uuid}")

    def pinned(self):
        """The CPUs of each thread that may not use all."""
        found = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            found.append(os.sched_getaffinity(int(task)))
        return found.count({0})


def check_running(daemon):
    strict = "<numatune><memory mode='strict' nodeset='0'/></numatune>"
    with Running(daemon, "strict", strict) as domain:
        assert domain.policies() == {"bind:0": 1} and not domain.has_group(), domain.policies()
        fails(daemon, "NUMA node 7 is unavailable", "numatune", "strict", "--nodeset", "7", "--live")
        fails(daemon, "can't change numatune mode", "numatune", "strict", "--mode", "interleave", "--nodeset",
              "0", "--live")
    with Running(daemon, "shared", "<numatune><memory mode='interleave' nodeset='0'/></numatune>", "", MEMFD) as domain:
        assert domain.policies() == {"interleave:0": 1}, domain.policies()
        fails(daemon, "requires strict numa mode", "numatune", "shared", "--nodeset", "7", "--live")
    with Running(daemon, "cells", "<numatune><memory nodeset='0'/>"
                 "<memnode cellid='1' mode='preferred' nodeset='0'/></numatune>", CELLS) as domain:
        assert domain.policies() in ({"bind:0": 1, "prefer:0": 1}, {"bind:0": 1, "prefer (many):0": 1}), \
            domain.policies()
    result = define(daemon, daemon, "far", "<numatune><memory nodeset='7'/></numatune>")
    assert result.returncode == 0
    fails(daemon, "NUMA node 7 is unavailable", "start", "far")


def check_groups(daemon):
    with Running(daemon, "later") as domain:
        assert not domain.policies() and not domain.has_group()
        before = domain.pinned()
        assert before >= 1
        daemon.virsh("numatune", "later", "--nodeset", "0", "--live")
        assert domain.group("cpuset.mems") == "0" and domain.group("cpuset.memory_migrate") == "1"
        assert str(domain.pid) in domain.group("cgroup.procs").split()
        assert domain.pinned() == before, "the group has taken the pin away"
        assert "numa_nodeset   : 0" in daemon.said("numatune", "later", "--live")
        assert daemon.said("numatune", "later", "--config").endswith(":")
    with Running(daemon, "loose", "<numatune><memory mode='restrictive' nodeset='0'/></numatune>") as domain:
        assert not domain.policies() and domain.group("cpuset.mems") == "0" and domain.pinned() >= 1
        daemon.stop()
        daemon.start()
        assert domain.group("cpuset.mems") == "0"
    daemon.wait(lambda: not domain.has_group(), "the group is gone")


def main():
    ether.own_network()
    with Daemon() as daemon, Libvirtd() as libvirtd:
        check_documents(daemon, libvirtd)
        check_running(daemon)
        if os.access("/sys/fs/cgroup/cpuset/cpuset.mems", os.W_OK):
            check_groups(daemon)
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
