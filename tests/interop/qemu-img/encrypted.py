#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted qcow2 images both ways: each tool makes one, both read the same bytes and say the same of
it, each changes the other's, in place and through snapshots, commit and rebase."""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours, run, same_json  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

SECRET = ["--object", "secret,id=s,data=swordfish"]
LUKS = "encrypt.format=luks,encrypt.iter-time=10"
KINDS = [LUKS,
         LUKS + ",cluster_size=4096,encrypt.cipher-alg=aes-128,encrypt.hash-alg=sha512",
         LUKS + ",extended_l2=on,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,"
         "encrypt.ivgen-hash-alg=sha256",
         LUKS + ",compat=0.10", LUKS + ",data_file=data",
         "encrypt.format=aes", "encryption=on,cluster_size=512", "encrypt.format=aes,extended_l2=on"]


def image(path, **more):
    extra = "".join(f",{key.replace('_', '.')}={value}" for key, value in more.items())
    return f"driver=qcow2,encrypt.key-secret=s,file.filename={path}{extra}"


def create(tool, kind, *args, cwd):
    run(tool, "create", "-q", *SECRET, "-f", "qcow2", "-o", f"{kind},encrypt.key-secret=s", *args,
        cwd=cwd)


def io(path, *commands, cwd):
    run("qemu-io", *SECRET, "--image-opts", *(part for c in commands for part in ("-c", c)),
        image(path), cwd=cwd)


def our_io(path, pattern, cwd, size="777", step="100001"):
    run(ours(), "bench", *SECRET, "--image-opts", "-w", "-c", "30", "-s", size, "-S", step,
        "--pattern", pattern, image(path), cwd=cwd)


def same(path, raw, cwd):
    """Both tools find the bytes of `raw`, and the image without fault."""
    for tool in (ours(), THEIRS):
        run(tool, "convert", *SECRET, "--image-opts", "-O", "raw", image(path), "back", cwd=cwd)
        run(THEIRS, "compare", "-f", "raw", "-F", "raw", "back", raw, cwd=cwd)
        run(tool, "check", *SECRET, "--image-opts", image(path), cwd=cwd)


def make_source(path):
    generator = random.Random(5)
    with open(path, "wb") as disk:
        disk.truncate(6 << 20)
        for _ in range(5):
            disk.seek(generator.randrange(10000) * 512)
            disk.write(generator.randbytes(generator.randrange(1, 900) * 512))


def test_convert_both_ways():
    for number, kind in enumerate(KINDS):
        with temporary_folder() as folder:
            make_source(os.path.join(folder, "source"))
            # Their derivation of keys takes seconds: the other half is made in the next test.
            run((ours(), THEIRS)[number % 2], "convert", *SECRET, "-f", "raw", "-O", "qcow2", "-o",
                f"{kind},encrypt.key-secret=s", "source", "image", cwd=folder)
            same_json("info", "--output=json", "image", cwd=folder)
            same_json("map", *SECRET, "--image-opts", "--output=json", image("image"), cwd=folder)
            same("image", "source", folder)


def test_written_in_place():
    """Parts of sectors and of clusters, by qemu-io and by us, on images of both."""
    commands = ("write -P 3 1000 5000", "write -P 4 2M 1500k", "write -z 3M 100k",
                "write -P 6 3000001 77777", "write -P 7 5000000 1", "write -P 5 8388000 608")
    for number, kind in enumerate(KINDS):
        with temporary_folder() as folder:
            create((THEIRS, ours())[number % 2], kind, "image", "8M", cwd=folder)
            run(THEIRS, "create", "-q", "-f", "raw", "raw", "8M", cwd=folder)
            io("image", *commands, "discard 1M 300k", cwd=folder)
            run("qemu-io", "-f", "raw", *(part for c in commands for part in ("-c", c)), "raw",
                cwd=folder)
            our_io("image", 9, folder)
            run(ours(), "bench", "-f", "raw", "-w", "-c", "30", "-s", "777", "-S", "100001",
                "--pattern", "9", "raw", cwd=folder)
            same("image", "raw", folder)


