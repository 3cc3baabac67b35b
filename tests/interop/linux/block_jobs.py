#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux writes to a virtio disk while its images move, and meets a disk that is full for a while.

What the guest wrote it sums up itself; what is in the images afterwards, qemu-img tells.
"""
import hashlib
import os
import re
import subprocess

import vmm
from vmm import Failed, Guest, Qmp

MIB = 1 << 20
SIZE = 32
# Blocks of changing content in changing order, again and again.
WRITER = ("i=0; while [ ! -e /stop ]; do i=$((i+1)); yes round-$i | head -c 262144 | "
          "dd of=/dev/vda bs=262144 count=1 seek=$((i*37%128)) conv=notrunc 2>/dev/null; "
          "done; echo $i > /rounds")


def image(*command):
    subprocess.run(["qemu-img", *command], check=True, stdout=subprocess.DEVNULL)


def start(folder, *drive):
    return Guest(vmm.direct("cloud", append="quiet", extra=[
        *drive, "-qmp", f"unix:{folder}/qmp,server=on,wait=off"]))


def sums(path, folder):
    raw = os.path.join(folder, "raw")
    image("convert", "-O", "raw", path, raw)
    with open(raw, "rb") as file:
        return hashlib.md5(file.read()).hexdigest()


def images_move_under_a_guest():
    """Snapshot, mirror to another file, commit: with a writer all the time."""
    with vmm.temporary_folder() as folder:
        path = lambda name: os.path.join(folder, name)
        image("create", "-q", "-f", "qcow2", path("disk"), f"{SIZE}M")
        with start(folder, "-drive", f"file={path('disk')},format=qcow2,id=d,if=virtio") as guest:
            guest.expect("guest# ", 300)
            qmp = Qmp(path("qmp"), 60)
            guest.run("dd if=/dev/urandom of=/dev/vda bs=1M count=16 2>/dev/null", 120)
            guest.run(f"setsid sh -c '{WRITER}' </dev/null >/dev/null 2>&1 & true", 30)
            qmp.call("blockdev-snapshot-sync", device="d", snapshot_file=path("over"),
                     snapshot_node_name="over")
            qmp.call("drive-mirror", device="d", job_id="m", target=path("copy"), sync="full",
                     format="qcow2")
            qmp.wait_event("BLOCK_JOB_READY")
            qmp.call("job-complete", id="m")
            event = qmp.wait_event("BLOCK_JOB_COMPLETED")
            if "error" in event["data"]:
                raise Failed(f"the mirror: {event}")
            qmp.call("blockdev-snapshot-sync", device="d", snapshot_file=path("over2"))
            guest.run("sleep 1", 30)
            qmp.call("block-commit", device="d", job_id="c")
            qmp.wait_event("BLOCK_JOB_READY")
            qmp.call("job-complete", id="c")
            qmp.wait_event("BLOCK_JOB_COMPLETED")
            guest.run("touch /stop; while [ ! -e /rounds ]; do sleep 0.1; done; sync", 120)
            told = guest.run("cat /rounds; dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | md5sum", 120)
            rounds = re.search(r"^(\d+)$", told, re.M).group(1)
            md5 = re.search(r"[0-9a-f]{32}", told).group(0)
            print(f"# {rounds} rounds written meanwhile")
            guest.send("poweroff -f\n")
            guest.wait(60)
        if sums(path("copy"), folder) != md5:
            raise Failed("the image differs from what the guest reads")
        image("check", "-q", path("copy"))


def a_full_disk_pauses():
    """Writes fail with ENOSPC three times: the machine pauses, and goes on where it was."""
    with vmm.temporary_folder() as folder:
        path = os.path.join(folder, "disk")
        image("create", "-q", "-f", "raw", path, f"{SIZE}M")
        with start(folder, "-blockdev",
                   f"fault,node-name=f,file.driver=file,file.filename={path},faults.0.kind=error,"
                   "faults.0.iotype=write,faults.0.errno=28,faults.0.skip=10,faults.0.times=3",
                   "-device", "virtio-blk-pci,drive=f,werror=enospc,id=v") as guest:
            guest.expect("guest# ", 300)
            qmp = Qmp(os.path.join(folder, "qmp"), 60)
            told = guest.run("dd if=/dev/urandom of=/data bs=1M count=4 2>/dev/null; md5sum /data", 60)
            guest.send("dd if=/data of=/dev/vda bs=64k oflag=direct conv=fsync; echo done $?\n")
            error = qmp.wait_event("BLOCK_IO_ERROR")["data"]
            if not error["nospace"] or error["action"] != "stop":
                raise Failed(f"BLOCK_IO_ERROR: {error}")
            qmp.wait_event("STOP")
            pauses, done = 0, False
            while not done and pauses < 4:
                if qmp.call("query-status")["status"] == "io-error":
                    pauses += 1
                    qmp.call("cont")
                try:
                    done = guest.expect(r"done 0\s", 2)
                except Failed:
                    continue
            # Requests that were under way together fail together, and count as one pause.
            if not done or not 1 <= pauses <= 3:
                raise Failed(f"{pauses} pauses, done: {done}; {guest.tail()}")
            guest.send("poweroff -f\n")
            guest.wait(60)
        with open(path, "rb") as file:
            if hashlib.md5(file.read(4 * MIB)).hexdigest() not in told:
                raise Failed("bytes of the guest are missing in the image")


vmm.main(images_move_under_a_guest, a_full_disk_pauses)
