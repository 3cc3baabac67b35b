#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What convert and measure can do beside copying all of an image: internal snapshots, copies by the
kernel, salvaging."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours, run, same_json, same_text  # noqa: E402
from guest import main, temporary_folder  # noqa: E402


def same_bytes(folder, *names):
    run(THEIRS, "compare", "-f", "raw", "-F", "raw", *(os.path.join(folder, name) for name in names))


def with_snapshots(folder):
    run(THEIRS, "create", "-q", "-f", "qcow2", "image", "2M", cwd=folder)
    for number, name in enumerate(("one", "two", "3"), 1):
        run("qemu-io", "-c", f"write -P {number} {number * 100}k 300k", "-c",
            f"write -z {number * 64}k 64k", "image", cwd=folder)
        run(THEIRS, "snapshot", "-c", name, "image", cwd=folder)
        run(THEIRS, "resize", "-q", "image", "+1M", cwd=folder)


def test_snapshots():
    with temporary_folder() as folder:
        with_snapshots(folder)
        for param in ("one", "two", "3", "1", "snapshot.name=two", "snapshot.id=1",
                      "snapshot.id=2,snapshot.name=two"):
            for fmt in ("raw", "qcow2"):
                run(ours(), "convert", "-O", fmt, "-l", param, "image", "mine", cwd=folder)
                run(THEIRS, "convert", "-O", fmt, "-l", param, "image", "yours", cwd=folder)
                run(THEIRS, "compare", "-f", fmt, "-F", fmt, "mine", "yours", cwd=folder)
            for fmt in ("raw", "qcow2"):
                same_json("measure", "--output=json", "-l", param, "-O", fmt, "image", cwd=folder)
        for args in (("-l", "nope"), ("-l", "snapshot.id=2,snapshot.name=one"), ("-l", "snapshot.foo=1"),
                     ("-l", "one", "image")):
            same_text("convert", "-O", "raw", *args, "image", "x", cwd=folder)
        # A snapshot that is larger than the disk is now is not cut off.
        run(THEIRS, "resize", "-q", "--shrink", "image", "1M", cwd=folder)
        run(ours(), "convert", "-O", "raw", "-l", "3", "image", "mine", cwd=folder)
        if os.path.getsize(os.path.join(folder, "mine")) != 4 << 20:
            raise Failed("the snapshot was cut off")


def test_data_file_over_backing():
    """An overlay whose data lie in a file of their own: what it does not have is the base's."""
    with temporary_folder() as folder:
        with_snapshots(folder)
        for tool in (ours(), THEIRS):
            run(tool, "create", "-q", "-f", "qcow2", "-b", "image", "-F", "qcow2", "-o", "data_file=data",
                "top", cwd=folder)
            run("qemu-io", "-c", "write -P 9 100k 200k", "-c", "write -z 1M 130k", "top", cwd=folder)
            run(ours(), "bench", "-w", "-c", "9", "-s", "777", "-S", "300001", "--pattern", "5", "top",
                cwd=folder)
            for reader in (ours(), THEIRS):
                run(reader, "convert", "-O", "raw", "top", os.path.basename(reader) + ".raw", cwd=folder)
                run(reader, "check", "top", cwd=folder)
            same_bytes(folder, *(os.path.basename(reader) + ".raw" for reader in (ours(), THEIRS)))


