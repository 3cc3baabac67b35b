#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-install and `berth install` from media: a tree, an ISO image, a web server, a CD that boots by
itself, and cloud-init's seed. The installer is a stock kernel whose init says what it got."""
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading

from private import BUILD, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

LIMIT = 300
TOOLS = {"virt": ["virt-install"], "berth": [os.path.join(BUILD, "bin", "berth"), "install"]}
# The seed of cloud-init is a disk with the label cidata.
SHOW = ("berth.run=mkdir,-p,/m;mount,-r,/dev/sr0,/m;ls,/m;cat,/m/meta-data,/m/user-data;echo,cd,ends")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


class Installer:
    """A Debian-like medium: as a folder, as an ISO image with a boot record, and on a web server."""

    def __init__(self, folder):
        self.files = testlib.kernel("cloud")
        self.tree, self.iso, self.web = (f"{folder}/{name}" for name in ("debian-amd64", "amd64.iso", "web"))
        self.put(f"{self.tree}/install.amd", "vmlinuz")
        self.put(f"{self.tree}/install/netboot/debian-installer/amd64", "linux")
        write(f"{self.tree}/.disk/info", 'Debian GNU/Linux 11.0.0 "Bullseye" - Official amd64 NETINST\n')
        write(f"{self.tree}/boot/grub/grub.cfg",
              "set timeout=0\nserial\nterminal_output serial\nmenuentry install {\n"
              f"linux /install.amd/vmlinuz console=ttyS0 {SHOW}\ninitrd /install.amd/initrd.gz\n}}\n")
        # As on Debian's servers.
        images = f"{self.web}/dists/bullseye/main/installer-amd64/current/images"
        self.put(f"{images}/netboot/debian-installer/amd64", "linux")
        write(f"{images}/MANIFEST", "netboot/debian-installer/amd64/linux -- kernel of debian-installer\n")
        subprocess.run(["grub-mkrescue", "-o", self.iso, self.tree, "--", "-volid",
                        "Debian 11.0.0 amd64 n"], check=True, capture_output=True)


    def put(self, folder, kernel):
        os.makedirs(folder)
        for path, name in zip(self.files, (kernel, "initrd.gz")):
            os.link(path, f"{folder}/{name}") if os.stat(path).st_dev == os.stat(folder).st_dev else \
                shutil.copy(path, f"{folder}/{name}")


def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def install(daemon, tool, name, *args):
    """The text that the guest wrote on its serial port until it powered off."""
    environment = dict(os.environ, LC_ALL="C", HOME=daemon.top, XDG_CACHE_HOME=f"{daemon.top}/cache")
    command = [*TOOLS[tool], "--connect", daemon.uri(), "--name", name, "--memory", "256", "--vcpus", "1",
               "--osinfo", "debian11", "--network", "none", "--graphics", "none", "--noautoconsole",
               "--wait", "-1", "--noreboot", *args]
    result = subprocess.run(command, text=True, timeout=LIMIT, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}"
    return result.stdout


if __name__ == "__main__":
    with Daemon() as daemon:
        os.mkdir(f"{daemon.top}/media")
        installer = Installer(f"{daemon.top}/media")
        server = serve(installer.web)
        url = f"http://127.0.0.1:{server.server_port}/dists/bullseye/main/installer-amd64/"
        for n, w in enumerate((installer.tree, installer.iso, url)):
            print(install(daemon, "virt", f"a{n}", "--disk", "none", "--location", w, "--extra-args", f"console=ttyS0 {SHOW}", "--serial", f"file,path={daemon.top}/a.log"))
            print(open(f"{daemon.top}/a.log").read()[-600:])
        print(install(daemon, "virt", f"b{n}", "--disk", "none", "--cdrom", installer.iso, "--serial", f"file,path={daemon.top}/a.log"))
        print(open(f"{daemon.top}/a.log").read()[-600:])
