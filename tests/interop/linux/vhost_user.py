#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's rings are served by DPDK's testpmd over vhost-user, which passes packets on to a tap of the
host: after a pause, after the guest has taken its driver down, and after testpmd was started anew. In a
network namespace of the test's own."""
import os
import shutil
import subprocess
import sys

import vmm
from vmm import Guest, Qmp, check, refused

from testpmd import Testpmd

INSIDE = "BERTH_TEST_NAMESPACE"
MEMORY = ["-object", "memory-backend-memfd,id=ram,size=512M,share=on", "-machine", "memory-backend=ram"]


def enter_namespace():
    """Run this script again in a network namespace of its own."""
    if os.environ.get(INSIDE):
        return
    os.environ[INSIDE] = "1"
    flags = "-n" if os.geteuid() == 0 else "-rn"
    os.execvp("unshare", ["unshare", flags, sys.executable] + sys.argv)


PING = ("n=0; until ping -c 1 -W 1 -s 1400 10.9.0.1; do n=$((n + 1)); [ $n -lt 60 ] || break; done; "
        "ping -c 2 10.9.0.1")
UP = "ip link set eth0 up && ip addr add 10.9.0.2/24 dev eth0"


def a_switch_in_another_process_serves_the_rings():
    if not shutil.which("dpdk-testpmd"):
        return "dpdk-testpmd is not installed"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened here"
    vmm.testlib.kernel("cloud")
    enter_namespace()
    with vmm.temporary_folder() as folder:
        server = Testpmd(folder)
        nic = ["-chardev", f"socket,id=c,path={folder}/server,reconnect=1",
               "-netdev", "vhost-user,id=n,chardev=c", "-device", "virtio-net-pci,netdev=n",
               "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]
        try:
            alone = subprocess.run(vmm.direct("cloud", extra=nic), stdin=subprocess.DEVNULL, timeout=120,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            check(alone.returncode == 1 and "share=on" in alone.stdout,
                  "a guest whose memory is not shared was not refused: " + alone.stdout)
            with Guest(vmm.direct("cloud", 2, "512,slots=8,maxmem=2G", append="quiet",
                                  extra=MEMORY + nic)) as guest:
                qmp = Qmp(f"{folder}/qmp", 60)
                guest.expect("guest# ", 300)
                guest.send("stty -echo\n")
                guest.run(f"{UP}; {PING}", 120)
                # Memory that testpmd could not have is refused, before the guest has it.
                qmp.call("object-add", **{"qom-type": "memory-backend-ram", "id": "own", "size": 128 << 20})
                refused(qmp, "another process can reach", "device_add", driver="pc-dimm", memdev="own")
                qmp.call("stop")
                qmp.call("cont")
                guest.run(PING, 120)
                guest.run(f"rmmod virtio_net && modprobe virtio_net && {UP}; {PING}", 120)
                server.end()
                guest.run("n=0; while grep -q 1 /sys/class/net/eth0/carrier && [ $n -lt 300 ]; do "
                          "n=$((n + 1)); usleep 100000; done; grep -q 0 /sys/class/net/eth0/carrier", 120)
                server = Testpmd(folder)
                guest.run(PING, 120)
                guest.send("poweroff -f\n")
                check(guest.wait(60) == 0, "a guest's poweroff did not end the VMM with 0")
        finally:
            server.end()


vmm.main(a_switch_in_another_process_serves_the_rings)
