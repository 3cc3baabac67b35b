#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-install and `berth install` from media: a tree, an ISO image, a web server, a CD that boots by
itself, and cloud-init's seed. The installer is a stock kernel whose init says what it got."""
import functools
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

from private import BUILD, Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402

LIMIT = 300
TOOLS = {"virt": ["virt-install"], "berth": [os.path.join(BUILD, "bin", "berth"), "install"]}
# Kernel arguments: the init of the test's guests shows what is on the CD, and powers off.
SHOW = ("berth.run=mkdir,-p,/m;mount,-t,iso9660,-o,ro,/dev/sr0,/m;"
        # The label of the volume: ECMA-119, section 8.4.7.
        "cat,/m/.disk/info,/m/meta-data,/m/user-data;"
        "echo,label,$(dd,if=/dev/sr0,bs=1,skip=32808,count=6)")
WELCOME = "Debian GNU/Linux 11.0.0"


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


class Installer:
    """A Debian-like medium: as a folder, as an ISO image with a boot record, and on a web server."""

    def __init__(self, folder):
        # The cloud kernel starts faster, but knows no SATA disks.
        self.files, fast = testlib.kernel("generic"), testlib.kernel("cloud")
        self.tree, self.iso, self.web = (f"{folder}/{name}" for name in ("debian-amd64", "amd64.iso", "web"))
        self.put(f"{self.tree}/install.amd", "vmlinuz", self.files)
        self.put(f"{self.tree}/install/netboot/debian-installer/amd64", "linux", fast)
        write(f"{self.tree}/.disk/info", 'Debian GNU/Linux 11.0.0 "Bullseye" - Official amd64 NETINST\n')
        write(f"{self.tree}/boot/grub/grub.cfg",
              "set timeout=0\nserial\nterminal_output serial\nmenuentry install {\n"
              f"linux /install.amd/vmlinuz console=ttyS0 '{SHOW}'\ninitrd /install.amd/initrd.gz\n}}\n")
        # As on Debian's servers.
        images = f"{self.web}/dists/bullseye/main/installer-amd64/current/images"
        self.put(f"{images}/netboot/debian-installer/amd64", "linux", fast)
        write(f"{images}/MANIFEST", "netboot/debian-installer/amd64/linux -- kernel of debian-installer\n")
        subprocess.run(["grub-mkrescue", "-o", self.iso, self.tree, "--", "-volid",
                        "Debian 11.0.0 amd64 n"], check=True, capture_output=True)


    @staticmethod
    def put(folder, kernel, files):
        os.makedirs(folder)
        for path, name in zip(files, (kernel, "initrd.gz")):
            shutil.copy(path, f"{folder}/{name}")


def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):  # pylint: disable=invalid-name
            if "/round/" in self.path:
                self.send_response(302)
                self.send_header("Location", self.path)
                self.end_headers()
            elif "/large/" in self.path:
                self.send_response(200)
                self.send_header("Content-Length", str(1 << 40))
                self.end_headers()
                self.wfile.write(b"x")
            else:
                super().do_GET()

        def log_message(self, *words):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def install(daemon, tool, name, *args):
    """What the guest wrote on its serial port until it powered off."""
    environment = dict(os.environ, LC_ALL="C", HOME=daemon.top, XDG_CACHE_HOME=f"{daemon.top}/cache")
    log = f"{daemon.top}/{name}.log"
    command = [*TOOLS[tool], "--connect", daemon.uri(), "--name", name, "--memory", "256", "--vcpus", "1",
               "--osinfo", "debian11", "--network", "none", "--graphics", "none", "--noautoconsole",
               "--serial", f"file,path={log}", "--wait", "5", "--noreboot", *args]
    result = subprocess.run(command, text=True, timeout=LIMIT, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}"
    assert daemon.said("domstate", name) == "shut off"
    kept = daemon.said("dumpxml", name)
    assert "seed.iso" not in kept and "<on_reboot>destroy<" not in kept, kept
    with open(log, encoding="utf-8", errors="replace") as file:
        said = file.read()
    assert "berth-guest: exit 0" in said, said
    return said


def check_location(daemon, media, tool):
    extra = ("--disk", "none", "--extra-args", f"console=ttyS0 word={tool} {SHOW}")
    # From a tree and a server there is no CD.
    for name, place, has_cd in (("tree", media.tree, False), ("iso", media.iso, True),
                                ("web", media.url, False)):
        said = install(daemon, tool, f"{tool}-{name}", "--location", place, *extra)
        assert f"word={tool}" in said and (WELCOME in said) == has_cd, said


def check_cdrom(daemon, media, tool):
    said = install(daemon, tool, f"{tool}-cd", "--disk", "none", "--cdrom", media.iso)
    assert WELCOME in said, said


def check_cloud_init(daemon, media, tool):
    """The disk has a system, here a kernel given apart; its first boot finds the seed."""
    write(f"{daemon.top}/user", f"#cloud-config\n# for {tool}\n")
    kernel, initrd = media.files
    said = install(daemon, tool, f"{tool}-cloud", "--disk", "none", "--cloud-init",
                   f"user-data={daemon.top}/user", "--boot",
                   f"kernel={kernel},initrd={initrd},kernel_args=console=ttyS0 {SHOW}")
    assert f"# for {tool}" in said and "label cidata" in said, said


def check_refusals(daemon, media):
    """What cannot be found is named; nothing is left in the scratch folder."""
    base = [*TOOLS["berth"], "--connect", daemon.uri(), "--name", "no", "--disk", "none", "--location"]
    for place, cause in ((f"{media.tree}/boot", "no installer's kernel is found"),
                         (f"{media.url}nothing/", "no installer's kernel is found"),
                         (f"{media.url}round/", "redirects"), (f"{media.url}large/", "larger than 2048 MiB"),
                         (media.files[0], "neither a folder nor an ISO 9660 image"),
                         (f"{media.iso},kernel=a,initrd=b", "has no a"),
                         (f"{media.iso},kernel=a", "come together"),
                         ("http://127.0.0.1:1/", "cannot fetch"), ("gopher://x/", "cannot fetch")):
        result = subprocess.run([*base, place], capture_output=True, text=True, timeout=LIMIT,
                                env=dict(os.environ, XDG_CACHE_HOME=f"{daemon.top}/cache"))
        assert result.returncode == 1 and cause in result.stderr, (place, result.stderr)
    # Stopped by hand, while a server keeps it waiting.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        waiting = subprocess.Popen([*base, f"http://127.0.0.1:{silent.getsockname()[1]}/"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=dict(os.environ, XDG_CACHE_HOME=f"{daemon.top}/cache"))
        daemon.wait(lambda: os.listdir(f"{daemon.top}/cache/berth") == ["no-vmlinuz"], "it has begun to copy")
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(LIMIT) == -signal.SIGINT
    assert os.listdir(f"{daemon.top}/cache/berth") == []


def main():
    with Daemon() as daemon:
        os.mkdir(f"{daemon.top}/media")
        media = Installer(f"{daemon.top}/media")
        server = serve(media.web)
        media.url = f"http://127.0.0.1:{server.server_port}/dists/bullseye/main/installer-amd64/"
        for tool in TOOLS:
            check_location(daemon, media, tool)
            check_cdrom(daemon, media, tool)
            check_cloud_init(daemon, media, tool)
        check_refusals(daemon, media)
        server.shutdown()


main()
