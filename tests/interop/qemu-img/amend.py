#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""amend by us and by qemu-img, on two copies of one image: the same words and statuses, and the same
image afterwards; for qcow2's options and for the keys of encrypted images."""
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, as_json, differences, ours, run  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

SECRETS = [part for name, word in (("s", "swordfish"), ("n", "sturgeon"), ("o", "salmon"))
           for part in ("--object", f"secret,id={name},data={word}")]
WRITES = ["write -P 1 0 1M", "write -z 256k 128k", "write -z 3M 200k", "write -c -P 2 2M 64k"]

# How the image is made, then -o lists, which are tried one after the other.
CHAINS = [
    ("", ["compat=0.10", "compat=1.1", "compat=v2", "lazy_refcounts=on", "refcount_bits=8", "compat=v3",
          "compat=foo", "foo=1", "cluster_size=4096", "encryption=on", "lazy_refcounts=maybe"]),
    ("", ["refcount_bits=8", "refcount_bits=3", "refcount_bits=128", "refcount_bits=64", "compat=0.10",
          "compat=0.10,refcount_bits=16", "compat=1.1,refcount_bits=32,lazy_refcounts=on",
          "lazy_refcounts=off", "refcount_bits=2"]),
    ("cluster_size=512,refcount_bits=8", ["refcount_bits=64", "refcount_bits=4",
                                          "compat=0.10,refcount_bits=16"]),
    ("compat=0.10", ["size=5M", "size=6000000", "backing_file=x,backing_fmt=raw", "backing_fmt=raw",
                     "data_file=x", "data_file_raw=on", "size=1000", "compat=1.1,refcount_bits=8"]),
    ("extended_l2=on", ["compat=0.10", "refcount_bits=4"]),
    ("data_file=data", ["compat=0.10", "data_file=other"]),
]


def try_both(folder, names, *args, exact=True):
    """The same command on both copies; `names` are theirs and ours by tool."""
    results = [run(tool, "amend", *args, *names(which), cwd=os.path.join(folder, which), status=None)
               for tool, which in ((ours(), "mine"), (THEIRS, "yours"))]
    mine, yours = results
    if (mine.status, mine.err if exact else 0) != (yours.status, yours.err if exact else 0):
        raise Failed(f"amend {' '.join(args)}: {mine.status} {mine.err}qemu-img: {yours.status} {yours.err}")
    return mine.status == 0


def alike(folder, what, sources):
    """Both tools find the same bytes and the same description in both, and no fault."""
    mine, yours = (as_json(THEIRS, "info", "--output=json", os.path.join(folder, which, "image"))
                   for which in ("mine", "yours"))
    for info in (mine, yours):
        for key in ("filename", "actual-size", "full-backing-filename"):
            info.pop(key, None)
        # Snapshots were made once; slots say how fast the machine was.
        for slot in info["format-specific"]["data"].get("encrypt", {}).get("slots", []):
            slot.pop("iters", None)
    found = list(differences(mine, yours))
    if found:
        raise Failed(f"{what}: {'; '.join(found)}")
    for tool in (ours(), THEIRS):
        run(tool, "check", "-q", *sources("mine"), cwd=os.path.join(folder, "mine"))


def plain(which):
    return ["-f", "qcow2", "image"]


def make(folder, options, *commands):
    os.mkdir(os.path.join(folder, "mine"))
    cwd = os.path.join(folder, "mine")
    run(THEIRS, "create", "-q", "-f", "qcow2", *(["-o", options] if options else []), "image", "4M", cwd=cwd)
    for command in commands:
        if "-c " in command and "data_file" in options:
            continue
        run("qemu-io", "-f", "qcow2", "-c", command, "image", cwd=cwd)


def copy(folder):
    shutil.copytree(os.path.join(folder, "mine"), os.path.join(folder, "yours"))


def test_options():
    for options, lists in CHAINS:
        with temporary_folder() as folder:
            make(folder, options, *WRITES)
            copy(folder)
            for text in lists:
                done = try_both(folder, plain, "-o", text)
                if done and text == "data_file=other":
                    for which in ("mine", "yours"):
                        os.rename(*(os.path.join(folder, which, name) for name in ("data", "other")))
                alike(folder, f"{options}: {text}", plain)
                # A data file's name is seen from the current folder by qemu-img, so one by one.
                for which in ("mine", "yours"):
                    run(THEIRS, "convert", "-f", "qcow2", "-O", "raw", "image", "raw",
                        cwd=os.path.join(folder, which))
                run(THEIRS, "compare", "-q", "-f", "raw", "-F", "raw", "mine/raw", "yours/raw", cwd=folder)


def test_downgrade_of_shared_zeroes():
    """Clusters that read as zeroes, shared with snapshots and over a backing file."""
    with temporary_folder() as folder:
        make(folder, "cluster_size=4096", "write -P 1 0 3M")
        cwd = os.path.join(folder, "mine")
        os.rename(os.path.join(cwd, "image"), os.path.join(cwd, "base"))
        run(THEIRS, "create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", "-b", "base", "-F", "qcow2",
            "image", cwd=cwd)
        for number, command in enumerate(("write -z 0 1M", "write -P 4 2M 200k", "write -z 2M 64k",
                                          "write -z -u 100k 500k", "write -P 3 200k 64k")):
            run("qemu-io", "-f", "qcow2", "-c", command, "image", cwd=cwd)
            run(THEIRS, "snapshot", "-c", f"s{number}", "image", cwd=cwd)
        copy(folder)
        try_both(folder, plain, "-o", "refcount_bits=2", exact=False)
        try_both(folder, plain, "-o", "compat=0.10")
        alike(folder, "downgrade with snapshots", plain)
        for number in (0, 2, 4, 1, 3):
            for tool, which in ((ours(), "mine"), (THEIRS, "yours")):
                run(tool, "snapshot", "-a", f"s{number}", "image", cwd=os.path.join(folder, which))
            run(THEIRS, "compare", "-q", "-f", "qcow2", "-F", "qcow2", "mine/image", "yours/image",
                cwd=folder)
            alike(folder, f"snapshot {number}", plain)