def test_words():
    """What goes wrong with qcow2, in the words of qemu-img."""
    lines = """
create -f qcow2 -o compat=0.10,refcount_bits=8 x 1M
create -f qcow2 -o compat=0.10,lazy_refcounts=on x 1M
create -f qcow2 -o compat=0.10,extended_l2=on x 1M
create -f qcow2 -o compat=0.10,compression_type=zstd x 1M
create -f qcow2 -o compat=0.10,data_file=d x 1M
create -f qcow2 -o extended_l2=on,cluster_size=4k x 1M
create -f qcow2 -o preallocation=foo x 1M
create -f qcow2 -o lazy_refcounts=foo x 1M
create -f qcow2 -o cluster_size=foo x 1M
create -f qcow2 -o cluster_size=3k x 1M
create -f qcow2 -o refcount_bits=7 x 1M
create -f qcow2 -o refcount_bits=foo x 1M
create -f qcow2 -o cluster_size=512 x 1T
create -f qcow2 -o data_file_raw=on x 1M
create -f qcow2 -o preallocation=full -b image -F qcow2 x 1M
create -f qcow2 -u -b nope x 1M
create -f raw -o preallocation=metadata x 1M
create -f qcow2 -o help
create -f vdi -o help
create -f luks -o help
convert -O qcow2 -o help
convert -O qcow2 -o cluster_size=foo image x
convert -O qcow2 -B image -F qcow2 image image x
snapshot -U -c zz image
measure -O vdi --size 1M
info --backing-chain lost
convert -O raw lost x
"""
    with temporary_folder() as folder:
        with_snapshots(folder)
        run(THEIRS, "create", "-q", "-f", "qcow2", "-u", "-b", "nope", "-F", "qcow2", "middle", "1M", cwd=folder)
        run(THEIRS, "create", "-q", "-f", "qcow2", "-u", "-b", "middle", "-F", "qcow2", "lost", "1M", cwd=folder)
        for line in lines.strip().splitlines():
            same_text(*line.split(), cwd=folder)


def test_copy_by_kernel():
    with temporary_folder() as folder:
        run(THEIRS, "create", "-q", "-f", "raw", "raw", "24M", cwd=folder)
        run("qemu-io", "-f", "raw", "-c", "write -P 1 0 5M", "-c", "write -P 2 9M 7M", "-c", "write -z 1M 1M",
            "raw", cwd=folder)
        run(THEIRS, "convert", "-f", "raw", "-O", "qcow2", "raw", "qcow2", cwd=folder)
        run(THEIRS, "convert", "-c", "-f", "raw", "-O", "qcow2", "raw", "packed", cwd=folder)
        window = 'json:{"driver":"raw","offset":1048576,"size":9437184,"file":' \
                 '{"driver":"file","filename":"raw"}}'
        for source, args in (("raw", ["-f", "raw"]), ("qcow2", []), ("packed", []), (window, [])):
            for target in ("raw", "qcow2"):
                run(ours(), "convert", "-C", *args, "-O", target, source, "mine", cwd=folder)
                run(THEIRS, "compare", *args, "-F", target, source, "mine", cwd=folder)


def test_measure():
    """What qemu-img says an image would take, with its bitmaps."""
    with temporary_folder() as folder:
        with_snapshots(folder)
        run(THEIRS, "bitmap", "--add", "image", "a", cwd=folder)
        run(THEIRS, "bitmap", "--add", "-g", "512", "image", "a longer name", cwd=folder)
        for args in (("-O", "raw"), ("-O", "qcow2"), ("-O", "qcow2", "-o", "cluster_size=512"),
                     ("-O", "qcow2", "-o", "compat=0.10"), ("-O", "qcow2", "-o", "extended_l2=on")):
            same_json("measure", "--output=json", *args, "image", cwd=folder)
            same_text("measure", *args, "image", cwd=folder)
            same_json("measure", "--output=json", *args, "--size", "3000000", cwd=folder)


def test_salvage():
    """What cannot be read becomes zeroes, with a word on each place."""
    with temporary_folder() as folder:
        run(THEIRS, "create", "-q", "-f", "raw", "raw", "1M", cwd=folder)
        run("qemu-io", "-f", "raw", "-c", "write -P 1 0 1M", "raw", cwd=folder)
        path = os.path.join(folder, "packed")
        run(THEIRS, "convert", "-c", "-f", "raw", "-O", "qcow2", "raw", "packed", cwd=folder)
        # Break a compressed cluster: reading it fails in both tools.
        with open(path, "r+b") as file:
            file.seek(5 * 65536)
            file.write(b"\xff" * 64)
        results = [run(tool, "convert", "--salvage", "-O", "raw", "packed", name, cwd=folder)
                   for tool, name in ((ours(), "mine"), (THEIRS, "yours"))]
        same_bytes(folder, "mine", "yours")
        if not all("error while reading" in result.err for result in results):
            raise Failed(f"no warnings: {results[0].err}; {results[1].err}")
        if run(ours(), "convert", "-O", "raw", "packed", "x", cwd=folder, status=1).err == "":
            raise Failed("a broken cluster was read")


main(test_snapshots, test_data_file_over_backing, test_words, test_copy_by_kernel, test_measure, test_salvage)
