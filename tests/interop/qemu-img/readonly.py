#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Formats that we only read: Parallels images made by qemu-img; Bochs and cloop images made here and
read by both."""
import os
import random
import struct
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, ours, run, same_json  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

CLOOP_HEAD = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"


def read_by_both(fmt, path, folder):
    mine, yours = os.path.join(folder, "mine"), os.path.join(folder, "yours")
    run(ours(), "convert", "-f", fmt, "-O", "raw", path, mine)
    run(THEIRS, "convert", "-f", fmt, "-O", "raw", path, yours)
    run(THEIRS, "compare", "-f", "raw", "-F", "raw", mine, yours)
    same_json("info", "--output=json", path)


def test_parallels():
    with temporary_folder() as folder:
        for cluster in ("64k", "1M"):
            path = os.path.join(folder, "image.hds")
            run(THEIRS, "create", "-q", "-f", "parallels", "-o", f"cluster_size={cluster}", path, "9M")
            run("qemu-io", "-f", "parallels", "-c", "write -P 5 100k 900k", "-c", "write -P 6 8M 1M", path)
            read_by_both("parallels", path, folder)
            same_json("map", "--output=json", path)
            os.unlink(path)


def test_bochs():
    generator = random.Random(8)
    with temporary_folder() as folder:
        path = os.path.join(folder, "image.bochs")
        extent, bitmap, entries = 65536, 16, 40
        head = b"Bochs Virtual HD Image".ljust(32, b"\0") + b"Redolog".ljust(16, b"\0")
        head += b"Growing".ljust(16, b"\0")
        head += struct.pack("<IIIIIIQ", 0x20000, 512, entries, bitmap, extent, 0, entries * extent)
        catalog = [0xffffffff] * entries
        catalog[3], catalog[20] = 1, 0
        body = b""
        for _ in range(2):
            body += generator.randbytes(bitmap).ljust(512, b"\0") + generator.randbytes(extent)
        with open(path, "wb") as image:
            image.write(head.ljust(512, b"\0"))
            image.write(struct.pack(f"<{entries}I", *catalog) + body)
        read_by_both("bochs", path, folder)


def test_cloop():
    generator = random.Random(9)
    with temporary_folder() as folder:
        path = os.path.join(folder, "image.cloop")
        blocks = [zlib.compress(generator.randbytes(1000) * 65 + bytes(536)) for _ in range(9)]
        offsets, at = [], 136 + 8 * (len(blocks) + 1)
        for block in blocks:
            offsets.append(at)
            at += len(block)
        with open(path, "wb") as image:
            image.write(CLOOP_HEAD.ljust(128, b"\0") + struct.pack(">II", 65536, len(blocks)))
            image.write(struct.pack(f">{len(blocks) + 1}Q", *offsets, at) + b"".join(blocks))
        read_by_both("cloop", path, folder)


main(test_parallels, test_bochs, test_cloop)
