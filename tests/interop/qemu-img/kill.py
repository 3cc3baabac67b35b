#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of the writer at random moments, on real files: kill.py [COUNT] [FORMAT...]

A `berth-img serve` is killed while a client writes, COUNT times for each format, every other time
with O_DIRECT; each time the image opens, what was flushed is there, and qemu-img finds no corruption
(leaks are allowed). Then
berth-img's own operations on a qcow2 image are killed: snapshots, resize, amend, bitmaps, commit.
"""
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours, run  # noqa: E402
from guest import temporary_folder  # noqa: E402

SECTOR = 512
BLOCK = 4096
BLOCKS = 1500
SIZE = 8 << 20
CHUNK = 1 << 20
# Without a check of qemu-img: only that it opens, and that what was flushed is there.
FORMATS = {"raw": False, "qcow2": True, "qcow2:compat=0.10": True, "qcow2:extended_l2=on": True,
           "qcow2:cluster_size=1k": True, "qcow2:lazy_refcounts=on": True,
           "qcow2:data_file=image.data": True, "qed": True, "vdi": True, "vdi:static=on": True,
           "vhdx": True, "vhdx:subformat=fixed": True, "vmdk": True,
           "vmdk:subformat=monolithicFlat": True, "vmdk:subformat=twoGbMaxExtentSparse": True,
           "vpc": False, "vpc:subformat=fixed": False}


class Client:
    """As little of an NBD client as this needs: pipelined requests, simple replies."""

    def __init__(self, path, server):
        deadline = time.monotonic() + 20
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if server.poll() is not None:
                    raise Failed("the server ended: " + server.stderr.read()) from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
        self.socket.settimeout(30)
        self.receive(18)
        self.socket.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
        self.receive(10)
        self.handle = 0
        self.pending = {}

    def receive(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    def send(self, command, what, offset=0, data=b"", length=0):
        self.handle += 1
        self.pending[self.handle] = what
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, self.handle, offset,
                                        length or len(data)) + data)

    def answer(self):
        """What a request that has ended was about."""
        _, error, handle = struct.unpack(">IIQ", self.receive(16))
        if error:
            raise Failed(f"the server answered with error {error}")
        return self.pending.pop(handle)

    def read(self, offset, length):
        """With no other request under way."""
        self.send(0, None, offset, length=length)
        self.answer()
        return self.receive(length)


class Model:
    """For each block: the version that is safe, the last that was sent, the last that ended."""

    def __init__(self):
        self.safe = [0] * BLOCKS
        self.sent = [0] * BLOCKS
        self.done = [0] * BLOCKS

    def check(self, disk, what):
        """A write that was not flushed may be torn, but not inside a sector. What is there now is
        safe from the next kill: the host goes on and has it."""
        for i in range(BLOCKS):
            there = disk[i * BLOCK:(i + 1) * BLOCK]
            versions = [struct.unpack_from(">Q", there, at)[0] for at in range(0, BLOCK, SECTOR)]
            if there != b"".join(struct.pack(">Q", v) * (SECTOR // 8) for v in versions) or \
                    min(versions) < self.safe[i] or max(versions) > self.sent[i]:
                raise Failed(f"{what}: block {i} has versions {versions}; {self.safe[i]} was flushed, "
                             f"{self.sent[i]} was the last")
            self.safe[i] = self.done[i] = min(versions)
            self.sent[i] = max(versions)


def write_until_killed(client, model, rng, server, moment):
    """Writes and flushes, some at the same time; the server is killed at `moment`."""
    busy = set()
    deadline = time.monotonic() + moment
    killed = False
    try:
        while True:
            if not killed and time.monotonic() >= deadline:
                server.kill()
                killed = True
            if len(client.pending) < 8:
                i = rng.randrange(BLOCKS)
                if rng.random() < 0.06:
                    client.send(3, ("flush", list(model.done)))
                elif i not in busy:
                    busy.add(i)
                    model.sent[i] += 1
                    client.send(1, ("write", i, model.sent[i]), i * BLOCK,
                                struct.pack(">Q", model.sent[i]) * (BLOCK // 8))
                continue
            what = client.answer()
            if what[0] == "write":
                busy.discard(what[1])
                model.done[what[1]] = what[2]
            else:
                model.safe = [max(a, b) for a, b in zip(model.safe, what[1])]
    except (ConnectionError, OSError):
        client.socket.close()


def wait_unlocked(path):
    """The kernel gives up a dead process's io_uring, and so its locks, a moment later."""
    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)


def check_image(kind, path, what):
    """qemu-img finds no corruption; leaks are allowed."""
    fmt = kind.partition(":")[0]
    # It looks at a VHDX image only after its log was replayed, and at lazy reference counts after
    # they were counted anew: both are a repair.
    repair = ["-r", "all"] if fmt == "vhdx" or "lazy_refcounts" in kind else []
    checked = run(THEIRS, "check", "-f", fmt, *repair, path, status=None)
    if checked.status not in (0, 3):
        raise Failed(f"{what}: {checked.out}{checked.err}")


