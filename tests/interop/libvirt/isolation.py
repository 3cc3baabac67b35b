#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What keeps VMs apart: rights that a VMM gives up, images that only one may write, owners of images."""
import os
import subprocess
import sys

from private import Daemon

XML = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os>{extra}<devices>{devices}</devices></domain>"""
DISK = ("<disk type='file' device='{device}'><driver name='qemu' type='raw'/><source file='{path}'/>"
        "<target dev='{target}' bus='{bus}'/>{extra}</disk>")


def disk(path, target="vda", device="disk", bus="virtio", extra=""):
    return DISK.format(path=path, target=target, device=device, bus=bus, extra=extra)


def make(daemon, name, size=1 << 20):
    path = os.path.join(daemon.top, name)
    with open(path, "wb") as file:
        file.truncate(size)
    return path


def define(daemon, name, devices="", extra=""):
    path = os.path.join(daemon.top, f"{name}.xml")
    with open(path, "w") as file:
        file.write(XML.format(name=name, devices=devices, extra=extra))
    daemon.virsh("define", path)


def fails(daemon, *args):
    result = daemon.virsh(*args, check=False)
    assert result.returncode != 0, f"{args} should fail: {result.stdout}"
    return result.stdout


def process_status(daemon, name):
    """The fields of /proc/PID/status of a domain's VMM."""
    uuid = daemon.said("domuuid", name)
    with open(os.path.join(daemon.top, "state", "run", uuid, "pid")) as file:
        pid = int(file.read())
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":", 1) for line in file)


def check_rights(daemon):
    define(daemon, "confined")
    daemon.virsh("start", "confined")
    status = process_status(daemon, "confined")
    assert int(status["Seccomp"]) == 2, "a seccomp filter is on"
    assert int(status["NoNewPrivs"]) == 1, "no program gives it new rights"
    daemon.virsh("destroy", "confined")
    daemon.virsh("undefine", "confined")


def check_lock(daemon):
    """The second name of an image is still the same image."""
    image = make(daemon, "shared.img")
    other = os.path.join(daemon.top, "other.img")
    os.symlink(image, other)
    define(daemon, "first", disk(image))
    define(daemon, "second", disk(other))
    daemon.virsh("start", "first")
    output = fails(daemon, "start", "second")
    assert f"'{other}'" in output and "in use" in output and "domain 'first'" in output, output
    assert daemon.said("domstate", "first") == "running"
    daemon.virsh("destroy", "first")
    daemon.virsh("start", "second")
    daemon.virsh("destroy", "second")
    for name in ("first", "second"):
        daemon.virsh("undefine", name)


def check_cpu(daemon):
    """check='full': the guest gets all features or does not start."""
    model = "<cpu mode='custom' match='exact' check='{}'><model>EPYC</model></cpu>"
    define(daemon, "strict", extra=model.format("full"))
    output = fails(daemon, "start", "strict")
    assert "-cpu EPYC" in output and "misalignsse" in output, output
    for check in ("none", "partial"):
        define(daemon, "lax", extra=model.format(check))
        daemon.virsh("start", "lax")
        daemon.virsh("destroy", "lax")
        daemon.virsh("undefine", "lax")
    daemon.virsh("undefine", "strict")


def check_volume_label(daemon):
    folder = os.path.join(daemon.top, "pool")
    os.mkdir(folder)
    daemon.virsh("pool-create-as", "p", "dir", "--target", folder)
    path = os.path.join(daemon.top, "volume.xml")
    text = ("<volume><name>v</name><capacity>65536</capacity><target><permissions>{}<mode>0640</mode>"
            "<owner>{}</owner></permissions></target></volume>")
    with open(path, "w") as file:
        file.write(text.format("<label>virt_image_t</label>", os.getuid()))
    output = fails(daemon, "vol-create", "p", path)
    assert "<label>" in output and not os.path.exists(os.path.join(folder, "v")), output
    with open(path, "w") as file:
        file.write(text.format("", os.getuid()))
    daemon.virsh("vol-create", "p", path)
    status = os.stat(os.path.join(folder, "v"))
    assert status.st_mode & 0o777 == 0o640 and status.st_uid == os.getuid()


def main():
    with Daemon() as daemon:
        check_rights(daemon)
        check_lock(daemon)
        check_cpu(daemon)
        check_volume_label(daemon)


main()
