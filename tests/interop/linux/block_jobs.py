#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux writes to a virtio disk while its images move, and meets disks that are full or bad for a while.

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


def start(folder, *drive, kernel="cloud"):
    return Guest(vmm.direct(kernel, append="quiet", extra=[
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


def status_of(qmp, device):
    """io-status of the device's disk; None: it has none."""
    return next(d.get("io-status") for d in qmp.call("query-block") if d.get("qdev") == device)


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
            if status_of(qmp, "v") != "nospace":
                raise Failed(f"the disk is {status_of(qmp, 'v')}, not full")
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
            if status_of(qmp, "v") != "ok":
                raise Failed(f"the disk is {status_of(qmp, 'v')} after all")
            guest.send("poweroff -f\n")
            guest.wait(60)
        with open(path, "rb") as file:
            if hashlib.md5(file.read(4 * MIB)).hexdigest() not in told:
                raise Failed("bytes of the guest are missing in the image")


BAD_SECTOR = 2048  # read in vain, twice
READERS = (("virtio-blk-pci", "vda"), ("ide-hd", "sda"))


def bad_disk(folder, name, device, policy):
    """Arguments for a disk whose bytes are all 0x55 and whose bad sector shows only in the third try."""
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(4 * MIB * b"U")
    return ("-blockdev", f"fault,node-name={name},file.driver=file,file.filename={path},faults.0.kind=error,"
            f"faults.0.iotype=read,faults.0.sector={BAD_SECTOR},faults.0.times=2",
            "-device", f"{device},drive={name},id=d-{name},rerror={policy}")


def read_bad(guest, disk):
    """dd's status and what it got, of the bad sector."""
    told = guest.run(f"dd if=/dev/{disk} bs=4096 skip={BAD_SECTOR // 8} count=1 iflag=direct 2>/dev/null "
                     ">/got; echo status=$?; tr -d 'U' </got | wc -c; wc -c </got", 60)
    return tuple(map(int, re.search(r"status=(\d+)\s+(\d+)\s+(\d+)", told).groups()))


def reads_fail_as_told():
    """rerror=report: the guest gets an error; ignore: it gets something; both without a pause. stop: the
    machine pauses at each try, and the guest gets the bytes in the end."""
    for policy in ("report", "ignore", "stop"):
        with vmm.temporary_folder() as folder:
            disks = [part for device, name in READERS for part in bad_disk(folder, name, device, policy)]
            with start(folder, *disks, kernel="generic") as guest:
                guest.expect("guest# ", 300)
                qmp = Qmp(os.path.join(folder, "qmp"), 60)
                for _, name in READERS:
                    check_reader(guest, qmp, name, policy)
                guest.send("poweroff -f\n")
                guest.wait(60)


def check_reader(guest, qmp, name, policy):
    if policy == "stop":
        guest.send(f"dd if=/dev/{name} bs=4096 skip={BAD_SECTOR // 8} count=1 iflag=direct 2>/dev/null | "
                   "tr -d U | wc -c; echo done ''$?\n")
        for _ in range(2):
            told = qmp.wait_event("BLOCK_IO_ERROR")["data"]
            if (told["action"], told["operation"], told["nospace"]) != ("stop", "read", False):
                raise Failed(f"{name}: {told}")
            qmp.wait_event("STOP")
            if status_of(qmp, f"d-{name}") != "failed":
                raise Failed(f"{name} is {status_of(qmp, f'd-{name}')}, not failed")
            qmp.call("cont")
        guest.expect(r"\b0\s+done 0", 60)
        if status_of(qmp, f"d-{name}") != "ok":
            raise Failed(f"{name} is {status_of(qmp, f'd-{name}')} after all")
        return
    status, other, length = read_bad(guest, name)
    told = qmp.wait_event("BLOCK_IO_ERROR")["data"]
    if told["action"] != policy or qmp.call("query-status")["status"] != "running":
        raise Failed(f"{name}: {told}")
    if policy == "ignore" and (status, length) != (0, 4096):
        raise Failed(f"{name}: an ignored error gave {status}, {length} bytes, {other} of them wrong")
    if policy == "report" and (status, length) != (1, 0):
        raise Failed(f"{name}: a reported error gave {status}, {length} bytes, {other} of them wrong")


vmm.main(images_move_under_a_guest, a_full_disk_pauses, reads_fail_as_told)