def test_operations():
    """Snapshots, growth, commit and rebase keep the bytes readable by the other."""
    for kind in (LUKS, "encrypt.format=aes,cluster_size=4096"):
        with temporary_folder() as folder:
            create(THEIRS, kind, "base", "6M", cwd=folder)
            io("base", "write -P 1 0 4M", cwd=folder)
            run(ours(), "snapshot", *SECRET, "--image-opts", "-c", "one", image("base"), cwd=folder)
            our_io("base", 9, folder)
            io("base", "write -P 2 1M 70001", cwd=folder)
            run(ours(), "snapshot", *SECRET, "--image-opts", "-c", "two", image("base"), cwd=folder)
            run(ours(), "snapshot", *SECRET, "--image-opts", "-a", "one", image("base"), cwd=folder)
            io("base", "read -P 1 0 4M", "read -P 0 4M 2M", cwd=folder)
            run(THEIRS, "snapshot", *SECRET, "--image-opts", "-a", "two", image("base"), cwd=folder)
            io("base", "read -P 2 1M 70001", "read -P 9 0 777", cwd=folder)
            for name in ("one", "two"):
                run(ours(), "snapshot", *SECRET, "--image-opts", "-d", name, image("base"), cwd=folder)
            run(ours(), "resize", "-q", *SECRET, "--image-opts", image("base"), "7M", cwd=folder)
            # An encrypted overlay of an encrypted image, whose name it holds with its secret.
            backing = ('json:{"driver":"qcow2","encrypt.key-secret":"s",'
                       '"file":{"driver":"file","filename":"base"}}')
            create(ours(), kind, "-b", backing, "-F", "qcow2", "top", cwd=folder)
            our_io("top", 5, folder, "3000", "300000")
            run(THEIRS, "convert", *SECRET, "--image-opts", "-O", "raw", image("top"), "raw", cwd=folder)
            same("top", "raw", folder)
            run(ours(), "commit", "-q", *SECRET, "--image-opts", image("top"), cwd=folder)
            same("base", "raw", folder)
            run(ours(), "rebase", *SECRET, "--image-opts", "-b", "", image("top"), cwd=folder)
            same("top", "raw", folder)


def test_preallocated():
    """Clusters that are there read as zeroes, not as what zeroes decrypt to."""
    for kind in (LUKS, LUKS + ",extended_l2=on"):
        with temporary_folder() as folder:
            create(ours(), kind + ",preallocation=metadata", "image", "3M", cwd=folder)
            io("image", "read -P 0 0 3M", "write -P 1 1M 1000", cwd=folder)
            our_io("image", 9, folder)
            run(THEIRS, "convert", *SECRET, "--image-opts", "-O", "raw", image("image"), "raw",
                cwd=folder)
            same("image", "raw", folder)


def test_measure():
    for options in ("encrypt.format=aes", LUKS + ",cluster_size=2M"):
        same_json("measure", *SECRET, "--output=json", "-O", "qcow2", "-o",
                  options + ",encrypt.key-secret=s", "--size", "100M")
    same_json("measure", *SECRET, "--output=json", "-O", "luks", "-o", "key-secret=s,iter-time=10",
              "--size", "100M")


def test_refused():
    """In the words of qemu-img."""
    with temporary_folder() as folder:
        create(THEIRS, LUKS, "luks", "1M", cwd=folder)
        run(THEIRS, "create", "-q", "-f", "qcow2", "plain", "1M", cwd=folder)
        wrong = ["--object", "secret,id=s,data=sturgeon"]
        for args in (("map", "luks"), ("snapshot", "-l", "luks"),
                     ("map", *wrong, "--image-opts", image("luks")),
                     ("map", *SECRET, "--image-opts", image("luks", encrypt_format="aes")),
                     ("map", *SECRET, "--image-opts", image("plain", encrypt_format="luks")),
                     ("create", *SECRET, "-q", "-f", "qcow2", "-o", "encrypt.format=luks", "x", "1M"),
                     ("create", *SECRET, "-q", "-f", "qcow2", "-o", "encryption=on", "x", "1M"),
                     ("create", *SECRET, "-q", "-f", "qcow2", "-o", "encrypt.key-secret=s", "x", "1M"),
                     ("convert", *SECRET, "-c", "-O", "qcow2", "-o", LUKS + ",encrypt.key-secret=s",
                      "plain", "x")):
            mine, yours = (run(tool, *args, cwd=folder, status=1) for tool in (ours(), THEIRS))
            if mine.err != yours.err:
                raise Failed(f"{' '.join(args)}: {mine.err}qemu-img: {yours.err}")
        run(ours(), "create", "-q", "-f", "qcow2", "-b", "luks", "-F", "qcow2", "top", cwd=folder)


main(test_convert_both_ways, test_written_in_place, test_operations, test_preallocated, test_measure,
     test_refused)
