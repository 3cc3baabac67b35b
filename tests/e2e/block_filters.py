#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters of a machine's disks: limits on throughput, faults, copy-on-read; statistics."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "interop", "qemu-img"))
import tinybios  # noqa: E402
from peer import THEIRS, run  # noqa: E402
from guest import Failed, Guest, Qmp, check, main, program, temporary_folder  # noqa: E402

MIB = 1 << 20


class Machine:
    """A paused machine with what `args` add, and an NBD server for whom it is asked."""

    def __init__(self, folder, *args):
        self.folder = folder
        bios = tinybios.write(os.path.join(folder, "bios"), tinybios.HALT)
        self.guest = Guest([program("berth-vmm"), "-nodefaults", "-display", "none", "-accel", "soft",
                            "-m", "16", "-bios", bios, "-S", *args,
                            "-qmp", f"unix:{folder}/qmp,server=on,wait=off"])
        self.qmp = Qmp(f"{folder}/qmp", 30)
        self.qmp.call("nbd-server-start", addr={"type": "unix", "path": f"{folder}/nbd"})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.guest.kill()

    def export(self, node):
        self.qmp.call("block-export-add", type="nbd", id=node, node_name=node, writable=True)
        return f"nbd+unix:///{node}?socket={self.folder}/nbd"

    def end(self):
        self.qmp.call("quit")
        check(self.guest.wait(20) == 0, "the VMM's exit status is not 0")


def image(folder, name, size="16M"):
    path = os.path.join(folder, name)
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", path, size], check=True)
    return path


def io(uri, *commands, fails=False):
    args = [part for command in commands for part in ("-c", command)]
    done = subprocess.run(["qemu-io", "-f", "raw", *args, uri], capture_output=True, text=True,
                          timeout=60)
    text = done.stdout + done.stderr
    check(("failed" in text or "rror" in text) == fails, f"qemu-io {commands}: {text}")
    return text


def test_throttle_group():
    """Two nodes in one group of 2 MiB/s: 4 MiB in all cannot take less than a second and a half."""
    with temporary_folder() as folder:
        nodes = []
        for name in ("a", "b"):
            nodes += ["-blockdev", f"throttle,node-name={name},throttle-group=g,file.driver=file,"
                                   f"file.filename={image(folder, name + '.img')}"]
        with Machine(folder, "-object", "throttle-group,id=g,limits.bps-total=2M", *nodes) as m:
            uris = [m.export("a"), m.export("b")]
            started = time.monotonic()
            writers = [subprocess.Popen(["qemu-io", "-f", "raw", *["-c", "write 0 256k"] * 8, uri],
                                        stdout=subprocess.DEVNULL) for uri in uris]
            check([w.wait(60) for w in writers] == [0, 0], "a write failed")
            took = time.monotonic() - started
            check(took > 1.5, f"4 MiB at 2 MiB/s took {took:.1f} s")
            refused = False
            try:
                m.qmp.call("object-del", id="g")
            except Failed as failure:
                refused = "in use" in str(failure)
            check(refused, "a group in use was deleted")
            m.end()


def test_limits_by_qmp():
    """block_set_io_throttle shows in query-block; a drive with limits from the start; quit is quick."""
    with temporary_folder() as folder:
        disk = image(folder, "disk")
        with Machine(folder, "-drive", f"file={disk},format=raw,id=d,if=virtio,throttling.iops-total=50,"
                                       "throttling.iops-total-max=100") as m:
            info = m.qmp.call("query-block")[0]["inserted"]
            check((info["iops"], info["iops_max"], info["bps"], info["group"]) == (50, 100, 0, "d"),
                  f"limits of -drive: {info}")
            limits = {"bps": 0, "bps_rd": 1, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
            m.qmp.call("block_set_io_throttle", device="d", exact=limits)
            check(m.qmp.call("query-block")[0]["inserted"]["bps_rd"] == 1, "a limit is not shown")
            try:
                m.qmp.call("block_set_io_throttle", device="d", exact=limits | {"bps": 1})
                raise Failed("total and read limits together were taken")
            except Failed as failure:
                check("cannot be used" in str(failure), f"wrong refusal: {failure}")
            m.end()


def test_faults():
    """Errors, torn writes and delays hit what their rules say, so many times, and nothing else."""
    with temporary_folder() as folder:
        disk = image(folder, "disk")
        rules = [{"kind": "error", "iotype": "write", "sector": 8, "errno": 28, "times": 2},
                 {"kind": "torn", "iotype": "write", "sector": 100, "times": 1},
                 {"kind": "delay", "iotype": "flush", "ms": 300, "skip": 1, "times": 1}]
        node = {"driver": "fault", "node-name": "f", "faults": rules,
                "file": {"driver": "file", "filename": disk}}
        with Machine(folder) as m:
            m.qmp.call("blockdev-add", **node)
            uri = m.export("f")
            io(uri, "write -P 1 0 2k")
            for _ in range(2):
                check("No space left" in io(uri, "write -P 1 4k 4k", fails=True), "not ENOSPC")
            io(uri, "write -P 1 4k 4k", "read -P 1 4k 4k")
            io(uri, "write -P 2 51200 4k", fails=True)
            io(uri, "read -P 2 51200 2k", "read -P 0 53248 2k")
            io(uri, "write -P 2 51200 4k", "read -P 2 51200 4k", "flush", "flush")
            stats = {s["node-name"]: s for s in m.qmp.call("query-blockstats", query_nodes=True)}
            check(stats["f"]["stats"]["failed_wr_operations"] == 3, f"statistics: {stats['f']}")
            m.end()


def test_copy_on_read():
    """What is read through the filter is in the overlay afterwards, and nothing else is."""
    with temporary_folder() as folder:
        base = image(folder, "base")
        subprocess.run(["qemu-io", "-f", "raw", "-c", "write -P 7 1M 4M", base], check=True,
                       stdout=subprocess.DEVNULL)
        top = os.path.join(folder, "top")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", top],
                       check=True)
        with Machine(folder, "-blockdev", f"copy-on-read,node-name=c,file.driver=qcow2,"
                                          f"file.file.driver=file,file.file.filename={top}") as m:
            io(m.export("c"), "read -P 7 2M 128k", "write -P 8 3M 64k", "read -P 8 3M 64k")
            m.end()
        extents = json.loads(subprocess.run(["qemu-img", "map", "--output=json", top], check=True,
                                            stdout=subprocess.PIPE, text=True).stdout)
        there = [(e["start"], e["length"]) for e in extents if e["depth"] == 0 and e["data"]]
        check(there == [(2 * MIB, 131072), (3 * MIB, 65536)], f"in the overlay: {there}")
        subprocess.run(["qemu-img", "check", "-q", top], check=True)