def cache_modes(folder):
    """Not every file system has O_DIRECT."""
    try:
        os.close(os.open(os.path.join(folder, "image"), os.O_RDONLY | os.O_DIRECT))
        return ["writeback", "none"]
    except OSError:
        return ["writeback"]


def writer(kind, count, folder, seed):
    """Each server first shows what the one before it has left, then is killed."""
    fmt, _, options = kind.partition(":")
    options = options.replace("image.", os.path.join(folder, "image."))
    path, sock = (os.path.join(folder, name) for name in ("image", "sock"))
    run(ours(), "create", "-q", "-f", fmt, *(["-o", options] if options else []), path, SIZE)
    rng = random.Random(seed)
    model = Model()
    caches = cache_modes(folder)
    for turn in range(count + 1):
        server = subprocess.Popen([ours(), "serve", "-t", "-f", fmt, "-k", sock,
                                   "--cache=" + caches[turn % len(caches)], path],
                                  stderr=subprocess.PIPE, text=True)
        try:
            client = Client(sock, server)
            disk = b"".join(client.read(at, min(CHUNK, BLOCKS * BLOCK - at))
                            for at in range(0, BLOCKS * BLOCK, CHUNK))
            model.check(disk, f"{kind}, seed {seed}, after {turn} kills")
            if turn < count:
                write_until_killed(client, model, rng, server, rng.random() * 0.06)
        finally:
            server.kill()
            server.communicate()
        for name in os.listdir(folder):
            if name != "sock":
                wait_unlocked(os.path.join(folder, name))
        if FORMATS[kind]:
            check_image(kind, path, f"{kind}, seed {seed}, kill {turn + 1}")


OPERATIONS = [["snapshot", "-c", "NAME", "top"], ["snapshot", "-a", "OLD", "top"],
              ["snapshot", "-d", "OLD", "top"], ["resize", "-q", "top", "+1M"],
              ["amend", "-f", "qcow2", "-o", "refcount_bits=16,lazy_refcounts=on", "top"],
              ["bitmap", "--add", "top", "NAME"], ["commit", "-q", "-d", "top"],
              ["rebase", "-u", "-b", "base", "-F", "qcow2", "top"]]


def repair_version_2(folder, what):
    """qemu-img accepts what was left, a copy of it here; we make a version 2 image of it again."""
    shutil.copyfile(os.path.join(folder, "top"), os.path.join(folder, "copy"))
    run(ours(), "check", "-q", "-r", "all", "top", cwd=folder)
    if json.loads(run(THEIRS, "info", "--output=json", "top", cwd=folder).out)["format-specific"]["data"][
            "compat"] != "0.10":
        raise Failed(f"{what}: the image is not of version 2 any more")
    return ["top", "copy", "base"]


def operations(count, folder, seed, options):
    """An operation begins and is killed. The disk is what it was, or what the operation makes of it."""
    rng = random.Random(seed)
    run(ours(), "create", "-q", "-f", "qcow2", "base", "16M", cwd=folder)
    run(ours(), "create", "-q", "-f", "qcow2", *(["-o", options] if options else []), "-b", "base", "-F",
        "qcow2", "top", cwd=folder)
    for turn in range(count):
        run("qemu-io", "-f", "qcow2", "-c", f"write -P {turn % 255 + 1} {rng.randrange(200) * 65536} 192k",
            "top", cwd=folder)
        names = [s["name"] for s in json.loads(run(THEIRS, "info", "--output=json", "top", cwd=folder)
                                               .out).get("snapshots", [])]
        operation = [word.replace("NAME", f"n{turn}").replace("OLD", rng.choice(names or ["none"]))
                     for word in rng.choice(OPERATIONS)]
        if operation[0] == "snapshot" and operation[1] != "-c" and not names:
            operation = ["snapshot", "-c", f"n{turn}", "top"]
        run(THEIRS, "convert", "-O", "raw", "top", "before", cwd=folder)
        process = subprocess.Popen([ours(), *operation], cwd=folder, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        what = f"{' '.join(operation)}, seed {seed}, kill {turn}"
        for image in ("top", "base"):
            wait_unlocked(os.path.join(folder, image))
        for image in repair_version_2(folder, what) if options else ["top", "base"]:
            checked = run(THEIRS, "check", "-q", "-r", "leaks", image, cwd=folder, status=None)
            if checked.status not in (0, 3):
                raise Failed(f"{what}: {image}: {checked.out}{checked.err}")
        if operation[0] == "snapshot" and operation[1] == "-a":
            continue
        run(THEIRS, "compare", "-q", "top", "before", cwd=folder)


def main():
    args = sys.argv[1:]
    count = int(args.pop(0)) if args else 50
    seed = random.SystemRandom().randrange(1 << 30)
    failed = False
    for kind in args or [*FORMATS, "operations", "operations:compat=0.10"]:
        started = time.monotonic()
        try:
            with temporary_folder() as folder:
                if kind.startswith("operations"):
                    operations(count, folder, seed, kind.partition(":")[2])
                else:
                    writer(kind, count, folder, seed)
            print(f"ok - {kind}: {count} kills ({time.monotonic() - started:.0f} s)", flush=True)
        except Failed as failure:
            failed = True
            print(f"not ok - {kind}: {failure}", flush=True)
    sys.exit(failed)


main()
