#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh's blkiotune; the kernel's control groups say what came of it."""
import os
import re
import subprocess

import ether
from private import Daemon
from real_libvirtd import Libvirtd

XML = """<domain type='qemu'><name>blkio</name>
<uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<blkiotune><device><write_bytes_sec>2097152</write_bytes_sec><path>{device}</path></device><weight>300</weight>
</blkiotune><os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features></domain>"""
UUID = f"7dea22b3-1d52-d8f3-2517-{os.getpid():012x}"
COVERS = """DOMAIN_GET_BLKIO_PARAMETERS DOMAIN_SET_BLKIO_PARAMETERS"""
GROUP = f"/sys/fs/cgroup/blkio/berth/{UUID}"


class Loop:
    """A block device of the test's own, whose scheduler knows weights."""

    def __init__(self, folder):
        image = os.path.join(folder, "loop")
        with open(image, "wb") as file:
            file.truncate(16 << 20)
        self.path = subprocess.run(["losetup", "-f", "--show", image], check=True, text=True,
                                   stdout=subprocess.PIPE).stdout.strip()
        queue = f"/sys/block/{os.path.basename(self.path)}/queue/scheduler"
        with open(queue) as file:
            self.weighs = "bfq" in file.read()
        if self.weighs:
            with open(queue, "w") as file:
                file.write("bfq")
        number = os.stat(self.path).st_rdev
        self.number = f"{os.major(number)}:{os.minor(number)}"

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        subprocess.run(["losetup", "-d", self.path], check=True)


def fails(daemon, text, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0 and text in result.stdout, f"{args}: {result.stdout}"


def lines(name):
    with open(os.path.join(GROUP, name)) as file:
        return file.read().splitlines()


def shown(server, *args):
    return dict(re.findall(r"^(\S+) *: (.*)$", server.said("blkiotune", "blkio", *args) + "\n", re.MULTILINE))


def check_stopped(servers, device):
    """What a client sees of the definition, side by side with libvirtd."""
    steps = (("--device-read-iops-sec", f"{device},100"), ("--weight", "500"),
             ("--device-write-bytes-sec", f"{device},0"), ("--device-weights", f"{device},200,/dev/none,300"),
             ("--device-weights", "/dev/none,0"))
    for step in ((),) + steps:
        said = []
        for server in servers:
            if step:
                server.virsh("blkiotune", "blkio", *step, "--config")
            text = server.said("dumpxml", "blkio", "--inactive")
            said.append((shown(server), re.search("<blkiotune>.*</blkiotune>", text, re.DOTALL).group()))
        assert said[0] == said[1], f"{step}\nlibvirtd: {said[0]}\nberthd: {said[1]}"
    daemon = servers[1]
    fails(daemon, "unable to parse blkio device", "blkiotune", "blkio", "--device-weights", "/dev/sda", "--config")
    fails(daemon, "out of range", "blkiotune", "blkio", "--weight", "5000", "--config")


def check_running(daemon, loop):
    device, number = loop.path, loop.number
    with open(os.path.join(daemon.top, "state", "run", UUID, "pid")) as file:
        assert file.read().strip() in lines("cgroup.procs")
    assert lines("blkio.throttle.read_iops_device") == [f"{number} 100"]
    assert not lines("blkio.throttle.write_bps_device")
    if loop.weighs:
        assert lines("blkio.bfq.weight")[0].split()[-1] == "500"
        assert f"{number} 200" in lines("blkio.bfq.weight_device")
    daemon.virsh("blkiotune", "blkio", "--device-write-bytes-sec", f"{device},1048576", "--device-read-iops-sec",
                 f"{device},0", "--live")
    assert lines("blkio.throttle.write_bps_device") == [f"{number} 1048576"]
    assert not lines("blkio.throttle.read_iops_device")
    if loop.weighs:
        daemon.virsh("blkiotune", "blkio", "--weight", "200", "--device-weights", f"{device},0", "--live")
        assert lines("blkio.bfq.weight")[0].split()[-1] == "200"
        assert f"{number} 200" not in lines("blkio.bfq.weight_device")
    # What the host cannot do leaves all as it was.
    fails(daemon, "/dev/none", "blkiotune", "blkio", "--device-weights", "/dev/none,300", "--live")
    fails(daemon, "is no block device", "blkiotune", "blkio", "--device-read-bytes-sec",
          f"{device},4096,{daemon.log},4096", "--live")
    assert not lines("blkio.throttle.read_bps_device")
    assert shown(daemon, "--live")["device_write_bytes_sec"] == f"{device},1048576"
    assert shown(daemon, "--config")["device_read_iops_sec"] == f"{device},100"
    # The later daemon goes on where the former one was.
    daemon.stop()
    daemon.start()
    daemon.virsh("blkiotune", "blkio", "--device-write-bytes-sec", f"{device},0", "--live")
    assert not lines("blkio.throttle.write_bps_device")


def main():
    ether.own_network()
    with Daemon() as daemon, Libvirtd() as libvirtd, Loop(daemon.top) as loop:
        path = os.path.join(daemon.top, "blkio.xml")
        with open(path, "w") as file:
            file.write(XML.format(uuid=UUID, device=loop.path))
        for server in (libvirtd, daemon):
            server.virsh("define", path)
        check_stopped((libvirtd, daemon), loop.path)
        if not loop.weighs:
            daemon.virsh("blkiotune", "blkio", "--device-weights", f"{loop.path},0", "--config")
        if os.path.exists("/sys/fs/cgroup/blkio/blkio.throttle.read_iops_device"):
            daemon.virsh("start", "blkio")
            check_running(daemon, loop)
            daemon.virsh("destroy", "blkio")
            daemon.wait(lambda: not os.path.exists(GROUP), "the group is gone")
        missing = set(COVERS.split()) - daemon.called()
        assert not missing, f"not called: {missing}"


main()
