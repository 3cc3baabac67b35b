#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Apple disk images, made here chunk by chunk: what we read, qemu-img and dmg2img read too."""
import base64
import bz2
import lzma
import os
import random
import struct
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, as_json, ours, run  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

ZERO, RAW, IGNORE, ADC, ZLIB, BZIP2, LZFSE, XZ = 0, 1, 2, *range(0x80000004, 0x80000009)
SECTOR = 512


def adc(data):
    """Runs of one byte become copies at distance 1; the rest is stored."""
    out, at = b"", 0
    while at < len(data):
        run_length = 1
        while at + run_length < len(data) and data[at + run_length] == data[at] and run_length < 60:
            run_length += 1
        if run_length >= 8:
            length = run_length - 1
            out += b"\x80" + data[at:at + 1]
            out += bytes([0x40 | length - 4, 0, 0]) if length > 18 else bytes([length - 3 << 2, 0])
            at += run_length
        else:
            out += bytes([0x80 | run_length - 1]) + data[at:at + run_length]
            at += run_length
    return out


PACK = {RAW: bytes, ADC: adc, ZLIB: zlib.compress, BZIP2: bz2.compress, LZFSE: bytes,
        XZ: lambda data: lzma.compress(data, lzma.FORMAT_XZ)}


def blkx(first, chunks, base):
    """chunks: (type, sector, count, place, length)."""
    count = max(sector + sectors for _, sector, sectors, _, _ in chunks)
    head = struct.pack(">4sIQQQII24xII128xI", b"mish", 1, first, count, base, 2056, 0, 2, 32,
                       len(chunks) + 1)
    body = b"".join(struct.pack(">IIQQQQ", kind, 0, *rest) for kind, *rest in chunks)
    return head + body + struct.pack(">IIQQQQ", 0xffffffff, 0, count, 0, 0, 0)


def plist(blocks):
    items = "".join(f"<dict><key>Attributes</key><string>0x0050</string><key>Data</key>\n<data>\n"
                    f"{base64.encodebytes(block).decode()}</data><key>ID</key><string>{i}</string>"
                    f"<key>Name</key><string>part {i}</string></dict>" for i, block in enumerate(blocks))
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" '
            '"http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0"><dict>'
            "<key>resource-fork</key><dict><key>blkx</key><array>" + items +
            "</array><key>plst</key><array><dict><key>Data</key><data>AAAA</data></dict></array>"
            "</dict></dict></plist>\n").encode()


def fork(blocks):
    data = b"".join(struct.pack(">I", len(block)) + block for block in blocks)
    return struct.pack(">IIII", 256, 256 + len(data), len(data), 0) + bytes(240) + data


def make(path, disk, kinds, per_chunk=64, per_block=5, old=False, base=16):
    """`disk` in chunks, whose types take turns; zeroes are ZERO or IGNORE."""
    with open(path, "wb") as file:
        file.write(b"something before the data fork".ljust(SECTOR, b".") + bytes(16))
        chunks, blocks, turn = [], [], 0
        sectors = len(disk) // SECTOR
        for sector in range(0, sectors, per_chunk):
            count = min(per_chunk, sectors - sector)
            data = disk[sector * SECTOR:(sector + count) * SECTOR]
            kind = kinds[turn % len(kinds)]
            turn += 1
            if not any(data):
                chunks.append((ZERO if turn % 2 else IGNORE, sector, count, 0, 0))
                continue
            packed = PACK[kind](data)
            chunks.append((kind, sector, count, file.tell() - SECTOR, len(packed)))
            file.write(packed)
        for i in range(0, len(chunks), per_block):
            first = chunks[i][1]
            blocks.append(blkx(first, [(kind, sector - first, count, place - base if kind not in
                                        (ZERO, IGNORE) else 0, length)
                                       for kind, sector, count, place, length in chunks[i:i + per_block]],
                               base))
        length, at = file.tell() - SECTOR, file.tell()
        text = fork(blocks) if old else plist(blocks)
        file.write(text)
        place = (at, len(text))
        file.write(struct.pack(">4sIIIQQQQQII16sII128sQQ120xII128sIQ12x", b"koly", 4, 512, 1, 0, SECTOR,
                               length, *(place if old else (0, 0)), 1, 1, b"", 0, 0, b"",
                               *((0, 0) if old else place), 0, 0, b"", 1, sectors))


