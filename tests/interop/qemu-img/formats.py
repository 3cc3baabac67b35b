#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each format both ways: what we write, qemu-img reads and checks; what it writes, we do. Where both
describe an image, they agree field by field."""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, as_json, ours, run, same_json  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

MIB = 1 << 20
SIZE = 24 * MIB

# format: option sets of -o
FORMATS = {
    "raw": [""],
    "vdi": ["", "static=on"],
    "vpc": ["", "force_size=on", "subformat=fixed,force_size=on"],
    "qed": ["", "cluster_size=4096,table_size=2"],
    "vhdx": ["", "subformat=fixed", "block_size=1M,log_size=2M"],
    "vmdk": ["", "subformat=monolithicFlat", "subformat=twoGbMaxExtentSparse",
             "subformat=twoGbMaxExtentFlat", "subformat=streamOptimized", "zeroed_grain=on"],
}
# qemu-img 7.2 tells nothing of a VHDX image's blocks; we do.
NO_MAP = {"vhdx"}
NO_CHECK = {"raw", "vpc"}


def make_source(path):
    """Random runs at odd places, zeroes between and behind them; always the same."""
    generator = random.Random(4)
    with open(path, "wb") as disk:
        disk.truncate(SIZE)
        for _ in range(12):
            disk.seek(generator.randrange(SIZE // 512) * 512 % (SIZE - MIB))
            disk.write(generator.randbytes(generator.randrange(1, 400) * 512))


def options(text):
    return ["-o", text] if text else []


def one_way(writer, reader, fmt, text, folder):
    image = os.path.join(folder, f"by-{os.path.basename(writer)}.{fmt}")
    source = os.path.join(folder, "source")
    run(writer, "convert", "-f", "raw", "-O", fmt, *options(text), source, image)
    run(reader, "compare", "-f", fmt, "-F", "raw", image, source)
    if fmt not in NO_CHECK:
        run(reader, "check", "-f", fmt, image)
    back = os.path.join(folder, "back")
    run(reader, "convert", "-f", fmt, "-O", "raw", image, back)
    run(reader, "compare", "-f", "raw", "-F", "raw", back, source)
    same_json("info", "-f", fmt, "--output=json", image)
    if fmt not in NO_MAP:
        same_json("map", "-f", fmt, "--output=json", image)


def test_convert_both_ways():
    for fmt, sets in FORMATS.items():
        for text in sets:
            with temporary_folder() as folder:
                make_source(os.path.join(folder, "source"))
                try:
                    one_way(ours(), THEIRS, fmt, text, folder)
                    one_way(THEIRS, ours(), fmt, text, folder)
                except Failed as failure:
                    raise Failed(f"{fmt} {text}: {failure}") from failure


def test_empty_images():
    """create and info of the same command line agree, also for awkward sizes."""
    for fmt, sets in FORMATS.items():
        for text in sets:
            for size in ("1M", "3145728", "5G"):
                with temporary_folder() as folder:
                    mine, yours = (os.path.join(folder, name + "." + fmt) for name in ("m", "y"))
                    if size == "5G" and ("Flat" in text or "static" in text or "fixed" in text
                                         or "table_size" in text):
                        continue
                    run(ours(), "create", "-q", "-f", fmt, *options(text), mine, size)
                    run(THEIRS, "create", "-q", "-f", fmt, *options(text), yours, size)
                    a, b = (as_json(THEIRS, "info", "-f", fmt, "--output=json", path)
                            for path in (mine, yours))
                    for key in ("virtual-size", "cluster-size", "format"):
                        if a.get(key) != b.get(key):
                            raise Failed(f"create {fmt} {text} {size}: {key} is {a.get(key)}, "
                                         f"qemu-img's is {b.get(key)}")
                    if fmt != "vhdx" or text:
                        run(ours(), "compare", "-f", fmt, "-F", fmt, mine, yours)


def test_written_in_place():
    """qemu-io changes our image, we change theirs, and both see the same bytes."""
    for fmt in ("vdi", "vpc", "qed", "vhdx", "vmdk"):
        with temporary_folder() as folder:
            mine, yours = (os.path.join(folder, name + "." + fmt) for name in ("m", "y"))
            raw = os.path.join(folder, "raw")
            for tool, path in ((ours(), mine), (THEIRS, yours)):
                run(tool, "create", "-q", "-f", fmt, path, "16M")
            for at in ("0", "3M", "9999872"):
                run("qemu-io", "-f", fmt, "-c", f"write -P 9 {at} 70k", mine)
                run("qemu-io", "-f", fmt, "-c", f"write -P 9 {at} 70k", yours)
            for path in (mine, yours):
                run(ours(), "bench", "-f", fmt, "-w", "-c", "40", "-s", "3k", "-S", "200k",
                    "--pattern", "77", "-o", "5632", path)
            run(THEIRS, "compare", "-f", fmt, "-F", fmt, mine, yours)
            run(ours(), "compare", "-f", fmt, "-F", fmt, mine, yours)
            run(THEIRS, "convert", "-f", fmt, "-O", "raw", mine, raw)
            run(ours(), "compare", "-f", fmt, "-F", "raw", mine, raw)
            if fmt not in NO_CHECK:
                run(THEIRS, "check", "-f", fmt, mine)
                run(ours(), "check", "-f", fmt, yours)


def test_backing_chain():
    """QED and VMDK overlays: info, map, rebase and commit."""
    for fmt in ("qed", "vmdk"):
        with temporary_folder() as folder:
            base, top = f"base.{fmt}", f"top.{fmt}"
            run(ours(), "create", "-q", "-f", fmt, base, "8M", cwd=folder)
            run("qemu-io", "-f", fmt, "-c", "write -P 1 0 3M", base, cwd=folder)
            run(ours(), "create", "-q", "-f", fmt, "-b", base, "-F", fmt, top, cwd=folder)
            run("qemu-io", "-f", fmt, "-c", "write -P 2 1M 3M", top, cwd=folder)
            same_json("info", "--backing-chain", "--output=json", top, cwd=folder)
            same_json("map", "--output=json", top, cwd=folder)
            run(THEIRS, "convert", "-O", "raw", top, "before", cwd=folder)
            run(ours(), "compare", top, "before", cwd=folder)
            if fmt == "qed":
                run(ours(), "commit", "-q", "-d", top, cwd=folder)
                run(THEIRS, "compare", base, "before", cwd=folder)
                run(ours(), "rebase", "-b", "", top, cwd=folder)
                run(THEIRS, "compare", top, "before", cwd=folder)


main(test_convert_both_ways, test_empty_images, test_written_in_place, test_backing_chain)
