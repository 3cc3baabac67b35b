#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian boots from a qcow2 chain two deep on zstd clusters, and fio verifies a qcow2 disk while it is
mirrored to another file.

qemu-img makes the images; afterwards it must find neither errors nor leaks in what the guest wrote, and
both sides of the mirror identical.
"""
import os
import subprocess

import vmm
from vmm import Failed, Guest, Qmp


def image(*command):
    subprocess.run(["qemu-img", *command], check=True, stdout=subprocess.DEVNULL)


def boots_from_a_chain():
    source = vmm.testlib.debian_image() + "/debian-12.img"
    with vmm.temporary_folder() as folder:
        path = lambda name: os.path.join(folder, name)
        image("convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", source, path("base.qcow2"))
        image("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", path("middle.qcow2"))
        image("create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", path("top.qcow2"))
        image("create", "-q", "-f", "qcow2", path("scratch.qcow2"), "256M")
        command = vmm.debian(2, snapshot=False, disk=path("top.qcow2"), extra=[
            "-drive", f"file={path('scratch.qcow2')},if=none,id=s,format=qcow2,cache=none,discard=unmap",
            "-device", "virtio-blk-pci,drive=s,serial=scratch", "-qmp",
            f"unix:{path('qmp')},server=on,wait=off"])
        command = [word.replace("top.qcow2,if=virtio,format=raw", "top.qcow2,if=virtio,format=qcow2")
                   for word in command]
        with Guest(command) as guest:
            guest.login(600)
            print(f"# login {guest.elapsed():.0f} s after exec")
            qmp = Qmp(path("qmp"), 60)
            guest.run("(fio --name=v --filename=/dev/disk/by-id/virtio-scratch --rw=randwrite --bs=4k "
                      "--direct=1 --ioengine=libaio --iodepth=16 --size=32M --rate_iops=,2000 "
                      "--verify=crc32c --verify_fatal=1 --verify_backlog=512 --output=/tmp/fio.log; "
                      "echo fio-status $? >/tmp/fio.status) & sleep 1", 60)
            qmp.call("drive-mirror", device="s", job_id="m", target=path("mirror.qcow2"), sync="full",
                     format="qcow2")
            qmp.wait_event("BLOCK_JOB_READY")
            told = guest.run("wait; cat /tmp/fio.status; "
                             "blkdiscard -o 0 -l 16M /dev/disk/by-id/virtio-scratch && sync", 600)
            if "fio-status 0" not in told:
                raise Failed(f"fio: {told}")
            qmp.call("job-complete", id="m")
            event = qmp.wait_event("BLOCK_JOB_COMPLETED")
            if "error" in event["data"]:
                raise Failed(f"the mirror: {event}")
            guest.send("poweroff\n")
            guest.wait(180)
        for name in ("top.qcow2", "scratch.qcow2", "mirror.qcow2"):
            image("check", "-q", path(name))
        image("compare", "-q", path("scratch.qcow2"), path("mirror.qcow2"))


vmm.main(boots_from_a_chain)
