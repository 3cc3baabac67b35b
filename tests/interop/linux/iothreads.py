#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux writes to disks with I/O threads of their own while their images move, the machine stops and goes on,
and a third disk with a thread comes and goes.

The kernel tells which thread works; what the guest wrote it sums up itself, and qemu-img what is in the images.
"""
import hashlib
import os
import re
import subprocess

import vmm
from vmm import Failed, Guest, Qmp, check, refused

SIZE = 32
# Blocks of changing content in changing order, past the guest's page cache, again and again.
WRITER = ("i=0; while [ ! -e /stop ]; do i=$((i+1)); yes {disk}-$i | head -c 65536 | "
          "dd of=/dev/{disk} bs=65536 count=1 seek=$((i*37%512)) conv=notrunc oflag=direct 2>/dev/null; "
          "done; echo $i > /rounds-{disk}")


def image(*command):
    subprocess.run(["qemu-img", *command], check=True, stdout=subprocess.DEVNULL)


def sums(path, folder):
    raw = os.path.join(folder, "raw")
    image("convert", "-O", "raw", path, raw)
    with open(raw, "rb") as file:
        return hashlib.md5(file.read()).hexdigest()


def switches(thread):
    """How often the thread has slept since it began."""
    with open(f"/proc/{thread}/status") as status:
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read(), re.M).group(1))


def works(guest, thread):
    """The thread is woken by what the guest writes, and no monitor is asked meanwhile."""
    for _ in range(100):
        before = switches(thread)
        guest.run("sleep 0.1", 30)
        if switches(thread) - before >= 5:
            return
    raise Failed("the I/O thread serves nothing")


def rests(guest, thread):
    """The disk is at home: there is nothing for the thread to do."""
    before = switches(thread)
    guest.run("sleep 0.5", 30)
    check(switches(thread) == before, "the I/O thread works while a job has the disk")


def move_images(guest, qmp, path, thread):
    qmp.call("blockdev-snapshot-sync", device="a", snapshot_file=path("over"), snapshot_node_name="over")
    works(guest, thread)
    qmp.call("drive-mirror", device="a", job_id="m", target=path("copy"), sync="full", format="qcow2")
    qmp.wait_event("BLOCK_JOB_READY")
    rests(guest, thread)
    qmp.call("job-complete", id="m")
    check("error" not in qmp.wait_event("BLOCK_JOB_COMPLETED")["data"], "the mirror failed")
    works(guest, thread)
    for _ in range(50):
        qmp.call("query-blockstats")
    qmp.call("blockdev-snapshot-sync", device="a", snapshot_file=path("over2"))
    qmp.call("stop")
    qmp.call("cont")
    qmp.call("block-commit", device="a", job_id="c")
    qmp.wait_event("BLOCK_JOB_READY")
    qmp.call("job-complete", id="c")
    qmp.wait_event("BLOCK_JOB_COMPLETED")
    works(guest, thread)


def plug(guest, qmp, path):
    """A thread and a disk more, and away again while the guest reads from it."""
    image("create", "-q", "-f", "raw", path("c"), "8M")
    qmp.call("object-add", qom_type="iothread", id="io3")
    qmp.call("blockdev-add", driver="file", node_name="cf", filename=path("c"), cache={"direct": True})
    qmp.call("blockdev-add", driver="raw", node_name="c", file="cf")
    refused(qmp, "no -object iothread with id 'io9'", "device_add", driver="virtio-blk-pci", drive="c", id="dc",
            iothread="io9", bus="port")
    qmp.call("device_add", driver="virtio-blk-pci", drive="c", id="dc", iothread="io3", bus="port")
    refused(qmp, "in use", "object-del", id="io3")
    guest.run("until [ -e /dev/vdc ]; do sleep 0.1; done; "
              "setsid sh -c 'while dd if=/dev/vdc of=/dev/null bs=64k iflag=direct; do :; done' "
              "</dev/null >/dev/null 2>&1 & true", 60)
    thread = next(t["thread-id"] for t in qmp.call("query-iothreads") if t["id"] == "io3")
    works(guest, thread)
    qmp.call("device_del", id="dc")
    qmp.wait_event("DEVICE_DELETED")
    qmp.call("blockdev-del", node_name="c")
    qmp.call("blockdev-del", node_name="cf")
    qmp.call("object-del", id="io3")
    check(not os.path.exists(f"/proc/{thread}/status"), "the thread is left")
    check(len(qmp.call("query-iothreads")) == 2, "an I/O thread is left")


def refuse(qmp, path):
    refused(qmp, "in use", "object-del", id="io1")
    refused(qmp, "does not poll", "object-add", qom_type="iothread", id="x", poll_max_ns=5)
    refused(qmp, "no property 'thread-pool-min'", "object-add", qom_type="iothread", id="x", thread_pool_min=2)
    qmp.call("blockdev-add", driver="fault", node_name="n", file={"driver": "file", "filename": path("c")})
    refused(qmp, "of driver 'fault' can be served by the main loop only", "device_add",
            driver="virtio-blk-pci", drive="n", id="dn", iothread="io1", bus="port")
    qmp.call("blockdev-del", node_name="n")


def disks_have_threads():
    with vmm.temporary_folder() as folder:
        path = lambda name: os.path.join(folder, name)
        image("create", "-q", "-f", "qcow2", path("a"), f"{SIZE}M")
        image("create", "-q", "-f", "raw", path("b"), f"{SIZE}M")
        extra = ["-device", "pcie-root-port,id=port", "-qmp", f"unix:{path('qmp')},server=on,wait=off"]
        for disk, fmt in (("a", "qcow2"), ("b", "raw")):
            number = "ab".index(disk) + 1
            extra += ["-object", f"iothread,id=io{number}", "-drive",
                      f"file={path(disk)},format={fmt},id={disk},if=none,cache=none", "-device",
                      f"virtio-blk-pci,drive={disk},iothread=io{number},num-queues=2"]
        with Guest(vmm.direct("cloud", cpus=2, append="quiet", extra=extra)) as guest:
            guest.expect("guest# ", 300)
            qmp = Qmp(path("qmp"), 60)
            threads = {t["id"]: t["thread-id"] for t in qmp.call("query-iothreads")}
            for disk in ("vda", "vdb"):
                guest.run(f"setsid sh -c '{WRITER.format(disk=disk)}' </dev/null >/dev/null 2>&1 & true", 30)
            for thread in threads.values():
                works(guest, thread)
            move_images(guest, qmp, path, threads["io1"])
            plug(guest, qmp, path)
            refuse(qmp, path)
            guest.run("touch /stop; while [ ! -e /rounds-vda -o ! -e /rounds-vdb ]; do sleep 0.1; done; sync", 120)
            told = [re.search(r"[0-9a-f]{32}", guest.run(
                f"dd if=/dev/{disk} bs=1M iflag=direct 2>/dev/null | md5sum", 120)).group(0)
                for disk in ("vda", "vdb")]
            guest.send("poweroff -f\n")
            check(guest.wait(60) == 0, "the VMM's exit status is not 0")
        for name, wanted in zip(("copy", "b"), told):
            check(sums(path(name), folder) == wanted, f"{name} differs from what the guest reads")
        image("check", "-q", path("copy"))


vmm.main(disks_have_threads)