def test_long_file():
    """A file that goes on where no refcount block counts: the new refcounts lie behind it."""
    with temporary_folder() as folder:
        make(folder, "cluster_size=512", "write -P 1 0 300k")
        path = os.path.join(folder, "mine", "image")
        os.truncate(path, (os.path.getsize(path) + 511) // 512 * 512 + (3 << 20))
        for bits in (64, 8, 16):
            run(ours(), "amend", "-o", f"refcount_bits={bits}", path)
            run(THEIRS, "check", path)
            run("qemu-io", "-c", "read -P 1 0 300k", "-c", f"write -P {bits} 1M 64k", path)
        run(THEIRS, "check", path)


KEYS = [("state=active,new-secret=n,iter-time=10", "s"), ("state=active", "s"), ("new-secret=n", "s"),
        ("state=active,new-secret=n,keyslot=1", "s"), ("state=active,new-secret=n,keyslot=9", "s"),
        ("state=active,new-secret=o,keyslot=3,iter-time=10", "s"),
        ("state=active,new-secret=n,old-secret=s", "s"), ("state=active,new-secret=zz", "s"),
        ("state=inactive", "o"), ("state=inactive,keyslot=7", "o"), ("state=inactive,keyslot=8", "o"),
        ("state=inactive,keyslot=1,old-secret=o", "o"), ("state=inactive,keyslot=1,iter-time=5", "o"),
        ("state=inactive,keyslot=1,new-secret=o", "o"), ("state=foo", "o"),
        ("state=inactive,keyslot=0", "o"), ("state=inactive,old-secret=s", "o"),
        ("state=inactive,old-secret=n", "o"), ("state=inactive,old-secret=o", "o"),
        ("state=inactive,keyslot=3", "o")]


SHORT = [KEYS[i] for i in (0, 5, 15, 17)]


def keys(fmt, prefix, changes, both):
    """`both`: qemu-img makes the same changes to a copy, for which it takes seconds each."""
    def change(image, *args):
        if both:
            try_both(folder, image, *args)
        else:
            run(ours(), "amend", *args, *image("mine"), cwd=os.path.join(folder, "mine"))

    def image(which, secret="s"):
        return [*SECRETS, "--image-opts", f"driver={fmt},{prefix}key-secret={secret},file.filename=image"]

    with temporary_folder() as folder:
        os.mkdir(os.path.join(folder, "mine"))
        kind = "encrypt.format=luks," if prefix else ""
        run(THEIRS, "create", "-q", *SECRETS, "-f", fmt, "-o",
            f"{kind}{prefix}key-secret=s,{prefix}iter-time=10", os.path.join(folder, "mine", "image"), "1M")
        run("qemu-io", *image("mine"), "-c", "write -P 7 0 1M", cwd=os.path.join(folder, "mine"))
        copy(folder)
        for text, secret in changes:
            text = ",".join(prefix + part for part in text.split(","))
            change(lambda which: image(which, secret), "-o", text)
        # The other tool opens what each has left, and the removed passwords open nothing.
        for tool, which in ((THEIRS, "mine"), (ours(), "yours")) if both else ((THEIRS, "mine"),):
            cwd = os.path.join(folder, which)
            run("qemu-io", *image(which, "o"), "-c", "read -P 7 0 1M", cwd=cwd)
            for secret in ("s", "n"):
                run(tool, "map", *image(which, secret), cwd=cwd, status=1)
        change(lambda which: image(which, "o"), "--force", "-o",
               f"{prefix}state=active,{prefix}new-secret=n,{prefix}keyslot=3,{prefix}iter-time=10")
        change(lambda which: image(which, "n"), "--force", "-o",
               f"{prefix}state=inactive,{prefix}old-secret=n")
        for which in ("mine", "yours") if both else ("mine",):
            run(ours(), "map", *image(which, "n"), cwd=os.path.join(folder, which), status=1)


def test_keys():
    keys("luks", "", KEYS, True)
    keys("qcow2", "encrypt.", SHORT, False)


def test_keys_refused():
    with temporary_folder() as folder:
        make(folder, "")
        copy(folder)
        try_both(folder, plain, *SECRETS, "-o", "encrypt.state=active,encrypt.new-secret=n")
        try_both(folder, plain, *SECRETS, "-o", "encrypt.format=luks")
        try_both(folder, lambda which: ["-f", "raw", "image"], "-o", "size=1M")
    for fmt in ("qcow2", "luks", "raw"):
        mine, yours = (run(tool, "amend", "-f", fmt, "-o", "help", status=None) for tool in (ours(), THEIRS))
        if (mine.out, mine.err, mine.status) != (yours.out, yours.err, yours.status):
            raise Failed(f"amend -f {fmt} -o help: {mine.out}{mine.err}qemu-img: {yours.out}{yours.err}")


main(test_options, test_long_file, test_downgrade_of_shared_zeroes, test_keys, test_keys_refused)
