#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's virt-install and virt-clone make machines and their disks with a private berthd."""
import os
import subprocess
import xml.etree.ElementTree as tree

from private import Daemon

LIMIT = 120


def run(daemon, program, *args):
    """The tools keep a log and a cache in the person's home."""
    environment = dict(os.environ, LC_ALL="C", HOME=daemon.top, XDG_CACHE_HOME=daemon.top)
    result = subprocess.run([program, "--connect", daemon.uri(), *args], text=True, timeout=LIMIT,
                            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    assert result.returncode == 0, f"{program} {' '.join(args)}:\n{result.stdout}"
    return result.stdout


def install(daemon, name, *args):
    return run(daemon, "virt-install", "--name", name, "--memory", "64", "--vcpus", "1", "--import",
               "--osinfo", "debian11", "--network", "user", "--graphics", "none",
               "--check", "path_in_use=off", *args)


def write(path, pattern):
    subprocess.run(["qemu-io", "-f", path.rpartition(".")[2], "-c", f"write -P {pattern} 1M 300k",
                    path], check=True,
                   stdout=subprocess.PIPE)


def check_print(daemon, folder):
    """The tools define a pool for the folder of a disk, and learn from its volume what it is."""
    disk = os.path.join(folder, "print.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "10M"], check=True)
    said = install(daemon, "print", "--disk", disk, "--print-xml")
    domain = tree.fromstring(said[said.index("<domain"):])
    assert domain.find("devices/disk/driver").get("type") == "qcow2"
    assert domain.find("devices/disk/source").get("file") == disk
    assert os.path.basename(folder) in daemon.said("pool-list", "--name")
    assert daemon.said("vol-path", "print.qcow2", os.path.basename(folder)) == disk


def check_install(daemon, folder):
    disks = [os.path.join(folder, name) for name in ("a.qcow2", "b.raw")]
    install(daemon, "vm", "--disk", f"size=0.03125,path={disks[0]}",
            "--disk", f"size=0.015625,path={disks[1]},format=raw,sparse=yes", "--noautoconsole")
    assert daemon.said("domstate", "vm") == "running"
    sizes = [32 << 20, 16 << 20]
    for disk, size in zip(disks, sizes):
        volume = tree.fromstring(daemon.said("vol-dumpxml", disk))
        assert int(volume.findtext("capacity")) == size
        # Sparse: not all of it has room yet.
        assert os.stat(disk).st_blocks * 512 < size // 2
    daemon.virsh("destroy", "vm")
    return disks


def check_clone(daemon, disks):
    for number, disk in enumerate(disks, 1):
        write(disk, number)
    run(daemon, "virt-clone", "--original", "vm", "--name", "twin", "--auto-clone")
    copies = [disk.get("file") for disk in
              tree.fromstring(daemon.said("dumpxml", "twin")).iterfind("devices/disk/source")]
    assert len(copies) == 2 and not set(copies) & set(disks)
    for disk, copy in zip(disks, copies):
        kind = disk.rpartition(".")[2]
        said = subprocess.run(["qemu-img", "compare", "-f", kind, "-F", kind, disk, copy], text=True,
                              check=True, stdout=subprocess.PIPE).stdout
        assert said == "Images are identical.\n"
    daemon.virsh("start", "twin")
    daemon.virsh("destroy", "twin")
    daemon.virsh("undefine", "twin", "--remove-all-storage")
    assert not any(os.path.exists(copy) for copy in copies)
    daemon.virsh("undefine", "vm")


def main():
    with Daemon() as daemon:
        folder = os.path.join(daemon.top, "disks")
        os.mkdir(folder)
        check_print(daemon, folder)
        check_clone(daemon, check_install(daemon, folder))


main()
