#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian guest boots to systemd's login prompt and has network both ways: login.py CPUS [KERNEL]

With KERNEL another stock kernel than its own, with the test guests' initramfs, starts its disk.
The guest fetches a page from a server on the host through the user-mode network, and the host
reaches sshd in the guest through a forward.
"""
import http.server
import os
import subprocess
import sys
import threading

import vmm
from vmm import Failed, Guest

CPUS = int(sys.argv[1])
KERNEL = sys.argv[2] if len(sys.argv) > 2 else None
sys.argv[1:] = []
PAGE = "a page of the host " * 5000


class Page(http.server.BaseHTTPRequestHandler):
    """Serves PAGE, silently."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_):
        pass


def ssh(port, command):
    key = os.path.join(vmm.debian_image(), "ssh-key")
    done = subprocess.run(
        ["ssh", "-q", "-i", key, "-p", str(port), "-o", "StrictHostKeyChecking=no",
         "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60",
         "root@127.0.0.1", command], stdout=subprocess.PIPE, text=True, timeout=180, check=False)
    if done.returncode:
        raise Failed(f"ssh into the guest gave status {done.returncode}")
    return done.stdout


def boots_to_login_with_network():
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = vmm.free_port()
    command = vmm.debian(CPUS, kernel=KERNEL, extra=[
        "-netdev", f"user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device", "virtio-net-pci,netdev=n", "-device", "virtio-rng-pci"])
    with Guest(command) as guest:
        guest.login(600)
        print(f"# login {guest.elapsed():.1f} s after exec")
        print("# kernel " + guest.run("uname -v; uname -r", 60).strip().replace("\n", " "))
        if KERNEL and ("cloud" in guest.run("uname -r", 60)) != (KERNEL == "cloud"):
            raise Failed("that is another kernel")
        cpus = guest.run("nproc", 60).strip()
        if cpus != str(CPUS):
            raise Failed(f"the guest sees {cpus} CPUs, not {CPUS}")
        fetched = guest.run(
            f"curl -s http://10.0.2.2:{server.server_port}/ | sha256sum", 120).split()[0]
        wanted = subprocess.run(["sha256sum"], input=PAGE, text=True, check=True,
                                stdout=subprocess.PIPE).stdout.split()[0]
        if fetched != wanted:
            raise Failed("the guest fetched something else than the host's page")
        if "berth" not in ssh(port, "cat /etc/hostname"):
            raise Failed("ssh did not reach the guest")
        failed_units = guest.run("systemctl --failed --no-legend --plain", 60).strip()
        if failed_units:
            raise Failed(f"units failed in the guest: {failed_units}")
        guest.send("poweroff\n")
        if guest.wait(180) != 0:
            raise Failed("poweroff did not end the VMM with status 0")
    server.shutdown()


vmm.main(boots_to_login_with_network)