def encrypted_disk(fmt, prefix, options):
    with temporary_folder() as folder:
        path = os.path.join(folder, "disk")
        secret = "secret,id=s,data=swordfish"
        run(THEIRS, "create", "-q", "--object", secret, "-f", fmt, "-o",
            f"{options}{prefix}key-secret=s,{prefix}iter-time=10", path, "8M")
        with Machine(folder, "-object", secret, "-blockdev",
                     f"{fmt},node-name=l,{prefix}key-secret=s,file.driver=file,file.filename={path}") as m:
            io(m.export("l"), "write -P 5 1000 100000", "read -P 5 1000 100000")
            m.end()
        with Machine(folder, "-object", secret, "-drive",
                     f"if=none,id=d,format={fmt},{prefix}key-secret=s,file={path}") as m:
            check(m.qmp.call("query-block")[0]["inserted"]["encrypted"], "it is not said to be encrypted")
            m.end()
        done = subprocess.run(["qemu-io", "--object", secret, "--image-opts", "-c", "read -P 5 1000 100000",
                               f"driver={fmt},{prefix}key-secret=s,file.filename={path}"], check=True,
                              stdout=subprocess.PIPE, text=True)
        check("failed" not in done.stdout, f"what was written: {done.stdout}")


def test_encrypted():
    """A LUKS volume and an encrypted qcow2 image as disks, the password given as an object."""
    encrypted_disk("luks", "", "")
    encrypted_disk("qcow2", "encrypt.", "encrypt.format=luks,")


def test_legacy_encryption():
    """qcow2's old AES is for tools only, as in QEMU."""
    with temporary_folder() as folder:
        path = os.path.join(folder, "disk")
        secret = "secret,id=s,data=swordfish"
        subprocess.run(["qemu-img", "create", "-q", "--object", secret, "-f", "qcow2", "-o",
                        "encrypt.format=aes,encrypt.key-secret=s", path, "8M"], check=True)
        refused = subprocess.run([program("berth-vmm"), "-nographic", "-S", "-object", secret, "-drive",
                                  f"file={path},format=qcow2,encrypt.key-secret=s"],
                                 stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
        check(refused.returncode == 1 and "AES-CBC" in refused.stderr, f"not refused: {refused.stderr}")


def test_histograms():
    with temporary_folder() as folder:
        disk = image(folder, "disk")
        with Machine(folder, "-drive", f"file={disk},format=raw,id=d,if=virtio") as m:
            m.qmp.call("block-latency-histogram-set", id="d", boundaries=[10, 1000000, 100000000])
            stats = m.qmp.call("query-blockstats")[0]["stats"]
            check(stats["rd_latency_histogram"]["boundaries"] == [10, 1000000, 100000000] and
                  len(stats["wr_latency_histogram"]["bins"]) == 4, f"histograms: {stats}")
            m.qmp.call("block-latency-histogram-set", id="d")
            check("rd_latency_histogram" not in m.qmp.call("query-blockstats")[0]["stats"],
                  "a histogram is left")
            try:
                m.qmp.call("block-latency-histogram-set", id="d", boundaries=[5, 5])
                raise Failed("boundaries that do not rise were taken")
            except Failed as failure:
                check("fail" in str(failure), f"wrong refusal: {failure}")
            m.end()


main(test_throttle_group, test_limits_by_qmp, test_faults, test_copy_on_read, test_encrypted,
     test_legacy_encryption, test_histograms)
