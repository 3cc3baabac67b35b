#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that check their own results, inside the Debian guest on the software engine:
fio on a virtio disk, iperf3 through the user-mode network, stress-ng; and a disk that loses no
flushed write when the VMM is killed."""
import os
import re
import subprocess
import time

import vmm
from vmm import Failed, Guest, Qmp

SCRATCH_MIB = 64


def scratch_disk(folder):
    path = os.path.join(folder, "scratch.img")
    with open(path, "wb") as disk:
        disk.truncate(SCRATCH_MIB << 20)
    return path


def programs_verify_their_results():
    port = vmm.free_port()
    server = subprocess.Popen(["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(port)],
                              stdout=subprocess.DEVNULL)
    try:
        with vmm.temporary_folder() as folder:
            command = vmm.debian(2, extra=[
                "-drive", f"file={scratch_disk(folder)},if=none,id=s,format=raw,cache=none",
                "-device", "virtio-blk-pci,drive=s,num-queues=2,serial=scratch",
                "-nic", "user,model=virtio-net-pci",
                "-qmp", f"unix:{folder}/qmp,server=on,wait=off"])
            with Guest(command) as guest:
                guest.login(600)
                fio_verifies(guest)
                a_mirror_is_the_disk_that_fio_writes(guest, folder)
                iperf3_runs(guest, port)
                stress_verifies(guest)
                guest.send("poweroff\n")
                guest.wait(180)
    finally:
        server.kill()
        server.wait()


def fio_verifies(guest):
    guest.run("fio --name=v --filename=/dev/disk/by-id/virtio-scratch --rw=randwrite --bs=4k "
              "--direct=1 --ioengine=libaio --iodepth=16 --size=32M --verify=crc32c "
              "--verify_fatal=1 --verify_backlog=512 --output=/tmp/fio.log", 600)


def wait_for_writes(qmp, count):
    """Until the disk has had `count` more of them."""
    written = lambda: max(e["stats"]["wr_operations"] for e in qmp.call("query-blockstats"))
    wanted, deadline = written() + count, time.monotonic() + 120
    while written() < wanted:
        if time.monotonic() > deadline:
            raise Failed("fio does not write")
        time.sleep(0.01)


def a_mirror_is_the_disk_that_fio_writes(guest, folder):
    """A live copy to another file is cut off in the middle of fio's writes: both are the same then."""
    qmp = Qmp(f"{folder}/qmp", 60)
    guest.run("fio --name=m --filename=/dev/disk/by-id/virtio-scratch --rw=randwrite --bs=4k --direct=1 "
              "--ioengine=libaio --iodepth=8 --size=32M --time_based --runtime=300 >/dev/null 2>&1 & true", 60)
    wait_for_writes(qmp, 500)
    copy = os.path.join(folder, "copy.qcow2")
    qmp.call("drive-mirror", device="s", job_id="m", target=copy, sync="full", format="qcow2")
    qmp.wait_event("BLOCK_JOB_READY")
    wait_for_writes(qmp, 2000)
    qmp.call("stop")
    qmp.call("block-job-cancel", device="m")
    event = qmp.wait_event("BLOCK_JOB_COMPLETED")["data"]
    if "error" in event or event["offset"] < event["len"]:
        raise Failed(f"the mirror: {event}")
    subprocess.run(["qemu-img", "compare", "-q", "-U", os.path.join(folder, "scratch.img"), copy], check=True)
    qmp.call("cont")
    guest.run("pkill fio; wait; true", 60)


def iperf3_runs(guest, port):
    text = guest.run(f"iperf3 -c 10.0.2.2 -p {port} -t 3 -f m", 120)
    match = re.search(r"([\d.]+) Mbits/sec\s+receiver", text)
    if not match:
        raise Failed("iperf3 gave no result:\n" + text)
    print(f"# user-mode network: {match.group(1)} Mbit/s")


def stress_verifies(guest):
    guest.run("stress-ng --verify --cpu 1 --cpu-ops 60 --vm 1 --vm-bytes 32M --vm-ops 4000 "
              "--memcpy 1 --memcpy-ops 20 --timeout 120s --metrics-brief >/tmp/stress.log 2>&1", 600)


def flushed_writes_survive_a_kill():
    with vmm.temporary_folder() as folder:
        disk = scratch_disk(folder)
        command = vmm.direct("cloud", extra=[
            "-drive", f"file={disk},if=none,id=s,format=raw", "-device", "virtio-blk-pci,drive=s"])
        with Guest(command) as guest:
            guest.expect("guest# ", 300)
            guest.send("stty -echo; i=0; while [ $i -lt 4000 ]; do "
                       "yes block-$i | head -c 4096 | dd of=/dev/vda bs=4096 count=1 seek=$i "
                       "conv=notrunc,fsync iflag=fullblock 2>/dev/null || exit; "
                       "echo flushed $i; i=$((i+1)); done\n")
            guest.expect("flushed 30\\D", 300)
            time.sleep(0.3)
            guest.kill()
        last = max(int(n) for n in re.findall(r"flushed (\d+)\r?\n", guest.output))
        with open(disk, "rb") as image:
            for number in range(last + 1):
                line = f"block-{number}\n".encode()
                wanted = (line * (4096 // len(line) + 1))[:4096]
                if image.read(4096) != wanted:
                    raise Failed(f"block {number} was flushed, but is lost (last: {last})")
        print(f"# {last + 1} flushed blocks survived kill -9")


vmm.main(programs_verify_their_results, flushed_writes_survive_a_kill)
