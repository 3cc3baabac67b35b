# SPDX-License-Identifier: GPL-2.0-or-later
"""DPDK's testpmd: a vhost-user server that passes packets on to a tap of the host."""
import os
import subprocess
import time

from guest import Failed


class Testpmd:
    """DPDK without huge pages: a vhost-user port and a tap port, and packets between them."""

    def __init__(self, folder):
        self.log = open(f"{folder}/testpmd.log", "a")
        if os.path.exists(f"{folder}/server"):
            os.unlink(f"{folder}/server")  # one that was killed leaves it, which DPDK minds
        self.process = subprocess.Popen(
            ["dpdk-testpmd", "--no-huge", "-m", "192", "--no-pci", "--no-shconf", "--no-telemetry",
             "--file-prefix", f"berth{os.getpid()}", "--lcores", "0@0,1@0",
             "--vdev", f"net_vhost0,iface={folder}/server,queues=1", "--vdev", "net_tap0,iface=tap0", "--",
             "--no-mlockall", "--auto-start", "--forward-mode=io", "--total-num-mbufs=4096"],
            stdin=subprocess.PIPE, stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while subprocess.run(["ip", "addr", "replace", "10.9.0.1/24", "dev", "tap0"], check=False,
                             stderr=subprocess.DEVNULL).returncode or not os.path.exists(f"{folder}/server"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log.name) as log:
                    raise Failed("testpmd does not start:\n" + log.read()[-3000:])
            time.sleep(0.1)
        subprocess.run(["ip", "link", "set", "tap0", "up"], check=True)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.log.close()
