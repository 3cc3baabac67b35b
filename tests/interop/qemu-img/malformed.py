#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Malformed qcow2 images: what qemu-img calls an error, berth-img does, in bounded memory and time.

The images are the fuzzer's seeds: tables that overlap, loops in L1 and L2, tables that are huge or behind
the end, clusters in use with refcount 0, and some that are good. No way to look at one ends by a signal.
"""
import glob
import os
import resource
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from peer import THEIRS, Failed, ours  # noqa: E402
from guest import main, temporary_folder  # noqa: E402

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../fuzz/corpus/qcow2/*")
COMMANDS = (["check", "-f", "qcow2", "image"], ["check", "-r", "all", "-f", "qcow2", "image"],
            ["info", "image"], ["map", "-f", "qcow2", "image"], ["snapshot", "-l", "image"],
            ["convert", "-f", "qcow2", "-O", "raw", "image", "target"])


def bound_memory():
    """More than a gigabyte is unbounded for an image of some kilobytes."""
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))


def status(tool, command, folder, seed, limit=None):
    """Each begins with the image as it was."""
    shutil.copyfile(seed, os.path.join(folder, "image"))
    done = subprocess.run([tool, *command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, preexec_fn=limit)
    target = os.path.join(folder, "target")
    if os.path.exists(target):
        os.unlink(target)
    return done.returncode, done.stdout.decode(errors="replace")


def test_malformed():
    wrong = []
    seeds = sorted(glob.glob(CORPUS))
    bad = [seed for seed in seeds if os.path.basename(seed).startswith("bad-")]
    if len(bad) < 20:
        raise Failed(f"there are only {len(bad)} malformed images")
    with temporary_folder() as folder:
        for seed in seeds:
            for command in COMMANDS:
                code, said = status(ours(), command, folder, seed, bound_memory)
                what = f"{command} of {os.path.basename(seed)}: status {code}: {said}"
                if code not in (0, 1, 2, 3):
                    wrong.append(what)
                # What is encrypted, qemu-img does not even look at without the password.
                if command != COMMANDS[0] or "encrypted" in seed:
                    continue
                code_theirs, said = status(THEIRS, command, folder, seed)
                if code_theirs and not code:
                    wrong.append(f"{what}qemu-img has status {code_theirs}: {said}")
    if wrong:
        raise Failed("\n".join(wrong))


main(test_malformed)
