#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of the writer at random moments, on real files: kill.py [COUNT] [FORMAT...]

A `berth-img serve` is killed while a client writes, COUNT times for each format; each time the image
opens, what was flushed is there, and qemu-img finds no corruption (leaks are allowed). Then
berth-img's own operations on a qcow2 image are killed: snapshots, resize, amend, bitmaps, commit.
"""
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours, run  # noqa: E402
from guest import temporary_folder  # noqa: E402

BLOCK = 4096
BLOCKS = 3000
SIZE = 16 << 20
# Without a check of qemu-img: only that it opens, and that what was flushed is there.
FORMATS = {"raw": False, "qcow2": True, "qcow2:extended_l2=on": True, "qcow2:cluster_size=1k": True,
           "qed": True, "vdi": True, "vhdx": True, "vmdk": True, "vpc": False}


class Client:
    """As little of an NBD client as this needs: pipelined writes and flushes, simple replies."""

    def __init__(self, path):
        deadline = time.monotonic() + 20
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        self.socket.settimeout(30)
        self.read(18)
        self.socket.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
        self.read(10)
        self.handle = 0
        self.pending = {}

    def read(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    def send(self, command, what, offset=0, data=b""):
        self.handle += 1
        self.pending[self.handle] = what
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, self.handle, offset,
                                        len(data)) + data)

    def answer(self):
        """What a request that has ended was about."""
        _, error, handle = struct.unpack(">IIQ", self.read(16))
        if error:
            raise Failed(f"the server answered with error {error}")
        return self.pending.pop(handle)


class Model:
    """For each block: the version that is safe, and the last that was sent."""

    def __init__(self):
        self.safe = [0] * BLOCKS
        self.sent = [0] * BLOCKS
        self.done = [0] * BLOCKS

    def check(self, raw, what):
        with open(raw, "rb") as file:
            for i in range(BLOCKS):
                there = file.read(BLOCK)
                number = struct.unpack_from(">Q", there)[0]
                if there != struct.pack(">Q", number) * (BLOCK // 8) or \
                        not self.safe[i] <= number <= self.sent[i]:
                    raise Failed(f"{what}: block {i} has version {number}; {self.safe[i]} was flushed, "
                                 f"{self.sent[i]} was the last")
                self.safe[i] = self.sent[i] = self.done[i] = number


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


def wait_unlocked(path, cwd=None):
    """The kernel gives up a dead process's io_uring, and so its locks, a moment later."""
    for _ in range(500):
        if "lock" not in run(ours(), "map", path, cwd=cwd, status=None).err:
            return
        time.sleep(0.01)
    raise Failed(f"{path} stays locked")


def writer(kind, count, folder, seed):
    fmt, _, options = kind.partition(":")
    path, sock, raw = (os.path.join(folder, name) for name in ("image", "sock", "raw"))
    run(ours(), "create", "-q", "-f", fmt, *(["-o", options] if options else []), path, SIZE)
    rng = random.Random(seed)
    model = Model()
    for turn in range(count):
        server = subprocess.Popen([ours(), "serve", "-t", "-f", fmt, "-k", sock, path])
        try:
            write_until_killed(Client(sock), model, rng, server, rng.random() * 0.06)
        finally:
            server.kill()
            server.wait()
        what = f"{kind}, seed {seed}, kill {turn}"
        wait_unlocked(path)
        if FORMATS[kind]:
            # qemu-img looks at a VHDX image only after its log was replayed, by a repair.
            repair = ["-r", "all"] if fmt == "vhdx" else []
            checked = run(THEIRS, "check", "-f", fmt, *repair, path, status=None)
            if checked.status not in (0, 3):
                raise Failed(f"{what}: {checked.out}{checked.err}")
        run(ours(), "convert", "-f", fmt, "-O", "raw", path, raw)
        model.check(raw, what)


OPERATIONS = [["snapshot", "-c", "NAME", "top"], ["snapshot", "-a", "OLD", "top"],
              ["snapshot", "-d", "OLD", "top"], ["resize", "-q", "top", "+1M"],
              ["amend", "-f", "qcow2", "-o", "refcount_bits=16,lazy_refcounts=on", "top"],
              ["bitmap", "--add", "top", "NAME"], ["commit", "-q", "-d", "top"],
              ["rebase", "-u", "-b", "base", "-F", "qcow2", "top"]]


def operations(count, folder, seed):
    """An operation begins and is killed. The disk is what it was, or what the operation makes of it."""
    rng = random.Random(seed)
    run(ours(), "create", "-q", "-f", "qcow2", "base", "16M", cwd=folder)
    run(ours(), "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", cwd=folder)
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
            wait_unlocked(image, folder)
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
    for kind in args or [*FORMATS, "operations"]:
        started = time.monotonic()
        try:
            with temporary_folder() as folder:
                if kind == "operations":
                    operations(count, folder, seed)
                else:
                    writer(kind, count, folder, seed)
            print(f"ok - {kind}: {count} kills ({time.monotonic() - started:.0f} s)", flush=True)
        except Failed as failure:
            failed = True
            print(f"not ok - {kind}: {failure}", flush=True)
    sys.exit(failed)


main()
