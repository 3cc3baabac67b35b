#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a VMM's process may have: locked memory by <locked/> and <memtune>, files by max_files; /proc says it."""
import os
import re

import ether
from private import Daemon
from real_libvirtd import Libvirtd

XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>{tune}
{backing}<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features></domain>"""
LOCKED = "<memoryBacking><locked/></memoryBacking>"
HARD = "<memtune><hard_limit unit='GiB'>8</hard_limit></memtune>"


def write_settings(daemon):
    path = os.path.join(daemon.top, "berthd.conf")
    with open(path, "w") as file:
        file.write("max_files = 777\n")
    daemon.arguments = ("--config", path)


def start(daemon, name, tune, backing):
    path = os.path.join(daemon.top, "limits.xml")
    with open(path, "w") as file:
        file.write(XML.format(name=name, tune=tune, backing=backing))
    daemon.virsh("define", path)
    daemon.virsh("start", name)
    with open(os.path.join(daemon.top, "state", "run", daemon.said("domuuid", name), "pid")) as file:
        return int(file.read())


def limit(pid, name):
    with open(f"/proc/{pid}/limits") as file:
        return re.search(rf"^{name} +(\S+) +(\S+)", file.read(), re.MULTILINE).groups()


def locked_kib(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmLck:\s+(\d+)", file.read()).group(1))


def may_raise():
    """Root of a container often may not."""
    with open("/proc/self/status") as file:
        return int(re.search(r"CapEff:\s+(\w+)", file.read()).group(1), 16) >> 24 & 1


def main():
    ether.own_network()
    with Daemon(prepare=write_settings) as daemon, Libvirtd() as libvirtd:
        plain = start(daemon, "plain", "", "")
        assert limit(plain, "Max open files") == ("777", "777")
        assert limit(plain, "Max locked memory") == limit(daemon.process.pid, "Max locked memory")
        assert locked_kib(plain) == 0
        locked = start(daemon, "locked", "", LOCKED)
        assert locked_kib(locked) >= 64 << 10
        both = start(daemon, "both", HARD, LOCKED)
        assert locked_kib(both) >= 64 << 10
        if may_raise():
            assert limit(locked, "Max locked memory") == ("unlimited", "unlimited")
            assert limit(both, "Max locked memory") == (str(8 << 30),) * 2
        for name in ("plain", "locked", "both"):
            daemon.virsh("destroy", name)
        # The documents are as libvirtd writes them.
        path = os.path.join(daemon.top, "limits.xml")
        libvirtd.virsh("define", path)
        found = [re.search("<memtune>.*</memoryBacking>", server.said("dumpxml", "both", "--inactive"),
                           re.DOTALL).group() for server in (libvirtd, daemon)]
        assert found[0] == found[1], found


main()