def content(sectors=1000):
    generator = random.Random(8)
    disk = bytearray(sectors * SECTOR)
    for _ in range(6):
        at, length = generator.randrange(sectors) * SECTOR, generator.randrange(1, 60) * SECTOR
        disk[at:at + length] = generator.randbytes(length)
        disk[at + 700:at + 1900] = b"x" * 1200
    return bytes(disk[:sectors * SECTOR])


def test_read():
    disk = content()
    for name, kinds, old in (("zlib", [ZLIB], False), ("bzip2", [BZIP2], False), ("mixed", [RAW, ZLIB, BZIP2],
                                                                                False),
                             ("fork", [ZLIB, RAW], True), ("xz", [XZ, ZLIB], False), ("adc", [ADC], False)):
        with temporary_folder() as folder:
            path, raw = os.path.join(folder, "image.dmg"), os.path.join(folder, "raw")
            make(path, disk, kinds, old=old)
            info = as_json(ours(), "info", "--output=json", path)
            if (info["format"], info["virtual-size"]) != ("dmg", len(disk)):
                raise Failed(f"{name}: {info}")
            readers = [[ours(), "convert", "-O", "raw", path, raw]]
            # Debian's QEMU has no module for bzip2.
            if {ZLIB, RAW} >= set(kinds):
                readers.append([THEIRS, "convert", "-f", "dmg", "-O", "raw", path, raw])
            if XZ not in kinds and not old:
                make(path + ".base0", disk, kinds, base=0)  # it does not know of a base
                readers.append(["dmg2img", "-s", path + ".base0", raw])
            for reader in readers:
                run(*reader)
                with open(raw, "rb") as file:
                    if file.read() != disk:
                        raise Failed(f"{name}: {reader[0]} reads other bytes")


def test_parts():
    """Reads that begin and end anywhere, in any order, against qemu-img's."""
    with temporary_folder() as folder:
        path, raw = os.path.join(folder, "image.dmg"), os.path.join(folder, "raw")
        make(path, content(5001), [ZLIB, RAW], per_chunk=7, per_block=100)
        run(THEIRS, "convert", "-f", "dmg", "-O", "raw", path, raw)
        for skip, size in ((0, 1000), (3, 70000), (1234567, 333), (2500000, 59999)):
            mine, yours = (os.path.join(folder, name) for name in ("m", "y"))
            for source, out in ((path, mine), (raw, yours)):
                run(ours(), "dd", "-f", "dmg" if source == path else "raw", f"if={source}", f"of={out}",
                    f"bs={size}", "count=1", f"skip={skip // size}")
            run(THEIRS, "compare", "-f", "raw", "-F", "raw", mine, yours)


def test_refused():
    with temporary_folder() as folder:
        path = os.path.join(folder, "image.dmg")
        make(path, content(), [LZFSE])
        if "LZFSE" not in run(ours(), "info", path, status=1).err:
            raise Failed("LZFSE is not refused by its name")
        with open(path, "wb") as file:
            file.write(bytes(100000))
        if "no DMG image" not in run(ours(), "info", path, status=1).err:
            raise Failed("zeroes are taken for an image")
        make(path, content(), [ZLIB])
        if "only be read" not in run(ours(), "resize", "-f", "dmg", path, "10M", status=1).err:
            raise Failed("it can be written")
        with open(path, "r+b") as file:
            file.seek(600)
            file.write(b"broken")
        run(ours(), "convert", "-O", "raw", path, os.path.join(folder, "raw"), status=1)


main(test_read, test_parts, test_refused)
