#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""LUKS volumes both ways: each tool makes one, both read the same bytes, each changes the other's."""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours, run, same_json  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

SECRET = ["--object", "secret,id=s,data=swordfish"]
# Not aes-192: qemu-img 7.2 fails an assertion on key slots that are no whole sectors.
KINDS = ["", "cipher-alg=aes-128,cipher-mode=xts,hash-alg=sha1",
         "cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256,hash-alg=sha512",
         "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=plain"]


def volume(path):
    return f"driver=luks,key-secret=s,file.filename={path}"


def make_source(path):
    generator = random.Random(3)
    with open(path, "wb") as disk:
        disk.truncate(6 << 20)
        for _ in range(5):
            disk.seek(generator.randrange(10000) * 512)
            disk.write(generator.randbytes(generator.randrange(1, 900) * 512))


def test_both_ways():
    with temporary_folder() as folder:
        source, path, back = (os.path.join(folder, name) for name in ("source", "luks", "back"))
        make_source(source)
        for kind in KINDS:
            options = f"key-secret=s,iter-time=10{',' if kind else ''}{kind}"
            for maker in (ours(), THEIRS):
                run(maker, "convert", *SECRET, "-f", "raw", "-O", "luks", "-o", options, source, path)
                same_json("info", "--output=json", path)
                for reader in (ours(), THEIRS):
                    run(reader, "convert", *SECRET, "--image-opts", "-O", "raw", volume(path), back)
                    run(THEIRS, "compare", "-f", "raw", "-F", "raw", back, source)


def test_written_in_place():
    """Writes of parts of sectors, by qemu-io and by us, on the same volume."""
    with temporary_folder() as folder:
        path, raw = os.path.join(folder, "luks"), os.path.join(folder, "raw")
        run(ours(), "create", "-q", *SECRET, "-f", "luks", "-o", "key-secret=s,iter-time=10", path, "8M")
        run(THEIRS, "create", "-q", "-f", "raw", raw, "8M")
        run(ours(), "convert", "-n", *SECRET, "--target-image-opts", "-f", "raw", raw, volume(path))
        for name, extra in ((volume(path), [*SECRET, "--image-opts"]), (raw, ["-f", "raw"])):
            run("qemu-io", *extra, "-c", "write -P 3 1000 5000", "-c", "write -P 4 2M 1500k",
                "-c", "write -z 3M 100k", "-c", "write -P 5 8388000 608", name)
            run(ours(), "bench", *extra, "-w", "-c", "30", "-s", "777", "-S", "100001", "--pattern", "9",
                name)
        run(THEIRS, "convert", *SECRET, "--image-opts", "-O", "raw", volume(path), raw + ".2")
        run(THEIRS, "compare", "-f", "raw", "-F", "raw", raw, raw + ".2")


def test_refused():
    with temporary_folder() as folder:
        path = os.path.join(folder, "luks")
        run(THEIRS, "create", "-q", *SECRET, "-f", "luks", "-o", "key-secret=s,iter-time=10", path, "1M")
        wrong = ["--object", "secret,id=s,data=sturgeon"]
        for words, args in (("Invalid password", [*wrong, "--image-opts", volume(path)]),
                            ("'key-secret' is required", ["-f", "luks", path]),
                            ("No secret", ["--image-opts", volume(path)])):
            refused = run(ours(), "map", *args, status=1)
            if words not in refused.err:
                raise Failed(f"{args}: {refused.err}")


main(test_both_ways, test_written_in_place, test_refused)
