#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Persistent dirty bitmaps in qcow2: the same commands by both tools give the same bitmaps, each
reads what the other wrote, writes are recorded, and a crash makes a bitmap inconsistent."""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, as_json, ours, run, same_json  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

SIZE = "64M"


def create(tool, path, options=""):
    run(tool, "create", "-q", "-f", "qcow2", *(["-o", options] if options else []), path, SIZE)


def write(path, *places):
    commands = [part for place in places for part in ("-c", f"write -P 5 {place}")]
    run("qemu-io", "-f", "qcow2", *commands, path)


def dirty(server, path, name):
    """What a bitmap says, by `server`'s NBD export: [(start, length)] of what is dirty."""
    socket = path + ".sock"
    process = subprocess.Popen([*server, "-t", "-r", "-f", "qcow2", "-k", socket, "-B", name, path])
    try:
        deadline = time.monotonic() + 20
        while not os.path.exists(socket) and time.monotonic() < deadline:
            time.sleep(0.02)
        rows = json.loads(run("nbdinfo", "--json", f"--map=qemu:dirty-bitmap:{name}",
                              f"nbd+unix:///?socket={socket}").out)
        return [(row["offset"], row["length"]) for row in rows if row["type"] == 1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def bitmaps(path):
    info = as_json(THEIRS, "info", "-U", "--output=json", path)
    return info["format-specific"]["data"].get("bitmaps", [])


OURS = [ours(), "serve"]
QEMU = ["qemu-nbd"]


def test_both_ways():
    """One tool makes and changes the bitmap, qemu-io and our bench write, both tell the same."""
    for first, second in ((ours(), THEIRS), (THEIRS, ours())):
        for options in ("", "cluster_size=4k", "refcount_bits=1,cluster_size=512"):
            with temporary_folder() as folder:
                path = os.path.join(folder, "disk")
                create(first, path, options)
                run(first, "bitmap", "--add", "-g", "32k", path, "a")
                run(first, "bitmap", "--add", "--disable", path, "idle")
                write(path, "0 4k", "3M 200k", "63M 64k")
                run(ours(), "bench", "-f", "qcow2", "-w", "-c", "3", "-s", "64k", "-S", "1M", "-o", "10M",
                    path)
                run(second, "bitmap", "--add", path, "b")
                run(second, "bitmap", "--merge", "a", path, "b")
                same_json("info", "--output=json", path)
                for tool in (first, second):
                    run(tool, "check", path)
                a, b, idle = ([dirty(server, path, name) for server in (OURS, QEMU)]
                              for name in ("a", "b", "idle"))
                if a[0] != a[1] or b[0] != b[1] or idle != [[], []]:
                    raise Failed(f"{options}: a {a}, b {b}, idle {idle}")
                if (0, 32768) not in a[0] or (10 << 20, 65536) not in a[0]:
                    raise Failed(f"writes are not in the bitmap: {a[0]}")
                run(second, "bitmap", "--clear", path, "a")
                run(first, "bitmap", "--remove", path, "b")
                if [m["name"] for m in bitmaps(path)] != ["a", "idle"] or dirty(QEMU, path, "a"):
                    raise Failed(f"after clear and remove: {bitmaps(path)}")
                run(THEIRS, "check", path)


def test_merge_between_files():
    with temporary_folder() as folder:
        one, two = (os.path.join(folder, name) for name in ("one", "two"))
        for path in (one, two):
            create(ours(), path)
            run(ours(), "bitmap", "--add", "-g", "64k" if path == one else "1M", path, "m")
        write(one, "5M 64k")
        write(two, "20M 64k")
        run(ours(), "bitmap", "--merge", "m", "-b", two, "-F", "qcow2", one, "m")
        if dirty(QEMU, one, "m") != [(5 << 20, 65536), (20 << 20, 1 << 20)]:
            raise Failed(f"merged: {dirty(QEMU, one, 'm')}")


def test_words():
    with temporary_folder() as folder:
        path, old = (os.path.join(folder, name) for name in ("disk", "old"))
        create(ours(), path)
        create(ours(), old, "compat=0.10")
        run(ours(), "bitmap", "--add", path, "a")
        for command in (["--add", path, "a"], ["--remove", path, "x"], ["--add", "-g", "100", path, "g"],
                        ["--add", old, "a"]):
            for tool in (ours(), THEIRS):
                run(tool, "bitmap", *command, status=1)


def test_crash():
    """A server with a writable image is killed: the bitmap is inconsistent, and can be removed."""
    with temporary_folder() as folder:
        path, socket = os.path.join(folder, "disk"), os.path.join(folder, "s")
        create(ours(), path)
        run(ours(), "bitmap", "--add", path, "a")
        process = subprocess.Popen([*OURS, "-t", "-k", socket, path])
        while not os.path.exists(socket):
            time.sleep(0.02)
        run("qemu-io", "-f", "raw", "-c", "write 0 1M", "-c", "flush", f"nbd+unix://?socket={socket}")
        process.kill()
        process.wait()
        if "in-use" not in bitmaps(path)[0]["flags"]:
            raise Failed(f"after a crash: {bitmaps(path)}")
        run(ours(), "bitmap", "--clear", path, "a", status=1)
        run(ours(), "check", "-r", "leaks", path, status=None)
        run(ours(), "bitmap", "--remove", path, "a")
        run(THEIRS, "check", path)
        if bitmaps(path):
            raise Failed(f"after its removal: {bitmaps(path)}")


main(test_both_ways, test_merge_between_files, test_words, test_crash)
