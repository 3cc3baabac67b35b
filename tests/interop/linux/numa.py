#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock kernel finds the memory nodes of -numa: their CPUs, their sizes, their distances."""
import re

import vmm
from vmm import Failed, Guest

MIB = 1 << 20


def nodes(guest):
    """{node: (cpulist, distances, MiB of memory)} as the guest's sysfs has them."""
    text = guest.run("for n in /sys/devices/system/node/node*; do echo node ${n##*node} "
                     "$(cat $n/cpulist) : $(cat $n/distance) : "
                     "$(sed -n 's/.*MemTotal: *\\([0-9]*\\).*/\\1/p' $n/meminfo); done", 60)
    found = re.findall(r"node (\d+) (\S*) ?: ([\d ]+) : (\d+)", text)
    return {int(n): (cpus, distances, int(kib) // 1024) for n, cpus, distances, kib in found}


def check(memory, cpus, options, expected):
    command = vmm.direct("cloud", cpus, memory, append="quiet", extra=options)
    with Guest(command) as guest:
        guest.expect("guest# ", 300)
        guest.send("stty -echo\n")
        found = nodes(guest)
        guest.send("poweroff -f\n")
        guest.wait(60)
    if set(found) != set(expected):
        raise Failed(f"the guest has the nodes {found}")
    for node, (cpulist, distances, mib) in expected.items():
        # The kernel keeps some of the memory to itself before it counts.
        if found[node][:2] != (cpulist, distances) or not mib * 0.8 <= found[node][2] <= mib:
            raise Failed(f"node {node} is {found[node]} in the guest, not {expected[node]}")


def parts_of_one_memory():
    check("640", 4, ["-numa", "node,cpus=0,cpus=3,mem=384M", "-numa", "node,nodeid=1,cpus=1-2,mem=256M",
                     "-numa", "dist,src=0,dst=1,val=33"],
          {0: ("0,3", "10 33", 384), 1: ("1-2", "33 10", 256)})


def back_ends():
    """Each node has memory of its own, one of them round the hole below 4 GiB."""
    check("5G", 2, ["-object", "memory-backend-ram,id=a,size=3G,host-nodes=0,policy=bind",
                    "-object", "memory-backend-memfd,id=b,size=2G,share=on",
                    "-numa", "node,memdev=a", "-numa", "node,memdev=b",
                    "-numa", "cpu,node-id=0,core-id=0", "-numa", "cpu,node-id=1,core-id=1"],
          {0: ("0", "10 20", 3072), 1: ("1", "20 10", 2048)})


vmm.main(parts_of_one_memory, back_ends)
