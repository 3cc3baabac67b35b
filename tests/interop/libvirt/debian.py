#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Debian image from virt-install to undefine, all of it by Debian's own clients."""
import os
import subprocess
import sys

from private import Daemon

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import guest as testlib  # noqa: E402


def install(daemon, disk):
    """The image boots by its own GRUB, from SeaBIOS."""
    environment = dict(os.environ, LC_ALL="C", HOME=daemon.top, XDG_CACHE_HOME=daemon.top)
    command = ["virt-install", "--connect", daemon.uri(), "--name", "deb", "--memory", "768", "--vcpus",
               "2", "--import", "--osinfo", "debian11", "--network", "user", "--graphics", "none",
               "--disk", disk, "--noautoconsole"]
    result = subprocess.run(command, text=True, timeout=120, env=environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout


def plug(daemon, guest):
    extra = os.path.join(daemon.top, "images", "extra.qcow2")
    daemon.virsh("vol-create-as", "images", "extra.qcow2", "16M", "--format", "qcow2")
    daemon.virsh("attach-disk", "deb", extra, "vdb", "--subdriver", "qcow2", "--serial", "extra", "--live")
    guest.run("udevadm settle; for n in $(seq 60); do [ -b /dev/vdb ] && break; sleep 1; done; "
              "mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo kept >/mnt/file && umount /mnt", 180)
    assert "extra" in guest.run("cat /sys/block/vdb/serial", 60)
    daemon.virsh("detach-disk", "deb", "vdb", "--live")
    guest.run("[ ! -b /dev/vdb ]", 60)
    daemon.virsh("attach-interface", "deb", "user", "none", "--model", "virtio", "--mac",
                 "52:54:00:00:00:42", "--live", check=False)
    path = os.path.join(daemon.top, "nic.xml")
    with open(path, "w") as file:
        file.write("<interface type='user'><mac address='52:54:00:00:00:42'/><model type='virtio'/>"
                   "</interface>")
    if "52:54:00:00:00:42" not in daemon.said("domiflist", "deb"):
        daemon.virsh("attach-device", "deb", path, "--live")
    guest.run("for n in $(seq 60); do ip -br link | grep -q 52:54:00:00:00:42 && break; sleep 1; done; "
              "ip -br link | grep 52:54:00:00:00:42", 120)


def edit(daemon, name):
    """virsh edit with an editor that changes one word."""
    editor = os.path.join(daemon.top, "editor")
    with open(editor, "w") as file:
        file.write("#!/bin/sh\nsed -i 's#<vcpu>2</vcpu>#<vcpu>1</vcpu>#; "
                   "s#<vcpu placement=.static.>2</vcpu>#<vcpu>1</vcpu>#' \"$1\"\n")
    os.chmod(editor, 0o755)
    os.environ["EDITOR"] = editor
    assert "edited" in daemon.said("edit", name)
    assert daemon.said("vcpucount", name, "--maximum", "--config") == "1"


def main():
    image = testlib.debian_image()
    with Daemon() as daemon:
        folder = os.path.join(daemon.top, "images")
        os.mkdir(folder)
        disk = os.path.join(folder, "deb.qcow2")
        daemon.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b",
                   os.path.join(image, "debian-12.img"), disk)
        install(daemon, disk)
        with testlib.Guest(["script", "-qfec", f"virsh -c '{daemon.uri()}' console deb --force",
                            "/dev/null"]) as guest:
            guest.login(300)
            plug(daemon, guest)
            assert "block.0.rd.bytes=" in daemon.said("domstats", "deb", "--block")
            daemon.virsh("shutdown", "deb", "--mode", "acpi")
            daemon.wait(lambda: daemon.said("domstate", "deb", "--reason") == "shut off (shutdown)",
                        "systemd powers off by the button")
        edit(daemon, "deb")
        daemon.virsh("undefine", "deb", "--storage", "vda")
        assert not os.path.exists(disk)
        assert daemon.said("list", "--all", "--name") == ""


main()
