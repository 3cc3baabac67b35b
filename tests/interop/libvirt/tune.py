#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh's schedinfo and memtune; the kernel's control groups say what came of them."""
import os
import re

from private import Daemon

XML = """<domain type='qemu'><name>tune</name>
<uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu current='2'>3</vcpu>
<cputune><shares>512</shares><vcpupin vcpu='0' cpuset='0'/></cputune>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features></domain>"""
UUID = f"7dea22b3-1d52-d8f3-2516-{os.getpid():012x}"
COVERS = """DOMAIN_GET_SCHEDULER_TYPE DOMAIN_GET_SCHEDULER_PARAMETERS_FLAGS
DOMAIN_SET_SCHEDULER_PARAMETERS_FLAGS DOMAIN_GET_MEMORY_PARAMETERS DOMAIN_SET_MEMORY_PARAMETERS"""


def mounted(controller):
    """The version 1 hierarchy of that controller, if this host has one that may be written."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, right = line.split(" - ")
            kind, _, options = right.split(None, 2)
            path = left.split()[4]
            if kind == "cgroup" and controller in options.strip().split(",") and os.access(path, os.W_OK):
                return path
    return None


def fails(daemon, text, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and text in result.stdout, f"{args}: {result.stdout}"


def group(controller, *parts):
    return os.path.join(mounted(controller), "berth", UUID, *parts)


def value(controller, *parts):
    with open(group(controller, *parts)) as file:
        return file.read().strip()


def check_stopped(daemon):
    assert re.search(r"cpu_shares *: 512", daemon.said("schedinfo", "tune"))
    daemon.virsh("schedinfo", "tune", "--set", "global_quota=50000", "--config")
    daemon.virsh("memtune", "tune", "--hard-limit", "4194304", "--config")
    assert re.search(r"hard_limit *: 4194304", daemon.said("memtune", "tune"))
    assert re.search(r"soft_limit *: unlimited", daemon.said("memtune", "tune"))
    assert "<hard_limit unit='KiB'>4194304</hard_limit>" in daemon.said("dumpxml", "tune")
    fails(daemon, "out of range", "schedinfo", "tune", "--set", "cpu_shares=1", "--config")


def check_running(daemon):
    with open(os.path.join(daemon.top, "state", "run", UUID, "pid")) as file:
        pid = file.read().strip()
    assert value("cpu", "cpu.shares") == "512" and value("cpu", "cpu.cfs_quota_us") == "50000"
    assert pid in value("cpu", "cgroup.procs").split()
    assert value("memory", "memory.limit_in_bytes") == str(4 << 30)
    daemon.virsh("schedinfo", "tune", "--set", "cpu_shares=2048", "--live")
    daemon.virsh("schedinfo", "tune", "--set", "vcpu_quota=20000", "--set", "global_quota=-1", "--live")
    assert value("cpu", "cpu.shares") == "2048" and value("cpu", "cpu.cfs_quota_us") == "-1"
    for vcpu in ("vcpu0", "vcpu1"):
        assert value("cpu", vcpu, "cpu.cfs_quota_us") == "20000" and value("cpu", vcpu, "tasks")
    # One that is plugged in gets the limit of the others.
    daemon.virsh("setvcpus", "tune", "3", "--live")
    daemon.wait(lambda: os.path.exists(group("cpu", "vcpu2")) and value("cpu", "vcpu2", "tasks"),
                "the third vCPU has a group")
    daemon.virsh("schedinfo", "tune", "--set", "emulator_quota=30000", "--live")
    assert value("cpu", "emulator", "cpu.cfs_quota_us") == "30000"
    assert pid in value("cpu", "emulator", "tasks").split()
    daemon.virsh("memtune", "tune", "--hard-limit", "2097152", "--soft-limit", "1048576", "--live")
    assert value("memory", "memory.limit_in_bytes") == str(2 << 30)
    assert value("memory", "memory.soft_limit_in_bytes") == str(1 << 30)
    daemon.virsh("memtune", "tune", "--hard-limit", "-1", "--live")
    assert int(value("memory", "memory.limit_in_bytes")) > 1 << 60
    assert re.search(r"cpu_shares *: 512", daemon.said("schedinfo", "tune", "--config"))
    fails(daemon, "hard_limit must not be more than swap_hard_limit", "memtune", "tune", "--hard-limit",
          "2097152", "--swap-hard-limit", "1048576", "--live")
    # The later daemon goes on where the former one was.
    daemon.stop()
    daemon.start()
    daemon.virsh("schedinfo", "tune", "--set", "vcpu_quota=40000", "--live")
    assert value("cpu", "vcpu0", "cpu.cfs_quota_us") == "40000" and value("cpu", "vcpu0", "tasks")


def main():
    with Daemon() as daemon:
        path = os.path.join(daemon.top, "tune.xml")
        with open(path, "w") as file:
            file.write(XML.format(uuid=UUID))
        daemon.virsh("define", path)
        check_stopped(daemon)
        if mounted("cpu") and mounted("memory"):
            daemon.virsh("start", "tune")
            check_running(daemon)
            daemon.virsh("destroy", "tune")
            daemon.wait(lambda: not os.path.exists(group("cpu")), "the group is gone")
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
