#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""On a file system that can share blocks a copy of a volume takes no room. The test makes an XFS in a
file and mounts it in a mount namespace of its own, for which it must be root."""
import os
import subprocess
import sys

from private import Daemon

SKIP = 77
SIZE = 64 << 20


def prepare(top):
    """Mount the file system; skip the test where that is not allowed."""
    image, folder = os.path.join(top, "xfs"), os.path.join(top, "mounted")
    os.mkdir(folder)
    with open(image, "wb") as file:
        file.truncate(512 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, folder], check=False).returncode:
        sys.exit(SKIP)
    return folder


def used(folder):
    fs = os.statvfs(folder)
    return (fs.f_blocks - fs.f_bfree) * fs.f_frsize


def content(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    if os.environ.get("BERTH_NAMESPACE") != "mine":
        if os.geteuid() != 0:
            sys.exit(SKIP)
        os.execvpe("unshare", ["unshare", "-m", sys.executable, os.path.abspath(__file__)],
                   dict(os.environ, BERTH_NAMESPACE="mine"))
    with Daemon() as daemon:
        folder = prepare(daemon.top)
        try:
            check(daemon, folder)
        finally:
            daemon.virsh("pool-destroy", "pool", check=False)
            subprocess.run(["umount", folder], check=True)


def check(daemon, folder):
    daemon.virsh("pool-create-as", "pool", "dir", "--target", folder)
    daemon.virsh("vol-create-as", "pool", "disk", str(SIZE))
    with open(os.path.join(folder, "disk"), "r+b") as file:
        file.write(os.urandom(SIZE))
    os.sync()
    before = used(folder)
    daemon.virsh("vol-clone", "disk", "copy", "pool")
    daemon.virsh("vol-clone", "disk", "reflink", "pool", "--reflink")
    os.sync()
    assert used(folder) - before < SIZE // 4
    original = content(os.path.join(folder, "disk"))
    with open(os.path.join(folder, "copy"), "r+b") as file:
        file.write(b"changed")
    assert content(os.path.join(folder, "disk")) == content(os.path.join(folder, "reflink")) == original
    assert content(os.path.join(folder, "copy"))[7:] == original[7:]
    daemon.virsh("vol-create-as", "pool", "image", "10M", "--format", "qcow2")
    daemon.virsh("vol-clone", "image", "image2", "pool", "--reflink")
    assert content(os.path.join(folder, "image")) == content(os.path.join(folder, "image2"))


main()
